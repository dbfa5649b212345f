"""Activation maximisation for blind deblurring: which image lets a trained network see the blur best (Learning to Deblur, Fig. 11)."""
import torch

from svconv.data import motion_kernel
from svconv.ops import conv


def activation_maximisation(model, size=64, steps=500, *, rate=0.02, noise=0.01, batch=4, generator=None, callback=None):
    """Start from a random image and repeat: blur it with sampled kernels, add noise, follow the gradient of the kernel error to the image.

        x <- clip(x - rate g / rms(g), 0, 1),   g = d/dx mean_i |k(conv(x, k_i) + noise) - k_i|^2

    Args:
        model: a `LearningToDeblur`; its weights are not changed.
        size: side of the square image, at least twice the kernel.
        steps: gradient steps. rate: step, image units per pixel (root mean square). noise: standard deviation. batch: kernels per step.
        generator: `torch.Generator` on the CPU for start, kernels and noise.
        callback: called as callback(step, steps, x) after each step.

    Returns:
        (image [1, 1, size, size], errors [steps]): the image in 0..1 and the mean kernel error before each step.

    Raises:
        ValueError: the image is smaller than the model allows.
    """
    side = model.kernel_sizes[-1]
    x = torch.rand(1, 1, size, size, generator=generator)
    errors = torch.zeros(steps)
    for step in range(steps):
        kernels = motion_kernel(side, batch, generator=generator)
        shown = x.clone().requires_grad_(True)
        blurry = conv(shown.expand(batch, 1, size, size), kernels[:, None], padding="circular")
        estimates, _ = model.estimate(blurry + noise * torch.randn(blurry.shape, generator=generator))
        error = (estimates[-1] - kernels).square().sum((1, 2)).mean()
        (gradient,) = torch.autograd.grad(error, shown)
        errors[step] = error.detach()
        x = (x - rate * gradient / gradient.square().mean().sqrt().clamp_min(1e-12)).clamp(0, 1)
        if callback is not None:
            callback(step + 1, steps, x)
    return x, errors
