"""Archives of tensors, numbers, strings, lists and dicts: `torch.save`, read back as data only."""
import os
import zipfile

from svconv.files.errors import FileError, alone_and_quiet
from svconv.files.outputs import replacing


def write_archive(path, data):
    """Writes `data`; the file is the old one or the whole new one."""
    import torch

    with replacing(path) as file:
        try:
            torch.save(data, file)
        except RuntimeError as error:  # the archive cannot be closed any more after a write has failed, which hides why
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def read_archive(path, what, *, old=False):
    """What `write_archive` wrote, tensors on the CPU. FileError naming the file if it is missing or damaged; `what` says what it should
    be. old: files of torch before 1.6, which are no archives, are read too."""
    import torch

    if not os.path.isfile(path):
        raise FileError(f"{path}: no such {what}")
    try:
        if not old or zipfile.is_zipfile(path):
            _check_parts(path)
        with alone_and_quiet():
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError as error:
        raise FileError(f"cannot read {path}: it needs more memory than there is") from error
    except Exception as error:  # the unpickler and the archive reader raise many types
        raise FileError(f"{path}: not a readable {what} ({type(error).__name__})") from error


def _check_parts(path):
    """ValueError for parts that claim to be larger than the file, as `torch.save` compresses nothing, or whose checksums are wrong."""
    with zipfile.ZipFile(path) as archive:
        if sum(part.file_size for part in archive.infolist()) > os.stat(path).st_size:
            raise ValueError("parts larger than the file")
        if (part := archive.testzip()) is not None:
            raise ValueError(f"wrong checksum of {part}")
