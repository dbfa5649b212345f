"""bench/pages.py: sections of pages between markers, written beside the page and renamed."""
import os
import pathlib
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2]))
from bench import pages


def test_only_the_section_is_replaced():
    text = "# Page\n\n<!-- a -->\nold\n<!-- /a -->\nbetween\n<!-- b -->\nkept\n<!-- /b -->\nend\n"
    new = pages.replaced(text, "a", "new \\1 text")
    assert new == text.replace("old", "new \\1 text") and pages.replaced(new, "a", "old") == text


def test_a_page_without_the_section_gets_it_at_its_end(tmp_path):
    page = tmp_path / "folder" / "page.md"
    pages.fill(page, "a", "one", "Title")
    assert page.read_text() == "# Title\n\n<!-- a -->\none\n<!-- /a -->\n"
    pages.fill(page, "b", "two", "Another title")
    pages.fill(page, "a", "three", "Another title")
    assert page.read_text() == "# Title\n\n<!-- a -->\nthree\n<!-- /a -->\n\n<!-- b -->\ntwo\n<!-- /b -->\n"
    assert list(page.parent.iterdir()) == [page]


@pytest.mark.parametrize("text", ["<!-- a -->\n", "<!-- /a -->\n", "<!-- a -->\n<!-- /a -->\n<!-- a -->\n<!-- /a -->\n"])
def test_half_a_section_or_two_are_refused(text):
    with pytest.raises(ValueError, match="expected both <!-- a --> and <!-- /a -->"):
        pages.replaced(text, "a", "body")


def test_an_interrupted_write_leaves_the_page_as_it_was(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("old")

    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(KeyboardInterrupt):
        pages.write(page, "new")
    assert page.read_text() == "old" and list(tmp_path.iterdir()) == [page]
