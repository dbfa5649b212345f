"""Learned degradation representations: an encoder of blur, and generators that add and remove what it has seen (2022)."""
from svconv.models.degradation_deblur.discriminator import Discriminators
from svconv.models.degradation_deblur.model import DegradationDeblur, Restored
from svconv.models.degradation_deblur.tiles import restore_tiled

__all__ = ["DegradationDeblur", "Discriminators", "Restored", "restore_tiled"]
