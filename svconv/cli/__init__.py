"""The command line: `svconv COMMAND ...` or `python -m svconv COMMAND ...`.

Exit status: 0 done; 1 internal error or failed certify; 2 wrong usage, data or output; 130 interrupted.

What only reads the arguments imports neither torch nor numpy, so that help and wrong usage are there at once.
"""
import contextlib
import os
import signal
import sys

from svconv.cli.errors import InputError, escape_what_a_terminal_lacks, shortage, shown

INTERRUPTED = "svconv: interrupted"


def main(argv=None):
    """Runs one command; argv: arguments without the program's name (default: sys.argv[1:]). Returns the exit status."""
    arguments = None
    escape_what_a_terminal_lacks()
    try:
        with interrupt_at_once():
            from svconv.cli.parser import build_parser, completion

            parser = build_parser()
            if "_ARGCOMPLETE" in os.environ:        # a shell asks what may follow; this ends the process
                completion().autocomplete(parser)
            arguments = parser.parse_args(argv)
            check_environment()
        status = arguments.run(arguments) or 0
        sys.stdout.flush()
        return status
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone, e.g. `svconv info | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        return report(error, getattr(arguments, "debug", True))


@contextlib.contextmanager
def interrupt_at_once():
    """Ctrl-C ends the process with one line while torch is not loaded yet: raised inside its import, KeyboardInterrupt would come out as
    another error or not at all. Nothing has been written by then. Somebody else's handler stays, and so does an ignored signal."""
    try:
        ours = "torch" not in sys.modules and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        former = signal.signal(signal.SIGINT, _stop) if ours else None
    except ValueError:  # only the main thread may set handlers
        former = None
    try:
        yield
    finally:
        if former is not None:
            signal.signal(signal.SIGINT, former)


def _stop(*_):
    os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(130)


def check_environment():
    from svconv import backends

    try:
        backends.requested_outside()
    except ValueError as error:
        raise InputError(f"SVCONV_BACKEND: {error}") from error
    try:
        backends.cpu.extension()
    except ValueError as error:
        raise InputError(str(error)) from error


def report(error, debug):
    """One line about an error, and the traceback of an internal one on request; the exit status."""
    from svconv.files.errors import FileError, reason

    if isinstance(error, (InputError, FileError)):
        print(f"svconv: error: {shown(error)}", file=sys.stderr)
        return 2
    if text := shortage(error):
        print(f"svconv: error: {text}", file=sys.stderr)
        if isinstance(error, OSError):  # stdout is a file on a full disk; the interpreter would complain about it once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    if isinstance(error, RuntimeError) and "was forced but cannot run" in str(error):
        print(f"svconv: error: SVCONV_BACKEND: {reason(error)}", file=sys.stderr)
        return 2
    if debug:
        import traceback

        traceback.print_exception(error)
    print(f"svconv: internal error: {type(error).__name__}: {reason(error)} (--debug before the command shows where)", file=sys.stderr)
    return 1
