"""Drop-in modules: hyper-parameters in `__init__`, tensors in `forward`."""
from svconv.nn.pixel_filter import FilterPredictor, PixelFilter2d

__all__ = ["FilterPredictor", "PixelFilter2d"]
