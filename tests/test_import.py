"""`import svconv` loads the ops and nothing else, and without torch not even them; every other name is there when it is touched."""
import ast
import inspect
import json
import pickle
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

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


def child(program, *arguments):
    """The standard output of a program in a fresh process."""
    done = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(after=""):
    """The modules that `import svconv` adds to `import torch` in a fresh process, and those that `after` adds."""
    return json.loads(child(PROGRAM.format(after=after)))


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
        assert name in vars(svconv)  # the next look does not search again


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


LIGHT = """
import sys, inspect
import svconv
import svconv.cli, svconv.training.settings
assert svconv.__version__ and svconv.__doc__ and svconv.__file__
assert not hasattr(svconv, "__wrapped__") and not hasattr(svconv, "_C_of_another_name") and inspect.unwrap(svconv) is svconv
assert "TYPE_CHECKING" in inspect.getsource(svconv)
print([name for name in ("torch", "numpy", "svconv.ops", "svconv.backends") if name in sys.modules])
"""


def test_without_torch_nothing_is_loaded_until_an_attribute_is_touched():
    assert child(LIGHT) == "[]\n"


TOUCHES = ["svconv.conv", "svconv.ops", "svconv.files", "svconv.Conv", "svconv.use_backend", "dir(svconv)", "from svconv import conv",
           "from svconv import solvers", "from svconv import *", "import svconv.ops", "import svconv.solvers"]


@pytest.mark.parametrize("touch", TOUCHES)
def test_the_first_touch_registers_the_ops(touch):
    child(f"import svconv, sys\nassert 'torch' not in sys.modules\n{touch}\n"
          "import torch\nassert torch.ops.svconv.conv_fwd and torch.ops.svconv.pixel_filter_fwd\n"
          "assert svconv.conv is svconv.ops.conv and 'conv' in vars(svconv)")


@pytest.mark.parametrize("order", ["import torch, svconv", "import svconv, torch; svconv.ops", "import svconv.ops, torch"])
def test_an_exported_program_finds_its_ops(tmp_path, order):
    """Where torch is imported after svconv something of svconv has to be touched, or svconv.ops imported."""

    class Blur(torch.nn.Module):
        def forward(self, x, filters):
            return svconv.pixel_filter(x, filters)

    x, filters = torch.rand(1, 1, 5, 5), torch.rand(1, 3, 3, 5, 5)
    torch.export.save(torch.export.export(Blur(), (x, filters)), tmp_path / "blur.pt2")
    torch.save((x, filters, svconv.pixel_filter(x, filters)), tmp_path / "tensors.pt")
    child(f"import sys; {order}\n"
          "x, filters, y = torch.load(sys.argv[2])\n"
          "torch.testing.assert_close(torch.export.load(sys.argv[1]).module()(x, filters), y)",
          tmp_path / "blur.pt2", tmp_path / "tensors.pt")


def test_torch_imported_after_svconv_finds_no_ops_before_the_first_touch():
    """What the pages say of that order."""
    child("import svconv, torch\nfound = lambda: hasattr(torch.ops.svconv, 'conv_fwd')\n"
          "assert not found()\nsvconv.conv\nassert found()")


def test_pickles_need_no_import(tmp_path):
    things = svconv.pixel_filter, svconv.Conv(torch.ones(1, 1, 3, 3), padding="zeros"), svconv.nn.Barthann, svconv.use_backend("reference")
    (tmp_path / "things.pickle").write_bytes(pickle.dumps(things))
    program = ("import sys, pickle\nf, conv, module, block = pickle.load(open(sys.argv[1], 'rb'))\n"
               "import torch, svconv\nassert f is svconv.pixel_filter and isinstance(conv, svconv.Conv) and module is svconv.nn.Barthann\n"
               "print(float(conv(torch.ones(1, 1, 3, 3)).sum()), block.name)")
    assert child(program, tmp_path / "things.pickle") == "49.0 reference\n"


def test_a_compiled_function_may_be_the_first_touch():
    child("import svconv, torch\n"
          "f = torch.compile(lambda x, w: svconv.PixelFilter(w)(svconv.pixel_filter(x, w)), fullgraph=True, backend='eager')\n"
          "assert f(torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1, 1), 3.0)).item() == 9")


def test_threads_may_touch_at_once():
    child("""
import svconv, threading
names, found, start = ["conv", "Conv", "solvers", "ops", "use_backend", "pixel_filter", "__all__", "nn"], {}, threading.Barrier(8)
def touch(name):
    start.wait()
    found[name] = getattr(svconv, name)
threads = [threading.Thread(target=touch, args=(name,)) for name in names]
[t.start() for t in threads]
[t.join() for t in threads]
assert {name: getattr(svconv, name) for name in names if name != "__all__"} == {n: v for n, v in found.items() if n != "__all__"}
assert set(names) - {"__all__"} <= set(found["__all__"])
""")


def test_type_checkers_see_every_sub_package():
    """What `__getattr__` finds at run time stands under TYPE_CHECKING for those who only read the source."""
    tree = ast.parse(inspect.getsource(svconv))
    shown = next(node for node in tree.body if isinstance(node, ast.If) and node.test.id == "_TYPE_CHECKING")
    names = {alias.asname for node in shown.body for alias in node.names if node.module == "svconv"}
    assert names == PACKAGES
    others = {(node.module, alias.name, alias.asname) for node in shown.body for alias in node.names if node.module != "svconv"}
    assert others == {("svconv.ops", "*", None), ("svconv.operators", "*", None), ("svconv.backends", "use_backend", "use_backend")}
    assert Path(svconv.__file__).with_name("py.typed").is_file()
