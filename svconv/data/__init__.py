"""Blur kernels, degradations and data sets: what training and evaluation are made from."""
from svconv.data.degradation import degrade, jpeg_round_trip
from svconv.data.motion import motion_kernel, motion_path
from svconv.data.pairs import BlurPairs
from svconv.data.photographs import PhotographCache, list_photographs, read_grey, split_photographs
from svconv.data.poses import motion_poses

__all__ = [
    "BlurPairs",
    "PhotographCache",
    "degrade",
    "jpeg_round_trip",
    "list_photographs",
    "motion_kernel",
    "motion_path",
    "motion_poses",
    "read_grey",
    "split_photographs",
]
