"""Drop-in modules: hyper-parameters in `__init__`, tensors in `forward`."""
from svconv.nn.disk import DiskBlur
from svconv.nn.eff import EFFConv2d
from svconv.nn.half_instance_norm import HalfInstanceNorm2d
from svconv.nn.map_solve import MAPSolve
from svconv.nn.modulation import Modulation
from svconv.nn.pixel_filter import FilterPredictor, PixelFilter2d
from svconv.nn.quotient import Barthann, ImageQuotient, KernelQuotient
from svconv.nn.ssim import SSIMLoss
from svconv.nn.supervised_attention import SupervisedAttention

__all__ = ["Barthann", "DiskBlur", "EFFConv2d", "HalfInstanceNorm2d", "ImageQuotient", "KernelQuotient", "FilterPredictor", "MAPSolve",
           "Modulation", "PixelFilter2d", "SSIMLoss", "SupervisedAttention"]
