"""Trained models built on the ops."""
from svconv.models.learning_to_deblur import DeblurResult, LearningToDeblur, VaryingResult

__all__ = ["DeblurResult", "LearningToDeblur", "VaryingResult"]
