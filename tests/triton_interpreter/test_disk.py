"""The Triton kernels of the disk family under the interpreter, against the reference."""
import functools
import importlib
import math

import pytest
import torch

import svconv
from svconv._boundary import PADDINGS
from svconv._form import FORMS
from svconv.reference import disk as reference

# relative to the largest |value| of the result: roundings of areas and sums, or one of the storage type (the interpreter truncates to
# bfloat16, a GPU rounds to nearest)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2.0**-11 * 1.1, torch.bfloat16: 2.0**-7 * 1.1}
BLURS = ("disk_blur_fwd", "disk_blur_adjoint")
SLOPES = ("disk_slope_fwd", "disk_slope_adjoint")
BWD = "disk_blur_bwd_radius"


@pytest.fixture
def kernels(nan_memory):
    """The kernels; every buffer they allocate is full of NaN."""
    return importlib.import_module("svconv._triton.disk")


@pytest.fixture
def disk_by_disk(monkeypatch):
    """Radii above 1.5 go the way of large ones."""
    for name in ("spread", "plans"):
        monkeypatch.setattr(importlib.import_module(f"svconv._triton.disk.{name}"), "SPLIT", 1.5)


def tensors(batch=1, channels=2, size=(4, 5), largest=2.4, *, maps=(1, 1), dtype=torch.float64, map_dtype=None, seed=0):
    """x, g and radii between less than nothing and `largest`, which is there."""
    generator = torch.Generator().manual_seed(seed)
    x, g = (torch.randn(batch, channels, *size, dtype=torch.float64, generator=generator).to(dtype) for _ in range(2))
    radius = (largest + 0.5) * torch.rand(*maps, *size, dtype=torch.float64, generator=generator) - 0.5
    radius[..., size[0] // 2, size[1] // 2] = largest
    return x, g, radius.to(map_dtype or dtype)


def check(kernels, op, x, g, radius, form, padding, max_radius=math.inf):
    """Equal to the reference evaluated in float64, within the roundings of the result's type."""
    images = (x, g) if op == BWD else (x,)
    result = getattr(kernels, op)(*images, radius, form, padding, max_radius)
    expected = getattr(reference, op)(*(t.double() for t in (*images, radius)), form, padding, max_radius)
    like = radius if op == BWD else x
    assert result.shape == like.shape and result.dtype == like.dtype and result.is_contiguous()
    assert torch.equal(result.isnan(), expected.isnan())
    difference = (result.double() - expected).nan_to_num().abs().max()
    tolerance = max(TOLERANCE[x.dtype], TOLERANCE[result.dtype]) if op == BWD else TOLERANCE[result.dtype]
    given = math.prod(float(t.abs().max()) for t in images)     # derivatives may cancel
    assert difference <= tolerance * max(expected.nan_to_num().abs().max(), 0.1 * given)
    return result


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("form", FORMS)
def test_equals_reference(kernels, form, padding):
    for op in (*BLURS, BWD, *(SLOPES if padding == "symmetric" else ())):
        check(kernels, op, *tensors(), form, padding)


@pytest.mark.parametrize("form", FORMS)
def test_larger_than_the_image(kernels, form):
    """Disks that reach over the image several times; one pixel."""
    for size, padding in (((2, 3), "circular"), ((1, 1), "reflect")):
        for op in (*BLURS, BWD):
            check(kernels, op, *tensors(1, 1, size, 3.7), form, padding)


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
@pytest.mark.parametrize("form, op", [("scatter", "fwd"), ("gather", "adjoint")])
def test_disk_by_disk(kernels, disk_by_disk, form, op, padding):
    """Large radii: those that hold the whole tile, those that cut it, and small ones beside them."""
    x, g, radius = tensors(1, 2, (3, 4), 2.9)
    radius[..., 0, 0] = 5.2
    check(kernels, f"disk_blur_{op}", x, g, radius, form, padding)
    check(kernels, f"disk_slope_{op}", x, g, radius, form, padding)


def test_the_large_and_the_small_meet_at_the_split(kernels, disk_by_disk):
    x, g, radius = tensors(1, 1, (3, 4))
    radius[:] = 1.5
    radius[..., 1] = math.nextafter(1.5, 2)
    check(kernels, "disk_blur_fwd", x, g, radius, "scatter", "zeros")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(18, 66), (9, 33)])
def test_tiles(kernels, form, size):
    """Tiles are 32 x 8 and 16 x 8, blocks of the map 16 x 16; the larger image has tiles that read nothing from outside."""
    x, g, radius = tensors(1, 1, size, 1.3)
    radius[..., 10:14, 40:44] = 0.2
    for op in (*BLURS, BWD):
        check(kernels, op, x, g, radius, form, "zeros" if op == "disk_blur_adjoint" else "circular")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("radius", [3.0, 4.3])
def test_a_constant_radius(kernels, form, radius):
    """Most of the disk is inside of every disk of the tile and needs no area; a radius that ends between pixels."""
    x, g, map_ = tensors(1, 1, (9, 12))
    map_[:] = radius
    for op in ("disk_blur_fwd", "disk_slope_adjoint"):
        check(kernels, op, x, g, map_, form, "circular")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype, map_dtype", [(torch.float32, None), (torch.float16, torch.float32), (torch.bfloat16, torch.float32),
                                              (torch.bfloat16, torch.bfloat16)], ids=str)
def test_dtypes(kernels, form, dtype, map_dtype):
    """Half types are accumulated in float32 and rounded once, also where the plane is folded."""
    for op in (*BLURS, BWD):
        check(kernels, op, *tensors(dtype=dtype, map_dtype=map_dtype), form, "replicate")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("maps", [(1, 1), (2, 1), (1, 5), (2, 5)], ids=str)
def test_shared_maps(kernels, form, maps):
    """Groups of channels that do not come out even; the gradient is summed over what shares a radius."""
    x, g, radius = tensors(2, 5, (2, 3), 0.8, maps=maps)
    for op in (*BLURS, BWD):
        check(kernels, op, x, g, radius, form, "reflect" if op == BWD else "zeros")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("largest", [1.1, 4.0])
def test_max_radius(kernels, form, largest, monkeypatch):
    """It clamps in double precision, with derivative 0, and is a promise: nobody looks at the map on the host."""
    plans = importlib.import_module("svconv._triton.disk.plans")
    x, g, radius = tensors(1, 1, (3, 4))
    radius[..., 0, 1], radius[..., 1, 0], radius[..., 2, 1] = math.inf, 1.1, math.nextafter(1.1, 2)
    monkeypatch.setattr(plans, "disk_reach", lambda *_: pytest.fail("looks at the map"))
    padding = "reflect" if largest < 2 else "zeros"
    for op in (*BLURS, BWD):
        check(kernels, op, x, g, radius, form, padding, largest)


def test_a_radius_beyond_the_largest_is_an_error(kernels):
    x, _, radius = tensors(1, 1, (2, 2))
    radius[..., 0, 0] = 16385.0
    for op in BLURS:
        with pytest.raises(ValueError, match="radius: expected at most 16384 pixels"):
            getattr(kernels, op)(x, radius, "gather", "zeros", math.inf)
    check(kernels, "disk_blur_fwd", x, x, radius, "gather", "zeros", 2.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("form", FORMS)
def test_a_radius_that_is_no_number_spoils_its_own_pixel(kernels, form, bad):
    x, g, radius = tensors(1, 2, (4, 5), 1.4)
    radius[..., 1, 2] = bad
    for op in (*BLURS, BWD):
        result = check(kernels, op, x, g, radius, form, "zeros")
        assert bool(result[..., 1, 2].isnan().all()) and int(result.isnan().sum()) == (1 if op == BWD else 2)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("form", FORMS)
def test_bad_values_stay_where_disks_are(kernels, form, bad):
    """Also where a disk of another pixel of the tile would reach them."""
    x, g, radius = tensors(1, 1, (5, 9), 1.2)
    radius[..., 2, 8] = 3.3
    x[..., 1, 2] = bad
    for op in BLURS:
        result = getattr(kernels, op)(x, radius, form, "zeros", math.inf)
        expected = getattr(reference, op)(x, radius, form, "zeros", math.inf)
        assert torch.equal(result.isfinite(), expected.isfinite()) and not bool(result.isfinite().all())


@pytest.mark.parametrize("form", FORMS)
def test_up_to_half_a_pixel_nothing_changes(kernels, form):
    x, _, radius = tensors(1, 3, (3, 4), dtype=torch.bfloat16)
    for op in BLURS:
        assert torch.equal(getattr(kernels, op)(x, radius.clamp(max=0.5), form, "replicate", math.inf), x)


@pytest.mark.parametrize("form", FORMS)
def test_strides(kernels, form):
    """Channels last, sliced images, expanded maps: the same bits."""
    x, g, radius = tensors(2, 3, (4, 5), 1.4, dtype=torch.float32)
    wide = torch.full((2, 3, 8, 11), float("nan"))
    wide[:, :, ::2, 1::2] = x
    last = g.contiguous(memory_format=torch.channels_last)
    map_ = radius.mT.contiguous().mT
    for op in BLURS:
        rest = radius, form, "reflect", math.inf
        assert torch.equal(getattr(kernels, op)(wide[:, :, ::2, 1::2], map_, *rest[1:]), getattr(kernels, op)(x, *rest))
    given = wide[:, :, ::2, 1::2], last, map_.expand(2, 1, 4, 5)
    plain = kernels.disk_blur_bwd_radius(x, g, radius.repeat(2, 1, 1, 1), form, "zeros", math.inf)
    assert torch.equal(kernels.disk_blur_bwd_radius(*given, form, "zeros", math.inf), plain)


def test_strides_beyond_32_bits(kernels):
    """Offsets are 64-bit: a plane stride of more than 2^31 elements, of which only a few pages are touched."""
    x, _, radius = tensors(1, 2, (2, 3), 1.2, dtype=torch.float16, map_dtype=torch.float32)
    memory = torch.UntypedStorage(2 * (2**31 + 64))
    far = torch.tensor([], dtype=torch.float16).set_(memory, 0, (1, 2, 2, 3), (0, 2**31, 3, 1))
    far.copy_(x)
    for op in (*BLURS, BWD):
        check(kernels, op, far, far, radius, "gather", "replicate")


@pytest.mark.parametrize("padding", PADDINGS)
def test_adjoint_identity(kernels, padding):
    x, g, radius = tensors(1, 1, (3, 4), 1.9, seed=3)
    for form in FORMS:
        left = (kernels.disk_blur_fwd(x, radius, form, padding, math.inf) * g).sum()
        right = (x * kernels.disk_blur_adjoint(g, radius, form, padding, math.inf)).sum()
        assert abs(left - right) <= 1e-13 * x.norm() * g.norm()


@pytest.mark.parametrize("form", FORMS)
def test_same_bits_twice(kernels, form):
    x, g, radius = tensors(1, 3, (3, 5), 1.8, dtype=torch.float32)
    for op, images in ((BLURS[0], (x,)), (BLURS[1], (x,)), (BWD, (x, g))):
        first, second = (getattr(kernels, op)(*images, radius, form, "reflect", math.inf) for _ in range(2))
        assert torch.equal(first, second)


def test_empty(kernels):
    for batch, channels in ((0, 2), (2, 0)):
        x, g, radius = tensors(batch, channels, (3, 4))
        for form in FORMS:
            for op in (*BLURS, *SLOPES):
                assert getattr(kernels, op)(x, radius, form, "reflect", math.inf).shape == x.shape
            gradient = kernels.disk_blur_bwd_radius(x, g, radius, form, "reflect", math.inf)
            assert gradient.shape == radius.shape and gradient.eq(0).all()


def test_public_op_and_its_gradients():
    """The ops dispatch to these kernels; first order in both, second order in the image and mixed."""
    x, _, radius = tensors(1, 1, (1, 2), 1.2)
    radius[:] = torch.tensor([0.9, 1.2])
    x.requires_grad_(), radius.requires_grad_()
    for form in FORMS:
        def blurred(x, radius, form=form):
            return svconv.disk_blur(x, radius, form=form, padding="reflect", backend="triton")

        assert torch.allclose(blurred(x, radius), svconv.disk_blur(x, radius, form=form, padding="reflect", backend="reference"))
        assert torch.autograd.gradcheck(blurred, (x, radius), fast_mode=True)
        if form == "gather":
            assert torch.autograd.gradgradcheck(functools.partial(blurred, radius=radius.detach()), (x,), fast_mode=True)
