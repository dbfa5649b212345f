"""The CUDA kernels of the eff family on the CPU, against the reference."""
import pytest
import torch

from cuda_emulation.emulator import ORDERS
from svconv import _eff_pieces
from svconv._boundary import PADDINGS
from svconv._eff_grid import EFFGrid, halo_size
from svconv.backends.cuda import eff
from svconv.reference import eff as reference

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}     # relative to the largest value of the result
FORMS = ("scatter", "gather")
# [B, C], grid, kernels: shared by all images and channels, per channel, per image, each its own
SHARED = (1, 2), EFFGrid((5, 7), (2, 3)), (1, 1, 6, 3, 2)
PER_CHANNEL = (2, 2), EFFGrid((14, 15), (2, 1), overlap=0.3, window="barthann"), (1, 2, 2, 2, 3)
PER_IMAGE_LARGER_THAN_THE_IMAGE = (2, 2), EFFGrid((4, 3), (3, 2), overlap=0.6, window="hat"), (2, 1, 6, 5, 6)
OWN_LARGER_THAN_A_PATCH = (2, 2), EFFGrid((6, 4), (3, 2), overlap=0.6, window="hat"), (2, 2, 6, 4, 3)
ONE_PIXEL = (2, 1), EFFGrid((1, 1), (1, 1)), (1, 1, 1, 1, 1)
RADIX_7 = (1, 1), EFFGrid((47, 70), (2, 2)), (1, 1, 4, 12, 15)
OF_FLOAT32 = tuple(name for name in eff.KERNELS if "<float" in name)
CASES = SHARED, PER_CHANNEL, PER_IMAGE_LARGER_THAN_THE_IMAGE, OWN_LARGER_THAN_A_PATCH, ONE_PIXEL, RADIX_7


def tensors(case, dtype=torch.float64):
    """Two images and kernels."""
    batch, grid, shape = case
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, dtype=torch.float64, generator=generator).to(dtype)
            for size in ((*batch, *grid.image_size), (*batch, *grid.image_size), shape)]


def calls(case, form, padding, dtype=torch.float64):
    (x, g, k), grid = tensors(case, dtype), case[1].options
    return {"eff_fwd": (x, k, form, padding, *grid), "eff_adjoint": (g, k, form, padding, *grid),
            "eff_bwd_kernels": (x, g, tuple(k.shape), dtype, form, padding, *grid)}


def quotient_calls(case, dtype=torch.float64, padding="reflect", prior=True):
    (y, x, k), grid = tensors(case, dtype), case[1]
    rows, columns = halo_size(grid, k.shape[-2:])
    plane = torch.rand(rows, columns, dtype=torch.float64)
    power = torch.fft.rfft2(plane).abs().square().to(dtype) if prior else None      # of real filters, as always
    beta = torch.linspace(0.5, 1.0, y.shape[0], dtype=dtype)
    return {"eff_image_quotient_fwd": (y, k, beta, power, padding, *grid.options),
            "eff_kernel_quotient_fwd": (x, y, beta[:1], *k.shape[-2:], *grid.options)}


def check(module, case, form, padding, dtype=torch.float64):
    """Equal to the reference evaluated in float64; the results."""
    return check_calls(module, calls(case, form, padding, dtype), dtype)


def check_calls(module, calls, dtype=torch.float64):
    results = []
    for op, arguments in calls.items():
        assert module.why_not(op, *arguments) is None
        result = getattr(module, op)(*arguments)
        expected = getattr(reference, op)(*(a.double() if isinstance(a, torch.Tensor) else a for a in arguments))
        assert result.shape == expected.shape and result.dtype == dtype and result.is_contiguous()
        assert (result.double() - expected).abs().max() <= TOLERANCE[dtype] * expected.abs().max(), op
        results.append(result)
    return results


@pytest.fixture
def few_threads(monkeypatch):
    """In a block; one thread does several turns."""
    monkeypatch.setattr(eff, "THREADS", 32)


@pytest.fixture
def kernels(emulated, nan_memory, few_threads):
    return emulated("eff")


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("form", FORMS)
def test_equals_reference(kernels, form, padding):
    check(kernels, SHARED, form, padding)


@pytest.mark.parametrize("case", CASES[1:], ids=["per channel", "per image", "own", "one pixel", "radices"])
def test_sizes_and_sharing(kernels, case):
    check(kernels, case, "scatter", "reflect")
    check(kernels, case, "gather", "circular")


@pytest.mark.parametrize("form", FORMS)
def test_float32(kernels, form):
    check(kernels, PER_CHANNEL, form, "symmetric", torch.float32)
    check(kernels, RADIX_7, form, "replicate", torch.float32)


EVEN_PLANES = ((2, 2), EFFGrid((5, 7), (2, 2)), (1, 2, 4, 3, 4)), ((2, 1), EFFGrid((9, 4), (2, 1)), (2, 1, 2, 2, 5))


@pytest.mark.parametrize("case", EVEN_PLANES, ids=["per channel", "per image"])
def test_quotients(kernels, case):
    for padding in PADDINGS:
        check_calls(kernels, {"eff_image_quotient_fwd": quotient_calls(case, padding=padding)["eff_image_quotient_fwd"]})
    check_calls(kernels, quotient_calls(case, prior=False))
    check_calls(kernels, quotient_calls(case, torch.float32), torch.float32)


def test_where_the_divisor_vanishes_the_quotient_is_zero(kernels):
    y, k, _, power, *rest = quotient_calls(EVEN_PLANES[0])["eff_image_quotient_fwd"]
    arguments = y, torch.zeros_like(k), torch.ones(1, dtype=torch.float64), torch.zeros_like(power), *rest
    assert torch.equal(kernels.eff_image_quotient_fwd(*arguments), torch.zeros_like(y))


def test_odd_rows_of_a_quotient_are_refused():
    for op, arguments in quotient_calls(((1, 1), EFFGrid((5, 5), (1, 1)), (1, 1, 1, 5, 5))).items():
        assert "values" in eff.why_not(op, *arguments)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 8, 9, 16, 25, 30, 42, 49, 160])
def test_places_of_frequencies(length):
    """The passes, one digit after the other, leave every frequency at its place."""
    radices = eff._radices(length)
    digits, frequency = [0], [0]
    weight, block = 1, length
    for radix in radices:
        block //= radix
        digits = [p + q * block for p in digits for q in range(radix)]
        frequency = [f + q * weight for f in frequency for q in range(radix)]
        weight *= radix
    places = eff._places(radices)
    assert sorted(places) == list(range(length)) and all(places[f] == p for f, p in zip(frequency, digits))


def test_every_radix_occurs():
    planes = [eff._Planes(case[1], case[2][-2:], eff._CONVOLUTION, "gather", "zeros", image=tensors(case)[0]) for case in CASES]
    assert {radix for one in planes for n in (one.size[0], one.size[1] // 2) for radix in eff._radices(n)} == {2, 3, 4, 5, 7}


@pytest.mark.parametrize("patches_in_a_batch", [1, 2, 5])
def test_batches(kernels, monkeypatch, patches_in_a_batch):
    """One patch at a time, a part of a row, more than one row."""
    case = (1, 2), EFFGrid((7, 5), (4, 3)), (1, 2, 12, 3, 3)
    planes = eff._Planes(case[1], (3, 3), eff._CONVOLUTION, "scatter", "reflect", image=tensors(case)[0])
    monkeypatch.setattr(_eff_pieces, "BATCH_BYTES", patches_in_a_batch * 2 * planes.size[0] * planes.size[1] * 8)
    for form in FORMS:
        check(kernels, case, form, "reflect")


def test_any_strides(kernels):
    (x, _, k), options = tensors(PER_CHANNEL), ("gather", "reflect", *PER_CHANNEL[1].options)
    expected = kernels.eff_fwd(x, k, *options)
    for seen in (x.to(memory_format=torch.channels_last), x.mT.contiguous().mT):
        result = kernels.eff_fwd(seen, k.mT.contiguous().mT, *options)
        assert result.is_contiguous() and torch.equal(result, expected)


def test_empty(kernels):
    (x, g, k), options = tensors(PER_CHANNEL), ("gather", "zeros", *PER_CHANNEL[1].options)
    assert kernels.eff_fwd(x[:0], k, *options).shape == (0, 2, 14, 15)
    assert kernels.eff_bwd_kernels(x[:0], g[:0], tuple(k.shape), torch.float64, *options).eq(0).all()


def test_nan_stays_in_its_image(kernels):
    (x, _, k), options = tensors(PER_CHANNEL), ("scatter", "zeros", *PER_CHANNEL[1].options)
    x[0, 0, 3, 3] = float("nan")
    result = kernels.eff_fwd(x, k, *options)
    assert result[0, 0].isnan().any() and not result[0, 1].isnan().any() and not result[1].isnan().any()


def test_blocks_as_large_as_on_a_gpu(emulated, nan_memory):
    check(emulated("eff"), SHARED, "scatter", "reflect")


def test_the_order_of_threads_and_blocks_does_not_matter(emulated, few_threads):
    for first, other in zip(*(check(emulated("eff", order=order), OWN_LARGER_THAN_A_PATCH, "scatter", "circular") for order in ORDERS[:2])):
        assert torch.equal(first, other)
    check(emulated("eff", order="shuffled"), PER_CHANNEL, "gather", "reflect")


def test_sanitized(emulated, nan_memory, few_threads):
    kernels = emulated("eff", "sanitized", kernels=OF_FLOAT32)
    check(kernels, SHARED, "scatter", "reflect", torch.float32)
    check(kernels, RADIX_7, "gather", "symmetric", torch.float32)
    check_calls(kernels, quotient_calls(EVEN_PLANES[0], torch.float32), torch.float32)


def test_no_races(emulated, few_threads):
    kernels = emulated("eff", "threads", kernels=OF_FLOAT32)
    check(kernels, ((1, 1), EFFGrid((4, 5), (2, 1)), (1, 1, 2, 2, 2)), "scatter", "zeros", torch.float32)
    check_calls(kernels, quotient_calls(((1, 1), EFFGrid((5, 4), (1, 1)), (1, 1, 1, 2, 3)), torch.float32), torch.float32)


def test_a_patch_that_is_too_large_is_refused():
    case = (1, 1), EFFGrid((400, 400), (1, 1)), (1, 1, 1, 9, 9)
    for op, arguments in calls(case, "scatter", "zeros", torch.float32).items():
        assert "patches of" in eff.why_not(op, *arguments)
