"""SVMAP and SIMAP: learned MAP models for non-blind deblurring (2021)."""
from svconv.models.svmap.model import SIMAP, SVMAP, MAPDetails, StepFilters, load
from svconv.models.svmap.start import reweighted_bank
from svconv.models.svmap.tiles import HALO, restore_tiled

__all__ = ["HALO", "SIMAP", "SVMAP", "MAPDetails", "StepFilters", "load", "restore_tiled", "reweighted_bank"]
