"""Signals that end a process are taken in, and everything is as before afterwards."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from trimkit.storage.signals import Terminated, ending_in_order, receiving


@pytest.fixture
def handler_of():
    """A function that sets the handler of SIGHUP; the one before is back at the end."""
    before = signal.getsignal(signal.SIGHUP)
    yield lambda handler: signal.signal(signal.SIGHUP, handler)
    signal.signal(signal.SIGHUP, before)


def test_a_signal_calls_the_function_and_then_what_it_called_before(handler_of):
    heard, before = [], []
    handler_of(lambda number, frame: before.append(number))
    with receiving(heard.append):
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGHUP)
    assert (heard, before) == ([signal.SIGHUP, signal.SIGTERM], [signal.SIGHUP])


def test_what_is_ignored_stays_ignored(handler_of):
    handler_of(signal.SIG_IGN)
    heard = []
    with receiving(heard.append), ending_in_order():
        os.kill(os.getpid(), signal.SIGHUP)
    assert heard == []


def test_a_thread_has_no_signals():
    before, during = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with receiving(print):
            during.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert during == [before]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_what_would_kill_the_process_passes_as_an_interrupt(number, code):
    with pytest.raises(KeyboardInterrupt) as caught, ending_in_order():
        os.kill(os.getpid(), number)
    assert isinstance(caught.value, Terminated)
    assert (caught.value.code, str(caught.value)) == (code, number.name)
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_handler_of_the_callers_is_left_to_it(handler_of):
    heard = []
    handler_of(lambda number, frame: heard.append(number))
    with ending_in_order():
        os.kill(os.getpid(), signal.SIGHUP)
    assert heard == [signal.SIGHUP]
