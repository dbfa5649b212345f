"""The memory that `svconv deblur` needs for a picture, known before it begins."""
import math

# float32 planes of a tile and its border that a solver holds at most, measured and rounded up by a tenth (tests/cli/test_memory.py)
SOLVERS = {"irls": 84, "cg": 54, "hyper": 45}
ESTIMATE = 50  # planes of the window that a kernel is estimated from


VARYING = 75  # the same for irls with a kernel per patch, on the whole picture
POSES = 100  # bytes for a pose at a patch


def varying(picture, size, patches):
    """Bytes beside the picture itself for `--blind --grid`: nothing of it goes by tiles."""
    height, width = picture.size
    sample, plane = picture.pixels.itemsize, 4 * height * width
    result = height * width * picture.channels * sample
    poses = patches * size * size * (2 * ((size - 1) // 2) + 1)
    return result + max(ESTIMATE * plane + POSES * poses, VARYING * 4 * (height + 2 * size) * (width + 2 * size))


def needed(picture, kernel_size, method, tile, halo, window=None):
    """Bytes beside the picture itself; kernel_size (kh, kw); window: the side of what a kernel is estimated from, None if it is given."""
    sample = picture.pixels.itemsize
    exact = 8 if sample == 8 else 4
    height, width = picture.size
    samples = picture.channels + (picture.alpha is not None) + (0 if picture.extra is None else picture.extra.shape[2])
    result = height * width * picture.channels * sample
    planes = height * width * (8 + 4 * exact + (8 if picture.alpha is not None or picture.broken is not None else 0))
    largest = tile + 2 * (halo + max(kernel_size))
    sides = [min(length, largest) + k for length, k in zip(picture.size, kernel_size)]
    solving = result + planes + 4 * SOLVERS[method] * math.prod(sides)
    writing = result + 3 * height * width * samples * sample
    estimating = 0 if window is None else 16 * height * width + 4 * ESTIMATE * min(height, window) * min(width, window)
    return max(solving, writing, estimating)
