"""What a reader or writer raises, and the cause of an error in one line."""
import importlib


class FileError(OSError, ValueError):
    """A file that cannot be read or written, or does not hold what it should; the text names it."""


def reason(error):
    """The cause of an OSError without its errno and path, or the first line of any other error."""
    text = (getattr(error, "strerror", None) or str(error)).strip()
    return text.splitlines()[0] if text else type(error).__name__


def library(name, path):
    """The package that this kind of file needs."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise FileError(f"{path}: this kind of file needs the package {name} (pip install {name})") from error
