"""The picture that `svconv filters` writes: images of every iteration above, below them the filters of each pixel as little squares."""
import numpy as np

GAP, LABEL, LEAST, LINE = 10, 22, 350, 1     # pixels; LEAST is a panel wide, LINE stands between two filters
COLOURS = {"all": slice(None), "red": slice(0, 1), "green": slice(1, 2), "blue": slice(2, 3)}
FRAME, BACKGROUND, LINES = (255, 220, 0), 255, 60


def drawn(details, y, inside, colour="all", minus_mean=False, place=None):
    """uint8 [H, W, 3].

    Args:
        details: `svconv.models.svmap.MAPDetails` of y. y: [1, 3, H, W].
        inside: the window in y, place: in the photograph; (row, column, rows, columns).
    """
    images = {"blurred": y, **{f"x^{t}": image for t, image in enumerate(details.images)}}
    size = max(t.shape[3] for made in details.filters for t in (made.data_filters, made.prior_filters) if t is not None)
    cell = size * max(1, -(-LEAST // (size * inside[3]))) + LINE
    rows = [[(name, _photograph(image, inside, cell * inside[3])) for name, image in images.items()],
            [(f"{name}, {_place(place or inside)}", _magnified(image, inside, cell)) for name, image in images.items()]]
    for t, made in enumerate(details.filters):
        for role, guide, filters, weights in (("data", f"y - K x^{t}", made.data_filters, made.data_weights),
                                              ("prior", f"x^{t}", made.prior_filters, made.prior_weights)):
            if filters is not None:
                rows.append(_panels(f"{role} filter {{}} of {guide}", _window(filters, inside), colour, minus_mean, cell))
            if weights is not None:
                rows.append(_weights(f"weights of {role} filter {{}}", weights, inside, colour, cell))
    return _composed(rows)


def _place(place):
    return f"rows {place[0]} to {place[0] + place[2] - 1}, columns {place[1]} to {place[1] + place[3] - 1}"


def _window(t, inside):
    """float32 numpy [C, M, s, s, h, w] or [C, M, h, w] of what stands on the image."""
    row, column, rows, columns = inside
    return t[0][..., row:row + rows, column:column + columns].float().numpy()


def _photograph(image, inside, width):
    """The whole of it with the window framed, as wide as a panel."""
    from PIL import Image, ImageDraw

    photo = Image.fromarray(_bytes(image[0].permute(1, 2, 0).numpy()))
    scale = width / photo.width
    photo = photo.resize((width, max(1, round(photo.height * scale))), Image.Resampling.BICUBIC)
    row, column, rows, columns = (scale * value for value in inside)
    ImageDraw.Draw(photo).rectangle([column, row, column + columns - 1, row + rows - 1], outline=FRAME)
    return np.asarray(photo)


def _magnified(image, inside, zoom):
    return _bytes(_window(image, inside).transpose(1, 2, 0)).repeat(zoom, 0).repeat(zoom, 1)


def _panels(name, filters, colour, minus_mean, cell):
    """A panel for each filter, every one with its own limit: grey is 0, white and black are plus and minus the limit."""
    panels = []
    if minus_mean:
        filters = filters - filters.mean((-2, -1), keepdims=True)
    for i in range(filters.shape[1]):
        tiles = _coloured(filters[:, i], colour)                                # [3, s, s, h, w]
        limit = float(np.abs(tiles).max()) or 1.0
        tap = (cell - LINE) // tiles.shape[1]
        squares = _bytes(0.5 + 0.5 * tiles / limit).repeat(tap, 1).repeat(tap, 2)
        side, (rows, columns) = squares.shape[1], squares.shape[-2:]
        panel = np.full((3, rows, cell, columns, cell), LINES, np.uint8)
        panel[:, :, :side, :, :side] = squares.transpose(0, 3, 1, 4, 2)
        panel = panel.reshape(3, rows * cell, columns * cell).transpose(1, 2, 0)
        panels.append((f"{name.format(i + 1)}{', less the mean' if minus_mean else ''}, 0 +- {limit:.2g}", panel))
    return panels


def _weights(name, weights, inside, colour, zoom):
    panels, found = [], _coloured(_window(weights, inside), colour)
    for i in range(found.shape[1]):
        limit = float(found[:, i].max()) or 1.0
        panel = _bytes(found[:, i] / limit).transpose(1, 2, 0).repeat(zoom, 0).repeat(zoom, 1)
        panels.append((f"{name.format(i + 1)}, 0 to {limit:.2g}", panel))
    return panels


def _coloured(t, colour):
    """[3, ...] of [1 or 3, ...]: the chosen colour three times, or all."""
    t = t if t.shape[0] == 1 else t[COLOURS[colour]]
    return np.broadcast_to(t, (3, *t.shape[1:]))


def _composed(rows):
    """uint8 [H, W, 3] of rows of (label, panel [h, w, 3])."""
    from PIL import Image, ImageDraw, ImageFont

    width = max(sum(panel.shape[1] + GAP for _, panel in row) for row in rows) + GAP
    heights = [max(panel.shape[0] for _, panel in row) + LABEL + GAP for row in rows]
    canvas = Image.new("RGB", (width, sum(heights) + GAP), (BACKGROUND,) * 3)
    draw, font, top = ImageDraw.Draw(canvas), ImageFont.load_default(size=14), GAP
    for row, height in zip(rows, heights):
        left = GAP
        for label, panel in row:
            draw.text((left, top + LABEL // 2), label, fill="black", font=font, anchor="lm")
            canvas.paste(Image.fromarray(np.ascontiguousarray(panel)), (left, top + LABEL))
            left += panel.shape[1] + GAP
        top += height
    return np.asarray(canvas)


def _bytes(a):
    return np.rint(a.clip(0, 1) * 255).astype(np.uint8)
