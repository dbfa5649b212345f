"""Docstrings in the form of this package, brought into the form of the site."""
import re
import textwrap

EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", flags=re.MULTILINE)
ERRORS = re.compile(r"^( +)(\w+Error), (\w+Error):", flags=re.MULTILINE)     # two kinds with one description
SECTION = re.compile(r"^(Shapes|Items|Returns(?!:\n +\w+: )):\n((?: {4}.*\n?|\n)+)", flags=re.MULTILINE)  # what has no list of names
GREATER = re.compile(r"^( +[\w, ]+: )>", flags=re.MULTILINE)                           # "eps: > 0" is no quotation
OPTION = re.compile(r" *# doctest: .*$", flags=re.MULTILINE)


def fenced(text):
    """Examples, which Markdown would take for quotations, as fenced blocks; blank lines between two examples join them."""
    text = re.sub(r"(?m)^(>>> .*(?:\n(?!\s*$).*)*)\n\n+(?=>>> )", r"\1\n", text)
    return EXAMPLE.sub(lambda found: f"```pycon\n{OPTION.sub('', found[0])}\n```", text)


def linked(text, public):
    """The names in backticks that have a place in the API lead there; `a[i][j]` outside of backticks is no link."""
    parts = re.split(r"(```.*?```|`[^`\n]+`)", text, flags=re.DOTALL)
    return "".join(link(part, public) if i % 2 else part.replace("][", "]\\[") for i, part in enumerate(parts))


def link(code, public):
    name = code.strip("`").removesuffix("()")
    found = next((public[full] for full in (name, f"svconv.{name}") if "." in name and full in public), None)
    return f"[{code}][{found}]" if found else code


def in_markdown(text, public):
    """A docstring of this package as the site takes it."""
    text = SECTION.sub(lambda found: f"**{found[1]}:**\n\n{textwrap.dedent(found[2])}", text)
    text = GREATER.sub(r"\1\>", ERRORS.sub(r"\1\2 or \3:", text))
    return linked(fenced(text), public)
