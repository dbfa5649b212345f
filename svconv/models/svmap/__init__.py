"""SVMAP and SIMAP: learned MAP models for non-blind deblurring (2021)."""
from svconv.models.svmap.model import SIMAP, SVMAP, MAPDetails, StepFilters

__all__ = ["SIMAP", "SVMAP", "MAPDetails", "StepFilters"]
