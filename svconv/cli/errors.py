"""What the person at the keyboard has to put right: one line, exit status 2."""
import sys


class InputError(Exception):
    """A mistake in the arguments; the text names the option."""


def warn(text):
    print(f"svconv: warning: {text}", file=sys.stderr)
