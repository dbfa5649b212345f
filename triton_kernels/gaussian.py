"""Blur by a Gaussian of each pixel's own sigma in Triton; the primitives and the fold are those of `radial.py`.

Gather: a weight is the product of a row's and a column's, and serves the eight pixels it is the same for. Spread: a first kernel notes for
each pixel 1 / Z^2 and 2 Z' / Z, in the accumulator's type, and a second one how far the windows of square blocks of the map reach; each
pixel then meets the windows offset by offset, up to the widest one that reaches its tile. Beside that and the plane of an adjoint that is
folded (`disk/__init__.py`) there is no memory. Every sum has a fixed order, there are no atomics.
"""
import math

import torch
import triton
import triton.language as tl
from svconv._triton.boundary import source_index
from svconv._triton.launch import Launch, cdiv
from svconv._triton.radial import (
    SIDE,
    Radial,
    add_octant,
    add_weighted,
    added,
    along_axis,
    block_range,
    gap,
    gather_groups,
    store_gathered,
    why_not as why_not,
)
from svconv._triton.tiles import (
    LANES,
    accumulator,
    broadcast_strides,
    channel,
    channel_groups,
    channel_pointers,
    kernel_accumulator,
    program_order,
    tile_pixels,
    tiling,
    zeros,
)

from svconv._gaussian_window import LARGEST, gaussian_reach
from svconv._shapes import sum_to

SPREAD_LANES = 128      # pixels of a tile of the spread


@triton.jit
def _cleaned(sigma, limit, truncate, SLOPE: tl.constexpr):
    """(sigma, half): 0 where the kernel is the identity (its derivative is 0), NaN where there is none; half the width of the window.

    limit: a pointer to the largest sigma, or None. truncate: a pointer.
    """
    if limit is not None:
        most = tl.load(limit)
        sigma = tl.where(sigma > most, most * 0 if SLOPE else most, sigma)
    sigma = tl.where(tl.abs(sigma) == float("inf"), float("nan"), sigma)
    half = tl.floor(tl.where(sigma > 0, sigma, 0.0) * tl.load(truncate) + 0.5)
    return tl.where(half > 0, sigma, tl.where(sigma != sigma, sigma, 0.0)), half.to(tl.int32)


@triton.jit
def _along(t, scale, half, ACC: tl.constexpr):
    """e(t), 0 beyond the window; scale: -1 / (2 sigma^2)."""
    return tl.where(t <= half, tl.exp(tl.cast(t * t, ACC) * scale), 0.0)


@triton.jit
def _totals(scale, half, widest, BLOCK: tl.constexpr, ACC: tl.constexpr):
    """Z and the sum of t^2 e(t)."""
    total, moment = tl.zeros([BLOCK], ACC) + 1.0, tl.zeros([BLOCK], ACC)
    for t in range(1, widest + 1):
        t = tl.cast(t, tl.int32)
        e = 2 * _along(t, scale, half, ACC)
        total += e
        moment += e * tl.cast(t * t, ACC)
    return total, moment


@triton.jit
def _window_sums(xs, rows, cols, scale, half, plain, ratio, widest, H, W, x_h, x_w, PADDING: tl.constexpr, FAR: tl.constexpr,
                 CHECKED: tl.constexpr, SLOPE: tl.constexpr, CB: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr):
    """The sum of e(row) e(column) x, with SLOPE times row^2 + column^2 - ratio; where not `plain` 0."""
    sums = zeros(CB, BLOCK, ACC)
    for j in range(widest + 1):
        j = tl.cast(j, tl.int32)
        of_j = tl.where(plain, _along(j, scale, half, ACC), 0.0)
        along = zeros(CB, BLOCK, ACC)
        for i in range(j, widest + 1):
            i = tl.cast(i, tl.int32)
            weight = of_j * _along(i, scale, half, ACC)
            if SLOPE:
                weight = weight * (tl.cast(i * i, ACC) + tl.cast(j * j, ACC) - ratio)
            along = add_octant(along, weight, i, j, xs, rows, cols, H, W, x_h, x_w, PADDING, FAR, CHECKED, CB, ACC)
        sums = added(sums, along, 1.0, CB)
    return sums


@triton.jit(do_not_specialize=["C", "H", "W", "OUT_H", "OUT_W", "margin"])
def _gaussian_gather_kernel(
        x, x_strides, sigmas, s_strides, limit, truncate, factor, factor_strides, out, C, H, W, OUT_H, OUT_W, margin,
        PADDING: tl.constexpr, AROUND: tl.constexpr, FAR: tl.constexpr, SLOPE: tl.constexpr, SHARED_B: tl.constexpr,
        SHARED_C: tl.constexpr, CB: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, ACC: tl.constexpr):
    """out[b,c,p] = sum_q w(sigma[p], p-q) x[b,c,q] at the positions p of the image and a margin; the arguments as those of a disk."""
    b, group, _, tile = program_order(tl.program_id(0), C, 1, OUT_H, OUT_W, SHARED_B, SHARED_C, CB, TH, TW)
    rows, cols, row, col = tile_pixels(tile, OUT_W, TH, TW)
    lanes = (rows < OUT_H) & (cols < OUT_W)
    place = rows.to(tl.int64) * OUT_W + cols
    rows, cols, row, col = rows - margin, cols - margin, row - margin, col - margin
    x_b, x_c, x_h, x_w = x_strides
    s_b, s_c, s_h, s_w = s_strides
    xs = channel_pointers(x + b * x_b, x_c, group, C, CB)
    map_row, _ = source_index(rows, H, AROUND, FAR)
    map_col, _ = source_index(cols, W, AROUND, FAR)
    sigmas += b * s_b + group.to(tl.int64) * s_c
    given = tl.load(sigmas + map_row.to(tl.int64) * s_h + map_col.to(tl.int64) * s_w, mask=lanes, other=0.0).to(ACC)
    given, half = _cleaned(given, limit, truncate, SLOPE)
    plain = given > 0
    sigma = tl.where(plain, given, 1.0)
    widest = tl.max(tl.where(plain, half, 0))
    scale = -0.5 / (sigma * sigma)
    total, moment = _totals(scale, half, widest, TH * TW, ACC)
    ratio = 2 * moment / total

    if (row >= widest) & (row + (TH - 1) + widest < H) & (col >= widest) & (col + (TW - 1) + widest < W):
        sums = _window_sums(xs, rows, cols, scale, half, plain, ratio, widest, H, W, x_h, x_w, PADDING, FAR, False, SLOPE, CB,
                            TH * TW, ACC)
    else:
        sums = _window_sums(xs, rows, cols, scale, half, plain, ratio, widest, H, W, x_h, x_w, PADDING, FAR, True, SLOPE, CB,
                            TH * TW, ACC)

    norm = 1.0 / (total * total)
    if SLOPE:
        norm = norm / (sigma * sigma * sigma)
    own_row, row_ok = along_axis(rows, H, x_h, PADDING, FAR, True)
    own_col, col_ok = along_axis(cols, W, x_w, PADDING, FAR, True)
    totals = ()
    for k in tl.static_range(CB):
        own = given         # 0 or NaN
        if not SLOPE:
            own = own + tl.load(xs[k] + own_row + own_col, mask=lanes & row_ok & col_ok & (given == 0), other=0.0).to(ACC)
        totals = totals + (tl.where(plain, sums[k] * norm, own),)
    plane = tl.cast(OUT_H, tl.int64) * OUT_W
    store_gathered(out, totals, factor, factor_strides, b, group, C, plane, place, map_row, map_col, lanes, CB, TH * TW, ACC)


@triton.jit(do_not_specialize=["MAP_C", "H", "W"])
def _gaussian_totals_kernel(sigmas, s_strides, limit, truncate, notes, MAP_C, H, W, SLOPE: tl.constexpr, BLOCK: tl.constexpr,
                            ACC: tl.constexpr):
    """notes[0..1, map, pixel] = 1 / Z^2 (with SLOPE over sigma^3) and 2 Z' / Z (times sigma^3)."""
    pixels = tl.cast(H, tl.int64) * W
    programs = tl.cdiv(pixels, BLOCK).to(tl.int32)
    pid = tl.program_id(0)
    one = (pid // programs).to(tl.int64)
    place = (pid % programs).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    lanes = place < pixels
    s_b, s_c, s_h, s_w = s_strides
    sigmas += one // MAP_C * s_b + one % MAP_C * s_c
    sigma, half = _cleaned(tl.load(sigmas + place // W * s_h + place % W * s_w, mask=lanes, other=0.0).to(ACC), limit, truncate, SLOPE)
    plain = sigma > 0
    sigma = tl.where(plain, sigma, 1.0)
    total, moment = _totals(-0.5 / (sigma * sigma), half, tl.max(tl.where(plain, half, 0)), BLOCK, ACC)
    norm = 1.0 / (total * total)
    if SLOPE:
        norm = norm / (sigma * sigma * sigma)
    notes += one * pixels + place
    tl.store(notes, norm, mask=lanes)
    tl.store(notes + (tl.num_programs(0) // programs) * pixels, 2 * moment / total, mask=lanes)


@triton.jit(do_not_specialize=["MAP_C", "H", "W", "margin", "DOWN", "ACROSS"])
def _gaussian_blocks_kernel(
        sigmas, s_strides, limit, truncate, table, MAP_C, H, W, margin, DOWN, ACROSS, PADDING: tl.constexpr, FAR: tl.constexpr,
        SLOPE: tl.constexpr, SIDE: tl.constexpr, ACC: tl.constexpr):
    """table[map, block] = half the width of the widest window in a block of the image and its margin."""
    pid = tl.program_id(0)
    block = pid % (DOWN * ACROSS)
    one = (pid // (DOWN * ACROSS)).to(tl.int64)
    s_b, s_c, s_h, s_w = s_strides
    lane = tl.arange(0, SIDE * SIDE)
    rows = block // ACROSS * SIDE + lane // SIDE - margin
    cols = block % ACROSS * SIDE + lane % SIDE - margin
    there = (rows < H + margin) & (cols < W + margin)
    row, row_ok = source_index(rows, H, PADDING, FAR)
    col, col_ok = source_index(cols, W, PADDING, FAR)
    sigmas += one // MAP_C * s_b + one % MAP_C * s_c
    at = sigmas + row.to(tl.int64) * s_h + col.to(tl.int64) * s_w
    _, half = _cleaned(tl.load(at, mask=there & row_ok & col_ok, other=0.0).to(ACC), limit, truncate, SLOPE)
    tl.store(table + pid, tl.max(half).to(ACC))


@triton.jit
def _reaching(row, col, margin, table, reach, DOWN, ACROSS, TH: tl.constexpr, TW: tl.constexpr, SIDE: tl.constexpr):
    """Half the width of the widest window that reaches a tile."""
    widest = row * 0
    top, bottom = block_range(row - reach, row + (TH - 1) + reach, margin, DOWN, SIDE)
    left, right = block_range(col - reach, col + (TW - 1) + reach, margin, ACROSS, SIDE)
    for i in range(top, bottom):
        for j in range(left, right):
            half = tl.load(table + (tl.cast(i, tl.int64) * ACROSS + j)).to(tl.int32)
            y, x = tl.cast(i, tl.int32) * SIDE - margin, tl.cast(j, tl.int32) * SIDE - margin
            away = tl.maximum(gap(y, y + (SIDE - 1), row, row + (TH - 1)), gap(x, x + (SIDE - 1), col, col + (TW - 1)))
            widest = tl.maximum(widest, tl.where(half >= away, half, 0))
    return widest


@triton.jit(do_not_specialize=["C", "H", "W", "OUT_H", "OUT_W", "out_margin", "margin", "reach", "DOWN", "ACROSS", "maps"])
def _gaussian_spread_kernel(
        x, x_strides, sigmas, s_strides, limit, truncate, notes, table, out, C, H, W, OUT_H, OUT_W, out_margin, margin, reach, DOWN,
        ACROSS, maps, PADDING: tl.constexpr, FAR: tl.constexpr, SLOPE: tl.constexpr, SIDE: tl.constexpr, SHARED_B: tl.constexpr,
        SHARED_C: tl.constexpr, CB: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, ACC: tl.constexpr):
    """out[b,c,p] = sum_q w(sigma[q], p-q) x[b,c,q] at the positions p of the image and `out_margin`; q is the image and `margin`."""
    b, group, _, tile = program_order(tl.program_id(0), C, 1, OUT_H, OUT_W, SHARED_B, SHARED_C, CB, TH, TW)
    rows, cols, row, col = tile_pixels(tile, OUT_W, TH, TW)
    lanes = (rows < OUT_H) & (cols < OUT_W)
    out_place = rows.to(tl.int64) * OUT_W + cols
    rows, cols, row, col = rows - out_margin, cols - out_margin, row - out_margin, col - out_margin
    x_b, x_c, x_h, x_w = x_strides
    s_b, s_c, s_h, s_w = s_strides
    xs = channel_pointers(x + b * x_b, x_c, group, C, CB)
    sigmas += b * s_b + group.to(tl.int64) * s_c
    one = b * 0 if SHARED_B else b
    one = one if SHARED_C else one * C + group
    pixels = tl.cast(H, tl.int64) * W
    widest = _reaching(row, col, margin, table + one * (tl.cast(DOWN, tl.int64) * ACROSS), reach, DOWN, ACROSS, TH, TW, SIDE)
    norms = notes + one * pixels
    ratios = norms + maps * pixels

    sums = zeros(CB, TH * TW, ACC)
    top, bottom, left, right = -widest, widest, -widest, widest
    if PADDING == "zeros":      # nothing comes from beyond the image
        top, bottom = tl.maximum(top, row - (H - 1)), tl.minimum(bottom, row + (TH - 1))
        left, right = tl.maximum(left, col - (W - 1)), tl.minimum(right, col + (TW - 1))
    for i in range(top, bottom + 1):
        i = tl.cast(i, tl.int32)
        from_row, row_ok = source_index(rows - i, H, PADDING, FAR)
        row_ok = row_ok & lanes
        for j in range(left, right + 1):
            j = tl.cast(j, tl.int32)
            from_col, ok = source_index(cols - j, W, PADDING, FAR)
            ok = ok & row_ok
            at = from_row.to(tl.int64) * s_h + from_col.to(tl.int64) * s_w
            sigma, half = _cleaned(tl.load(sigmas + at, mask=ok, other=0.0).to(ACC), limit, truncate, SLOPE)
            ok = ok & (sigma > 0) & (half >= tl.maximum(tl.abs(i), tl.abs(j)))
            sigma = tl.where(ok, sigma, 1.0)
            squared = tl.cast(i * i, ACC) + tl.cast(j * j, ACC)
            note = from_row.to(tl.int64) * W + from_col
            weight = tl.exp(squared * (-0.5 / (sigma * sigma))) * tl.load(norms + note, mask=ok, other=0.0)
            if SLOPE:
                weight = weight * (squared - tl.load(ratios + note, mask=ok, other=0.0))
            place = from_row.to(tl.int64) * x_h + from_col.to(tl.int64) * x_w
            sums = add_weighted(sums, weight, xs, place, ok & (weight != 0), CB, ACC)

    own_row, row_ok = source_index(rows, H, PADDING, FAR)
    own_col, col_ok = source_index(cols, W, PADDING, FAR)
    ok = lanes & row_ok & col_ok
    at = sigmas + own_row.to(tl.int64) * s_h + own_col.to(tl.int64) * s_w
    sigma, _ = _cleaned(tl.load(at, mask=ok, other=0.0).to(ACC), limit, truncate, SLOPE)
    own = tl.where(sigma > 0, 0.0, sigma)     # NaN where the pixel's own sigma has no kernel
    place = own_row.to(tl.int64) * x_h + own_col.to(tl.int64) * x_w
    for k in tl.static_range(CB):
        result = sums[k] + own
        if not SLOPE:
            result += tl.load(xs[k] + place, mask=ok & (sigma == 0), other=0.0).to(ACC)
        tl.store(out + (b * C + channel(group, k, C, CB)) * (tl.cast(OUT_H, tl.int64) * OUT_W) + out_place, result, mask=lanes)


# host -----------------------------------------------------------------------------------------------------------------

class _Blur(Radial):
    """The blur of one map of sigmas. With a max_sigma the reach is that of the promise, and the map is not looked at."""

    def __init__(self, sigma, form, padding, max_sigma, truncate, slope, transposed=False):
        promised = torch.full((), max_sigma, dtype=accumulator(sigma.dtype))
        promise = not math.isinf(max_sigma) and truncate * max_sigma <= LARGEST
        reach = gaussian_reach(promised, truncate=truncate) if promise else gaussian_reach(sigma, max_sigma, truncate)
        super().__init__(sigma, reach, form, padding, slope, transposed)
        self.limit, self.truncate = None if math.isinf(max_sigma) else self.scalar(max_sigma), self.scalar(truncate)

    def launches(self, x, out, factor=None):
        b, c, height, width = x.shape
        out_h, out_w = out.shape[-2:]
        batch, maps = self.map.shape[:2]
        acc = kernel_accumulator(x.dtype)
        options = {"limit": self.limit, "truncate": self.truncate, "H": height, "W": width, "SLOPE": self.slope, "ACC": acc}
        images = {"x": x, "x_strides": x.stride(), "sigmas": self.map, "s_strides": broadcast_strides(self.map), "out": out, "C": c,
                  "OUT_H": out_h, "OUT_W": out_w, "PADDING": self.sources, "FAR": self.far, "SHARED_B": batch == 1, "SHARED_C": maps == 1}
        if self.gathers:
            groups, block = gather_groups(c, self.map, x.dtype)
            tiles, shape = tiling(out_h, out_w, 32)
            yield Launch(_gaussian_gather_kernel, b * groups * tiles, {
                **options, **images, "factor": factor, "factor_strides": None if factor is None else factor.stride(),
                "margin": self.margin, "AROUND": self.around, "CB": block, **shape}, registers=128)
            return
        notes = torch.empty((2, *self.map.shape), dtype=accumulator(x.dtype), device=x.device)
        table = self.block_table(1, x)
        down, across = table.shape[-2:]
        of_map = {"sigmas": self.map, "s_strides": self.map.stride(), "MAP_C": maps}
        blocks = {"margin": self.source_margin, "DOWN": down, "ACROSS": across, "SIDE": SIDE}
        yield Launch(_gaussian_totals_kernel, batch * maps * cdiv(height * width, LANES), {
            **options, **of_map, "notes": notes, "BLOCK": LANES})
        yield Launch(_gaussian_blocks_kernel, batch * maps * down * across, {
            **options, **of_map, **blocks, "table": table, "PADDING": self.sources, "FAR": self.far})
        groups, block = channel_groups(c, self.map)
        tw = min(1 << (out_w - 1).bit_length(), 16)
        th = SPREAD_LANES // tw
        yield Launch(_gaussian_spread_kernel, b * groups * cdiv(out_h, th) * cdiv(out_w, tw), {
            **options, **images, **blocks, "notes": notes, "table": table, "out_margin": self.margin, "reach": self.reach,
            "maps": batch * maps, "CB": block, "TH": th, "TW": tw}, num_warps=SPREAD_LANES // 32, registers=128)


def _blur(x, sigma, form, padding, max_sigma, truncate, transposed, slope):
    return _Blur(sigma, form, padding, max_sigma, truncate, slope, transposed).run(x).to(x.dtype).contiguous()


def gaussian_blur_fwd(x, sigma, form, padding, max_sigma, truncate):
    """Every pixel blurred by its Gaussian."""
    return _blur(x, sigma, form, padding, max_sigma, truncate, False, False)


def gaussian_blur_adjoint(y, sigma, form, padding, max_sigma, truncate):
    """The transpose of `gaussian_blur_fwd`."""
    return _blur(y, sigma, form, padding, max_sigma, truncate, True, False)


def gaussian_slope_fwd(x, sigma, form, padding, max_sigma, truncate):
    """The blur with dw/dsigma in the place of w."""
    return _blur(x, sigma, form, padding, max_sigma, truncate, False, True)


def gaussian_slope_adjoint(y, sigma, form, padding, max_sigma, truncate):
    """The transpose of `gaussian_slope_fwd`."""
    return _blur(y, sigma, form, padding, max_sigma, truncate, True, True)


def gaussian_blur_bwd_sigma(x, g, sigma, form, padding, max_sigma, truncate):
    """The gradient of <g, blur of x> in sigma, like it."""
    if x.shape[0] == 0 or x.shape[1] == 0:
        return sigma.new_zeros(sigma.shape)
    blur = _Blur(sigma, form, padding, max_sigma, truncate, slope=True, transposed=form == "scatter")
    products = blur.run(x, g) if form == "gather" else blur.run(g, x)
    return sum_to(products, sigma.shape).to(sigma.dtype).contiguous()


CONFIGURATIONS = {                # label: channels, map shared by them, padding; what is launched
    "shared by 3": ((3, True, "reflect"), ("scatter adjoint", "gather bwd")),
    "shared by 4": ((4, True, "circular"), ("scatter slope fwd",)),
    "one channel": ((1, False, "zeros"), ("gather fwd", "gather slope adjoint"))}


def aot_launches(dtype):
    """(label, launch) of every kernel in the configurations that differ most, on meta tensors, for the ahead-of-time tests."""
    for label, ((c, shared, padding), ops) in CONFIGURATIONS.items():
        x = torch.empty(2, c, 256, 256, dtype=dtype, device="meta")
        sigma = torch.empty(2, 1 if shared else c, 256, 256, dtype=accumulator(dtype), device="meta")
        for op in ops:
            bwd = op.endswith("bwd")
            blur = _Blur(sigma, op.split()[0], padding, 3.0, 4.0, bwd or "slope" in op, op.endswith("adjoint"))
            out = torch.empty(2, gather_groups(c, sigma, dtype)[0] if bwd else c, *blur.size, dtype=accumulator(dtype), device="meta")
            for launch in blur.launches(x, out, x if bwd else None):
                yield f"{op}, {label}: {launch.kernel.__name__}", launch
