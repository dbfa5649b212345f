"""Trained models built on the ops."""
from svconv.models.blur_kernel_space import BlurKernelSpace
from svconv.models.deep_prior import DeepPriorResult, deep_prior_deblur
from svconv.models.degradation_deblur import DegradationDeblur, Restored
from svconv.models.export import Exported, export
from svconv.models.find_blur import BlurFinding, find_blur
from svconv.models.learning_to_deblur import DeblurResult, LearningToDeblur, VaryingResult
from svconv.models.svbr_net import SVBRNet
from svconv.models.svmap import SIMAP, SVMAP

__all__ = ["BlurFinding", "BlurKernelSpace", "DeblurResult", "DeepPriorResult", "DegradationDeblur", "Exported", "LearningToDeblur",
           "Restored", "SIMAP", "SVBRNet", "SVMAP", "VaryingResult", "deep_prior_deblur", "export", "find_blur"]
