"""Trained models built on the ops."""
from svconv.models.degradation_deblur import DegradationDeblur
from svconv.models.learning_to_deblur import DeblurResult, LearningToDeblur, VaryingResult
from svconv.models.svbr_net import SVBRNet
from svconv.models.svmap import SIMAP, SVMAP

__all__ = ["DeblurResult", "DegradationDeblur", "LearningToDeblur", "SIMAP", "SVBRNet", "SVMAP", "VaryingResult"]
