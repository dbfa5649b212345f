"""Defocus: every pixel is blurred by a disk of its own radius. Forward and exact adjoint, gradients in the image and in the radius."""
import math

import torch

from svconv import backends
from svconv._boundary import canonical_padding
from svconv._form import check_form
from svconv._shapes import HALF, Dims, check_device, computed, number, unify
from svconv.ops._radial import radial

MAP = "B? C? H W"
_fwd, _adjoint, _bwd_radius, _slope_fwd, _slope_adjoint = radial("disk", "radius", "str form, str padding, float max_radius")


def checked_map(image_name, image, name, t, check):
    """Image and map as the ops take them: float32 maps may stand beside half images, half maps become float32.

    check: raise for values that are negative, NaN or infinite, wherever the map lives.
    """
    dims = Dims()
    dims.check(image_name, image, "B C H W")
    dims.check(name, t, MAP)
    if check and t.numel():
        low, high = (float(v) for v in torch.aminmax(t.detach()))
        if not 0 <= low <= high < math.inf:
            raise ValueError(f"{name}: expected finite values >= 0, got values from {low:g} to {high:g}")
    beside = image.dtype in HALF and t.dtype == torch.float32 and not torch.is_autocast_enabled(image.device.type)
    if beside:
        check_device(image_name, image, name, t)
        return image, t
    image, (t,) = unify(image_name, image, {name: t})
    return image, computed(t)


def most(name, value):
    """The promise that a map stays below `value`, as the ops take it."""
    return math.inf if value is None else number(name, value, least=0)


def disk_blur(x, radius, *, form="gather", padding="replicate", max_radius=None, check=False, backend=None):
    """Blurs every pixel by a disk of its own radius: `y[p] = sum_q w(radius[p], p - q) x[q]`, defocus with a depth of field.

    `w(r, d)` is the area of the unit pixel about d inside a disk of radius r over the disk's area, exact for every real r: the table is
    `svconv.disk_kernel`. A radius of at most 0.5, also a negative one, copies its pixel. In the form "scatter" the disk belongs to the
    pixel that sends the light out, `y[p] = sum_q w(radius[q], p - q) x[q]`. Outside of the image both x and radius go on by `padding`.

    Args:
        x: image [B, C, H, W]; float32, float64, bfloat16 or float16, any strides.
        radius: [B|1, 1|C, H, W] in pixels, at most 16384; dtype of x, float32 also beside half types. Never expanded in memory. NaN or
            infinite: NaN at that pixel. A signed defocus map goes in as `defocus.abs()`.
        form: "gather" (the disk belongs to the output pixel) or "scatter" (to the input pixel).
        padding: "zeros", "replicate", "reflect", "symmetric" or "circular", each defined for any reach as in numpy.pad.
        max_radius: a promise that saves a look at the map on a GPU; larger radii count as this one, with gradient 0.
        check: refuse negative, NaN and infinite radii, which synchronises with a GPU and breaks a traced graph.
        backend: force "cuda", "triton", "cpu" or "reference"; None chooses.

    Returns:
        [B, C, H, W], dtype of x, contiguous.

    Raises:
        ValueError: a shape, form, padding or radius that does not fit. TypeError: a dtype or device that does not fit.
        RuntimeError: the forced backend cannot run.

    Gradients of every order in x, of first order in radius, mixed ones too; the derivative in radius jumps where the disk begins to touch
    further pixels (n + 1/2 on the axes) and is there that of the smaller radius. Bit-identical from run to run and for any number of
    threads. Time grows with the radius, not with its square. Memory: some rows per thread. Half types are accumulated in float32 and
    rounded once. SVBR-Net (2023), Eq. (1).

    >>> import torch, svconv
    >>> x = torch.zeros(1, 1, 5, 5); x[..., 2, 2] = 1
    >>> radius = torch.full((1, 1, 5, 5), 0.5); radius[..., :3] = 1.0         # the right side is in focus
    >>> [round(v, 4) for v in svconv.disk_blur(x, radius)[0, 0, 2].tolist()]
    [0.0, 0.1453, 0.3183, 0.0, 0.0]
    """
    check_form(form)
    x, radius = checked_map("x", x, "radius", radius, check)
    return _fwd(x, radius, form, canonical_padding(padding), most("max_radius", max_radius), backends.requested(backend))


def disk_blur_adjoint(y, radius, *, form="gather", padding="replicate", max_radius=None, check=False, backend=None):
    """The exact transpose of `disk_blur` in the form that is given: `x[q] = sum_p w(radius[p], p - q) y[p]` for "gather".

    What the forward reads outside of the image is folded back to the pixel it came from, for each padding.

    Args:
        y: [B, C, H, W]. radius and the options: as in `disk_blur`.

    Returns:
        [B, C, H, W], dtype of y, contiguous.

    Raises, gradients, determinism and memory as in `disk_blur`; there are no atomics.

    >>> import torch, svconv
    >>> x, y, radius = torch.rand(1, 1, 6, 7), torch.rand(1, 1, 6, 7), 3 * torch.rand(1, 1, 6, 7)
    >>> torch.allclose((svconv.disk_blur(x, radius) * y).sum(), (x * svconv.disk_blur_adjoint(y, radius)).sum())
    True
    """
    check_form(form)
    y, radius = checked_map("y", y, "radius", radius, check)
    return _adjoint(y, radius, form, canonical_padding(padding), most("max_radius", max_radius), backends.requested(backend))
