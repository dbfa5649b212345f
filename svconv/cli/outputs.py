"""Output files: checked before any work, written beside their target, then renamed."""
import contextlib
import os
import tempfile

from svconv.cli.errors import InputError, reason


def check_folder(path):
    """InputError unless a file can be created in the folder of `path` and `path` is not itself a folder."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise InputError(f"cannot write {path}: " + ("the folder does not exist" if not os.path.exists(folder) else f"{folder} is not a folder"))
    if os.path.isdir(path):
        raise InputError(f"cannot write {path}: it is a folder")
    try:
        os.unlink(_temporary(path))
    except OSError as error:
        raise InputError(f"cannot write {path}: {reason(error)}") from error


def make_folder(path):
    """Creates the folder `path` (its parent must exist) unless it is there."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot create the folder {path}: {reason(error)}") from error


@contextlib.contextmanager
def replacing(path):
    """A binary file that becomes `path` when the block ends well; otherwise it vanishes and `path` is as it was."""
    target = os.path.realpath(path)
    temporary = None
    try:
        temporary = _temporary(target)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise InputError(f"cannot write {path}: {reason(error)}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _temporary(path):
    handle, name = tempfile.mkstemp(prefix=f".{os.path.basename(path)[:100]}.", suffix=".part", dir=os.path.dirname(os.path.abspath(path)))
    os.close(handle)
    return name


def _mode(target):
    """The mode of the file that is replaced, else what a new file gets."""
    if os.path.exists(target):
        return os.stat(target).st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
