"""The encoded blur kernel space: blur as a small code, that one network finds in a pair and another puts on any image (2021)."""
from svconv.models.blur_kernel_space.model import BlurKernelSpace

__all__ = ["BlurKernelSpace"]
