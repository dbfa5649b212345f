"""The gaussian family on the CPU: allocation and the call into the compiled module."""
import torch

from svconv.backends.cpu import extension, tag, view


def _blur(x, sigma, form, padding, max_sigma, truncate, transposed, slope):
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    options = form, padding, max_sigma, truncate, transposed, slope, torch.get_num_threads(), tag(x.dtype)
    extension().gaussian_blur(view(x), view(sigma), view(out), *options)
    return out


def gaussian_blur_fwd(x, sigma, form, padding, max_sigma, truncate):
    return _blur(x, sigma, form, padding, max_sigma, truncate, False, False)


def gaussian_blur_adjoint(y, sigma, form, padding, max_sigma, truncate):
    return _blur(y, sigma, form, padding, max_sigma, truncate, True, False)


def gaussian_blur_bwd_sigma(x, g, sigma, form, padding, max_sigma, truncate):
    out = torch.empty_like(sigma, memory_format=torch.contiguous_format)
    options = form, padding, max_sigma, truncate, torch.get_num_threads(), tag(x.dtype)
    extension().gaussian_bwd_sigma(view(x), view(g), view(sigma), view(out), *options)
    return out


def gaussian_slope_fwd(x, sigma, form, padding, max_sigma, truncate):
    return _blur(x, sigma, form, padding, max_sigma, truncate, False, True)


def gaussian_slope_adjoint(y, sigma, form, padding, max_sigma, truncate):
    return _blur(y, sigma, form, padding, max_sigma, truncate, True, True)
