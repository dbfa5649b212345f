"""`svconv deblur --psf-grid --tiles`: a picture that never stands in memory as a whole, from file to file, tile by tile."""
import functools
import os
import time

import numpy as np

from svconv._tiles import plan
from svconv.cli import psf_grid, tiles
from svconv.cli.errors import InputError, shown, warn

SIDE = {"quotient": 2048, "irls": 1536, "rl": 1536}
HALO = 48   # pixels that a solver sees beyond a tile and a PSF


def run(arguments, limits, method):
    """As `psf_grid.run`."""
    from svconv.cli import deblur
    from svconv.files import mapped, psf_grids
    from svconv.files.limits import check_memory

    picture = mapped.map_image(arguments.image, arguments.hdu)
    mapped.check_mapped_output(arguments.output)
    mask = None if arguments.mask in (None, "nan") else open_mask(arguments, picture, limits)
    psfs, grid = psf_grids.read_psf_grid(arguments.psf_grid, arguments.grid, arguments.psf_hdu, **limits)
    psf_grids.check_fits(arguments.psf_grid, psfs, grid, picture)
    psfs = psf_grid.prepared(arguments, psfs, method)
    side = chosen_side(arguments, picture, grid, method)
    tiled = plan(picture.size, side, 0 if method == "quotient" else HALO + max(psfs.shape[2:]))
    work = TileWork(arguments, picture, psfs, grid, method, mask)
    check_memory(arguments.image, work.needed(tiled), f"a tile of {side} pixels")
    picture, source = survey(arguments, picture, method, mask)
    work.picture = picture
    deblur.say_what_is_lost(arguments, picture.like)
    start = time.perf_counter()
    record = tiles.TileRecord(arguments.output, tiled, settings(arguments, picture, psfs, grid, method, side))
    try:
        work.finish(record)
        write(arguments.output, picture, record)
        record.remove()
    except KeyboardInterrupt:
        kept = len(tiled) - len(record.missing())
        warn(f"{record.folder}: {kept} of {len(tiled)} tiles are finished and kept, the same command goes on there")
        raise
    finally:
        record.close()
    width = picture.size[1]
    print(f"{shown(arguments.output)}: {width} x {picture.size[0]}, {'grey' if picture.channels == 1 else 'colour'}, {picture.bits} bits, "
          f"{grid[0]} x {grid[1]} PSFs of {psfs.shape[3]} x {psfs.shape[2]}, {method}, {len(tiled)} tiles, "
          f"{deblur.white_text(picture.white, source) if method == 'irls' else ''}{time.perf_counter() - start:.1f} s")
    return 0


def open_mask(arguments, picture, limits):
    """The mask as a picture of which parts can be taken: mapped where its file can be, else in memory."""
    from svconv.files import images, mapped
    from svconv.files.errors import FileError

    try:
        mask = mapped.map_image(arguments.mask)
    except FileError:
        mask = images.read_image(arguments.mask, **limits)
    psf_grid.check_mask(mask, picture)
    return mask


def chosen_side(arguments, picture, grid, method):
    """The side of a tile. The quotient divides whole patches, which are divided anew for each tile that they touch."""
    from svconv import EFFGrid

    if arguments.tiles != "auto":
        return arguments.tiles
    patch = max(EFFGrid(picture.size, grid).patch_size) if method == "quotient" else 0
    return max(SIDE[method], patch)


def survey(arguments, picture, method, mask):
    """(the picture with its white, who chose that), after a look at every pixel: nothing is computed from what cannot be used."""
    from svconv.files import mapped

    level, used_any, bad, negative = mapped.brightness(picture), False, 0, 0
    for rows, strip in picture.strips():
        level.add(np.abs(strip.pixels[np.isfinite(strip.pixels)]))
        part = None if mask is None else mask.part(rows, (0, picture.size[1]))
        weights = psf_grid.used(strip, part, arguments.mask == "nan")
        used_any |= bool(weights.any())
        bad += psf_grid.not_finite(strip, weights)
        negative += int(((np.moveaxis(strip.pixels, 2, 0) + (arguments.background or 0) < 0) & (weights > 0)).sum())
    if bad:
        left_out = "" if arguments.mask is None else " that --mask does not leave out"
        raise InputError(f"{arguments.image}: {bad} pixels{left_out} are NaN or infinite")
    if arguments.mask is not None and not used_any:
        raise InputError("--mask: expected pixels to use, it leaves all out")
    if method == "rl":
        psf_grid.check_negative(arguments, negative)
    return picture.with_white(None if arguments.white == "auto" else arguments.white, level.value)


def settings(arguments, picture, psfs, grid, method, side):
    """All that the tiles depend on."""
    import hashlib

    import svconv

    def file(path):
        stat = os.stat(path)
        return [os.path.abspath(path), stat.st_size, stat.st_mtime_ns]

    mask = arguments.mask if arguments.mask in (None, "nan") else file(arguments.mask)
    return {"version": svconv.__version__, "image": file(arguments.image), "hdu": arguments.hdu, "mask": mask, "grid": list(grid),
            "psfs": hashlib.sha256(np.ascontiguousarray(psfs)).hexdigest(), "psf_size": list(psfs.shape), "method": method,
            "reg": arguments.reg, "background": arguments.background, "iterations": arguments.iterations, "white": picture.white,
            "side": side}


class TileWork:
    """What is done for a tile; the files stay closed to it but for what the tile sees."""

    def __init__(self, arguments, picture, psfs, grid, method, mask):
        import torch

        from svconv import EFFGrid

        self.arguments, self.picture, self.method, self.mask = arguments, picture, method, mask
        self.kernels, self.grid = torch.from_numpy(psfs), EFFGrid(picture.size, grid)

    def seen(self, rows, columns):
        """(the rectangle (rows, columns) that a tile sees, its part of the grid, its `EFFTile` or None)"""
        from svconv.ops._eff_tiles import EFFTile

        if self.method != "quotient":
            return (rows[:2], columns[:2]), self.grid.part(rows[:2], columns[:2]), None
        tile = EFFTile("eff_image_quotient", self.grid, self.kernels.shape[2:], rows.own, columns.own, **psf_grid.division(self.arguments))
        return (tile.rows, tile.columns), tile.grid, tile

    def needed(self, tiles):
        """Bytes for the largest tile and its part of the picture."""
        most = 0
        for tile in tiles:
            (rows, columns), part, _ = self.seen(*tile)
            sides = [stop - first + k for (first, stop), k in zip((rows, columns), self.kernels.shape[2:])]
            kernels = part.patches * self.kernels[0, 0].numel()
            pixels = sides[0] * sides[1] * self.picture.channels * (8 + self.picture.like.pixels.itemsize)
            most = max(most, pixels + 4 * psf_grid.PLANES[self.method] * sides[0] * sides[1] + psf_grid.SPECTRA * 4 * kernels)
        return most + self.kernels.nbytes

    def finish(self, record):
        """Computes the tiles that the record lacks."""
        from svconv.cli import progress

        missing = record.missing()
        with progress.bar("restoring", len(missing) * self.picture.channels, self.arguments.quiet) as begin:
            for number in missing:
                record.put(number, self.tile(*record.tiles[number], begin))

    def tile(self, rows, columns, begin):
        """The pixels that a tile keeps, float32 [C, h, w], white = 1."""
        import torch

        (seen_rows, seen_columns), part, exact = self.seen(rows, columns)
        picture = self.picture.part(seen_rows, seen_columns)
        mask = None if self.mask is None else self.mask.part(seen_rows, seen_columns)
        weights, result = psf_grid.used(picture, mask, self.arguments.mask == "nan"), []
        with torch.no_grad():
            for channel in range(picture.channels):
                kernels = self.kernels[min(channel, len(self.kernels) - 1), part.indices][None]
                y, seen = picture.plane(channel), torch.from_numpy(weights[channel])[None, None]
                x = self.solved(y, kernels, part, exact, (rows, columns), None if bool((seen == 1).all()) else seen, begin())
                result.append(x[0, 0].numpy())
        return np.stack(result)

    def solved(self, y, kernels, part, exact, spans, mask, callback):
        from svconv import EFFBlur
        from svconv.solvers.tile import solve_tile

        if exact is not None:
            x = exact.run(y, kernels)
            callback(1, 1, x)
            return x
        solve = functools.partial(solve_tile, rows=spans[0], columns=spans[1])
        blur = EFFBlur(kernels, part, padding="replicate")
        x = psf_grid.restore_plane(self.arguments, blur, y, self.method, self.picture.white, mask, callback, solve)
        return x[..., spans[0].inner, spans[1].inner]


def write(path, picture, record):
    import numpy as np

    from svconv.cli import deblur
    from svconv.files import mapped

    channels, width, lost, total = picture.channels, picture.size[1], 0.0, 0.0

    def finished(start, stop):
        nonlocal lost, total
        old = picture.part((start, stop), (0, width))
        new = restored(old, record.rows(start, stop, channels, width), picture.white)
        lost, total = lost + new.lost, total + np.abs(old.pixels).sum(dtype=np.float64)
        return new.pixels

    mapped.write_mapped(path, picture, finished)
    deblur.say_what_was_cut(path, picture.like, lost, total)


def restored(old, rows, white):
    """The picture with restored rows [C, h, W] in the place of its pixels; what is broken stays."""
    import torch

    new = old.empty()
    for channel in range(old.channels):
        new.set_plane(channel, torch.from_numpy(rows[channel]), white)
    return new.with_hidden_of(old)
