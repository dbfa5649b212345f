"""Linear operators: forward, exact adjoint, gram, norm and the dot test, and their products and sums."""
from svconv.operators.base import Identity, Operator
from svconv.operators.conv import Conv
from svconv.operators.pixel_filter import PixelFilter

__all__ = ["Conv", "Identity", "Operator", "PixelFilter"]
