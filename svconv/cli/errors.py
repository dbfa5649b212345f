"""What the person at the keyboard has to put right: one line, exit status 2."""
import errno
import sys


class InputError(Exception):
    """A mistake in the arguments; the text names the option."""


def warn(text):
    print(f"svconv: warning: {shown(text)}", file=sys.stderr)


def shown(text):
    """The text on one line of a terminal: what cannot be printed, line ends in names too, is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def escape_what_a_terminal_lacks():
    """Characters that the encoding of stdout or stderr does not have are printed escaped instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def shortage(error):
    """What to say if the machine had too little memory or disk, else None."""
    from svconv.files.errors import reason

    if isinstance(error, MemoryError) or isinstance(error, RuntimeError) and any(
            text in str(error) for text in ("can't allocate memory", "out of memory")):
        return f"not enough memory ({reason(error)})"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return reason(error)
    return None
