"""Images larger than memory, or than one machine: the eff family on Dask arrays, a chunk of the image at a time.

`eff_conv`, `eff_conv_adjoint` and `eff_image_quotient` give what the ops of these names give on the whole image, to rounding. `irls` and
`richardson_lucy` solve overlapping tiles, which are cross-faded. Nothing is computed before the result is asked for; then chunks are worked
on one after the other, each in the memory of itself and its surroundings, in threads, processes or on a cluster as Dask is told.
Needs `pip install svconv[interop]`.
"""
import functools

import numpy as np

from svconv import _tiles
from svconv._eff_grid import EFFGrid

HALO = 48   # pixels that a solver sees beyond a tile and a kernel


def eff_conv(x, kernels, grid, *, form="scatter", padding="zeros"):
    """`svconv.eff_conv` on a Dask array.

    Args:
        x: Dask array [H, W], [C, H, W] or [B, C, H, W], float32 or float64, of any chunks: those of the last two axes are worked on one
            by one and are those of the result. Chunks much larger than a patch and a kernel do the least work twice.
        kernels: NumPy array, tensor or Dask array [R, kh, kw], [B|1, R, kh, kw] or [B|1, C|1, R, kh, kw] of the dtype of x.
        grid, form, padding: as in `svconv.eff_conv`.

    Returns:
        Dask array like x.

    Raises:
        ValueError, TypeError: naming the argument, at once.

    Bit-identical from run to run with a fixed chunking. Memory: a few chunks per task and the kernels of the patches that it sees.

    >>> import numpy as np, svconv
    >>> import dask.array as da                                                                     # doctest: +SKIP
    >>> grid = svconv.EFFGrid((4096, 4096), (9, 9))
    >>> x = da.from_array(np.load("large.npy", mmap_mode="r"), chunks=1024)                          # doctest: +SKIP
    >>> svconv.interop.dask.eff_conv(x, np.load("psfs.npy"), grid).to_zarr("blurred.zarr")          # doctest: +SKIP
    """
    return _exact("eff_conv", "x", x, kernels, grid, form=form, padding=padding)


def eff_conv_adjoint(y, kernels, grid, *, form="scatter", padding="zeros"):
    """`svconv.eff_conv_adjoint` on a Dask array; arguments as in `eff_conv` of this module."""
    return _exact("eff_conv_adjoint", "y", y, kernels, grid, form=form, padding=padding)


def eff_image_quotient(y, kernels, grid, *, beta, prior="gradient", padding="replicate"):
    """`svconv.eff_image_quotient` on a Dask array.

    Args:
        y, kernels, grid: as in `eff_conv` of this module. Every chunk sees the whole patches that touch it and their surroundings, so
            that patches larger than a chunk are divided several times.
        beta: > 0, a number. prior, padding: as in `svconv.eff_image_quotient`.
    """
    return _exact("eff_image_quotient", "y", y, kernels, grid, beta=beta, prior=prior, padding=padding)


def irls(y, kernels, grid, *, mask=None, halo=HALO, **options):
    """`svconv.solvers.irls` with an `EFFBlur`, tile by tile: a tile sees `halo` pixels and a kernel beyond its chunk and fades there.

    Args:
        y, kernels, grid: as in `eff_conv` of this module.
        mask: Dask array [H, W] or like y, 1 = use the pixel, or None.
        halo: pixels; at least 0.
        options: of `svconv.solvers.irls` without border and callback.

    The result depends a little on the chunks.
    """
    return _solved("irls", y, kernels, grid, mask, halo, options)


def richardson_lucy(y, kernels, grid, *, max_iter, mask=None, halo=HALO, **options):
    """`svconv.solvers.richardson_lucy` with an `EFFBlur`, tile by tile, as `irls` of this module. Options without border, x0, callback."""
    return _solved("richardson_lucy", y, kernels, grid, mask, halo, {"max_iter": max_iter, **options})


# arguments ----------------------------------------------------------------------------------------------------------

def _library():
    try:
        import dask.array
    except ImportError as error:
        raise ImportError("svconv.interop.dask needs Dask (pip install svconv[interop])") from error
    return dask


def _checked(name, image, kernels, grid):
    """(the image with whole leading axes, its kernels as an array [B|1, C|1, R, kh, kw])"""
    from svconv._shapes import shape_text
    from svconv.ops.eff import check_grid

    da = _library().array
    check_grid(grid)
    if type(grid) is not EFFGrid:
        raise TypeError(f"grid: expected an EFFGrid of a whole image, got {type(grid).__name__}")
    image = da.asarray(image)
    if image.ndim not in (2, 3, 4) or tuple(image.shape[-2:]) != grid.image_size:
        raise ValueError(f"{name}: expected [H, W], [C, H, W] or [B, C, H, W] with the grid's size {grid.image_size}, got "
                         f"{shape_text(image)}")
    if image.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: expected float32 or float64, got {image.dtype}")
    kernels = kernels if isinstance(kernels, da.Array) else np.asarray(kernels)
    if kernels.dtype != image.dtype:
        raise TypeError(f"kernels: expected {image.dtype} like {name}, got {kernels.dtype}")
    batch, channels = (1, 1, *image.shape[:-2])[-2:]
    if kernels.ndim not in (3, 4, 5) or 0 in kernels.shape:
        raise ValueError(f"kernels: expected [R, kh, kw], [B|1, R, kh, kw] or [B|1, C|1, R, kh, kw], got {shape_text(kernels)}")
    kernels = kernels[None, None] if kernels.ndim == 3 else kernels[:, None] if kernels.ndim == 4 else kernels
    if kernels.shape[0] not in (1, batch) or kernels.shape[1] not in (1, channels) or kernels.shape[2] != grid.patches:
        raise ValueError(f"kernels: expected B = 1 or {batch}, C = 1 or {channels}, R = {grid.patches} of the grid, got "
                         f"{shape_text(kernels)}")
    return image.rechunk(dict.fromkeys(range(image.ndim - 2), -1)), kernels


def _cuts(image):
    """Where the chunks of the last two axes begin, and the sizes."""
    return [[0, *map(int, np.cumsum(chunks))] for chunks in image.chunks[-2:]]


def _seen(image, rows, columns):
    """The pixels first .. stop - 1 of both axes, going on periodically."""
    da, (height, width) = _library().array, image.shape[-2:]
    image = da.concatenate([image[..., part, :] for part in _tiles.turns(*rows, height)], -2)
    return da.concatenate([image[..., part] for part in _tiles.turns(*columns, width)], -1)


def _blocks(image, make):
    """The Dask array whose chunks are make(row index, column index), delayed."""
    dask = _library()
    rows, columns = image.chunks[-2:]
    blocks = [[dask.array.from_delayed(make(i, j), (*image.shape[:-2], h, w), image.dtype) for j, w in enumerate(columns)]
              for i, h in enumerate(rows)]
    return dask.array.block(blocks)


# exact ops ----------------------------------------------------------------------------------------------------------

def _exact(name, image_name, image, kernels, grid, **options):
    import torch

    from svconv.ops._eff_tiles import OPS, EFFTile

    image, kernels = _checked(image_name, image, kernels, grid)
    shapes = (0, 1, *grid.image_size), (1, 1, *kernels.shape[2:])
    OPS[name](*(torch.empty(shape, device="meta") for shape in shapes), grid, **options)     # what is wrong is said now
    cuts, delayed = _cuts(image), _library().delayed

    def make(i, j):
        tile = EFFTile(name, grid, kernels.shape[-2:], *(cut[at:at + 2] for cut, at in zip(cuts, (i, j))), **options)
        return delayed(_run_tile, pure=True)(tile, _seen(image, tile.rows, tile.columns), kernels[:, :, tile.grid.indices.numpy()])

    return _blocks(image, make)


def _run_tile(tile, seen, kernels):
    return _as_planes(lambda x: tile.run(x, _tensor(kernels)), seen)


def _as_planes(function, a):
    """function on [B, C, h, w] for an array of fewer axes."""
    x = function(_tensor(a).reshape((1, 1, *a.shape)[-4:]))
    return np.ascontiguousarray(x.reshape(*a.shape[:-2], *x.shape[-2:]).numpy())


def _tensor(a):
    import torch

    a = np.ascontiguousarray(a, a.dtype.newbyteorder("="))
    return torch.from_numpy(a if a.flags.writeable else a.copy())


# solvers ------------------------------------------------------------------------------------------------------------

def _solved(name, y, kernels, grid, mask, halo, options):
    from svconv._shapes import number

    da = _library().array
    y, kernels = _checked("y", y, kernels, grid)
    for option in ("border", "callback", "x0"):
        if option in options:
            raise TypeError(f"{option}: {name} on tiles does not take it")
    reach = number("halo", halo, least=0, integer=True) + max(kernels.shape[-2:])
    if mask is not None:
        mask = da.asarray(mask)
        if mask.shape not in (y.shape[-2:], y.shape):
            raise ValueError(f"mask: expected {tuple(y.shape[-2:])} or the shape of y, got {tuple(mask.shape)}")
    spans = [_tiles.spans_between(cut, reach) for cut in _cuts(y)]
    tiles = {(i, j): _tile(name, y, kernels, grid, mask, rows, columns, options)
             for i, rows in enumerate(spans[0]) for j, columns in enumerate(spans[1])}

    def make(i, j):
        """The own pixels of a tile, from it and its neighbours."""
        parts = [(tiles[a, b], *map(_common, (spans[0][i], spans[1][j]), (spans[0][a], spans[1][b])))
                 for a in (i - 1, i, i + 1) for b in (j - 1, j, j + 1) if (a, b) in tiles]
        parts = [part for part in parts if all(part[1:])]
        shape = *y.shape[:-2], *(stop - start for start, stop in (spans[0][i].own, spans[1][j].own))
        return _library().delayed(_joined, pure=True)(shape, y.dtype, [part[0] for part in parts], [part[1:] for part in parts])

    return _blocks(y, make)


def _common(own, other):
    """(where in the own pixels of one span, where in the kept ones of another) they share pixels; None where they share none."""
    (start, stop), (first, last) = own.own, other.kept
    a, b = max(start, first), min(stop, last)
    return (slice(a - start, b - start), slice(a - first, b - first)) if a < b else None


def _joined(shape, dtype, tiles, places):
    total = np.zeros(shape, dtype)
    for tile, ((rows, from_rows), (columns, from_columns)) in zip(tiles, places):
        total[..., rows, columns] += tile[..., from_rows, from_columns]
    return total


def _tile(name, y, kernels, grid, mask, rows, columns, options):
    """The weighted pixels that are kept of a tile, delayed."""
    part = grid.part(rows[:2], columns[:2])
    here = (..., slice(*rows[:2]), slice(*columns[:2]))
    return _library().delayed(functools.partial(_solve, name, options), pure=True)(
        part, y[here], kernels[:, :, part.indices.numpy()], None if mask is None else mask[here], rows, columns)


def _solve(name, options, part, y, kernels, mask, rows, columns):
    from svconv import EFFBlur, solvers
    from svconv.solvers.tile import solve_tile

    rows, columns = _tiles.Span(*rows), _tiles.Span(*columns)
    blur = EFFBlur(_tensor(kernels), part, padding="replicate")
    if mask is not None:
        mask = _tensor(mask).to(blur.kernels.dtype)
        mask = mask.reshape((1, 1, *mask.shape)[-4:])
    x = _as_planes(lambda t: solve_tile(getattr(solvers, name), blur, t, rows, columns, mask=mask, **options), y)
    weights = rows.weights[:, None] * columns.weights
    return x[..., rows.inner, columns.inner] * weights.astype(x.dtype)
