"""The study's memory: every finished trial, in one SQLite file."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from softplus.lab import as_json
from softplus.lab.errors import UsageError
from softplus.lab.problems import Problem
from softplus.lab.trials import Outcome, Trial


class Store:
    """Keeps the outcome of each trial; what is written survives kill -9.

    Raises:
        UsageError: From every method, where the file is no study's or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._refusing():
            # Autocommit: one trial is one transaction.
            self._connection = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS trials (key TEXT PRIMARY KEY, result TEXT NOT NULL)"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def put(self, problem: Problem, trial: Trial, outcome: Outcome) -> None:
        """Keep an outcome; one already there is replaced."""
        with self._refusing():
            self._connection.execute(
                "INSERT OR REPLACE INTO trials VALUES (?, ?)",
                (as_json.key(problem, trial), as_json.of_outcome(outcome)),
            )

    def get(self, problem: Problem, trials: Iterable[Trial]) -> dict[Trial, Outcome]:
        """Return the outcomes that are there."""
        wanted = {as_json.key(problem, trial): trial for trial in trials}
        with self._refusing():
            rows = self._connection.execute("SELECT key, result FROM trials").fetchall()
        return {wanted[key]: as_json.outcome(text) for key, text in rows if key in wanted}

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Name the file in every error of SQLite's."""
        try:
            yield
        except sqlite3.Error as error:
            raise UsageError(
                f"{self.path} cannot be used as the study's file ({error}): move it away, or "
                "choose another --out"
            ) from None
