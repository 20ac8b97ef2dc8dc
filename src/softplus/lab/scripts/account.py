"""The account of a trial: each of its processes writes what it replaced, and `record` what it got.

Written by the script's processes, in files of their own, and read by the one that started them.
"""

import atexit
import json
import os
import sys
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

_RECORDS = "records.jsonl"
_NOT_THE_USER = tuple(
    f"{Path(file).parent}{os.sep}" for file in (torch.__file__, Path(__file__).parents[1])
)


class Account:
    """Counts the ReLUs of this process by the operator, replaced and missed ones.

    It is written as often as a count doubles, and at the end: a process that is killed, or leaves
    by `os._exit`, has told of more than half.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._begin()
        atexit.register(self._write)
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._file = self._folder / f"{os.getpid()}.json"
        self.replaced: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.places: dict[str, str] = {}

    def replace(self, operator: str) -> None:
        """Count an operator that computes the activation in ReLU's place."""
        self._add(self.replaced, operator)

    def miss(self, operator: str) -> None:
        """Count an operator that computes ReLU; of the first, keep the line of the script."""
        if operator not in self.places:
            self.places[operator] = _place(sys._getframe(1))  # noqa: SLF001 -- inspect does so too
        self._add(self.missed, operator)

    def _add(self, counter: Counter[str], operator: str) -> None:
        counter[operator] = count = counter[operator] + 1
        if not count & (count - 1):
            self._write()

    def _write(self) -> None:
        text = json.dumps(
            {
                "replaced": self.replaced,
                "missed": self.missed,
                "places": self.places,
            }
        )
        partial = self._file.with_suffix(".partial")
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(self._file)
        except OSError:  # the trial is over, and its folder gone: a process that outlived it
            pass


def _place(frame: FrameType | None) -> str:
    """Return the innermost line outside of torch and of this package."""
    for each, line in traceback.walk_stack(frame):
        file = each.f_code.co_filename
        if not file.startswith((*_NOT_THE_USER, "<")):
            return f"{file}:{line}"
    return ""


@dataclass(frozen=True)
class Told:
    """What the processes of a trial told, taken together.

    `processes` is how many imported torch, `missed` has the first place of each beside its count,
    and `recorded` the last value of each name, "" where there was none.
    """

    processes: int
    replaced: dict[str, int]
    missed: dict[str, tuple[int, str]]
    recorded: dict[str, float]

    def remarks(self) -> tuple[str, ...]:
        """Say which ReLUs stayed, and where."""
        return tuple(
            f"out of reach: {count:,} call{'s' * (count != 1)} of {name}"
            f"{place and f', first at {place}'}"
            for name, (count, place) in sorted(self.missed.items())
        )

    def score(self, name: str | None) -> float | None:
        """Return the value recorded by a name; without one the only value, or the one without."""
        if name is None:
            name = "" if len(self.recorded) != 1 else next(iter(self.recorded))
        return self.recorded.get(name)

    def fault(self, activation: str) -> str | None:
        """Say why this was no run with the activation; None where it was one."""
        if self.processes == 0:
            return (
                "nothing was replaced: no Python of this command imported torch, or they were told "
                "to ignore PYTHONPATH (python -I, -E or -S, an emptied environment)"
            )
        if activation == "relu" or self.replaced:
            return None
        if self.missed:
            return "nothing was replaced: " + "; ".join(self.remarks())
        return (
            "nothing was replaced: the script computed no ReLU, by nn.ReLU, F.relu, torch.relu, "
            "x.relu() or a form of these in place"
        )


def read(folder: Path) -> Told:
    """Return what was told in the folder of a trial."""
    replaced: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    places: dict[str, str] = {}
    files = sorted(folder.glob("*.json"))
    for file in files:
        told = json.loads(file.read_text(encoding="utf-8") or "{}")
        replaced.update(told.get("replaced", {}))
        missed.update(told.get("missed", {}))
        places = {**told.get("places", {}), **places}
    records = folder / _RECORDS
    recorded: dict[str, float] = {}
    if records.exists():
        for line in records.read_text(encoding="utf-8").splitlines():
            recorded |= json.loads(line)
    return Told(
        processes=len(files),
        replaced=dict(replaced),
        missed={name: (count, places[name]) for name, count in missed.items()},
        recorded=recorded,
    )


def write_record(folder: Path, values: dict[str, float]) -> None:
    """Add values to the records of a trial, in one write, which others' cannot tear."""
    with (folder / _RECORDS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")
