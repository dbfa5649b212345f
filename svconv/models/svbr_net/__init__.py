"""SVBR-Net: spatially varying defocus removal with a radius map (2023)."""
from svconv.models.svbr_net.model import SVBRNet
from svconv.models.svbr_net.tiles import HALO, restore_tiled

__all__ = ["HALO", "SVBRNet", "restore_tiled"]
