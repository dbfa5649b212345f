"""Where the elements of images, maps and filters are, and how windows unroll."""
import triton
import triton.language as tl
from svconv._triton.tiles import broadcast_strides

UNROLLED_ROW = 9        # windows up to this width unroll a row of taps, wider ones eight taps at a time, four for several channels
UNROLLED_TAPS = 12      # rows of narrow windows unroll together up to this many taps (of all channels of a program)


# strides: None stands for a contiguous tensor, otherwise they are given ------------------------------------------------

@triton.jit
def image_strides(given, C, H, W):
    """Of [B, C, H, W]."""
    if given is None:
        plane = tl.cast(H, tl.int64) * W
        return C * plane, plane, tl.cast(W, tl.int64), 1
    else:
        return given


@triton.jit
def maps_strides(given, C, M, H, W):
    """Of [B, C, M, H, W]."""
    if given is None:
        plane = tl.cast(H, tl.int64) * W
        return C * (M * plane), M * plane, plane, tl.cast(W, tl.int64), 1
    else:
        return given


@triton.jit
def filter_strides(given, C, M, H, W, KH: tl.constexpr, KW: tl.constexpr, SHARED_B: tl.constexpr, SHARED_C: tl.constexpr):
    """Of [B, C, M, KH, KW, H, W], 0 along a shared axis."""
    if given is None:
        plane = tl.cast(H, tl.int64) * W
        of_channel = M * (plane * (KH * KW))
        of_image = 0 if SHARED_B else of_channel if SHARED_C else C * of_channel
        return of_image, 0 if SHARED_C else of_channel, plane * (KH * KW), plane * KW, plane, tl.cast(W, tl.int64), 1
    else:
        return given


# host -----------------------------------------------------------------------------------------------------------------

def unrolling(kh, kw, channels=1):
    wide = 8 if channels == 1 else 4
    return {"UNROLL_H": min(kh, max(1, UNROLLED_TAPS // (kw * max(channels, 1)))), "UNROLL_W": kw if kw <= UNROLLED_ROW else wide}


def sharing(filters):
    """Axes of 1, along which all programs read the same filters, as kernel arguments."""
    return {"SHARED_B": filters.shape[0] == 1, "SHARED_C": filters.shape[1] == 1}


def filter_arguments(filters, give_strides=False):
    """The filters as kernel arguments; the stride of a batch or channel axis of 1 is 0."""
    kh, kw = filters.shape[3:5]
    given = broadcast_strides(filters) if give_strides or not filters.is_contiguous() else None
    return {"filters": filters, "f_strides": given, "KH": kh, "KW": kw}
