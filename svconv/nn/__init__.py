"""Drop-in modules: hyper-parameters in `__init__`, tensors in `forward`."""
from svconv.nn.adversarial import FeatureMatchingLoss, HingeLoss
from svconv.nn.charbonnier import CharbonnierLoss
from svconv.nn.disk import DiskBlur
from svconv.nn.eff import EFFConv2d
from svconv.nn.feature_distance import FeatureDistance
from svconv.nn.filter_bank import FilterBankFeatures
from svconv.nn.half_instance_norm import HalfInstanceNorm2d
from svconv.nn.hyper_laplacian import HyperLaplacianLoss
from svconv.nn.map_solve import MAPSolve
from svconv.nn.modulation import Modulation
from svconv.nn.pixel_filter import FilterPredictor, PixelFilter2d
from svconv.nn.psnr import PSNRLoss
from svconv.nn.quotient import Barthann, ImageQuotient, KernelQuotient
from svconv.nn.ssim import SSIMLoss
from svconv.nn.supervised_attention import SupervisedAttention
from svconv.nn.vgg19 import VGG19Features

__all__ = ["Barthann", "CharbonnierLoss", "DiskBlur", "EFFConv2d", "FeatureDistance", "FeatureMatchingLoss", "FilterBankFeatures",
           "FilterPredictor", "HalfInstanceNorm2d", "HingeLoss", "HyperLaplacianLoss", "ImageQuotient", "KernelQuotient", "MAPSolve",
           "Modulation", "PSNRLoss", "PixelFilter2d", "SSIMLoss", "SupervisedAttention", "VGG19Features"]
