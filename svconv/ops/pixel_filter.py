"""Per-pixel filtering: every pixel has its own small filter. Forward, exact adjoint, and the fused normal operator.

Inside, tensors have the canonical shapes x [B, C, H, W], filters [B|1, C|1, M, kh, kw, H, W], y [B, C, M, H, W]. The family is bilinear in
(image, filters), so filtering, its adjoint and the filter gradient are written as each other's gradients and every order of
derivative exists.
"""
from svconv import backends
from svconv._boundary import canonical_padding
from svconv._checks import check_axis, check_image, check_tensor, shape_text, unify
from svconv.ops._library import register


def _like_filters(filters):
    return filters.shape[0], filters.shape[1], filters.shape[3], filters.shape[4], filters.dtype


def _sum_to(t, shape):
    axes = [axis for axis in (0, 1) if shape[axis] != t.shape[axis]]
    return t.sum(axes, keepdim=True) if axes else t


# y = F x ------------------------------------------------------------------------------------------------------------

def _fwd_setup(ctx, inputs, output):
    x, filters, ctx.padding, ctx.backend = inputs
    ctx.save_for_backward(x, filters)


def _fwd_backward(ctx, g):
    x, filters = ctx.saved_tensors
    rest = ctx.padding, ctx.backend
    gx = _adjoint(g, filters, *rest) if ctx.needs_input_grad[0] else None
    gf = _bwd_filters(x, g, *_like_filters(filters), *rest) if ctx.needs_input_grad[1] else None
    return gx, gf, None, None


_fwd = register(
    "pixel_filter", "pixel_filter_fwd(Tensor x, Tensor filters, str padding, str backend) -> Tensor",
    lambda x, filters, padding: x.new_empty((x.shape[0], x.shape[1], filters.shape[2], x.shape[2], x.shape[3])),
    _fwd_setup, _fwd_backward)


# x = F' y -----------------------------------------------------------------------------------------------------------

def _adjoint_backward(ctx, g):
    y, filters = ctx.saved_tensors
    rest = ctx.padding, ctx.backend
    gy = _fwd(g, filters, *rest) if ctx.needs_input_grad[0] else None
    gf = _bwd_filters(g, y, *_like_filters(filters), *rest) if ctx.needs_input_grad[1] else None
    return gy, gf, None, None


_adjoint = register(
    "pixel_filter", "pixel_filter_adjoint(Tensor y, Tensor filters, str padding, str backend) -> Tensor",
    lambda y, filters, padding: y.new_empty((y.shape[0], y.shape[1], y.shape[3], y.shape[4])),
    _fwd_setup, _adjoint_backward)


# df[d, p] = g[p] x[p+d], summed over broadcast axes -------------------------------------------------------------------

def _bwd_filters_setup(ctx, inputs, output):
    x, g, *_, ctx.padding, ctx.backend = inputs
    ctx.save_for_backward(x, g)


def _bwd_filters_backward(ctx, upstream):
    x, g = ctx.saved_tensors
    rest = ctx.padding, ctx.backend
    gx = _adjoint(g, upstream, *rest) if ctx.needs_input_grad[0] else None
    gg = _fwd(x, upstream, *rest) if ctx.needs_input_grad[1] else None
    return gx, gg, *[None] * 7


def _bwd_filters_fake(x, g, batch, channels, kh, kw, dtype, padding):
    return x.new_empty((batch, channels, g.shape[2], kh, kw, x.shape[2], x.shape[3]), dtype=dtype)


_bwd_filters = register(
    "pixel_filter",
    "pixel_filter_bwd_filters(Tensor x, Tensor g, SymInt batch, SymInt channels, SymInt kh, SymInt kw, ScalarType dtype, "
    "str padding, str backend) -> Tensor",
    _bwd_filters_fake, _bwd_filters_setup, _bwd_filters_backward)


# sum_m F_m' W_m F_m x -----------------------------------------------------------------------------------------------

def _gram_setup(ctx, inputs, output):
    x, filters, weights, ctx.padding, ctx.backend = inputs
    ctx.save_for_backward(x, filters, weights)


def _gram_backward(ctx, g):
    x, filters, weights = ctx.saved_tensors
    rest = ctx.padding, ctx.backend
    gx = _gram(g, filters, weights, *rest) if ctx.needs_input_grad[0] else None
    gf = _gram_bwd_filters(x, g, filters, weights, *rest) if ctx.needs_input_grad[1] else None
    gw = None
    if ctx.needs_input_grad[2]:
        gw = _sum_to(_fwd(x, filters, *rest) * _fwd(g, filters, *rest), weights.shape)
    return gx, gf, gw, None, None


_gram = register(
    "pixel_filter", "pixel_filter_gram(Tensor x, Tensor filters, Tensor? weights, str padding, str backend) -> Tensor",
    lambda x, filters, weights, padding: x.new_empty(x.shape), _gram_setup, _gram_backward)


# df[m, d, p] = (W F g)[m, p] x[p+d] + (W F x)[m, p] g[p+d] -----------------------------------------------------------

def _gram_bwd_filters_setup(ctx, inputs, output):
    x, g, filters, weights, ctx.padding, ctx.backend = inputs
    ctx.save_for_backward(x, g, filters, weights)


def _gram_bwd_filters_backward(ctx, upstream):
    # <G, df> = <W F g, E> + <W F x, A> with E = fwd(x, G), A = fwd(g, G)
    x, g, filters, weights = ctx.saved_tensors
    rest = ctx.padding, ctx.backend
    fx, fg = _fwd(x, filters, *rest), _fwd(g, filters, *rest)
    e, a = _fwd(x, upstream, *rest), _fwd(g, upstream, *rest)
    wfx, wfg, we, wa = (t if weights is None else weights * t for t in (fx, fg, e, a))
    need_x, need_g, need_filters, need_weights = ctx.needs_input_grad[:4]
    gx = _adjoint(wfg, upstream, *rest) + _adjoint(wa, filters, *rest) if need_x else None
    gg = _adjoint(wfx, upstream, *rest) + _adjoint(we, filters, *rest) if need_g else None
    like = _like_filters(filters)
    gf = _bwd_filters(g, we, *like, *rest) + _bwd_filters(x, wa, *like, *rest) if need_filters else None
    gw = _sum_to(fg * e + fx * a, weights.shape) if need_weights else None
    return gx, gg, gf, gw, None, None


_gram_bwd_filters = register(
    "pixel_filter",
    "pixel_filter_gram_bwd_filters(Tensor x, Tensor g, Tensor filters, Tensor? weights, str padding, str backend) -> Tensor",
    lambda x, g, filters, weights, padding: filters.new_empty(filters.shape),
    _gram_bwd_filters_setup, _gram_bwd_filters_backward)


# public -------------------------------------------------------------------------------------------------------------

def _check_filters(image_name, batch, channels, height, width, filters):
    """Raises unless `filters` is a 5-D or 7-D map for such an image."""
    check_tensor("filters", filters)
    if filters.dim() not in (5, 7):
        raise ValueError("filters: expected [B|1, kh, kw, H, W] or [B|1, C|1, M, kh, kw, H, W], got " + shape_text(filters))
    check_axis("filters", filters, 0, (1, batch), f"a batch of 1 or that of {image_name},")
    if filters.dim() == 7:
        check_axis("filters", filters, 1, (1, channels), f"channels of 1 or those of {image_name},")
    check_axis("filters", filters, -2, (height,), f"H of {image_name}")
    check_axis("filters", filters, -1, (width,), f"W of {image_name}")
    if filters.shape[-4] == 0 or filters.shape[-3] == 0:
        raise ValueError("filters: expected kh >= 1 and kw >= 1, got " + shape_text(filters))


def _canonical(filters):
    return filters if filters.dim() == 7 else filters[:, None, None]


def pixel_filter(x, filters, *, padding="zeros", backend=None):
    """Filters every pixel with its own window: `y[b,c,m,p] = sum_d filters[b,c,m,d,p] x[b,c,p+d]` (correlation).

    Offsets d run over the kh x kw window with centre ((kh-1)//2, (kw-1)//2); outside of the image x is continued by `padding`.

    Args:
        x: image [B, C, H, W]; float32, float64, bfloat16 or float16, any strides.
        filters: [B|1, C|1, M, kh, kw, H, W], M filters for every pixel, or [B|1, kh, kw, H, W], one map shared by the
            channels. A batch or channel axis of 1 is never expanded in memory; any strides (a network head is used through a
            view). dtype of x; bfloat16 or float16 also beside a float32 image.
        padding: "zeros", "replicate", "reflect", "symmetric" or "circular", each defined for any reach as in numpy.pad.
        backend: force "cuda", "triton", "cpu" or "reference"; None chooses.

    Returns:
        [B, C, M, H, W] for 7-D filters, [B, C, H, W] for 5-D filters; dtype of x, contiguous.

    Raises:
        ValueError: a shape, size or padding that does not fit. TypeError: a dtype or device that does not fit.
        RuntimeError: the forced backend cannot run.

    Gradients of every order in x and filters. Bit-identical from run to run and for any number of threads. Extra memory: a few
    rows per thread. Half types are accumulated in float32 and rounded once. Learning Spatially-Variant MAP Models for Non-blind Image
    Deblurring (2021): the operators F_i and G_j.

    >>> import torch, svconv
    >>> x = torch.arange(12.0).reshape(1, 1, 3, 4)
    >>> shift_left = torch.zeros(1, 1, 3, 3, 4)
    >>> shift_left[0, 0, 2] = 1
    >>> svconv.pixel_filter(x, shift_left, padding="replicate")[0, 0, 0].tolist()
    [1.0, 2.0, 3.0, 3.0]
    """
    check_image("x", x)
    _check_filters("x", *x.shape, filters)
    padding, forced = canonical_padding(padding), backends.requested(backend)
    x, (filters,) = unify("x", x, {"filters": filters}, half_beside_float32=("filters",))
    y = _fwd(x, _canonical(filters), padding, forced)
    return y if filters.dim() == 7 else y.squeeze(2)


def pixel_filter_adjoint(y, filters, *, padding="zeros", backend=None):
    """The exact transpose of `pixel_filter`: `x[b,c,q] = sum_m sum_d filters[b,c,m,d,q-d] y[b,c,m,q-d]`.

    What the forward reads outside of the image is folded back to the pixel it came from, for each padding. With M = 1 and
    padding "zeros" or "circular" this is the scatter convolution with a PSF per pixel (centre (k-1)//2).

    Args:
        y: [B, C, M, H, W] for 7-D filters, [B, C, H, W] for 5-D filters; any strides.
        filters, padding, backend: as in `pixel_filter`.

    Returns:
        [B, C, H, W], dtype of y, contiguous.

    Raises, gradients, determinism and memory as in `pixel_filter`; every output pixel gathers, there are no atomics.

    >>> import torch, svconv
    >>> psf = torch.zeros(1, 1, 3, 1, 5)
    >>> psf[0, 0, :, 0, 2] = torch.tensor([0.25, 0.5, 0.25])       # the PSF of the middle pixel
    >>> svconv.pixel_filter_adjoint(torch.ones(1, 1, 1, 5), psf).flatten().tolist()
    [0.0, 0.25, 0.5, 0.25, 0.0]
    """
    check_tensor("y", y)
    check_tensor("filters", filters)
    if filters.dim() == 7:
        if y.dim() != 5:
            raise ValueError("y: expected [B, C, M, H, W] beside 7-D filters, got " + shape_text(y))
        check_image("y", y[:, :, 0] if y.shape[2] else y.new_empty(y.shape[0], y.shape[1], *y.shape[3:]))
        check_axis("y", y, 2, (filters.shape[2],), "M of filters")
    else:
        check_image("y", y)
    _check_filters("y", y.shape[0], y.shape[1], y.shape[-2], y.shape[-1], filters)
    padding, forced = canonical_padding(padding), backends.requested(backend)
    y, (filters,) = unify("y", y, {"filters": filters}, half_beside_float32=("filters",))
    return _adjoint(y if filters.dim() == 7 else y.unsqueeze(2), _canonical(filters), padding, forced)


def pixel_filter_gram(x, filters, *, weights=None, padding="zeros", backend=None):
    """The weighted normal operator `sum_m F_m' W_m F_m x` in one pass over the filters.

    Args:
        x: image [B, C, H, W].
        filters: as in `pixel_filter`.
        weights: None (all ones) or [B|1, C|1, M, H, W] ([B|1, C|1, H, W] beside 5-D filters), dtype of x.
        padding, backend: as in `pixel_filter`.

    Returns:
        [B, C, H, W], dtype of x, contiguous.

    Raises, determinism and memory as in `pixel_filter`. Gradients of every order in x, filters and weights; the operator is symmetric,
    so its gradient in x is itself. Learning Spatially-Variant MAP Models (2021): one term of the normal equations.

    >>> import torch, svconv
    >>> x, f = torch.rand(1, 2, 5, 6), torch.rand(1, 3, 3, 5, 6)
    >>> two_steps = svconv.pixel_filter_adjoint(svconv.pixel_filter(x, f), f)
    >>> torch.allclose(svconv.pixel_filter_gram(x, f), two_steps)
    True
    """
    check_image("x", x)
    _check_filters("x", *x.shape, filters)
    if weights is not None:
        _check_weights(x, filters, weights)
    padding, forced = canonical_padding(padding), backends.requested(backend)
    x, (filters, weights) = unify("x", x, {"filters": filters, "weights": weights}, half_beside_float32=("filters",))
    if weights is not None and filters.dim() == 5:
        weights = weights.unsqueeze(2)
    return _gram(x, _canonical(filters), weights, padding, forced)


def _check_weights(x, filters, weights):
    check_tensor("weights", weights)
    many = filters.dim() == 7
    if weights.dim() != (5 if many else 4):
        expected = "[B|1, C|1, M, H, W] beside 7-D filters" if many else "[B|1, C|1, H, W] beside 5-D filters"
        raise ValueError(f"weights: expected {expected}, got {shape_text(weights)}")
    check_axis("weights", weights, 0, (1, x.shape[0]), "a batch of 1 or that of x,")
    check_axis("weights", weights, 1, (1, x.shape[1]), "channels of 1 or those of x,")
    if many:
        check_axis("weights", weights, 2, (filters.shape[2],), "M of filters")
    check_axis("weights", weights, -2, (x.shape[2],), "H of x")
    check_axis("weights", weights, -1, (x.shape[3],), "W of x")
