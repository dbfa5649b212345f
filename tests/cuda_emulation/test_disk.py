"""The CUDA kernels of the disk family on the CPU, against the reference."""
import itertools
import math

import pytest
import torch

import svconv
from cuda_emulation.emulator import ORDERS
from svconv._boundary import PADDINGS
from svconv._form import FORMS
from svconv.backends.cuda import disk as module
from svconv.reference import disk as reference

# relative to the largest |value| of the result: roundings of areas and sums, or one of the storage type
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2.0**-11 * 1.1, torch.bfloat16: 2.0**-8 * 1.1}
BLURS = ("disk_blur_fwd", "disk_blur_adjoint")
SLOPES = ("disk_slope_fwd", "disk_slope_adjoint")
BWD = "disk_blur_bwd_radius"
OPS = (*BLURS, *SLOPES, BWD)


@pytest.fixture
def kernels(emulated, nan_memory):
    return emulated("disk")


def tensors(batch=1, channels=2, size=(5, 7), largest=3.4, *, maps=(1, 1), dtype=torch.float64, map_dtype=None, seed=0):
    """x, g and radii between less than nothing and `largest`, which is there."""
    generator = torch.Generator().manual_seed(seed)
    x, g = (torch.randn(batch, channels, *size, dtype=torch.float64, generator=generator).to(dtype) for _ in range(2))
    radius = (largest + 0.5) * torch.rand(*maps, *size, dtype=torch.float64, generator=generator) - 0.5
    radius[..., size[0] // 2, size[1] // 2] = largest
    return x, g, radius.to(map_dtype or dtype)


def run(kernels, op, x, g, *rest):
    return getattr(kernels, op)(*((x, g) if op == BWD else (x,)), *rest)


def check(kernels, op, x, g, radius, form, padding, max_radius=math.inf):
    """Equal to the reference evaluated in float64, within the roundings of the result's type."""
    images = (x, g) if op == BWD else (x,)
    assert kernels.why_not(op, *images, radius, form, padding, max_radius) is None
    result = run(kernels, op, x, g, radius, form, padding, max_radius)
    expected = run(reference, op, x.double(), g.double(), radius.double(), form, padding, max_radius)
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
    for op in OPS:
        check(kernels, op, *tensors(), form, padding)


@pytest.mark.parametrize("form", FORMS)
def test_tiles(kernels, form):
    """Tiles are 32 x 16, blocks of the map 16 x 16; a sharp part, one with a large disk in it, a smooth one."""
    x, g, radius = tensors(1, 1, (19, 67), 2.3)
    radius[..., 5:9, 20:44] = 0.2
    radius[..., 12, 30] = 7.7
    radius[..., 45:] = torch.linspace(3, 4, 22, dtype=torch.float64)
    for op in (*BLURS, BWD):
        check(kernels, op, x, g, radius, form, "zeros" if op == "disk_blur_adjoint" else "symmetric")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("radius", [0.51, 3.0, 4.5, 9.2])
def test_a_constant_radius(kernels, form, radius):
    """Nothing but runs and one circle of areas, which may end between pixels or on a side of one."""
    x, g, map_ = tensors(1, 1, (9, 33))
    map_[:] = radius
    for op in ("disk_blur_fwd", "disk_slope_adjoint"):
        check(kernels, op, x, g, map_, form, "circular")


@pytest.mark.parametrize("form", FORMS)
def test_larger_than_the_image(kernels, form):
    """Disks that reach over the image several times; one pixel."""
    for size, padding in (((2, 3), "circular"), ((1, 1), "reflect"), ((1, 4), "symmetric")):
        for op in (*BLURS, BWD):
            check(kernels, op, *tensors(1, 1, size, 5.7), form, padding)


@pytest.mark.parametrize("room", [2600, 100], ids=["rows one after the other", "no room for a row"])
@pytest.mark.parametrize("form", FORMS)
def test_little_shared_memory(kernels, form, room, monkeypatch):
    monkeypatch.setattr(module, "SHARED", module.NOTED + room)
    x, g, radius = tensors(1, 4, (17, 9), 5.2, dtype=torch.float32)
    for op, padding in itertools.product((*BLURS, "disk_slope_fwd"), ("zeros", "reflect")):
        check(kernels, op, x, g, radius, form, padding)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype, map_dtype", [(torch.float32, None), (torch.float16, torch.float32), (torch.bfloat16, torch.float32),
                                              (torch.float16, None), (torch.bfloat16, None)], ids=str)
def test_dtypes(kernels, form, dtype, map_dtype):
    """Half types are accumulated in float32 and rounded once, also where the plane is folded."""
    for op in (*BLURS, BWD):
        check(kernels, op, *tensors(channels=3, dtype=dtype, map_dtype=map_dtype), form, "replicate")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("maps", [(1, 1), (2, 1), (1, 5), (2, 5)], ids=str)
def test_shared_maps(kernels, form, maps):
    """Groups of channels that do not come out even; the gradient is summed over what shares a radius."""
    x, g, radius = tensors(2, 5, (2, 3), 2.2, maps=maps)
    for op in (*BLURS, BWD):
        check(kernels, op, x, g, radius, form, "reflect" if op == BWD else "zeros")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("largest", [1.1, 4.0])
def test_max_radius(kernels, form, largest, monkeypatch):
    """It clamps in double precision, with derivative 0, and is a promise: nobody looks at the map on the host."""
    x, g, radius = tensors(1, 1, (3, 4))
    radius[..., 0, 1], radius[..., 1, 0], radius[..., 2, 1] = math.inf, 1.1, math.nextafter(1.1, 2)
    monkeypatch.setattr(module, "disk_reach", lambda *_: pytest.fail("looks at the map"))
    padding = "reflect" if largest < 2 else "zeros"
    for op in OPS:
        check(kernels, op, x, g, radius, form, padding, largest)


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
    x, _, radius = tensors(1, 1, (9, 12), 3.2)
    radius[..., 2, 8] = 5.3
    x[..., 4, 2] = bad
    for op in BLURS:
        result = getattr(kernels, op)(x, radius, form, "zeros", math.inf)
        expected = getattr(reference, op)(x, radius, form, "zeros", math.inf)
        assert torch.equal(result.isfinite(), expected.isfinite()) and not bool(result.isfinite().all())


@pytest.mark.parametrize("form", FORMS)
def test_a_star_does_not_spoil_its_row(kernels, form):
    """Errors count relative to what is inside of a pixel's own window: next to a star of 1e8 the sums of ones are as exact as without."""
    ones, radius = torch.ones(1, 1, 7, 40), torch.full((1, 1, 7, 40), 3.7)
    star = ones.clone()
    star[..., 3, 12] = 1e8
    away = (torch.arange(40) - 12).abs() > 4
    for op in BLURS:
        without, with_star = (getattr(kernels, op)(x, radius, form, "zeros", math.inf) for x in (ones, star))
        assert torch.equal(with_star[..., away], without[..., away]) and with_star[..., 3, 12] > 1e6


@pytest.mark.parametrize("form", FORMS)
def test_up_to_half_a_pixel_nothing_changes(kernels, form):
    x, _, radius = tensors(1, 3, (3, 4), dtype=torch.bfloat16)
    for op in BLURS:
        assert torch.equal(getattr(kernels, op)(x, radius.clamp(max=0.5), form, "replicate", math.inf), x)


@pytest.mark.parametrize("form", FORMS)
def test_strides(kernels, form):
    """Channels last, sliced images, expanded and transposed maps: the same bits."""
    x, g, radius = tensors(2, 3, (4, 5), 2.4, dtype=torch.float32)
    wide = torch.full((2, 3, 8, 11), float("nan"))
    wide[:, :, ::2, 1::2] = x
    given, last = wide[:, :, ::2, 1::2], g.contiguous(memory_format=torch.channels_last)
    for op in (*BLURS, BWD):
        plain = run(kernels, op, x, g, radius, form, "reflect", math.inf)
        assert torch.equal(run(kernels, op, given, last, radius.mT.contiguous().mT, form, "reflect", math.inf), plain)
    plain = kernels.disk_blur_bwd_radius(x, g, radius.repeat(2, 1, 1, 1), form, "zeros", math.inf)
    assert torch.equal(kernels.disk_blur_bwd_radius(given, last, radius.expand(2, 1, 4, 5), form, "zeros", math.inf), plain)


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
    x, g, radius = tensors(1, 1, (3, 4), 2.9, seed=3)
    for form in FORMS:
        left = (kernels.disk_blur_fwd(x, radius, form, padding, math.inf) * g).sum()
        right = (x * kernels.disk_blur_adjoint(g, radius, form, padding, math.inf)).sum()
        assert abs(left - right) <= 1e-13 * x.norm() * g.norm()


@pytest.mark.parametrize("form", FORMS)
def test_the_same_bits_in_every_order(emulated, nan_memory, form):
    """A barrier too few would show."""
    x, g, radius = tensors(1, 3, (20, 35), 3.8, dtype=torch.float32)
    for op in (*BLURS, BWD):
        results = [run(emulated("disk", order=order), op, x, g, radius, form, "reflect", math.inf) for order in ORDERS]
        assert all(torch.equal(results[0], other) for other in results[1:])


def test_sanitized(emulated, nan_memory, monkeypatch):
    kernels = emulated("disk", "sanitized", "shuffled")
    x, g, radius = tensors(1, 2, (17, 34), 3.8, dtype=torch.float32)
    for form, shared in itertools.product(FORMS, (module.SHARED, module.NOTED + 2600, module.NOTED + 100)):
        monkeypatch.setattr(module, "SHARED", shared)
        for op in (*BLURS, BWD):
            check(kernels, op, x, g, radius, form, "reflect")
    monkeypatch.undo()
    emulated("disk", "sanitized")
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        check(kernels, "disk_blur_fwd", *tensors(1, 1, dtype=dtype), "scatter", "circular")


def test_no_two_threads_race(emulated, nan_memory):
    kernels = emulated("disk", "threads", kernels=tuple(name for name in module.KERNELS if "<float" in name))
    x, g, radius = tensors(1, 3, (3, 5), 2.8, dtype=torch.float32)
    for form in FORMS:
        check(kernels, "disk_blur_fwd", x, g, radius, form, "circular")


def test_empty(kernels):
    for batch, channels in ((0, 2), (2, 0)):
        x, g, radius = tensors(batch, channels, (3, 4))
        for form in FORMS:
            for op in (*BLURS, *SLOPES):
                assert getattr(kernels, op)(x, radius, form, "reflect", math.inf).shape == x.shape
            gradient = kernels.disk_blur_bwd_radius(x, g, radius, form, "reflect", math.inf)
            assert gradient.shape == radius.shape and gradient.eq(0).all()


def test_a_radius_beyond_the_largest_is_an_error(kernels):
    x, _, radius = tensors(1, 1, (2, 2))
    radius[..., 0, 0] = 16385.0
    for op in BLURS:
        with pytest.raises(ValueError, match="radius: expected at most 16384 pixels"):
            getattr(kernels, op)(x, radius, "gather", "zeros", math.inf)
    check(kernels, "disk_blur_fwd", x, x, radius, "gather", "zeros", 2.0)


def test_what_is_refused(monkeypatch):
    x, radius = torch.empty(1, 3, 8, 2**30, device="meta"), torch.empty(1, 1, 8, 2**30, device="meta")
    assert "sides above" in module.why_not(BLURS[0], x, radius, "gather", "zeros", math.inf)
    x, radius = x[..., :9], radius[..., :9]
    for op, images in ((BLURS[0], (x,)), (BWD, (x, x))):
        assert module.why_not(op, *images, radius, "gather", "zeros", math.inf) is None
        assert module.why_not(op, *images, radius, "gather", "zeros", 700.0) is None
        assert "no row of a window fits" in module.why_not(op, *images, radius, "gather", "zeros", 2000.0)
    many = torch.empty(1, 2**31, 8, 9, device="meta")
    assert "2^31" in module.why_not(BLURS[0], many, radius, "gather", "zeros", 3.0)
    monkeypatch.setattr(module, "shared_limit", lambda device: 64 << 10)
    assert "a block has 64 KiB" in module.why_not(BLURS[0], x, radius, "gather", "zeros", 3.0)


@pytest.mark.parametrize("reach, channels", [(1, 3), (6, 3), (12, 3), (20, 1), (50, 3), (900, 3)])
def test_shared_memory_of_a_block(reach, channels):
    """What every launch asks for is granted, and a window that has room is taken whole."""
    for kind in FORMS:
        blur = module.Blur(torch.empty(1, 1, 4, 4), kind, "zeros", float(reach))
        for item in (4, 8):
            group, shared = blur.group(channels, reach, item)
            assert module.NOTED <= shared <= module.SHARED
            assert shared < module.SHARED or module.window_bytes(reach, 1, item, not blur.gathers) > 40 << 10
            assert group == 1 or module.window_bytes(reach, 3, item, 0, rows=1) <= shared


def test_public_op_has_the_signature():
    """The module stands in for the others: the same names with the same arguments."""
    for op in OPS:
        ours, theirs = getattr(module, op).__code__, getattr(reference, op).__code__
        assert ours.co_varnames[:ours.co_argcount] == theirs.co_varnames[:theirs.co_argcount]
    assert svconv.backends.stem_module("cuda", "disk") is module
