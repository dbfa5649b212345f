"""The fused feature pass on every backend that runs here: against float64, strides, tiny images, threads, instruction sets, errors."""
import os
import subprocess
import sys

import numpy as np
import oracles
import pytest
import torch
from torch.nn import functional as F

from svconv import backends
from svconv.ops.tanh_features import _fwd, fused, tanh_features

BACKENDS = oracles.usable_backends("tanh_features", "tanh_features_fwd")
needs_cpu = pytest.mark.skipif("cpu" not in BACKENDS, reason="svconv._C is not built")

#        batch, channels, latent, height, width, filters, side, hidden, outputs
SHAPES = [(1, 1, 0, 20, 30, 32, 9, 1, 4), (2, 1, 1, 47, 203, 32, 9, 1, 8), (1, 1, 1, 5, 400, 7, 5, 2, 3), (1, 2, 1, 1, 1, 5, 3, 0, 1),
          (1, 1, 0, 3, 2, 32, 9, 1, 4), (2, 1, 0, 64, 193, 32, 1, 1, 4), (1, 1, 1, 40, 192, 33, 9, 3, 5), (0, 1, 0, 4, 4, 32, 9, 1, 4)]


def case(b, c, more, h, w, n, k, depth, o, bias=True, dtype=torch.float32):
    g = torch.Generator().manual_seed(h * w + n)
    draw = lambda *s: torch.randn(*s, generator=g).to(dtype)
    return (draw(b, c, h, w), draw(b, more, h, w) if more else None, draw(n, c + more, k, k) * (1.5 / k), draw(depth, n, n) * 0.3,
            draw(depth + 1, n) if bias else None, draw(o, n))


def expected(x, latent, filters, hidden, biases, last):
    """Layer by layer in float64."""
    x, latent, filters, hidden, biases, last = (None if t is None else t.double() for t in (x, latent, filters, hidden, biases, last))
    u = x if latent is None else torch.cat([x, latent], 1)
    if not u.numel():
        return x.new_empty(0, last.shape[0], *x.shape[2:])
    h = F.conv2d(F.pad(u, (filters.shape[-1] // 2,) * 4, mode="replicate"), filters)
    for i in range(hidden.shape[0] + 1):
        if i:
            h = torch.einsum("mn,bnhw->bmhw", hidden[i - 1], h)
        h = torch.tanh(h if biases is None else h + biases[i][:, None, None])
    return torch.einsum("on,bnhw->bohw", last, h)


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_float64(backend, shape, bias, nan_memory):
    args = case(*shape, bias=bias)
    y, wanted = tanh_features(*args, backend=backend), expected(*args)
    assert y.shape == wanted.shape and y.is_contiguous()
    scale = args[-1].abs().sum(1).max()                       # of the sum of outputs of tanh
    torch.testing.assert_close(y.double(), wanted, rtol=0, atol=float(2e-6 * scale))


def test_orientation(backend):
    """A correlation: the filter's last tap reads the pixel below and to the right."""
    x = torch.arange(12.0).reshape(1, 1, 3, 4) / 100
    f = torch.zeros(1, 1, 3, 3)
    f[0, 0, 2, 2] = 1
    y = tanh_features(x, None, f, torch.zeros(0, 1, 1), None, torch.ones(1, 1), backend=backend)
    assert torch.allclose(y, torch.tanh(F.pad(x, (0, 1, 0, 1), mode="replicate")[..., 1:, 1:]), atol=1e-7)


def test_any_strides(backend):
    x, latent, filters, hidden, biases, last = case(2, 1, 1, 33, 50, 12, 5, 2, 3)
    wanted = tanh_features(x, latent, filters, hidden, biases, last, backend=backend)
    wide = torch.full((2, 33, 101, 3), float("nan"))
    wide[:, :, 1::2, 1:2] = x.permute(0, 2, 3, 1)
    flipped = latent.transpose(2, 3).contiguous().transpose(2, 3)
    odd = [t.movedim(0, -1).contiguous().movedim(-1, 0) for t in (filters, hidden, biases, last)]
    y = tanh_features(wide[:, :, 1::2, 1:2].permute(0, 3, 1, 2), flipped, *odd, backend=backend)
    assert torch.allclose(y, wanted, atol=1e-5) and (backend != "cpu" or torch.equal(y, wanted))


def test_does_not_write_its_inputs(backend):
    args = case(1, 1, 1, 17, 40, 8, 3, 1, 4)
    before = [t.clone() for t in args]
    tanh_features(*args, backend=backend)
    assert all(torch.equal(a, b) for a, b in zip(args, before))


def test_nan_stays_where_it_is_seen(backend):
    x, _, filters, hidden, biases, last = case(2, 1, 0, 40, 60, 8, 9, 1, 4)
    x[0, 0, 20, 30] = float("nan")
    bad = torch.isnan(tanh_features(x, None, filters, hidden, biases, last, backend=backend))
    assert bad[0, :, 16:25, 26:35].all() and bad.sum() == 4 * 81


@needs_cpu
def test_tanh_within_a_few_units_in_the_last_place():
    """A filter of one tap and a recombination of one map show tanh itself."""
    x = torch.cat([torch.linspace(-12, 12, 200_001), torch.logspace(-37, 1, 50_000), torch.tensor([0.0, float("inf"), -float("inf"), 1e30])])
    one = torch.ones(1, 1)
    y = tanh_features(x[None, None, None], None, one[None, None], torch.zeros(0, 1, 1), None, one, backend="cpu").flatten().double()
    wanted = torch.tanh(x.double())
    error = (y - wanted).abs() / wanted.abs().clamp_min(1e-300)
    assert float(torch.where(wanted == 0, y.abs(), error).max()) < 4 * 2.0**-23


@needs_cpu
@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
def test_thread_count_does_not_matter(shape):
    args, before = case(*shape), torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            results.append(tanh_features(*args, backend="cpu"))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(results[0], other) for other in results[1:])


ISA_PROGRAM = """
import os, sys, torch, numpy as np
from svconv import _C
from svconv.ops.tanh_features import tanh_features
data = torch.load(os.environ["INPUT"])
print(_C.build_info()["isa"])
np.save(os.environ["OUT"], tanh_features(*data, backend="cpu").numpy())
"""


@needs_cpu
def test_instruction_sets_agree(tmp_path):
    from svconv import _C

    args = case(*SHAPES[1])
    torch.save(args, tmp_path / "in.pt")
    wanted = expected(*args).numpy()
    for isa in _C.build_info()["isa_supported"]:
        out = tmp_path / f"{isa}.npy"
        environment = {**os.environ, "SVCONV_ISA": isa, "INPUT": str(tmp_path / "in.pt"), "OUT": str(out)}
        done = subprocess.run([sys.executable, "-c", ISA_PROGRAM], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [isa]
        np.testing.assert_allclose(np.load(out), wanted, rtol=0, atol=2e-6 * float(args[-1].abs().sum(1).max()), err_msg=isa)


def test_float64_goes_to_the_reference():
    args = [None if t is None else t.double() for t in case(*SHAPES[0])]
    torch.testing.assert_close(tanh_features(*args), expected(*args), rtol=0, atol=1e-12)
    with pytest.raises(RuntimeError, match="float32"):
        tanh_features(*args, backend="cpu")


@needs_cpu
def test_fused_only_without_gradient():
    x, weight = torch.ones(1, 1, 4, 4), torch.ones(2, requires_grad=True)
    assert fused(x) and fused(x, weight.detach()) and not fused(x, weight) and not fused(x.double()) and not fused(x, weight.detach().double())
    with torch.no_grad():
        assert fused(x, weight)


@pytest.mark.parametrize("bias,latent", [(True, 1), (False, 0)])
def test_registration(bias, latent):
    torch.library.opcheck(_fwd, (*case(1, 1, latent, 6, 7, 3, 3, 1, 2, bias=bias), ""))


@pytest.mark.parametrize("change,named", [
    (dict(x=torch.ones(1, 4, 4)), "x: "), (dict(latent=torch.ones(1, 1, 4, 5)), "latent: "), (dict(filters=torch.ones(2, 1, 3, 3)), "filters: "),
    (dict(filters=torch.ones(2, 2, 2, 2)), "filters: "), (dict(hidden=torch.ones(1, 2, 3)), "hidden: "), (dict(biases=torch.ones(1, 2)), "biases: "),
    (dict(last=torch.ones(3, 5)), "last: ")])
def test_wrong_shapes_are_named(change, named):
    good = dict(x=torch.ones(1, 1, 4, 4), latent=torch.ones(1, 1, 4, 4), filters=torch.ones(2, 2, 3, 3), hidden=torch.ones(1, 2, 2),
                biases=torch.ones(2, 2), last=torch.ones(3, 2))
    tanh_features(**good)
    with pytest.raises(ValueError, match=named):
        tanh_features(**{**good, **change})


def test_wrong_dtype_is_named():
    x, latent, filters, hidden, biases, last = case(*SHAPES[0])
    with pytest.raises(TypeError, match="hidden"):
        tanh_features(x, latent, filters, hidden.double(), biases, last)
    assert backends.why_not("reference", "tanh_features", "tanh_features_fwd", "cpu") is None
