"""Every environment variable that the tree reads is on docs/environment.md, and the page names no other of ours."""
import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "environment.md").read_text()
FOLDERS = ("svconv", "triton_kernels", "bench", "tests", ".ci")
PYTHONS_OWN = {"PYTHONPATH"}      # handed on to child processes


def is_environment(node):
    return isinstance(node, ast.Attribute) and node.attr == "environ"


def keys(tree):
    """The expressions under which a module looks into os.environ."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and is_environment(node.value):
            yield node.slice
        elif isinstance(node, ast.Compare) and is_environment(node.comparators[0]):
            yield node.left
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if node.func.attr == "getenv" or node.func.attr in ("get", "pop", "setdefault") and is_environment(node.func.value):
                yield node.args[0]


def texts(nodes):
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def through_a_parameter(tree, name):
    """The texts that a function of the module can get as its parameter `name`: its default, and what its callers write."""
    functions = [f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and name in [a.arg for a in f.args.args]]
    called = {f.name for f in functions}
    calls = [c for c in ast.walk(tree) if isinstance(c, ast.Call) and getattr(c.func, "attr", getattr(c.func, "id", "")) in called]
    return texts(d for f in functions for d in f.args.defaults) | texts(a for c in calls for a in c.args)


def variables(source):
    """The names of the variables that a Python source reads."""
    tree = ast.parse(source)
    found = set()
    for key in keys(tree):
        if isinstance(key, ast.Name) and not (spelled := through_a_parameter(tree, key.id)):
            constant = [n.value for n in ast.walk(tree) if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == key.id]
            spelled = texts(constant)
        found |= texts([key]) | (spelled if isinstance(key, ast.Name) else set())
    return found


def read_by_the_tree():
    python = [ROOT / "setup.py", *(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))]
    names = {name: path for path in python for name in variables(path.read_text())}
    for path in [*(ROOT / "csrc").rglob("*.cpp"), *(ROOT / "csrc").rglob("*.h")]:
        names |= dict.fromkeys(re.findall(r'getenv\("(\w+)"\)', path.read_text()), path)
    names |= dict.fromkeys(re.findall(r"\bSVCONV_[A-Z_]+(?==|:-|\})", (ROOT / ".ci" / "run").read_text()), ROOT / ".ci" / "run")
    return {name: path for name, path in names.items() if name not in PYTHONS_OWN}


def on_the_page():
    return {name for row in re.findall(r"^\| (`.*?) \|", PAGE, flags=re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}


def test_every_way_to_read_a_variable_is_seen():
    source = """
import os
from os import environ
NAME = "A"
def flags(variable="B"):
    return os.environ.get(variable, "")
flags("C")
x = [os.environ[NAME], os.environ.get("D", 2), os.getenv("E"), "F" in os.environ, {**os.environ, "NOT_READ": "1"}, os.environ.pop("G")]
"""
    assert variables(source) == set("ABCDEFG")


def test_every_variable_that_is_read_is_on_the_page():
    read = read_by_the_tree()
    assert {"SVCONV_BACKEND", "SVCONV_ISA", "SVCONV_BUILD", "SVCONV_DATA", "CXX", "CXXFLAGS", "LDFLAGS", "MAX_JOBS"} <= set(read)
    assert {name: str(path.relative_to(ROOT)) for name, path in read.items() if name not in on_the_page()} == {}


def test_the_page_names_no_variable_that_nobody_reads():
    ours = {name for name in on_the_page() if not name.endswith("_NUM_THREADS")}
    assert ours - set(read_by_the_tree()) == set()
