"""One run of a script by hand, on the terminal that it is started from."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from softplus.lab.activations import Activation
from softplus.lab.scripts import account, launching


@dataclass(frozen=True)
class Run:
    """What a run came to: the exit code, -n for a signal; what was replaced; what is wrong."""

    code: int
    summary: str
    fault: str | None


def run(command: Sequence[str], activation: Activation, seed: int | None) -> Run:
    """Run a command with an activation in the place of ReLU, and with seeds, if one is given.

    Ctrl-C is the script's affair, as without us. SIGTERM and SIGHUP end all of its processes.

    Raises:
        UsageError: The command or the seed cannot be used.
    """
    words = launching.words(command)
    with tempfile.TemporaryDirectory(prefix="softplus-run-") as folder:
        code = supervise(words, launching.environment(activation, seed, Path(folder)))
        told = account.read(Path(folder))
    return Run(code, _describe(activation, told), told.fault(activation.name))


def supervise(words: Sequence[str], environment: dict[str, str]) -> int:
    """Run a command on this terminal, with its signals, and return its exit code."""
    # On a terminal it stays in our process group, which is the one that may read from it and hears
    # Ctrl-C; elsewhere it gets one of its own.
    apart = not sys.stdin.isatty()
    process = subprocess.Popen(  # noqa: S603 -- the user's own command
        launching.supervised(words), env=environment, start_new_session=apart
    )

    def pass_on(signum: int, frame: FrameType | None) -> None:
        del frame
        if signum != signal.SIGINT:
            process.send_signal(signum)
        elif apart:
            _interrupt(process)

    before = {
        each: signal.signal(each, pass_on)
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        return process.wait()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)


def _describe(activation: Activation, told: account.Told) -> str:
    calls = sum(told.replaced.values())
    summary = f"ReLU computed {activation.name} in {calls:,} call{'s' * (calls != 1)}"
    if activation.name == "relu":
        summary = "relu: the script ran as it is"
    values = [f"recorded {name or 'score'}={value:g}" for name, value in told.recorded.items()]
    return "; ".join([summary, *told.remarks(), *values])
