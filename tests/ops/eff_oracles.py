"""The eff family by other means, NumPy in float64: whole images under dense windows, full complex transforms."""
import numpy as np

import oracles
import svconv


def grid_for(hw, most=(2, 2), **options):
    """A grid of at most `most` patches that fits an image, also an empty one."""
    hw = tuple(max(1, int(n)) for n in hw)
    return svconv.EFFGrid(hw, tuple(min(m, n) for m, n in zip(most, hw)), **options)


def windows(grid):
    """[R, H, W]"""
    rows, columns = grid.row_windows.numpy(), grid.col_windows.numpy()
    return (rows[:, None, :, None] * columns[None, :, None, :]).reshape(-1, *grid.image_size)


def _kernels(kernels):
    kernels = np.asarray(kernels, np.float64)
    return kernels if kernels.ndim == 5 else kernels[:, None]


def conv(x, kernels, grid, form, padding):
    x, kernels = np.asarray(x, np.float64), _kernels(kernels)
    if form == "scatter":
        return sum(oracles.conv(w * x, kernels[:, :, r], padding) for r, w in enumerate(windows(grid)))
    return sum(w * oracles.conv(x, kernels[:, :, r], padding) for r, w in enumerate(windows(grid)))


def conv_adjoint(y, kernels, grid, form, padding):
    y, kernels = np.asarray(y, np.float64), _kernels(kernels)
    if form == "scatter":
        return sum(w * oracles.conv_adjoint(y, kernels[:, :, r], padding) for r, w in enumerate(windows(grid)))
    return sum(oracles.conv_adjoint(w * y, kernels[:, :, r], padding) for r, w in enumerate(windows(grid)))


def kernel_adjoint(x, y, grid, size, form, padding):
    """dk[d] = sum_p y[p] x[p - (d - c)] under the window of x (scatter) or of y (gather)."""
    x, y, (kh, kw), (h, w) = np.asarray(x, np.float64), np.asarray(y, np.float64), size, grid.image_size
    found = np.zeros((*x.shape[:2], grid.patches, kh, kw))
    for r, window in enumerate(windows(grid)):
        seen, weighed = (window * x, y) if form == "scatter" else (x, window * y)
        extended = oracles.pad(seen, (kh - 1 - kh // 2, kh // 2, kw - 1 - kw // 2, kw // 2), padding)
        for i in range(kh):
            for j in range(kw):
                found[:, :, r, i, j] = (extended[..., kh - 1 - i:kh - 1 - i + h, kw - 1 - j:kw - 1 - j + w] * weighed).sum((-2, -1))
    return found


def fast(n):
    def smooth(m):
        for factor in (2, 3, 5, 7):
            while m % factor == 0:
                m //= factor
        return m == 1
    return next(m for m in range(n, 2 * n + 2) if smooth(m))


def _spectrum(kernels, size):
    """Full spectra of kernels with their centre at (kh//2, kw//2) on planes of `size`."""
    plane = np.zeros((*kernels.shape[:-2], *size))
    plane[..., :kernels.shape[-2], :kernels.shape[-1]] = kernels
    return np.fft.fft2(np.roll(plane, [-(n // 2) for n in kernels.shape[-2:]], (-2, -1)))


def image_quotient(y, kernels, grid, beta, prior, padding):
    y, kernels = np.asarray(y, np.float64), _kernels(kernels)
    (kh, kw), (ph, pw) = kernels.shape[-2:], grid.patch_size
    height, width = fast(ph + 2 * kh), fast(pw + 2 * kw)
    power = 1.0
    if prior == "gradient":
        waves = [4 * np.sin(np.pi * np.fft.fftfreq(n)) ** 2 for n in (height, width)]
        power = waves[0][:, None] + waves[1]
    extended, starts = oracles.pad(y, (kh, height, kw, width), padding), [(a, b) for a in grid.row_starts for b in grid.col_starts]
    beta, total = np.reshape(np.asarray(beta, np.float64), (-1, 1, 1, 1)), np.zeros(y.shape)
    for r, ((top, left), window) in enumerate(zip(starts, windows(grid))):
        transfer = _spectrum(kernels[:, :, r], (height, width))
        observed = np.fft.fft2(extended[..., top:top + height, left:left + width])
        divided = np.fft.ifft2(transfer.conj() * observed / (abs(transfer) ** 2 + beta * power)).real
        place = slice(top, top + ph), slice(left, left + pw)
        total[(..., *place)] += window[place] * divided[..., kh:kh + ph, kw:kw + pw]
    return total


def kernel_quotient(x, y, grid, size, beta):
    x, y, (kh, kw) = np.asarray(x, np.float64), np.asarray(y, np.float64), size
    shape = tuple(fast(p + k - 1) for p, k in zip(grid.patch_size, size))
    beta, found = np.reshape(np.asarray(beta, np.float64), (-1, 1, 1)), []
    for (top, left), window in zip([(a, b) for a in grid.row_starts for b in grid.col_starts], windows(grid)):
        place = ..., slice(top, top + grid.patch_size[0]), slice(left, left + grid.patch_size[1])
        fx, fy = (np.fft.fft2((window * t)[place], shape) for t in (x, y))
        quotient = np.fft.ifft2((fx.conj() * fy).sum(1) / ((abs(fx) ** 2).sum(1) + beta)).real
        found.append(np.roll(quotient, (kh // 2, kw // 2), (-2, -1))[..., :kh, :kw])
    return np.stack(found, 1)
