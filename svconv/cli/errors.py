"""What the person at the keyboard has to put right: one line, exit status 2."""
import sys


class InputError(Exception):
    """A mistake in the arguments, the input or the output; the text names the file or the option."""


def reason(error):
    """The cause of an OSError without its errno and path, or the first line of any other error."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.strip().splitlines()[0]


def warn(text):
    print(f"svconv: warning: {text}", file=sys.stderr)
