"""What people write today instead of pixel_filter, for padding "zeros": shift loops, unfold and einsum, PyLops.

Shapes as in svconv.ops: x [B, C, H, W], filters [B|1, C|1, M, kh, kw, H, W].
"""
import functools

import torch
import torch.nn.functional as F

from ..measure import Skip, require_memory


def pad(x, kh, kw):
    top, left = (kh - 1) // 2, (kw - 1) // 2
    return F.pad(x, (left, kw - 1 - left, top, kh - 1 - top))


def crop(plane, kh, kw, h, w):
    top, left = (kh - 1) // 2, (kw - 1) // 2
    return plane[..., top:top + h, left:left + w].contiguous()


def _taps(filters):
    kh, kw, h, w = filters.shape[3:]
    return [(i, j, slice(i, i + h), slice(j, j + w)) for i in range(kh) for j in range(kw)]


# the in-place shift loop, the honest baseline -------------------------------------------------------------

def shift_loop(x, filters):
    """One `addcmul_` per tap: no temporaries, reads every filter value once and y once per tap."""
    m, kh, kw, h, w = filters.shape[2:]
    wide = pad(x, kh, kw).unsqueeze(2)
    y = x.new_zeros((*x.shape[:2], m, h, w))
    for i, j, rows, columns in _taps(filters):
        y.addcmul_(filters[:, :, :, i, j], wide[..., rows, columns])
    return y


def shift_loop_adjoint(y, filters):
    """One `addcmul_` per tap and filter into a shifted window of the plane."""
    m, kh, kw, h, w = filters.shape[2:]
    plane = y.new_zeros((*y.shape[:2], h + kh - 1, w + kw - 1))
    for i, j, rows, columns in _taps(filters):
        for n in range(m):
            plane[..., rows, columns].addcmul_(filters[:, :, n, i, j], y[:, :, n])
    return crop(plane, kh, kw, h, w)


def shift_loop_gram(x, filters):
    """Two shift loops: the filters are read twice."""
    return shift_loop_adjoint(shift_loop(x, filters), filters)


def shift_loop_filter_gradient(x, g, filters):
    """One product per tap, written straight into the gradient."""
    kh, kw = filters.shape[3:5]
    wide = pad(x, kh, kw).unsqueeze(2)
    gradient = torch.empty_like(filters)
    summed = [axis for axis in (0, 1) if filters.shape[axis] != g.shape[axis]]
    for i, j, rows, columns in _taps(filters):
        if summed:
            gradient[:, :, :, i, j] = (g * wide[..., rows, columns]).sum(summed, keepdim=True)
        else:
            torch.mul(g, wide[..., rows, columns], out=gradient[:, :, :, i, j])
    return gradient


class HandWrittenShiftLoop(torch.autograd.Function):
    """The shift loop with the backward that a careful author would write."""

    @staticmethod
    def forward(ctx, x, filters):
        ctx.save_for_backward(x, filters)
        return shift_loop(x, filters)

    @staticmethod
    def backward(ctx, g):
        x, filters = ctx.saved_tensors
        return shift_loop_adjoint(g, filters), shift_loop_filter_gradient(x, g, filters)


def autograd_shift_loop(x, filters):
    """The shift loop left to autograd, in its best form: `unbind` costs one stack in the backward, indexing a full copy per tap."""
    m, kh, kw, h, w = filters.shape[2:]
    wide = pad(x, kh, kw).unsqueeze(2)
    y = x.new_zeros((*x.shape[:2], m, h, w))
    for tap, (_, _, rows, columns) in zip(filters.flatten(3, 4).unbind(3), _taps(filters), strict=True):
        y.addcmul_(tap, wide[..., rows, columns])
    return y


# unfold and einsum ------------------------------------------------------------------------------------------

def _unfolded(x, filters):
    kh, kw, h, w = filters.shape[3:]
    return F.unfold(pad(x, kh, kw), (kh, kw)).reshape(*x.shape[:2], 1, kh * kw, h, w)


def unfold_multiply(x, filters):
    """`unfold`, multiply, sum over the taps."""
    require_memory(_unfold_bytes(x, filters) + _product_bytes(x, filters), x.device)
    return (filters.flatten(3, 4) * _unfolded(x, filters)).sum(3)


def unfold_einsum(x, filters):
    """`unfold`, then `einsum` over the taps."""
    require_memory(2 * _unfold_bytes(x, filters) + _product_bytes(x, filters), x.device)
    taps = filters.flatten(3, 4).expand(x.shape[0], x.shape[1], -1, -1, -1, -1)
    return torch.einsum("bcmthw,bcthw->bcmhw", taps, _unfolded(x, filters).squeeze(2))


def windows_einsum(x, filters):
    """`einsum` over a strided view of all windows (`Tensor.unfold`)."""
    kh, kw = filters.shape[3:5]
    require_memory(2 * _unfold_bytes(x, filters) + _product_bytes(x, filters), x.device)
    windows = pad(x, kh, kw).unfold(2, kh, 1).unfold(3, kw, 1)
    taps = filters.expand(x.shape[0], x.shape[1], *filters.shape[2:])
    return torch.einsum("bcmijhw,bchwij->bcmhw", taps, windows)


def fold_multiply(y, filters):
    """The adjoint of `unfold_multiply`: multiply, sum over M, `fold`."""
    m, kh, kw, h, w = filters.shape[2:]
    b, c = y.shape[:2]
    require_memory(2 * _product_bytes(y, filters), y.device)
    columns = (filters.flatten(3, 4) * y.unsqueeze(3)).sum(2)
    plane = F.fold(columns.reshape(b, c * kh * kw, h * w), (h + kh - 1, w + kw - 1), (kh, kw))
    return crop(plane, kh, kw, h, w)


def _unfold_bytes(x, filters):
    return x.numel() * x.element_size() * filters.shape[3] * filters.shape[4]


def _product_bytes(x, filters):
    return x.shape[0] * x.shape[1] * filters[0, 0].numel() * x.element_size()


# other libraries and the compiler ---------------------------------------------------------------------------

@functools.cache
def _compiled(function):
    return torch.compile(function, dynamic=False)


def compiled(function, filters, most_taps=49):
    """torch.compile of a baseline; loops over more taps than `most_taps` take minutes to compile and are skipped."""
    taps = filters.shape[3] * filters.shape[4]
    if taps > most_taps:
        raise Skip(f"torch.compile unrolls {taps} taps; not tried above {most_taps}")
    return _compiled(function)


def pylops_operators(x, filters):
    """PyLops NonStationaryConvolve2D on the numba engine, one per filter, with one filter at every pixel.

    PyLops interpolates a coarse grid of filters. With a grid as fine as the image its `rmatvec` (gather) is pixel_filter and
    its `matvec` (scatter) the adjoint, for one channel and odd kernels; it still reads and weighs four filters per pixel.
    """
    try:
        import numba
        import numpy as np
        from pylops.signalprocessing import NonStationaryConvolve2D
    except ImportError as error:
        raise Skip(f"PyLops with numba is not installed ({error})") from None
    if x.device.type != "cpu":
        raise Skip("the numba engine runs on the CPU")
    m, kh, kw, h, w = filters.shape[2:]
    if kh % 2 == 0 or kw % 2 == 0 or x.shape[:2] != (1, 1):
        raise Skip("PyLops filters one channel with odd kernels")
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    require_memory(filters.numel() * filters.element_size())
    banks = filters[0, 0].permute(0, 3, 4, 1, 2).contiguous().numpy()
    return [NonStationaryConvolve2D(dims=(h, w), hs=banks[n], ihx=np.arange(h), ihz=np.arange(w), engine="numba", dtype="float32")
            for n in range(m)]


def pylops_filter(operators, x):
    """pixel_filter by PyLops: [1, 1, M, H, W]."""
    image = x[0, 0].numpy().ravel()
    return torch.stack([torch.from_numpy(a.rmatvec(image)).reshape(x.shape[2:]) for a in operators])[None, None]
