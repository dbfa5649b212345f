"""The finished site holds together: `python .ci/site.py FOLDER [--names]` names links that lead nowhere and what is loaded from elsewhere.

Looked at are links and anchors within the folder, and the addresses from which scripts, styles, fonts and pictures come; a link to another
site (<a>) may lead where it likes. --names: every public name of svconv has to have its place.
"""
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
LOADED = {("script", "src"), ("img", "src"), ("img", "srcset"), ("source", "src"), ("source", "srcset"), ("iframe", "src"),
          ("video", "src"), ("video", "poster"), ("audio", "src"), ("embed", "src"), ("object", "data"), ("link", "href"),
          ("image", "href"), ("image", "xlink:href"), ("use", "href"), ("use", "xlink:href"), ("track", "src"), ("input", "src"),
          ("form", "action")}
NOT_LOADED = {"canonical", "alternate", "author", "license", "prev", "next"}  # what <link rel=...> only mentions
IN_STYLES = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])([^'\")\s]+)")


class Page(HTMLParser):
    """The names of a page, where its links lead, and what it loads."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.path, self.names, self.links, self.loads, self.style = path, set(), [], [], False
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.names |= {found[key] for key in ("id", "name") if found.get(key)}
        self.style = tag == "style"
        if tag == "a" and found.get("href") is not None:
            self.links.append(found["href"])
        for key, value in attributes:
            if (tag, key) in LOADED and value and not (tag == "link" and NOT_LOADED & set((found.get("rel") or "").split())):
                self.loads += [part.split()[0] for part in value.split(",")] if key == "srcset" else [value]
            elif key == "style" and value:
                self.loads += IN_STYLES.findall(value)

    def handle_data(self, data):
        if self.style:
            self.loads += IN_STYLES.findall(data)

    def handle_endtag(self, tag):
        self.style = False


def foreign(address):
    return bool(re.match(r"\s*(?:[a-z][a-z0-9+.-]*:)?//", address, flags=re.IGNORECASE))


def missing(page, address, pages, folder):
    """Why an address within the site leads nowhere, or None."""
    parts = urlsplit(address)
    if parts.scheme:
        return None
    name = unquote(parts.path)
    file = (folder / name[1:] if name.startswith("/") else page.path.parent / name).resolve() if name else page.path
    if file.is_dir():
        file /= "index.html"
    if not file.is_file() or not file.is_relative_to(folder):
        return "is not there"
    if parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].names | {"top"}:
        return "has no such place"
    return None


def public_names():
    sys.path.insert(0, str(ROOT / "docs" / "_site"))
    import public_names
    return public_names.everything()


def findings(folder, names=()):
    """(what is wrong, counts)."""
    folder = folder.resolve()
    pages = {path: Page(path) for path in sorted(folder.rglob("*.html"))}
    lines, links = [], 0
    for path, page in pages.items():
        where = path.relative_to(folder).as_posix()
        for address in page.links + page.loads:
            if foreign(address) or address.startswith(("mailto:", "data:", "javascript:")):
                continue
            links += 1
            if why := missing(page, address, pages, folder):
                lines.append(f"{where}: {address} {why}")
        lines += [f"{where}: loads {address} from elsewhere" for address in page.loads if foreign(address)]
    for path in sorted([*folder.rglob("*.css"), *folder.rglob("*.svg")]):
        found = IN_STYLES.findall(path.read_text())
        lines += [f"{path.relative_to(folder).as_posix()}: loads {address} from elsewhere" for address in found if foreign(address)]
    places = set().union(*(page.names for page in pages.values())) if pages else set()
    lines += [f"{name}: is not in the API" for name in names if name not in places]
    loads = sum(len(page.loads) for page in pages.values())
    formulas = sum(path.read_text().count("<math") for path in pages)
    return lines, (f"{len(pages)} pages, {links} internal links, {loads} files loaded by pages, {formulas} formulas, "
                   f"{len(names)} public names; {len(lines)} findings")


def main():
    arguments = [word for word in sys.argv[1:] if not word.startswith("--")]
    lines, counts = findings(Path(arguments[0] if arguments else ROOT / "site"), public_names() if "--names" in sys.argv else ())
    sys.stdout.writelines(f"{line}\n" for line in [*lines, counts])
    return bool(lines) or counts.startswith("0 pages")


if __name__ == "__main__":
    sys.exit(main())
