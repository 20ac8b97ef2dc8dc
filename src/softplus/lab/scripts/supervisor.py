"""Runs a command, and ends all of its processes when told to, or once its own parent is gone.

A program of the standard library alone, started by its path: a trial has one, so that nothing of a
script is left behind, whatever happens to the lab.

    python -I -S supervisor.py PID GRACE COMMAND...

PID is the parent's. After SIGTERM or SIGHUP the processes have GRACE seconds to leave. They are all
that descend from the command, those in sessions of their own too: on Linux orphans come here.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_PARENT_DIED = signal.SIGUSR1
_GIVEN_UP = 10.0  # seconds after SIGKILL: what is left then is held by the kernel


class _Told(BaseException):
    """A signal to end came."""


def main(parent: int, grace: float, command: list[str]) -> NoReturn:
    """Run the command and leave as it does: with its code, or by the signal that ended it."""
    for each in (signal.SIGTERM, signal.SIGHUP, _PARENT_DIED):
        signal.signal(each, _tell)
    signal.signal(signal.SIGINT, lambda *_: None)  # a terminal sends it to the command as well
    _control(_PR_SET_CHILD_SUBREAPER, 1)
    _control(_PR_SET_PDEATHSIG, _PARENT_DIED)
    try:
        if os.getppid() != parent:
            os.kill(os.getpid(), _PARENT_DIED)
        child = subprocess.Popen(command, preexec_fn=_die_with_supervisor)  # noqa: PLW1509, S603
        code = child.wait()
    except _Told as told:
        (signum,) = told.args
        code = -signum
        if signum == _PARENT_DIED:
            grace = 0
    for each in (signal.SIGTERM, signal.SIGHUP, _PARENT_DIED):
        signal.signal(each, signal.SIG_IGN)
    _end_descendants(grace)
    _leave(code)


def _tell(signum: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise _Told(signum)


def _control(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _die_with_supervisor() -> None:
    _control(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_descendants(grace: float) -> None:
    deadline = time.monotonic() + grace
    signum = signal.SIGTERM
    told: set[int] = set()
    while running := list(_descendants()):
        if time.monotonic() >= deadline + _GIVEN_UP:
            return
        if time.monotonic() >= deadline:
            signum, told = signal.SIGKILL, set()
        for each in set(running) - told:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signum)
        told |= set(running)
        time.sleep(0.01)
    with contextlib.suppress(ChildProcessError):  # not all that could inherit them bury the dead
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _descendants() -> Iterator[int]:
    """Yield the processes that live and descend from this one."""
    parents = dict(_processes())
    for process in parents:
        ancestor = process
        while ancestor in parents:
            ancestor = parents[ancestor]
            if ancestor == os.getpid():
                yield process
                break


def _processes() -> Iterator[tuple[int, int]]:
    """Yield (process, its parent) for each that has not ended."""
    if sys.platform != "linux":
        listed = subprocess.run(["ps", "-axo", "pid=,ppid="], stdout=subprocess.PIPE, check=True)  # noqa: S607
        pairs = (line.split() for line in listed.stdout.splitlines())
        yield from ((int(process), int(parent)) for process, parent in pairs)
        return
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # "PID (NAME) STATE PARENT ...", where the name may hold anything.
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state != "Z":
                yield int(stat.parent.name), int(parent)


def _leave(code: int) -> NoReturn:
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no other effect
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
