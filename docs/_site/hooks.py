"""What MkDocs needs beside mkdocs.yml: formulas, the pages of the API, and links that lead out of docs/."""
import os
import re
import tomllib
from pathlib import Path

import mathml  # MkDocs looks in the folder of a hook while it loads it
import public_names
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGES_ABOVE = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changes.md"}  # built where they stand, beside docs/
FENCE = re.compile(r"(^ *```.*?^ *```$)", flags=re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|`[^`]*`)*)\]\(([^)\s]+)\)")
API = re.compile(r"^<!-- api: (\w+) -->$", flags=re.MULTILINE)


def slug(heading, separator="-"):
    """The name of a heading, as code hosts make it and .ci/links.py reads it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)


@event_priority(100)  # before the plugin that renders docstrings looks at the settings of Markdown
def on_config(config):
    config.markdown_extensions.append(mathml.Formulas())
    config.mdx_configs.setdefault("pymdownx.superfences", {})["custom_fences"] = [
        {"name": "math", "class": "math", "format": mathml.block}]
    config.mdx_configs.setdefault("toc", {})["slugify"] = slug
    options = config.plugins["mkdocstrings"].config["handlers"]["python"]["options"]
    options["extensions"] = [{f"{HERE / 'griffe_extension.py'}": {"public": public_names.everything()}}]
    return config


def on_files(files, config):
    for source, page in PAGES_ABOVE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown, page, config, files):
    source = page.file.src_uri
    above = next((ROOT / name for name, uri in PAGES_ABOVE.items() if uri == source), None)
    folder = (above or Path(config.docs_dir, source)).parent
    markdown = API.sub(lambda found: api(found[1]), markdown)
    parts = FENCE.split(four_spaces(markdown))
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = re.sub(r"^( *)```py(?:thon)?\n(?= *>>> )", r"\1```pycon\n", part)
        else:
            parts[i] = LINK.sub(lambda found: leads(found, folder, source, files, config), part)
    return "".join(parts)


def four_spaces(text):
    """What stands within a numbered item is indented by three places in the sources, and Markdown of the site wants four."""
    lines, inside = [], False
    for line in text.split("\n"):
        inside = bool(re.match(r"\d+\. ", line) or (inside and re.match(r"\s|$", line)))
        lines.append(f" {line}" if inside and line.startswith("   ") else line)
    return "\n".join(lines)


def leads(found, folder, source, files, config):
    """A link of a page, as it is right in the site."""
    picture, text, target = found.groups()
    name, _, anchor = target.partition("#")
    if not name or re.match(r"[a-z]+:", target):
        return found[0]
    path = (folder / name).resolve()
    for above, uri in (*PAGES_ABOVE.items(), ("README.md", "index.md")):
        if path == ROOT / above:
            return f"[{text}]({relative(uri, source)}{f'#{anchor}' if anchor and uri != 'index.md' else ''})"
    if path.is_relative_to(config.docs_dir) and files.get_file_from_path(uri := path.relative_to(config.docs_dir).as_posix()):
        return f"{picture}[{text}]({relative(uri, source)}{f'#{anchor}' if anchor else ''})"
    address = repository()
    return f"[{text}]({address}/{path.relative_to(ROOT).as_posix()})" if address else text


def relative(uri, source):
    return os.path.relpath(uri, os.path.dirname(source) or ".")


def repository():
    """Where the sources can be read, if pyproject.toml says it."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"].get("urls", {})
    found = next((url for name, url in urls.items() if name.lower() in ("source", "repository", "source code")), None)
    return found and f"{found.rstrip('/')}/blob/main"


def api(package):
    """The directives of a page of the API."""
    if package in public_names.BY_MODULE:
        modules = (f"svconv.{package}.{module}" for module in public_names.modules(package))
        return "\n".join(entry(path, path) for path in modules)
    if package == "backends":
        return entry("svconv.use_backend", "svconv.backends.use_backend")
    return "\n".join(entry(name.public, name.path) for name in public_names.names(package))


def place(public):
    """An anchor with the name that users write."""
    return f'<a id="{public}"></a>\n'


def entry(public, path):
    anchor = place(public) if public != path else ""
    return f"{anchor}\n::: {path}\n    options:\n      heading: \"{public}\"\n      toc_label: \"{public.rpartition('.')[2]}\"\n"
