"""cg under torch.func, vmap, vectorised Jacobians and dual numbers, against the inverse written out; captured tensors there."""
import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

from svconv import Conv, Identity, PixelFilter
from svconv.solvers import cg, wiener

F64 = torch.float64


def A(x, root, shift):
    return (root @ (root.mT @ x.unsqueeze(-1))).squeeze(-1) + (1 + shift * shift) * x


def solved(b, root, shift):
    return cg(A, b, params=(root, shift), tol=1e-13, max_iter=40).x


def exact(b, root, shift):
    """By cross products: torch.linalg's own derivatives of derivatives are no oracle in forward mode."""
    p, q, r = ((root @ root.mT) + (1 + shift * shift) * torch.eye(3, dtype=F64)).unbind(-1)
    rows = torch.stack([torch.linalg.cross(q, r), torch.linalg.cross(r, p), torch.linalg.cross(p, q)], -2)
    return (rows @ b.unsqueeze(-1)).squeeze(-1) / (p * torch.linalg.cross(q, r)).sum(-1, keepdim=True)


def inputs(*more, seed=0):
    generator = torch.Generator().manual_seed(seed)
    b, root = (torch.randn(*more, *shape, dtype=F64, generator=generator) for shape in ((2, 3), (2, 3, 3)))
    return b, root, torch.tensor(0.5, dtype=F64)


def total(f):
    return lambda *inputs: f(*inputs).pow(3).sum()


ALL = (0, 1, 2)
ONE, FOUR = inputs(seed=1), inputs(4, seed=2)
TRANSFORMS = {
    "grad": lambda f: grad(total(f), ALL)(*ONE),
    "vjp": lambda f: vjp(f, *ONE)[1](torch.ones(2, 3, dtype=F64)),
    "jvp": lambda f: jvp(f, ONE, tuple(t.flip(0) if t.dim() else t for t in ONE))[1],
    "jacrev": lambda f: jacrev(f, ALL)(*ONE),
    "jacfwd": lambda f: jacfwd(f, ALL)(*ONE),
    "hessian": lambda f: hessian(total(f), ALL)(*ONE),
    "jacrev of jacrev": lambda f: jacrev(jacrev(total(f), ALL), ALL)(*ONE),
    "jacrev of jacfwd": lambda f: jacrev(jacfwd(total(f), ALL), ALL)(*ONE),
    "jacfwd of jacfwd": lambda f: jacfwd(jacfwd(total(f), ALL), ALL)(*ONE),
    "vmap": lambda f: vmap(f, (0, 0, None))(*FOUR),
    "vmap over b": lambda f: vmap(lambda b: f(b, *ONE[1:]))(FOUR[0]),
    "vmap over the matrix alone, last axis": lambda f: vmap(lambda r: f(ONE[0], r, ONE[2]), 3)(FOUR[1].movedim(0, 3)),
    "vmap of vmap": lambda f: vmap(lambda r: vmap(lambda b: f(b, r, ONE[2]))(FOUR[0]))(FOUR[1]),
    "vmap of grad": lambda f: vmap(grad(total(f), (0, 1)), (0, 0, None))(*FOUR),
    "grad of vmap": lambda f: grad(lambda r: vmap(lambda b: f(b, r, ONE[2]))(FOUR[0]).square().sum())(ONE[1]),
    "vmap of hessian": lambda f: vmap(hessian(total(f), 1), (0, 0, None))(*FOUR),
    "vectorised Jacobian": lambda f: torch.autograd.functional.jacobian(f, ONE, vectorize=True),
    "vectorised Jacobian, forward": lambda f: torch.autograd.functional.jacobian(f, ONE, vectorize=True, strategy="forward-mode"),
    "vectorised Hessian": lambda f: torch.autograd.functional.hessian(total(f), ONE, vectorize=True),
}


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", list(TRANSFORMS))
@pytest.mark.parametrize("implicit", [True, False])
def test_every_transform(name, implicit):
    found = TRANSFORMS[name](solved if implicit else lambda b, r, s: cg(A, b, params=(r, s), tol=1e-13, max_iter=40, implicit=False).x)
    close(found, TRANSFORMS[name](exact))


def test_gradcheck_forward_and_batched():
    tensors = [t.requires_grad_() for t in inputs()]
    assert torch.autograd.gradcheck(solved, tensors, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True)
    assert torch.autograd.gradgradcheck(solved, tensors, atol=1e-4, check_fwd_over_rev=True, check_batched_grad=True)


def composite(filters, kernel, lam, b, implicit=True):
    FK = PixelFilter(filters, "replicate") @ Conv(kernel, "reflect")
    return cg(FK.T @ FK + lam * Identity(), b, tol=1e-12, max_iter=60, implicit=implicit).x


@pytest.mark.parametrize("name, transform", [
    ("grad", lambda f, t: grad(lambda *t: f(*t).square().sum(), (0, 1, 2, 3))(*t)),
    ("jvp", lambda f, t: jvp(f, t, tuple(map(torch.ones_like, t)))[1]),
    ("jacrev", lambda f, t: jacrev(f, (1, 2))(*t)),
    ("hessian", lambda f, t: hessian(lambda *t: f(*t).square().sum(), (1, 2))(*t)),
    ("Hessian times vector", lambda f, t: jvp(grad(lambda *t: f(*t).square().sum(), (0, 1, 2, 3)), t, tuple(map(torch.ones_like, t)))[1]),
    ("vmap", lambda f, t: vmap(f, (0, None, None, None))(torch.stack([t[0], 2 * t[0]]), *t[1:])),
    ("gradients per sample", lambda f, t: vmap(grad(lambda k, b: f(t[0], k, t[2][:1], b[None]).square().sum()), (None, 0))(t[1], t[3])),
    ("vectorised", lambda f, t: torch.autograd.functional.jacobian(lambda k, lam: f(t[0], k, lam, t[3]), t[1:3], vectorize=True)),
])
def test_composite_operators(name, transform):
    """Against the unrolled steps."""
    tensors = (torch.randn(1, 1, 2, 3, 3, 4, 5, dtype=F64) / 3, torch.rand(1, 1, 3, 2, dtype=F64), torch.tensor([0.5, 0.8], dtype=F64),
               torch.randn(2, 1, 4, 5, dtype=F64))
    expected = transform(lambda *t: composite(*t, implicit=False), tensors)
    torch.testing.assert_close(transform(composite, tensors), expected, rtol=1e-6, atol=1e-8)


def test_each_problem_of_a_vmap_stops_by_itself_and_tells():
    b, root, shift = inputs(4)
    b[2, 1] = 0
    calls = []

    def report(b, root):
        result = cg(lambda x, *p: calls.append(1) or A(x, *p), b, params=(root, shift), tol=1e-10, max_iter=40)
        return result.iterations, result.residuals, result.converged, result.history

    iterations, residuals, converged, history = vmap(report)(b, root)
    assert iterations.shape == residuals.shape == converged.shape == (4, 2) and history.shape == (4, 41, 2) and converged.all()
    assert iterations[2, 1] == 0 and len(calls) < 15        # the host looks: not 43 applications
    for i in range(4):
        alone = cg(A, b[i], params=(root[i], shift), tol=1e-10, max_iter=40)
        assert torch.equal(alone.iterations, iterations[i])
        torch.testing.assert_close(history[i], alone.history, rtol=1e-3, atol=1e-11, equal_nan=True)


def test_starts_and_preconditioners_of_a_vmap():
    b, root, shift = inputs(4)
    expected = exact(b, root, shift)
    scale = torch.rand(4, 1, dtype=F64) + 0.5
    options = {"tol": 1e-12, "max_iter": 40}
    found = vmap(lambda b, r, s: cg(A, b, params=(r, shift), x0=2 * b, preconditioner=lambda v: s * v, **options).x)(b, root, scale)
    close(found, expected)
    close(vmap(lambda x0: cg(A, b[0], params=(root[0], shift), x0=x0, tol=1e-12, max_iter=40).x)(b), expected[:1].expand(4, -1, -1))


@pytest.mark.parametrize("implicit", [True, False])
def test_a_callable_may_capture_what_is_vmapped(implicit):
    b, root, shift = inputs(4)
    options = {"tol": 1e-13, "max_iter": 40, "implicit": implicit}
    close(vmap(lambda b, r: cg(lambda x: A(x, r, shift), b, **options).x)(b, root), exact(b, root, shift))
    if implicit:        # b and what is unrolled from it has no vmapped axis to step along
        close(vmap(lambda r: cg(lambda x: A(x, r, shift), b[0], **options).x)(root), exact(b[0], root, shift))


@pytest.mark.parametrize("transform", [
    lambda f, r: grad(lambda r: f(r).sum())(r),
    lambda f, r: jvp(f, (r,), (r,)),
    lambda f, r: grad(lambda r: vmap(lambda s: f(r) * s)(torch.ones(2, dtype=F64)).sum())(r),
    lambda f, r: vmap(grad(lambda r: f(r).sum()))(torch.stack([r, r])),
    lambda f, r: torch.autograd.grad(f(r.clone().requires_grad_()).sum(), r),
])
def test_a_captured_tensor_that_is_differentiated_is_refused(transform):
    b, root, shift = inputs()
    with pytest.raises(ValueError, match="params: .*still requires gradients"):
        transform(lambda r: cg(lambda x: A(x, r, shift), b).x, root)
    with forward_ad.dual_level(), pytest.raises(ValueError, match="params: .*still requires gradients"):
        cg(lambda x: A(x, forward_ad.make_dual(root, root), shift), b)


@pytest.mark.parametrize("transform", [lambda f: vmap(grad(f)), lambda f: vmap(hessian(f)), lambda f: vmap(jacrev(jacrev(f)))])
def test_a_tensor_of_the_transform_that_was_not_passed_is_named(transform):
    b, root, shift = inputs()

    def f(root):
        more = torch.eye(3, dtype=F64) + 0 * root[0].detach()
        return cg(lambda x, r: A(x, r, shift) + x @ more, b, params=(root,)).x.sum()

    with pytest.raises(ValueError, match="params: A or the preconditioner uses a tensor that was made inside of the torch.func transform"):
        transform(f)(torch.stack([root, root]))


def test_dual_numbers_without_a_tensor_that_requires_gradients():
    tensors, tangents = ONE, inputs(seed=3)
    expected = jvp(exact, tensors, tangents)[1]
    for no_grad in (True, False):
        for implicit in (True, False):
            with torch.set_grad_enabled(not no_grad), forward_ad.dual_level():
                b, root, shift = map(forward_ad.make_dual, tensors, tangents)
                x = cg(A, b, params=(root, shift), tol=1e-13, max_iter=40, implicit=implicit).x
                close(forward_ad.unpack_dual(x).tangent, expected)


@pytest.mark.parametrize("padding", ["circular", "reflect"])
def test_wiener(padding):
    y, k = torch.rand(1, 1, 5, 6, dtype=F64), torch.rand(1, 1, 3, 2, dtype=F64)

    def f(y, k):
        return wiener(Conv(k, padding), y, beta=0.5).x

    expected = torch.autograd.functional.jacobian(f, (y, k))
    for transform in (jacrev, jacfwd):
        torch.testing.assert_close(transform(f, (0, 1))(y, k), expected, rtol=1e-3, atol=1e-4)
    several = torch.stack([y, 2 * y])
    torch.testing.assert_close(vmap(f, (0, None))(several, k), torch.stack([f(y, k), f(2 * y, k)]), rtol=1e-4, atol=1e-5)
