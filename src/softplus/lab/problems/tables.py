"""A table of the user's: a file and the name of a column become a problem for a small network."""

import hashlib
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor

from softplus.lab.errors import UsageError, unknown
from softplus.lab.problems import columns, reading, targets
from softplus.lab.problems.networks import Data, Network
from softplus.lab.problems.problem import Metric
from softplus.lab.problems.splits import AtRandom, ByGroup, InTime, Splitter
from softplus.lab.problems.targets import Target
from softplus.lab.problems.torch_problem import Split, usual_training

_GRID = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
_FEWEST_ROWS = 25
# Up to so many rows a training takes a second, so there are more of them, of smaller networks.
_FEW_ROWS = 10_000
_WIDTH, _WIDER = 64, 128
_SEEDS, _FEWER_SEEDS = 30, 10
# What a linear model is fitted to, to give time something to count to.
_BASELINE_ROWS = 5_000


@dataclass(frozen=True)
class Source:
    """A file, and what the user says of its columns; `digest` is of the file's bytes."""

    path: Path
    target: str
    group: str | None
    time: str | None
    kind: str | None
    categorical: tuple[str, ...]
    ignored: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class Loaded:
    """What was read from a source."""

    data: Data
    target: Target
    splitter: Splitter
    notes: tuple[str, ...]
    rows: int


@dataclass(frozen=True, kw_only=True)
class Table(Network):
    """A fully connected network on the rows of a file."""

    source: Source
    lengths: tuple[int, int, int]

    @property
    def data(self) -> Data:
        """The rows, read once a process."""
        return _load(self.source).data

    @property
    def identity(self) -> dict[str, Any]:
        """What decides an outcome besides the trial; the file may move."""
        said = {name: value for name, value in vars(self.source).items() if name != "path"}
        shape = (self.depth, self.width, self.epochs, self.batch_size)
        return {"problem": "table", **said, "shape": shape}

    @property
    def parts(self) -> dict[str, int]:
        """How many rows each part of the first split has; groups make others differ a little."""
        return dict(zip(Split._fields, self.lengths, strict=True))

    def split(self, seed: int) -> Split:
        """Return the rows that a seed draws for each part."""
        return _load(self.source).splitter.split(seed)


def load(
    path: Path,
    target: str | None,
    *,
    group: str | None = None,
    time: str | None = None,
    kind: str | None = None,
    categorical: tuple[str, ...] = (),
    ignored: tuple[str, ...] = (),
    **changes: Any,
) -> Table:
    """Return the problem of predicting one column of a table from the others.

    Args:
        path: A CSV, Parquet or NPZ file.
        target: The column to predict.
        group: A column of which no value may be both in training and in validation or test.
        time: A column to train on the earlier and to test on the later rows of.
        kind: "classification" or "regression", where the values do not say it rightly.
        categorical: Columns of numbers that name categories.
        ignored: Columns to leave out.
        changes: depth, width, epochs, batch_size instead of those that fit the number of rows.

    Raises:
        UsageError: The file, a column's name, or what stands in a column cannot be used.
    """
    if group is not None and time is not None:
        raise UsageError("--group and --time are two ways to split: give one of them")
    if kind is not None and kind not in targets.KINDS:
        raise unknown("kind", kind, targets.KINDS)
    if target is None:
        names = reading.header_text(reading.read(path))
        raise UsageError(f"{path} needs --target, the column to predict: one of {names}")
    digest = _digest(path)
    source = Source(path.absolute(), target, group, time, kind, categorical, ignored, digest)
    loaded = _load(source)
    train, validation, test = map(len, loaded.splitter.split(0))
    batch_size, epochs = usual_training(train)
    metric = _with_goal(loaded)
    return Table(
        **{
            "name": path.name,
            "title": f"{loaded.rows:,} rows, {target} from {loaded.data.columns} columns",
            "metric": metric,
            "learning_rates": _GRID,
            "test_ratio": None if time else test / train,
            "notes": (
                (*loaded.notes, _said_of_goal(metric)) if metric.goal is not None else loaded.notes
            ),
            "rows": loaded.rows,
            "epochs": epochs,
            "batch_size": batch_size,
            "width": _WIDTH if loaded.rows <= _FEW_ROWS else _WIDER,
            "seeds": _SEEDS if loaded.rows <= _FEW_ROWS else _FEWER_SEEDS,
            "source": source,
            "lengths": (train, validation, test),
            **changes,
        }
    )


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


@cache
def _load(source: Source) -> Loaded:
    path = source.path
    if _digest(path) != source.digest:
        raise UsageError(f"{path} has changed since the study began: start it again")
    frame = reading.read(path)
    roles = {"--target": source.target, "--group": source.group, "--time": source.time}
    for option, name in roles.items():
        reading.check_columns(frame, path, option, (name,) if name is not None else ())
    reading.check_columns(frame, path, "--categorical", source.categorical)
    reading.check_columns(frame, path, "--ignore", source.ignored)

    for option, name in roles.items():
        if name in source.ignored:
            raise UsageError(f"{option} {name} is in --ignore too: take it out of one of them")
    frame = frame.drop(source.ignored)
    reading.check_types(frame, path)

    needed = [name for name in roles.values() if name is not None]
    complete = frame.drop_nulls(needed)
    notes = []
    if complete.height < frame.height:
        notes.append(
            f"{frame.height - complete.height:,} rows without a {' or '.join(needed)} left out"
        )
    if complete.height < _FEWEST_ROWS:
        raise UsageError(
            f"{path} has {complete.height} rows with a {source.target}: {_FEWEST_ROWS} are the "
            "fewest that can be split"
        )
    if complete.schema[source.target] == pl.String and source.kind != "classification":
        reading.refuse_text_among_numbers(complete, path, source.target, "--kind classification")
    target = targets.of(complete[source.target], path, source.kind)
    encoded = columns.encode(complete.drop(needed), path, source.categorical, source.ignored)
    splitter = _splitter(complete, source, target)
    return Loaded(
        data=Data(
            inputs=_centred(encoded.numbers),
            targets=target.values,
            outputs=target.outputs,
            head=target.head,
            losses=target.losses,
            metric=target.score,
            flags=torch.tensor(encoded.flags, dtype=torch.float32),
            missing=True,
        ),
        target=target,
        splitter=splitter,
        notes=(*target.notes, *encoded.notes, *notes, *splitter.notes),
        rows=complete.height,
    )


def _centred(numbers: np.ndarray) -> Tensor:
    """Return columns of any scale as float32, which dates, for one, would not fit as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column may be empty
        mean, scale = np.nanmean(numbers, axis=0), np.nanstd(numbers, axis=0)
    return torch.tensor((numbers - mean) / np.where(scale > 0, scale, 1), dtype=torch.float32)


def _splitter(frame: pl.DataFrame, source: Source, target: Target) -> Splitter:
    if source.group is not None:
        groups = frame[source.group].cast(pl.String).to_numpy()
        return ByGroup(np.unique(groups, return_inverse=True)[1], source.group)
    if source.time is not None:
        times = frame[source.time]
        if not (times.dtype.is_numeric() or times.dtype.is_temporal()):
            raise UsageError(
                f"--time {source.time} of {source.path} holds {times.dtype}, such as "
                f"{times[0]!r}: it takes numbers, dates, or times as 2026-01-31 12:00:00"
            )
        return InTime(times.to_physical().to_numpy(), source.time)
    if target.classes and target.outputs * 5 > frame.height:
        raise UsageError(
            f"target {source.target!r} of {source.path} has {target.outputs} classes in "
            f"{frame.height} rows, too many to have each in every part: say --kind regression, or "
            "merge classes"
        )
    return AtRandom(frame.height, target.values.numpy() if target.classes else None)


def _with_goal(loaded: Loaded) -> Metric:
    """Return the metric with what a linear model reaches, less the margin, as its goal."""
    metric, data = loaded.target.metric, loaded.data
    train, validation, _ = loaded.splitter.split(0)
    inputs = data.prepared(train)
    rows = train[:_BASELINE_ROWS]
    if loaded.target.classes:
        weights = "balanced" if metric.name.startswith("balanced") else None
        model = LogisticRegression(max_iter=200, class_weight=weights)
    else:
        model = Ridge()
    if len(torch.unique(data.targets[rows])) < 2:  # of rows in time
        return metric
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(inputs[rows].numpy(), data.targets[rows].numpy())
    predicted = torch.from_numpy(model.predict(inputs[validation].numpy()))
    if loaded.target.classes:
        predicted = torch.nn.functional.one_hot(predicted, data.outputs)
    reached = data.metric(predicted, data.targets[validation])
    margin = metric.margin or 0.0
    goal = reached - margin if metric.higher_is_better else reached + margin
    return Metric(**{**vars(metric), "goal": float(f"{goal:.3g}")})


def _said_of_goal(metric: Metric) -> str:
    return (
        f"time is counted to {metric.goal:g} of {metric.name}: what a linear model reaches on the "
        "validation rows of the first split, less the margin"
    )
