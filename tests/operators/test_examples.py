"""The contract of an operator, for every entry of EXAMPLES: dot test, gram with weights, tensors, what is kept, another padding."""
import pytest
import torch

from svconv._boundary import PADDINGS
from svconv._plane import Plane, image_plane
from svconv.operators import EXAMPLES

every_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)
every_padding = pytest.mark.parametrize("padding", PADDINGS)


def made(example, padding):
    op = example.make(padding)
    return op, torch.randn(op.input_shape(example.shape), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_names_differ():
    assert len({example.name for example in EXAMPLES}) == len(EXAMPLES) >= 8


@every_example
@every_padding
def test_adjoint_and_gram(example, padding):
    op, x = made(example, padding)
    assert op.certify(example.shape) < 1e-12
    y = op(x)
    assert y.dim() == (4 if op.maps[1] is None else 5)
    weights = torch.rand(1, 1, *y.shape[2:], dtype=x.dtype)
    torch.testing.assert_close(op.gram(x, weights), op.adjoint(weights * y))
    torch.testing.assert_close(op.gram(x), op.adjoint(y))
    torch.testing.assert_close(op @ x, y)
    torch.testing.assert_close((op.T @ y, op.H(y)), (op.adjoint(y),) * 2)
    with pytest.raises(ValueError, match="weights: expected"):
        op.gram(x, weights[..., :-1])
    with pytest.raises(TypeError, match="weights: "):
        op.gram(x, weights.float())


@every_example
@every_padding
def test_what_is_kept_is_the_same_operator(example, padding):
    op, x = made(example, padding)
    kept = op.kept(x.shape[-2:])
    weights = torch.rand_like(op(x))
    for one, other in ((op, kept), (op.T, kept.T), (op.T, op.T.kept(x.shape[-2:])), (op, kept.double()), (op, kept.detach())):
        t = x if one is op else weights
        torch.testing.assert_close(one(t), other(t))
    torch.testing.assert_close(op.gram(x, weights), kept.gram(x, weights))
    assert kept.input_shape(x.shape) == tuple(x.shape)
    free = op.frame[2] is None
    assert (kept.spectrum is not None) == (free and padding == "circular")


@every_example
@every_padding
def test_on_the_image_it_is_the_circular_operator(example, padding):
    op, x = made(example, padding)
    circular = example.make("circular")
    on = op.on(image_plane(x.shape[-2:]))
    torch.testing.assert_close(on(x), circular(x))
    torch.testing.assert_close(on.gram(x), circular.gram(x))


@every_example
def test_on_a_larger_plane_the_inside_is_the_same(example):
    op, x = made(example, "zeros")
    (height, width), (top, bottom, left, right) = x.shape[-2:], op.reach
    size = op.lengths((height + top + bottom, width + left + right))
    assert size[0] >= height + top + bottom and size[1] >= width + left + right
    plane = Plane((height, width), (top, size[0] - height - top, left, size[1] - width - left), size, "circular")
    on = op.on(plane)
    if op.frame[2] is not None and tuple(size) != (height, width):
        assert on is None
        return
    wide = torch.randn(*x.shape[:2], *size, dtype=x.dtype)
    torch.testing.assert_close(plane.leave(on(wide)), plane.leave(op(wide)))


@every_example
def test_tensors_and_conveniences(example):
    op, x = made(example, "reflect")
    assert op.dtype == torch.float64 and op.device == torch.device("cpu") and op.per_channel
    assert op.to(torch.float32).dtype == torch.float32 and op.to(torch.float32).double().dtype == torch.float64
    assert all(t.requires_grad for t in op.requires_grad_().tensors) and op(x).requires_grad and not op.detach()(x).requires_grad
    assert not op.requires_grad_(False)(x).requires_grad
    torch.testing.assert_close(op.with_padding("mirror")(x), op(x))
    if op.frame[2] is None:
        assert op.shape is None
    else:
        shape = op.input_shape()
        assert op.shape == (op(torch.zeros(shape, dtype=x.dtype)).numel(), torch.zeros(shape).numel()) and op.T.shape == op.shape[::-1]
