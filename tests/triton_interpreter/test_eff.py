"""The Triton kernels of the eff family under the interpreter, against the reference."""
import importlib

import pytest
import torch

import svconv
from svconv import _eff_pieces, backends
from svconv._boundary import PADDINGS
from svconv._eff_grid import EFFGrid, halo_size
from svconv.ops._library import STEMS
from svconv.reference import eff as reference

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}     # relative to the largest value of the result
FORMS = ("scatter", "gather")
# [B, C], grid, kernels: shared by all images and channels, per channel, per image, each its own
SHARED = (1, 2), EFFGrid((5, 7), (2, 3)), (1, 1, 6, 3, 2)
PER_CHANNEL = (2, 2), EFFGrid((4, 5), (2, 1), overlap=0.3, window="barthann"), (1, 2, 2, 2, 3)
PER_IMAGE_LARGER_THAN_THE_IMAGE = (2, 2), EFFGrid((4, 3), (3, 2), overlap=0.6, window="hat"), (2, 1, 6, 5, 6)
OWN_LARGER_THAN_A_PATCH = (2, 2), EFFGrid((6, 4), (3, 2), overlap=0.6, window="hat"), (2, 2, 6, 4, 3)
ONE_PATCH = (2, 1), EFFGrid((4, 5), (1, 1)), (1, 1, 1, 4, 2)
SEVERAL_TILES = (1, 1), EFFGrid((19, 70), (2, 2)), (1, 1, 4, 3, 3)
PART_OF_A_GRID = (1, 2), EFFGrid((9, 12), (3, 3)).part((-1, 4), (5, 11)), (1, 1, 9, 3, 2)
CASES = SHARED, PER_CHANNEL, PER_IMAGE_LARGER_THAN_THE_IMAGE, OWN_LARGER_THAN_A_PATCH, ONE_PATCH, SEVERAL_TILES, PART_OF_A_GRID


@pytest.fixture
def kernels(nan_memory):
    """The kernels; every buffer they allocate is full of NaN."""
    return importlib.import_module("svconv._triton.eff")


def random(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def tensors(case, dtype=torch.float64):
    """Two images and kernels."""
    batch, grid, shape = case
    image = *batch, *grid.image_size
    return random(*image, dtype=dtype), random(*image, dtype=dtype, seed=1), random(*shape, dtype=dtype, seed=2)


def half_spectrum(grid, kernel_size, dtype=torch.float64):
    """A positive value for every element of the half spectrum of a patch that is divided."""
    rows, columns = halo_size(grid, kernel_size)
    return torch.rand(rows, columns // 2 + 1, dtype=dtype)


def check(kernels, op, *args):
    """Equal to the reference evaluated in float64."""
    results = getattr(kernels, op)(*args)
    exact = [a.double() if isinstance(a, torch.Tensor) else a for a in args]
    expected = getattr(reference, op)(*exact)
    pairs = zip(results, expected, strict=True) if isinstance(results, tuple) else [(results, expected)]
    for result, wanted in pairs:
        assert result.shape == wanted.shape and result.dtype == args[0].dtype and result.is_contiguous()
        if wanted.numel():
            assert (result.double() - wanted).abs().max() <= TOLERANCE[result.dtype] * wanted.abs().max()


def check_convolution(kernels, case, form, padding, dtype=torch.float64):
    (x, g, k), grid = tensors(case, dtype), case[1].options
    check(kernels, "eff_fwd", x, k, form, padding, *grid)
    check(kernels, "eff_adjoint", x, k, form, padding, *grid)
    check(kernels, "eff_bwd_kernels", x, g, tuple(k.shape), dtype, form, padding, *grid)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("form", FORMS)
def test_convolution_in_every_padding(kernels, form, padding):
    check_convolution(kernels, ONE_PATCH, form, padding)
    check_convolution(kernels, ((1, 1), EFFGrid((4, 5), (2, 2)), (1, 1, 4, 3, 4)), form, padding)


@pytest.mark.parametrize("case", CASES)
def test_convolution(kernels, case):
    check_convolution(kernels, case, "scatter", "replicate")
    check_convolution(kernels, case, "gather", "zeros", torch.float32)


@pytest.mark.parametrize("case", [SHARED, PER_CHANNEL, OWN_LARGER_THAN_A_PATCH, ONE_PATCH, SEVERAL_TILES])
@pytest.mark.parametrize("padding, dtype", [("replicate", torch.float64), ("circular", torch.float32)])
def test_image_quotient(kernels, case, padding, dtype):
    (y, _, k), grid = tensors(case, dtype), case[1]
    beta = torch.rand(len(y), dtype=dtype) + 1
    for power in (None, half_spectrum(grid, k.shape[3:], dtype)):
        check(kernels, "eff_image_quotient_fwd", y, k, beta, power, padding, *grid.options)


@pytest.mark.parametrize("shape", [(1, 1, 4, 3, 2), (1, 2, 4, 2, 3), (2, 1, 4, 3, 3), (2, 2, 4, 2, 2)])
@pytest.mark.parametrize("beta", [1, 2])
@pytest.mark.parametrize("need", [(True,) * 4, (True, False, False, False), (False, True, False, False), (False, False, True, False),
                                  (False, False, False, True)])
def test_image_quotient_gradients(kernels, shape, beta, need):
    if not all(need) and shape[0] != beta:
        return                            # each output alone: once with and once without shared kernels
    grid, beta = EFFGrid((4, 3), (2, 2)), torch.rand(beta, dtype=torch.float64) + 1
    y, g, k = tensors(((2, 2), grid, shape))
    power = half_spectrum(grid, shape[3:]) if need[3] else None
    check(kernels, "eff_image_quotient_bwd", g, y, k, beta, power, "reflect", *grid.options, *need)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("beta", [1, 2])
def test_kernel_quotient(kernels, beta, dtype):
    grid, beta = EFFGrid((6, 7), (2, 3), window="barthann").options, torch.rand(beta, dtype=dtype) + 1
    x, y, g = random(2, 3, 6, 7, dtype=dtype), random(2, 3, 6, 7, dtype=dtype, seed=1), random(2, 6, 4, 3, dtype=dtype, seed=2)
    check(kernels, "eff_kernel_quotient_fwd", x, y, beta, 4, 3, *grid)
    some = ((True, False, False), (False, True, False), (False, False, True)) if len(beta) == 2 else ()
    for need in ((True, True, True), *some):
        check(kernels, "eff_kernel_quotient_bwd", g, x, y, beta, *grid, *need)


def gather_patches(kernels, case):
    x, _, k = tensors(case)
    return kernels._patches(x, k.shape[3:], case[1].options, kernels.tables.convolution, "gather", "zeros")


@pytest.mark.parametrize("patches_in_a_batch", [1, 2, 5])
def test_batches(kernels, monkeypatch, patches_in_a_batch):
    """One patch at a time, a part of a row, more than one row."""
    case = (1, 2), EFFGrid((7, 5), (4, 3)), (1, 1, 12, 3, 3)
    found = gather_patches(kernels, case)
    monkeypatch.setattr(_eff_pieces, "BATCH_BYTES", patches_in_a_batch * 2 * found.size[0] * found.size[1] * 8)
    assert len(found.batches) == 1 and len(gather_patches(kernels, case).batches) == {1: 12, 2: 8, 5: 4}[patches_in_a_batch]
    check_convolution(kernels, case, "gather", "zeros")
    check_convolution(kernels, ((1, 2), EFFGrid((7, 5), (2, 2)), (1, 2, 4, 2, 3)), "scatter", "reflect")


def test_steps():
    """Whole rows or a part of one, batches of about one size, at least one patch."""
    steps, bytes_ = _eff_pieces.steps, _eff_pieces.BATCH_BYTES
    assert steps((5, 7), bytes_ + 1) == steps((5, 7), bytes_) == (1, 1)
    assert steps((5, 7), bytes_ // 6) == (1, 4) and steps((5, 7), bytes_ // 7) == (1, 7)
    assert steps((5, 7), bytes_ // 28) == (3, 7) and steps((5, 7), 8) == (5, 7)


def test_any_strides(kernels):
    x, k, options = random(2, 2, 4, 3), random(2, 1, 2, 2, 3, seed=2), ("gather", "reflect", *EFFGrid((4, 3), (2, 1)).options)
    expected = kernels.eff_fwd(x, k, *options)
    wide = torch.full((2, 2, 7, 7), float("nan"), dtype=torch.float64)
    wide[..., 2:6, 1::2] = x
    for seen in (x.to(memory_format=torch.channels_last), wide[..., 2:6, 1::2], x.mT.contiguous().mT):
        result = kernels.eff_fwd(seen, k.mT.contiguous().mT, *options)
        assert result.is_contiguous() and torch.equal(result, expected)
    one = x[:1, :1].expand(2, 2, 4, 3)
    assert torch.equal(kernels.eff_adjoint(one, k, *options), kernels.eff_adjoint(one.contiguous(), k, *options))


def test_two_runs_have_equal_bits(kernels):
    (x, g, k), grid = tensors(PER_CHANNEL, torch.float32), PER_CHANNEL[1].options
    first, second = ((kernels.eff_fwd(x, k, "scatter", "reflect", *grid), kernels.eff_adjoint(x, k, "gather", "circular", *grid),
                      kernels.eff_bwd_kernels(x, g, k.shape, x.dtype, "scatter", "replicate", *grid)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second))


def test_nan_stays_in_its_patches(kernels):
    x, k, grid = random(2, 2, 12, 4), random(1, 1, 4, 3, 2, seed=2), EFFGrid((12, 4), (4, 1), overlap=0).options
    clean = kernels.eff_fwd(x, k, "gather", "zeros", *grid)
    x[1, 0, 1, 1] = float("nan")
    spoiled = kernels.eff_fwd(x, k, "gather", "zeros", *grid)
    assert spoiled[1, 0, :3].isnan().all()
    spoiled[1, 0, :3] = clean[1, 0, :3]
    assert torch.equal(spoiled, clean)


def test_zero_kernels_give_zero(kernels):
    y, k = random(1, 1, 5, 4), torch.zeros(1, 1, 4, 2, 2, dtype=torch.float64)
    grid = EFFGrid((5, 4), (2, 2))
    power = half_spectrum(grid, (2, 2))
    power[0, 0] = 0
    assert not kernels.eff_image_quotient_fwd(y, k, torch.ones(1, dtype=torch.float64), power, "reflect", *grid.options).any()


# the registered ops -------------------------------------------------------------------------------------------------

def test_every_op_of_the_family_runs_here():
    ops = [op for op, stem in STEMS.items() if stem == "eff"]
    assert len(ops) == 7 and [backends.why_not("triton", "eff", op, "cpu") for op in ops] == [None] * 7


@pytest.mark.parametrize("form, padding", [("scatter", "zeros"), ("gather", "symmetric")])
def test_gradients_of_the_convolution(form, padding):
    grid, x, k = EFFGrid((3, 2), (2, 1)), random(1, 2, 3, 2).requires_grad_(), random(1, 2, 2, 2, seed=2).requires_grad_()

    def function(x, k):
        return svconv.eff_conv(x, k, grid, form=form, padding=padding, backend="triton")

    assert torch.autograd.gradcheck(function, (x, k), fast_mode=True) and torch.autograd.gradgradcheck(function, (x, k), fast_mode=True)


def test_gradients_of_the_quotients():
    grid, beta = EFFGrid((3, 4), (1, 2)), torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    x, y, k = random(1, 2, 3, 4).requires_grad_(), random(1, 2, 3, 4, seed=1).requires_grad_(), random(1, 2, 2, 2, seed=2).requires_grad_()
    prior = random(1, 2, 2, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda y, k, beta, prior: svconv.eff_image_quotient(
        y, k, grid, beta=beta, prior=prior, backend="triton"), (y, k, beta, prior), fast_mode=True)
    assert torch.autograd.gradcheck(lambda x, y, beta: svconv.eff_kernel_quotient(x, y, grid, 2, beta=beta, backend="triton"),
                                    (x, y, beta), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_computed_in_float32(dtype):
    grid, x, k = EFFGrid((5, 4), (2, 2)), random(1, 1, 5, 4, dtype=dtype), random(1, 4, 3, 2, dtype=dtype, seed=2)
    result = svconv.eff_conv(x, k, grid, backend="triton")
    assert result.dtype == dtype and torch.equal(result, svconv.eff_conv(x.float(), k.float(), grid, backend="triton").to(dtype))


@pytest.mark.parametrize("b, c", [(0, 2), (2, 0)])
def test_empty_batches(b, c):
    grid, x, k = EFFGrid((5, 4), (2, 2)), torch.zeros(b, c, 5, 4, requires_grad=True), torch.rand(1, 4, 3, 3, requires_grad=True)
    y = svconv.eff_conv(x, k, grid, backend="triton")
    y.sum().backward()
    assert y.shape == x.shape == x.grad.shape and not k.grad.any()
    assert svconv.eff_image_quotient(x, k, grid, beta=1.0, backend="triton").shape == x.shape
    assert svconv.eff_kernel_adjoint(x, x, grid, 3, backend="triton").shape == (b, c, 4, 3, 3)
    found = svconv.eff_kernel_quotient(x, x, grid, 3, beta=1.0, backend="triton")
    assert found.shape == (b, 4, 3, 3) and not found.any()
