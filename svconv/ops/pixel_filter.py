"""Per-pixel filtering: every pixel has its own small filter. Forward, exact adjoint, and the fused normal operator.

Inside, tensors have the canonical shapes x [B, C, H, W], filters [B|1, C|1, M, kh, kw, H, W], y [B, C, M, H, W]. The family is bilinear in
(image, filters), so filtering, its adjoint and the filter gradient are written as each other's gradients and every order of
derivative exists.
"""
from svconv import backends
from svconv._boundary import canonical_padding
from svconv._shapes import Dims, check_tensor, unify
from svconv.ops._bilinear import bilinear
from svconv.ops._library import register
from svconv.ops._transforms import total

_ops = bilinear("pixel_filter", "pixel_filter", "filters", lambda x, filters, padding: (*x.shape[:2], filters.shape[2], *x.shape[2:]),
                lambda y, filters, padding: (*y.shape[:2], *y.shape[3:]), "str padding")
_fwd, _adjoint, _bwd_filters = _ops
ONE_MAP, MANY_MAPS = "B? kh kw H W", "B? C? M kh kw H W"


def _sum_to(t, shape):
    axes = [axis for axis in (0, 1) if shape[axis] != t.shape[axis]]
    return t.sum(axes, keepdim=True) if axes else t


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


def _weighed(weights, y):
    return y if weights is None else weights * y


def _gram_jvp(primals, tangents):
    x, filters, weights, *rest = primals
    dx, df, dw = tangents[:3]

    def terms():
        if dx is not None:
            yield _gram(dx, filters, weights, *rest)
        if df is not None:
            yield _adjoint(_weighed(weights, _fwd(x, df, *rest)), filters, *rest) + _adjoint(
                _weighed(weights, _fwd(x, filters, *rest)), df, *rest
            )
        if dw is not None:
            yield _adjoint(dw * _fwd(x, filters, *rest), filters, *rest)

    return total(terms())


_gram = register(
    "pixel_filter", "pixel_filter_gram(Tensor x, Tensor filters, Tensor? weights, str padding, str backend) -> Tensor",
    lambda x, filters, weights, padding: x.new_empty(x.shape), _gram_setup, _gram_backward, _gram_jvp, batched={})


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
    wfx, wfg, we, wa = (_weighed(weights, t) for t in (fx, fg, e, a))
    need_x, need_g, need_filters, need_weights = ctx.needs_input_grad[:4]
    gx = _adjoint(wfg, upstream, *rest) + _adjoint(wa, filters, *rest) if need_x else None
    gg = _adjoint(wfx, upstream, *rest) + _adjoint(we, filters, *rest) if need_g else None
    like = filters.shape, filters.dtype
    gf = _bwd_filters(g, we, *like, *rest) + _bwd_filters(x, wa, *like, *rest) if need_filters else None
    gw = _sum_to(fg * e + fx * a, weights.shape) if need_weights else None
    return gx, gg, gf, gw, None, None


def _gram_bwd_filters_jvp(primals, tangents):
    """df is the sum of two filter gradients, of x with W F g and of g with W F x; each is bilinear."""
    x, g, filters, weights, *rest = primals
    dx, dg, df, dw = tangents[:4]
    like = filters.shape, filters.dtype

    def half(image, other, d_image, d_other):
        response = _fwd(other, filters, *rest)
        if d_image is not None:
            yield _bwd_filters(d_image, _weighed(weights, response), *like, *rest)
        if d_other is not None:
            yield _bwd_filters(image, _weighed(weights, _fwd(d_other, filters, *rest)), *like, *rest)
        if df is not None:
            yield _bwd_filters(image, _weighed(weights, _fwd(other, df, *rest)), *like, *rest)
        if dw is not None:
            yield _bwd_filters(image, dw * response, *like, *rest)

    return total((*half(x, g, dx, dg), *half(g, x, dg, dx)))


_gram_bwd_filters = register(
    "pixel_filter",
    "pixel_filter_gram_bwd_filters(Tensor x, Tensor g, Tensor filters, Tensor? weights, str padding, str backend) -> Tensor",
    lambda x, g, filters, weights, padding: filters.new_empty(filters.shape),
    _gram_bwd_filters_setup, _gram_bwd_filters_backward, _gram_bwd_filters_jvp, batched={"folds": False})


# public -------------------------------------------------------------------------------------------------------------

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
    dims = Dims()
    dims.check("x", x, "B C H W")
    dims.check("filters", filters, ONE_MAP, MANY_MAPS)
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
    dims = Dims()
    check_tensor("filters", filters)
    if filters.dim() == 7:
        dims.bind("filters", M=filters.shape[2])
        dims.check("y", y, "B C M H W", beside=" beside 7-D filters")
    else:
        dims.check("y", y, "B C H W")
    dims.check("filters", filters, ONE_MAP, MANY_MAPS)
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
    dims = Dims()
    dims.check("x", x, "B C H W")
    dims.check("filters", filters, ONE_MAP, MANY_MAPS)
    if weights is not None and filters.dim() == 7:
        dims.check("weights", weights, "B? C? M H W", beside=" beside 7-D filters")
    elif weights is not None:
        dims.check("weights", weights, "B? C? H W", beside=" beside 5-D filters")
    padding, forced = canonical_padding(padding), backends.requested(backend)
    x, (filters, weights) = unify("x", x, {"filters": filters, "weights": weights}, half_beside_float32=("filters",))
    if weights is not None and filters.dim() == 5:
        weights = weights.unsqueeze(2)
    return _gram(x, _canonical(filters), weights, padding, forced)
