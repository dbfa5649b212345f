"""Interrupts that wait for the end of a step, so that a checkpoint never holds half an update."""
import contextlib
import signal
import threading


@contextlib.contextmanager
def delayed_interrupt(signals=(signal.SIGINT, signal.SIGTERM)):
    """Yields a function that tells whether one of the signals came; the former handlers return at the end. A second SIGINT acts at once.

    A signal whose handler was not set from Python keeps it, because it could not be given back.
    """
    seen = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield lambda: False
        return
    former = {s: handler for s in signals if (handler := signal.getsignal(s)) is not None}

    def remember(number, frame):
        if number == signal.SIGINT and seen:
            raise KeyboardInterrupt
        seen.append(number)

    for s in former:
        signal.signal(s, remember)
    try:
        yield lambda: bool(seen)
    finally:
        for s, handler in former.items():
            signal.signal(s, handler)
