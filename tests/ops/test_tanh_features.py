"""The feature op on every backend that runs here: against float64, gradients, strides, tiny images, threads, instruction sets, errors."""
import contextlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import oracles
import svconv
from svconv import backends
from svconv.backends.cpu import tanh_features as cpu
from svconv.ops.tanh_features import _bwd, _fwd, tanh_features
from svconv.reference import tanh_features as reference

BACKENDS = oracles.usable_backends("tanh_features", "tanh_features_fwd")
needs_cpu = pytest.mark.skipif("cpu" not in BACKENDS, reason="svconv._C is not built")

#        batch, channels, latent, height, width, filters, side, hidden, outputs
SHAPES = [(1, 1, 0, 20, 30, 32, 9, 1, 4), (2, 1, 1, 47, 203, 32, 9, 1, 8), (1, 1, 1, 5, 400, 7, 5, 2, 3), (1, 2, 1, 1, 1, 5, 3, 0, 1),
          (1, 1, 0, 3, 2, 32, 9, 1, 4), (2, 1, 0, 64, 193, 32, 1, 1, 4), (1, 1, 1, 40, 192, 33, 9, 3, 5), (0, 1, 0, 4, 4, 32, 9, 1, 4)]


def case(b, c, more, h, w, n, k, depth, o, bias=True, dtype=torch.float32):
    g = torch.Generator().manual_seed(h * w + n)
    def draw(*s):
        return torch.randn(*s, generator=g).to(dtype)
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
    x = torch.cat(
        [torch.linspace(-12, 12, 200_001), torch.logspace(-37, 1, 50_000), torch.tensor([0.0, float("inf"), -float("inf"), 1e30])]
    )
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


def child_environment(**more):
    return {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(svconv.__file__)), **more}


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
        environment = child_environment(SVCONV_ISA=isa, INPUT=str(tmp_path / "in.pt"), OUT=str(out))
        done = subprocess.run([sys.executable, "-c", ISA_PROGRAM], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [isa]
        np.testing.assert_allclose(np.load(out), wanted, rtol=0, atol=2e-6 * float(args[-1].abs().sum(1).max()), err_msg=isa)


def test_float64_goes_to_the_reference():
    args = [None if t is None else t.double() for t in case(*SHAPES[0])]
    torch.testing.assert_close(tanh_features(*args), expected(*args), rtol=0, atol=1e-12)
    with pytest.raises(RuntimeError, match="float32"):
        tanh_features(*args, backend="cpu")


GRADIENT_SHAPES = [(2, 1, 1, 5, 4, 3, 3, 1, 2), (2, 1, 0, 4, 5, 3, 3, 2, 2), (1, 2, 1, 1, 2, 2, 3, 0, 1), (2, 1, 1, 3, 3, 2, 1, 1, 2)]


def leaves(args):
    """The arguments as leaves that require gradients, and a function of those that are tensors."""
    args = [None if t is None else t.detach().clone().requires_grad_(True) for t in args]

    def function(*tensors):
        given = iter(tensors)
        return tanh_features(*(None if t is None else next(given) for t in args))

    return function, [t for t in args if t is not None]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", GRADIENT_SHAPES, ids=str)
def test_first_and_second_order_gradients(backend, shape, bias):
    """In float64; the forward pass of "cpu" knows float32 only, its backward is asked for alone."""
    function, tensors = leaves(case(*shape, bias=bias, dtype=torch.float64))
    with svconv.use_backend("reference") if backend == "reference" else contextlib.nullcontext():
        assert torch.autograd.gradcheck(function, tensors) and torch.autograd.gradgradcheck(function, tensors)


@needs_cpu
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(2, 1, 0, 44, 39, 8, 5, 1, 4), (2, 1, 1, 36, 31, 8, 5, 2, 4), (1, 2, 1, 7, 50, 5, 3, 0, 3)], ids=str)
def test_the_strips_equal_plain_autograd_of_the_reference(monkeypatch, shape, bias):
    monkeypatch.setattr(cpu, "_PIXELS", 300)
    monkeypatch.setattr(reference, "_PIXELS", 700)
    function, tensors = leaves(case(*shape, bias=bias, dtype=torch.float64))
    args = iter(tensors)
    plain = reference.tanh_features_fwd(*(None if t is None else next(args) for t in case(*shape, bias=bias)))
    ours = function(*tensors)
    torch.testing.assert_close(ours, plain)
    weight = torch.randn_like(plain)
    used = [t for t in tensors if t.numel()]
    for g, h in zip(torch.autograd.grad((ours * weight).sum(), used), torch.autograd.grad((plain * weight).sum(), used)):
        torch.testing.assert_close(g, h)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_match_float64(backend, shape, nan_memory):
    args, wide = case(*shape), case(*shape)
    tensors, wide = (
        [t.requires_grad_(True) for t in args if t is not None],
        [None if t is None else t.double().requires_grad_(True) for t in wide],
    )
    y, wanted = tanh_features(*args, backend=backend), expected(*wide)
    g = torch.randn(y.shape)
    wide = [t for t in wide if t is not None]
    if not y.numel():
        y.sum().backward()
        assert all(t.grad is not None and not t.grad.any() for t in tensors)
        return
    tensors, wide = ([t for t in group if t.numel()] for group in (tensors, wide))
    for a, b in zip(torch.autograd.grad(y, tensors, g), torch.autograd.grad(wanted, wide, g.double())):
        torch.testing.assert_close(a.double(), b, rtol=0, atol=3e-5 * float(b.abs().max()))


def test_only_what_is_needed_is_computed(backend):
    args = case(2, 1, 1, 9, 8, 4, 3, 1, 3)
    g = torch.randn(2, 3, 9, 8)
    whole = _bwd(g, *args, [True] * 6, backend)
    for i in range(6):
        need = [j == i for j in range(6)]
        found = _bwd(g, *args, need, backend)
        torch.testing.assert_close(found[i], whole[i])
        assert all(t.numel() == 0 for j, t in enumerate(found) if j != i)
        assert len({t.untyped_storage()._cdata for t in found}) == 6


def test_results_may_be_changed_in_place(backend):
    function, tensors = leaves(case(2, 1, 1, 6, 7, 4, 1, 1, 3))
    with svconv.use_backend(backend):
        y = function(*tensors)
        y.clamp_(min=0).sum().backward()
        for t in tensors:
            t.grad.add_(1)


@needs_cpu
def test_the_gradient_keeps_no_maps():
    """Forward and backward of 1024 x 1024 stay within a few images, 32 maps of it would be 128 MiB; the child's peak tells."""
    program = """
import resource, torch
from svconv.ops.tanh_features import tanh_features
def run(side):
    a = [torch.rand(1, 1, side, side, requires_grad=True), None, torch.rand(32, 1, 9, 9, requires_grad=True), torch.rand(1, 32, 32), None,
    torch.rand(4, 32)]
    tanh_features(*a).sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
small = run(64)
print(run(1024) - small)
"""
    done = subprocess.run([sys.executable, "-c", program], env=child_environment(), capture_output=True, text=True, check=True)
    assert float(done.stdout) < 80


def test_it_compiles_with_its_gradient():
    function, tensors = leaves(case(1, 1, 1, 12, 9, 4, 3, 1, 3))
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    for a, b in zip(
        torch.autograd.grad(compiled(*tensors).square().sum(), tensors), torch.autograd.grad(function(*tensors).square().sum(), tensors)
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("bias,latent", [(True, 1), (False, 0)])
def test_registration(bias, latent):
    args = [None if t is None else t.requires_grad_(True) for t in case(2, 1, latent, 6, 7, 3, 3, 1, 2, bias=bias)]
    need = [t is not None for t in args]
    torch.library.opcheck(_fwd.overload, (*args, ""))
    torch.library.opcheck(_bwd.overload, (torch.randn(2, 2, 6, 7, requires_grad=True), *args, need, ""))
    torch.library.opcheck(_bwd.overload, (torch.randn(2, 2, 6, 7), *args, [False, latent > 0, True, False, False, False], ""))
    last = [args[0].detach().to(memory_format=torch.channels_last).requires_grad_(True), *args[1:]]
    torch.library.opcheck(_fwd.overload, (*last, ""))


@pytest.mark.parametrize(
    "change,named",
    [
        (dict(x=torch.ones(1, 4, 4)), "x: "),
        (dict(latent=torch.ones(1, 1, 4, 5)), "latent: "),
        (dict(filters=torch.ones(2, 1, 3, 3)), "filters: "),
        (dict(filters=torch.ones(2, 2, 2, 2)), "filters: "),
        (dict(hidden=torch.ones(1, 2, 3)), "hidden: "),
        (dict(biases=torch.ones(1, 2)), "biases: "),
        (dict(last=torch.ones(3, 5)), "last: "),
    ],
)
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
