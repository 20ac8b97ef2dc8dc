"""How a long command is stopped: by Ctrl-C, SIGTERM or SIGHUP, each with its exit code."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class Stopped(KeyboardInterrupt):
    """A signal that asks to stop; what handles Ctrl-C handles it too."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def by_signals() -> Iterator[None]:
    """Raise Stopped inside on SIGTERM and SIGHUP, as Ctrl-C raises KeyboardInterrupt.

    A signal that is ignored, as nohup lets SIGHUP be, stays so. Outside of the main thread, where
    Python hears no signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.getsignal(number)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    for number in before:
        signal.signal(number, _raise)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(stop: KeyboardInterrupt) -> int:
    """Return what the shell expects after that stop: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


def _raise(number: int, _: object) -> NoReturn:
    raise Stopped(number)
