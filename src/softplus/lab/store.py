"""The study's memory: every finished trial, in one SQLite file."""

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from softplus.lab.errors import UsageError

Result = dict[str, Any]


class Store:
    """Keeps the result of each trial under its key; what is written survives kill -9.

    >>> with Store(Path(":memory:")) as store:
    ...     store.put("a key", {"test": 1.5})
    ...     store.get(["a key", "another"])
    {'a key': {'test': 1.5}}
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Autocommit: one trial is one transaction.
            self._connection = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS trials (key TEXT PRIMARY KEY, result TEXT NOT NULL)"
            )
        except sqlite3.Error as error:
            raise UsageError(
                f"{path} cannot be used as the study's file ({error}): move it away, or choose "
                "another --out"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def put(self, key: str, result: Result) -> None:
        """Keep a result; one already there under the key is replaced."""
        self._connection.execute(
            "INSERT OR REPLACE INTO trials VALUES (?, ?)", (key, json.dumps(result))
        )

    def get(self, keys: Iterable[str]) -> dict[str, Result]:
        """Return the results that are there, by key."""
        wanted = set(keys)
        with closing(self._connection.execute("SELECT key, result FROM trials")) as rows:
            return {key: json.loads(result) for key, result in rows if key in wanted}
