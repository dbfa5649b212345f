"""Inner products and norms of independent problems, over all but the first axes, at any magnitude."""
import torch


def dots(u, v, scratch=None, apart=1):
    """Inner products over all but the first `apart` axes. torch sums in a tree; one long float32 accumulation (bmm, vector_norm) is 1e-3
    off for large images."""
    product = u * v if scratch is None else torch.mul(u, v, out=scratch)
    return _rows(product, apart).sum(-1)


def _rows(t, apart):
    return t.reshape(*t.shape[:apart], t.shape[apart:].numel())


def column(t, like):
    """One value for each problem, [B] or [B, C], as a factor of `like`."""
    return t.reshape(*t.shape, *[1] * (like.dim() - t.dim()))


def unit(*tensors, apart=1):
    """The power of two, one for each problem, that brings the largest magnitude in the tensors to 0.5 .. 1: squares of products with it
    neither under- nor overflow, and multiplying by it changes no bit of a mantissa. 1 where there is nothing, NaN or infinity."""
    first = tensors[0]
    if first.numel() == 0:
        return first.new_ones(first.shape[:apart])
    largest = _largest(first, apart)
    for t in tensors[1:]:
        largest = torch.maximum(largest, _largest(t, apart))
    limit = 126 if first.dtype == torch.float32 else 1022       # so that its inverse is a normal number too
    exponent = torch.where(torch.isfinite(largest), torch.frexp(largest).exponent, 0).clamp(-limit, limit)
    return torch.ldexp(torch.ones_like(largest), -exponent)


def _largest(t, apart):
    """The largest magnitudes; vector_norm takes ten times as long."""
    rows = _rows(t, apart)
    return torch.maximum(rows.amax(-1), -rows.amin(-1))


def norms(t, apart=1):
    """Euclidean norms over all but the first `apart` axes."""
    scale = unit(t, apart=apart)
    scaled = t * column(scale, t)
    return dots(scaled, scaled, apart=apart).sqrt() / scale


def change(new, old):
    """[B]: `|new - old| / |new|` of each sample; 0 where both are 0."""
    size, step = norms(new), norms(new - old)
    return torch.where(step == 0, 0, step / size)
