"""A picture tile by tile: in memory, or as files of which the finished ones are kept when the run is stopped."""
import contextlib
import json
import os
import shutil

import numpy as np

from svconv.files.errors import FileError
from svconv.files.outputs import make_folder, replacing, write_text


def apply(function, y, tiles, mask=None):
    """function(tile, its part of the mask) for every tile of y [1, 1, H, W], put together again."""
    def part(here, _):
        return function(y[here].contiguous(), None if mask is None else mask[here].contiguous())

    return function(y, mask) if len(tiles) == 1 else together(part, y, tiles)


def together(part, like, tiles):
    """part(here, tile) for every tile, put together like `like` [..., H, W]; `here`: an index of all that the tile sees."""
    import torch

    x = like.new_zeros(like.shape)
    for rows, columns in tiles:
        result = part((..., slice(*rows[:2]), slice(*columns[:2])), (rows, columns))[..., rows.inner, columns.inner]
        x[..., slice(*rows.kept), slice(*columns.kept)] += torch.from_numpy(rows.weights[:, None] * columns.weights) * result
    return x


def exact(tiles):
    """The tiles without cross-fades, for what does not depend on them."""
    return [(rows._replace(fade=0), columns._replace(fade=0)) for rows, columns in tiles]


class TileRecord:
    """The finished tiles of a run, a file each, in a folder beside its output.

    Args:
        output: the file that the run writes.
        tiles: of `svconv._tiles.plan`.
        settings: all that the tiles depend on, as JSON. FileError if the folder holds tiles of other settings.
    """

    def __init__(self, output, tiles, settings):
        self.folder, self.tiles = f"{output}.tiles", tiles
        plan_file = os.path.join(self.folder, "run.json")
        text = json.dumps(settings, indent=1, sort_keys=True) + "\n"
        if os.path.lexists(self.folder):
            found = None
            with contextlib.suppress(OSError, ValueError), open(plan_file, encoding="utf-8") as file:
                found = file.read()
            if found != text:
                raise FileError(f"{self.folder}: it holds tiles of another run (other settings or files): delete it, or name another "
                                "output")
        make_folder(self.folder)
        self._lock = self._locked()
        write_text(plan_file, text)

    def _locked(self):
        """The open folder, which no other run may work on; it is free again when the process ends, however it ends."""
        with contextlib.suppress(ImportError):      # only Unix has locks of folders
            import fcntl

            lock = os.open(self.folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(lock)
                raise FileError(f"{self.folder}: another run is working on these tiles") from error
            return lock
        return None

    def _path(self, number):
        return os.path.join(self.folder, f"tile-{number:06d}.npy")

    def missing(self):
        """The numbers of the tiles that are not there yet."""
        return [number for number in range(len(self.tiles)) if not os.path.exists(self._path(number))]

    def put(self, number, a):
        """Keeps the result of a tile: the pixels that it keeps, [C, h, w] float32."""
        rows, columns = self.tiles[number]
        with replacing(self._path(number)) as file:
            np.save(file, (a * (rows.weights[:, None] * columns.weights)).astype(np.float32, copy=False))

    def rows(self, start, stop, channels, width):
        """Rows of the whole picture [C, stop - start, width], put together from the tiles in their order."""
        total = np.zeros((channels, stop - start, width), np.float32)
        for number, (rows, columns) in enumerate(self.tiles):
            first, last = rows.kept
            a, b = max(start, first), min(stop, last)
            if a < b:
                tile = np.load(self._path(number), mmap_mode="r")
                total[:, a - start:b - start, slice(*columns.kept)] += tile[:, a - first:b - first]
        return total

    def remove(self):
        """When the output is there."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    def close(self):
        """Lets other runs work on the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
