"""Linear operators: forward, exact adjoint, gram, norm and the dot test, and their products, sums and stacks."""
from svconv.operators.base import Identity, Operator
from svconv.operators.composites import stack
from svconv.operators.conv import Conv
from svconv.operators.examples import EXAMPLES
from svconv.operators.pixel_filter import PixelFilter

__all__ = ["EXAMPLES", "Conv", "Identity", "Operator", "PixelFilter", "stack"]
