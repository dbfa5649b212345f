"""The normal operator of per-pixel filters, assembled once as a symmetric stencil and applied many times; not among the public ops.

`A = sum_m F_m' W_m F_m` couples pixels at most kh - 1 rows and kw - 1 columns apart. Of `A(q, q + e)` the half from e = 0 on is kept, in
the order of reading: 41 values for each pixel with filters of 5 x 5, whatever their number. Neither op has gradients: a solver
differentiates `pixel_filter_gram`.
"""
import torch

from svconv import backends
from svconv._boundary import canonical_padding
from svconv._shapes import HALF, Dims, check_device, shape_text, unify
from svconv.ops._library import register
from svconv.ops._transforms import transforming

LEAST_APPLICATIONS = 12         # the assembly costs what 8 to 16 applications save (docs/models/svmap_solve.md); on a GPU not measured

_assemble = register(
    "pixel_filter",
    "pixel_filter_stencil(Tensor filters, Tensor? weights, int[] shape, ScalarType dtype, str padding, str backend) -> Tensor",
    lambda filters, weights, shape, dtype, padding: filters.new_empty(shape, dtype=dtype))

_apply = register(
    "pixel_filter", "pixel_filter_stencil_apply(Tensor x, Tensor stencil, int[] side, str padding, str backend) -> Tensor",
    lambda x, stencil, side, padding: x.new_empty(x.shape))


def accepts(filters, stencil):
    """Whether a stencil may have that dtype beside filters of that dtype: the same, or a half type beside float32 either way."""
    return filters == stencil or {filters, stencil} in ({torch.float32, half} for half in HALF)


def pays(filters, applications):
    """Whether a `GramStencil` of the filters in the precision of the sums is expected to be quicker than so many `pixel_filter_gram`: where
    nothing can be differentiated, compiled kernels run, fewer bytes are read and the assembly is repaid. An exported program gets the
    answer of the model, and so its bits."""
    compiling = torch.compiler.is_compiling() and not torch.compiler.is_exporting()
    if torch.is_grad_enabled() or compiling or transforming() or applications < LEAST_APPLICATIONS:
        return False
    _, _, maps, kh, kw, _, _ = filters.shape
    if values(kh, kw) * max(4, filters.itemsize) >= maps * kh * kw * filters.itemsize:
        return False
    compiled = "cpu" if filters.device.type == "cpu" else "triton"
    return (backends.requested_outside() in ("", compiled)
            and backends.why_not(compiled, "pixel_filter", "pixel_filter_stencil", filters.device) is None)


def values(kh, kw):
    """How many values of a pixel's stencil are kept, for filters of kh x kw."""
    return (2 * kh - 1) * (2 * kw - 1) // 2 + 1


def _shared(filters, weights):
    """[B, C] of filters and weights together."""
    try:
        return torch.broadcast_shapes(filters.shape[:2], weights.shape[:2])
    except RuntimeError:
        raise ValueError(f"weights: expected the batch and channels of filters {shape_text(filters)}, or 1, got "
                         + shape_text(weights)) from None


class GramStencil:
    """`pixel_filter_gram(x, filters, weights=weights, padding=padding)` as a function of x that reads a stencil instead of the filters.

    5 filters of 5 x 5 are 125 values per pixel, the stencil 41, and the assembly costs what 8 to 16
    applications save on a CPU (docs/models/svmap_solve.md); on a GPU that was not measured.

    Args:
        filters: [B|1, C|1, M, kh, kw, H, W], any strides.
        weights: None (all ones) or [B|1, C|1, M, H, W]; float32, or float64 beside float64 filters.
        padding: as in `svconv.pixel_filter`; what reaches over an edge is folded into the stencil.
        dtype: that the stencil is stored in, None: that of the filters. bfloat16 and float16 beside float32 filters, float32 beside half
            ones; sums are float32.
        backend: force "triton", "cpu" or "reference"; None chooses.

    Attributes:
        values: [B|1, C|1, (2 kh - 1)(2 kw - 1) // 2 + 1, H, W], `A(q, q + e)` for e from 0 on; it does not require gradients.

    stencil(x [B, C, H, W]) -> [B, C, H, W], dtype of x: that of the stencil, or float32. No gradients.

    Raises:
        ValueError: a shape, size or padding that does not fit. TypeError: a dtype or device that does not fit.
        RuntimeError: the forced backend cannot run.

    Bit-identical from run to run and for any number of threads. Extra memory: for 5 filters of 5 x 5 under 1 MiB per thread
    on a CPU; on a GPU, where the padding mirrors or repeats, the stencil once or twice more while it is assembled.

    >>> import torch, svconv
    >>> from svconv.ops.pixel_filter_stencil import GramStencil
    >>> x, f = torch.rand(1, 2, 9, 8), torch.rand(1, 2, 3, 5, 5, 9, 8)
    >>> A = GramStencil(f, padding="replicate")
    >>> A.values.shape, torch.allclose(A(x), svconv.pixel_filter_gram(x, f, padding="replicate"))
    (torch.Size([1, 2, 41, 9, 8]), True)
    """

    def __init__(self, filters, *, weights=None, padding="zeros", dtype=None, backend=None):
        dims = Dims()
        dims.check("filters", filters, "B C M kh kw H W")
        wide, dtype = (torch.float32 if filters.dtype in HALF else filters.dtype), (filters.dtype if dtype is None else dtype)
        if not accepts(filters.dtype, dtype):
            raise TypeError(f"dtype: expected {filters.dtype} like filters, a half type beside float32 or the reverse, got {dtype}")
        lead = filters.shape[:2]
        if weights is not None:
            check_device("filters", filters, "weights", weights)
            given = Dims()
            given.bind("filters", M=dims["M"], H=dims["H"], W=dims["W"])
            given.check("weights", weights, "B C M H W")
            if weights.dtype != wide:
                raise TypeError(f"weights: expected {wide} beside filters of {filters.dtype}, got {weights.dtype}")
            lead = _shared(filters, weights)
        self.padding, self.side, self.backend = canonical_padding(padding), filters.shape[3:5], backends.requested(backend)
        shape = *lead, values(*self.side), *filters.shape[5:]
        self.values = _assemble(filters.detach(), None if weights is None else weights.detach(), shape, dtype, self.padding, self.backend)

    def __call__(self, x):
        dims = Dims()
        dims.check("x", x, "B C H W")
        dims.check("stencil", self.values, "B? C? values H W")
        x, (values,) = unify("x", x, {"stencil": self.values}, half_beside_float32=("stencil",))
        return _apply(x.detach(), values, self.side, "circular" if self.padding == "circular" else "zeros", self.backend)
