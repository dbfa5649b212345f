"""PixelFilter(form="scatter") against its definition, its uniform case, the gather form and torch's gradients."""
import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import oracles
import svconv
from oracles import PADDINGS, close, image
from svconv import PixelFilter, solvers

DOUBLE = torch.float64
SIZE = (5, 7)
KERNELS = ((3, 3), (4, 3), (2, 5), (6, 9), (1, 1), (12, 2))


def one_map(kernel, size=SIZE, dtype=DOUBLE, seed=1):
    return torch.randn(1, *kernel, *size, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE).to(dtype)


def many_maps(kernel, size=SIZE, batch=2, channels=3, dtype=DOUBLE):
    return torch.randn(batch, channels, 2, *kernel, *size, generator=torch.Generator().manual_seed(2), dtype=DOUBLE).to(dtype)


def oracle(x, f, padding):
    """y[p] = sum_d f[d, p + d] x[p + d], both continued, by a loop over taps; float64."""
    f = np.asarray(f, np.float64)
    many = f.ndim == 7
    x, f = np.asarray(x, np.float64), f if many else f[:, None, None]
    (kh, kw), (h, w) = f.shape[3:5], x.shape[-2:]
    top, left = (kh - 1) // 2, (kw - 1) // 2
    margins = top, kh - 1 - top, left, kw - 1 - left
    x, f = oracles.pad(x, margins, padding), oracles.pad(f, margins, padding)
    y = sum(f[:, :, :, i, j, i:i + h, j:j + w] * x[:, :, None, i:i + h, j:j + w] for i in range(kh) for j in range(kw))
    return y if many else y[:, :, 0]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("filters", [one_map, many_maps])
def test_against_the_definition(padding, kernel, filters):
    f, x = filters(kernel), image(2, 3, *SIZE)
    op = PixelFilter(f, padding, form="scatter")
    y = op(x)
    assert y.is_contiguous()
    close(y, oracle(x, f, padding), scale=10)
    assert op.certify((2, 3, *SIZE)) < 1e-13
    back = op.adjoint(y)
    assert back.is_contiguous() and back.shape == x.shape
    kept = op.kept(SIZE)
    assert kept._kept is not None and torch.equal(kept(x), y) and torch.equal(kept.adjoint(y), back)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_uniform_map_gives_the_same_in_both_forms_and_equals_conv(padding, kernel):
    k = torch.randn(1, *kernel, generator=torch.Generator().manual_seed(3), dtype=DOUBLE)
    f, x = k[..., None, None].expand(-1, -1, -1, *SIZE), image(2, 3, *SIZE)
    y = PixelFilter(f, padding, form="scatter")(x)
    close(y, PixelFilter(f, padding)(x), scale=20)
    close(y, svconv.conv(x, k.flip((1, 2)), padding=padding), scale=20)


@pytest.mark.parametrize("padding", ["zeros", "circular"])
def test_it_is_the_transpose_of_gather_with_turned_filters(padding):
    f, x = one_map((3, 5)), image(2, 3, *SIZE)
    close(PixelFilter(f, padding, form="scatter")(x), PixelFilter(f.flip((1, 2)), padding).adjoint(x), scale=5)
    close(PixelFilter(f.flip((1, 2)), padding, form="scatter")(x), svconv.pixel_filter_adjoint(x, f, padding=padding), scale=5)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("filters", [lambda: one_map((2, 3), (2, 3)), lambda: many_maps((3, 1), (3, 2), 1, 1)],
                         ids=["one map", "two maps"])
def test_gradients(padding, filters):
    f = filters().requires_grad_()
    x = image(1, 1, *f.shape[-2:]).requires_grad_()

    def forward(x, f):
        return PixelFilter(f, padding, form="scatter")(x)

    def adjoint(y, f):
        return PixelFilter(f, padding, form="scatter").adjoint(y)

    y = torch.randn_like(forward(x, f)).requires_grad_()
    for run, t in ((forward, x), (adjoint, y)):
        assert gradcheck(run, (t, f), check_forward_ad=True)
        assert gradgradcheck(run, (t, f), fast_mode=True)


def test_gram_and_weights():
    op, x = PixelFilter(many_maps((3, 4)), "reflect", form="scatter"), image(2, 3, *SIZE)
    w = torch.rand(1, 3, 2, *SIZE, dtype=DOUBLE)
    torch.testing.assert_close(op.gram(x, w), op.adjoint(w * op(x)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_precisions(dtype):
    f, x = one_map((3, 4), dtype=dtype), image(2, 3, *SIZE, dtype=dtype)
    op = PixelFilter(f, "symmetric", form="scatter")
    y = op(x)
    assert y.dtype == op.adjoint(x).dtype == dtype
    close(y, oracle(x.double(), f.double(), "symmetric"), scale=4)
    beside = op(x.float())              # half filters beside a float32 image
    assert beside.dtype == torch.float32
    close(beside, oracle(x.double(), f.double(), "symmetric"), scale=4)


def test_autocast():
    f, x = one_map((3, 4), dtype=torch.float32), image(2, 3, *SIZE, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert PixelFilter(f, form="scatter")(x).dtype == PixelFilter(f)(x).dtype == torch.float32


def test_strides_and_broadcast_batches():
    x = image(2, 3, 2 * SIZE[0], SIZE[1]).to(memory_format=torch.channels_last)[..., ::2, :]
    head = torch.randn(2, 3 * 2 * 9, *SIZE, generator=torch.Generator().manual_seed(4), dtype=DOUBLE)
    f = head.view(2, 3, 2, 3, 3, *SIZE)
    close(PixelFilter(f, "replicate", form="scatter")(x), oracle(x, f, "replicate"), scale=10)
    shared = f[:1, :1]
    close(PixelFilter(shared, "reflect", form="scatter")(x), oracle(x, shared.expand(2, 3, -1, -1, -1, -1, -1), "reflect"), scale=10)
    assert PixelFilter(f[:1], form="scatter")(x[:0]).shape == (0, 3, 2, *SIZE)


@pytest.mark.parametrize("padding, whole", [("zeros", True), ("circular", True), ("reflect", False)])
def test_compiled(padding, whole):
    x, f = image(1, 1, *SIZE), one_map((3, 4))
    run = torch.compile(lambda x, f: PixelFilter(f, padding, form="scatter")(x), fullgraph=whole, backend="eager")
    torch.testing.assert_close(run(x, f), PixelFilter(f, padding, form="scatter")(x))


def test_solvers_restore_with_it():
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(20.0), indexing="ij")
    truth = ((rows // 6 + columns // 5) % 2)[None, None].double()
    psfs = torch.rand(1, 3, 3, 24, 20, generator=torch.Generator().manual_seed(5), dtype=DOUBLE)
    op = PixelFilter(psfs / psfs.sum((1, 2), keepdim=True), "symmetric", form="scatter")
    y = op(truth)
    for x in (solvers.wiener(op, y, beta=1e-5).x, solvers.irls(op, y, reg=1e-5, border=None).x,
              solvers.richardson_lucy(op, y, max_iter=100).x):
        assert (x - truth).square().mean() < 0.2 * (y - truth).square().mean()
    f = psfs.clone().requires_grad_()
    op = PixelFilter(f, "symmetric", form="scatter")
    solvers.cg(op.T @ op + svconv.Identity(), y).x.sum().backward()
    assert torch.isfinite(f.grad).all() and f.grad.abs().max() > 0


def test_names_and_copies_of_itself():
    op = PixelFilter(one_map((3, 3)), "edge", form="scatter")
    assert repr(op) == "PixelFilter([1, 3, 3, 5, 7], form='scatter', padding='replicate', float64)"
    assert op.with_padding("wrap").form == op.to(torch.float32).form == op.kept(SIZE).detach().form == "scatter"
    assert op.reach == PixelFilter(one_map((3, 3))).reach and op.kept(SIZE).detach()._kept is None
    assert op.requires_grad_().kept(SIZE) is op


@pytest.mark.parametrize("call, error, match", [
    (lambda: PixelFilter(one_map((3, 3)), form="both"), ValueError, "form: expected \"scatter\" or \"gather\", got 'both'"),
    (lambda: PixelFilter(one_map((3, 3)), form="scatter")(image(1, 1, 5, 8)), ValueError, r"x: expected \[B, C, 5, 7\], got"),
    (lambda: PixelFilter(many_maps((3, 3)), form="scatter").adjoint(image(2, 3, *SIZE)), ValueError, r"y: expected \[2, 3, 2, 5, 7\]"),
    (lambda: PixelFilter(one_map((3, 3)), form="scatter")(image(1, 1, *SIZE).float()), TypeError, "filters: expected dtype torch.float32"),
    (lambda: PixelFilter(one_map((3, 3)).half(), form="scatter")(image(1, 1, *SIZE)), TypeError, "filters: expected dtype torch.float64"),
    (lambda: PixelFilter(one_map((3, 3)), form="scatter")([1]), TypeError, "x: expected a torch.Tensor, got list"),
])
def test_bad_arguments(call, error, match):
    with pytest.raises(error, match=match):
        call()
