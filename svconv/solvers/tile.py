"""A solver on one tile of a larger image: what lies beyond the tile's inner edges is unknown, and no constant."""
from svconv.solvers.data_term import clear_of_edges


def solve_tile(solver, op, y, rows, columns, *, mask=None, **options):
    """x of `solver` on a tile: output pixels whose kernel reaches over an edge that is none of the image are left out.

    Args:
        solver: irls or richardson_lucy. op: an operator on the tile, with its own padding at the border of the image.
        y: [B, C, h, w]. rows, columns: `svconv._tiles.Span` of the tile.
        mask: [B|1, 1|C, h, w] as the solvers take it, or None. Where it leaves out all, y comes back, 0 for NaN.
        options: of the solver.
    """
    edges = (edge is not None for edge in (rows.first, rows.last, columns.first, columns.last))
    inside = clear_of_edges(op, y, tuple(edges))
    seen = inside if mask is None else mask * inside
    if not bool(seen.any()):
        return y.nan_to_num(0, 0, 0)
    return solver(op, y, mask=None if mask is None and bool(inside.all()) else seen, border=None, **options).x
