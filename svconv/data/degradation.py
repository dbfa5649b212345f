"""What a camera adds to a blurred image: exposure and saturation, photon and read noise, dead pixels, JPEG."""
import io

import numpy as np
import torch

from svconv._shapes import number


def degrade(x, *, gaussian=0.0, poisson=None, impulse=0.0, saturation=None, jpeg=None, generator=None):
    """Degrade images in the order in which a camera does it.

        x <- saturation x;  x <- Poisson(poisson max(x, 0)) / poisson;  x <- x + gaussian N(0, 1);  clip to 0..1 (with saturation);
        a fraction `impulse` of the pixels becomes 0 or 1;  JPEG

    Args:
        x: [..., C, H, W], floating, nominal range 0..1; not changed. JPEG needs C = 1 or 3.
        gaussian: standard deviation of the read noise, >= 0, in image units.
        poisson: photons at brightness 1 (> 0), or None.
        impulse: fraction of the pixels, 0..1, replaced by 0 or 1 with equal probability in all channels at once.
        saturation: exposure gain (> 0) after which values are clipped to 0..1, or None: no gain and no clipping.
        jpeg: quality 1..100, or None. Rounds to 8 bit; not differentiable.
        generator: `torch.Generator` on the device of x; the same state gives the same result. None uses torch's default generator.

    Returns:
        A new tensor of the same shape, dtype and device. Without `saturation`, `impulse` on all pixels or `jpeg`, values may leave 0..1.

    Raises:
        ValueError: an argument out of its range. TypeError: x is not floating.

    Example:
        >>> import torch
        >>> y = degrade(torch.full((1, 1, 8, 8), 0.5), gaussian=0.01, generator=torch.Generator().manual_seed(0))
        >>> 0 < float(y.std()) < 0.02
        True
    """
    if not torch.is_floating_point(x) or x.dim() < 3:
        raise TypeError(f"x: expected a floating tensor [..., C, H, W], got {x.dtype} of shape {tuple(x.shape)}")
    gaussian, impulse = number("gaussian", gaussian, least=0), number("impulse", impulse, least=0, most=1)
    poisson = None if poisson is None else number("poisson", poisson, above=0)
    saturation = None if saturation is None else number("saturation", saturation, above=0)
    out = x.detach().clone() if jpeg is not None else x.clone()
    if saturation is not None:
        out = out * saturation
    if poisson is not None:
        out = (torch.poisson((out.clamp_min(0) * poisson).float(), generator=generator) / poisson).to(x.dtype)
    if gaussian > 0:
        out = out + gaussian * torch.randn(out.shape, generator=generator, dtype=x.dtype, device=x.device)
    if saturation is not None:
        out = out.clamp(0, 1)
    if impulse > 0:
        u = torch.rand(out.shape[:-3] + (1,) + out.shape[-2:], generator=generator, dtype=torch.float32, device=x.device)
        out = torch.where(u < impulse / 2, torch.zeros_like(out), torch.where(u < impulse, torch.ones_like(out), out))
    return out if jpeg is None else jpeg_round_trip(out, jpeg)


def jpeg_round_trip(x, quality):
    """Code each image of [..., C, H, W] (C = 1 or 3, range 0..1) as baseline JPEG of the given quality 1..100 and read it back; not
    differentiable."""
    from PIL import Image

    quality = number("jpeg", quality, least=1, most=100, integer=True)
    if x.shape[-3] not in (1, 3):
        raise ValueError(f"x: JPEG needs 1 or 3 channels, got {x.shape[-3]}")
    flat = x.detach().reshape((-1,) + x.shape[-3:])
    bytes8 = (flat.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    out = np.empty(bytes8.shape, np.float32)
    for i, image in enumerate(bytes8):
        picture = Image.fromarray(image[0]) if len(image) == 1 else Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        back = np.asarray(Image.open(buffer), np.float32) / 255
        out[i] = back if len(image) == 1 else back.transpose(2, 0, 1)
    return torch.from_numpy(out).to(x.device, x.dtype).reshape(x.shape)
