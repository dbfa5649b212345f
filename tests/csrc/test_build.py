"""How the compiled module was built, and what setup.py makes of the files below csrc."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch  # noqa: F401  before svconv._C, so that one libgomp serves both

SETUP = Path(__file__).resolve().parents[2] / "setup.py"


def test_build_info():
    _C = pytest.importorskip("svconv._C", reason="svconv._C is not built")
    info = _C.build_info()
    assert info["compiler"] and "-O3" in info["flags"] and "fast-math" not in info["flags"]
    assert info["isa"] in info["isa_supported"] and set(info["isa_supported"]) <= set(info["isa_built"])
    assert isinstance(info["openmp"], bool)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/maps")
def test_one_openmp_runtime(child):
    done = child("import torch, svconv._C\n"
                 "lines = open('/proc/self/maps').read().splitlines()\n"
                 "print(len({line.split()[-1] for line in lines if 'libgomp' in line or 'libomp' in line or 'libiomp' in line}))")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 1


# ---- setup.py on a small tree

KERNEL = """
#define SVCONV_TEXT_(x) #x
#define SVCONV_TEXT(x) SVCONV_TEXT_(x)
namespace SVCONV_ISA {
extern const char* const NAME;
#if defined(__AVX512F__)
const char* const NAME = "NAME compiled for avx512 as " SVCONV_TEXT(SVCONV_ISA);
#elif defined(__AVX2__)
const char* const NAME = "NAME compiled for avx2 as " SVCONV_TEXT(SVCONV_ISA);
#else
const char* const NAME = "NAME compiled for less as " SVCONV_TEXT(SVCONV_ISA);
#endif
}
"""
MODULE = """
#include <Python.h>
#ifdef SVCONV_ISA
#error "bindings and dispatch belong to no instruction set"
#endif
#define LEVEL(level) namespace level { extern const char *const first, *const second; }
LEVELS
#undef LEVEL
extern const int dispatch;
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_C", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
PyMODINIT_FUNC PyInit__C() {
  PyObject* m = PyModule_Create(&definition);
  PyModule_AddIntConstant(m, "dispatch", dispatch);
#define LEVEL(level) PyModule_AddStringConstant(m, #level "_first", level::first); \\
    PyModule_AddStringConstant(m, #level "_second", level::second);
  LEVELS
  return m;
}
"""
LEVELS = {"baseline": "less", "avx2": "avx2", "avx512": "avx512"}
LEVELS_OF = {"x86_64": LEVELS, "AMD64": LEVELS, "aarch64": {"neon": "less"}, "arm64": {"neon": "less"}}


@pytest.fixture
def small_tree(tmp_path):
    """A checkout with two families whose files have the same names, and a function that builds it with some variables set."""
    if not SETUP.is_file() or not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("needs the checkout and a C++ compiler")
    shutil.copy(SETUP, tmp_path)
    levels = LEVELS_OF.get(os.uname().machine, {"generic": "less"})
    text = MODULE.replace("LEVELS", " ".join(f"LEVEL({level})" for level in levels))
    (tmp_path / "svconv").mkdir()
    for name, content in {
        "cpu/first/kernel.cpp": KERNEL.replace("NAME", "first"),
        "cpu/second/kernel.cpp": KERNEL.replace("NAME", "second"),
        "cpu/kernel.cpp": "extern const int dispatch;\nconst int dispatch = 7;\n",
        "bindings/kernel.cpp": text,
    }.items():
        path = tmp_path / "csrc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def build(**environment):
        command = [sys.executable, "setup.py", "build_ext", "--inplace"]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "SVCONV_BUILD": "cpu", **environment}, capture_output=True, text=True
        )
        return done, levels

    return build, tmp_path


def constants(folder):
    program = "import _C; print({name: value for name, value in vars(_C).items() if not name.startswith('__')})"
    done = subprocess.run([sys.executable, "-c", program], cwd=folder / "svconv", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return eval(done.stdout)


def test_files_of_one_name_in_two_folders_both_reach_the_module(small_tree):
    build, folder = small_tree
    done, levels = build()
    assert done.returncode == 0, done.stdout + done.stderr
    expected = {
        f"{level}_{name}": f"{name} compiled for {kind} as {level}" for level, kind in levels.items() for name in ("first", "second")
    }
    assert constants(folder) == {"dispatch": 7, **expected}


def test_an_object_is_made_anew_only_where_its_source_changed(small_tree):
    build, folder = small_tree
    build()
    before = {path: path.stat().st_mtime_ns for path in (folder / "build").rglob("*.o")}
    source = folder / "csrc" / "cpu" / "second" / "kernel.cpp"
    source.write_text(source.read_text().replace("compiled for", "made for"))
    _, levels = build()
    changed = {path for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert len(changed) == len(levels) and all(path.parent.name == "second" for path in changed)
    assert {value.split()[1] for name, value in constants(folder).items() if name.endswith("second")} == {"made"}
