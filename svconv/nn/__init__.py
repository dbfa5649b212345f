"""Drop-in modules: hyper-parameters in `__init__`, tensors in `forward`."""
from svconv.nn.disk import DiskBlur
from svconv.nn.eff import EFFConv2d
from svconv.nn.map_solve import MAPSolve
from svconv.nn.pixel_filter import FilterPredictor, PixelFilter2d
from svconv.nn.quotient import Barthann, ImageQuotient, KernelQuotient
from svconv.nn.ssim import SSIMLoss

__all__ = ["Barthann", "DiskBlur", "EFFConv2d", "ImageQuotient", "KernelQuotient", "FilterPredictor", "MAPSolve", "PixelFilter2d",
           "SSIMLoss"]
