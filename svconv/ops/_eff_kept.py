"""What a backend prepares of the kernels of the eff family, kept between calls of one operator."""
import sys

import torch

from svconv import backends
from svconv._shapes import watched

_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}


class KeptSpectra:
    """The spectra of one set of kernels. They belong to the values that the kernels had, of which a copy is kept and compared bit by bit
    at every call, so that a change is seen however it was made. Copies and pickles of it are empty."""

    def __init__(self):
        self._kept = None

    def __reduce__(self):
        return KeptSpectra, ()

    @property
    def bytes(self):
        """Of the spectra and of the copy of the kernels; 0 when nothing is kept."""
        return 0 if self._kept is None else sum(t.numel() * t.element_size() for t in self._kept[1:])

    def run(self, name, op, image, kernels, form, padding, grid, forced):
        """As `op`, the op `name`, on an image and kernels of one dtype; with kept spectra where the backend that runs has some and nothing
        looks through the op: no gradient, transform, tracing or mode."""
        options = form, padding, *grid.options
        implementation = None if watched(image, kernels) or 0 in (image.numel(), kernels.numel()) else backends.choose(
            "eff", name, image.device, forced, (image, kernels, *options))
        prepare = implementation and getattr(sys.modules[implementation.__module__], "eff_spectra", None)
        if prepare is None:
            return op(image, kernels, *options, forced)
        return implementation(image, kernels, *options, spectra=self._spectra(prepare, kernels, form, padding, grid))

    def _spectra(self, prepare, kernels, form, padding, grid):
        made_for, kept = (form, padding, grid), self._kept
        if kept is None or kept[0] != made_for or not _same_bits(kept[1], kernels):
            self._kept = None           # before the new ones are made: never two sets in memory
            with torch.no_grad():
                self._kept = kept = made_for, kernels.detach().resolve_neg().clone(), prepare(kernels, form, padding, grid)
        return kept[2]


def _same_bits(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a.view(_BITS[a.dtype]), b.detach().resolve_neg().view(_BITS[b.dtype]))
