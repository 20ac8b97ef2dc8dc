"""Runs the atlas: activations compared on many problems, each with three networks, by the lab.

Every problem and network is a study of the lab, in a folder of its own under `--out`; the same
command again goes on where it was stopped. What came out is written to `atlas.json` there.
`--write` makes it the repository's: studies/atlas.json, docs/atlas.md and its picture.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import atlas_datasets
import atlas_forces
import atlas_page
import atlas_summary
from atlas_datasets import DATASETS, Dataset

from softplus.lab import engines, files, problems, study, wording
from softplus.lab.problems import Problem
from softplus.lab.problems.torch_problem import TorchProblem
from softplus.lab.results import Arm
from softplus.lab.settings import Settings, settings
from softplus.lab.store import Store
from softplus.lab.trials import Outcome, Trial

ARMS = ("relu", "softplus", "softplus:beta=5", "shifted_softplus", "gelu", "silu")
SEEDS = 10
ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "studies" / "atlas.json"
PAGE = ROOT / "docs" / "atlas.md"
PICTURE = ROOT / "docs" / "images" / "atlas.svg"


@dataclass(frozen=True)
class Network:
    """The hidden layers of a network, and how their weights start."""

    name: str
    depth: int
    width: int
    init: str = "default"


# Deep ones start with the gain that keeps each function's signals, biases 0: at PyTorch's own start
# a plain Softplus network of 16 layers never learns to read digits (docs/deep-networks.md).
NETWORKS = (Network("shallow", 2, 64), Network("deep", 16, 32, "he"), Network("narrow", 2, 16))


@dataclass(frozen=True)
class Asked:
    """How much is run: all of it, or a little, to see that it works."""

    datasets: tuple[Dataset, ...] = tuple(DATASETS)
    networks: tuple[Network, ...] = NETWORKS
    seeds: int = SEEDS
    rates: tuple[float, ...] | None = None
    epochs: int | None = None

    @property
    def cells(self) -> list[tuple[Dataset, Network]]:
        """Every problem with every network, those that take longest first."""
        return [
            (dataset, network)
            for network in sorted(self.networks, key=lambda network: -network.depth)
            for dataset in sorted(self.datasets, key=lambda d: d.kind != atlas_datasets.SMOOTH)
        ]


QUICK = Asked(
    datasets=tuple(each for each in DATASETS if each.name in {"iris", "diabetes"}),
    seeds=3,
    rates=(1e-3, 1e-2),
    epochs=2,
)


# Running


@dataclass(frozen=True, kw_only=True)
class Scored(Problem):
    """A problem of which only the scores are wanted: no units counted, no steps timed."""

    inner: TorchProblem

    @property
    def identity(self) -> dict[str, Any]:
        """What decides an outcome besides the trial."""
        return self.inner.identity

    @property
    def training(self) -> str:
        """How it trains, in a few words."""
        return self.inner.training

    def batches(self, trials: Sequence[Trial]) -> list[list[Trial]]:
        """Return the trials in the groups that are best run together."""
        return self.inner.batches(trials)

    def run(self, trials: Sequence[Trial]) -> list[Outcome]:
        """Train every trial and look no further."""
        return self.inner.run([replace(trial, measured=False) for trial in trials])


def load(dataset: Dataset, network: Network, folder: Path, epochs: int | None = None) -> Scored:
    """Return a problem of the atlas with a network, its table written into the folder."""
    shape = {"depth": network.depth, "width": network.width}
    if epochs is not None:
        shape["epochs"] = epochs
    if dataset.name in atlas_forces.CLUSTERS:
        inner: Any = atlas_forces.load(dataset.name, **shape)
    elif dataset.read is None:
        inner = problems.load(dataset.name, **shape)
    else:
        inner = problems.load(
            dataset.write(folder),
            target=dataset.target,
            ignored=dataset.ignored,
            categorical=dataset.categorical,
            kind="regression" if dataset.numeric else None,
            **shape,
        )
    return Scored(**{each.name: getattr(inner, each.name) for each in fields(Problem)}, inner=inner)


def run_cell(asked: Asked, folder: Path, cell: tuple[Dataset, Network]) -> dict[str, Any]:
    """Run what a study lacks and return what it came to."""
    dataset, network = cell
    own = folder / f"{dataset.name}-{network.name}".replace(" ", "-")
    files.prepare_folder("out", own)
    problem = load(dataset, network, own, asked.epochs)
    wanted = settings(
        problem, ",".join(ARMS), inits=network.init, seeds=asked.seeds, rates=asked.rates
    )
    done = study.run(wanted, engines.choose("local"), own, lambda *_: None).results
    metric = problem.metric
    return {
        "problem": dataset.name,
        "network": network.name,
        "rows": problem.rows,
        "training": problem.training,
        "metric": metric.name,
        "unit": metric.difference_unit,
        "higher_is_better": metric.higher_is_better,
        "margin": metric.margin,
        "test_ratio": problem.test_ratio,
        "cpu_seconds": cpu_seconds(wanted, done.arms, own),
        "arms": {
            arm.name.removesuffix(f":init={network.init}"): {
                "learning_rate": arm.learning_rate,
                "at_edge": arm.at_edge,
                "test": [rounded(outcome.test) for outcome in arm.outcomes],
            }
            for arm in done.arms
        },
    }


def cpu_seconds(wanted: Settings, arms: Sequence[Arm], folder: Path) -> float:
    """Return what all trainings of a study took, tuning included, whenever they ran."""
    trials = [
        trial
        for arm in arms
        for trial in (*wanted.tuning(arm.name), *wanted.finals(arm.name, arm.learning_rate))
    ]
    with Store(folder / study.FILE) as store:
        outcomes = store.get(wanted.problem, trials).values()
    return round(sum(outcome.seconds or 0.0 for outcome in outcomes), 1)


def rounded(score: float) -> float | None:
    """Return a score with seven digits, None where the training failed."""
    return float(f"{score:.7g}") if math.isfinite(score) else None


def run(asked: Asked, folder: Path, jobs: int) -> dict[str, Any]:
    """Run what is missing and return what all of it came to."""
    files.prepare_folder("out", folder)
    found = {}
    with engines.choose("local", jobs=jobs) as engine:
        cells = engine.map(partial(run_cell, asked, folder), iter(asked.cells))
        for (dataset, network), result in cells:
            if isinstance(result, engines.Died):
                raise SystemExit(f"{dataset.name}, {network.name}: {result.reason}")
            found[dataset.name, network.name] = result
            print(
                f"{len(found):3} of {len(asked.cells)}  {dataset.name}, {network.name}: "
                f"{result['cpu_seconds']:.0f} s",
                flush=True,
            )
    return {
        "seeds": asked.seeds,
        "studies": [
            found[dataset.name, network.name]
            for dataset in asked.datasets
            for network in asked.networks
        ],
    }


def main() -> None:
    """Run what is missing, and write what it came to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=Path("build/atlas"), help="where the studies are kept"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    parser.add_argument(
        "--quick", action="store_true", help="two problems, too short for a verdict"
    )
    parser.add_argument("--write", action="store_true", help="write the page, from what was run")
    arguments = parser.parse_args()
    if arguments.quick and arguments.write:
        parser.error("--write takes the whole atlas: leave --quick out")
    asked = QUICK if arguments.quick else Asked()
    results = run(asked, arguments.out, arguments.jobs)
    keep(results, arguments.out / "atlas.json")
    found = atlas_summary.differences(results)
    if arguments.write:
        results["summary"] = [vars(each) for each in atlas_summary.pooled(found)]
        keep(results, RESULTS)
        PAGE.write_text(atlas_page.render(results), encoding="utf-8")
        atlas_page.draw(results, PICTURE)
    for each in found:
        print(f"{each.problem:16} {each.network:8} {each.arm:17} {wording.headline(each.verdict)}")


def keep(results: dict[str, Any], path: Path) -> None:
    """Write results as JSON."""
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
