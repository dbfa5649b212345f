"""Trained models built on the ops."""
from svconv.models.learning_to_deblur import DeblurResult, LearningToDeblur, VaryingResult
from svconv.models.svbr_net import SVBRNet

__all__ = ["DeblurResult", "LearningToDeblur", "SVBRNet", "VaryingResult"]
