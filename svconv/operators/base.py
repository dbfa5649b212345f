"""The linear operators' common part: composition, transpose, sums, norm and the dot test."""
import numbers

import torch

from svconv._shapes import shape_text


class Operator:
    """A linear map of images, [B, C, H, W] or [B, C, M, H, W] on either side, known by its forward, its exact adjoint and its tensors.

    `A @ B`, `A.T`, `a * A`, `A + B`, `A - B` are operators again; `A.T @ A` runs as `A.gram`. The height and width of image stay the
    same; a batch or channel number of 1 in an operator's tensors serves any number.

    A new operator sets the attributes below and defines `_forward(x)`, `_adjoint(y)`, `with_tensors(tensors)`, and `_gram(x)` where one
    pass is cheaper than two.

    Attributes:
        tensors: every tensor it is made of (the `params` of `svconv.solvers.cg`).
        frame: (B, C, H, W) as its tensors fix them; 1 serves any B or C, None is any H or W.
        maps: (in, out), the length of the axis M on either side, None where there is none.
        reach: (top, bottom, left, right), how far the inputs of one output pixel lie from it.
    """

    tensors = ()
    frame = (1, 1, None, None)
    maps = (None, None)
    reach = (0, 0, 0, 0)

    def __call__(self, x):
        """`A x`: [B, C, H, W] -> [B, C, H, W] (or with an axis M)."""
        return self._forward(x)

    def adjoint(self, y):
        """`A' y`, the exact transpose of the call."""
        return self._adjoint(y)

    def gram(self, x):
        """`A' A x`, in one pass where the operator has one."""
        return self._gram(x)

    def _gram(self, x):
        return self._adjoint(self._forward(x))

    def _key(self):
        """Equal for two composites of the same operators."""
        return id(self)

    def with_tensors(self, tensors):
        """The same operator made of other tensors, in the order of `tensors`."""
        raise TypeError(f"{type(self).__name__} does not say how it is made of other tensors")

    def with_padding(self, padding):
        """The same operator with another boundary rule in every part that has one."""
        raise ValueError(f"padding: {self!r} has no other boundary rule")

    def to(self, *args, **kwargs):
        """The same operator on another device or in another dtype, as in `torch.Tensor.to`."""
        return self.with_tensors([t.to(*args, **kwargs) for t in self.tensors])

    @property
    def T(self):
        """The transpose as an operator."""
        return Transpose(self)

    def __matmul__(self, other):
        if not isinstance(other, Operator):
            return NotImplemented
        if isinstance(self, Transpose) and self.of._key() == other._key():
            return Gram(other)
        if isinstance(self, Scaled) and isinstance(self.of, Transpose) and self.of.of._key() == other._key():
            return Scaled(self.factor, Gram(other))
        if isinstance(self, Product) and isinstance(self.second, Transpose) and self.second.of._key() == other._key():
            return Product(self.first, Gram(other))
        return Product(self, other)

    def __add__(self, other):
        return Sum(self, other) if isinstance(other, Operator) else NotImplemented

    def __sub__(self, other):
        return Sum(self, Scaled(-1.0, other)) if isinstance(other, Operator) else NotImplemented

    def __neg__(self):
        return Scaled(-1.0, self)

    def __mul__(self, factor):
        return NotImplemented if isinstance(factor, Operator) else Scaled(factor, self)

    __rmul__ = __mul__
    __array_ufunc__ = None  # numpy scalars leave `a * op` to us

    def input_shape(self, shape=None):
        """The full input shape: from the tensors, or `shape` ((H, W) or all axes) checked against them."""
        batch, channels, height, width = self.frame
        middle = () if self.maps[0] is None else (self.maps[0],)
        if shape is None:
            if height is None:
                raise ValueError(f"shape: expected the input shape, because the tensors of {self!r} do not fix it; got None")
            return (batch, channels, *middle, height, width)
        given = tuple(int(n) for n in shape)
        full = (batch, channels, *middle, *given) if len(given) == 2 else given
        expected = (batch, channels, *middle, height, width)
        loose = {axis for axis in range(len(expected)) if expected[axis] is None or (axis < 2 and expected[axis] == 1)}
        fits = len(full) == len(expected) and all(axis in loose or n == expected[axis] for axis, n in enumerate(full)) and min(full) > 0
        if not fits:
            text = ", ".join("any" if axis in loose else str(n) for axis, n in enumerate(expected))
            raise ValueError(f"shape: expected (H, W) or the input shape [{text}] of {self!r}, got {list(given)}")
        return full

    def norm(self, shape=None):
        """Spectral norm `max ||A x|| / ||x||` within 1 %, the largest over the batch.

        Lanczos iteration on the gram from a seeded start, at most 120 steps, in float32 (float64 for float64 tensors).

        Args:
            shape: input shape, (H, W) or all axes; needed only where the tensors do not fix it.

        Returns:
            float.

        >>> import torch, svconv
        >>> round(svconv.PixelFilter(torch.full((1, 1, 2, 4, 4), 0.5), padding="circular").norm(), 2)
        1.0
        """
        from svconv.operators.spectral import spectral_norm
        return spectral_norm(self, self.input_shape(shape))

    def certify(self, shape=None):
        """The dot test `|<A x, y> - <x, A' y>| / (||A x|| ||y||)` in float64 on the operator's own shapes, printed and returned.

        x and y are seeded normal numbers; an exact adjoint gives rounding errors only (below 1e-12, usually 1e-16).

        Args:
            shape: input shape, (H, W) or all axes; needed only where the tensors do not fix it.

        Returns:
            float; 0 for an operator that maps everything to 0 both ways.

        >>> import torch, svconv
        >>> error = svconv.PixelFilter(torch.rand(1, 3, 3, 8, 9), padding="reflect").certify()      # doctest: +ELLIPSIS
        certify PixelFilter(...): |<Ax,y> - <x,A'y>| / (||Ax|| ||y||) = ...
        >>> error < 1e-12
        True
        """
        from svconv.operators.spectral import dot_error
        shape = self.input_shape(shape)
        error = dot_error(self, shape)
        print(f"certify {self!r}: |<Ax,y> - <x,A'y>| / (||Ax|| ||y||) = {error:.2e} (float64, x {list(shape)})")
        return error

    def _check_input(self, name, t, maps):
        """Raises unless `t` has the rank of this side and the sizes that the frame fixes."""
        if not isinstance(t, torch.Tensor):
            raise TypeError(f"{name}: expected a torch.Tensor, got {type(t).__name__}")
        wanted = (*self.frame[:2], *(() if maps is None else (maps,)), *self.frame[2:])
        fits = t.dim() == len(wanted) and all(
            want is None or want == got or (axis < 2 and want == 1) for axis, (want, got) in enumerate(zip(wanted, t.shape)))
        if not fits:
            letters = ["B", "C", *(() if maps is None else ("M",)), "H", "W"]
            text = ", ".join(letter if want is None or (axis < 2 and want == 1) else str(want)
                             for axis, (letter, want) in enumerate(zip(letters, wanted)))
            raise ValueError(f"{name}: expected [{text}], got {shape_text(t)}")


class Identity(Operator):
    """The identity, for example in `A.T @ A + beta * Identity()`."""

    def _forward(self, x):
        return x

    _adjoint = _gram = _forward

    def with_tensors(self, tensors):
        return self

    def with_padding(self, padding):
        return self

    def __repr__(self):
        return "Identity()"


class Transpose(Operator):
    """`A'`, as `A.T` gives it."""

    def __init__(self, of):
        self.of, self.tensors, self.frame, self.maps = of, of.tensors, of.frame, of.maps[::-1]
        top, bottom, left, right = of.reach
        self.reach = bottom, top, right, left

    def _forward(self, x):
        return self.of._adjoint(x)

    def _adjoint(self, y):
        return self.of._forward(y)

    @property
    def T(self):
        return self.of

    def _key(self):
        return Transpose, self.of._key()

    def with_tensors(self, tensors):
        return Transpose(self.of.with_tensors(tensors))

    def with_padding(self, padding):
        return Transpose(self.of.with_padding(padding))

    def __repr__(self):
        return f"({self.of!r}).T" if isinstance(self.of, (Product, Sum, Scaled)) else f"{self.of!r}.T"


class Gram(Operator):
    """`A' A`, as `A.T @ A` gives it; symmetric."""

    def __init__(self, of):
        self.of, self.tensors, self.frame, self.maps = of, of.tensors, of.frame, (of.maps[0], of.maps[0])
        top, bottom, left, right = of.reach
        self.reach = top + bottom, top + bottom, left + right, left + right

    def _forward(self, x):
        return self.of._gram(x)

    _adjoint = _forward

    @property
    def T(self):
        return self

    def _key(self):
        return Gram, self.of._key()

    def with_tensors(self, tensors):
        return Gram(self.of.with_tensors(tensors))

    def with_padding(self, padding):
        return Gram(self.of.with_padding(padding))

    def __repr__(self):
        return f"{Transpose(self.of)!r} @ {self.of!r}"


class _Pair(Operator):
    """Two operators side by side or one after the other; tensors are those of the first, then those of the second."""

    def __init__(self, first, second):
        self.first, self.second = first, second
        self.tensors = (*first.tensors, *second.tensors)
        self.frame = tuple(self._common(axis) for axis in range(4))

    def _common(self, axis):
        a, b = self.first.frame[axis], self.second.frame[axis]
        free = (None, 1) if axis < 2 else (None,)
        if a != b and a not in free and b not in free:
            raise ValueError(f"operators do not fit: expected equal {'BCHW'[axis]}, got {a} in {self.first!r} and {b} in {self.second!r}")
        return b if a in free else a

    def _key(self):
        return type(self), self.first._key(), self.second._key()

    def with_tensors(self, tensors):
        n = len(self.first.tensors)
        return type(self)(self.first.with_tensors(tensors[:n]), self.second.with_tensors(tensors[n:]))

    def with_padding(self, padding):
        return type(self)(self.first.with_padding(padding), self.second.with_padding(padding))


class Product(_Pair):
    """`A B`, as `A @ B` gives it: the second operator acts first."""

    def __init__(self, first, second):
        super().__init__(first, second)
        if first.maps[0] != second.maps[1]:
            raise ValueError(f"operators do not fit: {first!r} takes M = {first.maps[0]}, {second!r} gives M = {second.maps[1]}")
        self.maps = second.maps[0], first.maps[1]
        self.reach = tuple(a + b for a, b in zip(first.reach, second.reach))

    def _forward(self, x):
        return self.first._forward(self.second._forward(x))

    def _adjoint(self, y):
        return self.second._adjoint(self.first._adjoint(y))

    def _gram(self, x):
        return self.second._adjoint(self.first._gram(self.second._forward(x)))

    def __repr__(self):
        return " @ ".join(f"({part!r})" if isinstance(part, (Sum, Scaled)) else repr(part) for part in (self.first, self.second))


class Sum(_Pair):
    """`A + B`."""

    def __init__(self, first, second):
        super().__init__(first, second)
        if first.maps != second.maps:
            raise ValueError(f"operators do not fit: {first!r} maps M = {first.maps}, {second!r} maps M = {second.maps} (in, out)")
        self.maps = first.maps
        self.reach = tuple(max(a, b) for a, b in zip(first.reach, second.reach))

    def _forward(self, x):
        return self.first._forward(x) + self.second._forward(x)

    def _adjoint(self, y):
        return self.first._adjoint(y) + self.second._adjoint(y)

    def __repr__(self):
        return f"{self.first!r} + {self.second!r}"


class Scaled(Operator):
    """`a A` with a number, or a tensor [] or [B] (one factor per sample) that may carry gradients."""

    def __init__(self, factor, of):
        if isinstance(factor, torch.Tensor):
            if factor.dim() > 1 or not factor.is_floating_point():
                raise ValueError(f"factor: expected a number or a floating tensor [] or [B], got {factor.dtype} {shape_text(factor)}")
        elif isinstance(factor, numbers.Real):
            factor = float(factor)
        else:
            raise TypeError(f"factor: expected a number or a tensor, got {type(factor).__name__}")
        self.factor, self.of, self.maps, self.reach = factor, of, of.maps, of.reach
        self.tensors, self.frame = of.tensors, of.frame
        if isinstance(factor, torch.Tensor):
            self.tensors = (factor, *of.tensors)
            if factor.dim() == 1 and factor.shape[0] != 1:
                if of.frame[0] not in (1, factor.shape[0]):
                    raise ValueError(f"factor: expected [] or [{of.frame[0]}] for {of!r}, got {shape_text(factor)}")
                self.frame = (factor.shape[0], *of.frame[1:])

    def _scale(self, t, factor):
        if not isinstance(factor, torch.Tensor):
            return t * factor
        if factor.dim() == 1:
            if factor.shape[0] not in (1, t.shape[0]):
                raise ValueError(f"factor: expected [] or [B] = [{t.shape[0]}], got {shape_text(factor)}")
            factor = factor.reshape(-1, *[1] * (t.dim() - 1))
        return t * factor.to(t.dtype)

    def _forward(self, x):
        return self._scale(self.of._forward(x), self.factor)

    def _adjoint(self, y):
        return self._scale(self.of._adjoint(y), self.factor)

    def _gram(self, x):
        return self._scale(self.of._gram(x), self.factor * self.factor)

    def _key(self):
        return Scaled, id(self.factor) if isinstance(self.factor, torch.Tensor) else self.factor, self.of._key()

    def with_tensors(self, tensors):
        if isinstance(self.factor, torch.Tensor):
            return Scaled(tensors[0], self.of.with_tensors(tensors[1:]))
        return Scaled(self.factor, self.of.with_tensors(tensors))

    def with_padding(self, padding):
        return Scaled(self.factor, self.of.with_padding(padding))

    def __repr__(self):
        factor = f"{self.factor:g}" if not isinstance(self.factor, torch.Tensor) else f"tensor{shape_text(self.factor)}"
        return f"{factor} * ({self.of!r})" if isinstance(self.of, (Sum, Product, Gram)) else f"{factor} * {self.of!r}"
