"""Pictures of what `models.LearningToDeblur` has learned: its filters, and its features of four blurred disks (paper, Figs. 7 and 8)."""
import os

import numpy as np
import torch

from svconv.files import images, outputs
from svconv.ops import conv

FILES = {"filters": "filters.png", "features": "features.png"}
COLUMNS, FILTER_SCALE, FEATURE_TILE = 16, 4, 64
GAP, CAPTION, PAPER = 2, 16, 255       # pixels between tiles, height of a line of text, grey of what is no tile
SIGMAS = (0.03, 0.07, 0.11, 0.15)      # of the Gaussians, in sides of the last kernel: the widest one just fits


def check_folder(folder):
    """Makes the folder; FileError unless it is there then and the pictures can be written into it."""
    outputs.make_folder(folder)
    for name in FILES.values():
        outputs.check_folder(os.path.join(folder, name))


def write_pictures(model, folder):
    """Writes filters.png and features.png of a `LearningToDeblur` into a folder."""
    for name, draw in (("filters", filter_picture), ("features", feature_picture)):
        images.write_image(os.path.join(folder, FILES[name]), images.Picture(draw(model)[..., None]))


def filter_picture(model):
    """The filters of every stage, uint8 [h, w]: 16 side by side, each of its own scale about middle grey; from the second stage on those
    on the blurry image with those on the latent image below them, on one scale."""
    parts = []
    for caption, stage in named_stages(model):
        filters = stage.filters.detach().float().cpu()
        grey = about_middle_grey(filters, dims=(1, 2, 3)).repeat(FILTER_SCALE, axis=-2).repeat(FILTER_SCALE, axis=-1)
        below = "" if grey.shape[1] == 1 else "; every second row: the same filters on the latent image"
        parts.append(text_line(f"{caption}: filters on the blurry image{below}"))
        parts += [tiled(np.swapaxes(grey[start:start + COLUMNS], 0, 1)) for start in range(0, len(grey), COLUMNS)]
    return stacked(parts)


@torch.no_grad()
def feature_picture(model):
    """The sharp and the blurry features of four disks in every stage, uint8 [h, w]: one row per feature, on one scale about middle grey."""
    disks = blurred_disks(model.kernel_sizes[-1]).to(next(model.parameters()).device)
    parts = [text_line("four disks, blurred by Gaussians of growing width"), tiled(as_tiles(disks.permute(1, 0, 2, 3).cpu().numpy() * 255))]
    for caption, sharp, blurry in features_of(model, disks):
        left, right = (tiled(as_tiles(about_middle_grey(f.permute(1, 0, 2, 3), dims=(1, 2, 3)))) for f in (sharp, blurry))
        captions = text_line(f"{caption}: sharp features", left.shape[1]), text_line("blurry features")
        parts += [beside(*captions), beside(left, right)]
    return stacked(parts)


def named_stages(model):
    """[(caption, `FeatureModule`)] in the order in which they run."""
    return [(f"stage {t + 1}" + (f" at {size} pixels" if len(model.scales) > 1 else ""), stage)
            for size, scale in zip(model.kernel_sizes, model.scales) for t, stage in enumerate(scale["stages"])]


def features_of(model, y):
    """[(caption, sharp features, blurry features)] of every stage for images y, each on its way to its kernel."""
    found, hooks = [], []
    for caption, stage in named_stages(model):
        def keep(module, inputs, features, caption=caption):
            found.append((caption, *(f.float().cpu() for f in features)))

        hooks.append(stage.register_forward_hook(keep))
    try:
        model.estimate(y)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def blurred_disks(size):
    """One bright disk [4, 1, side, side], blurred by four Gaussians that fit kernels of `size` pixels."""
    side = 4 * size
    t = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
    edge = side / 5 - (t[:, None].square() + t.square()).sqrt()
    disk = 0.2 + 0.6 * (edge + 0.5).clamp(0, 1)
    taps = torch.arange(size, dtype=torch.float32) - size // 2
    g = torch.exp(-0.5 * (taps / (torch.tensor(SIGMAS)[:, None] * size)).square())
    kernels = g[:, :, None] * g[:, None, :]
    return conv(disk.expand(len(SIGMAS), 1, side, side), (kernels / kernels.sum((1, 2), keepdim=True))[:, None], padding="replicate")


# drawing --------------------------------------------------------------------------------------------------------------

def about_middle_grey(values, dims):
    """0..255 with zero at 127.5, the largest magnitude over `dims` at an end."""
    return (127.5 + 127.5 * values / values.abs().amax(dims, keepdim=True).clamp_min(1e-12)).numpy()


def as_tiles(grey):
    """[rows, columns, h, w] with tiles of at least FEATURE_TILE pixels: each pixel becomes a square."""
    times = -(-FEATURE_TILE // min(grey.shape[-2:]))
    return grey.repeat(times, axis=-2).repeat(times, axis=-1)


def tiled(grey):
    """[rows, columns, h, w] as one picture uint8, tiles a gap apart."""
    rows, columns, height, width = grey.shape
    page = np.full((rows, height + GAP, columns, width + GAP), PAPER, np.uint8)
    page[:, :height, :, :width] = np.rint(grey).clip(0, 255).astype(np.uint8).transpose(0, 2, 1, 3)
    return page.reshape(rows * (height + GAP), columns * (width + GAP))


def text_line(text, least=0):
    """A line of text as a picture, at least so wide."""
    from PIL import Image, ImageDraw, ImageFont  # here, as everywhere: the command line is there before Pillow

    font = ImageFont.load_default()
    line = Image.new("L", (max(least, int(font.getlength(text)) + 4), CAPTION), PAPER)
    ImageDraw.Draw(line).text((2, 2), text, fill=0, font=font)
    return np.asarray(line)


def stacked(parts):
    """Pictures one below the other, from the left."""
    width = max(part.shape[1] for part in parts)
    return np.concatenate([widened(part, width) for part in parts])


def beside(left, right):
    """Two pictures of one height side by side."""
    return np.concatenate([widened(left, left.shape[1] + 4 * GAP), right], 1)


def widened(picture, width):
    """A picture with paper to its right."""
    return np.pad(picture, ((0, 0), (0, width - picture.shape[1])), constant_values=PAPER)
