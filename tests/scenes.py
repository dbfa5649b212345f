"""Synthetic photographs and blur kernels for the solver tests."""
import torch


def picture(height=40, width=44, channels=1, batch=1, dtype=torch.float32):
    """Flat regions with sharp edges and a soft ramp, 0..1, another one for each sample and channel."""
    rows, columns = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None]
    x = (0.2 + 0.2 * rows + 0 * columns).repeat(batch, channels, 1, 1)
    for b in range(batch):
        for c in range(channels):
            x[b, c, 5 + 3 * c + b:18, 7 + 4 * b:30] += 0.5
            x[b, c, 25:34, 3 + c:12] -= 0.15
            x[b, c, 20:33, 28:40 - 2 * b] += 0.3
    return x.to(dtype)


def blur_kernel(side=5, dtype=torch.float32):
    k = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(5)) ** 3
    return (k / k.sum()).to(dtype)


def psnr(x, truth, margin=0):
    h, w = truth.shape[-2:]
    d = (x - truth)[..., margin:h - margin, margin:w - margin]
    return -10 * float(d.double().square().mean().log10())


def photograph(op_of_padding, truth, reach=8, noise=0.01):
    """The blurred truth as a camera sees it: light comes in from outside of the frame (the truth mirrored there)."""
    wide = torch.nn.functional.pad(truth, (reach,) * 4, mode="reflect")
    return op_of_padding(wide)[..., reach:-reach, reach:-reach] + noise * torch.randn_like(truth)
