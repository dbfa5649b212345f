"""The Triton kernels of the gaussian family under the interpreter, against the reference."""
import functools
import importlib
import math

import pytest
import torch

import svconv
from svconv._boundary import PADDINGS
from svconv._form import FORMS
from svconv.reference import gaussian as reference

# relative to the largest |value| of the result: roundings of exponentials and sums, or one of the storage type (the interpreter truncates
# to bfloat16, a GPU rounds to nearest)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2.0**-11 * 1.1, torch.bfloat16: 2.0**-7 * 1.1}
BLURS = ("gaussian_blur_fwd", "gaussian_blur_adjoint")
SLOPES = ("gaussian_slope_fwd", "gaussian_slope_adjoint")
BWD = "gaussian_blur_bwd_sigma"


@pytest.fixture
def kernels(nan_memory):
    """The kernels; every buffer they allocate is full of NaN."""
    return importlib.import_module("svconv._triton.gaussian")


def tensors(batch=1, channels=2, size=(4, 5), largest=1.1, *, maps=(1, 1), dtype=torch.float64, map_dtype=None):
    """x, g and sigmas between less than nothing and `largest`, which is there."""
    generator = torch.Generator().manual_seed(0)
    x, g = (torch.randn(batch, channels, *size, dtype=torch.float64, generator=generator).to(dtype) for _ in range(2))
    sigma = (largest + 0.3) * torch.rand(*maps, *size, dtype=torch.float64, generator=generator) - 0.3
    sigma[..., size[0] // 2, size[1] // 2] = largest
    return x, g, sigma.to(map_dtype or dtype)


def check(kernels, op, x, g, sigma, form, padding, max_sigma=math.inf, truncate=2.3):
    """Equal to the reference evaluated in float64, within the roundings of the result's type."""
    images = (x, g) if op == BWD else (x,)
    result = getattr(kernels, op)(*images, sigma, form, padding, max_sigma, truncate)
    expected = getattr(reference, op)(*(t.double() for t in (*images, sigma)), form, padding, max_sigma, truncate)
    like = sigma if op == BWD else x
    assert result.shape == like.shape and result.dtype == like.dtype and result.is_contiguous()
    assert torch.equal(result.isnan(), expected.isnan())
    tolerance = max(TOLERANCE[x.dtype], TOLERANCE[result.dtype]) if op == BWD else TOLERANCE[result.dtype]
    assert (result.double() - expected).nan_to_num().abs().max() <= tolerance * expected.nan_to_num().abs().max()


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("form", FORMS)
def test_equals_reference(kernels, form, padding):
    for op in (*BLURS, BWD, *(SLOPES if padding == "reflect" else ())):
        check(kernels, op, *tensors(), form, padding)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(18, 66), (9, 33)])
def test_tiles(kernels, form, size):
    """Tiles are 32 x 8 and 16 x 8, blocks of the map 16 x 16; the larger image has tiles that read nothing from outside."""
    x, g, sigma = tensors(1, 1, size, 0.8)
    sigma[..., 10:14, 40:44] = 0.1
    for op in (*BLURS, BWD):
        check(kernels, op, x, g, sigma, form, "zeros" if op == BLURS[1] else "symmetric")


@pytest.mark.parametrize("form", FORMS)
def test_a_wide_window_reaches_over_blocks_and_the_image(kernels, form):
    x, g, sigma = tensors(1, 1, (2, 40), 0.4)
    sigma[..., 1, 20] = 4.0
    for op in BLURS:
        check(kernels, op, x, g, sigma, form, "zeros")
    check(kernels, BLURS[0], *tensors(1, 1, (2, 3), 2.0), form, "circular")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype, map_dtype", [(torch.float32, None), (torch.float16, torch.float32), (torch.bfloat16, torch.float32)],
                         ids=str)
def test_dtypes(kernels, form, dtype, map_dtype):
    for op in (*BLURS, BWD):
        check(kernels, op, *tensors(dtype=dtype, map_dtype=map_dtype), form, "replicate")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("maps", [(1, 1), (2, 1), (1, 5), (2, 5)], ids=str)
def test_shared_maps(kernels, form, maps):
    """Groups of channels that do not come out even; the gradient is summed over what shares a sigma."""
    for op in (*BLURS, BWD):
        check(kernels, op, *tensors(2, 5, (2, 3), 0.5, maps=maps), form, "reflect" if op == BWD else "zeros")


@pytest.mark.parametrize("form", FORMS)
def test_max_sigma(kernels, form, monkeypatch):
    """It clamps in double precision, with derivative 0, and is a promise: nobody looks at the map on the host."""
    x, g, sigma = tensors(1, 1, (3, 4))
    sigma[..., 0, 1], sigma[..., 1, 0], sigma[..., 2, 1] = math.inf, 0.7, math.nextafter(0.7, 1)
    seen = []
    monkeypatch.setattr(kernels, "gaussian_reach", lambda t, *a, **k: seen.append(t.numel()) or 2)
    for op in (*BLURS, BWD):
        check(kernels, op, x, g, sigma, form, "reflect", 0.7)
    assert seen == [1] * 3      # the promise, three times


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("form", FORMS)
def test_a_sigma_that_is_no_number_spoils_its_own_pixel(kernels, form, bad):
    x, g, sigma = tensors(1, 2, (4, 5), 0.7)
    sigma[..., 1, 2] = bad
    for op in (*BLURS, BWD):
        check(kernels, op, x, g, sigma, form, "zeros")


@pytest.mark.parametrize("form", FORMS)
def test_bad_values_stay_in_their_windows(kernels, form):
    x, _, sigma = tensors(1, 1, (5, 9), 0.6)
    sigma[..., 2, 8] = 1.6
    x[..., 1, 2] = math.nan
    for op in BLURS:
        result, expected = (getattr(module, op)(x, sigma, form, "zeros", math.inf, 2.3) for module in (kernels, reference))
        assert torch.equal(result.isnan(), expected.isnan()) and bool(result.isnan().any())


def test_a_window_beyond_the_largest_is_an_error(kernels):
    x, _, sigma = tensors(1, 1, (2, 2))
    sigma[..., 0, 0] = 8193.0
    with pytest.raises(ValueError, match="sigma: expected truncate"):
        kernels.gaussian_blur_fwd(x, sigma, "gather", "zeros", math.inf, 2.0)


def test_strides_beyond_32_bits(kernels):
    """Offsets are 64-bit: a plane stride of more than 2^31 elements, of which only a few pages are touched."""
    x, _, sigma = tensors(1, 2, (2, 3), dtype=torch.float16, map_dtype=torch.float32)
    memory = torch.UntypedStorage(2 * (2**31 + 64))
    far = torch.tensor([], dtype=torch.float16).set_(memory, 0, (1, 2, 2, 3), (0, 2**31, 3, 1))
    far.copy_(x)
    for op in (*BLURS, BWD):
        check(kernels, op, far, far, sigma, "gather", "replicate")


@pytest.mark.parametrize("form", FORMS)
def test_same_bits_twice_and_from_other_strides(kernels, form):
    x, g, sigma = tensors(2, 3, (4, 5), 0.8, dtype=torch.float32)
    wide = torch.full((2, 3, 8, 11), float("nan"))
    wide[:, :, ::2, 1::2] = x
    last, map_ = g.contiguous(memory_format=torch.channels_last), sigma.mT.contiguous().mT
    for op, images, others in ((BLURS[0], (x,), (wide[:, :, ::2, 1::2],)), (BLURS[1], (g,), (last,)), (BWD, (x, g), (x, last))):
        rest = form, "reflect", math.inf, 2.3
        assert torch.equal(getattr(kernels, op)(*images, sigma, *rest), getattr(kernels, op)(*others, map_, *rest))


def test_empty(kernels):
    for batch, channels in ((0, 2), (2, 0)):
        x, g, sigma = tensors(batch, channels, (3, 4))
        for form in FORMS:
            for op in (*BLURS, *SLOPES):
                assert getattr(kernels, op)(x, sigma, form, "reflect", math.inf, 2.0).shape == x.shape
            gradient = kernels.gaussian_blur_bwd_sigma(x, g, sigma, form, "reflect", math.inf, 2.0)
            assert gradient.shape == sigma.shape and gradient.eq(0).all()


def test_public_op_and_its_gradients():
    """The ops dispatch to these kernels; first order in both, second order in the image."""
    x, _, sigma = tensors(1, 1, (1, 2))
    sigma[:] = torch.tensor([0.6, 0.8])
    x.requires_grad_(), sigma.requires_grad_()
    for form in FORMS:
        blurred = functools.partial(svconv.gaussian_blur, form=form, padding="reflect", truncate=2.0, backend="triton")
        expected = svconv.gaussian_blur(x, sigma, form=form, padding="reflect", truncate=2.0, backend="reference")
        assert torch.allclose(blurred(x, sigma), expected)
        assert torch.autograd.gradcheck(blurred, (x, sigma), fast_mode=True)
        if form == "gather":
            assert torch.autograd.gradgradcheck(functools.partial(blurred, sigma=sigma.detach()), (x,), fast_mode=True)
