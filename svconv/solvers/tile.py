"""A solver on one tile of a larger image: what lies beyond the tile's inner edges is unknown, and no constant."""
import torch


def solve_tile(solver, op, y, rows, columns, *, mask=None, **options):
    """x of `solver` on a tile: output pixels whose kernel reaches over an edge that is none of the image are left out.

    Args:
        solver: irls or richardson_lucy. op: an operator on the tile, with its own padding at the border of the image.
        y: [B, C, h, w]. rows, columns: `svconv._tiles.Span` of the tile.
        mask: [B|1, 1|C, h, w] as the solvers take it, or None. Where it leaves out all, y comes back.
        options: of the solver.
    """
    height, width = y.shape[-2:]
    top, bottom, left, right = op.reach
    inside = torch.ones(1, 1, height, width, dtype=y.dtype)
    for axis, n, span, before, after in ((2, height, rows, top, bottom), (3, width, columns, left, right)):
        if span.first is not None:
            inside.narrow(axis, 0, min(before, n)).zero_()
        if span.last is not None:
            inside.narrow(axis, max(0, n - after), min(after, n)).zero_()
    seen = inside if mask is None else mask * inside
    if not bool(seen.any()):
        return y
    return solver(op, y, mask=None if mask is None and bool(inside.all()) else seen, border=None, **options).x
