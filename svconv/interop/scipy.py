"""Operators of svconv in SciPy's solvers, and SciPy's conjugate gradients in svconv's arithmetic.

A vector of SciPy is an image, or a batch of them, [B, C, H, W] in the order of rows. Needs `pip install svconv[interop]`.
"""
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from svconv._shapes import number
from svconv.operators import Operator
from svconv.solvers.conjugate_gradients import solve


def as_linear_operator(op: Operator, shape: Any = None) -> Any:
    """`op` as a `scipy.sparse.linalg.LinearOperator`, with its exact adjoint as `rmatvec`.

    Args:
        op: an operator of svconv, composites included, float32 or float64, on any device.
        shape: input shape, (H, W) or all axes; needed only where the tensors of op do not fix it. N = the product of all axes.

    Returns:
        LinearOperator (M, N) of the dtype of op (float64 without tensors), in which everything is computed: a float64 vector goes into a
        float32 operator as float32, and comes back so. Complex vectors are mapped part by part. Several columns (`matmat`) run as one
        batch where op serves any batch.

    Raises:
        ValueError, TypeError: naming the argument. ImportError: without SciPy.

    No gradients. Vectors on the CPU are not copied where they have the dtype of op.

    >>> import torch, svconv
    >>> from scipy.sparse.linalg import lsqr
    >>> blur = svconv.Conv(torch.tensor([[[0.1, 0.8, 0.1]]], dtype=torch.float64))
    >>> A = svconv.interop.scipy.as_linear_operator(blur, (8, 9))
    >>> A.shape, A.dtype
    ((72, 72), dtype('float64'))
    >>> x = torch.rand(72, dtype=torch.float64).numpy()
    >>> bool(abs(lsqr(A, A @ x, atol=1e-9, btol=1e-9)[0] - x).max() < 1e-6)
    True
    """
    linalg = _library()
    _check_operator("op", op)
    full = op.input_shape(shape)
    left = _side(full, op.maps[1])
    dtype = _dtype("op", op)

    batched = op.frame[0] == 1 and full[0] == 1

    def run(function, shape, to):
        size = int(np.prod(to))

        def many(v):
            return _on_columns(function, shape, size, dtype, op.device or "cpu", v, batched)

        return lambda v: many(np.reshape(v, (-1, 1)))[:, 0], many

    (matvec, matmat), (rmatvec, rmatmat) = run(op, full, left), run(op.adjoint, left, full)
    size = int(np.prod(left)), int(np.prod(full))
    return linalg.LinearOperator(size, matvec=matvec, rmatvec=rmatvec, matmat=matmat, rmatmat=rmatmat, dtype=dtype)


def cg(A: Any, b: Any, x0: Any = None, *, rtol: float = 1e-5, atol: float = 0.0, maxiter: int | None = None, M: Any = None,
       callback: Callable[[np.ndarray], object] | None = None) -> tuple[np.ndarray, int]:
    """`scipy.sparse.linalg.cg` with the arguments, the result and the steps of SciPy, computed by `svconv.solvers.cg`.

    It differs where SciPy is silent or wasteful: the true residual is computed before it says that it converged, a solve that converges in
    its last step says so, one in which A turns out not to be positive ends there, and NaN in b or x0 is an error.

    Args:
        A: symmetric positive definite: an operator of svconv whose tensors fix its size (others: `as_linear_operator(A, shape)`), a
            LinearOperator, an array or a sparse matrix, N x N, real. An operator runs on its own device without a way through NumPy.
        b: array [N] or [N, 1], real.
        x0: start, [N] or [N, 1], "Mb" for M b, or None for zero.
        rtol, atol: converged where `||b - A x|| <= max(rtol ||b||, atol)`.
        maxiter: most steps, at least 1; None: 10 N.
        M: approximate inverse of A, of any kind that A may be; symmetric positive definite.
        callback: called as callback(xk) after every step, with an array of its own.

    Returns:
        (x, info): x array [N], float32 where A and b are and float64 otherwise; info 0 where it converged, otherwise the number of steps.

    Raises:
        ValueError, TypeError: as in SciPy, naming the argument. ImportError: without SciPy.

    Memory: six vectors. Gradients: `svconv.solvers.cg`.

    >>> import numpy as np, torch, svconv
    >>> K = svconv.PixelFilter(torch.full((1, 3, 3, 8, 8), 1 / 9, dtype=torch.float64))
    >>> A = K.T @ K + 0.1 * svconv.Identity()
    >>> b, steps = np.ones(64), []
    >>> x, info = svconv.interop.scipy.cg(A, b, rtol=1e-8, callback=steps.append)
    >>> info, len(steps) < 64, np.allclose(svconv.interop.scipy.as_linear_operator(A) @ x, b)
    (0, True, True)
    """
    linalg, given = _library(), A
    N = _square(linalg, "A", A)
    b = _vector("b", b, N)
    M = M if M is None or isinstance(M, Operator) else linalg.aslinearoperator(M)
    if M is not None and _square(linalg, "M", M) != N:
        raise ValueError(f"M: matrix and preconditioner have different shapes, {N} x {N} and {_size(M)}")
    single = all(t.newbyteorder("=") == np.float32 for t in (b.dtype, _real_dtype(linalg, "A", A)))
    dtype = np.dtype(np.float32 if single else np.float64)
    A, M = (None if a is None else _on_vectors(linalg, name, a, dtype) for name, a in (("A", given), ("M", M)))
    atol, rtol = number("atol", atol, least=0), number("rtol", rtol, least=0)
    maxiter = number("maxiter", 10 * N if maxiter is None else maxiter, least=1, integer=True)
    device = given.device if isinstance(given, Operator) and given.device is not None else "cpu"
    rhs = _tensor(b, dtype, device)
    if not rhs.any():
        return np.zeros(N, dtype), 0
    if isinstance(x0, str):
        if x0 != "Mb":
            raise ValueError(f"x0: expected an array, 'Mb' or None, got {x0!r}")
        start = rhs if M is None else M(rhs)
    else:
        start = None if x0 is None else _tensor(_vector("x0", x0, N), dtype, device)
    told = None if callback is None else lambda step, steps, x: callback(_array(x))
    found = solve(A, rhs, start, preconditioner=M, tol=rtol, atol=atol, max_iter=maxiter, callback=told)
    return _array(found.x), 0 if bool(found.converged) else max(1, int(found.iterations))


# arguments ----------------------------------------------------------------------------------------------------------

def _library():
    try:
        import scipy.sparse.linalg
    except ImportError as error:
        raise ImportError("svconv.interop.scipy needs SciPy (pip install svconv[interop])") from error
    return scipy.sparse.linalg


def _check_operator(name, op):
    if not isinstance(op, Operator):
        raise TypeError(f"{name}: expected an operator such as svconv.Conv, got {type(op).__name__}")


def _dtype(name, op):
    """That of the vectors which op takes."""
    dtype = np.dtype(np.float32 if op.dtype not in (None, torch.float64) else np.float64)
    wrong = op.misfit(_torch(dtype))
    if wrong is not None:
        raise TypeError(f"{name}: expected float32 or float64, got {wrong}")
    return dtype


def _side(full, many):
    """The shape of the output for an input of that shape."""
    return (*full[:2], *(() if many is None else (many,)), *full[-2:])


def _size(a):
    return " x ".join(map(str, a.shape))


def _square(linalg, name, a):
    """N."""
    if isinstance(a, Operator):
        if a.shape is None:
            raise ValueError(f"{name}: expected an operator whose tensors fix the size of the image, or as_linear_operator(op, shape), got "
                             f"{a!r}")
    else:
        a = linalg.aslinearoperator(a)
    if a.shape[0] != a.shape[1]:
        raise ValueError(f"{name}: expected square matrix, got {_size(a)}")
    return a.shape[0]


def _real_dtype(linalg, name, a):
    if isinstance(a, Operator):
        return _dtype(name, a)
    dtype = np.dtype(linalg.aslinearoperator(a).dtype)
    if dtype.kind == "c":
        raise TypeError(f"{name}: expected a real matrix, got {dtype}")
    return dtype


def _vector(name, v, N):
    v = np.asarray(v)
    if v.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected real numbers, got {v.dtype}")
    if v.shape not in ((N,), (N, 1)):
        raise ValueError(f"{name}: expected [N] or [N, 1] with N = {N} of A, got {list(v.shape)}")
    if not np.isfinite(v).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
    return v


# NumPy and torch ----------------------------------------------------------------------------------------------------

def _torch(dtype):
    return torch.float32 if dtype == np.float32 else torch.float64


def _tensor(v, dtype, device):
    """[1, N], memory shared where that is possible."""
    v = np.ascontiguousarray(v, dtype).reshape(1, -1)
    return torch.from_numpy(v if v.flags.writeable else v.copy()).to(device)


def _array(t):
    return t.reshape(-1).cpu().numpy()


def _on_columns(function, shape, size, dtype, device, v, batched):
    """function of images of `shape` for every column of v, [N, columns] -> [size, columns]."""
    if np.iscomplexobj(v):
        real, imag = (_on_columns(function, shape, size, dtype, device, part, batched) for part in (v.real, v.imag))
        return real + 1j * imag
    result = np.empty((v.shape[1], size), dtype)
    columns = [v.T] if batched else v.T[:, None]
    with torch.no_grad():
        for at, some in enumerate(columns if v.shape[1] else ()):
            y = function(_tensor(some, dtype, device).reshape(-1, *shape[1:])).reshape(len(some), size)
            result[slice(None) if batched else slice(at, at + 1)] = y.cpu().numpy()
    return result.T


def _on_vectors(linalg, name, a, dtype):
    """x -> a x on tensors [1, N] of that dtype."""
    if isinstance(a, Operator):
        wide = a if a.misfit(_torch(dtype)) is None else a.to(_torch(dtype))
        shape = wide.input_shape()
        return lambda x: wide(x.reshape(shape)).reshape(1, -1)
    matrix = linalg.aslinearoperator(a)

    def apply(x):
        return _tensor(matrix.matvec(_array(x)), dtype, x.device)

    _real_dtype(linalg, name, a)
    return apply
