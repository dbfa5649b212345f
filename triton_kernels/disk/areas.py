"""The geometry of a disk over pixels: exact areas as in `csrc/core/disk.h`, and which pixels are inside, on the edge or outside.

A pixel at the offset (row, column) is looked at as (a, b), a >= b >= 0. Pixels wholly inside and outside are told apart in whole numbers:
4 r^2 rounded down or up against squares of odd numbers, so that (a, b) and (b, a) are never told apart.
"""
import triton
import triton.language as tl

# With u = chord / (2 r), z = u^2 <= 1/2: the angle of an arc less its sine is u^3 segment(z), the arc is chord * arc(z).
SEGMENT_SINGLE: tl.constexpr = tl.constexpr((
    1.33333334, 0.399998061, 0.21438768, 0.136850735, 0.119511959, -0.0328845964, 0.392678896, -0.503634012, 0.455001605))
ARC_SINGLE: tl.constexpr = tl.constexpr((
    1.0, 0.166666142, 0.0750275732, 0.0440916167, 0.0358142393, -0.00702057915, 0.107400021, -0.135916271, 0.123913495))
SEGMENT_DOUBLE: tl.constexpr = tl.constexpr((
    1.33333333333333333, 0.399999999999997991, 0.214285714286302058, 0.138888888820730335, 0.0994318223578367936, 0.0757209976088831479,
    0.0601601405962426303, 0.0492194779840776886, 0.0422179865096021608, 0.0268991023336207573, 0.092811494707704967,
    -0.328386318137196001, 1.60792844809174186, -5.49761930911943888, 14.9922067035812497, -31.3004818592912451, 49.592934142323033,
    -57.5256584304611115, 46.3345837522770312, -23.2125559515748977, 5.53315027657558962))
ARC_DOUBLE: tl.constexpr = tl.constexpr((
    1.0, 0.166666666666666147, 0.075000000000151996, 0.0446428571252314566, 0.0303819455243646789, 0.0223721186874375752,
    0.0173537705581113138, 0.0139472049459937798, 0.0117780126991579429, 0.0075817717256605394, 0.0244690245733371097,
    -0.0845811996492627309, 0.416161956251229644, -1.42181803183899733, 3.87831206762714493, -8.09716237840242821, 12.8306580503193017,
    -14.8843875742310523, 11.9905492962093299, -6.00804287215645151, 1.43260727057650981))
SINGLE_TERMS: tl.constexpr = tl.constexpr(9)
DOUBLE_TERMS: tl.constexpr = tl.constexpr(21)
ONE_OVER_PI: tl.constexpr = tl.constexpr(0.31830988618379067154)


@triton.jit
def _series(z, COEFFICIENTS: tl.constexpr, TERMS: tl.constexpr):
    total = z * COEFFICIENTS[TERMS - 1] + COEFFICIENTS[TERMS - 2]
    for i in tl.static_range(TERMS - 2):
        total = total * z + COEFFICIENTS[TERMS - 3 - i]
    return total


@triton.jit
def cleaned(radius, limit, SLOPE: tl.constexpr):
    """0 where the kernel is the identity (its derivative is 0), NaN where there is none, otherwise the radius, above 1/2.

    limit: a pointer to the largest radius, or None.
    """
    if limit is not None:
        most = tl.load(limit)
        radius = tl.where(radius > most, most * 0 if SLOPE else most, radius)
    radius = tl.where(tl.abs(radius) == float("inf"), float("nan"), radius)
    return tl.where(radius <= 0.5, 0.0, radius)


@triton.jit
def half_chord(r, t):
    """sqrt(r^2 - t^2), 0 beyond the circle."""
    return tl.sqrt(tl.maximum((r - t) * (r + t), 0.0))


@triton.jit
def cut_weight(at_low_a, at_high_a, at_low_b, at_high_b, a, b, inverse, SLOPE: tl.constexpr, ACC: tl.constexpr):
    """The area of the pixel (a, b) in a disk, or d area / dr - 2 area / r, from half the chords at its four sides; inverse: 1 / r.

    The circle enters the pixel at (xa, sa) and leaves it at (xb, sb); points that it does not reach fall together. No two large numbers are
    subtracted, and a pixel outside gives 0 exactly.
    """
    x0, x1, y0, y1 = tl.maximum(b - 0.5, 0.0), b + 0.5, tl.maximum(a - 0.5, 0.0), a + 0.5
    xa, xb = tl.minimum(tl.maximum(at_high_a, x0), x1), tl.minimum(tl.maximum(at_low_a, x0), x1)
    sa, sb = tl.minimum(tl.maximum(at_low_b, y0), y1), tl.minimum(tl.maximum(at_high_b, y0), y1)
    width = xb - xa
    square = width * width + (sa - sb) * (sa - sb)
    chord = tl.sqrt(square)
    z = square * (0.25 * inverse * inverse)
    if ACC == tl.float64:
        segment = _series(z, SEGMENT_DOUBLE, DOUBLE_TERMS)
    else:
        segment = _series(z, SEGMENT_SINGLE, SINGLE_TERMS)
    twice = tl.where(a == 0, 2.0, 1.0).to(ACC) * tl.where(b == 0, 2.0, 1.0).to(ACC)     # an axis halves its pixels
    area = (xa - x0) * (y1 - y0) + width * ((sa + sb) * 0.5 - y0) + square * chord * (0.0625 * inverse) * segment
    if SLOPE:
        if ACC == tl.float64:
            arc = _series(z, ARC_DOUBLE, DOUBLE_TERMS)
        else:
            arc = _series(z, ARC_SINGLE, SINGLE_TERMS)
        area = chord * arc - 2 * inverse * area
    return area * twice


@triton.jit
def pixel_weight(r, row, column, inverse, SLOPE: tl.constexpr, ACC: tl.constexpr):
    """w(r, d), or dw/dr, at the whole offset (row, column)."""
    a, b = tl.maximum(tl.abs(row), tl.abs(column)).to(ACC), tl.minimum(tl.abs(row), tl.abs(column)).to(ACC)
    weight = cut_weight(half_chord(r, tl.maximum(a - 0.5, 0.0)), half_chord(r, a + 0.5), half_chord(r, tl.maximum(b - 0.5, 0.0)),
                        half_chord(r, b + 0.5), a, b, inverse, SLOPE, ACC)
    return weight * (inverse * inverse * ONE_OVER_PI)


@triton.jit
def inner_weight(inverse, SLOPE: tl.constexpr):
    """w, or dw/dr, of a pixel wholly inside."""
    weight = inverse * inverse * ONE_OVER_PI
    if SLOPE:
        weight = weight * (-2 * inverse)
    return weight


# in whole numbers, scalars --------------------------------------------------------------------------------------------

@triton.jit
def _root(k):
    """floor(sqrt(k)) of an int32 up to 2^30; 0 below 0. The root of a float32 is off by one at most."""
    k = tl.maximum(k, 0)
    root = tl.sqrt(k.to(tl.float32)).to(tl.int32)
    root = tl.where(root * root > k, root - 1, root)
    return tl.where((root + 1) * (root + 1) <= k, root + 1, root)


@triton.jit
def inside(r):
    """The measure of the pixels wholly inside a radius."""
    return tl.floor(4 * r * r).to(tl.int32)


@triton.jit
def outside(r):
    """The measure of the pixels that a radius touches; 0 for none."""
    return tl.ceil(4 * r * r).to(tl.int32)


@triton.jit
def last_inside(small, b):
    """The largest a for which (a, b) is wholly inside, -1 for none; a need not be the larger one."""
    return (_root(small - (2 * b + 1) * (2 * b + 1)) + 1) // 2 - 1


@triton.jit
def last_touched(large, b):
    """The largest a for which (a, b) is touched, where any is: b <= last_touched(large, 0)."""
    y = tl.maximum(2 * b - 1, 0)
    return (_root(large - 1 - y * y) + 1) // 2


@triton.jit
def octant_columns(large):
    """How many b have a touched pixel with a >= b."""
    return tl.where(large > 0, (_root((large - 1) // 2) + 1) // 2 + 1, 0)
