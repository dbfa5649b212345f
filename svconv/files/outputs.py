"""Output files: checked before any work, written beside their target, then renamed."""
import contextlib
import os
import secrets

from svconv.files.errors import FileError, reason


def check_folder(path):
    """FileError unless a file can be created in the folder of `path` and `path` is not itself a folder."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileError(
            f"cannot write {path}: " + ("the folder does not exist" if not os.path.exists(folder) else f"{folder} is not a folder")
        )
    if os.path.isdir(path):
        raise FileError(f"cannot write {path}: it is a folder")
    try:
        os.unlink(_create_beside(path))
    except OSError as error:
        raise FileError(f"cannot write {path}: {reason(error)}") from error


def make_folder(path):
    """Creates the folder `path` and those above it unless they are there."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot create the folder {path}: {reason(error)}") from error


@contextlib.contextmanager
def replacing(path):
    """A binary file that becomes `path` when the block ends well; otherwise it vanishes and `path` is as it was.

    It gets the mode of the file that it replaces, else the one that the umask gives to a new file.
    """
    target = os.path.realpath(path)
    temporary = None
    try:
        temporary = _create_beside(target)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(target):
            os.chmod(temporary, os.stat(target).st_mode & 0o777)
        os.replace(temporary, target)
        temporary = None
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot write {path}: {reason(error)}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def write_text(path, text):
    """Writes a text file in UTF-8; the file is the old one or the whole new one."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def _create_beside(path):
    """The name of a new, empty file in the folder of `path`; short, because a long name has no room for more in every encoding."""
    folder = os.path.dirname(os.path.abspath(path))
    while True:
        temporary = os.path.join(folder, f".svconv-{secrets.token_hex(6)}.part")
        with contextlib.suppress(FileExistsError):
            open(temporary, "x").close()
            return temporary
