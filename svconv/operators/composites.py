"""Operators made of operators: transpose, gram, product, sum, multiple, stack, and one that runs on the continued image."""
import functools
import numbers

import numpy as np
import torch

from svconv._plane import Plane
from svconv._shapes import number, scalar, shape_text
from svconv.operators.base import Operator
from svconv.operators.circulant import collapsed
from svconv.operators.division import per_sample, power


class Composite(Operator):
    """An operator made of `parts`; its tensors are those of the parts in their order. `_of(parts)` makes the same of other parts."""

    def __init__(self, *parts):
        self.parts = parts
        self.tensors = tuple(t for part in parts for t in part.tensors)
        self.frame = tuple(_common(parts, axis) for axis in range(4))
        self.per_channel = all(part.per_channel for part in parts)
        self.wraps = all(part.wraps for part in parts)

    def _of(self, parts):
        return type(self)(*parts)

    def _key(self):
        return (type(self), *(part._key() for part in self.parts))

    def with_tensors(self, tensors):
        tensors = list(tensors)
        parts = []
        for part in self.parts:
            parts.append(part.with_tensors(tensors[:len(part.tensors)]))
            del tensors[:len(part.tensors)]
        return self._of(parts)

    def with_padding(self, padding):
        return self._of([part.with_padding(padding) for part in self.parts])

    def misfit(self, dtype):
        return next((wrong for part in self.parts if (wrong := part.misfit(dtype)) is not None), None)

    def light(self):
        """Of a product; sums say their own."""
        total, size = 1, 1
        for t, s in (part.light() for part in self.parts):
            total, size = total * t, size * s
        return total, size

    def dead_part(self, sample, channel):
        return next(filter(None, (part.dead_part(sample, channel) for part in self.parts)), "")

    def kept(self, size):
        return collapsed(self, size) or self._of([part.kept(size) for part in self.parts])

    def on(self, plane):
        parts = [part.on(plane) for part in self.parts]
        return None if any(part is None for part in parts) else self._of(parts).kept(plane.size)

    def lengths(self, size):
        return functools.reduce(lambda lengths, part: part.lengths(lengths), self.parts, tuple(size))

    def _transfers(self, size):
        """The spectrum of each part, or None if one has none."""
        found = []
        for part in self.parts:
            found.append(part._transfer(size))
            if found[-1] is None:
                return None
        return found


def _common(parts, axis):
    """The size of an axis that all parts share."""
    free, size, owner = (None, 1) if axis < 2 else (None,), parts[0].frame[axis], parts[0]
    for part in parts[1:]:
        other = part.frame[axis]
        if size in free:
            size, owner = other, part
        elif other != size and other not in free:
            raise ValueError(f"operators do not fit: expected equal {'BCHW'[axis]}, got {size} in {owner!r} and {other} in {part!r}")
    return size


def _added(parts):
    """Of a sum: a difference may well be negative, which only a sum of negative PSFs says of itself."""
    totals, sizes = zip(*(part.light() for part in parts))
    size, positive = sum(sizes), sum((t > 0) for t in totals) > 0
    return torch.where(positive, size, sum(totals)), size


def _conjugate(spectrum):
    return spectrum.conj() if isinstance(spectrum, torch.Tensor) else spectrum


class Transpose(Composite):
    """`A'`, as `A.T` gives it."""

    def __init__(self, of):
        super().__init__(of)
        top, bottom, left, right = of.reach
        self.of, self.maps, self.reach = of, of.maps[::-1], (bottom, top, right, left)

    def _forward(self, x):
        return self.of._adjoint(x)

    def _adjoint(self, y):
        return self.of._forward(y)

    def _transfer(self, size):
        return _conjugate(self.of._transfer(size))

    @property
    def T(self):
        return self.of

    def __repr__(self):
        return f"({self.of!r}).T" if isinstance(self.of, (Product, Sum, Scaled)) else f"{self.of!r}.T"


class Gram(Composite):
    """`A' A`, as `A.T @ A` gives it; symmetric."""

    def __init__(self, of):
        super().__init__(of)
        top, bottom, left, right = of.reach
        self.of, self.maps, self.reach = of, (of.maps[0], of.maps[0]), (top + bottom, top + bottom, left + right, left + right)

    def _forward(self, x):
        return self.of._gram(x)

    _adjoint = _forward

    def light(self):
        _, size = self.of.light()
        return size * size, size * size

    def _transfer(self, size):
        spectrum = self.of._transfer(size) if self.of.maps == (None, None) else None
        if isinstance(spectrum, torch.Tensor):
            return torch.complex(power(spectrum), torch.zeros_like(spectrum.real))
        return None if spectrum is None else power(spectrum)

    @property
    def T(self):
        return self

    def __repr__(self):
        return f"{Transpose(self.of)!r} @ {self.of!r}"


class Product(Composite):
    """`A B`, as `A @ B` gives it: the second operator acts first."""

    def __init__(self, first, second):
        super().__init__(first, second)
        if first.maps[0] != second.maps[1]:
            raise ValueError(f"operators do not fit: {first!r} takes M = {first.maps[0]}, {second!r} gives M = {second.maps[1]}")
        self.first, self.second, self.maps = first, second, (second.maps[0], first.maps[1])
        self.reach = tuple(a + b for a, b in zip(first.reach, second.reach))

    def _forward(self, x):
        return self.first._forward(self.second._forward(x))

    def _adjoint(self, y):
        return self.second._adjoint(self.first._adjoint(y))

    def _gram(self, x, weights=None):
        return self.second._adjoint(self.first._gram(self.second._forward(x), weights))

    def _transfer(self, size):
        found = self._transfers(size)
        return None if found is None else found[0] * found[1]

    def __repr__(self):
        return " @ ".join(f"({part!r})" if isinstance(part, (Sum, Scaled)) else repr(part) for part in self.parts)


def product(first, second):
    """`first @ second`; a transpose followed by its operator becomes one Gram."""
    if isinstance(first, Transpose) and first.of._key() == second._key():
        return Gram(second)
    if isinstance(first, Scaled) and isinstance(first.of, Transpose) and first.of.of._key() == second._key():
        return Scaled(first.factor, Gram(second))
    if isinstance(first, Product) and isinstance(first.second, Transpose) and first.second.of._key() == second._key():
        return Product(first.first, Gram(second))
    return Product(first, second)


class Sum(Composite):
    """`A + B`."""

    def __init__(self, first, second):
        super().__init__(first, second)
        if first.maps != second.maps:
            raise ValueError(f"operators do not fit: {first!r} maps M = {first.maps}, {second!r} maps M = {second.maps} (in, out)")
        self.first, self.second, self.maps = first, second, first.maps
        self.reach = tuple(max(a, b) for a, b in zip(first.reach, second.reach))

    def _forward(self, x):
        return self.first._forward(x) + self.second._forward(x)

    def _adjoint(self, y):
        return self.first._adjoint(y) + self.second._adjoint(y)

    def light(self):
        return _added(self.parts)

    def _transfer(self, size):
        found = self._transfers(size)
        return None if found is None else found[0] + found[1]

    def __repr__(self):
        return f"{self.first!r} + {self.second!r}"


class Scaled(Composite):
    """`a A` with a number, or a tensor [] or [B] (one factor per sample) that may carry gradients."""

    def __init__(self, factor, of):
        super().__init__(of)
        if isinstance(factor, torch.Tensor) and not factor.is_floating_point():
            factor = scalar(factor)
        if isinstance(factor, torch.Tensor):
            if factor.dim() > 1 or not factor.is_floating_point():
                raise ValueError(f"factor: expected a number or a floating tensor [] or [B], got {factor.dtype} {shape_text(factor)}")
        elif isinstance(factor, numbers.Number | np.generic | np.ndarray):
            factor = number("factor", factor)
        else:
            raise TypeError(f"factor: expected a number or a tensor, got {type(factor).__name__}")
        self.factor, self.of, self.maps, self.reach = factor, of, of.maps, of.reach
        if isinstance(factor, torch.Tensor):
            self.tensors = (factor, *of.tensors)
            if factor.dim() == 1 and factor.shape[0] != 1:
                if of.frame[0] not in (1, factor.shape[0]):
                    raise ValueError(f"factor: expected [] or [{of.frame[0]}] for {of!r}, got {shape_text(factor)}")
                self.frame = (factor.shape[0], *of.frame[1:])

    @property
    def reaches(self):
        return self.of.reaches

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

    def _gram(self, x, weights=None):
        return self._scale(self.of._gram(x, weights), self.factor * self.factor)

    def _transfer(self, size):
        spectrum = self.of._transfer(size)
        if spectrum is None or (isinstance(self.factor, torch.Tensor) and not isinstance(spectrum, torch.Tensor)):
            return None
        return spectrum * per_sample(self.factor)

    def light(self):
        factor = self.factor.detach().reshape(-1, 1) if isinstance(self.factor, torch.Tensor) else self.factor
        total, size = self.of.light()
        return factor * total, abs(factor) * size

    def _key(self):
        return Scaled, id(self.factor) if isinstance(self.factor, torch.Tensor) else self.factor, self.of._key()

    def _of(self, parts):
        return Scaled(self.factor, *parts)

    def with_tensors(self, tensors):
        if isinstance(self.factor, torch.Tensor):
            return Scaled(tensors[0], self.of.with_tensors(tensors[1:]))
        return super().with_tensors(tensors)

    def __repr__(self):
        factor = f"{self.factor:g}" if not isinstance(self.factor, torch.Tensor) else f"tensor{shape_text(self.factor)}"
        return f"{factor} * ({self.of!r})" if isinstance(self.of, (Sum, Product, Gram)) else f"{factor} * {self.of!r}"


class Continued(Composite):
    """An operator of any image size on the image continued by its reach: that operator with the boundary rule `padding`."""

    def __init__(self, of, padding):
        super().__init__(of)
        self.of, self.padding, self.maps, self.reach = of, padding, of.maps, of.reach
        self.wraps = padding == "circular"

    def _plane(self, t):
        (height, width), (top, bottom, left, right) = t.shape[-2:], self.reach
        return Plane((height, width), self.reach, (height + top + bottom, width + left + right), self.padding)

    def _forward(self, x):
        plane = self._plane(x)
        return plane.leave(self.of._forward(plane.enter(x)))

    def _adjoint(self, y):
        plane = self._plane(y)
        return plane.enter_adjoint(self.of._adjoint(plane.leave_adjoint(y)))

    def _key(self):
        return Continued, self.padding, self.of._key()

    def _of(self, parts):
        return Continued(*parts, self.padding)

    def with_padding(self, padding):
        return self.of.with_padding(padding)

    def kept(self, size):
        return self

    def on(self, plane):
        return self.of.on(plane)

    def __repr__(self):
        return f"Continued({self.of!r}, padding={self.padding!r})"


class Stack(Composite):
    """Several images of one scene, as `svconv.stack` gives it: the outputs side by side on the axis M."""

    def __init__(self, *parts):
        super().__init__(*parts)
        if any(part.maps[0] != parts[0].maps[0] for part in parts):
            given = ", ".join(str(part.maps[0]) for part in parts)
            raise ValueError(f"operators do not fit: expected the same M at the input of all, got {given}")
        self.sizes = [part.maps[1] or 1 for part in parts]
        self.maps = parts[0].maps[0], sum(self.sizes)
        self.reach = tuple(max(reaches) for reaches in zip(*(part.reach for part in parts)))

    def _split(self, y):
        """The share of each part in y [B, C, M, H, W], as that part gives it."""
        return [share.squeeze(2) if part.maps[1] is None else share for part, share in zip(self.parts, y.split(self.sizes, 2))]

    def _forward(self, x):
        outputs = [part._forward(x) for part in self.parts]
        return torch.cat([y if part.maps[1] is not None else y.unsqueeze(2) for part, y in zip(self.parts, outputs)], 2)

    def _adjoint(self, y):
        return sum(part._adjoint(share) for part, share in zip(self.parts, self._split(y)))

    def _gram(self, x, weights=None):
        shares = [None] * len(self.parts) if weights is None else self._split(weights)
        return sum(part._gram(x, share) for part, share in zip(self.parts, shares))

    def light(self):
        return _added(self.parts)

    def __repr__(self):
        return "stack([" + ", ".join(map(repr, self.parts)) + "])"


def stack(operators):
    """Several images of one scene as one operator: the outputs side by side on the axis M, where an operator without that axis gives one.

    Args:
        operators: operators with the same input.

    Returns:
        An operator [B, C, H, W] -> [B, C, M, H, W]; its adjoint adds what comes back from every image.

    Raises:
        ValueError, TypeError: none given, one that is no operator, or inputs that differ.

    >>> import torch, svconv
    >>> short, long = svconv.Identity(), svconv.Conv(torch.full((1, 1, 9), 1 / 9))
    >>> A, x = svconv.stack([short, long]), torch.rand(1, 3, 16, 16)
    >>> A(x).shape, torch.allclose(A.adjoint(A(x)), x + long.gram(x), atol=1e-5)
    (torch.Size([1, 3, 2, 16, 16]), True)
    """
    operators = list(operators)
    if not operators:
        raise ValueError("operators: expected at least one, got none")
    for op in operators:
        if not isinstance(op, Operator):
            raise TypeError(f"operators: expected operators, got {type(op).__name__}")
    return Stack(*operators)
