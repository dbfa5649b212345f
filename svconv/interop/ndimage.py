"""`scipy.ndimage.convolve` and `correlate` with SciPy's arguments and SciPy's results, quick for large kernels too. SciPy is not needed."""
import operator
from typing import Any

import numpy as np

# SciPy's names and numpy.pad's: "reflect" of the one is "symmetric" of the other (and of svconv), "mirror" is "reflect"
MODES = {"reflect": "symmetric", "grid-mirror": "symmetric", "mirror": "reflect", "nearest": "edge", "wrap": "wrap", "grid-wrap": "wrap",
         "constant": "constant", "grid-constant": "constant"}
DIRECT_TAPS = 25        # kernels of as many weights are summed tap by tap
STRIP = 2 ** 15         # pixels that are worked on at a time


def correlate(input: Any, weights: Any, output: Any = None, mode: str = "reflect", cval: float = 0.0, origin: Any = 0) -> np.ndarray:
    """`scipy.ndimage.correlate` of an image: `y[p] = sum_d weights[d] input[p + d - (k//2 + origin)]`.

    Args:
        input: array [H, W], bool, integers, float32 or float64 of any byte order and strides. Other dimensions and types are errors.
        weights: array [kh, kw], any sides, real. Computed in float64, as SciPy does; weights of at most 2.2e-16 count as 0, as there.
        output: None (the dtype of input), a dtype, or an array of the shape of input, which is filled and returned. What goes into an
            integer type is cut off, not rounded, as SciPy does; what does not fit into it is undefined there and here.
        mode: "reflect" (svconv's "symmetric"), "mirror" ("reflect"), "nearest", "wrap", "constant" (cval), or the aliases "grid-mirror",
            "grid-wrap", "grid-constant".
        cval: what stands outside with "constant".
        origin: int or pair (rows, columns), -(k//2) to (k-1)//2: the place of the kernel that lies on the pixel, from its middle.

    Returns:
        array [H, W].

    Raises:
        ValueError: dimensions, an empty kernel, an origin out of range. TypeError: a type that is not taken.
        RuntimeError: an unknown mode or an output of another shape, as in SciPy.

    With at most 25 weights, integers on either side, or an input that is not finite, the sum is taken tap by tap in SciPy's order: bit for
    bit what SciPy gives on x86. Otherwise by `svconv.conv` in float64: errors are some 1e-16 of the largest magnitude.
    Memory: the continued image in float64 and, by `svconv.conv`, its spectrum.

    >>> import numpy as np, svconv
    >>> svconv.interop.ndimage.correlate(np.eye(3), np.array([[1, 2, 4]]), mode="constant", cval=1)
    array([[3., 1., 4.],
           [5., 2., 5.],
           [1., 4., 6.]])
    """
    kernel = _kernel(weights)
    return _filtered(input, kernel, output, mode, cval, _origins(origin, kernel.shape))


def convolve(input: Any, weights: Any, output: Any = None, mode: str = "reflect", cval: float = 0.0, origin: Any = 0) -> np.ndarray:
    """`scipy.ndimage.convolve` of an image: `y[p] = sum_d weights[d] input[p - d + k//2 + origin]`; arguments as in `correlate`.

    >>> import numpy as np, svconv
    >>> svconv.interop.ndimage.convolve(np.arange(5.0)[None], [[1, 0, -1]], mode="nearest")
    array([[1., 2., 2., 2., 1.]])
    >>> svconv.interop.ndimage.convolve(np.arange(5, dtype=np.uint8)[None], [[1, 1]], mode="wrap", output=np.float32)
    array([[1., 3., 5., 7., 4.]], dtype=float32)
    """
    kernel = _kernel(weights)[::-1, ::-1]
    origins = [-shift - (k % 2 == 0) for shift, k in zip(_pair(origin), kernel.shape)]
    return _filtered(input, kernel, output, mode, cval, _origins(origins, kernel.shape))


# arguments ----------------------------------------------------------------------------------------------------------

def _real(dtype):
    """Whether SciPy filters arrays of that dtype and so do we."""
    return dtype.kind in "biu" or dtype.kind == "f" and dtype.itemsize in (4, 8)


def _kernel(weights):
    kernel = np.asarray(weights)
    if kernel.dtype.kind not in "biuf":
        raise TypeError(f"weights: expected real numbers, got {kernel.dtype}")
    if kernel.ndim != 2 or 0 in kernel.shape:
        raise ValueError(f"weights: expected [kh, kw] with sides >= 1, got {list(kernel.shape)}")
    kernel = kernel.astype(np.float64)
    return np.where(np.abs(kernel) > np.finfo(np.float64).eps, kernel, 0) if np.isfinite(kernel).all() else kernel


def _pair(origin):
    try:
        values = list(origin) if np.iterable(origin) and not isinstance(origin, str) else [origin, origin]
        values = [operator.index(value) for value in values]
    except TypeError:
        raise TypeError(f"origin: expected an int or a pair of ints, got {origin!r}") from None
    if len(values) != 2:
        raise ValueError(f"origin: expected an int or a pair (rows, columns), got {origin!r}")
    return values


def _origins(origin, sides):
    """Checked for a correlation."""
    values = _pair(origin)
    for value, k in zip(values, sides):
        if not -(k // 2) <= value <= (k - 1) // 2:
            raise ValueError("Invalid origin; origin must satisfy -(weights.shape[k] // 2) <= origin[k] <= (weights.shape[k]-1) // 2")
    return values


def _output(output, image):
    """The array to fill, made of what SciPy takes."""
    if output is None or isinstance(output, type | np.dtype | str):
        dtype = image.dtype.newbyteorder("=") if output is None else np.dtype(output)
        output = np.zeros(image.shape if _real(dtype) else 0, dtype)
    if not isinstance(output, np.ndarray):
        raise TypeError(f"output: expected an array or a dtype, got {type(output).__name__}")
    if not _real(output.dtype):
        raise TypeError(f"output: expected bool, integers, float32 or float64, got {output.dtype}")
    if output.shape != image.shape:
        raise RuntimeError(f"output: expected the shape of input {list(image.shape)}, got {list(output.shape)}")
    return output


# the sum ------------------------------------------------------------------------------------------------------------

def _filtered(input, kernel, output, mode, cval, origins):
    image = np.asarray(input)
    if not _real(image.dtype):
        raise TypeError(f"input: expected bool, integers, float32 or float64, got {image.dtype}")
    if image.ndim != 2:
        raise ValueError(f"input: expected an image [H, W], got {list(image.shape)}")
    if not isinstance(mode, str) or mode not in MODES:
        raise RuntimeError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
    output = _output(output, image)
    if not image.size:
        return output
    before = [k // 2 + shift for k, shift in zip(kernel.shape, origins)]
    margins = [(b, k - 1 - b) for b, k in zip(before, kernel.shape)]
    constant = {"constant_values": float(cval)} if MODES[mode] == "constant" else {}
    plane = np.pad(image.astype(np.float64), margins, mode=MODES[mode], **constant)
    in_order = image.dtype.kind != "f" or output.dtype.kind != "f" or kernel.size <= DIRECT_TAPS
    total = None if in_order else _by_conv(plane, kernel)
    if total is None or not np.isfinite(total).all():       # a pixel that is not finite spoils the whole of a transform
        total = _by_taps(plane, kernel, image.shape)
    _put(total, output)
    return output


def _by_taps(plane, kernel, size):
    """One tap after the other in the order of reading, each product rounded: as SciPy's loop does."""
    total = np.zeros(size)
    rows = max(1, STRIP // size[1])
    taps = [(i, j, kernel[i, j]) for i, j in zip(*np.nonzero(kernel))]
    with np.errstate(invalid="ignore", over="ignore"):
        for top in range(0, size[0], rows):
            part = total[top:top + rows]
            product = np.empty_like(part)
            for i, j, weight in taps:
                np.multiply(plane[top + i:top + i + len(part), j:j + size[1]], weight, out=product)
                part += product
    return total


def _by_conv(plane, kernel):
    import torch

    from svconv.ops import conv

    kernel = torch.from_numpy(np.ascontiguousarray(kernel[::-1, ::-1]))
    with torch.no_grad():
        return conv(torch.from_numpy(plane)[None, None], kernel[None], padding="valid")[0, 0].numpy()


def _put(total, output):
    """Into the output's type, integers cut off as a C cast does; negative ones wrap in unsigned types, as in SciPy."""
    with np.errstate(invalid="ignore", over="ignore"):
        if output.dtype.kind == "b":
            output[...] = np.trunc(total) != 0
        elif output.dtype.kind == "u":
            output[...] = np.where(total > -1, total.astype(np.uint64), total.astype(np.int64).astype(np.uint64))
        else:
            output[...] = total
