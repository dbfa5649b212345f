"""Interrupts wait for the end of a step; the handlers of others come back."""
import signal
import threading

import pytest

from svconv.training.interrupt import delayed_interrupt


@pytest.fixture(autouse=True)
def _interrupts_are_not_ignored():
    """As they are where the run was started in the background of a shell."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_told_and_the_former_handler_returns(number):
    former = signal.getsignal(number)
    with delayed_interrupt() as interrupted:
        assert not interrupted()
        signal.raise_signal(number)
        assert interrupted()
    assert signal.getsignal(number) is former


def test_a_second_interrupt_acts_at_once():
    with pytest.raises(KeyboardInterrupt), delayed_interrupt():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_that_was_not_set_from_python_is_left_alone(monkeypatch):
    """`getsignal` then gives None, which `signal.signal` does not take back."""
    getsignal, real = signal.getsignal, signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(signal, "getsignal", lambda s: None if s == signal.SIGTERM else getsignal(s))
    with delayed_interrupt() as interrupted:
        assert getsignal(signal.SIGTERM) is real
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
    assert getsignal(signal.SIGTERM) is real and getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_set_no_handlers():
    found = []

    def work():
        with delayed_interrupt() as interrupted:
            found.append((interrupted(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, signal.default_int_handler)]
