"""The command line: `svconv COMMAND ...` or `python -m svconv COMMAND ...`.

Exit status: 0 done; 1 internal error or failed certify; 2 wrong usage, data or output; 130 interrupted.
"""
import argparse
import importlib
import os
import sys
import traceback

from svconv.cli.errors import InputError, escape_what_a_terminal_lacks, shortage, shown
from svconv.files.errors import FileError, reason

COMMANDS = ("info", "certify", "demo", "deblur", "train")


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


class Version(argparse.Action):
    def __init__(self, option_strings, dest, **_):
        super().__init__(option_strings, dest, nargs=0, help="print the version and stop")

    def __call__(self, parser, *_):
        from svconv import __version__

        print(f"svconv {__version__}")
        parser.exit(0)


def build_parser():
    """The parser of all commands; each module of COMMANDS adds its own and imports what it computes with when it runs."""
    parser = Parser(prog="svconv", description="Spatially-varying blur: restore photographs, check and describe the installation.")
    parser.add_argument("--version", action=Version)
    parser.add_argument("--debug", action="store_true", help="print the traceback of an internal error")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for name in COMMANDS:
        importlib.import_module(f"svconv.cli.{name}").add_parser(subparsers)
    return parser


def check_environment():
    from svconv import backends

    try:
        backends.requested(None)
    except ValueError as error:
        raise InputError(f"SVCONV_BACKEND: {error}") from error
    try:
        backends.cpu.extension()
    except ValueError as error:
        raise InputError(str(error)) from error


def main(argv=None):
    """Runs one command; argv: arguments without the program's name (default: sys.argv[1:]). Returns the exit status."""
    arguments = None
    escape_what_a_terminal_lacks()
    try:
        arguments = build_parser().parse_args(argv)
        check_environment()
        status = arguments.run(arguments) or 0
        sys.stdout.flush()
        return status
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except (InputError, FileError) as error:
        print(f"svconv: error: {shown(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("svconv: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone, e.g. `svconv info | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if text := shortage(error):
            print(f"svconv: error: {text}", file=sys.stderr)
            if isinstance(error, OSError):  # stdout is a file on a full disk; the interpreter would complain about it once more
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 2
        if isinstance(error, RuntimeError) and "was forced but cannot run" in str(error):
            print(f"svconv: error: SVCONV_BACKEND: {reason(error)}", file=sys.stderr)
            return 2
        if getattr(arguments, "debug", True):
            traceback.print_exc()
        print(f"svconv: internal error: {type(error).__name__}: {reason(error)} (--debug before the command shows where)", file=sys.stderr)
        return 1
