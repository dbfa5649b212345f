"""Every pixel is blurred by a Gaussian of its own width. Forward and exact adjoint, gradients in the image and in sigma."""
from svconv import backends
from svconv._boundary import canonical_padding
from svconv._form import check_form
from svconv._shapes import number
from svconv.ops._radial import radial
from svconv.ops.disk import checked_map, most

_fwd, _adjoint, _bwd_sigma, _slope_fwd, _slope_adjoint = radial("gaussian", "sigma",
                                                                "str form, str padding, float max_sigma, float truncate")


def gaussian_blur(x, sigma, *, form="gather", padding="replicate", max_sigma=None, truncate=4.0, check=False, backend=None):
    """Blurs every pixel by a Gaussian of its own width: `y[p] = sum_q w(sigma[p], p - q) x[q]`.

    `w(s, d) = e(row) e(column) / Z^2` with `e(t) = exp(-t^2 / (2 s^2))`, sampled at the pixel centres over a square window of half width
    `floor(truncate s + 0.5)` and of sum 1. A sigma of at most 0 copies its pixel. In the form "scatter" the kernel belongs to the input
    pixel. Outside of the image both x and sigma go on by `padding`.

    Args:
        x: image [B, C, H, W]; float32, float64, bfloat16 or float16, any strides.
        sigma: [B|1, 1|C, H, W] in pixels; dtype of x, float32 also beside half types. Never expanded in memory. NaN or infinite: NaN at
            that pixel.
        form: "gather" or "scatter". padding: "zeros", "replicate", "reflect", "symmetric" or "circular".
        max_sigma: a promise that saves a look at the map on a GPU; larger values count as this one, with gradient 0.
        truncate: half width of the window in sigmas, > 0. check: refuse negative, NaN and infinite values.
        backend: force "cuda", "triton", "cpu" or "reference"; None chooses.

    Returns:
        [B, C, H, W], dtype of x, contiguous.

    Raises:
        ValueError: a shape, form, padding or sigma that does not fit. TypeError: a dtype or device that does not fit.
        RuntimeError: the forced backend cannot run.

    Gradients of every order in x, of first order in sigma, mixed ones too; that in sigma leaves out that the window grows by steps.
    Bit-identical from run to run. Half types are accumulated in float32 and rounded once. A disk of radius r has the variance of sigma =
    r / 2.

    >>> import torch, svconv
    >>> x = torch.zeros(1, 1, 1, 7); x[..., 3] = 1
    >>> [round(v, 4) for v in svconv.gaussian_blur(x, torch.full((1, 1, 1, 7), 0.5), padding="zeros")[0, 0, 0].tolist()]
    [0.0, 0.0002, 0.0837, 0.6187, 0.0837, 0.0002, 0.0]
    """
    check_form(form)
    x, sigma = checked_map("x", x, "sigma", sigma, check)
    options = most("max_sigma", max_sigma), number("truncate", truncate, above=0), backends.requested(backend)
    return _fwd(x, sigma, form, canonical_padding(padding), *options)


def gaussian_blur_adjoint(y, sigma, *, form="gather", padding="replicate", max_sigma=None, truncate=4.0, check=False, backend=None):
    """The exact transpose of `gaussian_blur` in the form that is given: `x[q] = sum_p w(sigma[p], p - q) y[p]` for "gather".

    Args:
        y: [B, C, H, W]. sigma and the options: as in `gaussian_blur`.

    Returns:
        [B, C, H, W], dtype of y, contiguous.

    Raises, gradients and determinism as in `gaussian_blur`; there are no atomics.

    >>> import torch, svconv
    >>> x, y, sigma = torch.rand(1, 1, 6, 7), torch.rand(1, 1, 6, 7), torch.rand(1, 1, 6, 7)
    >>> torch.allclose((svconv.gaussian_blur(x, sigma) * y).sum(), (x * svconv.gaussian_blur_adjoint(y, sigma)).sum())
    True
    """
    check_form(form)
    y, sigma = checked_map("y", y, "sigma", sigma, check)
    options = most("max_sigma", max_sigma), number("truncate", truncate, above=0), backends.requested(backend)
    return _adjoint(y, sigma, form, canonical_padding(padding), *options)
