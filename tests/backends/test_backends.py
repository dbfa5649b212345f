"""The choice of a backend: order, overrides, reasons, errors."""
import subprocess
import sys

import pytest
import torch

import svconv
from svconv import backends
from svconv.ops._library import STEMS


def run():
    return svconv.pixel_filter(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 2, 2))


def chosen(monkeypatch, action):
    """The backend asked for while `action` runs."""
    seen = []
    original = backends._candidates

    def spy(stem, op, device_type, forced):
        found = original(stem, op, device_type, forced)
        seen.append(found[0][0])
        return found

    monkeypatch.setattr(backends, "_candidates", spy)
    action()
    return seen[-1]


def test_the_argument_goes_before_the_context_and_the_context_before_the_environment(monkeypatch):
    monkeypatch.setenv("SVCONV_BACKEND", "cuda")
    assert backends.requested(None) == "" and backends.requested_outside() == "cuda"
    with svconv.use_backend("triton"):
        assert backends.requested(None) == "triton"
        assert backends.requested("reference") == "reference"
        with svconv.use_backend("reference"):
            assert chosen(monkeypatch, run) == "reference"
        assert backends.requested(None) == "triton"
    monkeypatch.delenv("SVCONV_BACKEND")
    assert backends.requested(None) == backends.requested_outside() == ""


@pytest.mark.parametrize("force", [
    lambda: svconv.pixel_filter(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 2, 2), backend="fpga"),
    lambda: svconv.use_backend("fpga"),
])
def test_unknown_names_are_value_errors(force):
    with pytest.raises(ValueError, match="backend: expected one of cuda, triton, cpu, reference, got 'fpga'"):
        force()


def test_unknown_name_in_the_environment(monkeypatch):
    monkeypatch.setenv("SVCONV_BACKEND", "fpga")
    with pytest.raises(ValueError, match="backend: expected one of .*got 'fpga'"):
        run()


def test_a_forced_backend_never_falls_back():
    with pytest.raises(RuntimeError, match="backend 'cuda' was forced but cannot run pixel_filter_fwd on cpu: runs on cuda tensors"):
        svconv.pixel_filter(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 2, 2), backend="cuda")


def test_triton_on_a_cpu_names_the_interpreter(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(RuntimeError, match="TRITON_INTERPRET=1|not installed"):
        svconv.pixel_filter(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 2, 2), backend="triton")


def test_the_backend_of_the_forward_serves_the_backward(monkeypatch):
    x = torch.ones(1, 1, 2, 2, requires_grad=True)
    y = svconv.pixel_filter(x, torch.ones(1, 1, 1, 2, 2), backend="reference")
    assert chosen(monkeypatch, lambda: y.sum().backward()) == "reference"


def test_table_gives_a_reason_for_every_no():
    rows = backends.table(STEMS)
    assert {op for op, *_ in rows} == set(STEMS)
    assert all(reason is None or len(reason) > 5 for *_, reason in rows)
    assert all(reason is None for _, _, name, reason in rows if name == "reference")


def test_importing_touches_no_gpu_and_starts_nothing():
    code = "import torch, svconv, sys; assert not torch.cuda.is_initialized(); assert 'triton' not in sys.modules, 'triton imported'"
    subprocess.run([sys.executable, "-c", code], check=True)
