"""Every example in a public docstring, in the README and in docs/ runs."""
import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import svconv

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(p.relative_to(ROOT) for p in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")] if p.is_file())
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def modules():
    skipped = ("svconv._triton", "svconv._C", "svconv.__main__", "svconv.backends.cuda.")
    return sorted(m.name for m in pkgutil.walk_packages(svconv.__path__, "svconv.") if not m.name.startswith(skipped))


@pytest.mark.parametrize("name", ["svconv", *modules()])
def test_docstrings(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert result.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_pages(page):
    result = doctest.testfile(str(ROOT / page), module_relative=False, optionflags=FLAGS, encoding="utf-8")
    assert result.failed == 0 and result.attempted == (ROOT / page).read_text().count(">>> ")


def test_every_public_function_has_an_example():
    lacking = [name for name in svconv.ops.__all__
               if callable(getattr(svconv, name)) and ">>>" not in (getattr(svconv, name).__doc__ or "")]
    assert lacking == []
