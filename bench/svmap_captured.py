"""Really captured blur for bench/svmap_quality.py: the pairs of Levin et al. 2009, photographs whose kernel was estimated; and what filters
do in areas of different kinds."""
import itertools
import statistics

import torch

from bench import pages, quality, svmap_scenes
from svconv import Conv, solvers
from svconv.files import outputs, read_image, read_kernel
from svconv.files.images import write_image
from svconv.files.picture import Picture
from svconv.models.svmap import restore_tiled

BLIND = ("toy", "wall")             # photographs of pairs/real_blind
SAMPLE = 400                        # pixels of an area whose filters are compared
SATURATED, QUARTER = 0.98, 0.25     # of the blurred image; of the pixels with the least and the largest variation


# captured pairs -------------------------------------------------------------------------------------------------------

def restored_pair(model, y, kernel):
    """A grey image as three equal colours, the mean of the result."""
    with torch.no_grad():
        return model(y.expand(-1, 3, -1, -1).contiguous(), kernel).mean(1, keepdim=True)


def section(data, networks, say=print):
    pairs = quality.load_pairs(data / "pairs" / "levin09")
    methods = {"blurred": lambda y, k: y, "hyper-Laplacian, lam=8000": lambda y, k: solvers.hyper_laplacian(y, k, lam=8000).x,
               **{f"Levin, {n} re-weightings, reg=0.001": lambda y, k, n=n: solvers.irls(Conv(k), y, reg=1e-3, reweightings=n).x
                  for n in (2, 3)},
               **{row: lambda y, k, m=model: restored_pair(m, y, k) for row, model in networks.items()}}
    lines = ["| | " + " | ".join(name.replace("_", " ") for name, *_ in pairs) + " | mean |", "| --- |" + " ---: |" * (len(pairs) + 1)]
    for row, restore in methods.items():
        found = [quality.best_psnr(restore(y, k), x) for _, x, y, k in pairs]
        lines.append(f"| {row} | " + " | ".join(f"{value:.2f}" for value in (*found, statistics.fmean(found))) + " |")
        say(lines[-1])
    text = pages.paragraph(f"""
Written by `python bench/svmap_quality.py --table captured`. PSNR in dB on the {len(pairs)} pairs of Levin et al. 2009, taken by a camera
that shook, restored with the kernel measured from the same shake; scores as in [Quality](../quality.md), the settings of the classical
methods those that served best there. Grey images go through the networks as three equal colours.""")
    return f"""## Captured blur

{text}

""" + "\n".join(lines)


# photographs without truth --------------------------------------------------------------------------------------------

def write_pictures(folder, data, networks):
    """PNG of two photographs of real blur with the kernels that a blind method found: as they are and restored."""
    outputs.make_folder(folder)
    for name in BLIND:
        path = data / "pairs" / "real_blind"
        picture = read_image(path / f"{name}.png").with_white()[0]
        y = torch.cat([picture.plane(c) for c in range(picture.channels)], 1)
        k = torch.from_numpy(read_kernel(path / f"{name}_kernel_estimated.png")).float()[:, None][:1]
        made = {"blurred": y, "hyper": solvers.hyper_laplacian(y, k, lam=500).x,
                "levin": solvers.irls(Conv(k), y, reg=0.01, reweightings=3, cg_iter=60).x}
        for row, model in networks.items():
            word = row.lower().replace(" ", "").replace(",", "-").replace("=", "")
            made[word] = restore_tiled(model, y.expand(-1, 3, -1, -1).contiguous(), k)
        for method, x in made.items():
            target = folder / f"{name}-{method}.png"
            pixels = (x[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
            write_image(target, Picture(pixels))
            print(target)


# filters in areas of different kinds ----------------------------------------------------------------------------------

def areas(scene):
    """{kind: (bool [H, W], bool [H, W])}: saturated and ordinary; flat and textured (of what is not saturated)."""
    grey, peak = scene.blurred.mean(1)[0], scene.blurred.amax(1)[0]
    wide = torch.nn.functional.pad(grey[None, None], (3,) * 4, mode="replicate")
    deviation = torch.nn.functional.unfold(wide, 7).var(1)[0].reshape(grey.shape).sqrt()
    saturated = peak >= SATURATED
    ordinary = peak < 0.9
    low, high = torch.quantile(deviation[ordinary], torch.tensor([QUARTER, 1 - QUARTER])) if ordinary.any() else (0, 0)
    return {"saturated / ordinary": (saturated, ordinary),
            "flat / textured": (ordinary & (deviation <= low), ordinary & (deviation >= high))}


def distances(filters, first, second, seed=0):
    """[within the first area, within the second, between them]: mean distance of the filters of two pixels, over the mean norm of what is
    left when the mean filter of all is taken off. None where an area is too small."""
    flat = filters[0].flatten(0, -3).flatten(1).T       # [H W, values]
    flat = flat - flat.mean(0)
    generator, found = torch.Generator().manual_seed(seed), []
    for area in (first, second):
        places = area.flatten().nonzero().flatten()
        if len(places) < SAMPLE // 4:
            return None
        found.append(flat[places[torch.randperm(len(places), generator=generator)[:SAMPLE]]])
    norm = float(flat.norm(dim=1).mean())
    within = [float(torch.nn.functional.pdist(part).mean()) for part in found]
    return [value / norm for value in (*within, float(torch.cdist(*found).mean()))]


def filter_table(data, model, few):
    """{(role, iteration, kind): [within the first, within the second, between]}, means over the scenes."""
    found = {}
    for scene in itertools.islice(svmap_scenes.reported(data, "saturated", both=False), few):
        with torch.no_grad():
            details = model(scene.blurred, scene.kernel, details=True)
        for kind, (first, second) in areas(scene).items():
            for t, made in enumerate(details.filters):
                for role, filters in (("data", made.data_filters), ("prior", made.prior_filters)):
                    values = None if filters is None else distances(filters, first, second)
                    if values is not None:
                        found.setdefault((role, t, kind), []).append(values)
    return {key: [statistics.fmean(column) for column in zip(*values)] + [len(values)] for key, values in found.items()}


def filter_section(data, networks, few=None):
    row, model = next(((row, m) for row, m in networks.items() if row in ("SVMAP, T = 2", "SVMAP_share")), (None, None))
    if model is None:
        return "## Filters in areas of different kinds\n\nnot measured: no SVMAP with T = 2 was given"
    lines = ["| filters | areas | within the first | within the second | between | scenes |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for (role, t, kind), (*values, count) in filter_table(data, model, few).items():
        guide = f"y - K x^{t}" if role == "data" else f"x^{t}"
        lines.append(f"| {role}, from {guide} | {kind} | " + " | ".join(f"{value:.3f}" for value in values) + f" | {count} |")
    text = pages.paragraph(f"""
Written by `python bench/svmap_quality.py --table filters`: {row}, the scenes of the column "saturated". Mean distance of the filters of
two pixels of an area, and of a pixel of either, up to {SAMPLE} pixels each, over the mean norm of a pixel's filters less their mean over
the image. Saturated: a colour of the blurred image of at least {SATURATED}, ordinary: all below 0.9; flat and textured: the quarters of
the ordinary pixels with the least and the largest deviation within 7 x 7 pixels of the blurred image.""")
    return f"""## Filters in areas of different kinds

{text}

""" + "\n".join(lines)
