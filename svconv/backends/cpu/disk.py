"""The disk family on the CPU: allocation and the call into the compiled module."""
import torch

from svconv.backends.cpu import extension, tag, view


def _blur(x, radius, form, padding, max_radius, transposed, slope):
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    options = form, padding, max_radius, transposed, slope, torch.get_num_threads(), tag(x.dtype)
    extension().disk_blur(view(x), view(radius), view(out), *options)
    return out


def disk_blur_fwd(x, radius, form, padding, max_radius):
    return _blur(x, radius, form, padding, max_radius, False, False)


def disk_blur_adjoint(y, radius, form, padding, max_radius):
    return _blur(y, radius, form, padding, max_radius, True, False)


def disk_blur_bwd_radius(x, g, radius, form, padding, max_radius):
    out = torch.empty_like(radius, memory_format=torch.contiguous_format)
    options = form, padding, max_radius, torch.get_num_threads(), tag(x.dtype)
    extension().disk_bwd_radius(view(x), view(g), view(radius), view(out), *options)
    return out


def disk_slope_fwd(x, radius, form, padding, max_radius):
    return _blur(x, radius, form, padding, max_radius, False, True)


def disk_slope_adjoint(y, radius, form, padding, max_radius):
    return _blur(y, radius, form, padding, max_radius, True, True)
