"""A study from Python: `compare` runs one, and a `Study` shows what it came to."""

import html
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from softplus.lab import (
    engines,
    files,
    machine,
    plots,
    problems,
    report,
    rows,
    runner,
    summary,
    terminal,
    wording,
)
from softplus.lab.engines import Engine
from softplus.lab.problems import Problem, frames
from softplus.lab.problems.functions import Functions
from softplus.lab.problems.rehearsal import rehearse
from softplus.lab.problems.script import Script
from softplus.lab.results import Arm, Results
from softplus.lab.settings import Settings, settings
from softplus.lab.store import Store

# In the folder of a study.
FILE = "study.sqlite"


@dataclass(frozen=True)
class Study:
    """What a comparison came to; a notebook shows it as its verdicts and its table.

    `results` has every figure: the arms, their trials seed by seed, and the verdicts.
    """

    results: Results

    def verdict(self) -> str:
        """Return the verdicts in words: which arm is better on these rows, and on others."""
        lines = []
        for verdict in self.results.verdicts:
            lines.append(f"{verdict.arm} against {verdict.reference}: {wording.headline(verdict)}")
            lines += [
                f"  {sentence}"
                for sentence in wording.sentences(verdict, summary.subject(self.results))
            ]
        return "\n".join([*lines, *(f"note: {note}" for note in summary.notes(self.results))])

    def table(self) -> pl.DataFrame:
        """Return the table of the report: a row for each property, a column for each arm."""
        names = [arm.name for arm in self.results.arms]
        return pl.DataFrame(
            [
                {
                    "section": section,
                    "property": row.label,
                    **dict(zip(names, row.cells, strict=True)),
                    "how": row.how,
                }
                for section, members in rows.sections(self.results).items()
                for row in members
            ]
        )

    def to_frame(self) -> pl.DataFrame:
        """Return the trials: a row for each arm and seed, with what was measured on it."""
        return pl.DataFrame(
            [
                _row(arm, seed)
                for arm in self.results.arms
                for seed in range(self.results.settings.seeds)
            ],
            infer_schema_length=None,
        )

    def plot(self) -> Figure:
        """Return the picture of the verdicts: the differences with their intervals."""
        return plots.differences(self.results)

    def save(self, folder: str | Path) -> list[Path]:
        """Write report.html, report.md and results.json into a folder and return their paths."""
        files.prepare_folder("folder", Path(folder))
        return report.write(self.results, Path(folder))

    def __str__(self) -> str:
        return self.verdict()

    def _repr_html_(self) -> str:
        lines = self.verdict().splitlines()
        with pl.Config(
            tbl_rows=-1, tbl_cols=-1, fmt_str_lengths=200, tbl_hide_dataframe_shape=True
        ):
            table = self.table()._repr_html_()
        return "".join(f"<p>{html.escape(line)}</p>" for line in lines) + table


def _row(arm: Arm, seed: int) -> dict[str, Any]:
    outcome = arm.outcomes[seed]
    row = {
        "arm": arm.name,
        "seed": seed,
        "learning_rate": arm.learning_rate,
        "validation": outcome.validation,
        "test": outcome.test,
        "steps_to_goal": outcome.steps_to_goal,
        "diverged_at": outcome.diverged_at,
        "failure": outcome.failure,
        "seconds": outcome.seconds,
    }
    measured = vars(outcome.measures) if outcome.measures else {}
    return row | {name: value for name, value in measured.items() if isinstance(value, float)}


def compare(
    task: Any,
    activations: str | list[str] | tuple[str, ...] | None = None,
    *,
    target: str | None = None,
    group: str | None = None,
    time: str | None = None,
    kind: str | None = None,
    categorical: Sequence[str] = (),
    ignored: Sequence[str] = (),
    init: str = "default",
    depth: int | None = None,
    width: int | None = None,
    epochs: int | None = None,
    seeds: int | None = None,
    learning_rates: Sequence[float] | None = None,
    margin: float | None = None,
    quick: bool = False,
    jobs: int | None = None,
    engine: Engine | None = None,
    out: str | Path | None = None,
    show_progress: bool = True,
) -> Study:
    """Train a task with each activation and return what that came to.

    >>> from softplus import lab
    >>> study = lab.compare("digits", "relu,softplus:beta=5", seeds=2, learning_rates=[1e-2],
    ...                     epochs=1, jobs=1, show_progress=False)
    >>> study.to_frame().select("arm", "seed").rows()
    [('relu', 0), ('relu', 1), ('softplus:beta=5', 0), ('softplus:beta=5', 1)]

    Args:
        task: What the command line takes: "digits", "diabetes", "sdf", the path of a table or of a
            task file. Or a data frame (of polars or pandas), or a mapping of columns. Or a
            model and data, as `softplus.lab.task` returns them, or a training command, as
            `softplus.lab.script` does.
        activations: The arms, comma-separated or a list, as on the command line; None: the task's.
        target: Of a table, the column to predict; `group`, `time`, `kind`, `categorical` and
            `ignored` are the command line's.
        group: A column whose groups no split may cut.
        time: The column by which the test is the latest rows.
        kind: "classification" or "regression", where the target does not show it.
        categorical: Columns of numbers that name categories.
        ignored: Columns to leave out.
        init: How weights start: "default", "he" or "looks_linear".
        depth: Hidden layers; `width`: units of each; `epochs`: passes over the data. None: the
            task's own.
        width: See `depth`.
        epochs: See `depth`.
        seeds: Trainings of each arm, each on a split of its own.
        learning_rates: What each arm chooses from; a single one is taken as it is.
        margin: The largest difference in the test metric that does not matter.
        quick: A smoke test, too short for a verdict to rest on.
        jobs: Processes; None: one a core, of a training command one.
        engine: Where trials run instead, see `softplus.lab.engines.choose`.
        out: A folder for the report and the finished trials, from which the same call goes on.
            None: nothing is kept.
        show_progress: Show a bar on stderr.

    Raises:
        UsageError: Something cannot be used; the message says what to do.
    """
    with nullcontext(out) if out is not None else tempfile.TemporaryDirectory() as folder:
        files.prepare_folder("out", Path(folder))
        problem = _placed(task, Path(folder)) or problems.load(
            _kept(task, Path(folder)),
            target=target,
            group=group,
            time=time,
            kind=kind,
            categorical=categorical,
            ignored=ignored,
            depth=depth,
            width=width,
            epochs=5 if quick and epochs is None else epochs,
        )
        asked = settings(
            problem,
            ",".join(activations) if isinstance(activations, (list, tuple)) else activations,
            inits=init,
            seeds=seeds,
            rates=learning_rates,
            margin=margin,
            quick=quick,
        )
        rehearse(problem, asked.activations)
        by_itself = 1 if problem.alone else machine.cores()
        local = engine or engines.choose("local", jobs=by_itself if jobs is None else jobs)
        with terminal.progress() as bar:
            trials = bar.add_task("", total=asked.trials, visible=show_progress)

            def advance(phase: str, done: int) -> None:
                bar.update(trials, description=phase, completed=done)

            study = run(asked, local, Path(folder), advance)
        if out is not None:
            study.save(folder)
        return study


def _placed(task: Any, folder: Path) -> Problem | None:
    """Return a problem that is one already, None of any other task."""
    if isinstance(task, Script):
        return replace(task, logs=folder.absolute() / "logs")
    return task if isinstance(task, Problem) else None


def _kept(task: Any, folder: Path) -> str | Path:
    """Return a task that is a name or a path, and the file of one in memory."""
    if isinstance(task, Functions):
        return task.written(folder)
    return frames.kept(task, folder)


def run(
    asked: Settings,
    engine: Engine,
    folder: Path,
    progress: Callable[[str, int], None],
    command: str = "",
) -> Study:
    """Run what was asked for, keeping finished trials in the folder.

    `progress` is called with the phase and the number of trials done, and `command` is what the
    report says repeats the study.
    """
    with Store(folder / FILE) as store:
        return Study(replace(runner.run(asked, store, engine, progress), command=command))
