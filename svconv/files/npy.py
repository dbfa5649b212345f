"""Arrays in .npy files, looked at before they are read; pickled objects are never loaded."""
import contextlib
import io
import math
import os
import tokenize

import numpy as np

from svconv.files.errors import FileError, reason
from svconv.files.limits import RAISED

SIGNATURE = b"\x93NUMPY"


def read_npy(path, most, what="kernel", mapped=False):
    """The array in a file of at most `most` values; `what` it should be, for errors; mapped: it stays in the file."""
    with _explained(path, what):
        _checked_shape(path, most)
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)


def write_npy(file, a):
    """Writes an array into an open file; by way of memory, because numpy's own way to a file loses the reason why it cannot be written."""
    buffer = io.BytesIO()
    np.save(buffer, a)
    file.write(buffer.getbuffer())


def axes(path, most, what="kernel"):
    """How many axes the array in a file has; raises what `read_npy` does."""
    with _explained(path, what):
        return len(_checked_shape(path, most))


@contextlib.contextmanager
def _explained(path, what):
    """What is wrong with the file as a FileError."""
    try:
        yield
    except FileError:
        raise
    except MemoryError as error:
        raise FileError(f"cannot read {path}: it needs more memory than there is") from error
    except (ValueError, TypeError, EOFError, SyntaxError, LookupError, RecursionError, tokenize.TokenError) as error:
        text = (
            "it holds pickled Python objects, which are never loaded"
            if "pickle" in str(error).lower()
            else f"the file is damaged ({reason(error)})"
        )
        raise FileError(f"{what} {path}: {text}") from error


def _checked_shape(path, most):
    """The shape that the header says; FileError if it claims more than `most` values, or than the file holds."""
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"format version {version[0]}.{version[1]}, expected 1.0 or 2.0")
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
        start = file.tell()
    count = math.prod(shape)
    if dtype.hasobject:
        raise ValueError("pickled objects")
    if min(shape, default=0) < 0:
        raise ValueError(f"shape {list(shape)}")
    if count > most:
        raise FileError(f"cannot read {path}: its header claims an array {list(shape)}, more than the limit of {most // 3} pixels "
                        f"({RAISED})")
    if start + count * dtype.itemsize > os.stat(path).st_size:
        raise ValueError(f"it ends before the {count} values of its header")
    return shape
