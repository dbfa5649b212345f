"""Patches of images: cut out with their weights, and added up again, by the tables of two axes (`svconv._eff_pieces`)."""
import triton
import triton.language as tl
from svconv._triton.launch import Launch, cdiv

from svconv._eff_pieces import Pieces

TILE = 8, 64                # rows and columns that a program writes


@triton.jit
def tile_of(pid, rows, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Rows and columns of a program's tile, which of them exist, and the number of the plane."""
    down = (rows - 1) // ROWS + 1
    across = (columns - 1) // COLUMNS + 1
    i = pid // across % down * ROWS + tl.arange(0, ROWS)
    j = pid % across * COLUMNS + tl.arange(0, COLUMNS)
    return i, j, i < rows, j < columns, pid // across // down


@triton.jit(do_not_specialize=["row_first", "column_first", "pieces", "planes", "channels", "stride_b", "stride_c", "stride_h", "stride_w"])
def _patches_cut_kernel(image, patches, row_places, row_weights, row_first, column_places, column_weights, column_first, pieces, planes,
                        channels, stride_b, stride_c, stride_h, stride_w, height, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """patches[piece, plane, i, j] = image[plane, row_places[i], column_places[j]], weighted; 0 where a place has no pixel.

    `pieces` is the number of pieces in a row of the batch; planes are images times channels.
    """
    i, j, in_rows, in_columns, patch = tile_of(tl.program_id(0), height, width, ROWS, COLUMNS)
    piece = patch // planes
    plane = (patch % planes).to(tl.int64)
    row_at = (row_first + piece // pieces).to(tl.int64) * height + i
    column_at = (column_first + piece % pieces).to(tl.int64) * width + j
    row = tl.load(row_places + row_at, in_rows, -1)
    column = tl.load(column_places + column_at, in_columns, -1)
    pixel = (row.to(tl.int64) * stride_h)[:, None] + (column.to(tl.int64) * stride_w)[None, :]
    seen = (row >= 0)[:, None] & (column >= 0)[None, :]
    value = tl.load(image + (plane // channels * stride_b + plane % channels * stride_c + pixel), seen, 0.0)
    if row_weights is not None:
        value *= tl.load(row_weights + row_at, in_rows, 0.0)[:, None] * tl.load(column_weights + column_at, in_columns, 0.0)[None, :]
    place = patch.to(tl.int64) * height * width + (i.to(tl.int64) * width)[:, None] + j[None, :]
    tl.store(patches + place, value, in_rows[:, None] & in_columns[None, :])


@triton.jit(do_not_specialize=["row_first", "rows", "column_first", "columns", "pieces", "planes"])
def _patches_add_kernel(patches, result, row_pixel, row_begin, row_end, row_piece, row_place, row_weight, row_first, rows, column_pixel,
                        column_begin, column_end, column_piece, column_place, column_weight, column_first, columns, pieces, planes, height,
                        width, result_height, result_width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """result[plane, row, column] += the sum over all (piece, place) that reach the row, and those that reach the column, weighted.

    Pixel n = 0..rows-1 of the batch is row_pixel[n], reached by the entries row_begin[n]..row_end[n]-1 of the other tables; all tables
    from row_first on. Likewise columns.
    """
    i, j, in_rows, in_columns, plane = tile_of(tl.program_id(0), rows, columns, ROWS, COLUMNS)
    plane = plane.to(tl.int64)
    i += row_first
    j += column_first
    begin = tl.load(row_begin + i, in_rows, 0)
    end = tl.load(row_end + i, in_rows, 0)
    first = tl.load(column_begin + j, in_columns, 0)
    last = tl.load(column_end + j, in_columns, 0)
    pixel = (tl.load(row_pixel + i, in_rows, 0).to(tl.int64) * result_width)[:, None] + tl.load(column_pixel + j, in_columns, 0)[None, :]
    inside = in_rows[:, None] & in_columns[None, :]
    result += plane * result_height * result_width + pixel
    patches += plane * height * width
    patch = planes.to(tl.int64) * height * width      # from one piece to the next

    total = tl.load(result, inside, 0.0)
    most_rows = tl.max(end - begin, 0)
    for n in range(tl.max(last - first, 0)):
        entry = first + n
        comes = entry < last
        column = tl.load(column_piece + entry, comes, 0).to(tl.int64) * patch + tl.load(column_place + entry, comes, 0)
        part = tl.zeros((ROWS, COLUMNS), dtype=patches.dtype.element_ty)
        for m in range(most_rows):
            other = begin + m
            arrives = other < end
            row = tl.load(row_piece + other, arrives, 0).to(tl.int64) * pieces * patch \
                + tl.load(row_place + other, arrives, 0).to(tl.int64) * width
            value = tl.load(patches + (row[:, None] + column[None, :]), arrives[:, None] & comes[None, :], 0.0)
            if row_weight is not None:
                value *= tl.load(row_weight + other, arrives, 0.0)[:, None]
            part += value
        if column_weight is not None:
            part *= tl.load(column_weight + entry, comes, 0.0)[None, :]
        total += part
    tl.store(result, total, inside)


# host -----------------------------------------------------------------------------------------------------------------

class Patches(Pieces):
    """The pieces of a call, and the kernels that cut them out and add them up; `make` serves both axes."""

    def __init__(self, grid, kernel_size, make, *options, image):
        super().__init__(grid, kernel_size, (make, make), *options, image=image)

    def cut(self, image, batch, side):
        """The pieces of images [B, C, H, W] by "load" or "store", weighted: [n, B, C, height, width]."""
        rows, columns = (getattr(axis, side) for axis in (self.rows, self.columns))
        down, across = self.counts(batch)
        patches = image.new_empty((down * across, *image.shape[:2], *self.size))
        planes, tiles = image.shape[0] * image.shape[1], cdiv(self.size[0], TILE[0]) * cdiv(self.size[1], TILE[1])
        Launch(_patches_cut_kernel, down * across * planes * tiles, {
            "image": image, "patches": patches, "row_places": rows.places, "row_weights": rows.weights,
            "row_first": self.rows.parts[batch[0]][0], "column_places": columns.places, "column_weights": columns.weights,
            "column_first": self.columns.parts[batch[1]][0], "pieces": across, "planes": planes, "channels": image.shape[1],
            **dict(zip(("stride_b", "stride_c", "stride_h", "stride_w"), image.stride())), "height": self.size[0], "width": self.size[1],
            "ROWS": TILE[0], "COLUMNS": TILE[1]}, num_warps=4)(image.device)
        return patches

    def add(self, patches, batch, side, result):
        """The transpose of `cut`: contiguous patches [n, B, C, h, w] are added to a contiguous result [B, C, H, W]. "kernel": kernels are
        added to [B, C, rows * kh, columns * kw], those of the pieces of one patch to the patch's own."""
        rows, columns = (getattr(axis, side) for axis in (self.rows, self.columns))
        (row_first, down), (column_first, across) = rows.bounds[batch[0]], columns.bounds[batch[1]]
        planes = result.shape[0] * result.shape[1]
        Launch(_patches_add_kernel, planes * cdiv(down, TILE[0]) * cdiv(across, TILE[1]), {
            "patches": patches, "result": result, **_arriving("row", rows), "row_first": row_first, "rows": down,
            **_arriving("column", columns), "column_first": column_first, "columns": across, "pieces": self.counts(batch)[1],
            "planes": planes, "height": patches.shape[-2], "width": patches.shape[-1], "result_height": result.shape[-2],
            "result_width": result.shape[-1], "ROWS": TILE[0], "COLUMNS": TILE[1]})(result.device)

    def of_pieces(self, kernels, batch):
        """The kernels [B, C, R, kh, kw] of the pieces: [n, B, C, kh, kw]."""
        (first, last), (left, right) = self.rows.parts[batch[0]], self.columns.parts[batch[1]]
        own = kernels.unflatten(2, self.grid).index_select(2, self.rows.patch[first:last]).index_select(3, self.columns.patch[left:right])
        return own.permute(2, 3, 0, 1, 4, 5).flatten(0, 1)

    def per_patch(self, values):
        """What `add` made with "kernel", [B, C, rows * kh, columns * kw] -> [B, C, R, kh, kw]."""
        (rows, columns), (kh, kw) = self.grid, self.kernel_size
        return values.view(*values.shape[:2], rows, kh, columns, kw).transpose(3, 4).flatten(2, 3).contiguous()


def _arriving(axis, side):
    return {f"{axis}_{name}": getattr(side, name) for name in ("pixel", "begin", "end", "piece", "place", "weight")}
