"""The study's memory: every finished trial, and who is at work on which, in one SQLite file."""

import os
import platform
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from softplus.lab import as_json
from softplus.lab.errors import UsageError
from softplus.lab.problems import Problem
from softplus.lab.trials import Outcome, Trial

# What the header of a study's file says: whose it is ("Sftp"), and the form of its tables.
_APPLICATION = 0x53667470
_VERSION = 2
_TABLES = """
CREATE TABLE trials (key TEXT PRIMARY KEY, trial TEXT, outcome TEXT, failed INTEGER) WITHOUT ROWID;
CREATE TABLE runners (runner TEXT PRIMARY KEY, place TEXT, process INTEGER, heard REAL)
    WITHOUT ROWID;
CREATE TABLE claims (key TEXT PRIMARY KEY, runner TEXT) WITHOUT ROWID;
"""
# A runner that was not heard for so many seconds is dead, and its claims are free.
_LEASE = 60.0
_BEAT = 10.0


class Store:
    """Keeps outcomes and claims; what is written survives kill -9.

    A claim keeps other processes on the same file from running a trial too. It is free again when
    its process has ended, or was not heard for a minute.

    Raises:
        UsageError: From every method, where the file is no study's, is damaged, or cannot be
            written. It is then left as it was.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._runner = uuid.uuid4().hex
        self._stop = threading.Event()
        with self._refusing():
            self._connection = self._connect()
            try:
                self._open()
            except BaseException:
                self._connection.close()
                raise
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()

    def _connect(self) -> sqlite3.Connection:
        # Autocommit: what is no BEGIN is a transaction of its own.
        return sqlite3.connect(self.path, timeout=30, isolation_level=None)

    def _open(self) -> None:
        """Make a new file a study's, and refuse any other: before the first write."""
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        names = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master")}
        if application == _APPLICATION and version != _VERSION:
            raise self._refusal(f"it is of version {version}, this softplus writes {_VERSION}")
        if application != _APPLICATION and names:
            older = "trials" in names and application == 0
            raise self._refusal("an earlier softplus wrote it" if older else "it is no study's")
        (state,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            raise self._refusal(f"it is damaged: {state.splitlines()[-1]}")
        self._connection.execute("PRAGMA journal_mode = WAL")
        with self._transaction():
            if not self._connection.execute("SELECT name FROM sqlite_master").fetchall():
                for statement in _TABLES.split(";"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                self._connection.execute(f"PRAGMA user_version = {_VERSION}")
            self._bury()
            self._connection.execute(
                "INSERT INTO runners VALUES (?, ?, ?, ?)",
                (self._runner, _place(), os.getpid(), time.time()),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._heart.join()
        try:
            self._forget(self._runner)
        except sqlite3.Error:
            pass  # a full disk: then the claims end with this process
        finally:
            self._connection.close()

    def get(self, problem: Problem, trials: Iterable[Trial]) -> dict[Trial, Outcome]:
        """Return the outcomes that are there."""
        wanted = {as_json.key(problem, trial): trial for trial in trials}
        with self._refusing():
            rows = self._connection.execute("SELECT key, outcome FROM trials").fetchall()
            return {wanted[key]: as_json.outcome(text) for key, text in rows if key in wanted}

    def put(self, problem: Problem, outcomes: Mapping[Trial, Outcome]) -> None:
        """Keep outcomes, all or none; those already there are replaced."""
        rows = [
            (
                as_json.key(problem, trial),
                as_json.of_trial(trial),
                as_json.of_outcome(outcome),
                outcome.failure is not None,
            )
            for trial, outcome in outcomes.items()
        ]
        with self._refusing(), self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?)", rows)
            self._connection.executemany(
                "DELETE FROM claims WHERE key = ?", [(key,) for key, *_ in rows]
            )

    def claim(self, problem: Problem, trials: Iterable[Trial]) -> list[Trial]:
        """Return those trials that nobody has finished or is at work on; they are now ours."""
        keys = {as_json.key(problem, trial): trial for trial in trials}
        with self._refusing(), self._transaction():
            self._bury()
            taken = {
                key
                for (key,) in self._connection.execute(
                    "SELECT key FROM trials UNION SELECT key FROM claims WHERE runner != ?",
                    (self._runner,),
                )
            }
            free = [key for key in keys if key not in taken]
            self._connection.executemany(
                "INSERT OR REPLACE INTO claims VALUES (?, ?)",
                [(key, self._runner) for key in free],
            )
        return [keys[key] for key in free]

    def forget_failures(self) -> None:
        """Let trials that failed in earlier commands run again, unless another one is running."""
        with self._refusing(), self._transaction():
            self._bury()
            (runners,) = self._connection.execute("SELECT count(*) FROM runners").fetchone()
            if runners == 1:
                self._connection.execute("DELETE FROM trials WHERE failed")

    def _bury(self) -> None:
        """Free the claims of runners that have ended without a word."""
        rows = self._connection.execute("SELECT runner, place, process, heard FROM runners")
        for runner, place, process, heard in rows.fetchall():
            ended = place == _place() and not _runs(process)
            if ended or time.time() - heard > _LEASE:
                self._forget(runner)

    def _forget(self, runner: str) -> None:
        self._connection.execute("DELETE FROM claims WHERE runner = ?", (runner,))
        self._connection.execute("DELETE FROM runners WHERE runner = ?", (runner,))

    def _beat(self) -> None:
        """Say now and then that this runner is alive."""
        with closing(self._connect()) as connection:
            while not self._stop.wait(_BEAT):
                try:
                    connection.execute(
                        "INSERT OR REPLACE INTO runners VALUES (?, ?, ?, ?)",
                        (self._runner, _place(), os.getpid(), time.time()),
                    )
                except sqlite3.Error:  # busy, or a full disk, of which the next put will tell
                    continue

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:  # a full disk has ended it
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Name the file in every error of SQLite's, and in one of what it holds."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "") in {"SQLITE_FULL", "SQLITE_IOERR_WRITE"}:
                raise UsageError(
                    f"{self.path} cannot be written ({error}): free some space; what is in it is "
                    "kept, and the same command goes on from there"
                ) from None
            raise self._refusal(str(error)) from None
        except (ValueError, TypeError, KeyError) as error:
            if isinstance(error, UsageError):
                raise
            raise self._refusal(f"it is damaged: {error}") from None

    def _refusal(self, reason: str) -> UsageError:
        return UsageError(
            f"{self.path} cannot be used as the study's file ({reason}): move it away, or choose "
            "another --out"
        )


def _place() -> str:
    """Return the name of what numbers this process: a machine, or a container on it."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116  # it is no file
    except OSError:
        space = 0
    return f"{platform.node()}:{space}"


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
