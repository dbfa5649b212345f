"""Efficient filter flow: overlapping windowed patches, each with its own kernel; its adjoint, the gradient in the kernels, and the
patch-wise quotients.

Inside, images are [B, C, H, W], kernels [B|1, C|1, R, kh, kw], beta [B|1], all float32 or float64; a grid is given to the ops by its
options. The convolution is bilinear, so its three ops are each other's gradients; the quotients have one fused gradient each, whose own
gradient goes through the differentiable formulas of the reference.
"""
from svconv import backends
from svconv._boundary import canonical_padding
from svconv._eff_grid import EFFGrid, halo_size
from svconv._form import check_form
from svconv._shapes import Dims, check_like, computed, pair, shape_text, unify
from svconv.ops._bilinear import bilinear
from svconv.ops._formula import save, second_order
from svconv.ops._library import register
from svconv.ops.quotient import check_fits, checked_beta, like_if, prior_power
from svconv.reference import eff as reference

KERNELS = "B? C? R kh kw", "B? R kh kw"
_GRID = "int[] rows, int[] columns, float overlap, str window"
_ops = bilinear("eff", "eff", "kernels", lambda x, *_: x.shape, lambda y, *_: y.shape, f"str form, str padding, {_GRID}")


# image quotient -----------------------------------------------------------------------------------------------------

_image_bwd = register(
    "eff",
    f"eff_image_quotient_bwd(Tensor g, Tensor y, Tensor kernels, Tensor beta, Tensor? power, str padding, {_GRID}, bool need_y, "
    "bool need_kernels, bool need_beta, bool need_power, str backend) -> (Tensor, Tensor, Tensor, Tensor)",
    lambda g, y, kernels, beta, power, padding, rows, columns, overlap, window, need_y, need_kernels, need_beta, need_power:
        (like_if(need_y, y), like_if(need_kernels, kernels), like_if(need_beta, beta),
         like_if(need_power, y, power.shape if need_power else None)),
    save(5), second_order(reference.eff_image_quotient_bwd), formula=reference.eff_image_quotient_bwd, batched={"folds": False})


def _image_backward(ctx, g):
    y, kernels, beta, power = ctx.saved_tensors
    needed = ctx.needs_input_grad[:4]
    grads = _image_bwd(g, y, kernels, beta, power, *ctx.rest, *needed, ctx.backend)
    return *(t if need else None for t, need in zip(grads, needed)), *[None] * (len(ctx.rest) + 1)


_image_fwd = register(
    "eff",
    f"eff_image_quotient_fwd(Tensor y, Tensor kernels, Tensor beta, Tensor? power, str padding, {_GRID}, str backend) -> Tensor",
    lambda y, *_: y.new_empty(y.shape), save(4), _image_backward, formula=reference.eff_image_quotient_fwd, batched={"plain": (3,)})


# kernel quotient ----------------------------------------------------------------------------------------------------

_kernel_bwd = register(
    "eff",
    f"eff_kernel_quotient_bwd(Tensor g, Tensor x, Tensor y, Tensor beta, {_GRID}, bool need_x, bool need_y, bool need_beta, str backend) "
    "-> (Tensor, Tensor, Tensor)",
    lambda g, x, y, beta, rows, columns, overlap, window, need_x, need_y, need_beta:
        (like_if(need_x, x), like_if(need_y, y), like_if(need_beta, beta)),
    save(4), second_order(reference.eff_kernel_quotient_bwd), formula=reference.eff_kernel_quotient_bwd, batched={"folds": False})


def _kernel_backward(ctx, g):
    x, y, beta = ctx.saved_tensors
    needed = ctx.needs_input_grad[:3]
    grads = _kernel_bwd(g, x, y, beta, *ctx.rest[2:], *needed, ctx.backend)
    return *(t if need else None for t, need in zip(grads, needed)), *[None] * (len(ctx.rest) + 1)


_kernel_fwd = register(
    "eff",
    f"eff_kernel_quotient_fwd(Tensor x, Tensor y, Tensor beta, SymInt kh, SymInt kw, {_GRID}, str backend) -> Tensor",
    lambda x, y, beta, kh, kw, rows, columns, overlap, window: x.new_empty((x.shape[0], rows[0] * columns[0], kh, kw)), save(3),
    _kernel_backward, formula=reference.eff_kernel_quotient_fwd, batched={"images": 2})


# arguments ----------------------------------------------------------------------------------------------------------

def check_grid(grid):
    if not isinstance(grid, EFFGrid):
        raise TypeError(f"grid: expected an EFFGrid, got {type(grid).__name__}")


def with_channels(kernels):
    return kernels if kernels.dim() == 5 else kernels.unsqueeze(1)


def _dims(name, image, grid, layout="B C H W"):
    """The letters of a call whose image has the size of the grid."""
    check_grid(grid)
    dims = Dims()
    dims.check(name, image, layout)
    if tuple(image.shape[-2:]) != grid.image_size:
        raise ValueError(f"{name}: expected an image of the grid's size {grid.image_size}, got {shape_text(image)}")
    dims.bind("grid", R=grid.patches)
    return dims


def _run(op, name, image, kernels, grid, form, padding, backend, kept=None):
    dims = _dims(name, image, grid)
    dims.check("kernels", kernels, *KERNELS)
    check_form(form)
    padding, forced = canonical_padding(padding), backends.requested(backend)
    image, (kernels,) = unify(name, image, {"kernels": kernels})
    arguments = computed(image), computed(with_channels(kernels)), form, padding
    if kept is None:
        return op(*arguments, *grid.options, forced).to(image.dtype)
    return kept.run("eff_fwd" if op is _ops.fwd else "eff_adjoint", op, *arguments, grid, forced).to(image.dtype)


def conv_with_kept(x, kernels, grid, form, padding, kept):
    """`eff_conv` for an operator, with the `KeptSpectra` of its kernels or None."""
    return _run(_ops.fwd, "x", x, kernels, grid, form, padding, None, kept)


def adjoint_with_kept(y, kernels, grid, form, padding, kept):
    """`eff_conv_adjoint`, likewise."""
    return _run(_ops.adjoint, "y", y, kernels, grid, form, padding, None, kept)


# public -------------------------------------------------------------------------------------------------------------

def eff_conv(x, kernels, grid, *, form="scatter", padding="zeros", backend=None):
    """Convolution with a kernel per patch: `y = sum_r conv(w_r x, k_r)` ("scatter") or `y = sum_r w_r conv(x, k_r)` ("gather").

    The windows w_r of the patches add up to one, so that equal kernels give `conv`. "scatter": the kernel belongs to the input pixel, as
    the image of a point of light does (efficient filter flow); the windowed image is continued by the padding, then convolved. "gather":
    the kernel belongs to the output pixel. Kernels have their centre at (kh//2, kw//2), even sizes included. Each patch is an exact linear
    convolution in Fourier space, at the next length with factors 2, 3, 5, 7.

    Args:
        x: image [B, C, H, W] of the grid's size; float32, float64, bfloat16 or float16 (computed in float32), any strides.
        kernels: [B|1, C|1, R, kh, kw], or [B|1, R, kh, kw] shared by the channels; dtype of x. R = grid.patches, row by row. A kernel may
            be larger than a patch and than the image.
        grid: an `EFFGrid`.
        form: "scatter" or "gather".
        padding: "zeros", "replicate", "reflect", "symmetric" or "circular", each defined for any reach as in numpy.pad.
        backend: force "cuda", "triton", "cpu" or "reference"; None chooses.

    Returns:
        [B, C, H, W], dtype of x, contiguous.

    Raises:
        ValueError: a shape, form or padding that does not fit. TypeError: a dtype or device that does not fit, or no EFFGrid.
        RuntimeError: the forced backend cannot run.

    Gradients of every order in x and kernels. Bit-identical from run to run. Extra memory: the continued image and one patch at a time or
    a few of them. A NaN spoils at most the patches it lies in, on its own channel of its own image.

    >>> import torch, svconv
    >>> x, grid = torch.rand(1, 3, 32, 48), svconv.EFFGrid((32, 48), (2, 3))
    >>> kernels = torch.rand(1, 6, 5, 5)
    >>> svconv.eff_conv(x, kernels, grid).shape
    torch.Size([1, 3, 32, 48])
    >>> same = kernels[:, :1].expand(1, 6, 5, 5)
    >>> torch.allclose(svconv.eff_conv(x, same, grid), svconv.conv(x, kernels[:, 0], padding="zeros"), atol=1e-4)
    True
    """
    return _run(_ops.fwd, "x", x, kernels, grid, form, padding, backend)


def eff_conv_adjoint(y, kernels, grid, *, form="scatter", padding="zeros", backend=None):
    """The exact transpose of `eff_conv`: correlation with the kernels; what was read outside of the image is folded back.

    Args:
        y: image [B, C, H, W].
        kernels, grid, form, padding, backend: as in `eff_conv`.

    Returns:
        [B, C, H, W], dtype of y, contiguous.

    Raises, gradients, determinism and memory as in `eff_conv`.

    >>> import torch, svconv
    >>> x, y, k, grid = torch.rand(1, 1, 9, 8), torch.rand(1, 1, 9, 8), torch.rand(1, 4, 3, 3), svconv.EFFGrid((9, 8), (2, 2))
    >>> left = (svconv.eff_conv(x, k, grid, padding="reflect") * y).sum()
    >>> torch.allclose(left, (x * svconv.eff_conv_adjoint(y, k, grid, padding="reflect")).sum())
    True
    """
    return _run(_ops.adjoint, "y", y, kernels, grid, form, padding, backend)


def eff_kernel_adjoint(x, y, grid, kernel_size, *, form="scatter", padding="zeros", backend=None):
    """The gradient of `<eff_conv(x, k), y>` in the kernels: what of y stands at each shift from the windowed x.

    Args:
        x, y: images [B, C, H, W] of the grid's size, one dtype.
        grid: an `EFFGrid`.
        kernel_size: an int or (kh, kw).
        form, padding, backend: as in `eff_conv`.

    Returns:
        [B, C, R, kh, kw], dtype of x, contiguous.

    Raises, gradients, determinism and memory as in `eff_conv`.

    >>> import torch, svconv
    >>> x, y, k, grid = torch.rand(1, 1, 9, 8), torch.rand(1, 1, 9, 8), torch.rand(1, 1, 4, 3, 3), svconv.EFFGrid((9, 8), (2, 2))
    >>> torch.allclose((svconv.eff_conv(x, k, grid) * y).sum(), (k * svconv.eff_kernel_adjoint(x, y, grid, 3)).sum())
    True
    """
    _dims("x", x, grid)
    Dims().check("y", y, "B C H W")
    check_like("y", y, "x", x)
    size = pair("kernel_size", kernel_size, least=1, integer=True)
    check_form(form)
    padding, forced = canonical_padding(padding), backends.requested(backend)
    x, (y,) = unify("x", x, {"y": y})
    first = computed(x)
    shape = [*x.shape[:2], grid.patches, *size]
    return _ops.bwd(first, computed(y), shape, first.dtype, form, padding, *grid.options, forced).to(x.dtype)


def eff_image_quotient(y, kernels, grid, *, beta, prior="gradient", padding="replicate", backend=None, check=False):
    """Patch-wise direct deconvolution: `x = sum_r w_r F^-1[ conj(K_r) Y_r / (|K_r|^2 + beta sum_j |D_j|^2) ]`.

    y is continued by the padding. Each patch is cut out with a halo of (kh, kw) on every side, at the far side on to the next length with
    factors 2, 3, 5, 7, divided, and its inside is weighted by the window and added up. It is no
    minimiser of one energy; `svconv.solvers.wiener` starts from it and goes on to one.

    Args:
        y: image [B, C, H, W] of the grid's size; float32, float64, bfloat16 or float16 (computed in float32).
        kernels: [B|1, C|1, R, kh, kw], or [B|1, R, kh, kw] shared by the channels; dtype of y, at most the size of the image.
        grid: an `EFFGrid`.
        beta: > 0; a number, a 0-d tensor or [B], dtype of y (float32 also beside half types).
        prior: "identity" (sum |D|^2 = 1), "gradient" (differences of neighbours in both directions) or filters [J, fh, fw].
        padding: "zeros", "replicate", "reflect", "symmetric" or "circular".
        backend: force "cuda", "triton", "cpu" or "reference"; None chooses.
        check: look at the values of a beta tensor also where that synchronises or breaks a graph.

    Returns:
        [B, C, H, W], dtype of y, contiguous.

    Raises:
        ValueError: a shape or value that does not fit. TypeError: a dtype or device that does not fit, or no EFFGrid.

    First and second order gradients in y, kernels, beta and prior filters. Bit-identical from run to run. Extra memory: the continued
    image and one patch at a time or a few of them. An all-zero kernel gives zero in its patch; a NaN spoils at most the patches whose
    halo it lies in, on its own channel of its own image.

    >>> import torch, svconv
    >>> grid = svconv.EFFGrid((40, 40), (2, 2))
    >>> x, k = torch.rand(1, 1, 40, 40, dtype=torch.float64), torch.rand(1, 4, 3, 3, dtype=torch.float64)
    >>> k[:, :, 1, 1] = 20
    >>> y = svconv.eff_conv(x, k, grid, padding="replicate")
    >>> bool((svconv.eff_image_quotient(y, k, grid, beta=1e-9) - x).abs().max() < 0.05)
    True
    """
    dims = _dims("y", y, grid)
    dims.check("kernels", kernels, *KERNELS)
    size = kernels.shape[-2:]
    check_fits("kernels", size, grid.image_size)
    padding, forced = canonical_padding(padding), backends.requested(backend)
    y, (kernels,) = unify("y", y, {"kernels": kernels})
    beta = checked_beta(beta, y, check)
    power = prior_power(prior, kernels, halo_size(grid, size))
    return _image_fwd(computed(y), computed(with_channels(kernels)), beta, power, padding, *grid.options, forced).to(y.dtype)


def eff_kernel_quotient(x, y, grid, kernel_size, *, beta=1e-4, backend=None, check=False):
    """The blur kernel of every patch: `k_r = F^-1[ sum_i conj(F w_r x_i) F w_r y_i / (sum_i |F w_r x_i|^2 + beta) ]`, cropped.

    Both features are weighted by the patch's window and transformed at the next length >= P + k - 1 with factors 2, 3, 5, 7, so that
    nothing wraps. The result is raw: it may be negative and does not sum to one (see `project_kernel` and `MotionBasis.project`).

    Args:
        x, y: sharp and blurry features [B, n, H, W] of the grid's size; float32, float64, bfloat16 or float16 (computed in float32).
        grid: an `EFFGrid`.
        kernel_size: an int or (kh, kw), at most the image.
        beta: > 0; a number, a 0-d tensor or [B], dtype of x (float32 also beside half types).
        backend: force "cuda", "triton", "cpu" or "reference"; None chooses.
        check: look at the values of a beta tensor also where that synchronises or breaks a graph.

    Returns:
        [B, R, kh, kw], dtype of x, contiguous; shift zero at (kh//2, kw//2).

    Raises:
        ValueError: a shape or value that does not fit. TypeError: a dtype or device that does not fit, or no EFFGrid.

    First and second order gradients in x, y and beta. Bit-identical from run to run. Extra memory: one patch at a time or a few of them.
    Features that are all zero under a window give the zero kernel; a NaN spoils at most the kernels of the patches it lies in. Learning to
    Deblur (2016), Eq. (8).

    >>> import torch, svconv
    >>> x = torch.zeros(1, 1, 24, 24, dtype=torch.float64)
    >>> x[..., 4:-4, 4:-4] = torch.randn(16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> k = torch.tensor([[[[0.0, 1, 0], [2, 3, 1], [0, 1, 0]]]], dtype=torch.float64)
    >>> grid = svconv.EFFGrid((24, 24), (1, 1))
    >>> torch.allclose(svconv.eff_kernel_quotient(x, svconv.eff_conv(x, k, grid), grid, 3, beta=1e-12), k, atol=1e-6)
    True
    """
    _dims("x", x, grid, "B n H W")
    Dims().check("y", y, "B n H W")
    check_like("y", y, "x", x)
    size = pair("kernel_size", kernel_size, least=1, integer=True)
    check_fits("kernel_size", size, grid.image_size)
    forced = backends.requested(backend)
    x, (y,) = unify("x", x, {"y": y})
    return _kernel_fwd(computed(x), computed(y), checked_beta(beta, x, check), *size, *grid.options, forced).to(x.dtype)
