"""torch.func transforms inside of one another, against reverse mode alone: shapes among the arguments, forward over forward, tables."""
import pytest
import torch
from torch.func import hessian, jacfwd, jacrev, jvp

import svconv

F64 = torch.float64


def inputs():
    return torch.rand(1, 1, 5, 6, dtype=F64), torch.rand(1, 1, 3, 2, dtype=F64)


OPS = {
    "conv": lambda y, k: svconv.conv(y, k, padding="reflect"),
    "conv_adjoint": lambda y, k: svconv.conv_adjoint(y, k),
    "image_quotient": lambda y, k: svconv.image_quotient(y, k, beta=0.3),
    "pixel_filter": lambda y, k: svconv.pixel_filter(y, k[..., None, None].expand(1, 1, 3, 2, 5, 6).squeeze(1)),
    "kernel_quotient": lambda y, k: svconv.kernel_quotient(y, y.flip(-1) * k.sum(), 3, beta=0.5),
}
every_op = pytest.mark.parametrize("name", list(OPS))


@every_op
def test_hessians(name):
    y, k = inputs()

    def loss(k):
        return OPS[name](y, k).square().sum()

    expected = torch.autograd.functional.hessian(loss, k)
    for nest in (hessian, lambda f: jacfwd(jacfwd(f)), lambda f: jacrev(jacfwd(f)), lambda f: jacrev(jacrev(f))):
        torch.testing.assert_close(nest(loss)(k), expected)


@every_op
def test_forward_over_forward_in_either_order(name):
    """A tangent of a tangent; the inner level must not hide the outer one."""
    y, k = inputs()
    w, v = torch.randn_like(y), torch.randn_like(k)
    op = OPS[name]
    one = jvp(lambda y: jvp(lambda k: op(y, k), (k,), (v,))[1], (y,), (w,))[1]
    other = jvp(lambda k: jvp(lambda y: op(y, k), (y,), (w,))[1], (k,), (v,))[1]
    mixed = torch.einsum("...a,a->...", jacrev(lambda k: jacrev(lambda t: op(y + t * w, k))(torch.zeros((), dtype=F64)))(k).flatten(-4),
                         v.flatten())
    torch.testing.assert_close(one, mixed)
    torch.testing.assert_close(other, mixed)


def test_what_a_transform_computes_is_not_kept_for_later_calls():
    y, k = torch.rand(1, 1, 37, 41, dtype=F64), torch.rand(1, 1, 3, 7, dtype=F64)        # sizes of no other test: tables are kept by size
    jvp(lambda k: svconv.conv(y, k), (k,), (k,))
    expected = svconv.conv(y, k, backend="reference")
    torch.testing.assert_close(jvp(lambda y: jvp(lambda k: svconv.conv(y, k, backend="reference"), (k,), (k,))[1], (y,), (y,))[1], expected)
    v = torch.linspace(-5, 5, 50, dtype=F64)
    torch.func.grad(lambda v: svconv.solvers.hyper_laplacian_shrink(v, 1.0, 0.71).sum())(v)
    again = svconv.solvers.hyper_laplacian_shrink(v, 1.0, 0.71)
    assert not torch._C._functorch.is_functorch_wrapped_tensor(again)
