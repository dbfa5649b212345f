"""Files that every layer reads and writes, one kind per module; whatever cannot be read or written is a `FileError` that names the file.

The names below are imported when they are touched, so that what only needs the errors and limits loads no numpy.
"""
import importlib
from typing import TYPE_CHECKING, Any

from svconv.files.errors import FileError as FileError

if TYPE_CHECKING:
    from svconv.files.blur_maps import read_blur_map as read_blur_map, write_blur_map as write_blur_map
    from svconv.files.images import read_image as read_image, write_image as write_image
    from svconv.files.kernels import read_kernel as read_kernel, write_kernel as write_kernel
    from svconv.files.picture import Picture as Picture
    from svconv.files.psf_grids import read_psf_grid as read_psf_grid

_MODULES = {"Picture": "picture", "read_blur_map": "blur_maps", "read_image": "images", "read_kernel": "kernels",
            "read_psf_grid": "psf_grids", "write_blur_map": "blur_maps", "write_image": "images", "write_kernel": "kernels"}
__all__ = ["FileError", "Picture", "read_blur_map", "read_image", "read_kernel", "read_psf_grid", "write_blur_map", "write_image",
           "write_kernel"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"svconv.files.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
