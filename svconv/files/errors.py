"""What a reader or writer raises, and the cause of an error in one line."""


class FileError(OSError, ValueError):
    """A file that cannot be read or written, or does not hold what it should; the text names it."""


def reason(error):
    """The cause of an OSError without its errno and path, or the first line of any other error."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.strip().splitlines()[0]
