"""Files that every layer reads and writes, one kind per module; whatever cannot be read or written is a `FileError` that names the file."""
from svconv.files.errors import FileError
from svconv.files.images import Picture, read_image, write_image
from svconv.files.kernels import read_kernel, write_kernel

__all__ = ["FileError", "Picture", "read_image", "read_kernel", "write_image", "write_kernel"]
