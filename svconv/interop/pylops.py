"""svconv operators as PyLops operators, and PyLops' own two-dimensional convolutions computed by svconv.

`as_operator` makes any operator of `svconv.operators` a `pylops.LinearOperator` on flat NumPy vectors; `Convolve2D`,
`NonStationaryConvolve2D` and `NonStationaryFilters2D` take the arguments of PyLops' operators of these names. The result has the dtype of
the vector; complex vectors go in two parts. Needs `pip install svconv[interop]`.
"""
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from svconv._shapes import number
from svconv._tiles import spans
from svconv.operators.base import Operator
from svconv.ops import conv, conv_adjoint, pixel_filter, pixel_filter_adjoint

if TYPE_CHECKING:
    from pylops import LinearOperator as _Base
else:
    _Base = object

FILTER_BYTES = 256 << 20    # of the interpolated filters that stand in memory at a time
METHODS = ("auto", "direct", "fft")


def as_operator(op: Operator, dims: Sequence[int], *, dtype: Any = None, name: str = "S") -> Any:
    """An operator as a `pylops.LinearOperator`.

    Args:
        op: an operator of `svconv.operators`, products, sums and transposes included.
        dims: of the model, (..., H, W), or (..., M, H, W) for an operator with an axis M at its input. The leading axes are one batch
            where the operator's tensors serve any; where they are made for C channels the last leading axis is C, and where they are made
            for B samples the first (or all but the last) are B.
        dtype: that PyLops is told; None: that of the operator. The tensors are cast where a vector has another one.
        name: for `pylops.utils.describe`.

    Returns:
        A LinearOperator with `dims`, `dimsd` (..., H, W) or (..., M, H, W); on the operator's device, NumPy outside. No gradients.

    Raises:
        ValueError, TypeError: naming the argument. ImportError: no PyLops.

    >>> import numpy as np, torch, svconv
    >>> blur = svconv.EFFBlur(torch.full((1, 6, 5, 5), 1 / 25), svconv.EFFGrid((64, 96), (2, 3)))
    >>> A = svconv.interop.pylops.as_operator(blur, (10, 64, 96))                                     # doctest: +SKIP
    >>> y = A @ np.random.rand(10, 64, 96)                                                            # doctest: +SKIP
    >>> x = pylops.optimization.basic.lsqr(A, y, niter=20)[0]                                         # doctest: +SKIP
    """
    if not isinstance(op, Operator):
        raise TypeError(f"op: expected an operator of svconv.operators, got {type(op).__name__}")
    dims = _sizes("dims", dims)
    shape, dimsd = _layout(op, dims)
    wanted = dtype or (op.dtype if op.dtype in (torch.float16, torch.float32, torch.float64) else torch.float64)
    outside = str(wanted)[6:] if isinstance(wanted, torch.dtype) else wanted

    def forward(x):
        return op.to(x.dtype)(x.to(op.device).reshape(shape))

    def adjoint(y):
        middle = () if op.maps[1] is None else (op.maps[1],)
        return op.to(y.dtype).adjoint(y.to(op.device).reshape(*shape[:2], *middle, *shape[-2:]))

    return operator_class()(forward, adjoint, dims, dimsd, outside, name)


def Convolve2D(dims: Sequence[int], h: Any, offset: Sequence[int] = (0, 0), axes: Sequence[int] = (-2, -1), method: str | None = "fft",
               dtype: Any = "float64", name: str = "C") -> Any:
    """`pylops.signalprocessing.Convolve2D`: `y[i] = sum_j h[j] x[i - j + offset]` along a pair of axes, zeros outside.

    Args:
        dims: of the model, of any number of axes. h: [kh, kw], real. offset: the index of the centre of h. axes: the axes of h in order.
        method: "auto", "direct", "fft" or None; in Fourier space all the same. dtype, name: as in PyLops.

    Raises:
        ValueError, TypeError: naming the argument.

    >>> import numpy as np, svconv
    >>> C = svconv.interop.pylops.Convolve2D((5, 64, 96), np.ones((3, 3)) / 9, offset=(1, 1))         # doctest: +SKIP
    >>> (C @ np.random.rand(5, 64, 96)).shape                                                         # doctest: +SKIP
    (5, 64, 96)
    """
    dims = _sizes("dims", dims)
    if method is not None and method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)} or None, got {method!r}")
    kernel = _centred(_real("h", h, 2), _sizes("offset", offset, 2, least=None))
    first, second = (_axis(a, len(dims)) for a in _sizes("axes", axes, 2, least=None))
    if first == second:
        raise ValueError(f"axes: expected two different ones, got {tuple(axes)}")

    def run(function, x):
        planes = x.movedim((first, second), (-2, -1))
        y = function(planes.reshape(-1, 1, *planes.shape[-2:]), kernel.to(x.dtype), padding="zeros")
        return y.reshape(planes.shape).movedim((-2, -1), (first, second))

    return operator_class()(functools.partial(run, conv), functools.partial(run, conv_adjoint), dims, dims, dtype, name)


def NonStationaryConvolve2D(dims: Sequence[int], hs: Any, ihx: Sequence[int], ihz: Sequence[int], engine: str = "numpy",
                            num_threads_per_blocks: tuple[int, int] = (32, 32), dtype: Any = "float64", name: str = "C") -> Any:
    """`pylops.signalprocessing.NonStationaryConvolve2D`: every input pixel sends out the filter that is interpolated there.

    Args:
        dims: (nx, nz). hs: [len(ihx), len(ihz), kh, kw], real, kh and kw odd. ihx, ihz: where the filters stand, evenly spaced; between
            them filters are interpolated bilinearly, beyond them the nearest one holds.
        engine: "numpy" or "numba", computed by svconv all the same; "cuda" is refused. num_threads_per_blocks: not used.
        dtype, name: as in PyLops.

    Raises:
        ValueError, TypeError, NotImplementedError: naming the argument.

    No windows of an `EFFGrid` are these tents, so that the operator is `PixelFilter(f).T` with f interpolated, [1, kh, kw, nx, nz]. Its
    memory is kh kw nx nz numbers where that is at most FILTER_BYTES (256 MiB; kept between calls of one dtype); larger maps are made tile
    by tile in every call, and FILTER_BYTES bounds a tile, unless one of half a kernel takes more.

    >>> import numpy as np, svconv
    >>> hs = np.ones((2, 3, 5, 5)) / 25
    >>> C = svconv.interop.pylops.NonStationaryConvolve2D((64, 96), hs, (16, 48), (16, 48, 80))       # doctest: +SKIP
    >>> (C.H @ (C @ np.random.rand(64, 96))).shape                                                    # doctest: +SKIP
    (64, 96)
    """
    size = _sizes("dims", dims, 2)
    _check_engine(engine, "NonStationaryConvolve2D")
    bank = _real("hs", hs, 4)
    tents = _Tents(size, _odd("hs", bank.shape[2:]), ihx, ihz)
    if bank.shape[:2] != tents.nodes:
        raise ValueError(f"hs: expected [{tents.nodes[0]}, {tents.nodes[1]}, kh, kw] for ihx and ihz, got {list(bank.shape)}")
    maps = _KeptFilters(tents, bank)

    def forward(x):
        y = torch.zeros_like(x)
        for seen, own in tents.tiles(x.dtype):
            y[seen] += pixel_filter_adjoint(_only(x, seen, own)[None, None], maps(seen, x.dtype))[0, 0]
        return y

    def adjoint(y):
        x = torch.empty_like(y)
        for seen, own in tents.tiles(y.dtype):
            x[own] = pixel_filter(y[seen][None, None], maps(seen, y.dtype))[0, 0][_inside(seen, own)]
        return x

    return operator_class()(forward, adjoint, size, size, dtype, name)


def NonStationaryFilters2D(inp: Any, hshape: Sequence[int], ihx: Sequence[int], ihz: Sequence[int], engine: str = "numpy",
                           num_threads_per_blocks: tuple[int, int] = (32, 32), dtype: Any = "float64", name: str = "C") -> Any:
    """`pylops.signalprocessing.NonStationaryFilters2D`: as `NonStationaryConvolve2D` for a fixed image, a linear map of the filters.

    Args:
        inp: [nx, nz], real. hshape: (kh, kw), odd. The others as in `NonStationaryConvolve2D`, whose tiles it shares (nothing is kept; the
            transpose takes three times their memory).

    Raises:
        ValueError, TypeError, NotImplementedError: naming the argument.

    >>> import numpy as np, svconv
    >>> F = svconv.interop.pylops.NonStationaryFilters2D(np.random.rand(64, 96), (5, 5), (16, 48), (16, 48, 80))    # doctest: +SKIP
    >>> F.dims, F.dimsd                                                                               # doctest: +SKIP
    ((2, 3, 5, 5), (64, 96))
    """
    _check_engine(engine, "NonStationaryFilters2D")
    image = _real("inp", inp, 2)
    size = tuple(image.shape)
    tents = _Tents(size, _odd("hshape", _sizes("hshape", hshape, 2)), ihx, ihz)

    def forward(hs):
        x = image.to(hs.dtype)
        y = torch.zeros_like(x)
        for seen, own in tents.tiles(hs.dtype):
            y[seen] += pixel_filter_adjoint(_only(x, seen, own)[None, None], tents.filters(hs, seen))[0, 0]
        return y

    def adjoint(y):
        x, hs = image.to(y.dtype), torch.zeros(*tents.nodes, *tents.kernel_size, dtype=y.dtype, requires_grad=True)
        found = torch.zeros_like(hs)
        for seen, own in tents.tiles(y.dtype):
            with torch.enable_grad():
                seen_y = pixel_filter(y[seen][None, None], tents.filters(hs, seen))
            found += torch.autograd.grad(seen_y, hs, _only(x, seen, own)[None, None])[0]
        return found

    return operator_class()(forward, adjoint, (*tents.nodes, *tents.kernel_size), size, dtype, name)


# interpolated filters -----------------------------------------------------------------------------------------------

class _Tents:
    """Bilinear weights between the nodes ihx x ihz on an image, and the filters that they make of those at the nodes."""

    def __init__(self, size, kernel_size, ihx, ihz):
        self.size, self.kernel_size = size, tuple(kernel_size)
        self.rows, self.columns = _tents("ihx", ihx, size[0]), _tents("ihz", ihz, size[1])
        self.nodes = len(self.rows), len(self.columns)

    def filters(self, hs, part):
        """[1, kh, kw, h, w] of the pixels `part`, two slices."""
        rows, columns = self.rows[:, part[0]].to(hs), self.columns[:, part[1]].to(hs)
        return torch.einsum("abkl,ai,bj->klij", hs, rows, columns)[None]

    def tiles(self, dtype):
        """[(pixels that are seen, own pixels)], two slices each."""
        taps = math.prod(self.kernel_size) * dtype.itemsize
        if math.prod(self.size) * taps <= FILTER_BYTES:
            return [((slice(0, self.size[0]), slice(0, self.size[1])),) * 2]
        most = max(self.kernel_size)
        side = max(math.isqrt(FILTER_BYTES // taps) - most + 1, most // 2, 8)
        axes = [spans(n, side, k // 2) for n, k in zip(self.size, self.kernel_size)]
        return [tuple(zip(*((slice(s.start, s.stop), slice(*s.own)) for s in pair))) for pair in itertools.product(*axes)]


class _KeptFilters:
    """The filters of a bank, kept where one tile is the image."""

    def __init__(self, tents, bank):
        self.tents, self.bank, self.kept = tents, bank, None

    def __call__(self, seen, dtype):
        if self.kept is not None and self.kept.dtype == dtype:
            return self.kept
        filters = self.tents.filters(self.bank.to(dtype), seen)
        self.kept = filters if tuple(filters.shape[-2:]) == self.tents.size else None
        return filters


def _tents(name, nodes, length):
    """float64 [n, length]: the weight of each node at each pixel; beyond the outer ones they hold."""
    nodes = np.array(_sizes(name, nodes, least=None))
    steps = np.unique(np.diff(nodes))
    if len(steps) > 1 or (steps <= 0).any():
        raise ValueError(f"{name}: the filters must be regularly sampled, from the first pixel on, got {tuple(map(int, nodes))}")
    if len(nodes) == 0 or nodes[0] < 0 or nodes[-1] >= length:
        raise ValueError(f"{name}: expected at least one index in 0 .. {length - 1}, got {tuple(map(int, nodes))}")
    place = ((np.arange(length) - nodes[0]) / (steps[0] if len(steps) else 1)).clip(0, len(nodes) - 1)
    left = np.floor(place).astype(int)
    weights = np.zeros((len(nodes), length))
    weights[left, np.arange(length)] = 1 - (place - left)
    inner = left + 1 < len(nodes)
    weights[left[inner] + 1, np.arange(length)[inner]] = (place - left)[inner]
    return torch.from_numpy(weights)


def _only(x, seen, own):
    """The pixels that are seen, with zeros where they are not the tile's own."""
    part = torch.zeros_like(x[seen])
    part[_inside(seen, own)] = x[own]
    return part


def _inside(seen, own):
    return tuple(slice(b.start - a.start, b.stop - a.start) for a, b in zip(seen, own))


# arguments ----------------------------------------------------------------------------------------------------------

def _sizes(name, values, count=None, least=1):
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
        raise TypeError(f"{name}: expected a sequence of integers, got {values!r}")
    values = tuple(number(name, n, least=least, integer=True) for n in values)
    if count is not None and len(values) != count:
        raise ValueError(f"{name}: expected {count} integers, got {values}")
    return values


def _axis(axis, count):
    if not -count <= axis < count:
        raise ValueError(f"axes: expected axes of the {count} of dims, got {axis}")
    return axis % count


def _real(name, array, axes):
    """A real array as a tensor of its dtype, float64 for integers."""
    array = np.asarray(array)
    if array.ndim != axes or 0 in array.shape:
        raise ValueError(f"{name}: expected an array of {axes} axes with sides >= 1, got {list(array.shape)}")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected real numbers, got {array.dtype}")
    return torch.from_numpy(array.astype(np.float32 if array.dtype == np.float32 else np.float64))


def _odd(name, size):
    if any(k % 2 == 0 for k in size):
        raise ValueError(f"{name}: the filters must have odd length, got {tuple(size)}")
    return size


def _check_engine(engine, owner):
    if engine == "cuda":
        raise NotImplementedError(f'engine: expected "numpy" or "numba", got "cuda", which {owner} has not here')
    if engine not in ("numpy", "numba"):
        raise ValueError(f"`engine` must be numpy or numba, got {engine!r}")


def _centred(h, offset):
    """[1, kh, kw] with zeros added on one side, so that the centre k//2 stands at `offset` of h."""
    after = [max(2 * at - n, 0) for n, at in zip(h.shape, offset)]
    before = [max(n - 2 * at - 1, 0) for n, at in zip(h.shape, offset)]
    return torch.nn.functional.pad(h, (before[1], after[1], before[0], after[0]))[None]


def _layout(op, dims):
    """(the shape in which the operator takes the model, dims of the data)"""
    batch, channels, *size = op.frame
    many = () if op.maps[0] is None else (op.maps[0],)
    if len(dims) < 2 + len(many):
        raise ValueError(f"dims: expected (..., {'M, ' if many else ''}H, W), got {dims}")
    lead, inner = dims[:len(dims) - 2 - len(many)], dims[len(dims) - 2 - len(many):]
    if not lead:
        shape = 1, 1
    elif channels > 1:
        shape = math.prod(lead[:-1]), lead[-1]
    else:
        shape = (lead[0], math.prod(lead[1:])) if batch > 1 else (math.prod(lead), 1)
    fits = (inner[:-2] == many and (size[0] is None or inner[-2:] == tuple(size)) and batch in (1, shape[0]) and channels in (1, shape[1]))
    if not fits:
        wanted = [*([f"B = {batch}"] if batch > 1 else []), *([f"C = {channels}"] if channels > 1 else []), *map(str, many),
                  *(["H", "W"] if size[0] is None else map(str, size))]
        raise ValueError(f"dims: expected (..., {', '.join(wanted)}) for {op!r}, got {dims}")
    return (*shape, *inner), (*lead, *(() if op.maps[1] is None else (op.maps[1],)), *inner[-2:])


# PyLops -------------------------------------------------------------------------------------------------------------

class _MappedOperator(_Base):
    """A LinearOperator by two maps of tensors, of the shape dims and of the shape dimsd."""

    def __init__(self, forward: Callable, adjoint: Callable, dims: tuple, dimsd: tuple, dtype: Any, name: str):
        super().__init__(dtype=np.dtype(dtype), dims=dims, dimsd=dimsd, name=name)
        self._maps = forward, adjoint

    def _matvec(self, x):
        return self._mapped(self._maps[0], x, self.dims)

    def _rmatvec(self, x):
        return self._mapped(self._maps[1], x, self.dimsd)

    def _mapped(self, function, x, shape):
        x = np.asarray(x)
        x = x.astype(x.dtype.newbyteorder("="), copy=False)
        if x.dtype.kind == "c":
            return self._mapped(function, x.real, shape) + 1j * self._mapped(function, x.imag, shape)
        if x.dtype.kind in "biu":
            x = x.astype(np.empty(0, self.dtype).real.dtype)
        if x.dtype not in (np.float16, np.float32, np.float64):
            raise TypeError(f"x: expected float16, float32, float64, complex64 or complex128, got {x.dtype}")
        with torch.no_grad():
            return function(_tensor(x).reshape(tuple(shape))).reshape(-1).cpu().numpy()


@functools.cache
def operator_class() -> type:
    """`MappedOperator`, a LinearOperator; made when it is first needed, since it is a class of PyLops'."""
    try:
        from pylops import LinearOperator
    except ImportError as error:
        raise ImportError(f"svconv.interop.pylops needs PyLops (pip install svconv[interop]): {error}") from error
    return type("MappedOperator", (_MappedOperator, LinearOperator), {"__module__": __name__, "__doc__": _MappedOperator.__doc__})


def _tensor(array):
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())
