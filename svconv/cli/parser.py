"""The parser of all commands; loads neither torch nor numpy."""
import argparse
import importlib

COMMANDS = ("info", "certify", "demo", "deblur", "defocus", "transfer", "blurmap", "psf", "filters", "bench", "train", "export")


SHELLS = ("bash", "zsh", "fish")
REQUESTS = (".TH", ".SH", ".SS", ".B", ".TP", ".PP", ".nf", ".fi", ".br", ".RS", ".RE")     # of troff, that a manual page has


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


class Version(argparse.Action):
    def __init__(self, option_strings, dest, **_):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help="print the version and stop")

    def __call__(self, parser, *_):
        from svconv import __version__

        print(f"svconv {__version__}")
        parser.exit(0)


class PrintCompletion(argparse.Action):
    def __init__(self, option_strings, dest, **_):
        super().__init__(option_strings, argparse.SUPPRESS, default=argparse.SUPPRESS, choices=SHELLS,
                         help="print what makes a shell complete commands and options, and stop")

    def __call__(self, parser, _, shell, *__):
        print(completion().shellcode(["svconv"], shell=shell))
        parser.exit(0)


class PrintManpage(argparse.Action):
    def __init__(self, option_strings, dest, **_):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help="print the manual page and stop")

    def __call__(self, parser, *_):
        print(manpage(parser))
        parser.exit(0)


def auto_or(kind, words):
    """The type of an option that is auto, which becomes None, or a number of that kind."""
    def parse(text):
        if text == "auto":
            return None
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected auto or {words}, got {text!r}") from None

    return parse


def completion():
    """The library that completes, or InputError where it is missing."""
    from svconv.cli.errors import InputError

    try:
        import argcomplete
    except ImportError as error:
        raise InputError("--print-completion: needs argcomplete (pip install 'svconv[completion]')") from error
    return argcomplete


def manpage(parser):
    """The manual page of the parser and of those of its commands, or InputError where its library is missing."""
    from svconv import __version__
    from svconv.cli.errors import InputError

    try:
        from argparse_manpage.manpage import Manpage
    except ImportError as error:
        raise InputError("--print-manpage: needs argparse-manpage (pip install 'svconv[completion]')") from error
    page = Manpage(parser)
    page.source, page.manual = f"svconv {__version__}", "svconv"
    # the library leaves words such as .png at the beginning of a line, where they would be requests
    return "\n".join(line if line[:1] not in ".'" or line.split(" ")[0] in REQUESTS else f"\\&{line}" for line in str(page).splitlines())


def build_parser():
    """The parser of all commands; each module of COMMANDS adds its own and imports what it computes with when it runs."""
    parser = Parser(prog="svconv", description="Spatially-varying blur: restore photographs, check and describe the installation.")
    parser.add_argument("--version", action=Version)
    parser.add_argument("--print-completion", action=PrintCompletion, metavar="bash|zsh|fish")
    parser.add_argument("--print-manpage", action=PrintManpage)
    parser.add_argument("--debug", action="store_true", help="print the traceback of an internal error")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for name in COMMANDS:
        importlib.import_module(f"svconv.cli.{name}").add_parser(subparsers)
    return parser
