"""FilterGradient: pixel_filter in its filters, its adjoint against autograd, and solvers for the filters."""
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import svconv
from oracles import PADDINGS, close, image
from svconv import FilterGradient, Identity, solvers

DOUBLE = torch.float64
SIZE = (5, 7)


def filters(maps, kernel, batch=2, channels=3, size=SIZE, dtype=DOUBLE):
    return torch.randn(batch, channels, maps, *kernel, *size, generator=torch.Generator().manual_seed(2), dtype=DOUBLE).to(dtype)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", [(3, 3), (2, 5), (1, 1), (9, 12)])
@pytest.mark.parametrize("maps", [None, 1, 3])
def test_it_is_pixel_filter_and_its_gradient(padding, kernel, maps):
    x, f = image(2, 3, *SIZE), filters(maps or 1, kernel).requires_grad_()
    op = FilterGradient(x, kernel, maps, padding)
    y = svconv.pixel_filter(x, f, padding=padding)
    found = op(f.flatten(2, 4))
    assert torch.equal(found, y if maps else y.squeeze(2))
    g = torch.randn_like(y)
    expected, = torch.autograd.grad(y, f, g)
    back = op.adjoint(g if maps else g.squeeze(2))
    close(back.unflatten(2, (maps or 1, *kernel)), expected)
    assert op.certify() < 1e-13 and op.shape == (found.numel(), f.numel())
    torch.testing.assert_close(op.gram(f.flatten(2, 4)), op.adjoint(found))


@pytest.mark.parametrize("batch, channels", [(1, 1), (1, 3), (2, 1)])
def test_an_image_for_many_filters(batch, channels):
    x, f = image(batch, channels, *SIZE), filters(2, (3, 2))
    op = FilterGradient(x, (3, 2), 2, "reflect")
    close(op(f.flatten(2, 4)), svconv.pixel_filter(x.expand(2, 3, -1, -1).contiguous(), f, padding="reflect"))
    assert op.certify((2, 3, 12, *SIZE)) < 1e-13


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("maps", [None, 2])
def test_gradients(padding, maps):
    x, f = image(1, 1, 2, 3).requires_grad_(), filters(maps or 1, (2, 3), 2, 1, (2, 3)).flatten(2, 4).requires_grad_()

    def forward(x, f):
        return FilterGradient(x, (2, 3), maps, padding)(f)

    def adjoint(x, y):
        return FilterGradient(x, (2, 3), maps, padding).adjoint(y)

    y = torch.randn_like(forward(x, f)).requires_grad_()
    for run, t in ((forward, f), (adjoint, y)):
        assert gradcheck(run, (x, t), check_forward_ad=True) and gradgradcheck(run, (x, t), fast_mode=True)


def test_the_norm_is_that_of_the_largest_window():
    x = image(1, 1, 12, 11)
    windows = svconv.pixel_filter(x.square(), torch.ones(1, 3, 3, 12, 11, dtype=DOUBLE))
    assert FilterGradient(x, 3).norm() == pytest.approx(float(windows.max().sqrt()), rel=0.01)


def test_filters_that_turn_one_picture_into_another():
    x, truth = image(1, 3, *SIZE), filters(1, (3, 3), 1, 3)
    y = svconv.pixel_filter(x, truth)[:, :, 0]
    A = FilterGradient(x, 3)
    found = solvers.cg(A.T @ A + 1e-6 * Identity(9), A.adjoint(y), tol=1e-10, max_iter=200)
    assert found.converged.all()
    torch.testing.assert_close(svconv.pixel_filter(x, found.x.unflatten(2, (1, 3, 3)))[:, :, 0], y, rtol=0, atol=1e-4)
    x = x.requires_grad_()
    A = FilterGradient(x, 3)
    solvers.cg(A.T @ A + Identity(9), torch.ones(1, 3, 9, *SIZE, dtype=DOUBLE)).x.sum().backward()
    assert torch.isfinite(x.grad).all() and x.grad.abs().max() > 0


def test_strides_precisions_and_empty_batches():
    x = image(2, 3, 2 * SIZE[0], SIZE[1]).to(memory_format=torch.channels_last)[..., ::2, :]
    head = torch.randn(*SIZE, 2, 3 * 18, generator=torch.Generator().manual_seed(4), dtype=DOUBLE).permute(2, 3, 0, 1)
    f = head.unflatten(1, (3, 18))
    op = FilterGradient(x, 3, 2)
    close(op(f), svconv.pixel_filter(x.contiguous(), f.contiguous().unflatten(2, (2, 3, 3))))
    y = op(f).movedim(-1, 0).contiguous().movedim(0, -1)
    assert torch.equal(op.adjoint(y), op.adjoint(y.contiguous()))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        half = op.to(dtype)
        assert half(f.to(dtype)).dtype == half.adjoint(y.to(dtype)).dtype == dtype
        close(half(f.to(dtype)), svconv.pixel_filter(x.to(dtype).double(), f.to(dtype).double().unflatten(2, (2, 3, 3))), scale=8)
    assert FilterGradient(image(1, 3, *SIZE), 3, 2)(f[:0]).shape == (0, 3, 2, *SIZE)
    assert FilterGradient(image(1, 3, *SIZE), 3, 2).adjoint(y[:0]).shape == (0, 3, 18, *SIZE)


def test_the_same_otherwise_made():
    op = FilterGradient(image(1, 2, *SIZE), 3, padding="edge")
    assert repr(op) == "FilterGradient([1, 2, 5, 7], 3x3, padding='replicate', float64)"
    f = torch.randn(1, 2, 9, *SIZE, dtype=DOUBLE)
    assert torch.equal(op.with_padding("wrap")(f), FilterGradient(op.x, 3, padding="circular")(f))
    assert op.detach().padding == "replicate" and op.maps == (9, None)
    torch.testing.assert_close((op.T @ op)(f), op.gram(f))
    run = torch.compile(lambda x, f: FilterGradient(x, 3, padding="reflect")(f), fullgraph=True, backend="eager")
    torch.testing.assert_close(run(op.x, f), op.with_padding("reflect")(f))


def test_the_identity_of_several_images():
    assert repr(Identity(9)) == "Identity(9)" and repr(Identity()) == "Identity()"
    f = torch.randn(1, 2, 9, *SIZE)
    assert Identity(9)(f) is f and Identity(9).certify((1, 2, 9, *SIZE)) < 1e-13
    with pytest.raises(ValueError, match="maps: expected an integer >= 1, got 0"):
        Identity(0)


X = image(1, 2, *SIZE)
BAD = {
    "image": (lambda: FilterGradient(X[0], 3), ValueError, r"x: expected \[B, C, H, W\], got \[2, 5, 7\]"),
    "no tensor": (lambda: FilterGradient([1], 3), TypeError, "x: expected a torch.Tensor, got list"),
    "kernel_size": (lambda: FilterGradient(X, 0), ValueError, r"kernel_size: expected sides >= 1, got \(0, 0\)"),
    "broken kernel_size": (lambda: FilterGradient(X, 2.5), TypeError, "kernel_size: expected integers"),
    "maps": (lambda: FilterGradient(X, 3, 0), ValueError, "maps: expected an integer >= 1, got 0"),
    "padding": (lambda: FilterGradient(X, 3, padding="none"), ValueError, "padding: expected one of"),
    "filters": (lambda: FilterGradient(X, 3)(torch.ones(1, 2, 8, *SIZE)), ValueError, r"f: expected \[B, 2, 9, 5, 7\], got"),
    "y": (lambda: FilterGradient(X, 3, 2).adjoint(X), ValueError, r"y: expected \[B, 2, 2, 5, 7\], got \[1, 2, 5, 7\]"),
    "dtype": (lambda: FilterGradient(X, 3)(torch.ones(1, 2, 9, *SIZE)), TypeError, "filters: expected dtype torch.float64 like x"),
    "dtype of y": (lambda: FilterGradient(X, 3).adjoint(X.float()), TypeError, "y: expected dtype torch.float64 like x"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    call, error, match = BAD[case]
    with pytest.raises(error, match=match):
        call()
