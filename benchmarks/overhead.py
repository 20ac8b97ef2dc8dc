"""Prints what a study takes beside its trainings: choosing, storing, timing steps, the report.

The trainings run one by one in this process (a training command's in processes of their own), so
that what is left of the clock is the study's. The shares are of the trainings' time.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # PyTorch's optimizers import it at their first use: not the study's time
from torch import nn

from softplus import lab
from softplus.lab import cost
from softplus.lab.engines import Died
from softplus.lab.engines.local import Local

SCRIPT = """
import torch
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
optimizer = torch.optim.Adam(model.parameters())
x, y = torch.randn(256, 64), torch.randint(10, (256,))
for _ in range(3000):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
print("loss", loss.item())
"""


class Counting(Local):
    """The local engine with one job, and the seconds that its calls took."""

    def __init__(self) -> None:
        super().__init__(jobs=1)
        self.seconds = 0.0

    def map(
        self, function: Callable[[Any], Any], items: Iterator[Any]
    ) -> Iterator[tuple[Any, Any | Died]]:
        """Yield what the local engine does."""

        def timed(item: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(item)
            finally:
                self.seconds += time.perf_counter() - start

        yield from super().map(timed, items)


def convolutional() -> nn.Module:
    """Return a small network that trains alone: no chain of linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 10)
    )


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the handwritten digits as pictures."""
    from sklearn.datasets import load_digits  # noqa: PLC0415

    rows = load_digits()
    return torch.tensor(rows.images / 16, dtype=torch.float32).unsqueeze(1), rows.target


def main() -> None:
    """Run a study of each kind and print where its time went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=None, help="instead of each study's own")
    seeds = parser.parse_args().seeds
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        Path("train.py").write_text(SCRIPT, encoding="utf-8")
        script = lab.script([sys.executable, "train.py"], metric="loss ([0-9.e-]+)")
        studies = {
            "digits, stacked": "digits",
            "a CNN, one by one": lab.task(convolutional, digits),
            "a training command": script,
        }
        for number, (name, task) in enumerate(studies.items()):
            engine = Counting()
            start = time.perf_counter()
            study = lab.compare(
                task, seeds=seeds, engine=engine, out=str(number), show_progress=False
            )
            whole = time.perf_counter() - start
            start = time.perf_counter()
            settings = study.results.settings
            cost.measure(settings.problem, settings.activations, settings.reference)
            timing = time.perf_counter() - start
            own = whole - engine.seconds - timing
            print(
                f"{name}: trainings {engine.seconds:.1f} s, "
                f"timing steps {timing:.1f} s ({timing / engine.seconds:.1%}), "
                f"the study's own {own:.1f} s ({own / engine.seconds:.1%})"
            )


if __name__ == "__main__":
    main()
