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
    """Characters that the encoding of stdout or stderr does not have are printed escaped, with a warning, instead of ending the program."""
    import codecs

    warned = []

    def escape(error):
        if not warned:
            warned.append(True)
            warn(f"the encoding {sys.stdout.encoding} lacks characters of a name, which are printed escaped (PYTHONIOENCODING=utf-8)")
        return codecs.backslashreplace_errors(error)

    codecs.register_error("svconv.escape", escape)
    for stream, errors in ((sys.stdout, "svconv.escape"), (sys.stderr, "backslashreplace")):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=errors)


def shortage(error):
    """What to say if the machine had too little memory or disk, else None."""
    from svconv.files.errors import reason

    if isinstance(error, MemoryError) or isinstance(error, RuntimeError) and any(
            text in str(error) for text in ("can't allocate memory", "out of memory")):
        return f"not enough memory ({reason(error)})"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return reason(error)
    return None
