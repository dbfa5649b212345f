"""The README and every page below docs/ show Python that runs and commands that exist; doctests run in test_docstrings.py."""
import re
import shlex
from pathlib import Path

import pytest

from svconv.cli.parser import build_parser

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", flags=re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"\(not run by the tests: .+\)$")  # at the end of the line before a fence, where a reader sees it


def snippets(text):
    """(language, source, line before the fence) of the fenced blocks, then those of the indented ones, whose language is ""."""
    for found in FENCE.finditer(text):
        before = text[:found.start()].rstrip().rsplit("\n", 1)[-1]
        yield found[2], re.sub(f"^{found[1]}", "", found[3], flags=re.MULTILINE), before
    for found in re.finditer(r"(?<=\n\n)(?: {4}\S.*\n(?:\n(?= {4}))?)+", FENCE.sub("", text)):
        yield "", re.sub("^    ", "", found[0], flags=re.MULTILINE), ""


def programs(text):
    """Python that is neither a doctest nor marked as not run."""
    return [source for language, source, before in snippets(text)
            if language in ("python", "py") and ">>> " not in source and not NOT_RUN.search(before)]


def commands(text):
    """(words, whether it is a whole command) of every `svconv ...` and `python bench/...` in a block or in the middle of a line."""
    whole = [line.strip() for language, source, _ in snippets(text) if language in ("", "sh") for line in source.splitlines()]
    named = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    found = [(shlex.split(line), line in whole) for line in [*whole, *named] if re.match(r"(svconv [a-z-]|python bench/)", line)]
    return [(words, entire) for words, entire in found if not {"...", "COMMAND", "MODEL"} & set(words)]


def parsers(parser=None, name=""):
    """(name, parser) of `svconv` and of all commands, sub-commands after the command that they belong to."""
    parser = parser or build_parser()
    yield name.strip(), parser
    for action in parser._actions:
        for below, other in (action.choices if isinstance(action.choices, dict) else {}).items():
            yield from parsers(other, f"{name} {below}")


def wrong(words, whole):
    """Why a command cannot be right, or None. File names stand for any file; of one that is only named the options have to exist."""
    options = [word for word in words if word.startswith("--")]
    if words[0] == "python":
        program = ROOT / words[1]
        if not program.is_file():
            return f"{words[1]} is not there"
        unknown = [option for option in options if f'"{option}"' not in program.read_text()]
    else:
        name, parser = [(n, p) for n, p in parsers() if words[1:][: len(n.split())] == n.split()][-1]
        if not name and not words[1].startswith("--"):
            return f"svconv has no command {words[1]}"
        unknown = [option for option in options if option not in parser._option_string_actions]
    if unknown:
        return f"{' '.join(words)}: there is no option {unknown[0]}"
    if whole and words[0] == "svconv":
        try:
            build_parser().parse_args(words[1:])
        except SystemExit as stop:
            return f"{' '.join(words)}: exit status {stop.code}" if stop.code else None
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_programs_run(page):
    """A page is one session: a later snippet may use what an earlier one made."""
    names = {"__name__": "page"}
    for source in programs(page.read_text()):
        exec(compile(source, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page):
    assert [reason for words, whole in commands(page.read_text()) if (reason := wrong(words, whole))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_python_hides_in_an_indented_block(page):
    indented = [source for language, source, _ in snippets(page.read_text()) if not language]
    assert [source for source in indented if re.match(r"(>>> |import |from \w+ import )", source)] == []


def test_every_option_on_the_page_of_the_command_line_exists():
    text = re.sub(r"torchrun (--\S+ \d+ )+", "", (ROOT / "docs" / "cli.md").read_text())      # another program
    options = {option for _, parser in parsers() for option in parser._option_string_actions}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))
    assert {"--kernel", "--resume", "--debug", "--quiet"} <= named and named - options == set()


def test_the_readers_of_a_page_see_what_they_should():
    page = """# Page

```python
x = 1
```

```python
>>> 1 + 1
2

```

Long (not run by the tests: an hour)

```python
raise SystemExit
```

    svconv deblur a.png --kernel k.npy -o b.png
    svconv deblur a.png
    svconv deblur --frobnicate

   ```python
   y = x
   ```

Text `svconv deblur --blind`, `svconv certify --fast`, `svconv COMMAND --help`,
`python bench/cpu.py --stem s`, `python bench/none.py` and `svconv dance`.
"""
    assert programs(page) == ["x = 1\n", "y = x\n"]
    reasons = [(" ".join(words), wrong(words, whole)) for words, whole in commands(page)]
    assert reasons == [
        ("svconv deblur a.png --kernel k.npy -o b.png", None),
        ("svconv deblur a.png", "svconv deblur a.png: exit status 2"),
        ("svconv deblur --frobnicate", "svconv deblur --frobnicate: there is no option --frobnicate"),
        ("svconv deblur --blind", None),
        ("svconv certify --fast", "svconv certify --fast: there is no option --fast"),
        ("python bench/cpu.py --stem s", None),
        ("python bench/none.py", "bench/none.py is not there"),
        ("svconv dance", "svconv has no command dance"),
    ]


def test_the_ratios_that_a_page_quotes_are_those_of_the_speed_page():
    quoted = set(re.findall(r"\b\d+\.\d+x", (ROOT / "docs" / "from_unfold.md").read_text()))
    assert len(quoted) > 10 and quoted - set(re.findall(r"\b\d+\.\d+x", (ROOT / "docs" / "speed.md").read_text())) == set()
