"""What only the disk kernel in the compiled module has: tiles, the choice between one plan and many, threads, bright pixels, refusals. The
operation itself is held against the reference here and in tests/ops."""
import math

import numpy as np
import pytest
import torch

from svconv.reference import disk as reference

_C = pytest.importorskip("svconv._C", reason="svconv._C is not built")

from svconv.backends.cpu import disk as cpu  # noqa: E402

FORMS = ("gather", "scatter")
PADDINGS = ("zeros", "replicate", "reflect", "symmetric", "circular")
LINEAR = ("disk_blur_fwd", "disk_blur_adjoint", "disk_slope_fwd", "disk_slope_adjoint")
BOUND = {torch.float64: 1e-12, torch.float32: 1e-5}


def radii(kind, shape, largest, dtype):
    """Maps that take each way through the kernel: vectors of one radius, of nearly one, of any, one large radius among small ones."""
    r = largest * torch.rand(shape, dtype=dtype)
    if kind == "uniform":
        r = torch.full(shape, float(largest), dtype=dtype)
    elif kind == "smooth":
        r = (largest * (0.7 + 0.3 * torch.sin(torch.arange(shape[-1], dtype=dtype) / 40))).expand(shape).contiguous()
    elif kind == "single":
        r = 2 * torch.rand(shape, dtype=dtype)
        r[..., shape[-2] // 2, shape[-1] // 3] = largest
    elif kind == "halves":
        r = torch.round(2 * r) / 2
    return r


def close(got, expected, dtype):
    assert not torch.isnan(got).any()
    assert (got.double() - expected).abs().max() <= BOUND[dtype] * max(1.0, float(expected.abs().max()))


def against_reference(x, g, r, form, padding, dtype):
    wide = x.double(), g.double(), r.double()
    for name in LINEAR:
        close(getattr(cpu, name)(x, r, form, padding, math.inf), getattr(reference, name)(wide[0], wide[2], form, padding, math.inf), dtype)
    close(cpu.disk_blur_bwd_radius(x, g, r, form, padding, math.inf), reference.disk_blur_bwd_radius(*wide, form, padding, math.inf), dtype)


@pytest.mark.parametrize("kind", ["uniform", "smooth", "random", "single", "halves"])
@pytest.mark.parametrize("form", FORMS)
def test_several_tiles_against_the_reference(form, kind, one_thread):
    """Tiles of both primitives end inside of this image, and some rows and columns are not whole vectors."""
    for padding, dtype in (("zeros", torch.float64), ("reflect", torch.float32)):
        x, g = torch.randn(2, 1, 2, 70, 139, dtype=dtype)
        against_reference(x, g, radii(kind, (1, 1, 70, 139), 5.3, dtype), form, padding, dtype)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("size", [(1, 1), (1, 17), (15, 1), (7, 9)], ids=str)
def test_radii_larger_than_the_image(size, padding, one_thread):
    for form in FORMS:
        x, g = torch.randn(2, 2, 2, *size, dtype=torch.float64)
        r = radii("single", (2, 1, *size), 9.6, torch.float64)
        against_reference(x, g, r, form, padding, torch.float64)


@pytest.mark.parametrize("images", [(3, 1), (1, 11), (2, 5)], ids=str)
def test_more_images_than_are_done_at_once(images, one_thread):
    x, g = torch.randn(2, *images, 12, 20, dtype=torch.float64)
    for form in FORMS:
        for maps in ((1, 1), (images[0], 1), (1, images[1])):
            against_reference(x, g, radii("random", (*maps, 12, 20), 4, torch.float64), form, "circular", torch.float64)


@pytest.mark.parametrize("form", FORMS)
def test_a_bright_pixel_reaches_its_disk_only(form, one_thread):
    """Sums over runs hold nothing from beyond the disk: elsewhere no bit changes, and a NaN or an infinity stays inside."""
    r = radii("smooth", (1, 1, 80, 150), 14, torch.float32)
    x = torch.rand(1, 1, 80, 150)
    near = torch.zeros_like(x, dtype=torch.bool)
    near[..., 40 - 14:40 + 15, 70 - 14:70 + 15] = True
    for name in LINEAR:
        blur = getattr(cpu, name)
        plain = blur(x, r, form, "replicate", math.inf)
        for value in (1e30, math.inf, math.nan):
            star = x.clone()
            star[..., 40, 70] = value
            got = blur(star, r, form, "replicate", math.inf)
            assert torch.equal(got[~near], plain[~near]), (name, value)
            assert not torch.equal(got[near], plain[near])


def test_radii_that_are_not_finite_spoil_their_pixel_only(one_thread):
    r = radii("random", (1, 1, 30, 40), 6, torch.float32)
    for place, value in (((4, 5), math.nan), ((20, 17), math.inf), ((29, 39), -math.inf)):
        r[(0, 0, *place)] = value
    x = torch.randn(1, 2, 30, 40)
    for form in FORMS:
        for name in LINEAR:
            for most in (math.inf, 3.0):
                got, expected = (getattr(where, name)(x, r, form, "symmetric", most) for where in (cpu, reference))
                assert torch.equal(torch.isnan(got), torch.isnan(expected))
                torch.testing.assert_close(got, expected, rtol=0, atol=2e-5, equal_nan=True)


@pytest.mark.parametrize("form", FORMS)
def test_thread_count_and_repetition_change_no_bit(form):
    x, g, r = torch.randn(1, 2, 150, 300), torch.randn(1, 2, 150, 300), radii("random", (1, 1, 150, 300), 9, torch.float32)
    r[..., 70, 100] = 40
    x, g, r = x.numpy(), g.numpy(), r.numpy()

    def run(threads):
        outs = [np.full_like(x, np.nan) for _ in range(2)] + [np.full_like(r, np.nan)]
        for out, transposed in zip(outs, (False, True)):
            _C.disk_blur(x, r, out, form, "reflect", math.inf, transposed, False, threads, "float32")
        _C.disk_bwd_radius(x, g, r, outs[2], form, "reflect", math.inf, threads, "float32")
        return outs

    first = run(1)
    for threads in (2, 3, 7, 2):
        for one, other in zip(first, run(threads)):
            assert np.array_equal(one, other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_images_are_summed_in_float32_and_rounded_once(dtype, one_thread):
    x, r = torch.randn(1, 3, 20, 70).to(dtype), radii("smooth", (1, 1, 20, 70), 5, torch.float32)
    for form in FORMS:
        for name in LINEAR:
            wide = getattr(cpu, name)(x.float(), r, form, "circular", math.inf)
            assert torch.equal(getattr(cpu, name)(x, r, form, "circular", math.inf), wide.to(dtype))
        gradient = cpu.disk_blur_bwd_radius(x, x, r, form, "circular", math.inf)
        assert torch.equal(gradient, cpu.disk_blur_bwd_radius(x.float(), x.float(), r, form, "circular", math.inf))


@pytest.mark.parametrize("form", FORMS)
def test_strides_and_memory_that_nobody_cleared(form, nan_memory, one_thread):
    x, r = torch.randn(2, 3, 33, 41), radii("random", (2, 1, 33, 41), 5, torch.float32)
    moved = x.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1), r.flip(-1).contiguous().flip(-1).expand(2, 3, 33, 41)
    for name in LINEAR:
        blur = getattr(cpu, name)
        assert torch.equal(blur(x, r, form, "replicate", math.inf), blur(*moved, form, "replicate", math.inf))


def test_empty_axes_return_at_once():
    r = torch.rand(1, 1, 4, 5)
    for shape in ((0, 3, 4, 5), (2, 0, 4, 5)):
        x = torch.zeros(shape)
        for form in FORMS:
            assert cpu.disk_blur_fwd(x, r, form, "zeros", math.inf).shape == shape
            assert not cpu.disk_blur_bwd_radius(x, x, r, form, "zeros", math.inf).any()


@pytest.mark.parametrize("change,match", [
    (dict(x=np.zeros((1, 4, 5), np.float32)), "^x: expected 4 dimensions"),
    (dict(radius=np.zeros((2, 1, 4, 5), np.float32)), "^radius: expected 1 or 1 in dimension 0"),
    (dict(radius=np.zeros((1, 1, 4, 5))), "^radius: expected an array of float32"),
    (dict(radius=np.full((1, 1, 4, 5), 20000, np.float32)), "^radius: expected at most 16384 pixels .*, got 20000"),
    (dict(y_out=np.zeros((1, 1, 4, 6), np.float32)), "^y_out: expected shape"),
    (dict(form="both"), "^form: expected gather or scatter, got 'both'"),
    (dict(padding="mirrored"), "^padding: expected zeros"),
    (dict(max_radius=math.nan), "^max_radius: expected a number >= 0"),
    (dict(threads=0), "^threads: expected at least 1"),
])
def test_what_does_not_fit_is_refused(change, match):
    args = dict(x=np.zeros((1, 1, 4, 5), np.float32), radius=np.zeros((1, 1, 4, 5), np.float32), y_out=np.zeros((1, 1, 4, 5), np.float32),
                form="gather", padding="zeros", max_radius=math.inf, transposed=False, slope=False, threads=1, dtype="float32")
    _C.disk_blur(**args)
    with pytest.raises(ValueError, match=match):
        _C.disk_blur(**{**args, **change})
