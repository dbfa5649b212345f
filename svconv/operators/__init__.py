"""Linear operators: forward, exact adjoint, gram, norm and the dot test, and their products, sums and stacks."""
from svconv.operators.base import Identity as Identity, Operator as Operator
from svconv.operators.composites import stack as stack
from svconv.operators.conv import Conv as Conv
from svconv.operators.disk import DiskBlur as DiskBlur
from svconv.operators.eff import EFFBlur as EFFBlur
from svconv.operators.examples import EXAMPLES as EXAMPLES
from svconv.operators.filter_gradient import FilterGradient as FilterGradient
from svconv.operators.pixel_filter import PixelFilter as PixelFilter

__all__ = ["EXAMPLES"] + [name for name, value in globals().items() if callable(value) and not name.startswith("_")]
