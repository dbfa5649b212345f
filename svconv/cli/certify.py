"""`svconv certify`: the dot test of every operator with every padding."""
import contextlib
import io

from svconv._boundary import PADDINGS

LIMIT = 1e-12


def add_parser(subparsers):
    parser = subparsers.add_parser(
        "certify", help="check that every operator's adjoint is its exact transpose",
        description=f"Prints |<Ax,y> - <x,A'y>| / (||Ax|| ||y||) in float64 for every operator and padding; exit status 1 if any reaches {LIMIT:g}.")
    parser.set_defaults(run=run)


def run(_):
    from svconv.operators import EXAMPLES

    first = max(len(example.name) for example in EXAMPLES) + 2
    print(" " * first + "".join(p.ljust(11) for p in PADDINGS))
    worst = 0.0
    for name, make, shape in EXAMPLES:
        errors = [dot_error(make(padding), shape) for padding in PADDINGS]
        print(name.ljust(first) + "".join(f"{e:.1e}".ljust(11) for e in errors), flush=True)
        worst = max([worst, *(e if e == e else float("inf") for e in errors)])
    passed = worst < LIMIT
    print(f"largest {worst:.1e}: " + (f"every adjoint is exact (below {LIMIT:g})" if passed else f"FAILED, expected below {LIMIT:g}"))
    return 0 if passed else 1


def dot_error(operator, shape):
    with contextlib.redirect_stdout(io.StringIO()):  # certify prints a line of its own
        return operator.certify() if shape is None else operator.certify(shape)
