"""Progress bars on stderr for the solvers' callback(step, steps, x)."""
import contextlib
import sys


def add_option(parser):
    parser.add_argument("--quiet", action="store_true", help="no progress bar; there is none either where stderr is not a terminal")


@contextlib.contextmanager
def bar(text, parts=1, quiet=False):
    """Yields `begin`: each call begins the next of `parts` solves that share one bar and returns the callback of that solve.

    A solve may call back with its last step twice, end before the number of steps that it announced, or announce another number than the
    one before it. The bar never goes beyond its end, and it is full when all is done. `note` is a text behind the bar.
    """
    from tqdm import tqdm

    options = dict(file=sys.stderr, unit="step", leave=True, dynamic_ncols=True)
    with tqdm(desc=text, total=None, disable=True if quiet else None, **options) as t:  # None: on a terminal only
        begun = done = announced = 0  # solves; steps of those before the present one; steps of that one

        def begin():
            nonlocal begun, done, announced
            begun, done, announced = begun + 1, done + announced, 0
            first, left = done, parts - begun + 1

            def callback(step, steps, x, note=None):
                nonlocal announced
                announced = steps
                t.total = first + left * steps
                if note is not None:
                    t.set_postfix_str(note, refresh=False)
                t.update(first + step - t.n)

            return callback

        yield begin
        if t.total:
            t.update(t.total - t.n)
