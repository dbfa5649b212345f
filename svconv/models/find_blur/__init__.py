"""The blur of a photograph: its kernel, how well that explains it, and what a person should make of it."""
from svconv.models.find_blur.search import BlurFinding, find_blur
from svconv.models.find_blur.verdict import VERDICTS

__all__ = ["VERDICTS", "BlurFinding", "find_blur"]
