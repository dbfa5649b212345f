"""Image and kernel of different precision are refused by name; half types are computed in float32 and come back in their type."""
import itertools

import pytest
import torch

from scenes import blur_kernel, picture
from svconv import Conv, Identity, PixelFilter, solvers

F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
HALF = (F16, BF16)
BORDERS = (None, "mask", "replicate", "taper")
PADDINGS = ("circular", "zeros", "reflect")
WITH_OPERATOR = {
    **{f"irls {border}": lambda op, y, b=border: solvers.irls(op, y, cg_iter=3, border=b) for border in BORDERS},
    **{f"wiener {border}": lambda op, y, b=border: solvers.wiener(op, y, beta=0.1, border=b) for border in BORDERS},
    **{f"richardson_lucy {border}": lambda op, y, b=border: solvers.richardson_lucy(op, y, max_iter=2, border=b) for border in BORDERS},
    "wiener identity": lambda op, y: solvers.wiener(op, y, beta=0.1, prior="identity"),
    "cg": lambda op, y: solvers.cg(op.T @ op + Identity(), y, max_iter=5),
    "cg unrolled": lambda op, y: solvers.cg(op.T @ op + Identity(), y, max_iter=5, implicit=False),
}
MIXES = [pair for pair in itertools.product((F16, BF16, F32, F64), repeat=2) if pair[0] != pair[1]]


def as_filters(k):
    return k[:, 0].flip((-2, -1))[..., None, None].expand(-1, *k.shape[-2:], 40, 44)


def operators(dtype, padding):
    k = blur_kernel(dtype=dtype)
    K = Conv(k, padding)
    yield from (K, 2.0 * K, K @ Conv(k, padding), K + K, PixelFilter(as_filters(k), padding).T)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel, image", MIXES, ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("name", list(WITH_OPERATOR))
def test_a_mix_is_a_type_error_by_name(name, kernel, image, padding):
    y = picture(dtype=image)
    for op in operators(kernel, padding):
        filters_in_half = kernel in HALF and image == F32 and not isinstance(op, Conv) and "PixelFilter" in repr(op)
        if filters_in_half:
            assert WITH_OPERATOR[name](op, y).x.dtype == F32
            continue
        with pytest.raises(TypeError, match=rf"^(op|A): expected {image} like (y|b), got {kernel}"):
            WITH_OPERATOR[name](op, y)


@pytest.mark.parametrize("kernel, image", MIXES, ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("call, argument", [
    (lambda k, y: solvers.hyper_laplacian(y, k), "kernel"),
    (lambda k, y: solvers.hyper_laplacian(y, k, padding="circular"), "kernel"),
    (lambda k, y: solvers.blind_kernel(y, 5, steps=1, start=k[:, 0]), "start"),
    (lambda k, y: solvers.wiener(Conv(k.to(y.dtype)), y, beta=0.1, prior=k[0]), "prior"),
    (lambda k, y: solvers.richardson_lucy(Conv(k.to(y.dtype)), y, max_iter=1, x0=y.to(k.dtype)), "x0"),
    (lambda k, y: solvers.richardson_lucy(Conv(k.to(y.dtype)), y, max_iter=1, background=y.to(k.dtype)), "background"),
    (lambda k, y: solvers.cg(2 * Identity(), y, x0=y.to(k.dtype)), "x0"),
])
def test_a_mix_of_other_arguments_is_a_type_error_by_name(call, argument, kernel, image):
    with pytest.raises(TypeError, match=rf"^{argument}: expected {image}.* like (y|b), got {kernel}"):
        call(blur_kernel(dtype=kernel), picture(dtype=image))


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("dtype", HALF, ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("name", list(WITH_OPERATOR))
def test_half_types_are_computed_in_float32(name, dtype, padding):
    y = picture(channels=2, batch=2, dtype=dtype)
    for half, wide in zip(operators(dtype, padding), (op.to(F32) for op in operators(dtype, padding))):
        found, expected = WITH_OPERATOR[name](half, y), WITH_OPERATOR[name](wide, y.float())
        assert found.x.dtype == dtype and torch.equal(found.x, expected.x.to(dtype)) and found.x.isfinite().all()


@pytest.mark.parametrize("dtype", HALF, ids=lambda d: str(d)[6:])
def test_half_types_of_the_solvers_with_a_kernel(dtype):
    y, k = picture(dtype=dtype), blur_kernel(dtype=dtype)
    for options in ({}, {"padding": "circular"}, {"padding": "reflect"}, {"border": "taper"}):
        found = solvers.hyper_laplacian(y, k, **options).x
        assert found.dtype == dtype and torch.equal(found, solvers.hyper_laplacian(y.float(), k.float(), **options).x.to(dtype))
    found, expected = solvers.blind_kernel(y, 5, start=k[:, 0]), solvers.blind_kernel(y.float(), 5, start=k[:, 0].float())
    assert found.x.dtype == found.edges.dtype == dtype and torch.equal(found.x, expected.x.to(dtype))
    v = torch.linspace(-3, 3, 20).to(dtype)
    assert torch.equal(solvers.hyper_laplacian_shrink(v, 2.0, 0.5), solvers.hyper_laplacian_shrink(v.float(), 2.0, 0.5).to(dtype))


@pytest.mark.parametrize("dtype", HALF, ids=lambda d: str(d)[6:])
def test_gradients_of_half_types_come_back_in_their_type(dtype):
    k, y = blur_kernel(3, dtype=dtype).requires_grad_(), picture(dtype=dtype).requires_grad_()
    for x in (solvers.wiener(Conv(k), y, beta=0.1).x, solvers.wiener(Conv(k, "reflect"), y, beta=0.1).x,
              solvers.cg(Conv(k).T @ Conv(k) + Identity(), y, max_iter=60).x,
              solvers.cg(lambda x, k: x * k.sum(), y, params=(k,)).x):
        gk, gy = torch.autograd.grad(x.float().square().sum(), (k, y))
        assert gk.dtype == gy.dtype == dtype and gk.isfinite().all() and bool(gk.any())


def test_masks_starts_and_callbacks_beside_half_types():
    y, k, seen = picture(dtype=F16), blur_kernel(dtype=F16), []
    mask = torch.ones(1, 1, 40, 44)
    mask[..., 5, 6] = 0
    solvers.irls(Conv(k), y, mask=mask, cg_iter=2, callback=lambda i, n, x: seen.append(x.dtype))
    solvers.richardson_lucy(Conv(k), y, mask=mask, max_iter=2, x0=y, background=0.01, callback=lambda i, n, x: seen.append(x.dtype))
    assert set(seen) == {F32}


def test_autocast_casts_a_mix_to_float32():
    with torch.autocast("cpu", dtype=BF16):
        x = solvers.wiener(Conv(blur_kernel(dtype=BF16)), picture(), beta=0.1).x
    torch.testing.assert_close(x, solvers.wiener(Conv(blur_kernel(dtype=BF16).float()), picture(), beta=0.1).x)
