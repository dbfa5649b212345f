"""Blur kernels, degradations and data sets: what training and evaluation are made from."""
from svconv.data.defocus_maps import defocus_map, defocus_radii, nearest_radius, spoiled_map
from svconv.data.defocus_pairs import DefocusPairs
from svconv.data.degradation import degrade, jpeg_round_trip
from svconv.data.domain_transform import domain_transform
from svconv.data.edge_spread import edge_spread
from svconv.data.estimate_blur import edge_map, estimate_blur, interpolated_map, propagate_blur
from svconv.data.estimate_noise import estimate_noise
from svconv.data.folder_pairs import FolderPairs
from svconv.data.kernel_pairs import KernelPairs
from svconv.data.matting_laplacian import MattingLaplacian, matting_laplacian
from svconv.data.motion import motion_kernel, motion_path
from svconv.data.named_kernels import named_kernel
from svconv.data.pairs import BlurPairs
from svconv.data.photographs import PhotographCache, list_photographs, read_grey, split_photographs
from svconv.data.poses import motion_poses
from svconv.data.psf_stars import Stars, psf_grid, star_stamps
from svconv.data.spectral_ripples import SpectralRipples
from svconv.data.transferred_blur import TransferredBlur
from svconv.data.varied_pairs import VariedPairs

__all__ = [
    "BlurPairs",
    "DefocusPairs",
    "FolderPairs",
    "KernelPairs",
    "MattingLaplacian",
    "PhotographCache",
    "SpectralRipples",
    "Stars",
    "TransferredBlur",
    "VariedPairs",
    "defocus_map",
    "defocus_radii",
    "degrade",
    "domain_transform",
    "edge_map",
    "edge_spread",
    "estimate_blur",
    "estimate_noise",
    "interpolated_map",
    "jpeg_round_trip",
    "list_photographs",
    "matting_laplacian",
    "motion_kernel",
    "motion_path",
    "motion_poses",
    "named_kernel",
    "nearest_radius",
    "propagate_blur",
    "psf_grid",
    "read_grey",
    "split_photographs",
    "spoiled_map",
    "star_stamps",
]
