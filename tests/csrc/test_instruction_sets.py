"""The instruction sets of the compiled module: results that agree, and SVCONV_ISA."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: F401  before svconv._C, so that one libgomp serves both

_C = pytest.importorskip("svconv._C", reason="svconv._C is not built")

ISA_PROGRAM = """
import numpy as np, torch, svconv._C as C
rng = np.random.default_rng(5)
x, f, y = (rng.standard_normal(s).astype(np.float32) for s in ((1, 2, 33, 45), (1, 1, 2, 5, 11, 33, 45), (1, 2, 2, 33, 45)))
half = lambda a, t: torch.from_numpy(a).to(t).view(torch.uint16).numpy()
outs = []
for name, conv in (("float32", lambda a: a), ("bfloat16", lambda a: half(a, torch.bfloat16)), ("float16", lambda a: half(a,
torch.float16))):
    empty = lambda a: np.empty_like(conv(a))
    tail = ("circular", 2, name, name)
    o = [empty(y), empty(x), empty(f), empty(x)]
    C.pixel_filter_fwd(conv(x), conv(f), o[0], *tail)
    C.pixel_filter_adjoint(conv(y), conv(f), o[1], *tail)
    C.pixel_filter_bwd_filters(conv(x), conv(y), o[2], *tail)
    C.pixel_filter_gram(conv(x), conv(f), None, o[3], *tail)
    kind = getattr(torch, name)
    outs += [(torch.from_numpy(a) if name == "float32" else torch.from_numpy(a).view(kind)).double().numpy().ravel() for a in o]
print(C.build_info()["isa"])
np.save(__import__("os").environ["OUT"], np.concatenate(outs))
"""


def test_lower_instruction_sets_agree(tmp_path, child):
    results = {}
    for isa in _C.build_info()["isa_supported"]:
        path = tmp_path / f"{isa}.npy"
        done = child(ISA_PROGRAM, SVCONV_ISA=isa, OUT=str(path))
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [isa]
        results[isa] = np.load(path)
    first = next(iter(results.values()))
    for isa, values in results.items():
        # A float32 sum may round otherwise with FMA; one unit in the last place of a half type then follows.
        np.testing.assert_allclose(values, first, rtol=2.0**-7, atol=2e-3, err_msg=isa)
        assert np.mean(np.abs(values - first)) < 1e-4


# ---- SVCONV_ISA asks for what cannot be

def test_unknown_instruction_set_is_named(child):
    done = child("import torch, svconv._C", SVCONV_ISA="sse9")
    assert done.returncode != 0 and "SVCONV_ISA" in done.stderr


def test_unknown_instruction_set_is_a_value_error_with_the_allowed_ones(child):
    done = child("import torch, svconv\nsvconv.pixel_filter(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 2, 2))", SVCONV_ISA="sse9")
    built = ", ".join(_C.build_info()["isa_built"])
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1] == f"ValueError: SVCONV_ISA: expected one of {built}, got 'sse9'"


def test_the_reason_of_a_missing_module_stays_a_reason(child):
    done = child(
        "import sys, torch, svconv.backends.cpu as cpu\nsys.modules['svconv._C'] = None\nprint(cpu.extension())", SVCONV_ISA="sse9"
    )
    assert done.returncode == 0 and "svconv._C" in done.stdout


PROGRAM = """
#include "cpu/dispatch.cpp"
#include <cstdio>
INCLUDES
namespace svconv {
#define SVCONV_FAMILY(stem, Table) const Table stem = {};
#define SVCONV_LEVEL(level, needs) namespace level { SVCONV_FAMILIES(SVCONV_FAMILY) }
SVCONV_LEVELS(SVCONV_LEVEL)
}
int main() {
  std::string mistake;
  const svconv::Level* chosen = svconv::chosen_level(&mistake);
  std::printf("%s|%s\\n", chosen ? chosen->name : "", mistake.c_str());
}
"""


@pytest.fixture(scope="module")
def dispatch(tmp_path_factory):
    """The dispatch with two levels that any processor has and two whose features none has: what it answers to a value of SVCONV_ISA."""
    csrc = Path(__file__).resolve().parents[2] / "csrc"
    compiler = shutil.which("g++") or shutil.which("clang++")
    if not compiler or not csrc.is_dir():
        pytest.skip("needs the checkout and a C++ compiler")
    folder = tmp_path_factory.mktemp("dispatch")
    headers = sorted(csrc.glob("cpu/*/*.h"))
    includes = "\n".join(f'#include "{h.relative_to(csrc)}"' for h in headers if h.stem == h.parent.name)
    (folder / "main.cpp").write_text(PROGRAM.replace("INCLUDES", includes))
    levels = '-DSVCONV_LEVELS(LEVEL)=LEVEL(low, "") LEVEL(middle, "") LEVEL(high, "quantum") LEVEL(top, "quantum warp")'
    subprocess.run([compiler, "-std=c++20", f"-I{csrc}", levels, folder / "main.cpp", "-o", folder / "main"], check=True)

    def ask(value):
        done = subprocess.run([folder / "main"], env={**os.environ, "SVCONV_ISA": value}, capture_output=True, text=True, check=True)
        return done.stdout.strip().split("|")

    return ask


@pytest.mark.parametrize("value,name,mistake", [
    ("", "middle", ""),
    ("low", "low", ""),
    ("middle", "middle", ""),
    ("high", "", "SVCONV_ISA: this processor cannot run high (it lacks quantum); expected one of low, middle"),
    ("top", "", "SVCONV_ISA: this processor cannot run top (it lacks quantum, warp); expected one of low, middle"),
    ("MIDDLE", "", "SVCONV_ISA: expected one of low, middle, high, top, got 'MIDDLE'"),
])
def test_a_level_is_never_lowered_silently(dispatch, value, name, mistake):
    assert dispatch(value) == [name, mistake]


def test_every_feature_that_the_objects_use_is_asked_for():
    info = _C.build_info()
    setup = Path(__file__).resolve().parents[2] / "setup.py"
    least = {"avx2": {"avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt"}, "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"}}
    built = [name for name in least if name in info["isa_built"]]  # SVCONV_BUILD_LEVELS may have left one out
    if not built or not setup.is_file():
        pytest.skip("needs the checkout and a module built for AVX2 or AVX-512")
    for below, name in zip([None, *built], built):
        assert least[name] | set(info["isa_needs"].get(below, [])) <= set(info["isa_needs"][name])
    text = setup.read_text()
    for name in info["isa_built"]:
        flags = re.search(rf'"{name}": \[(.*?)\]', text, re.DOTALL)[1]
        assert info["isa_needs"][name] == [flag for flag in re.findall(r'"-m([^"]*)"', flags) if "=" not in flag]


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="reads /proc/cpuinfo")
def test_the_processor_is_read_correctly():
    info = _C.build_info()
    if not info["isa_needs"]:
        pytest.skip("needs a processor of the x86 family")
    flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[1].split()
    other = {"sse4.2": "sse4_2", "bmi": "bmi1", "lzcnt": "abm"}
    for level, needs in info["isa_needs"].items():
        assert info["isa_lacks"][level] == [name for name in needs if other.get(name, name) not in flags]
        assert (level in info["isa_supported"]) == (not info["isa_lacks"][level])
