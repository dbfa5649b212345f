"""Blind deblurring by searching a sharp image and a blur code that explain a photograph, both made by untrained networks."""
from svconv.models.deep_prior.deblur import deep_prior_deblur
from svconv.models.deep_prior.search import DeepPriorResult
from svconv.models.deep_prior.weights import PRESETS, LossWeights

__all__ = ["PRESETS", "DeepPriorResult", "LossWeights", "deep_prior_deblur"]
