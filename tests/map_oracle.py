"""`map_filters` as a dense system of equations, written out pixel by pixel, for its tests."""
import torch

F64 = torch.float64


def places(height, width):
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return rows.flatten(), columns.flatten()


def blur_matrix(kernel, image, size):
    """[H W, H' W']: the convolution of what stands on the plane, at the pixels of the image."""
    (kh, kw), (height, width), (wide, tall) = kernel.shape, image, (size[1], size[0])
    top, left = kh - 1 - kh // 2, kw - 1 - kw // 2
    rows, columns = places(height, width)
    matrix = torch.zeros(height * width, tall * wide, dtype=F64)
    for a in range(kh):
        for b in range(kw):
            matrix[torch.arange(height * width), (top + rows + kh // 2 - a) * wide + left + columns + kw // 2 - b] += kernel[a, b]
    return matrix


def filter_matrix(filters, replicate):
    """[H W, H W] of one filter per pixel [s, t, H, W]; zeros or the edge pixels outside."""
    s, t, height, width = filters.shape
    rows, columns = places(height, width)
    matrix = torch.zeros(height * width, height * width, dtype=F64)
    for a in range(s):
        for b in range(t):
            i, j = rows + a - (s - 1) // 2, columns + b - (t - 1) // 2
            value = filters[a, b].flatten()
            if not replicate:
                value = value * ((i >= 0) & (i < height) & (j >= 0) & (j < width))
            at = i.clamp(0, height - 1) * width + j.clamp(0, width - 1)
            matrix.index_put_((torch.arange(height * width), at), value.to(F64), accumulate=True)
    return matrix


def gram_matrix(filters, weights, replicate):
    """sum_i F_i' W_i F_i of filters [N, s, t, H, W] and weights [N, H, W] or None."""
    total = 0
    for i, f in enumerate(filters):
        matrix = filter_matrix(f, replicate)
        total = total + matrix.T @ (matrix if weights is None else weights[i].flatten()[:, None] * matrix)
    return total


def nearest(t, image, size, corner):
    """t [..., H, W] continued over the plane by the nearest pixel."""
    (height, width), (tall, wide), (top, left) = image, size, corner
    rows, columns = (torch.arange(tall) - top).clamp(0, height - 1), (torch.arange(wide) - left).clamp(0, width - 1)
    return t[..., rows[:, None], columns]


def pick(t, b, c):
    """The sample and channel of a tensor whose first axes may be 1."""
    return None if t is None else t[min(b, t.shape[0] - 1), min(c, t.shape[1] - 1)].to(F64)


def dense(y, kernel, data_filters, prior_filters, size, data_weights=None, prior_weights=None, mask=None):
    """x on the plane of `size`, [B, C, *size]."""
    kernel = kernel.unsqueeze(1) if kernel.dim() == 3 else kernel
    image, x = y.shape[-2:], torch.empty(*y.shape[:2], *size, dtype=F64)
    for b in range(y.shape[0]):
        for c in range(y.shape[1]):
            k, f, g = (pick(t, b, c) for t in (kernel, data_filters, prior_filters))
            v, w, m = (pick(t, b, c) for t in (data_weights, prior_weights, mask))
            corner = [n - 1 - n // 2 for n in k.shape]
            m = torch.ones(image, dtype=F64) if m is None else m
            seen = torch.where(m > 0, y[b, c].to(F64), 0).flatten()
            middle = torch.eye(seen.numel(), dtype=F64) if f is None else gram_matrix(f, v, replicate=False)
            middle = m.flatten()[:, None] * middle * m.flatten()
            K = blur_matrix(k, image, size)
            prior = gram_matrix(nearest(g, image, size, corner), None if w is None else nearest(w, image, size, corner), replicate=True)
            x[b, c] = torch.linalg.solve(K.T @ middle @ K + prior, K.T @ middle @ seen).reshape(size)
    return x
