"""Trained models built on the ops."""
from svconv.models.blur_kernel_space import BlurKernelSpace
from svconv.models.learning_to_deblur import DeblurResult, LearningToDeblur, VaryingResult
from svconv.models.svbr_net import SVBRNet
from svconv.models.svmap import SIMAP, SVMAP

__all__ = ["BlurKernelSpace", "DeblurResult", "LearningToDeblur", "SIMAP", "SVBRNet", "SVMAP", "VaryingResult"]
