"""Every pixel gathers from the disks that reach it: the forward of the scatter form, and the adjoint of the gather form.

A first kernel notes the radii of square blocks of the map. A program owns a tile of pixels, one per thread. Radii up to SPLIT it meets
offset by offset, up to the largest one in the blocks around the tile. Larger ones it meets disk by disk, in the blocks from where they
reach the tile: there the disk is the same for all threads, one that holds the whole tile needs no area, and one that misses it is left out.
Each radius goes one of the two ways, each pixel is written once, in a fixed order.
"""
import math

import triton
import triton.language as tl
from svconv._triton.boundary import source_index
from svconv._triton.disk.areas import cleaned, inner_weight, inside, last_inside, last_touched, outside, pixel_weight
from svconv._triton.launch import Launch, cdiv
from svconv._triton.radial import SIDE, add_weighted, block_range, gap
from svconv._triton.tiles import (
    broadcast_strides,
    channel,
    channel_groups,
    channel_pointers,
    kernel_accumulator,
    program_order,
    tile_pixels,
    zeros,
)

SPLIT = 32.5    # pixels, n + 1/2. Chosen by counting operations, not by measurement.
LANES = 128     # pixels of a tile


@triton.jit(do_not_specialize=["MAP_C", "H", "W", "margin", "DOWN", "ACROSS"])
def _disk_blocks_kernel(
        radius, r_strides, limit, table, MAP_C, H, W, margin, DOWN, ACROSS, PADDING: tl.constexpr, FAR: tl.constexpr,
        SLOPE: tl.constexpr, SPLIT: tl.constexpr, SIDE: tl.constexpr, ACC: tl.constexpr):
    """table[0..2, map, block]: the largest radius up to SPLIT, the largest beyond it (0: none), the smallest of all (0: some have no disk).

    The blocks cover the image and a margin, where the map goes on by PADDING.
    """
    pid = tl.program_id(0)
    blocks = DOWN * ACROSS
    block = pid % blocks
    maps = tl.num_programs(0) // blocks
    one = (pid // blocks).to(tl.int64)
    r_b, r_c, r_h, r_w = r_strides
    lane = tl.arange(0, SIDE * SIDE)
    rows = block // ACROSS * SIDE + lane // SIDE - margin
    cols = block % ACROSS * SIDE + lane % SIDE - margin
    there = (rows < H + margin) & (cols < W + margin)
    row, row_ok = source_index(rows, H, PADDING, FAR)
    col, col_ok = source_index(cols, W, PADDING, FAR)
    there = there & row_ok & col_ok
    radius += one // MAP_C * r_b + one % MAP_C * r_c
    r = tl.load(radius + row.to(tl.int64) * r_h + col.to(tl.int64) * r_w, mask=there, other=0.0).to(ACC)
    r = cleaned(r, limit, SLOPE)
    entries = tl.cast(maps, tl.int64) * blocks
    table += one * blocks + block
    tl.store(table, tl.max(tl.where(r <= SPLIT, r, 0.0)))
    tl.store(table + entries, tl.max(tl.where(r > SPLIT, r, 0.0)))
    tl.store(table + 2 * entries, tl.min(tl.where(there, tl.where(r > 0.5, r, 0.0), 16384.0)))


@triton.jit
def _near(row, col, margin, table, entries, DOWN, ACROSS, REACH: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, SIDE: tl.constexpr,
          ACC: tl.constexpr):
    """The largest radius up to SPLIT, and the smallest of all, that a tile may meet offset by offset."""
    largest, smallest = tl.cast(0.0, ACC), tl.cast(16384.0, ACC)
    top, bottom = block_range(row - REACH, row + (TH - 1 + REACH), margin, DOWN, SIDE)
    left, right = block_range(col - REACH, col + (TW - 1 + REACH), margin, ACROSS, SIDE)
    for i in range(top, bottom):
        for j in range(left, right):
            at = table + (tl.cast(i, tl.int64) * ACROSS + j)
            largest = tl.maximum(largest, tl.load(at))
            smallest = tl.minimum(smallest, tl.load(at + 2 * entries))
    return largest, smallest


@triton.jit
def _offset_sums(xs, radius, limit, rows, cols, row, col, lanes, largest, smallest, H, W, x_h, x_w, r_h, r_w, PADDING: tl.constexpr,
                 FAR: tl.constexpr, SLOPE: tl.constexpr, SPLIT: tl.constexpr, CB: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr,
                 ACC: tl.constexpr):
    """The sum over the disks up to SPLIT, by offsets: an offset that is inside the smallest disk around needs no area."""
    sums = zeros(CB, TH * TW, ACC)
    large, small = outside(largest), inside(smallest)
    reach = tl.where(large > 0, last_touched(large, large * 0), -1)
    top, bottom, left, right = -reach, reach, -reach, reach
    if PADDING == "zeros":      # nothing comes from beyond the image
        top, bottom = tl.maximum(top, row - (H - 1)), tl.minimum(bottom, row + (TH - 1))
        left, right = tl.maximum(left, col - (W - 1)), tl.minimum(right, col + (TW - 1))
    for i in range(top, bottom + 1):
        i = tl.cast(i, tl.int32)
        from_row, row_ok = source_index(rows - i, H, PADDING, FAR)
        row_ok = row_ok & lanes
        x_row, r_row = from_row.to(tl.int64) * x_h, radius + from_row.to(tl.int64) * r_h
        last, n = last_touched(large, tl.abs(i)), last_inside(small, tl.abs(i))
        for j in range(tl.maximum(-last, left), tl.minimum(last, right) + 1):
            j = tl.cast(j, tl.int32)
            from_col, ok = source_index(cols - j, W, PADDING, FAR)
            r = cleaned(tl.load(r_row + from_col.to(tl.int64) * r_w, mask=ok & row_ok, other=0.0).to(ACC), limit, SLOPE)
            there = (r > 0.5) & (r <= SPLIT)
            r = tl.where(there, r, 1.0)
            if tl.abs(j) <= n:
                weight = inner_weight(1.0 / r, SLOPE)
            else:
                weight = pixel_weight(r, i, j, 1.0 / r, SLOPE, ACC)
            sums = add_weighted(sums, weight, xs, x_row + from_col.to(tl.int64) * x_w, there & (weight != 0), CB, ACC)
    return sums


@triton.jit
def _touches(r, down, across, ACC: tl.constexpr):
    """True if a disk touches pixels at this distance."""
    y, x = tl.maximum(down.to(ACC) - 0.5, 0.0), tl.maximum(across.to(ACC) - 0.5, 0.0)
    return y * y + x * x < r * r


@triton.jit
def _disk_by_disk(sums, xs, radius, limit, rows, cols, row, col, table, most, margin, H, W, DOWN, ACROSS, x_h, x_w, r_h, r_w,
                  PADDING: tl.constexpr, FAR: tl.constexpr, SLOPE: tl.constexpr, SPLIT: tl.constexpr, SIDE: tl.constexpr,
                  CB: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, ACC: tl.constexpr):
    """sums + the disks beyond SPLIT; `table` has the largest radius of every block beyond SPLIT, `most` that of all."""
    large = outside(tl.load(most))
    reach = last_touched(large, large * 0)
    top, bottom = block_range(row - reach, row + (TH - 1) + reach, margin, DOWN, SIDE)
    left, right = block_range(col - reach, col + (TW - 1) + reach, margin, ACROSS, SIDE)
    bottom = tl.where(large > 0, bottom, top)
    for i in range(top, bottom):
        for j in range(left, right):
            y0, x0 = tl.cast(i, tl.int32) * SIDE - margin, tl.cast(j, tl.int32) * SIDE - margin
            y1, x1 = tl.minimum(y0 + SIDE, H + margin), tl.minimum(x0 + SIDE, W + margin)
            r = tl.load(table + (tl.cast(i, tl.int64) * ACROSS + j))
            count = (y1 - y0) * (x1 - x0)
            if not _touches(r, gap(y0, y1 - 1, row, row + (TH - 1)), gap(x0, x1 - 1, col, col + (TW - 1)), ACC):
                count = count * 0
            for k in range(count):
                y, x = y0 + tl.cast(k, tl.int32) // (x1 - x0), x0 + tl.cast(k, tl.int32) % (x1 - x0)
                from_row, row_ok = source_index(y, H, PADDING, FAR)
                from_col, col_ok = source_index(x, W, PADDING, FAR)
                at = from_row.to(tl.int64) * r_h + from_col.to(tl.int64) * r_w
                one = cleaned(tl.load(radius + at, mask=row_ok & col_ok, other=0.0).to(ACC), limit, SLOPE)
                if one > SPLIT:
                    if _touches(one, gap(y, y, row, row + (TH - 1)), gap(x, x, col, col + (TW - 1)), ACC):
                        inverse = 1.0 / one
                        place = from_row.to(tl.int64) * x_h + from_col.to(tl.int64) * x_w
                        down = tl.maximum(tl.abs(y - row), tl.abs(y - row - (TH - 1))).to(ACC) + 0.5
                        across = tl.maximum(tl.abs(x - col), tl.abs(x - col - (TW - 1))).to(ACC) + 0.5
                        if down * down + across * across <= one * one:
                            sums = add_weighted(sums, inner_weight(inverse, SLOPE), xs, place, place == place, CB, ACC)
                        else:
                            weight = pixel_weight(one, rows - y, cols - x, inverse, SLOPE, ACC)
                            sums = add_weighted(sums, weight, xs, place + (rows * 0).to(tl.int64), weight != 0, CB, ACC)
    return sums


@triton.jit(do_not_specialize=["C", "H", "W", "OUT_H", "OUT_W", "out_margin", "margin", "DOWN", "ACROSS"])
def _disk_spread_kernel(
        x, x_strides, radius, r_strides, limit, table, most, out, C, H, W, OUT_H, OUT_W, out_margin, margin, DOWN, ACROSS, entries,
        PADDING: tl.constexpr, FAR: tl.constexpr, SLOPE: tl.constexpr, SPLIT: tl.constexpr, REACH: tl.constexpr, SIDE: tl.constexpr,
        SHARED_B: tl.constexpr, SHARED_C: tl.constexpr, CB: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, ACC: tl.constexpr):
    """out[b,c,p] = sum_q w(radius[q], p-q) x[b,c,q] at the positions p of the image and `out_margin`; q is the image and `margin`, where
    image and map go on by PADDING. The table has the blocks of that; `entries` for all maps."""
    b, group, _, tile = program_order(tl.program_id(0), C, 1, OUT_H, OUT_W, SHARED_B, SHARED_C, CB, TH, TW)
    rows, cols, row, col = tile_pixels(tile, OUT_W, TH, TW)
    lanes = (rows < OUT_H) & (cols < OUT_W)
    out_place = rows.to(tl.int64) * OUT_W + cols
    rows, cols, row, col = rows - out_margin, cols - out_margin, row - out_margin, col - out_margin
    x_b, x_c, x_h, x_w = x_strides
    r_b, r_c, r_h, r_w = r_strides
    xs = channel_pointers(x + b * x_b, x_c, group, C, CB)
    radius += b * r_b + group.to(tl.int64) * r_c
    one = b * 0 if SHARED_B else b
    one = one if SHARED_C else one * C + group
    table += one * (tl.cast(DOWN, tl.int64) * ACROSS)

    largest, smallest = _near(row, col, margin, table, entries, DOWN, ACROSS, REACH, TH, TW, SIDE, ACC)
    sums = _offset_sums(xs, radius, limit, rows, cols, row, col, lanes, largest, smallest, H, W, x_h, x_w, r_h, r_w, PADDING, FAR,
                        SLOPE, SPLIT, CB, TH, TW, ACC)
    if most is not None:
        sums = _disk_by_disk(sums, xs, radius, limit, rows, cols, row, col, table + entries, most, margin, H, W, DOWN, ACROSS,
                             x_h, x_w, r_h, r_w, PADDING, FAR, SLOPE, SPLIT, SIDE, CB, TH, TW, ACC)

    own_row, row_ok = source_index(rows, H, PADDING, FAR)
    own_col, col_ok = source_index(cols, W, PADDING, FAR)
    ok = lanes & row_ok & col_ok
    r = cleaned(tl.load(radius + own_row.to(tl.int64) * r_h + own_col.to(tl.int64) * r_w, mask=ok, other=1.0).to(ACC), limit, SLOPE)
    own = tl.where(r > 0.5, 0.0, r)     # NaN where the pixel's own radius has no disk
    place = own_row.to(tl.int64) * x_h + own_col.to(tl.int64) * x_w
    for k in tl.static_range(CB):
        total = sums[k] + own
        if not SLOPE:
            total += tl.load(xs[k] + place, mask=ok & (r == 0), other=0.0).to(ACC)
        tl.store(out + (b * C + channel(group, k, C, CB)) * (tl.cast(OUT_H, tl.int64) * OUT_W) + out_place, total, mask=lanes)


def blocks_launch(radius, limit, table, margin, reach_is_far, padding, slope):
    """Fills table [3, B, C, blocks down, blocks across]."""
    down, across = table.shape[-2:]
    return Launch(_disk_blocks_kernel, radius.shape[0] * radius.shape[1] * down * across, {
        "radius": radius, "r_strides": radius.stride(), "limit": limit, "table": table, "MAP_C": radius.shape[1], "H": radius.shape[2],
        "W": radius.shape[3], "margin": margin, "DOWN": down, "ACROSS": across, "PADDING": padding, "FAR": reach_is_far, "SLOPE": slope,
        "SPLIT": SPLIT, "SIDE": SIDE, "ACC": kernel_accumulator(table.dtype)})


def spread_launch(x, radius, limit, table, most, out, out_margin, margin, reach_is_far, padding, slope):
    """most: a pointer to the largest radius beyond SPLIT, None where there is certainly none. out_margin, margin: of out, of the table."""
    b, c, height, width = x.shape
    out_h, out_w = out.shape[-2:]
    down, across = table.shape[-2:]
    groups, block = channel_groups(c, radius)
    tw = min(1 << (out_w - 1).bit_length(), 16)
    th = LANES // tw
    return Launch(_disk_spread_kernel, b * groups * cdiv(out_h, th) * cdiv(out_w, tw), {
        "x": x, "x_strides": x.stride(), "radius": radius, "r_strides": broadcast_strides(radius), "limit": limit, "table": table,
        "most": most, "out": out, "C": c, "H": height, "W": width, "OUT_H": out_h, "OUT_W": out_w, "out_margin": out_margin,
        "margin": margin, "DOWN": down, "ACROSS": across, "entries": table[0].numel(), "PADDING": padding, "FAR": reach_is_far,
        "SLOPE": slope, "SPLIT": SPLIT, "REACH": math.floor(SPLIT), "SIDE": SIDE, "SHARED_B": radius.shape[0] == 1,
        "SHARED_C": radius.shape[1] == 1, "CB": block, "TH": th, "TW": tw, "ACC": kernel_accumulator(x.dtype)},
        num_warps=LANES // 32, registers=128)
