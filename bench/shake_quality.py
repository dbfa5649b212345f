"""Camera shake with rotation: how good are the kernels that `LearningToDeblur.estimate_varying` finds, and what is restored with them?

The second table of `python bench/eff_quality.py`, which says where its photographs come from and keeps the scores.
"""
import copy
import functools
import statistics
import time

import torch

from bench import psf_scenes, shake_scenes
from svconv import Conv, EFFBlur, project_kernel, solvers
from svconv.models import LearningToDeblur
from svconv.models.learning_to_deblur.features import differences
from svconv.models.learning_to_deblur.steps import KERNEL_BETA, with_sum_one

SECTION = "shake"
ETA, FIT = 0.0314, 10                           # of the paper; the default
PROJECTIONS = (1.0, 0), (ETA, 0), (1.0, FIT), (ETA, FIT)                                # (eta, fit_steps): the paper's two, and fitted
VARYING = {f"varying, eta {eta:g}, fit {fit}": (eta, fit) for fit in (0, FIT) for eta in (1.0, 0.1, ETA)}
MAIN = f"varying, eta 1, fit {FIT}"             # the default
REGS = {"estimated": (0.003, 0.01, 0.03, 0.1), "true": (0.001, 0.002, 0.004)}
DEFAULT = {"estimated": 0.01, "true": 0.002}    # those of `svconv deblur`
SHORT = dict(reweightings=2, cg_iter=60)        # likewise
BETAS = (1e-4, 1e-2, 1.0, 100.0, 1e4)           # of the kernel quotient of plain gradients
FOLDS = psf_scenes.CHOSEN, psf_scenes.REPORTED


# features -------------------------------------------------------------------------------------------------------------

class PlainGradients(torch.nn.Module):
    """Stands for a feature module: the x- and y-differences of an image that is taken for sharp and of the blurry one.

    sharp: None takes the latent image, or in the first stage, which has none, the blurry one. beta: the kernel quotient has a fixed one,
    which the learned features have learned to live with; scaled features amount to another.
    """

    def __init__(self, beta, sharp=None):
        super().__init__()
        self.scale, self.sharp = (KERNEL_BETA / beta) ** 0.5, sharp

    def forward(self, blurry, latent=None):
        sharp = self.sharp if self.sharp is not None else blurry if latent is None else latent
        return self.scale * differences(sharp), self.scale * differences(blurry)


def with_features(model, module, only_last):
    """A copy of the model with another feature module in all stages or only in the last one."""
    model = copy.deepcopy(model)
    stages = [(scale["stages"], i) for scale in model.scales for i in range(len(scale["stages"]))]
    for of_scale, i in stages[-1:] if only_last else stages:
        of_scale[i] = module
    return model


FEATURES = {    # function(model, scene, beta)
    "learned": lambda model, scene, beta: model,
    "plain gradients in the last stage": lambda model, scene, beta: with_features(model, PlainGradients(beta), True),
    "plain gradients in all stages": lambda model, scene, beta: with_features(model, PlainGradients(beta), False),
    "gradients of the true image": lambda model, scene, beta: with_features(model, PlainGradients(beta, scene.sharp), False),
}


def kernel_errors(model, scene):
    """The errors of the last direct estimate as it is, clipped and scaled to sum one, and of its projections."""
    found = model.estimate_varying(scene.blurry, scene.grid)
    projected = [with_sum_one(found.basis.project(found.direct, *options)) for options in PROJECTIONS]
    return [shake_scenes.kernel_error(k, scene.kernels) for k in (found.direct, project_kernel(found.direct), *projected)]


# restored images ------------------------------------------------------------------------------------------------------

def estimates(model, scene):
    """{method: function()} for the kernels of the scene, [1, R, k, k], or [1, 1, k, k] for one that is the same everywhere."""
    def varying(eta, fit):
        return model.estimate_varying(scene.blurry, scene.grid, eta=eta, fit_steps=fit).kernels

    return {"uniform": lambda: model(scene.blurry).kernel[:, None], "true": lambda: scene.kernels,
            **{method: functools.partial(varying, *options) for method, options in VARYING.items()}}


METHODS = ("uniform", *VARYING, "true")
NAMES = {"blurred": "blurred", "uniform": "uniform `--blind`",
         **{method: f"varying, `eta={eta:g}, fit_steps={fit}`" for method, (eta, fit) in VARYING.items()}, "true": "true kernels"}


def kind(method):
    return "true" if method == "true" else "estimated"


def restored(scene, kernels, reg):
    """As `svconv deblur --blind` does it, without and with `--grid`."""
    if kernels.shape[1] == 1:
        return solvers.irls(Conv(kernels), scene.blurry, reg=reg, **SHORT).x
    return solvers.irls(EFFBlur(kernels, scene.grid), scene.blurry, reg=reg, border="replicate", **SHORT).x


# scores ---------------------------------------------------------------------------------------------------------------

class Run:
    """Errors and PSNR of all scenes, made when they are asked for and kept in the record.

    images: name -> photograph [1, 3, H, W]. folds: two sets of names; strengths for the one are chosen on the other.
    """

    def __init__(self, record, images, folds=FOLDS, regs=REGS, betas=BETAS, model=None, say=print, **options):
        self.record, self.folds, self.regs, self.betas, self.say = record, folds, regs, betas, say
        self.model = (model or LearningToDeblur.from_pretrained("ltd-17")).eval()
        self.scenes = shake_scenes.scenes(images, **options)
        self.known = {}

    def kept(self, scene, what, compute):
        def timed():
            start = time.monotonic()
            with torch.no_grad():
                found = compute()
            self.say(f"{scene.name} | {what}: {', '.join(f'{value:.3f}' for value in found)}   ({time.monotonic() - start:.1f} s)")
            return found
        return self.record.get(f"{scene.name} | {what}", timed)

    def errors(self, scene, features, beta=KERNEL_BETA):
        def compute():
            return kernel_errors(FEATURES[features](self.model, scene, beta), scene)
        return self.kept(scene, f"errors | {features} | {beta:g}", compute)

    def kernels(self, scene, method):
        if (scene.name, method) not in self.known:
            self.known[scene.name, method] = estimates(self.model, scene)[method]()
        return self.known[scene.name, method]

    def psnr(self, scene, method, reg=None):
        if method == "blurred":
            return self.kept(scene, method, lambda: [shake_scenes.psnr(scene.blurry, scene.sharp)])[0]
        return self.kept(scene, f"{method} | {reg:g}",
                         lambda: [shake_scenes.psnr(restored(scene, self.kernels(scene, method), reg), scene.sharp)])[0]

    def choose(self, options, score):
        """For the photographs of each fold the option with the best mean of score(scene, option) on those of the other."""
        def mean(fold, option):
            return statistics.fmean(score(scene, option) for scene in self.scenes if scene.photograph in fold)
        return [max(options, key=lambda option, other=other: mean(other, option)) for other in self.folds[::-1]]

    def each(self, score, chosen):
        """The scores of all scenes with the options chosen for their photographs."""
        return [score(scene, chosen[scene.photograph not in self.folds[0]]) for scene in self.scenes]

    def results(self):
        """{"photographs": one per scene, "errors": {features: one list per scene}, "betas": {features: for either fold},
        "psnr": {method: one per scene}, "chosen": {method: one per scene}, "regs": {method: for either fold}}"""
        found = {name: {} for name in ("errors", "betas", "psnr", "chosen", "regs")}
        found["photographs"] = [scene.photograph for scene in self.scenes]
        for features in FEATURES:
            def errors(scene, beta, features=features):
                return self.errors(scene, features, beta)

            learned = features == "learned"
            betas = [KERNEL_BETA] * 2 if learned else self.choose(self.betas, lambda scene, beta, errors=errors: -errors(scene, beta)[1])
            found["errors"][features], found["betas"][features] = self.each(errors, betas), betas
        for method in ("blurred", *METHODS):
            found["psnr"][method] = [self.psnr(scene, method, DEFAULT[kind(method)]) for scene in self.scenes]
        for method in METHODS:
            def psnr(scene, reg, method=method):
                return self.psnr(scene, method, reg)

            found["regs"][method] = regs = self.choose(self.regs[kind(method)], psnr)
            found["chosen"][method] = self.each(psnr, regs)
        return found


# page -----------------------------------------------------------------------------------------------------------------

def median_errors(results):
    """{features: [median over the scenes of each of the errors]}"""
    return {features: [statistics.median(column) for column in zip(*rows)] for features, rows in results["errors"].items()}


def gains(results, method, over, photographs=None):
    """What each scene gains in PSNR, of all photographs or some."""
    return [a - b for name, a, b in zip(results["photographs"], results["psnr"][method], results["psnr"][over])
            if photographs is None or name in photographs]


def tables(results):
    """(of kernel errors, of PSNR)"""
    names = [f"`eta={eta:g}`{', fitted' if fit else ''}" for eta, fit in PROJECTIONS]
    errors = [f"| features | `beta` | direct, as it is | direct, clipped, sum 1 | {' | '.join(names)} |",
              f"| --- | {' | '.join(['---:'] * (3 + len(names)))} |"]
    for features, row in median_errors(results).items():
        betas = ", ".join(f"{beta:g}" for beta in dict.fromkeys(results["betas"][features]))
        errors.append(f"| {features} | {betas} | " + " | ".join(f"{value:.3f}" for value in row) + " |")
    lines = ["| kernels | `reg` | median PSNR | scenes better than blurred | smallest and largest gain | `reg` chosen | median PSNR |",
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for method, values in results["psnr"].items():
        if method == "blurred":
            lines.append(f"| blurred |  | {statistics.median(values):.2f} |  |  |  |  |")
            continue
        found, chosen, regs = gains(results, method, "blurred"), results["chosen"][method], results["regs"][method]
        lines.append(f"| {NAMES[method]} | {DEFAULT[kind(method)]:g} | {statistics.median(values):.2f} | {sum(g > 0 for g in found)} of "
                     f"{len(found)} | {min(found):+.2f}, {max(found):+.2f} | {regs[0]:g}, {regs[1]:g} | {statistics.median(chosen):.2f} |")
    return "\n".join(errors), "\n".join(lines)


def wishes(results):
    lines, errors = [], median_errors(results)["learned"]

    def wish(text, met):
        lines.append(f"- {text}{'' if met else ', **missed**'}")

    for (eta, fit), error in zip(PROJECTIONS, errors[2:]):
        for direct, name in zip(errors, ("as it is", "clipped, sum 1")):
            wish(f"median kernel error of the direct estimate ({name}) {direct:.3f}, projected with `eta={eta:g}, fit_steps={fit}` "
                 f"{error:.3f}, wanted lower", error < direct)
    for method in (MAIN, *(name for name, (eta, fit) in VARYING.items() if (eta, fit) in PROJECTIONS[:2])):
        for over in ("blurred", "uniform"):
            found = gains(results, method, over)
            medians = [statistics.median(gains(results, method, over, names)) for names in (None, FOLDS[1])]
            wish(f"{NAMES[method]} over {over}: {sum(g > 0 for g in found)} of {len(found)} scenes, median {medians[0]:+.2f} dB "
                 f"({medians[1]:+.2f} dB on {', '.join(FOLDS[1])}), wanted above 0", min(medians) > 0)
    return "\n".join(lines)


def table(results):
    """All that is printed."""
    return "\n\n".join((*tables(results), wishes(results)))


def section(results):
    scenes, (errors, psnr) = shake_scenes, tables(results)
    rows, columns = scenes.PATCHES
    return f"""## Camera shake with rotation

Written by `python bench/eff_quality.py`. {len(results["psnr"]["blurred"])} scenes: the luminance of six Kodak photographs, each blurred
along {scenes.PATHS} Gaussian-process paths of shifts and turns (`motion_poses`; `eff_conv` with the {rows} x {columns} kernels of
{scenes.KERNEL} pixels of its poses), {scenes.NOISE:.0%} noise. The network is the shipped `ltd-17`.

Relative error of the kernels `|k - k_true| / |k_true|` over all patches of a scene, median of the scenes. One common whole-pixel shift of
all kernels, up to {scenes.REACH} pixels, is taken off: the image may move the other way. "Direct" is the last kernel quotient of
`estimate_varying` with its defaults, and the projections (`MotionBasis.project`; fitted: `fit_steps={FIT}`) are of that same quotient.
"Plain gradients" are the x- and y-differences of the latent and of the blurry image instead of the learned features; in the first of all
stages the blurry image is its own latent image.
"Gradients of the true image" are what features could be at best. Gradients have the `beta` of the kernel quotient, of
{", ".join(f"{b:g}" for b in BETAS)}, whose clipped estimates were best: for {", ".join(FOLDS[0])} chosen on {", ".join(FOLDS[1])}, and
the other way round.

{errors}

PSNR in dB after the best whole-pixel shift, {psf_scenes.MARGIN} pixels left out at each border, restored as `svconv deblur --blind` does
with and without `--grid` (`irls`, {SHORT["reweightings"]} re-weightings, at most {SHORT["cg_iter"]} CG steps per solve); `reg` is that of
the command. The last two columns: the best of {", ".join(f"{r:g}" for r in REGS["estimated"])} (true kernels:
{", ".join(f"{r:g}" for r in REGS["true"])}), chosen in the same way. The default of `fit_steps` and `eta` was chosen on
{", ".join(FOLDS[0])}; {", ".join(FOLDS[1])} had no part in it, but the paths are the same.

{psnr}

{wishes(results)}"""


def smoke(data, record, say=print):
    """The same on parts of two photographs with one path."""
    names = psf_scenes.CHOSEN[0], psf_scenes.REPORTED[0]
    images = {name: psf_scenes.photograph(data, name)[..., 160:352, 256:512].contiguous() for name in names}
    regs = {kind: (reg,) for kind, reg in DEFAULT.items()}
    return Run(record, images, (names[:1], names[1:]), regs, (1e-4, 1.0), say=say, paths=1, patches=(2, 3)).results()
