"""The public conjugate gradient solver."""
import torch
from torch.autograd import forward_ad

from svconv._shapes import HALF, check_tensor, computed, number, shape_text
from svconv.operators import Operator
from svconv.solvers.conjugate_gradients import apply_checked, solve, solve_unrolled
from svconv.solvers.implicit import Problem, dual, solve_implicitly, transforming
from svconv.solvers.problem import widened


def cg(A, b, *, x0=None, params=(), preconditioner=None, tol=1e-4, atol=0.0, max_iter=50, implicit=True, check_every=None, callback=None):
    """Solves `A x = b` for every sample of a batch by conjugate gradients, with exact gradients in b and in everything A is made of.

    Each sample stops at `||b - A x|| <= max(tol ||b||, atol)` and equals, to rounding, what it would be alone, at any magnitude of b. Where
    the recurrence says so, the true residual is computed, and the sample goes on from it if it is larger, at most twice. implicit=True: the
    gradient is that of the exact solution, `lam = A^-1 g` by one adjoint solve, `db = lam`, `dparams = -d<lam, A(params) x>` at fixed lam
    and x; it reaches every tensor of `params` and so the network that made it. Where nothing needs a gradient A is applied for the steps
    and checks alone.

    Args:
        A: an operator (its own tensors are found, composites included) or a callable `A(x, *params)`; symmetric positive (semi-)definite;
            it must treat the samples (first axis) independently.
        b: [B, ...]; float32, float64, bfloat16 or float16 (A, its tensors and params included computed in float32).
        x0: start, like b; None is zero. No gradient flows to it with implicit=True.
        params: the tensors that a callable depends on.
        preconditioner: callable r -> M^-1 r, linear, symmetric and positive definite per sample; used without gradients when implicit.
        tol: relative residual at which a sample stops.
        atol: residual at which it stops whatever b is; the further solves of derivatives go by tol alone.
        max_iter: most steps per sample.
        implicit: False differentiates through every step (memory grows with the steps).
        check_every: every how many steps the host looks whether all samples stopped; None: every step on a CPU, never on a GPU (no
            synchronisation; A is applied max_iter + 3 times). The result does not depend on it.
        callback: called as callback(step, max_iter, x) after every step of the forward solve; under vmap x has the vmapped axes in front.

    Returns:
        CGResult: .x like b, .iterations int64 [B], .residuals [B] relative at the end, .converged [B], .history [max_iter + 1, B] (NaN
            where a sample took no such step), .adjoint after a backward pass. Not converging is reported there; in the backward pass on a
            CPU also as a RuntimeWarning. b = 0 without x0 gives 0. A sample with NaN comes out as NaN, not converged, and leaves the others
            alone. Where A is not positive on the search direction a sample stops.

    Raises:
        ValueError, TypeError: naming the argument; in particular `params` when a callable captures a tensor that requires gradients
            and was not passed (its gradient would be lost), or one that was made inside of a torch.func transform.

    First and second order gradients, forward mode, every torch.func transform and vmap, nested and vectorised too. In torch.compile the
    steps are unrolled to max_iter, since nobody may look: one graph where nothing needs a gradient or with implicit=False; the implicit
    gradient breaks the graph and runs uncompiled, and with fullgraph=True it is an error that says so (as is `A @ B` inside of the compiled
    function, which torch cannot trace: make the operator outside or pass a callable). In torch.export under no_grad they are a loop of the
    program, which ends as here and gives the same bits.

    Bit-identical from run to run with a fixed number of threads. Memory: five vectors like b (six with a preconditioner, two more while a
    residual is checked, one for a callback), whatever the number of steps. Hestenes and Stiefel 1952; implicit gradient as in Learning
    Spatially-Variant MAP Models for Non-blind Image Deblurring (2021).

    >>> import torch, svconv
    >>> from svconv.operators import Identity
    >>> K = svconv.PixelFilter(torch.rand(1, 3, 3, 16, 16) / 9)
    >>> b = torch.rand(2, 3, 16, 16)
    >>> result = svconv.solvers.cg(K.T @ K + 0.1 * Identity(), b, tol=1e-5)
    >>> bool(result.converged.all()), torch.allclose(K.gram(result.x) + 0.1 * result.x, b, atol=1e-3)
    (True, True)
    """
    _check(b, x0, params)
    if b.dtype in HALF:
        return _in_float32(A, b, x0, params, preconditioner=preconditioner, tol=tol, atol=atol, max_iter=max_iter, implicit=implicit,
                           check_every=check_every, callback=callback)
    options = {"preconditioner": preconditioner, "tol": number("tol", tol, least=0), "atol": number("atol", atol, least=0),
               "max_iter": number("max_iter", max_iter, least=0, integer=True), "check_every": _check_every(check_every)}
    bind, params = _bind(A, b, params)
    recorded = torch.is_grad_enabled() or dual() or transforming()
    if not implicit and recorded:
        return solve_unrolled(bind(params), b, x0, callback=callback, **options)
    start = None if x0 is None else x0.detach()
    if transforming():
        b, watched = _batched_as(bind, params, b), None
    else:
        watched = _watching(bind) if implicit and not isinstance(A, Operator) and recorded else bind
    if not transforming() and not differentiable(b, *params):
        return solve(watched(params), b, start, callback=callback, history=True, **options)
    if torch.compiler.is_compiling():
        torch._dynamo.graph_break(msg="svconv: the implicit gradient of cg runs uncompiled (implicit=False unrolls it into one graph)")
    return solve_implicitly(Problem(bind, options), start, callback, b, params, watched)


def differentiable(*tensors):
    if dual() and any(forward_ad.unpack_dual(t).tangent is not None for t in tensors):
        return True
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def _in_float32(A, b, x0, params, **options):
    """A solve of half precision: computed in float32, the solution in the dtype of b."""
    if isinstance(A, Operator):
        A, wide = widened("A", A, "b", b)
        params = ()
    else:
        wide, params = b.float(), [computed(p) for p in params]
    result = cg(A, wide, x0=None if x0 is None else x0.float(), params=params, **options)
    result.x = result.x.to(b.dtype)
    return result


def _check(b, x0, params):
    check_tensor("b", b)
    if b.dim() == 0:
        raise ValueError("b: expected [B, ...], got []")
    if x0 is not None:
        check_tensor("x0", x0)
        if x0.shape != b.shape:
            raise ValueError(f"x0: expected {shape_text(b)} like b, got {shape_text(x0)}")
        if x0.dtype != b.dtype or x0.device != b.device:
            raise TypeError(f"x0: expected {b.dtype} on {b.device} like b, got {x0.dtype} on {x0.device}")
    if isinstance(params, torch.Tensor) or not all(isinstance(p, torch.Tensor) for p in params):
        raise TypeError("params: expected a sequence of tensors, got " + type(params).__name__)


def _check_every(steps):
    try:
        return steps if steps is None else number("check_every", steps, least=1, integer=True)
    except (TypeError, ValueError) as error:
        raise type(error)(f"check_every: expected an integer >= 1 or None, got {steps!r}") from None


def _bind(A, b, params):
    """(bind, params): bind(params) is x -> A x."""
    params = tuple(params)
    if isinstance(A, Operator):
        if any(all(p is not t for t in A.tensors) for p in params):
            raise ValueError("params: expected none beside an operator, whose own tensors are found, got another tensor")
        if A.maps[0] != A.maps[1]:
            raise ValueError(f"A: expected a square operator, got {A!r} that maps M = {A.maps[0]} to M = {A.maps[1]}")
        A._check_input("b", b, A.maps[0])
        A, _ = widened("A", A, "b", b)
        return A.with_tensors, A.tensors
    if not callable(A):
        raise TypeError(f"A: expected an operator or a callable, got {type(A).__name__}")
    return lambda given: (lambda x: A(x, *given)), params


CAPTURED = ("params: A(x, *params) still requires gradients with x and params detached; expected every tensor it depends on in params, "
            "got one that is captured (or pass implicit=False)")


def _watching(bind):
    """As bind; the first application raises where a captured tensor that requires gradients and was not passed would lose its gradient
    in silence."""
    def watched(params):
        apply, seen = bind(params), []

        def first_watched(x):
            if seen:
                return apply(x)
            seen.append(True)
            with torch.enable_grad():
                y = apply_checked(bind([p.detach() for p in params]), x.detach())
            if _tracked(y):
                raise ValueError(CAPTURED)
            return y

        return first_watched
    return watched


def _batched_as(bind, params, b):
    """b of a solve inside a torch.func transform: batched wherever A is, by whatever it captured. A captured tensor that is differentiated
    by one of the transforms is refused, as outside of them."""
    with torch.enable_grad():
        probe = apply_checked(bind([p.detach() for p in params]), b.detach())
    if _tracked(probe):
        raise ValueError(CAPTURED)
    return b + torch.zeros_like(probe)


def _tracked(t):
    """Whether a transform or autograd follows t."""
    if torch.compiler.is_compiling():
        return t.requires_grad
    while torch._C._functorch.is_functorch_wrapped_tensor(t):
        followed = torch._C._functorch.is_gradtrackingtensor(t)
        if followed and (t.requires_grad or forward_ad.unpack_dual(t, level=0).tangent is not None):
            return True
        t = torch._C._functorch.get_unwrapped(t)
    return t.requires_grad or dual() and forward_ad.unpack_dual(t).tangent is not None
