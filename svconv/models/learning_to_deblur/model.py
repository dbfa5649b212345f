"""Blind estimation of a uniform blur kernel by a small trained stack of features and closed forms."""
import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from svconv._shapes import number, scalar
from svconv.models.learning_to_deblur.features import FeatureModule
from svconv.models.learning_to_deblur.steps import UniformSteps, VaryingSteps, bases_of_scales
from svconv.models.pretrained import Pretrained
from svconv.ops import image_quotient, project_kernel
from svconv.ops.motion_basis import MotionBasis

IMAGE_BETA = 1e-2  # start of the learned regularisation of the image quotient; also used where a network has none of its own
SHARPEN_SIGMA, SHARPEN_BETA, SHARPEN_SIZE = 0.5, 1e-2, 33


class DeblurResult(NamedTuple):
    """What `LearningToDeblur` returns."""

    kernel: torch.Tensor  # [B, k, k], >= 0, sum 1; blurry = conv(latent, kernel), centre k // 2
    latent: torch.Tensor  # [B, 1, H, W], the image quotient of the blurry image with that kernel
    kernels: tuple  # the kernel of every stage, coarse to fine, as it left its stage


class VaryingResult(NamedTuple):
    """What `LearningToDeblur.estimate_varying` returns."""

    kernels: torch.Tensor  # [B, R, k, k], >= 0, sum 1 each; blurry = eff_conv(latent, kernels, grid), centre k // 2
    poses: torch.Tensor  # [B, P], >= 0, sum 1: how long the camera stood in each pose of the basis
    latent: torch.Tensor  # [B, 1, H, W], the patch-wise quotient of the blurry image with those kernels
    direct: torch.Tensor  # [B, R, k, k], the last kernel quotient before the projection: signed, of any sum
    basis: MotionBasis  # what the poses are


class LearningToDeblur(Pretrained, nn.Module):
    """Blind kernel estimation: learned features, closed-form kernel, closed-form image, repeated over stages and scales.

    One stage computes feature images xt_i ("sharp") and yt_i ("blurry") of the blurry image and the current latent image, then

        k = project F^-1[ sum_i conj(X_i) Y_i / (sum_i |X_i|^2 + 1e-4) ],        x = F^-1[ conj(K) Y / (|K|^2 + b) ],  b learned per stage.

    A network for several kernel sizes runs from the coarsest to the finest scale: the image is resized by kernel_size / last kernel size
    (bicubic, antialiased), and the latent image of a scale is enlarged for the first stage of the next one. The mean of the image is
    taken off first, so brightness does not matter. Images continue at their borders by replication.

    Args:
        kernel_sizes: kernel side in pixels of every scale, coarsest first; the last one is the side of the result. (17,), (17, 25) and
        (17, 25, 33) in
            the paper.
        stages: stages of every scale.
        filter_size: side of the learned filters (odd).
        bias: biases in the filters and the hidden recombinations.
        filters, hidden, features, fixed_gradients, output_tanh: ablations of the paper, by keyword: number of filters (32); hidden
        recombination layers
            (1); feature pairs of every stage (None: 2, 2, 4, 4, ...; a number or one per stage); blurry features fixed to the x- and
            y-differences of the image (then two pairs); tanh after the last recombination.
        sharpen: deconvolve the final kernel with a Gaussian of sigma 0.5 in eval mode; None: only for a final size of 33, as in the paper.

    Shapes:
        forward(y [B, 1, H, W], 0..1) -> `DeblurResult`. Memory in eval mode under `no_grad`: features are made in one pass, about 12
        images beside them.

    Example:
        >>> import torch
        >>> result = LearningToDeblur(stages=1)(torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)))
        >>> result.kernel.shape, result.latent.shape
        (torch.Size([1, 17, 17]), torch.Size([1, 1, 64, 64]))
    """

    weights_prefix, default_weights = "ltd-", "ltd-17"

    def __init__(
        self,
        kernel_sizes=(17,),
        stages=3,
        filter_size=9,
        bias=False,
        *,
        filters=32,
        hidden=1,
        features=None,
        fixed_gradients=False,
        output_tanh=False,
        sharpen=None,
    ):
        super().__init__()
        kernel_sizes, stages, filter_size = scalar(kernel_sizes), scalar(stages), scalar(filter_size)
        filters, hidden, features = scalar(filters), scalar(hidden), scalar(features)
        kernel_sizes = tuple(int(k) for k in (kernel_sizes if hasattr(kernel_sizes, "__iter__") else (kernel_sizes,)))
        if not kernel_sizes or min(kernel_sizes) < 1 or any(a >= b for a, b in zip(kernel_sizes, kernel_sizes[1:])):
            raise ValueError(f"kernel_sizes: expected growing sides >= 1, got {kernel_sizes}")
        if stages < 1:
            raise ValueError(f"stages: expected at least 1, got {stages}")
        if fixed_gradients and features not in (None, 2):
            raise ValueError(f"features: fixed_gradients has two feature pairs, got {features}")
        pairs = _feature_pairs(2 if fixed_gradients else features, stages)
        self.arguments = dict(kernel_sizes=kernel_sizes, stages=stages, filter_size=filter_size, bias=bias, filters=filters, hidden=hidden,
                              features=features, fixed_gradients=fixed_gradients, output_tanh=output_tanh, sharpen=sharpen)
        self._take_sizes(kernel_sizes)
        self.scales = nn.ModuleList()
        for s in range(len(kernel_sizes)):
            blocks = [self._features(1 if s == 0 and t == 0 else 2, pairs[t]) for t in range(stages)]
            learned = stages if s + 1 < len(kernel_sizes) else stages - 1  # the very last stage ends with its kernel
            betas = [nn.Parameter(torch.tensor(math.log(IMAGE_BETA))) for _ in range(learned)]
            self.scales.append(nn.ModuleDict({"stages": nn.ModuleList(blocks), "log_beta": nn.ParameterList(betas)}))

    def forward(self, y):
        """Estimate kernel and latent image of y [B, 1, H, W] (0..1, finite). ValueError: NaN or infinity, wrong shape, smaller than the
        kernel."""
        kernels, beta = self.estimate(y)
        kernel = kernels[-1]
        if self.sharpen and not self.training:
            kernel = sharpen_kernel(kernel)
        mean = y.mean((1, 2, 3), keepdim=True)
        return DeblurResult(kernel, image_quotient(y - mean, kernel, beta=beta, padding="replicate") + mean, tuple(kernels))

    def estimate(self, y):
        """The kernels of all stages of all scales, coarse to fine, and the last image regularisation; the loss needs no more than this."""
        self._check(y)
        centred, varied = _centred(y)
        return self._stages(centred, UniformSteps(varied))

    def estimate_varying(self, y, grid, *, basis=None, eta=1.0, fit_steps=10, callback=None):
        """Estimate a kernel for every patch of an image whose blur changes over it, as that of a camera that shifts and rolls does.

        The trained features are used unchanged. In every stage `eff_kernel_quotient` gives a kernel per patch, `MotionBasis.project`
        the camera motion near all of them, k_r = B_r T_eta(sum_r B_r' k_r), and `eff_image_quotient` the latent image. On coarser scales
        the grid has as many patches over the smaller image and a basis the same angles and smaller shifts. The paper has no fit of the
        poses (`fit_steps=0`) and eta of 1 or 0.0314; the defaults are better on docs/quality.md.

        Args:
            y: blurry image [B, 1, H, W], 0..1, finite, sides of at least twice the kernel.
            grid: an `EFFGrid` over it.
            basis: a `MotionBasis` over that grid with the last kernel size; None: `MotionBasis.default` of every scale.
            eta: fraction of the poses that are kept, in (0, 1].
            fit_steps: steps of the least squares fit of the poses in every stage, as in `MotionBasis.pose_weights`.
            callback: called as callback(step, steps, kernels) after every stage.

        Returns:
            VaryingResult: .kernels [B, R, k, k], .poses [B, P], .latent [B, 1, H, W], .direct [B, R, k, k], .basis. Each kernel has
            sum one, also where a pose leads out of it (`basis.kernels(poses)` has less there). A constant image gives deltas. With
            `sharpen` (a network for 33 pixels) the kernels, and not the poses, are sharpened in eval mode.

        Raises:
            ValueError, TypeError: naming the argument.

        Bit-identical from run to run. Memory in eval mode under `no_grad`: as in a call, and 100 bytes per patch and pose.

        >>> import torch, svconv
        >>> model, y = LearningToDeblur((9,), stages=1).eval(), torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> with torch.no_grad():
        ...     result = model.estimate_varying(y, svconv.EFFGrid((64, 64), (2, 3)))
        >>> result.kernels.shape, result.poses.shape, result.latent.shape
        (torch.Size([1, 6, 9, 9]), torch.Size([1, 729]), torch.Size([1, 1, 64, 64]))
        """
        self._check(y)
        final = self.kernel_sizes[-1]
        sizes = {size: _scaled(y.shape[-2:], size, final) for size in self.kernel_sizes}
        bases, eta = bases_of_scales(y.shape[-2:], sizes, grid, basis, eta)
        centred, varied = _centred(y)
        steps = VaryingSteps(varied, bases, eta, number("fit_steps", fit_steps, least=0, integer=True))
        kernels, beta = self._stages(centred, steps, callback)
        kernels = kernels[-1]
        if self.sharpen and not self.training:
            kernels = sharpen_kernel(kernels.flatten(0, 1)).unflatten(0, kernels.shape[:2])
        mean = y.mean((1, 2, 3), keepdim=True)
        return VaryingResult(kernels, steps.poses, steps.image(y - mean, kernels, beta) + mean, steps.direct, bases[final])

    def _stages(self, centred, steps, callback=None):
        """The kernels of all stages and the last image regularisation; `steps` makes kernels of features and images of kernels."""
        final, kernels, latent, beta = self.kernel_sizes[-1], [], None, centred.new_tensor(IMAGE_BETA)
        for size, scale in zip(self.kernel_sizes, self.scales):
            blurry = _resized(centred, size, final)
            if latent is not None:
                latent = F.interpolate(latent, blurry.shape[-2:], mode="bicubic", align_corners=False)
            for t, stage in enumerate(scale["stages"]):
                kernels.append(steps.kernel(*stage(blurry, latent), size))
                if callback is not None:
                    callback(len(kernels), len(self.scales) * len(scale["stages"]), kernels[-1])
                if t < len(scale["log_beta"]):
                    beta = scale["log_beta"][t].exp()
                    latent = steps.image(blurry, kernels[-1], beta)
        return kernels, beta

    def _check(self, y):
        if y.dim() != 4 or y.shape[1] != 1 or not y.is_floating_point():
            raise ValueError(f"y: expected a floating image [B, 1, H, W], got {y.dtype} {tuple(y.shape)}")
        final = self.kernel_sizes[-1]
        if any(side < 2 * final for side in y.shape[2:]):
            raise ValueError(f"y: expected sides of at least {2 * final} pixels (twice the kernel), got {tuple(y.shape[2:])}")
        if not torch.compiler.is_compiling() and not bool(torch.isfinite(y).all()):
            raise ValueError("y: holds NaN or infinite pixels")

    def add_stage(self, warm=True):
        """Append a stage to the last scale, as the staged training does; the former last stage gets its image quotient.

        warm: the new stage starts as a copy of the former one, which knows the blurry image only, with weak random filters on the latent
        image (and weak extra features); otherwise it starts at random.
        """
        scale, a = self.scales[-1], self.arguments
        if len(self.scales) > 1:
            raise ValueError("add_stage: only for networks of one scale")
        like = next(self.parameters())
        stages = a["stages"] + 1
        pairs = _feature_pairs(2 if a["fixed_gradients"] else a["features"], stages)[-1]
        block = self._features(2, pairs).to(like)
        if warm:
            block.continue_from(scale["stages"][-1])
        scale["stages"].append(block)
        scale["log_beta"].append(nn.Parameter(like.new_tensor(math.log(IMAGE_BETA))))
        a["stages"] = stages

    def add_scale(self, kernel_size):
        """Append a finer scale for kernels of this side, larger than the last one, as the staged training does.

        Its stages start as copies of those of the scale before. The first of them sees a latent image, which the first of all does not:
        it starts as a copy of the second, where there is one. The scale before gets its image quotient. ValueError: a side that does not
        grow.
        """
        if scalar(kernel_size) <= self.kernel_sizes[-1]:
            raise ValueError(f"kernel_size: expected more than {self.kernel_sizes[-1]}, that of the last scale, got {kernel_size}")
        former, like = self.scales[-1], next(self.parameters())
        blocks, learned = nn.ModuleList(), nn.ParameterList()
        for t, stage in enumerate(former["stages"]):
            blocks.append(self._features(2, stage.pairs).to(like))
            blocks[-1].continue_from(former["stages"][min(max(t, 1), len(former["stages"]) - 1)])
            if t:
                learned.append(nn.Parameter(former["log_beta"][t - 1].detach().clone()))
        former["log_beta"].append(nn.Parameter(like.new_tensor(math.log(IMAGE_BETA))))
        self.scales.append(nn.ModuleDict({"stages": blocks, "log_beta": learned}))
        self._take_sizes((*self.kernel_sizes, int(kernel_size)))

    def _take_sizes(self, kernel_sizes):
        """The sides of the kernels, and whether the last one is sharpened."""
        self.kernel_sizes = self.arguments["kernel_sizes"] = kernel_sizes
        sharpen = self.arguments["sharpen"]
        self.sharpen = kernel_sizes[-1] == SHARPEN_SIZE if sharpen is None else bool(sharpen)

    def _features(self, channels, pairs):
        a = self.arguments
        return FeatureModule(channels, pairs, a["filters"], a["filter_size"], a["hidden"], a["bias"], a["fixed_gradients"],
                             a["output_tanh"])


def _feature_pairs(features, stages):
    if features is None:
        return [2 if t < 2 else 4 for t in range(stages)]
    pairs = [int(features)] * stages if not hasattr(features, "__iter__") else [int(n) for n in features]
    if len(pairs) < stages or min(pairs) < 1:
        raise ValueError(f"features: expected a number >= 1 or one for each of {stages} stages, got {features}")
    return pairs


def _centred(y):
    """y without its mean, exactly 0 where it is constant, and [B, 1, 1, 1] which images are not."""
    varied = (y.amax((1, 2, 3), keepdim=True) > y.amin((1, 2, 3), keepdim=True)).to(y.dtype)
    return (y - y.mean((1, 2, 3), keepdim=True)) * varied, varied


def _scaled(size, part, whole):
    """The sides times part / whole, rounded; a program for any size keeps no `round`, and without it says the same where whole is odd."""
    if any(isinstance(s, torch.SymInt) for s in size):
        return tuple((2 * s * part + whole) // (2 * whole) for s in size)
    return tuple(max(1, round(s * (part / whole))) for s in size)


def _resized(y, part, whole):
    if part == whole:
        return y
    return F.interpolate(y, _scaled(y.shape[-2:], part, whole), mode="bicubic", align_corners=False, antialias=True)


def sharpen_kernel(kernel, sigma=SHARPEN_SIGMA, beta=SHARPEN_BETA):
    """Deconvolve kernels [B, k, k] with a small Gaussian by an image quotient, then project: against the over-smoothing of a
    squared-error loss."""
    t = torch.arange(-2, 3, dtype=kernel.dtype, device=kernel.device)
    g = torch.exp(-t * t / (2 * sigma * sigma))
    g = (g[:, None] * g) / g.sum() ** 2
    padded = F.pad(kernel[:, None], (8, 8, 8, 8))  # the circular division must not wrap the kernel into itself
    return project_kernel(image_quotient(padded, g[None], beta=beta)[:, 0, 8:-8, 8:-8])
