"""How much light the PSFs of an operator let through: what tells a dead one."""
import torch

from svconv._shapes import readable


def sums(weights, axes, signed=True):
    """(sum, sum of magnitudes) over the axes. One pass where the host sees that the sums alone tell enough: that all are positive, and
    what may stand for the magnitudes then."""
    weights = weights.detach()
    wide = torch.float64 if weights.dtype == torch.float64 else torch.float32
    total = weights.sum(axes, dtype=wide) if signed else None
    if signed and readable(total) and bool(((total > 0) & torch.isfinite(total)).all()):
        return total, total
    return total, torch.linalg.vector_norm(weights, 1, axes, dtype=wide)
