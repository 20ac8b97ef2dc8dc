"""Data in memory as a file: trainings run in other processes, and read it there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from softplus.lab.errors import UsageError


def kept(task: Any, folder: Path) -> str | Path:
    """Return a task that is a name or a path as it is, and the file of a data frame otherwise.

    Args:
        task: A name, a path, a data frame of polars or pandas, or a mapping of columns.
        folder: Where the file goes.

    Raises:
        UsageError: It is none of them.
    """
    if isinstance(task, (str, Path)):
        return task
    try:
        if isinstance(task, pl.LazyFrame):
            task = task.collect()
        if not isinstance(task, pl.DataFrame):
            columns = task if isinstance(task, Mapping) else {name: task[name] for name in task}
            task = pl.DataFrame(
                {str(name): pl.Series(list(each)) for name, each in columns.items()}
            )
    except (TypeError, KeyError, ValueError, pl.exceptions.PolarsError) as error:
        raise UsageError(
            "task must be a name, a path, a data frame or a mapping of columns; got "
            f"{type(task).__name__} ({error})"
        ) from None
    path = folder / "data.parquet"
    task.write_parquet(path)
    return path
