"""What a long restoration will take, said before it begins: memory by the plan, time by a piece of the photograph."""
import sys
import time

LONG = 4e6      # pixels from which it is said
TRIAL = 320     # pixels: side of the piece that is restored for it


def restoration(picture, kernel, method, reg):
    """A line on stderr for a large picture; kernel [1 or 3, kh, kw]."""
    from svconv.cli import deblur, memory

    if picture.size[0] * picture.size[1] >= LONG:
        needed = memory.needed(picture, kernel.shape[1:], method, deblur.TILE, deblur.HALO)
        print(f"svconv: restoring takes about {in_words(seconds(picture, kernel, method, reg))} and {needed / 1e9:.1f} GB", file=sys.stderr)


def seconds(picture, kernel, method, reg):
    """As many times a piece of the first colour from the middle as the tiles, with what they see beyond their borders, are larger."""
    import torch

    from svconv._tiles import plan
    from svconv.cli import deblur

    kernel = deblur.without_margin(kernel)
    parts = plan(picture.size, deblur.TILE, deblur.HALO + max(kernel.shape[1:]))
    pixels = sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in parts) * picture.channels
    spans = [((side - min(side, TRIAL)) // 2, (side + min(side, TRIAL)) // 2) for side in picture.size]
    piece, k = picture.part(*spans).plane(0), torch.from_numpy(kernel[:1]).float()[None]
    with torch.no_grad():
        deblur.restore_plane(piece[..., :64, :64], k, method, reg, None)       # what only the first call takes
        start = time.perf_counter()
        deblur.restore_plane(piece, k, method, reg, None)
    return (time.perf_counter() - start) * pixels / piece.numel()


def in_words(duration):
    """A time with the digits that an estimate has."""
    return f"{duration / 60:.0f} minutes" if duration >= 100 else f"{max(duration, 1):.0f} s"
