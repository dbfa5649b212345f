"""Kernels that are there but do not load: a reason for the table, the next backend, an error only where the backend is forced."""
import os
import subprocess
import sys

import pytest
import torch

import svconv
from svconv import backends
from svconv.ops._library import STEMS

ERRORS = ["ImportError('libtriton.so: cannot open shared object file')", "OSError('libcuda.so.1 is not here')",
          "RuntimeError('two versions\\nare loaded')", "AttributeError('no attribute jit')", "ValueError('numpy.dtype size changed')"]


@pytest.fixture
def fresh_choice():
    """No verdict is remembered from before, or for later."""
    backends.stem_module.cache_clear()
    backends._candidates.cache_clear()
    yield
    backends.stem_module.cache_clear()
    backends._candidates.cache_clear()


def run(backend=None):
    return svconv.pixel_filter(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 2, 2), backend=backend)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("name", ["cuda", "triton", "cpu"])
def test_kernels_that_do_not_load(monkeypatch, tmp_path, fresh_choice, name, error):
    (tmp_path / f"broken_{name}_kernels.py").write_text(f"raise {error}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(backends._BACKENDS[name], "MODULE", f"broken_{name}_kernels")
    monkeypatch.setattr(backends._BACKENDS[name], "why_not", lambda device_type: None)
    kind, text = error.split("(", 1)[0], error.split("'")[1].replace("\\n", " ")
    reason = f"the {name} kernels do not load: {kind}: {text}"
    assert backends.why_not(name, "pixel_filter", "pixel_filter_fwd", "cpu") == reason
    assert {row[3] for row in backends.table(STEMS) if row[2] == name} == {reason}
    assert run().flatten().tolist() == [1.0] * 4
    with pytest.raises(
        RuntimeError, match=f"backend '{name}' was forced but cannot run pixel_filter_fwd on cpu: the .* do not load: {kind}"
    ):
        run(name)


def test_a_refusal_that_the_user_must_see_is_not_taken_for_a_broken_installation(monkeypatch, fresh_choice):
    def wrong_setting(device_type):
        raise ValueError("SVCONV_ISA: expected one of baseline, avx2, got 'avx3'")

    monkeypatch.setattr(backends.cpu, "why_not", wrong_setting)
    with pytest.raises(ValueError, match="SVCONV_ISA: expected"):
        run()


def test_a_broken_triton(tmp_path):
    """The package is found, its import fails: the ops run, `svconv info` says why, a forced call names the reason."""
    (tmp_path / "triton").mkdir()
    (tmp_path / "triton" / "__init__.py").write_text("raise OSError('libtriton.so: undefined symbol')\n")
    folder = os.path.dirname(os.path.dirname(svconv.__file__))
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join([str(tmp_path), folder])}
    environment.pop("SVCONV_BACKEND", None)
    program = """
import torch, svconv
from svconv import backends
x, f = torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 2, 2)
assert svconv.pixel_filter(x, f).sum() == 4
try:
    svconv.pixel_filter(x, f, backend="triton")
except RuntimeError as error:
    assert "backend 'triton' was forced" in str(error) and "OSError: libtriton.so: undefined symbol" in str(error), error
else:
    raise AssertionError("no error")
"""
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    shown = subprocess.run([sys.executable, "-m", "svconv", "info"], check=True, env=environment, capture_output=True, text=True).stdout
    assert "the triton kernels do not load: OSError: libtriton.so: undefined symbol" in " ".join(shown.split())
