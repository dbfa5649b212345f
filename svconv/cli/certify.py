"""`svconv certify`: the dot test of every operator with every padding."""
import contextlib
import io

LIMIT = 1e-12
PADDINGS = ("zeros", "replicate", "reflect", "symmetric", "circular")


def add_parser(subparsers):
    parser = subparsers.add_parser(
        "certify", help="check that every operator's adjoint is its exact transpose",
        description=f"Prints |<Ax,y> - <x,A'y>| / (||Ax|| ||y||) in float64 for every operator and padding; exit status 1 if any reaches {LIMIT:g}.")
    parser.set_defaults(run=run)


def cases():
    """(name, make(padding) -> operator, input shape or None): every operator on awkward shapes, kernels larger than the image included."""
    import torch

    import svconv

    def random(*shape):
        return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    yield "PixelFilter 5x4, shared by the channels", lambda p: svconv.PixelFilter(random(1, 5, 4, 31, 26), padding=p), (2, 3, 31, 26)
    yield "PixelFilter 3x5, M = 4, per channel", lambda p: svconv.PixelFilter(random(2, 3, 4, 3, 5, 23, 30), padding=p), None
    yield "PixelFilter 9x11 on 5x4", lambda p: svconv.PixelFilter(random(1, 9, 11, 5, 4), padding=p), None
    yield "Conv 7x6", lambda p: svconv.Conv(random(1, 1, 7, 6), padding=p), (2, 3, 33, 28)
    yield "Conv 9x8 on 5x4, per channel", lambda p: svconv.Conv(random(1, 3, 9, 8), padding=p), (1, 3, 5, 4)
    yield "Conv @ PixelFilter", lambda p: svconv.Conv(random(1, 1, 4, 3), padding=p) @ svconv.PixelFilter(random(1, 3, 3, 16, 17), padding=p), None


def run(_):
    first = max(len(name) for name, _, _ in cases()) + 2
    print(" " * first + "".join(p.ljust(11) for p in PADDINGS))
    worst = 0.0
    for name, make, shape in cases():
        errors = [dot_error(make(padding), shape) for padding in PADDINGS]
        print(name.ljust(first) + "".join(f"{e:.1e}".ljust(11) for e in errors), flush=True)
        worst = max([worst, *(e if e == e else float("inf") for e in errors)])
    passed = worst < LIMIT
    print(f"largest {worst:.1e}: " + (f"every adjoint is exact (below {LIMIT:g})" if passed else f"FAILED, expected below {LIMIT:g}"))
    return 0 if passed else 1


def dot_error(operator, shape):
    with contextlib.redirect_stdout(io.StringIO()):  # certify prints a line of its own
        return operator.certify() if shape is None else operator.certify(shape)
