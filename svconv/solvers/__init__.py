"""Solvers: conjugate gradients with gradients through the solution, and classical deconvolution."""
from svconv.solvers.cg import cg
from svconv.solvers.conjugate_gradients import CGResult

__all__ = ["CGResult", "cg"]
