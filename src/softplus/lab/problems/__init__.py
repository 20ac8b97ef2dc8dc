"""The problems: what `softplus compare` can be asked about, by name or by file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from softplus.lab.errors import UsageError, unknown
from softplus.lab.problems import networks, signed_distance
from softplus.lab.problems.problem import Metric, Problem

__all__ = ["BUILT_IN", "Metric", "Problem", "load"]

BUILT_IN: dict[str, Callable[..., Problem]] = {
    "digits": networks.digits,
    "diabetes": networks.diabetes,
    "sdf": signed_distance.sdf,
}
_TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".pq", ".npz")


def load(
    source: str | Path,
    *,
    target: str | None = None,
    group: str | None = None,
    time: str | None = None,
    kind: str | None = None,
    categorical: Sequence[str] = (),
    ignored: Sequence[str] = (),
    **shape: int | None,
) -> Problem:
    """Return the problem of that name or in that file.

    Args:
        source: The name of a built-in problem, a table, or a Python file.
        target: Of a table, the column to predict.
        group: Of a table, a column whose groups no split may cut.
        time: Of a table, the column by which the test is the latest rows.
        kind: Of a table, "classification" or "regression", where it does not show.
        categorical: Of a table, columns of numbers that name categories.
        ignored: Of a table, columns to leave out.
        shape: depth, width or epochs, where not None.

    Raises:
        UsageError: There is no such problem, or something about it cannot be used.
    """
    source = str(source)
    said: dict[str, Any] = {name: value for name, value in shape.items() if value is not None}
    if source.lower().endswith(_TABLES):
        from softplus.lab.problems import tables  # polars is loaded where a table is

        return tables.load(
            Path(source),
            target,
            group=group,
            time=time,
            kind=kind,
            categorical=tuple(categorical),
            ignored=tuple(ignored),
            **said,
        )
    for option, value in {
        "--target": target,
        "--group": group,
        "--time": time,
        "--kind": kind,
        "--categorical": categorical,
        "--ignore": ignored,
    }.items():
        if value:
            raise UsageError(f"{option} is for a table, and {source} is none")
    if source.lower().endswith(".py"):
        from softplus.lab.problems import task_file

        return task_file.load(Path(source), **said)
    if source in BUILT_IN:
        return BUILT_IN[source](**said)
    if Path(source).exists() or Path(source).suffix:
        raise UsageError(
            f"{source} is no task: give one of {', '.join(BUILT_IN)}, a table "
            f"({', '.join(_TABLES)}), or a Python file that defines model() and data()"
        )
    raise unknown("task", source, BUILT_IN)
