"""The demo's side-by-side picture: the whole photographs in a row, two magnified details below, each with its PSF."""
import numpy as np

GAP, BAR, DETAIL, INSET = 12, 40, 100, 5


def write_comparison(path, panels, filters):
    """panels: (title, image [1, 3, H, W], note) from left to right; filters [k, k, H, W] as in `svconv.pixel_filter`.

    Details are taken near the left edge and right of the middle; the first panel's carry the PSF of their centre.
    """
    from PIL import Image, ImageDraw, ImageFont

    from svconv.files.outputs import replacing

    height, width = panels[0][1].shape[-2:]
    side = min(DETAIL, width // 2, height // 2)
    zoomed = width // 2 - GAP // 2  # two details under each photograph
    places = [(int(0.78 * height), max(side // 2, int(0.12 * width))), (int(0.62 * height), int(0.57 * width))]
    canvas = Image.new("RGB", (GAP + len(panels) * (width + GAP), BAR + height + GAP + zoomed + GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=max(12, min(24, width // 16)))
    for i, (title, image, note) in enumerate(panels):
        left = GAP + i * (width + GAP)
        photo = _image(image)
        draw.text((left, BAR // 2), f"{title}   {note}".rstrip(), fill="black", font=font, anchor="lm")
        canvas.paste(photo, (left, BAR))
        for j, (y, x) in enumerate(places):
            box = (x - side // 2, y - side // 2, x - side // 2 + side, y - side // 2 + side)
            detail = photo.crop(box).resize((zoomed, zoomed), Image.Resampling.NEAREST)
            corner = (left + j * (width - zoomed), BAR + height + GAP)
            canvas.paste(detail, corner)
            draw.rectangle([left + box[0], BAR + box[1], left + box[2] - 1, BAR + box[3] - 1], outline="yellow")
            if i == 0:
                psf = _psf(filters[:, :, y, x].flip(0, 1), max(1, min(INSET, zoomed // 3 // filters.shape[0])))
                canvas.paste(psf, corner)
                draw.rectangle([*corner, corner[0] + psf.width, corner[1] + psf.height], outline="yellow")
    with replacing(path) as file:
        canvas.save(file, "PNG")


def _image(x):
    from PIL import Image

    return Image.fromarray(np.rint(x[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255).astype(np.uint8))


def _psf(psf, zoom):
    from PIL import Image

    grey = np.rint((psf / psf.max()).numpy() * 255).astype(np.uint8)
    return Image.fromarray(grey.repeat(zoom, 0).repeat(zoom, 1)).convert("RGB")
