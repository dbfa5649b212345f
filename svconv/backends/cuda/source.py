"""The text of a kernel file with what it includes: CuPy keeps compiled code by the text it was given, headers read by the compiler do not
count there."""
import functools
import re
from pathlib import Path

_INCLUDE = re.compile(r'^#include "([^"]+)"\s*$', re.M)


def folder():
    """csrc/ of the checkout, or its copy in the installed package."""
    package = Path(__file__).resolve().parents[2]
    inside = package / "_csrc"
    return inside if inside.is_dir() else package.parent / "csrc"


@functools.cache
def assembled(file):
    """csrc/cuda/`file` with every file of ours that it includes in the place where it is first included."""
    seen = set()

    def text(path):
        if path in seen:
            return ""
        seen.add(path)
        return _INCLUDE.sub(lambda found: text(_found(found[1], path.parent)), path.read_text()).replace("#pragma once\n", "")

    return text(folder() / "cuda" / file)


def _found(name, beside):
    """The included file: beside the one that includes it, else from csrc/ on."""
    own = beside / name
    return own if own.is_file() else folder() / name
