"""`svconv certify`: the dot test of every operator with every padding."""
import contextlib
import io

LIMIT = 1e-12


def add_parser(subparsers):
    parser = subparsers.add_parser(
        "certify", help="check that every operator's adjoint is its exact transpose",
        description="Prints |<Ax,y> - <x,A'y>| / (||Ax|| ||y||) in float64 for every operator and padding; "
                    f"exit status 1 if any reaches {LIMIT:g}.")
    parser.set_defaults(run=run)


def run(_):
    from svconv._boundary import PADDINGS
    from svconv.operators import EXAMPLES

    first = max(len(example.name) for example in EXAMPLES) + 2
    print(" " * first + "".join(p.ljust(11) for p in PADDINGS))
    found = []
    for name, make, shape in EXAMPLES:
        errors = [dot_error(make(padding), shape) for padding in PADDINGS]
        print(name.ljust(first) + "".join(f"{e:.1e}".ljust(11) for e in errors), flush=True)
        found += [(e, f"{name}, {padding}") for e, padding in zip(errors, PADDINGS)]
    worst, place = max(found, key=lambda pair: pair[0] if pair[0] == pair[0] else float("inf"))
    passed = worst < LIMIT
    print(f"{'every adjoint is exact' if passed else 'FAILED'}: the worst error is {worst:.1e} ({place}), the limit is {LIMIT:.1e}")
    return 0 if passed else 1


def dot_error(operator, shape):
    with contextlib.redirect_stdout(io.StringIO()):  # certify prints a line of its own
        return operator.certify() if shape is None else operator.certify(shape)
