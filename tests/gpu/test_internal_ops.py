"""The ops that are not public, on a GPU: the assembled normal operator and the learned features, against the reference in float64."""
import pytest
import torch

from oracles import PADDINGS, close
from svconv.ops.pixel_filter_stencil import GramStencil, pays
from svconv.ops.tanh_features import tanh_features

pytestmark = pytest.mark.gpu


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype, padding", [*((torch.float32, padding) for padding in PADDINGS), (torch.float64, "reflect"),
                                            (torch.bfloat16, "zeros"), (torch.float16, "circular")], ids=str)
def test_a_stencil(dtype, padding, nan_memory):
    x, f, w = numbers(2, 2, 33, 150, dtype=dtype), numbers(1, 2, 3, 5, 5, 33, 150, dtype=dtype), numbers(2, 1, 3, 33, 150).abs()
    w = w.double() if dtype == torch.float64 else w
    expected = GramStencil(f.double(), weights=w.double(), padding=padding, backend="reference")
    found = GramStencil(f.cuda(), weights=w.cuda(), padding=padding, backend="triton")
    close(found.values, expected.values, scale=4)
    y = found(x.cuda())
    close(y, expected(x.double()), scale=8)
    assert torch.equal(y, GramStencil(f.cuda(), weights=w.cuda(), padding=padding)(x.cuda()))


def test_solvers_choose_it():
    f = torch.rand(1, 3, 5, 5, 5, 32, 32, device="cuda")
    with torch.no_grad():
        assert pays(f, 30) and not pays(f, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("more, depth, bias", [(0, 1, False), (1, 1, True), (0, 0, True), (1, 2, True)])
def test_features(dtype, more, depth, bias, nan_memory):
    """Gradients in float64 and of two hidden layers are the reference's, also there."""
    tensors = [numbers(2, 1, 40, 75), numbers(2, more, 40, 75) if more else None, numbers(32, 1 + more, 9, 9) / 9,
               numbers(depth, 32, 32) * 0.1, numbers(depth + 1, 32) if bias else None, numbers(8, 32)]
    tensors = [None if t is None else t.to(dtype) for t in tensors]
    wide = [None if t is None else t.double().requires_grad_() for t in tensors]
    given = [None if t is None else t.cuda().requires_grad_() for t in tensors]
    y, expected, g = tanh_features(*given), tanh_features(*wide, backend="reference"), numbers(2, 8, 40, 75, seed=1, dtype=dtype)
    close(y.detach(), expected.detach(), scale=100)
    used = [i for i, t in enumerate(wide) if t is not None and t.numel()]
    found = torch.autograd.grad(y, [given[i] for i in used], g.cuda())
    for a, b in zip(found, torch.autograd.grad(expected, [wide[i] for i in used], g.double()), strict=True):
        close(a, b, scale=1000)
