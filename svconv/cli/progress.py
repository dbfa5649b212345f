"""Progress bars on stderr for the solvers' callback(step, steps, x)."""
import contextlib
import sys


@contextlib.contextmanager
def bar(text, parts=1):
    """A callback for `parts` solver runs, one after the other, that share one bar."""
    from tqdm import tqdm

    with tqdm(desc=text, total=None, file=sys.stderr, unit="step", leave=True, dynamic_ncols=True) as t:
        finished = last = 0

        def callback(step, steps, x):
            nonlocal finished, last
            if step <= last:  # the next run has begun; the one before may have needed fewer steps than announced
                finished += steps
            last = step
            t.total = parts * steps
            t.update(finished + step - t.n)

        yield callback
        if t.total:
            t.update(t.total - t.n)
