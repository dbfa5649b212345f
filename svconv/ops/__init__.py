"""The public ops of every family; each is importable from `svconv` too."""
from svconv.ops.pixel_filter import pixel_filter, pixel_filter_adjoint, pixel_filter_gram

__all__ = ["pixel_filter", "pixel_filter_adjoint", "pixel_filter_gram"]
