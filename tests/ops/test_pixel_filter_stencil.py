"""The assembled normal operator against dense matrices and against the filters' form, on every backend that runs here."""
import numpy as np
import pytest
import torch

import oracles
from oracles import PADDINGS, close, image
from svconv.ops.pixel_filter_stencil import GramStencil, _apply, _assemble

BACKENDS = oracles.usable_backends("pixel_filter", "pixel_filter_stencil")
DOUBLE = torch.float64
SIDES = [(1, 1), (1, 5), (3, 3), (5, 5), (5, 9), (3, 11), (4, 4), (2, 3)]


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def numbers(*shape, seed=1, dtype=DOUBLE):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE).to(dtype)


def gram(x, filters, weights, padding):
    """The oracle: F' W F x by explicit loops."""
    y = oracles.pixel_filter(x.double(), filters.double(), padding)
    return torch.from_numpy(oracles.pixel_filter_adjoint(y if weights is None else y * weights.double().numpy(), filters.double(), padding))


def runs(backend, side, padding):
    """Even windows with mirrored edges are the reference's."""
    return backend != "cpu" or padding not in ("reflect", "symmetric") or side[0] % 2 and side[1] % 2


def stencil(filters, backend, padding, **options):
    side = filters.shape[3:5]
    return GramStencil(filters, padding=padding, backend=backend if runs(backend, side, padding) else None, **options)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("side", SIDES, ids=str)
@pytest.mark.parametrize("hw", [(9, 8), (1, 1), (1, 5), (4, 1), (2, 3)], ids=str)
def test_every_entry_of_the_matrix(backend, side, hw, padding, nan_memory):
    f, unit = numbers(1, 1, 2, *side, *hw), torch.eye(hw[0] * hw[1], dtype=DOUBLE).reshape(-1, 1, *hw)
    found = stencil(f, backend, padding)(unit)
    close(found, gram(unit, f, None, padding))
    matrix = found.flatten(1)
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-14 * float(matrix.abs().max()))


@pytest.mark.parametrize("dtype", [DOUBLE, torch.float32])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("hw", [(33, 129), (130, 66), (70, 300)], ids=str)
def test_images_of_several_tiles_and_bands(backend, padding, hw, dtype, nan_memory):
    x, f, w = image(2, 2, *hw, dtype), numbers(1, 2, 3, 5, 5, *hw, dtype=dtype), numbers(2, 1, 3, *hw, seed=3, dtype=dtype).abs()
    if backend == "reference":
        x, f, w = (t[..., :40, :40].contiguous() for t in (x, f, w))
    for weights in (None, w):
        close(stencil(f, backend, padding, weights=weights)(x), gram(x, f, weights, padding), scale=4)


def test_the_values_are_the_entries(backend):
    h, w = 6, 7
    f, unit = numbers(1, 1, 2, 3, 5, h, w), torch.eye(h * w, dtype=DOUBLE).reshape(-1, 1, h, w)
    matrix = gram(unit, f, None, "replicate").reshape(h, w, h, w)
    values = stencil(f, backend, "replicate").values
    assert values.shape == (1, 1, 23, h, w)
    expected, place = torch.zeros(23, h, w, dtype=DOUBLE), 0
    for dy in range(3):
        for dx in range(-4 if dy else 0, 5):
            for r in range(h - dy):
                for c in range(max(0, -dx), min(w, w - dx)):
                    expected[place, r, c] = matrix[r, c, r + dy, c + dx]
            place += 1
    close(values[0, 0], expected)


@pytest.mark.parametrize("lead", [(1, 1), (2, 1), (1, 3), (2, 3)], ids=str)
@pytest.mark.parametrize("weights_lead", [None, (1, 1), (2, 1), (1, 3), (2, 3)], ids=str)
def test_shared_filters_and_weights(backend, lead, weights_lead):
    x, f = image(2, 3, 9, 20), numbers(*lead, 2, 3, 5, 9, 20)
    w = None if weights_lead is None else numbers(*weights_lead, 2, 9, 20, seed=3).abs()
    A = stencil(f, backend, "symmetric", weights=w)
    assert A.values.shape[:2] == torch.broadcast_shapes(lead, weights_lead or (1, 1))
    close(A(x), gram(x, f, w, "symmetric"))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_types(backend, half):
    x, f = image(2, 2, 20, 37, torch.float32), numbers(1, 2, 3, 5, 5, 20, 37, dtype=half)
    expected = gram(x, f, None, "replicate")
    rounded = {half: oracles.TOLERANCE[half], torch.float32: oracles.TOLERANCE[torch.float32]}
    for filters, stored in ((f, half), (f.float(), half), (f, torch.float32)):
        A = stencil(filters, backend, "replicate", dtype=stored)
        y = A(x)
        assert A.values.dtype == stored and y.dtype == torch.float32
        assert float((y - expected).abs().max()) <= 4 * rounded[stored] * float(expected.abs().max())
    y = stencil(f, backend, "replicate")(x.to(half))
    assert y.dtype == half and float((y.double() - expected).abs().max()) <= 8 * rounded[half] * float(expected.abs().max())


def layouts(f):
    yield f.permute(3, 4, 5, 6, 2, 1, 0).contiguous().permute(6, 5, 4, 0, 1, 2, 3)
    wide = f.new_full((*f.shape[:-1], 2 * f.shape[-1] + 1), float("nan"))
    wide[..., 1::2] = f
    yield wide[..., 1::2]
    yield f.flip(-1).contiguous().flip(-1)


def test_strides(backend):
    x, f, w = image(1, 2, 9, 70), numbers(1, 2, 3, 5, 5, 9, 70), numbers(1, 2, 3, 9, 70, seed=3).abs()
    expected = stencil(f, backend, "replicate", weights=w)(x)
    for other in layouts(f):
        close(stencil(other, backend, "replicate", weights=w.mT.contiguous().mT)(x.mT.contiguous().mT), expected)
    uniform = f[..., :1, :1].expand(f.shape)
    close(stencil(uniform, backend, "replicate", weights=w)(x), gram(x, uniform.contiguous(), w, "replicate"))


@pytest.mark.skipif("cpu" not in BACKENDS, reason="svconv._C is not built")
def test_any_number_of_threads_gives_equal_bits():
    x, f = image(1, 2, 150, 270, torch.float32), numbers(1, 2, 2, 5, 5, 150, 270, dtype=torch.float32)
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            A = GramStencil(f, padding="circular", backend="cpu")
            found.append((A.values, A(x)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for pair in found[1:] for a, b in zip(found[0], pair))


@pytest.mark.parametrize("padding", PADDINGS)
def test_nan_stays_in_its_window(backend, padding):
    f, x = numbers(1, 1, 1, 5, 5, 12, 40), image(1, 1, 12, 40)
    A, bad = stencil(f, backend, padding), x.clone()
    bad[..., 2, 3] = float("nan")
    spoiled, clean = A(bad), A(x)
    assert spoiled[..., 2, 3].isnan().all() and torch.equal(spoiled[..., 20:30], clean[..., 20:30])
    f = f.clone()
    f[..., 6, 20] = float("nan")
    spoiled = stencil(f, backend, padding)(x)
    assert spoiled[..., 6, 20].isnan().all()
    close(spoiled[..., 26:36], clean[..., 26:36])


@pytest.mark.parametrize("shape", [(0, 2, 3), (2, 0, 3), (2, 2, 0)], ids=str)
def test_nothing_in_a_batch(backend, shape):
    b, c, m = shape
    A = stencil(torch.ones(b, c, m, 3, 3, 5, 6), backend, "zeros")
    assert A.values.shape == (b, c, 13, 5, 6) and not A.values.any()
    y = A(torch.ones(b, c, 5, 6))
    assert y.shape == (b, c, 5, 6) and not y.any()
    shared = stencil(torch.ones(1, 1, max(1, m), 3, 3, 5, 6), backend, "zeros", weights=torch.ones(b, c, max(1, m), 5, 6))
    assert shared.values.shape == (b, c, 13, 5, 6)


def test_no_gradients_and_the_tensors_are_left_alone(backend):
    f = numbers(1, 1, 2, 3, 3, 5, 6).requires_grad_()
    A = stencil(f, backend, "zeros")
    assert not A.values.requires_grad and not A(image(1, 1, 5, 6).requires_grad_()).requires_grad


def test_registration():
    f, w = numbers(1, 2, 2, 3, 3, 5, 6), numbers(1, 1, 2, 5, 6).abs()
    shape, dtype = (1, 2, 13, 5, 6), DOUBLE
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(_assemble.overload, (f, w, shape, dtype, "replicate", ""), test_utils=checks)
    torch.library.opcheck(_apply.overload, (image(2, 2, 5, 6), numbers(*shape), (3, 3), "zeros", ""), test_utils=checks)


def test_compiles_in_one_graph():
    f, x = numbers(1, 2, 2, 3, 3, 5, 6), image(1, 2, 5, 6)
    torch._dynamo.reset()
    compiled = torch.compile(lambda f, x: GramStencil(f, padding="reflect")(x), fullgraph=True, backend="aot_eager")
    close(compiled(f, x), gram(x, f, None, "reflect"))


def test_even_windows_with_mirrored_edges_are_the_references():
    f = numbers(1, 1, 1, 4, 4, 9, 8)
    close(GramStencil(f, padding="reflect")(image(1, 1, 9, 8)), gram(image(1, 1, 9, 8), f, None, "reflect"))
    if "cpu" in BACKENDS:
        with pytest.raises(RuntimeError, match="folds mirrored edges into the stencils of odd filters only"):
            GramStencil(f, padding="reflect", backend="cpu")


@pytest.mark.parametrize("options,error,match", [
    ({"filters": torch.ones(1, 3, 3, 5, 6)}, ValueError, r"filters: expected \[B, C, M, kh, kw, H, W\], got \[1, 3, 3, 5, 6\]"),
    ({"filters": torch.ones(1, 1, 1, 0, 3, 5, 6)}, ValueError, "filters: expected .*kh >= 1"),
    ({"weights": torch.ones(1, 1, 3, 5, 6)}, ValueError, "weights: expected M of filters = 2 at axis 2"),
    ({"weights": torch.ones(3, 1, 2, 5, 6)}, ValueError, "weights: expected the batch and channels of filters .*got .3, 1, 2, 5, 6."),
    ({"weights": torch.ones(1, 1, 2, 5, 6).double()}, TypeError, "weights: expected torch.float32 beside filters of torch.float32, got"),
    ({"padding": "same"}, ValueError, "padding: expected one of zeros, .*got 'same'"),
    ({"dtype": DOUBLE}, TypeError, "dtype: expected torch.float32 like filters, .*got torch.float64"),
    ({"backend": "none"}, ValueError, "backend: expected one of cuda"),
])
def test_bad_arguments_are_named(options, error, match):
    with pytest.raises(error, match=match):
        GramStencil(options.pop("filters", torch.ones(2, 1, 2, 3, 3, 5, 6)), **options)


def test_bad_images_are_named():
    A = GramStencil(torch.ones(2, 1, 2, 3, 3, 5, 6))
    for x, error, match in ((torch.ones(2, 3, 5, 7), ValueError, "stencil: expected W of x = 7"),
                            (torch.ones(3, 3, 5, 6), ValueError, "stencil: expected a batch of 1 or that of x"),
                            (torch.ones(2, 3, 5, 6).double(), TypeError, "stencil: expected dtype torch.float64 like x"),
                            (np.ones((2, 3, 5, 6)), TypeError, "x: expected a torch.Tensor, got ndarray")):
        with pytest.raises(error, match=match):
            A(x)
