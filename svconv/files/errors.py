"""What a reader or writer raises, the cause of an error in one line, and libraries that say nothing themselves."""
import contextlib
import importlib
import logging
import os
import stat
import sys
import threading
import warnings

_LOUD = ("tifffile", "imagecodecs")  # loggers; without a handler they print on stderr
_locks = [threading.RLock()]
if hasattr(os, "register_at_fork"):  # a child does not inherit a lock that another thread holds
    os.register_at_fork(after_in_child=lambda: _locks.__setitem__(0, threading.RLock()))


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


def check_regular(path):
    """FileError for pipes and devices, which would be waited for without end; what is missing or a folder fails when it is opened."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise FileError(f"cannot read {path}: it is a pipe or a device, expected a file")


@contextlib.contextmanager
def alone_and_quiet():
    """One thread at a time reads through the libraries, and their warnings and log lines are dropped: both are settings of the process.

    What a library only warns of can be read; what cannot is an error.
    """
    with _locks[0], warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loggers = [logging.getLogger(name) for name in _LOUD]
        for logger in loggers:
            logger.addFilter(_nothing)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(_nothing)


@contextlib.contextmanager
def without_stderr():
    """What C libraries print themselves is dropped; for decoders whose messages cannot be turned off."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.flush()
    try:
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # there is no stderr
        yield
        return
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _nothing(_):
    return False
