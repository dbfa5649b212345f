"""The filters of a large image band by band, written where the solver wants them: without gradients nothing else has to be kept."""
import torch

BAND = 1 << 17      # pixels of a band, about
LEAST = 1 << 17     # pixels of an image from which bands are used
WIDE = 4            # times the rows that a band loses at its edges: the least it has


def pays(guide):
    """Whether `predicted` should go by bands: nothing is differentiated, and the image is large."""
    return not torch.is_grad_enabled() and not torch.compiler.is_compiling() and guide.shape[-2] * guide.shape[-1] > LEAST


def predicted(predictor, guide, plane=None):
    """`predictor(guide)` of a `FilterPredictor`, contiguous; with a `Plane` that the guide stands on, continued over it by the filters of
    the nearest pixel. The result is that of one pass but for rounding."""
    height, width = guide.shape[-2:]
    top, bottom, left, right = (0, 0, 0, 0) if plane is None else plane.margins
    out, reach = None, sum(isinstance(layer, torch.nn.Conv2d) for layer in predictor.layers)
    rows = max(BAND // width, WIDE * reach)
    for start in range(0, height, rows):
        stop = min(height, start + rows)
        first, last = max(0, start - reach), min(height, stop + reach)
        found = predictor(guide[..., first:last, :]).flatten(1, 4)[..., start - first:stop - first, :]
        if out is None:
            out = found.new_empty((*found.shape[:2], top + height + bottom, left + width + right))
        out[..., top + start:top + stop, left:left + width] = found
        del found
    _continue(out, -1, left, right)
    _continue(out, -2, top, bottom)
    return out.unflatten(1, (predictor.channels, predictor.filters, predictor.size, predictor.size))


def _continue(t, axis, before, after):
    """Fills the first and the last places of an axis with what stands beside them."""
    length = t.shape[axis]
    t.narrow(axis, 0, before).copy_(t.narrow(axis, before, 1).expand_as(t.narrow(axis, 0, before)))
    t.narrow(axis, length - after, after).copy_(t.narrow(axis, length - after - 1, 1).expand_as(t.narrow(axis, length - after, after)))
