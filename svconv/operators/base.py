"""The base of the linear operators: what they have in common, what solvers ask of them, and arithmetic with them."""
import numbers

import torch

from svconv._boundary import canonical_padding
from svconv._shapes import Dims, number, scalar, shape_text, unify
from svconv.operators.division import divided


class Operator:
    """A linear map of images, [B, C, H, W] or [B, C, M, H, W] on either side, known by its forward, its exact adjoint and its tensors.

    `A @ B`, `A.T`, `a * A`, `A / a`, `A + B`, `A - B`, `sum([A, B])` and `svconv.stack([A, B])` are operators again; `A @ x` is `A(x)`;
    `A.T @ A` runs as `A.gram`. The height and width of image stay the same; a batch or channel number of 1 in an operator's tensors
    serves any number.

    A new operator sets the attributes below and defines `_forward(x)`, `_adjoint(y)` and, if it has tensors, `with_tensors(tensors)`. Where
    it can do better than the base: `_gram(x, weights)` in one pass, `with_padding(padding)`, and for solvers `_transfer(size)` (it is
    a circular convolution), `kept(size)`, `on(plane)`, `lengths(size)`, `divide(y, beta, prior)`, `begin(y, beta, prior)`.

    Attributes:
        tensors: every tensor it is made of (the `params` of `svconv.solvers.cg`).
        frame: (B, C, H, W) as its tensors fix them; 1 serves any B or C, None is any H or W.
        maps: (in, out), the length of the axis M on either side, None where there is none.
        reach: (top, bottom, left, right), how far the inputs of one output pixel lie from it.
        per_channel: whether each output channel depends on its own input channel only.
        spectrum: of a circular convolution made by `on` or `kept`, [B|1, C|1, H, W//2+1]; None otherwise.
        reaches: as `reach` for each output pixel, four numbers or tensors [B|1, C|1, H, W], where the operator knows better.
        wraps: whether the image goes on as on a torus, or nothing reaches over its edges.
    """

    tensors = ()
    frame = (1, 1, None, None)
    maps = (None, None)
    reach = (0, 0, 0, 0)
    per_channel = True
    spectrum = None
    wraps = False

    @property
    def reaches(self):
        return self.reach

    # the map ----------------------------------------------------------------------------------------------------------

    def __call__(self, x):
        """`A x`: [B, C, H, W] -> [B, C, H, W] (or with an axis M)."""
        return self._forward(x)

    def adjoint(self, y):
        """`A' y`, the exact transpose of the call."""
        return self._adjoint(y)

    def gram(self, x, weights=None):
        """`A' W A x`, in one pass where the operator has one.

        Args:
            x: like the input of the call.
            weights: None (all ones) or the diagonal of W like the output, [B|1, C|1, H, W] or [B|1, C|1, M, H, W], dtype of x.

        Returns:
            Like x.

        >>> import torch, svconv
        >>> A, x, w = svconv.Conv(torch.rand(1, 3, 3)), torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8)
        >>> torch.allclose(A.gram(x, w), A.adjoint(w * A(x)), atol=1e-6)
        True
        """
        if weights is not None:
            x, (weights,) = unify("x", x, {"weights": self._checked_weights(x, weights)})
        return self._gram(x, weights)

    def _checked_weights(self, x, weights):
        dims, many = Dims(), self.maps[1]
        dims.bind("x", **dict(zip("BC", x.shape)), **dict(zip("HW", x.shape[-2:])))
        dims.bind(repr(self), M=many)
        dims.check("weights", weights, "B? C? H W" if many is None else "B? C? M H W")
        return weights

    def _gram(self, x, weights=None):
        y = self._forward(x)
        return self._adjoint(y if weights is None else weights * y)

    def _key(self):
        """Equal for two composites of the same operators."""
        return id(self)

    # the same operator, otherwise made --------------------------------------------------------------------------------

    def with_tensors(self, tensors):
        """The same operator made of other tensors, in the order of `tensors`."""
        if not self.tensors:
            return self
        raise TypeError(f"{type(self).__name__} does not say how it is made of other tensors")

    def with_padding(self, padding):
        """The same operator with another boundary rule in every part that has one.

        Without a rule of its own an operator of any image size runs on the image continued by its reach.
        """
        padding = canonical_padding(padding)
        if not any(self.reach):
            return self
        if self.frame[2:] != (None, None):
            raise ValueError(f"padding: {self!r} has no other boundary rule")
        from svconv.operators.composites import Continued
        return Continued(self, padding)

    def to(self, *args, **kwargs):
        """The same operator on another device or in another dtype, as in `torch.Tensor.to`."""
        return self.with_tensors([t.to(*args, **kwargs) for t in self.tensors])

    def double(self):
        """The same operator in float64."""
        return self.to(torch.float64)

    def detach(self):
        """The same operator, cut from the graph of its tensors."""
        return self.with_tensors([t.detach() for t in self.tensors])

    def requires_grad_(self, requires_grad=True):
        """Sets it for every tensor, in place; returns the operator."""
        for t in self.tensors:
            t.requires_grad_(requires_grad)
        return self

    @property
    def dtype(self):
        """That of its tensors, the widest if they differ; None without tensors."""
        wide = None
        for t in self.tensors:
            wide = t.dtype if wide is None else torch.promote_types(wide, t.dtype)
        return wide

    @property
    def device(self):
        """That of its tensors, None without."""
        return self.tensors[0].device if self.tensors else None

    @property
    def shape(self):
        """(rows, columns) of the matrix on the smallest input that its tensors allow; None where they leave the image size open."""
        if None in self.frame:
            return None
        batch, channels, height, width = self.frame
        pixels = batch * channels * height * width
        return tuple(pixels * (many or 1) for many in self.maps[::-1])

    # for solvers ------------------------------------------------------------------------------------------------------

    def kept(self, size):
        """The same operator for images of `size` with what it can prepare for them kept; itself where that is nothing."""
        return self

    def on(self, plane):
        """The operator on a `Plane`, circular there, with what it can prepare kept; None where its tensors fix another size or rule."""
        if self.frame[2:] not in ((None, None), tuple(plane.size)):
            return None
        try:
            circular = self.with_padding("circular")
        except ValueError:
            return None
        return circular.kept(plane.size)

    def lengths(self, size):
        """The sides, at least `size`, that a plane should have for this operator to be fast."""
        return tuple(size)

    def misfit(self, dtype):
        """The dtype of the first of its tensors that may not stand beside images of `dtype`; None where all may."""
        return next((t.dtype for t in self.tensors if t.is_floating_point() and t.dtype != dtype), None)

    def light(self):
        """(sum, sum of magnitudes) of the weights of each sample's and channel's PSF, [B|1, C|1] on any scale.

        Without a rule of its own an operator says (1, 1), or NaN where one of its tensors is not finite.
        """
        one = torch.ones((1, 1), device=self.device)
        for t in self.tensors:
            one = one + 0 * t.detach().sum(dtype=torch.float64)
        return one, one

    def dead_part(self, sample, channel):
        """Which of several PSFs of a sample and channel `light` speaks of, for an error; empty where there is one."""
        return ""

    def divide(self, y, beta, prior="identity"):
        """`argmin_x |A x - y|^2 + beta sum_j |d_j * x|^2` in closed form where A is a circular convolution; None where it is not.

        Args:
            y: [B, C, H, W]. beta: > 0; a number, a 0-d tensor or [B].
            prior: "identity", "gradient" (circular differences of neighbours) or filters [J, fh, fw] (circular).

        Returns:
            Like y, with gradients in y, beta, prior and the operator's tensors; or None.
        """
        transfer = self._transfer(tuple(y.shape[-2:])) if self.maps == (None, None) else None
        return None if transfer is None else divided(y, transfer, beta, prior)

    def begin(self, y, beta, prior="identity"):
        """An image near what `divide` asks for, from which iterations start where there is no closed form; None where none is at hand.

        Args:
            y, beta, prior: as in `divide`.

        Returns:
            Like the operator's input, or None.
        """
        return None

    def _transfer(self, size):
        """The half spectrum [B|1, C|1, H, W//2+1] where it is a circular convolution on images of `size`, a number where it is that
        multiple of the identity, None otherwise."""
        return None

    # arithmetic -------------------------------------------------------------------------------------------------------

    @property
    def T(self):
        """The transpose as an operator."""
        from svconv.operators.composites import Transpose
        return Transpose(self)

    @property
    def H(self):
        """The same as `T`: everything is real."""
        return self.T

    def __matmul__(self, other):
        if isinstance(other, torch.Tensor):
            return self(other)
        if not isinstance(other, Operator):
            return NotImplemented
        from svconv.operators.composites import product
        return product(self, other)

    def __add__(self, other):
        if not isinstance(other, Operator):
            return NotImplemented
        from svconv.operators.composites import Sum
        return Sum(self, other)

    def __radd__(self, other):
        other = scalar(other)
        return self if isinstance(other, numbers.Number) and other == 0 else NotImplemented    # sum([A, B]) starts from 0

    def __sub__(self, other):
        return self + -other if isinstance(other, Operator) else NotImplemented

    def __neg__(self):
        return self * -1.0

    def __mul__(self, factor):
        if isinstance(factor, Operator):
            return NotImplemented
        if isinstance(factor, torch.Tensor) and factor.dim() > 2:
            raise TypeError(f"factor: expected a number or a tensor [] or [B], got {shape_text(factor)}; "
                            "to apply an operator A to an image x use A(x)")
        from svconv.operators.composites import Scaled
        return Scaled(factor, self)

    __rmul__ = __mul__
    __array_ufunc__ = None  # numpy scalars leave `a * op` to us

    def __truediv__(self, divisor):
        if isinstance(divisor, Operator):
            return NotImplemented
        return self * (1 / (divisor if isinstance(divisor, torch.Tensor) else scalar(divisor)))

    # sizes and tests --------------------------------------------------------------------------------------------------

    def input_shape(self, shape=None):
        """The full input shape: from the tensors, or `shape` ((H, W) or all axes) checked against them."""
        batch, channels, height, width = self.frame
        middle = () if self.maps[0] is None else (self.maps[0],)
        if shape is None:
            if height is None:
                raise ValueError(f"shape: expected the input shape, because the tensors of {self!r} do not fix it; got None")
            return (batch, channels, *middle, height, width)
        given = tuple(number("shape", n, integer=True) for n in shape)
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
    """The identity, for example in `A.T @ A + beta * Identity()`.

    Args:
        maps: None for images [B, C, H, W]; M for [B, C, M, H, W].
    """

    wraps = True

    def __init__(self, maps=None):
        maps = None if maps is None else number("maps", maps, least=1, integer=True)
        self.maps = maps, maps

    def _forward(self, x):
        return x

    _adjoint = _forward

    def _gram(self, x, weights=None):
        return x if weights is None else weights * x

    def _transfer(self, size):
        return 1.0

    def __repr__(self):
        return f"Identity({'' if self.maps[0] is None else self.maps[0]})"
