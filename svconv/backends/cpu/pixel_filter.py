"""pixel_filter on the CPU: allocation and the call into the compiled module."""
import torch

from svconv.backends.cpu import extension, tag, view
from svconv.backends.cpu.gradient_memory import new_gradient


def why_not(op, *arguments):
    mirrors = op == "pixel_filter_stencil" and arguments[4] in ("reflect", "symmetric")
    if mirrors and any(n % 2 == 0 for n in arguments[0].shape[3:5]):
        return "folds mirrored edges into the stencils of odd filters only"
    return None


def _run(name, x, filters, out, padding, *middle):
    dtypes = tag(x.dtype), tag(filters.dtype)
    getattr(extension(), name)(view(x), view(filters), *middle, view(out), padding, torch.get_num_threads(), *dtypes)
    return out


def pixel_filter_fwd(x, filters, padding):
    b, c, h, w = x.shape
    out = x.new_empty(b, c, filters.shape[2], h, w)
    return _run("pixel_filter_fwd", x, filters, out, padding)


def pixel_filter_adjoint(y, filters, padding):
    b, c, _, h, w = y.shape
    out = y.new_empty(b, c, h, w)
    return _run("pixel_filter_adjoint", y, filters, out, padding)


def pixel_filter_bwd_filters(x, g, shape, dtype, padding):
    out = new_gradient(shape, dtype)
    extension().pixel_filter_bwd_filters(view(x), view(g), view(out), padding, torch.get_num_threads(), tag(x.dtype), tag(dtype))
    return out


def pixel_filter_gram(x, filters, weights, padding):
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    return _run("pixel_filter_gram", x, filters, out, padding, None if weights is None else view(weights))


def pixel_filter_gram_bwd_filters(x, g, filters, weights, padding):
    out = new_gradient(filters.shape, filters.dtype)
    given = view(x), view(g), view(filters), None if weights is None else view(weights), view(out)
    extension().pixel_filter_gram_bwd_filters(*given, padding, torch.get_num_threads(), tag(x.dtype), tag(filters.dtype))
    return out


def pixel_filter_stencil(filters, weights, shape, dtype, padding):
    out = filters.new_empty(shape, dtype=dtype)
    given = view(filters), None if weights is None else view(weights), view(out)
    extension().pixel_filter_stencil(*given, padding, torch.get_num_threads(), tag(filters.dtype), tag(dtype))
    return out


def pixel_filter_stencil_apply(x, stencil, side, padding):
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    dtypes = tag(x.dtype), tag(stencil.dtype)
    extension().pixel_filter_stencil_apply(view(x), view(stencil.contiguous()), view(out), *side, padding, torch.get_num_threads(), *dtypes)
    return out
