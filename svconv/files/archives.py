"""Archives of tensors, numbers, strings, lists and dicts: `torch.save`, read back as data only."""
import os

import torch

from svconv.files.errors import FileError
from svconv.files.outputs import replacing


def write_archive(path, data):
    """Writes `data`; the file is the old one or the whole new one."""
    with replacing(path) as file:
        torch.save(data, file)


def read_archive(path, what):
    """What `write_archive` wrote, tensors on the CPU. FileError naming the file if it is missing or damaged; `what` says what it should
    be."""
    if not os.path.isfile(path):
        raise FileError(f"{path}: no such {what}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler and the archive reader raise many types
        raise FileError(f"{path}: not a readable {what} ({type(error).__name__})") from error
