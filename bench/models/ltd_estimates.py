"""Two studies of bench/models/ltd_studies.py that train nothing: kernel error by crop size, error ratio by kernel size."""
import statistics

import numpy as np
import torch

from bench import blind
from svconv import solvers
from svconv.data import degrade, motion_kernel, read_grey
from svconv.data.crops import draw, enough_gradient, seeded
from svconv.data.pairs import valid_convolution
from svconv.training.learning_to_deblur import kernel_error

SIDES = (96, 128, 192, 256, 384, 512)
SIZES = (13, 17, 21, 25, 29, 33)
LARGE = ("urban100", "sun80", "div2k")      # folders with photographs in which the largest crop fits
KERNELS, TRIES, COUNT = 12, 20, 8           # kernels per photograph of the first study; photographs of the second
METHODS = ("no deblurring", "the net", "`blind_kernel` of that size")


def large_photographs(folder, side):
    """[H, W] in 0..1: the photographs of the test sets with sides of at least `side` pixels."""
    images = [read_grey(path, halve_above=1100) for name in LARGE for path in sorted((folder / name).iterdir())]
    return [torch.from_numpy(image.astype(np.float32)) / 255 for image in images if min(image.shape) >= side]


@torch.no_grad()
def crop_errors(model, photographs, sides=SIDES, kernels=KERNELS, noise=0.01, seed=0):
    """{side: {"error", "relative", "spread"}} of the central crops of the same blurred windows: mean kernel errors, and the standard error
    of the relative one."""
    found = {side: ([], []) for side in sides}
    for i, image in enumerate(photographs):
        for j in range(kernels):
            blurry, kernel = blurred_window(image, model.kernel_sizes[-1], max(sides), min(sides), noise, seeded(f"crops{seed}/{i}/{j}"))
            for side in sides:
                start = (max(sides) - side) // 2
                crop = blurry[..., start:start + side, start:start + side].contiguous()
                estimate = model.estimate(crop)[0][-1]
                found[side][0].append(float(kernel_error(estimate, kernel[None])))
                found[side][1].append(float(kernel_error(estimate, kernel[None], "relative")))
    return {str(side): {"error": round(statistics.fmean(e), 5), "relative": round(statistics.fmean(r), 4),
                        "spread": round(statistics.stdev(r) / len(r) ** 0.5, 4), "pairs": len(r)} for side, (e, r) in found.items()}


def blurred_window(image, size, side, smallest, noise, generator):
    """(a blurred window [1, 1, side, side] whose middle of `smallest` pixels has enough gradient, its kernel)"""
    kernel, whole = motion_kernel(size, generator=generator)[0], side + size - 1
    for _ in range(TRIES):
        top, left = (draw(length - whole + 1, generator) for length in image.shape)
        window, start = image[top:top + whole, left:left + whole], (whole - smallest) // 2
        if enough_gradient(window[start:start + smallest, start:start + smallest]):
            break
    return degrade(valid_convolution(window, kernel)[None, None], gaussian=noise, generator=generator), kernel


@torch.no_grad()
def size_ratios(model, photographs, size, largest, seed=0):
    """{method: the error ratio of every photograph} under sampled kernels of `size` pixels; the images are as large for all sizes up to
    `largest`."""
    found = {method: [] for method in METHODS}
    for i, image in enumerate(photographs):
        generator, side = seeded(f"sizes{seed}/{size}/{i}"), min(image.shape) - largest + 1
        kernel = motion_kernel(size, generator=generator)[0]
        start = (min(image.shape) - side) // 2
        sharp, around = image[start:start + side, start:start + side][None, None], start - size // 2
        window = image[around:around + side + size - 1, around:around + side + size - 1]
        blurry = degrade(valid_convolution(window, kernel)[None, None], gaussian=blind.NOISE, generator=generator)
        best = blind.smallest_error(blind.restore(blurry, kernel), sharp)
        kernels = model(blurry).kernel, solvers.blind_kernel(blurry, size).x
        for method, x in zip(METHODS, (blurry, *(blind.restore(blurry, kernel) for kernel in kernels))):
            found[method].append(round(blind.smallest_error(x, sharp) / best, 3))
    return found
