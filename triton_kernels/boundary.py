"""The boundary rules of `padding=` on the device: where a position outside of an axis reads from, and which positions read a pixel.

`PADDING` is the rule's name in `svconv._boundary.PADDINGS`; what is none of the others is "reflect". Positions are int32; products with
strides are the caller's.
"""
import triton
import triton.language as tl

LARGEST_SIDE = 2**30 - 1    # two periods of an axis still fit in int32


def is_far(n, k, padding):
    """True if a window of k taps reaches beyond the first repetition, so that `source_index` has to divide."""
    return padding not in ("zeros", "replicate") and k // 2 > (n - 1 if padding == "reflect" else n)


def preimage_cells(n, k, padding):
    """The `preimage` candidates of an axis of n pixels under a window of k taps are -cells..cells."""
    length = 1 if padding == "replicate" else max(n - 1, 1) if padding == "reflect" else n
    return -(-(k // 2) // length)


@triton.jit
def source_index(i, n, PADDING: tl.constexpr, FAR: tl.constexpr):
    """The pixel that stands at position i, and False where the image is zero. Without FAR: one repetition on either side only."""
    valid = i == i
    if PADDING == "zeros":
        valid = (i >= 0) & (i < n)
    elif PADDING == "replicate":
        i = tl.minimum(tl.maximum(i, 0), n - 1)
    elif PADDING == "circular":
        if FAR:
            i = (i % n + n) % n    # either sign convention of %
        else:
            i = tl.where(i < 0, i + n, tl.where(i >= n, i - n, i))
    elif PADDING == "symmetric":
        if FAR:
            i = (i % (2 * n) + 2 * n) % (2 * n)
        i = tl.where(i < 0, -1 - i, i)
        i = tl.where(i >= n, 2 * n - 1 - i, i)
    else:
        if FAR:
            period = tl.maximum(2 * n - 2, 1)
            i = (i % period + period) % period
        i = tl.where(i < 0, -i, i)
        i = tl.where(i >= n, 2 * n - 2 - i, i)
    return i, valid


@triton.jit
def preimage(q, k, n, PADDING: tl.constexpr):
    """Candidate k of the positions that read pixel q, and whether it is one; k = 0 is q itself, every position comes once.

    The extended axis is cut into cells, k counts them; replicate: k counts the positions before (k < 0) or after the edges.
    """
    k = q * 0 + k    # a tensor also where the interpreter's loops count in Python integers
    if PADDING == "replicate":
        position = tl.where(k < 0, k, tl.where(k > 0, n - 1 + k, q))
        valid = (k == 0) | ((k < 0) & (q == 0)) | ((k > 0) & (q == n - 1))
    elif PADDING == "circular":
        position = q + k * n
        valid = q == q
    elif PADDING == "symmetric":
        position = k * n + tl.where((k & 1) == 0, q, n - 1 - q)
        valid = q == q
    elif PADDING == "reflect":
        length = tl.maximum(n - 1, 1)
        position = k * length + tl.where((k & 1) == 0, q, n - 1 - q)
        # neighbouring cells share their end points, which belong to the cell nearer to the image
        own = ((k <= 0) | (position != k * length)) & ((k >= 0) | (position != (k + 1) * length))
        valid = own | (q * 0 + n == 1)
    else:
        position = q
        valid = (q == q) & (k == 0)
    return position, valid
