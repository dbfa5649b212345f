"""The pixel_filter family on every backend that runs here: oracle, adjoint, gradients, registration, strides, errors."""
import itertools

import numpy as np
import pytest
import torch
from battery import Battery, Call

import oracles
import svconv
from oracles import PADDINGS, close
from svconv.ops.pixel_filter import _adjoint, _bwd_filters, _fwd, _gram, _gram_bwd_filters

BACKENDS = oracles.usable_backends("pixel_filter", "pixel_filter_fwd")
WINDOWS = [(1, 1), (3, 3), (2, 4), (5, 3), (9, 11)]


def case(b=2, c=3, m=2, k=(3, 3), hw=(7, 6), fb=None, fc=None, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(b, c, *hw, generator=g, dtype=torch.float64)
    f = torch.randn(fb or b, fc or c, m, *k, *hw, generator=g, dtype=torch.float64)
    y = torch.randn(b, c, m, *hw, generator=g, dtype=torch.float64)
    return x.to(dtype), f.to(dtype), y.to(dtype)


def pytest_generate_tests(metafunc):
    if metafunc.cls is None and "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", BACKENDS)


def many(b, c, hw, seed):
    return case(b, c, 2, (3, 4), hw, seed=seed)[:2]


def one(b, c, hw, seed):
    x, f, _ = case(b, c, 1, (5, 2), hw, fb=1, fc=1, seed=seed)
    return x, f[:, 0, 0]


def stack(b, c, hw, seed):
    _, f, y = case(b, c, 2, (3, 4), hw, seed=seed)
    return y, f


def weighted(b, c, hw, seed):
    x, f, y = case(b, c, 2, (3, 4), hw, seed=seed)
    return x, f, y.abs()


def gram(x, f, w, **options):
    return svconv.pixel_filter_gram(x, f, weights=w, **options)


def oracle_gram(x, f, w, padding):
    return oracles.pixel_filter_adjoint(oracles.pixel_filter(x, f, padding) * w.numpy(), f, padding)


class TestBattery(Battery):
    stem, op = "pixel_filter", "pixel_filter_fwd"
    calls = (
        Call("pixel_filter", many, svconv.pixel_filter, oracles.pixel_filter, adjoint="pixel_filter_adjoint", scale=4),
        Call("pixel_filter_adjoint", stack, svconv.pixel_filter_adjoint, oracles.pixel_filter_adjoint, adjoint="pixel_filter", scale=4),
        Call(
            "pixel_filter with one map",
            one,
            svconv.pixel_filter,
            lambda x, f, p: oracles.pixel_filter(x, f[:, None, None], p)[:, :, 0],
            adjoint="pixel_filter_adjoint with one map",
            scale=4,
        ),
        Call(
            "pixel_filter_adjoint with one map",
            one,
            svconv.pixel_filter_adjoint,
            lambda y, f, p: oracles.pixel_filter_adjoint(y[:, :, None], f[:, None, None], p),
            adjoint="pixel_filter with one map",
            scale=4,
        ),
        Call("pixel_filter_gram", weighted, gram, oracle_gram, adjoint="pixel_filter_gram"),
    )

    def registered(self):
        x, f, y = case(1, 2, 2, (2, 3), (4, 5), dtype=torch.float32)
        w = torch.rand(1, 1, 2, 4, 5)
        yield _fwd, (x, f, "zeros", "")
        yield _adjoint, (y, f, "reflect", "")
        yield _bwd_filters, (x, y, (1, 1, 2, 2, 3, 4, 5), torch.float32, "zeros", "")
        yield _gram, (x, f, w, "circular", "")
        yield _gram, (x, f, None, "zeros", "reference")
        yield _gram_bwd_filters, (x, y[:, :, 0], f, w, "zeros", "")


# the operation -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("k", WINDOWS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_forward_matches_oracle(backend, padding, k, dtype, nan_memory):
    x, f, _ = case(k=k, dtype=dtype)
    close(svconv.pixel_filter(x, f, padding=padding, backend=backend), oracles.pixel_filter(x, f, padding), scale=4)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("k", WINDOWS)
def test_adjoint_is_the_transpose(backend, padding, k):
    _, f, _ = case(1, 1, 1, k, (5, 4))
    forward = oracles.dense_matrix(lambda u: svconv.pixel_filter(u, f, padding=padding, backend=backend), (5, 4))
    adjoint = oracles.dense_matrix(lambda u: svconv.pixel_filter_adjoint(u.unsqueeze(2), f, padding=padding, backend=backend), (5, 4))
    assert torch.allclose(adjoint, forward.T, atol=1e-13)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("fb,fc", [(2, 3), (1, 3), (2, 1), (1, 1)])
def test_dot_products_agree(backend, padding, fb, fc, nan_memory):
    x, f, y = case(fb=fb, fc=fc, k=(5, 4), hw=(13, 9))
    fx = svconv.pixel_filter(x, f, padding=padding, backend=backend)
    fty = svconv.pixel_filter_adjoint(y, f, padding=padding, backend=backend)
    df = _bwd_filters(x, y, f.shape, f.dtype, padding, backend)
    dot = (fx * y).sum()
    assert torch.isclose(dot, (x * fty).sum(), rtol=1e-12)
    assert torch.isclose(dot, (f * df).sum(), rtol=1e-12)
    assert df.shape == f.shape


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("weighted", [None, (2, 3), (1, 1)])
@pytest.mark.parametrize("fb,fc", [(2, 3), (1, 1)])
def test_gram_is_adjoint_after_forward(backend, padding, weighted, fb, fc, nan_memory):
    x, f, y = case(fb=fb, fc=fc, k=(4, 5), hw=(41, 11))
    w = None if weighted is None else y[:weighted[0], :weighted[1]].abs()
    fx = svconv.pixel_filter(x, f, padding=padding, backend="reference")
    expected = svconv.pixel_filter_adjoint(fx if w is None else w * fx, f, padding=padding, backend="reference")
    close(svconv.pixel_filter_gram(x, f, weights=w, padding=padding, backend=backend), expected, scale=10)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("weighted", [None, (2, 3), (1, 1)])
@pytest.mark.parametrize("fb,fc", [(2, 3), (1, 3), (2, 1), (1, 1)])
def test_gram_filter_gradient_is_the_sum_of_two(backend, padding, weighted, fb, fc, nan_memory):
    x, f, y = case(fb=fb, fc=fc, k=(4, 5), hw=(13, 37))
    g, w = x.flip(-1), None if weighted is None else y[:weighted[0], :weighted[1]].abs()
    fx, fg = (svconv.pixel_filter(t, f, padding=padding) * (1 if w is None else w) for t in (x, g))
    like = f.shape, f.dtype, padding, "reference"
    close(_gram_bwd_filters(x, g, f, w, padding, backend), _bwd_filters(x, fg, *like) + _bwd_filters(g, fx, *like), scale=10)


@pytest.mark.parametrize("padding,alias", [("zeros", "constant"), ("replicate", "edge"), ("replicate", "nearest"),
                                           ("circular", "wrap"), ("reflect", "mirror")])
def test_aliases(padding, alias):
    x, f, _ = case()
    assert torch.equal(svconv.pixel_filter(x, f, padding=padding), svconv.pixel_filter(x, f, padding=alias))


def test_five_d_filters_are_one_map_for_all_channels(backend):
    x, f, y = case(m=1, fc=1)
    f5 = f[:, 0, 0]
    assert torch.equal(svconv.pixel_filter(x, f5, backend=backend), svconv.pixel_filter(x, f, backend=backend)[:, :, 0])
    y4, w4 = y[:, :, 0], y[:, :1, 0].abs()
    assert torch.equal(svconv.pixel_filter_adjoint(y4, f5, backend=backend), svconv.pixel_filter_adjoint(y, f, backend=backend))
    assert torch.equal(svconv.pixel_filter_gram(x, f5, weights=w4, backend=backend),
                       svconv.pixel_filter_gram(x, f, weights=w4.unsqueeze(2), backend=backend))


@pytest.mark.parametrize("padding", ["zeros", "circular"])
def test_adjoint_scatters_a_psf_per_pixel(padding):
    _, f, y = case(1, 1, 1, (3, 3), (6, 5))
    expected = np.zeros((6, 5))
    for i, j, di, dj in itertools.product(range(6), range(5), range(-1, 2), range(-1, 2)):
        r, s = i + di, j + dj
        if padding == "circular" or (0 <= r < 6 and 0 <= s < 5):
            expected[r % 6, s % 5] += float(f[0, 0, 0, di + 1, dj + 1, i, j] * y[0, 0, 0, i, j])
    close(svconv.pixel_filter_adjoint(y, f, padding=padding)[0, 0], expected, scale=4)


@pytest.mark.parametrize("hw", [(1, 1), (1, 5), (4, 1), (3, 127), (2, 128), (33, 129), (65, 17)])
@pytest.mark.parametrize("padding", PADDINGS)
def test_sizes_around_blocks(backend, hw, padding, nan_memory):
    x, f, y = case(1, 2, 2, (5, 4), hw)
    close(svconv.pixel_filter(x, f, padding=padding, backend=backend), oracles.pixel_filter(x, f, padding), scale=4)
    reference = svconv.pixel_filter_adjoint(y, f, padding=padding, backend="reference")
    close(svconv.pixel_filter_adjoint(y, f, padding=padding, backend=backend), reference, scale=4)


# dtypes --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_round_once(backend, dtype):
    x, f, y = case(k=(7, 7), hw=(12, 11), dtype=dtype)
    close(svconv.pixel_filter(x, f, backend=backend), oracles.pixel_filter(x.double(), f.double(), "zeros"))
    exact = svconv.pixel_filter_adjoint(y.double(), f.double(), padding="reflect")
    close(svconv.pixel_filter_adjoint(y, f, padding="reflect", backend=backend), exact)
    close(svconv.pixel_filter_gram(x, f, backend=backend), svconv.pixel_filter_gram(x.double(), f.double()))
    close(
        _bwd_filters(x, y, (1, 3, 2, 7, 7, 12, 11), dtype, "zeros", backend),
        _bwd_filters(x.double(), y.double(), (1, 3, 2, 7, 7, 12, 11), torch.float64, "zeros", ""),
    )


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_filters_beside_float32_images(backend, half):
    x, f, y = case(dtype=torch.float32)
    f = f.to(half).requires_grad_()
    out = svconv.pixel_filter(x, f, backend=backend)
    assert out.dtype == torch.float32
    close(out.detach(), oracles.pixel_filter(x, f.detach().double(), "zeros"), scale=2)
    out.backward(y)
    assert f.grad.dtype == half


def test_autocast_casts_mixed_inputs_to_float32():
    x, f, _ = case(dtype=torch.float32)
    x16 = x.bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = svconv.pixel_filter(x16, f)
    assert y.dtype == torch.float32
    close(y.detach(), oracles.pixel_filter(x16.detach().double(), f, "zeros"), scale=2)
    y.sum().backward()
    assert x16.grad.dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert svconv.pixel_filter(x16, f.bfloat16()).dtype == torch.bfloat16
    with pytest.raises(TypeError, match="filters: expected dtype torch.bfloat16 like x, got torch.float32"):
        svconv.pixel_filter(x16, f)


def test_one_bright_pixel_does_not_spoil_others():
    x, f, _ = case(1, 1, 1, (3, 3), (8, 64), dtype=torch.float32)
    star = x.clone()
    star[0, 0, 4, 2] = 1e8
    far = (..., slice(8, None))
    assert torch.equal(svconv.pixel_filter(star, f)[far], svconv.pixel_filter(x, f)[far])


# gradients -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("padding", PADDINGS)
def test_gradients_of_first_and_second_order(backend, padding):
    x, f, y = (t.requires_grad_() for t in case(1, 2, 2, (2, 3), (3, 4), fc=1))
    w = torch.rand(1, 1, 2, 3, 4, dtype=torch.float64).requires_grad_()
    checks = [
        (lambda x, f: svconv.pixel_filter(x, f, padding=padding, backend=backend), (x, f)),
        (lambda y, f: svconv.pixel_filter_adjoint(y, f, padding=padding, backend=backend), (y, f)),
        (lambda x, f, w: svconv.pixel_filter_gram(x, f, weights=w, padding=padding, backend=backend), (x, f, w)),
        (lambda x, g, f, w: _gram_bwd_filters(x, g, f, w, padding, backend), (x, (y[:, :, 0] + 1).detach().requires_grad_(), f, w)),
        (lambda x, y: _bwd_filters(x, y, (1, 1, 2, 2, 3, 3, 4), torch.float64, padding, backend), (x, y)),
    ]
    for function, inputs in checks:
        assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
        assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


def test_gradients_through_permuted_inputs(backend):
    base = torch.randn(1, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    head = torch.randn(1, 3, 4, 9 * 2 * 2, dtype=torch.float64, requires_grad=True)

    def through_views(base, head):
        x = base.permute(0, 3, 2, 1)
        f = head.permute(0, 3, 1, 2).reshape(1, 2, 2, 3, 3, 3, 4)
        return svconv.pixel_filter(x, f, backend=backend)

    assert torch.autograd.gradcheck(through_views, (base, head), fast_mode=True)
    assert torch.autograd.gradgradcheck(through_views, (base, head), fast_mode=True)


# strides, determinism, empty, NaN -----------------------------------------------------------------------------------

def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


def test_strides_of_every_kind(backend):
    x, f, _ = case(2, 3, 2, (3, 4), (9, 8))
    expected = svconv.pixel_filter(x, f, backend="reference")
    wide = torch.randn(2, 3, 9, 17, dtype=torch.float64)
    wide[..., ::2][..., :8] = x
    head = f.flatten(1, 4).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2).view(2, 3, 2, 3, 4, 9, 8)
    flipped = f.flip(-1).contiguous().flip(-1)
    for image, filters in [(channels_last(x), f), (wide[..., ::2][..., :8], f), (x, head), (channels_last(x), head), (x, flipped),
                           (x.transpose(2, 3).contiguous().transpose(2, 3), f)]:
        out = svconv.pixel_filter(image, filters, backend=backend)
        assert out.is_contiguous()
        close(out, expected, scale=4)
        close(svconv.pixel_filter_adjoint(out, filters, backend=backend), svconv.pixel_filter_gram(x, f, backend="reference"), scale=10)
        close(svconv.pixel_filter_gram(image, filters, backend=backend), svconv.pixel_filter_gram(x, f, backend="reference"), scale=10)
        close(_bwd_filters(image, out, f.shape, torch.float64, "zeros", backend),
              _bwd_filters(x, expected, f.shape, torch.float64, "zeros", "reference"), scale=4)


@pytest.mark.parametrize("function", ["forward", "adjoint", "gram", "filters"])
def test_bit_identical_for_every_number_of_threads(function):
    x, f, y = case(1, 2, 3, (7, 5), (150, 200), fc=1, dtype=torch.float32)
    run = {
        "forward": lambda: svconv.pixel_filter(x, f, padding="reflect"),
        "adjoint": lambda: svconv.pixel_filter_adjoint(y, f, padding="reflect"),
        "gram": lambda: svconv.pixel_filter_gram(x, f, padding="reflect"),
        "filters": lambda: _bwd_filters(x, y, f.shape, torch.float32, "reflect", ""),
    }[function]
    threads = torch.get_num_threads()
    try:
        results = []
        for n in (1, 2, 3, 2):
            torch.set_num_threads(n)
            results.append(run())
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(results[0], r) for r in results[1:])


@pytest.mark.parametrize("b,c,m", [(2, 2, 0)])
def test_empty(backend, b, c, m):
    x, f = torch.randn(b, c, 4, 5, requires_grad=True), torch.randn(b, c, m, 3, 3, 4, 5, requires_grad=True)
    y = svconv.pixel_filter(x, f, backend=backend)
    assert y.shape == (b, c, m, 4, 5)
    assert svconv.pixel_filter_adjoint(y, f, backend=backend).shape == x.shape
    assert torch.equal(svconv.pixel_filter_gram(x, f, backend=backend), torch.zeros(b, c, 4, 5))
    y.sum().backward()
    assert x.grad.shape == x.shape and f.grad.shape == f.shape


def test_nan_stays_inside_the_windows_that_contain_it(backend):
    x, f, y = case(2, 1, 1, (3, 3), (9, 40), dtype=torch.float32)
    x[0, 0, 4, 20] = float("nan")
    y[0, 0, 0, 4, 20] = float("nan")
    for out in (svconv.pixel_filter(x, f, backend=backend)[:, :, 0], svconv.pixel_filter_adjoint(y, f, backend=backend)):
        bad = out.isnan().nonzero()
        assert bad.shape[0] == 9 and (bad[:, 0] == 0).all()
        assert bad[:, 2].min() == 3 and bad[:, 2].max() == 5 and bad[:, 3].min() == 19 and bad[:, 3].max() == 21
    bad = svconv.pixel_filter_gram(x, f, backend=backend).isnan().nonzero()
    assert bad[:, 0].max() == 0 and bad[:, 2].min() == 2 and bad[:, 2].max() == 6 and bad[:, 3].min() == 18 and bad[:, 3].max() == 22


# random sweep --------------------------------------------------------------------------------------------------------

def sweep(seed, count):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        b, c, m = (int(rng.integers(1, 4)) for _ in range(3))
        yield dict(b=b, c=c, m=m, k=tuple(int(n) for n in rng.integers(1, 9, 2)), hw=tuple(int(n) for n in rng.integers(1, 70, 2)),
                   fb=int(rng.choice([1, b])), fc=int(rng.choice([1, c])), seed=int(rng.integers(1 << 30))), str(rng.choice(PADDINGS))


def run_sweep(seed, count, backend):
    for arguments, padding in sweep(seed, count):
        x, f, y = case(**arguments)
        note = f"seed {seed}, {arguments}, {padding}"
        fx = svconv.pixel_filter(x, f, padding=padding, backend=backend)
        assert np.allclose(fx, oracles.pixel_filter(x, f, padding), atol=1e-11), note
        fty = svconv.pixel_filter_adjoint(y, f, padding=padding, backend=backend)
        scale = float(fx.norm() * y.norm()) + 1e-30
        assert abs(float((fx * y).sum() - (x * fty).sum())) <= 1e-13 * scale, note
        df = _bwd_filters(x, y, f.shape, f.dtype, padding, backend)
        assert abs(float((fx * y).sum() - (f * df).sum())) <= 1e-12 * scale, note
        gram = svconv.pixel_filter_gram(x, f, padding=padding, backend=backend)
        assert torch.allclose(gram, svconv.pixel_filter_adjoint(fx, f, padding=padding, backend="reference"), atol=1e-10), note


def test_random_sweep(backend, request):
    run_sweep(request.config.getoption("--sweep-seed"), 15, backend)


@pytest.mark.slow
def test_long_random_sweep(backend, request):
    run_sweep(request.config.getoption("--sweep-seed") + 1, 500, backend)
