"""What the site is made with: the reader of public names, the form of docstrings, and the check of the finished pages."""
import importlib
import importlib.util
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import svconv

ROOT = Path(__file__).resolve().parents[1]


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


public_names, docstrings = (loaded(ROOT / "docs" / "_site" / f"{name}.py") for name in ("public_names", "docstrings"))


def check(folder, *options):
    done = subprocess.run([sys.executable, ROOT / ".ci" / "site.py", folder, *options], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


def page(folder, name, body):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"<!doctype html><html><head></head><body>{body}</body></html>")


@pytest.fixture
def site(tmp_path):
    page(tmp_path, "index.html", '<a href="api/ops.html#svconv.conv">a</a> <a href="https://example.org/">elsewhere</a> <img src="p.png">')
    page(tmp_path, "api/ops.html", '<h2 id="svconv.conv">conv</h2> <a href="../index.html">up</a> <a href="#svconv.conv">here</a>')
    (tmp_path / "p.png").write_bytes(b"")
    (tmp_path / "site.css").write_text("body { background: url(p.png) }")
    return tmp_path


def test_a_site_that_holds_together_is_right(site):
    assert check(site) == (0, ["2 pages, 4 internal links, 1 files loaded by pages, 0 formulas, 0 public names; 0 findings"])


@pytest.mark.parametrize("body", [
    '<script src="https://cdn.example.org/m.js"></script>',
    '<script src="//cdn.example.org/m.js"></script>',
    '<link rel="stylesheet" href="https://fonts.example.org/css">',
    '<link rel="preconnect" href="https://fonts.example.org" crossorigin>',
    '<img src="HTTPS://example.org/p.png">',
    '<img srcset="p.png 1x, https://example.org/p.png 2x">',
    '<iframe src="https://example.org/"></iframe>',
    "<style>@font-face { src: url('https://fonts.example.org/f.woff2') }</style>",
    '<style>@import "https://fonts.example.org/css";</style>',
    '<p style="background: url(https://example.org/p.png)"></p>',
    '<svg><image href="https://example.org/p.png"/></svg>',
])
def test_what_is_loaded_from_elsewhere_is_found(site, body):
    page(site, "foreign.html", body)
    status, lines = check(site)
    assert status == 1 and re.fullmatch(r"foreign\.html: loads \S+example\.org\S* from elsewhere", lines[0]) and len(lines) == 2


def test_a_style_sheet_that_loads_from_elsewhere_is_found(site):
    (site / "site.css").write_text('@import "//fonts.example.org/css";')
    assert check(site)[1][0] == "site.css: loads //fonts.example.org/css from elsewhere"


@pytest.mark.parametrize("address, why", [
    ("gone.html", "is not there"), ("api/", "is not there"), ("../outside.html", "is not there"),
    ("api/ops.html#svconv.gone", "has no such place"), ("#gone", "has no such place"),
])
def test_a_link_that_leads_nowhere_is_found(site, address, why):
    page(site, "links.html", f'<a href="{address}">a</a>')
    assert check(site) == (1, [f"links.html: {address} {why}", check(site)[1][-1]])


def test_a_public_name_without_a_place_is_found_and_an_empty_site_is_none(site, tmp_path):
    status, lines = check(site, "--names")
    assert status == 1 and "svconv.solvers.cg: is not in the API" in lines and "svconv.conv: is not in the API" not in lines
    (tmp_path / "empty").mkdir()
    assert check(tmp_path / "empty")[0] == 1


@pytest.mark.parametrize("package", [*public_names.FLAT, *public_names.NAMED])
def test_the_names_that_are_read_are_those_that_python_sees(package):
    module = importlib.import_module(f"svconv.{package}")
    seen = {name for name in module.__all__ if name != "EXAMPLES"}
    assert {name.public.rpartition(".")[2] for name in public_names.names(package)} == seen
    for name in public_names.names(package):
        last = name.path.rpartition(".")[2]
        assert getattr(importlib.import_module(name.module), last) is getattr(module, last)


def test_no_name_of_svconv_is_left_out():
    packages = {module.name for module in pkgutil.iter_modules(svconv.__path__) if module.ispkg}
    assert {f"svconv.{name}" for name in set(svconv.__all__) - packages | {"use_backend"}} <= public_names.everything().keys()
    assert packages - {"_triton", "_bench", "_csrc", "backends", "cli", "reference"} == {
        *public_names.FLAT, *public_names.NAMED, *public_names.BY_MODULE}


@pytest.mark.parametrize("package", public_names.BY_MODULE)
def test_modules_that_are_documented_exist(package):
    there = {module.name for module in pkgutil.iter_modules(importlib.import_module(f"svconv.{package}").__path__)}
    chosen = set(public_names.modules(package))
    assert chosen <= there and (package != "interop" or chosen == {name for name in there if not name.startswith("_")})


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r"[\w/.-]+\.md", (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2])) - {"contributing.md", "changes.md"}
    assert listed == {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}


def test_a_docstring_comes_into_the_form_of_the_site():
    text = docstrings.in_markdown("""Blurs, see `nn.Blur` and `f`; a[i][j].

Shapes:
    forward(x)
    -> y

Args:
    eps: > 0.

Returns:
    [B]: one.

Raises:
    ValueError, TypeError: naming it.

>>> f(1)        # doctest: +ELLIPSIS
1

>>> f(2)
2
""", {"svconv.nn.Blur": "svconv.nn.blur.Blur"})
    assert text == """Blurs, see [`nn.Blur`][svconv.nn.blur.Blur] and `f`; a[i]\\[j].

**Shapes:**

forward(x)
-> y

Args:
    eps: \\> 0.

**Returns:**

[B]: one.

Raises:
    ValueError or TypeError: naming it.

```pycon
>>> f(1)
1
>>> f(2)
2
```
"""
