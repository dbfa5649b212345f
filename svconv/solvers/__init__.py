"""Solvers: conjugate gradients with gradients through the solution, and classical deconvolution."""
from svconv.solvers.cg import cg
from svconv.solvers.conjugate_gradients import CGResult
from svconv.solvers.irls import IRLSResult, irls

__all__ = ["CGResult", "IRLSResult", "cg", "irls"]
