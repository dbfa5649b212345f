"""How a program's table gets into a page: written beside the target and renamed, only between the markers of its section.

    <!-- NAME --> ... <!-- /NAME -->
"""
import pathlib
import textwrap


def write(path, text):
    """Writes beside the target, then renames: a reader never sees half a file."""
    from svconv.files import outputs  # here, because a page is often only read, and that needs no torch

    outputs.make_folder(pathlib.Path(path).parent)
    outputs.write_text(path, text)


def replaced(text, name, body):
    """`text` with `body` as its section of that name; a text without the section gets it at its end.

    Raises:
        ValueError: only one of the two markers is there, or one of them more than once.
    """
    opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
    counts = text.count(opening), text.count(closing)
    if counts == (0, 0):
        return f"{text.rstrip()}\n\n{opening}\n{body}\n{closing}\n"
    if counts != (1, 1):
        raise ValueError(f"page: expected both {opening} and {closing}, each once, found them {counts[0]} and {counts[1]} times")
    before, rest = text.split(opening)
    return f"{before}{opening}\n{body}\n{closing}{rest.split(closing)[1]}"


def fill(path, name, body, title):
    """Replaces the section in the file at `path`; a file that is not there yet begins with `title`."""
    path = pathlib.Path(path)
    write(path, replaced(path.read_text() if path.exists() else f"# {title}\n", name, body))


def paragraph(text):
    """The text in lines of at most 140 characters."""
    return textwrap.fill(" ".join(text.split()), 140, break_long_words=False, break_on_hyphens=False)
