"""Circular convolution on planes of one size, given by its spectrum."""
import functools

import torch

from svconv.operators.base import Operator
from svconv.operators.division import power, transform, untransform


class Circulant(Operator):
    """What `on` and `kept` make of an operator that is a circular convolution on planes of `size`: a product with its half spectrum.

    Args:
        spectrum: complex, [B|1, C|1, H, W//2+1].
        size: (H, W). reach: that of the operator it is made of.
    """

    def __init__(self, spectrum, size, reach):
        spectrum = spectrum.resolve_conj()
        self.spectrum, self.size, self.reach = spectrum, tuple(size), reach
        self.frame, self.tensors = (*spectrum.shape[:2], *self.size), (torch.view_as_real(spectrum),)

    def _filter(self, x, factor):
        if x.dtype != self.tensors[0].dtype:
            raise TypeError(f"x: expected dtype {self.tensors[0].dtype} like the operator, got {x.dtype}")
        spectrum = transform(x)
        return untransform(spectrum * factor if torch.is_grad_enabled() else spectrum.mul_(factor), self.size)

    def _forward(self, x):
        return self._filter(x, self.spectrum)

    def _adjoint(self, y):
        return self._filter(y, self._conjugate)

    def _gram(self, x, weights=None):
        if weights is None:
            return self._filter(x, self._power)
        y = self._forward(x)
        return self._adjoint(weights * y if torch.is_grad_enabled() else y.mul_(weights))

    @functools.cached_property
    def _conjugate(self):
        return self.spectrum.conj_physical()

    @functools.cached_property
    def _power(self):
        return power(self.spectrum)

    def _transfer(self, size):
        return self.spectrum if tuple(size) == self.size else None

    wraps = True

    def light(self):
        return self.spectrum[..., 0, 0].real, self.spectrum.abs().amax((-2, -1))

    def with_tensors(self, tensors):
        return Circulant(torch.view_as_complex(tensors[0].contiguous()), self.size, self.reach)

    def with_padding(self, padding):
        return self if padding == "circular" else super().with_padding(padding)

    def __repr__(self):
        return f"Circulant({list(self.frame)}, {str(self.tensors[0].dtype)[6:]})"


def collapsed(op, size):
    """The circular convolution that `op` is on images of `size`, by its spectrum; None if it is none, or a multiple of the identity."""
    transfer = op._transfer(size)
    return Circulant(transfer, size, op.reach) if isinstance(transfer, torch.Tensor) else None
