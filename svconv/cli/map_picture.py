"""A blur map drawn for people: colours from dark blue to yellow, and a bar that says what they mean."""
import math

import numpy as np

# RGB at equal steps of a scale whose lightness rises evenly, also for those who do not see some colours, and in grey
COLOURS = ((68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141), (39, 173, 129), (92, 200, 99), (170, 220, 50),
           (253, 231, 37))
BAR, GAP, TEXT = 24, 12, 16     # pixels: width of the bar, space about it, height of a number
STEPS = (1, 2, 5, 10)


def coloured(values, top):
    """uint8 [..., 3] of values 0..top."""
    t = np.clip(np.asarray(values, np.float32) / (top or 1), 0, 1) * (len(COLOURS) - 1)
    table = np.asarray(COLOURS, np.float32)
    low = t.astype(int).clip(0, len(COLOURS) - 2)
    share = (t - low)[..., None]
    return np.rint(table[low] * (1 - share) + table[low + 1] * share).astype(np.uint8)


def ticks(top):
    """About five round numbers from 0 to top."""
    if not top > 0:
        return [0.0]
    raw = top / 5
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * s for s in STEPS if unit * s >= raw * (1 - 1e-9))
    return [step * i for i in range(int(top / step * (1 + 1e-9)) + 1)]


def drawn(radius):
    """uint8 [H, W', 3]: the map [H, W] and at its right the bar, in pixels of radius; small maps are enlarged to hold its numbers."""
    from PIL import Image, ImageDraw, ImageFont

    zoom = max(1, -(-160 // min(radius.shape)))
    top = float(radius.max())
    picture = coloured(radius, top).repeat(zoom, 0).repeat(zoom, 1)
    height, width = picture.shape[:2]
    size = max(TEXT, height // 40)
    font = ImageFont.load_default(size=size)
    marks = [(value, f"{value:g}") for value in ticks(top)]
    room = int(max(font.getlength(text) for _, text in [*marks, (0, "px")])) + 2 * GAP
    canvas = Image.new("RGB", (width + GAP + BAR + room, height), "white")
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw, left, first, last = ImageDraw.Draw(canvas), width + GAP, 2 * size, height - size
    shown = np.linspace(top, 0, last - first)
    canvas.paste(Image.fromarray(coloured(shown, top)[:, None].repeat(BAR, 1)), (left, first))
    draw.text((left, size), "px", fill="black", font=font, anchor="lm")
    for value, text in marks:
        y = last - 1 - (round(value / top * (last - first - 1)) if top else 0)
        draw.line([left + BAR, y, left + BAR + GAP // 2, y], fill="black")
        draw.text((left + BAR + GAP, y), text, fill="black", font=font, anchor="lm")
    return np.asarray(canvas)
