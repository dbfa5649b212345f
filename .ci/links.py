"""The pages point at what is there: `python .ci/links.py [FOLDER]` names links to missing files and headings.

In CONTRIBUTING.md and docs/architecture.md, which describe the tree, every `path/in/backticks` has to exist too; <stem> stands for
a family.
"""
import re
import sys
from pathlib import Path

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)*(?:/|/[\w.-]+\.\w+))`")
DESCRIBE_THE_TREE = ("CONTRIBUTING.md", "docs/architecture.md")


def pages(root):
    return sorted([*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob(".github/**/*.md")])


def prose(text):
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text):
    """The names under which the headings of a page can be reached."""
    headings = re.findall(r"^#+ +(.*)$", prose(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page, root):
    for target in LINK.findall(prose(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists():
            yield f"{page.relative_to(root)}: {target} is not there"
        elif anchor and anchor not in anchors(file.read_text()):
            yield f"{page.relative_to(root)}: {target}: no such heading"


def missing_paths(page, root):
    for name in PATH.findall(prose(page.read_text())):
        if not (root / name).exists():
            yield f"{page.relative_to(root)}: `{name}` is not there"


def findings(root):
    lines = [line for page in pages(root) for line in broken_links(page, root)]
    for name in DESCRIBE_THE_TREE:
        if (root / name).is_file():
            lines += missing_paths(root / name, root)
    return lines


def main():
    found = findings(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]).resolve())
    sys.stdout.writelines(f"{line}\n" for line in found)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
