"""The machine: what it is, and whether other programs leave it to what is measured."""

import os
import platform
import time
from pathlib import Path

_CPU_INFO, _STAT = Path("/proc/cpuinfo"), Path("/proc/stat")
# Disturbed is a computation that waits for a larger share of its time, or that finds free a smaller
# share of the cores that it wants.
_WAITS, _FINDS = 0.1, 0.8
# The system counts the time of its cores in hundredths of a second: too coarse for less.
_SHORTEST = 0.1


def description() -> dict[str, str]:
    """Return the processor, the cores this process may use, and the load of the last minute."""
    return {
        "cpu": _processor(),
        "cores": str(cores()),
        "load": f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "not known",
    }


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Watch:
    """Watches, from when it is made, whether so many computing threads have a core each."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._start = self._now()

    def busy(self) -> str | None:
        """Return what disturbs the computation since then, None where nothing does."""
        clock, thread, process, everything = (
            now - then for now, then in zip(self._now(), self._start, strict=True)
        )
        waited = 1 - thread / clock
        if self._threads == 1 and waited > _WAITS:
            return f"it had to wait {waited:.0%} of the time for a core"
        others = (everything - process) / clock
        free = (os.cpu_count() or 1) - others
        if _STAT.exists() and clock > _SHORTEST and free < _FINDS * self._threads:
            return f"other programs used {others:.1f} of the {os.cpu_count()} cores"
        return None

    def _now(self) -> tuple[float, float, float, float]:
        """Return the clock, and the seconds computed by this thread, this process, everybody."""
        return time.perf_counter(), time.thread_time(), time.process_time(), _computed()


def _computed() -> float:
    """Return the seconds that the cores have computed since the start, 0 where nobody counts."""
    try:
        fields = _STAT.read_text(encoding="utf-8").splitlines()[0].split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, *interrupts_and_stolen = map(int, fields)
    ticks = user + nice + system + sum(interrupts_and_stolen)
    return ticks / float(os.sysconf("SC_CLK_TCK"))


def _processor() -> str:
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
