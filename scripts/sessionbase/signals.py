"""Signals that end a command: SIGINT (Ctrl-C), SIGTERM, and SIGHUP of a closed terminal."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_received: list[signal.Signals] = []


class Stopped(KeyboardInterrupt):
    """A signal ends the command.

    It is a KeyboardInterrupt, because psycopg cancels the running statement on that one.
    """

    file: str | None = None
    """The label of the SQL file that ran."""


def received() -> signal.Signals | None:
    """Return the signal that ends the running command; None if there was none."""
    return _received[0] if _received else None


def exit_code(number: signal.Signals) -> int:
    """Return the exit code after a signal, as a shell has it: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number


def _end_at_once(number: int, _frame: FrameType | None) -> None:
    os._exit(exit_code(signal.Signals(number)))


def _stop(number: int, _frame: FrameType | None) -> None:
    """Raise Stopped in the main thread. Any further signal ends the process at once."""
    for other in STOP_SIGNALS:
        if signal.getsignal(other) is _stop:
            # SIG_DFL ends the process also during a long call of a C library. The kernel does not
            # apply it to process 1 of a container.
            signal.signal(other, signal.SIG_DFL if os.getpid() != 1 else _end_at_once)
    _received.append(signal.Signals(number))
    raise Stopped


@contextmanager
def stop_signals() -> Iterator[None]:
    """Raise Stopped when one of STOP_SIGNALS arrives, for the time of the context.

    A signal that the process ignores, for example under nohup, stays ignored. In another thread
    than the main one nothing changes, because only the main thread receives signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _received.clear()
    before = {
        number: handler
        for number in STOP_SIGNALS
        if (handler := signal.getsignal(number)) is not signal.SIG_IGN
    }
    try:
        for number in before:
            signal.signal(number, _stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
