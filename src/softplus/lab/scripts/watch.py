"""The watch over a script: in this process every model is audited while it runs.

The state that matters is the last one. Of passes without gradients those count that saw the present
weights: the last evaluation. Of passes in training, where the weights never stand still, the last
hundred or two count.
"""

import atexit
import json
import os
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from softplus.lab.units.watching import DeadUnits

# Passes in training that are taken together.
_WINDOW = 100


class _Record:
    """What was seen of one model."""

    def __init__(self, model: nn.Module) -> None:
        self._weights = list(model.parameters())
        self._version = -1
        self._evaluations = 0
        self._evaluation = DeadUnits(model)
        self._passes = 0
        self._training, self._before = DeadUnits(model), DeadUnits(model)

    def begin(self) -> DeadUnits:
        """Return the watch for one pass."""
        if torch.is_grad_enabled():
            if self._passes == _WINDOW:
                self._training, self._before, self._passes = self._before, self._training, 0
                self._training.reset()
            self._passes += 1
            return self._training
        version = sum(weight._version for weight in self._weights)  # noqa: SLF001 -- no other way
        if version != self._version:
            self._evaluation.reset()
            self._version, self._evaluations = version, 0
        self._evaluations += 1
        return self._evaluation

    def found(self) -> tuple[str, list[Any]]:
        """Return what was seen last, in words, and the figures of every call."""
        calls = self._evaluation.calls()
        if calls:
            return f"{self._evaluations:,} batches of the last evaluation", calls
        before = self._before.calls()
        if before:
            return f"{_WINDOW} batches near the end of the training", before
        return f"the last {self._passes:,} batches of the training", self._training.calls()


class _Watch:
    """Follows the passes of all models; within one, its modules are not models of their own."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"units-{os.getpid()}.json"
        self._records: WeakKeyDictionary[nn.Module, _Record] = WeakKeyDictionary()
        self._at_work: tuple[nn.Module, DeadUnits] | None = None
        register_module_forward_pre_hook(self._enter)
        register_module_forward_hook(self._leave, always_call=True)
        atexit.register(self._write)

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        del inputs
        if self._at_work is None:
            record = self._records.get(module)
            if record is None:
                record = self._records[module] = _Record(module)
            self._at_work = module, record.begin().__enter__()

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        del inputs, output
        if self._at_work and self._at_work[0] is module:
            _, watch = self._at_work
            self._at_work = None
            watch.__exit__(None, None, None)

    def _write(self) -> None:
        models = []
        for model, record in self._records.items():
            seen, calls = record.found()
            if calls:
                models.append(
                    {"model": type(model).__name__, "seen": seen, "calls": [vars(c) for c in calls]}
                )
        self._file.write_text(json.dumps(models), encoding="utf-8")


def install(folder: str) -> None:
    """Watch every model of this process; of several processes that train together, the first."""
    if os.environ.get("RANK", "0") == "0":
        _Watch(Path(folder))
