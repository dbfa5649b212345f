"""Learning to Deblur (Schuler, Hirsch, Harmeling, Schoelkopf, TPAMI 2016)."""
from svconv.models.learning_to_deblur.model import DeblurResult, LearningToDeblur, VaryingResult

__all__ = ["DeblurResult", "LearningToDeblur", "VaryingResult"]
