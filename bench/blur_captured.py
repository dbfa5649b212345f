"""Really captured blur for bench/blur_spaces.py: the pairs of GoPro and a photograph of Koehler et al. through every blind method."""
import torch

from bench import blur_scenes as scenes, pages
from svconv import Conv, solvers
from svconv._bfloat16 import emulated
from svconv.files import outputs
from svconv.files.images import write_image
from svconv.files.picture import Picture
from svconv.models import LearningToDeblur, deep_prior_deblur
from svconv.models.degradation_deblur import restore_tiled
from svconv.solvers.blind_kernel import blind_kernel

SIDE, STEPS, WARMUP, REG = 256, 300, 100, 1e-2     # pixels of the middle that is taken; of the search; of irls with estimated kernels
KERNEL = 17


def middle(image, side):
    """The middle `side` x `side` pixels."""
    top, left = ((length - side) // 2 for length in image.shape[-2:])
    return image[..., top:top + side, left:left + side].contiguous()


def with_kernel(y, kernel):
    """Every colour restored by irls with one kernel [1, k, k]."""
    return torch.cat([solvers.irls(Conv(kernel[:, None]), y[:, c:c + 1], reg=REG, reweightings=2, cg_iter=60).x for c in range(3)], 1)


def methods(space, ldr, steps):
    """{row: function of y}"""
    def ltd(y):
        return with_kernel(y, LearningToDeblur.from_pretrained()(y.mean(1, keepdim=True)).kernel)

    def l0(y):
        return with_kernel(y, blind_kernel(y.mean(1, keepdim=True), KERNEL).x)

    def searched(y):
        precision = "float32" if emulated("cpu") else "bfloat16"
        return deep_prior_deblur(y, space, steps=steps, warmup=min(WARMUP, steps), precision=precision,
                                 generator=torch.Generator().manual_seed(0)).x

    found = {"blurry": lambda y: y, "ltd, irls": ltd, "l0, irls": l0}
    if space is not None:
        found[f"ebks, {steps:,} steps"] = searched
    if ldr is not None:
        found["ldr"] = lambda y: restore_tiled(ldr, y)
    return found


def restored(data, space, ldr, side=SIDE, steps=STEPS):
    """(name, truth or None, {row: image}) of each photograph."""
    cases = [(name, data / "pairs" / "gopro" / blurry, data / "pairs" / "gopro" / sharp) for name, (sharp, blurry) in scenes.GOPRO.items()]
    cases.append(("Koehler", data / "pairs" / "kohler12" / scenes.KOEHLER, None))
    for name, blurry, sharp in cases:
        y = middle(scenes.photograph(blurry), side)
        truth = None if sharp is None else middle(scenes.photograph(sharp), side)
        with torch.no_grad():
            yield name, truth, {row: restore(y) for row, restore in methods(space, ldr, steps).items()}


def section(data, space, ldr, side=SIDE, steps=STEPS):
    rows, names = {}, []
    for name, truth, images in restored(data, space, ldr, side, steps):
        if truth is None:
            continue
        names.append(name)
        for row, image in images.items():
            rows.setdefault(row, []).append(scenes.psnr(image, truth))
    lines = [f"| PSNR | {' | '.join(names)} |", "| --- |" + " ---: |" * len(names)]
    lines += [f"| {row} | " + " | ".join(f"{v:.2f}" for v in values) + " |" for row, values in rows.items()]
    text = pages.paragraph(f"""
Written by `python bench/blur_spaces.py --table captured`. The middle {side} x {side} pixels of the two pairs of GoPro, PSNR in dB to the
sharp frame; irls with reg {REG:g} where a kernel of {KERNEL} pixels was estimated. `--pictures FOLDER` writes these and the same part of
{scenes.KOEHLER} of Koehler et al., which has no sharp image.""")
    return f"## Captured blur\n\n{text}\n\n" + "\n".join(lines)


def write_pictures(folder, data, space, ldr):
    """PNG of every method and photograph."""
    outputs.make_folder(folder)
    for name, truth, images in restored(data, space, ldr):
        for row, image in {**images, **({} if truth is None else {"sharp": truth})}.items():
            target = folder / f"{name}-{row.split(',')[0]}.png"
            write_image(target, Picture((image[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()))
            print(target)
