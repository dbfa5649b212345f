"""Feature maps of Learning to Deblur as matrix products over strips of rows that stay in cache, with their gradient.

    h_0 = tanh(W u + b_0),  h_i = tanh(R_i h_{i-1} + b_i),  out = L h_last          u: the filter's window of every pixel, one column per pixel

A convolution with one or two input channels runs at a tenth of the speed of a matrix product in common libraries; the strip makes the copy into columns cheap.
"""
import torch
from torch.autograd.function import once_differentiable

_PIXELS = 4096  # of one strip: columns, maps and their gradients together stay near a core's own cache


def maps(padded, filters, mixes, biases, last, skip=0):
    """out [B, outputs, H, W] of padded [B, C, H + s - 1, W + s - 1]; mixes and biases are lists (biases may be empty); first derivatives only.

    The first `skip` channels of padded get a gradient of zero, for those that need none.
    """
    tensors = (padded, filters, last, *mixes, *biases)
    if not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors)):  # then the maps of a strip are dropped at once
        padded, filters, last, *rest = (t.detach() for t in tensors)
    else:
        rest = tensors[3:]
    return _Maps.apply(padded, filters, last, skip, len(mixes), *rest)


def _strips(padded, size):
    """(sample, first row, last row) of every strip, with as many rows as _PIXELS allows."""
    height, width = padded.shape[2] - size + 1, padded.shape[3] - size + 1
    rows = max(1, min(height, _PIXELS // width))
    return [(b, top, min(top + rows, height)) for b in range(padded.shape[0]) for top in range(0, height, rows)]


def _columns(sample, top, bottom, size, buffer):
    """The windows of the rows top..bottom of one sample [C, H', W'] as a matrix [C size size, pixels]."""
    channels, width = sample.shape[0], sample.shape[2] - size + 1
    c, r, e = sample.stride()
    view = sample.as_strided((channels, size, size, bottom - top, width), (c, r, e, r, e), sample.storage_offset() + top * r)
    out = buffer[: channels * size * size * (bottom - top) * width].view(view.shape)
    out.copy_(view)
    return out.view(channels * size * size, -1)


class _Maps(torch.autograd.Function):
    @staticmethod
    def forward(ctx, padded, filters, last, skip, count, *rest):
        padded = padded.contiguous()
        mixes, biases = rest[:count], rest[count:]
        size, number = filters.shape[-1], filters.shape[0]
        height, width = padded.shape[2] - size + 1, padded.shape[3] - size + 1
        strips = _strips(padded, size)
        most = max((bottom - top) * width for _, top, bottom in strips) if strips else 0
        buffer = padded.new_empty(filters[0].numel() * most)
        flat = filters.reshape(number, -1)
        keep = any(ctx.needs_input_grad)
        out = padded.new_empty(padded.shape[0], last.shape[0], height, width)
        saved = []
        for b, top, bottom in strips:
            h = _first(flat, _columns(padded[b], top, bottom, size, buffer), biases[0] if biases else None)
            levels = [h.tanh_()]
            for i, mix in enumerate(mixes):
                levels.append(_first(mix, levels[-1], biases[i + 1] if biases else None).tanh_())
            out[b, :, top:bottom] = (last @ levels[-1]).view(-1, bottom - top, width)
            if keep:
                saved.extend(levels)
        ctx.save_for_backward(padded, filters, last, *rest, *saved)
        ctx.skip, ctx.count, ctx.given = skip, count, len(rest)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        padded, filters, last, *others = ctx.saved_tensors
        rest, levels = others[: ctx.given], others[ctx.given :]
        mixes, biases = rest[: ctx.count], rest[ctx.count :]
        size, number, depth = filters.shape[-1], filters.shape[0], ctx.count + 1
        flat = filters.reshape(number, -1)
        g_flat, g_last = torch.zeros_like(flat), torch.zeros_like(last)
        g_mixes, g_biases = [torch.zeros_like(m) for m in mixes], [torch.zeros_like(b) for b in biases]
        g_input = torch.zeros_like(padded) if ctx.needs_input_grad[0] else None
        width = padded.shape[3] - size + 1
        strips = _strips(padded, size)
        buffer = padded.new_empty(flat.shape[1] * max((bottom - top) * width for _, top, bottom in strips)) if strips else None
        for s, (b, top, bottom) in enumerate(strips):
            h = levels[s * depth : (s + 1) * depth]
            g = grad[b, :, top:bottom].reshape(last.shape[0], -1)
            g_last.addmm_(g, h[-1].T)
            g = last.T @ g
            for i in range(depth - 1, -1, -1):
                g = torch.ops.aten.tanh_backward(g, h[i])
                if biases:
                    g_biases[i] += g.sum(1)
                if i:
                    g_mixes[i - 1].addmm_(g, h[i - 1].T)
                    g = mixes[i - 1].T @ g
            g_flat.addmm_(g, _columns(padded[b], top, bottom, size, buffer).T)
            if g_input is not None:
                _fold(g_input[b, ctx.skip :], flat[:, ctx.skip * size * size :].T @ g, top, bottom, size)
        return (g_input, g_flat.view_as(filters), g_last, None, None, *g_mixes, *g_biases)


def _first(weight, columns, bias):
    return weight @ columns if bias is None else torch.addmm(bias[:, None], weight, columns)


def _fold(target, columns, top, bottom, size):
    """Add the transpose of `_columns`: rows first, for all horizontal offsets at once, then the offsets."""
    channels, rows, width = target.shape[0], bottom - top, target.shape[2] - size + 1
    columns = columns.view(channels, size, size, rows, width)
    tall = columns.new_zeros(channels, size, rows + size - 1, width)
    for dy in range(size):
        tall[:, :, dy : dy + rows] += columns[:, dy]
    for dx in range(size):
        target[:, top : bottom + size - 1, dx : dx + width] += tall[:, dx]
