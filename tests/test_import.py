"""`import svconv` loads the ops and nothing else; every other name is there when it is touched."""
import ast
import inspect
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import svconv

PACKAGES = {module.name for module in pkgutil.iter_modules(svconv.__path__) if module.ispkg and not module.name.startswith("_")}
HEAVY = ("triton", "cupy", "scipy", "PIL", "tqdm", "tifffile", "imagecodecs", "matplotlib", "numba", "astropy", "deepinv", "pylops", "dask")
PROGRAM = """
import json, sys
import torch
before = set(sys.modules)
import svconv
{after}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def loaded(after=""):
    """The modules that `import svconv` adds to `import torch` in a fresh process, and those that `after` adds."""
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(after=after)], capture_output=True, text=True, timeout=120, check=True)
    return json.loads(done.stdout)


def test_importing_svconv_loads_neither_the_upper_layers_nor_other_libraries():
    modules = loaded()
    upper = PACKAGES - {"ops", "backends", "reference"}
    assert upper >= {"cli", "data", "models", "nn", "operators", "solvers", "training"}
    assert [m for m in modules if m.startswith("svconv.") and m.split(".")[1] in upper | {"_C", "_triton"}] == []
    assert [m for m in modules if m.split(".")[0] in HEAVY] == []
    assert "svconv.ops.pixel_filter" in modules


def test_looking_at_the_names_does_not_load_models_data_or_the_command_line():
    assert [m for m in loaded("dir(svconv)") if m.startswith(("svconv.models", "svconv.data", "svconv.cli", "svconv.training"))] == []


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_every_sub_package_is_an_attribute(name):
    modules = loaded(f"svconv.{name}")
    assert f"svconv.{name}" in modules and name in dir(svconv) and name in svconv.__all__


def test_operators_are_attributes():
    operators = {name: value for name in svconv.operators.__all__ if callable(value := getattr(svconv.operators, name))}
    assert {"Conv", "Identity", "Operator", "PixelFilter"} <= set(operators)
    for name, value in operators.items():
        assert getattr(svconv, name) is value and name in dir(svconv)


def test_star_import_brings_every_public_name():
    names = {}
    exec("from svconv import *", names)
    assert names["Conv"] is svconv.Conv and names["pixel_filter"] is svconv.pixel_filter and names["use_backend"] is svconv.use_backend
    assert PACKAGES < set(names) and set(svconv.ops.__all__) < set(names)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'svconv' has no attribute 'blurr'"):
        svconv.blurr  # noqa: B018
    with pytest.raises(ImportError, match="blurr"):
        exec("from svconv import blurr")


def test_type_checkers_see_every_sub_package():
    """What `__getattr__` finds at run time stands under TYPE_CHECKING for those who only read the source."""
    tree = ast.parse(inspect.getsource(svconv))
    shown = next(node for node in tree.body if isinstance(node, ast.If) and node.test.id == "_TYPE_CHECKING")
    names = {alias.asname for node in shown.body for alias in node.names if node.module == "svconv"}
    assert names == PACKAGES - {"ops"}
    assert Path(svconv.__file__).with_name("py.typed").is_file()
