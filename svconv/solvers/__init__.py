"""Solvers: conjugate gradients with gradients through the solution, and classical deconvolution."""
from svconv.solvers.blind_kernel import BlindKernelResult, blind_kernel
from svconv.solvers.cg import cg
from svconv.solvers.conjugate_gradients import CGResult
from svconv.solvers.hyper_laplacian import HyperLaplacianResult, hyper_laplacian
from svconv.solvers.hyper_laplacian_shrink import hyper_laplacian_shrink
from svconv.solvers.irls import IRLSResult, irls
from svconv.solvers.layered import LayeredResult, layered
from svconv.solvers.map_filters import MAPResult, map_filters
from svconv.solvers.richardson_lucy import RichardsonLucyResult, richardson_lucy
from svconv.solvers.wiener import WienerResult, wiener

__all__ = ["BlindKernelResult", "CGResult", "HyperLaplacianResult", "IRLSResult", "LayeredResult", "MAPResult", "RichardsonLucyResult",
           "WienerResult", "blind_kernel", "cg", "hyper_laplacian", "hyper_laplacian_shrink", "irls", "layered", "map_filters",
           "richardson_lucy", "wiener"]
