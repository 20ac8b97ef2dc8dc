"""A training script of the user's as a problem: each trial is a process of its own."""

import hashlib
import itertools
import math
import os
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from softplus.lab import activations, machine
from softplus.lab.errors import UsageError
from softplus.lab.problems.problem import Metric, Problem
from softplus.lab.scripts import account, launching, output
from softplus.lab.scripts.account import Told
from softplus.lab.trials import Outcome, Trial

_RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
_MOST_FILES = 2000  # of code that are read to know whether it has changed
_MOST_REMARKS = 20  # on files that a trial wrote
_WROTE, _OUT = "wrote ", "out of reach"
_LARGE = 2**24  # bytes from which a file is known by its size and time

_OWN_RATE = (
    "the command has no {lr}: every arm trains at the script's own learning rate, most likely "
    "chosen for ReLU, which that may favour; with {lr} where the rate goes each arm chooses its own"
)
_OWN_SCORE = (
    "the score is the script's own: if it chooses the epoch, or an arm its learning rate, by the "
    "score that is reported, all arms look better than they are on new data"
)


@dataclass(frozen=True, kw_only=True)
class Script(Problem):
    """A command that prints its score, or gives it to `softplus.lab.record`.

    `words` are the command's as they are started in `folder`. `searched` is what --metric says,
    None where the script records one value. `threads` is how many a trial computes with, `timeout`
    how many seconds it may take, and `code` the hash of what the command runs.
    """

    alone: ClassVar[bool] = True

    command: tuple[str, ...]
    words: tuple[str, ...]
    folder: Path
    searched: output.Searched | None
    logs: Path
    threads: int
    timeout: float | None
    code: str

    @property
    def identity(self) -> dict[str, Any]:
        return {
            "command": self.command,
            "code": self.code,
            "metric": self.searched and self.searched.text,
            "threads": self.threads,
        }

    @property
    def training(self) -> str:
        return f"each trial a process of its own, computing on {self.threads} threads"

    def batches(self, trials: Sequence[Trial]) -> list[list[Trial]]:
        """Return each trial alone, an arm's first that shows whether anything is replaced."""
        return [[trial] for trial in sorted(trials, key=lambda trial: trial.arm == "relu")]

    def run(self, trials: Sequence[Trial]) -> list[Outcome]:
        return [self._run(trial) for trial in trials]

    def remarks(self, outcomes: Mapping[str, Sequence[Outcome]]) -> tuple[str, ...]:
        said = []
        for arm, found in outcomes.items():
            if len(found) > 1 and len({outcome.test for outcome in found}) == 1:
                said.append(
                    f"all {len(found)} seeds of {arm} gave the same score: most likely the script "
                    "sets a seed of its own; give it ours, by {seed} in the command or from the "
                    "environment's SOFTPLUS_SEED"
                )
        remarks = [
            remark for found in outcomes.values() for each in found for remark in each.remarks
        ]
        said += [f"{remark}, in one trial" for remark in dict.fromkeys(remarks) if _OUT in remark]
        wrote = Counter(remark for remark in remarks if remark.startswith(_WROTE))
        again = [file.removeprefix(_WROTE) for file, count in wrote.items() if count > 1]
        if again:
            listed = ", ".join(again[:3]) + (f" and {len(again) - 3} more" if again[3:] else "")
            said.append(
                f"trials write the same files ({listed}): one that reads what another left there "
                "does not stand for itself; {trial} in the command is a name for each"
            )
        return tuple(said)

    def _run(self, trial: Trial) -> Outcome:
        activation = activations.parse(trial.arm)
        name = _file_name(trial)
        filled = {"{lr}": repr(trial.learning_rate), "{seed}": str(trial.seed), "{trial}": name}
        words = [_replaced(word, filled) for word in self.words]
        log = self.logs / f"{name}.log"
        self.logs.mkdir(parents=True, exist_ok=True)
        began, started = time.time(), time.monotonic()
        with tempfile.TemporaryDirectory(prefix="softplus-trial-") as folder:
            environment = launching.environment(
                activation, trial.seed, Path(folder), threads=self.threads
            )
            code = self._wait(words, environment, log)
            told = account.read(Path(folder))
        seconds = time.monotonic() - started
        text = output.decoded(log.read_bytes())
        failure = self._failure(code, text, log)
        score = math.nan
        if failure is None:
            if fault := told.fault(trial.arm):
                raise UsageError(f"{fault} (its output: {log})")
            score, failure = self._score(text, told, log)
        return Outcome(
            validation=score,
            test=score,
            failure=failure,
            remarks=(*told.remarks(), *self._written(since=began)),
            seconds=seconds,
        )

    def _failure(self, code: int | None, text: str, log: Path) -> str | None:
        """Return the traceback of a script that failed, and what it came to."""
        if code == 0:
            return None
        if code is None:
            how = f"had not ended after {self.timeout:g} s (--timeout)"
        else:
            how = f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
        return f"{output.tail(text)}\n{self.name} {how}; its output is in {log}"

    def _score(self, text: str, told: Told, log: Path) -> tuple[float, str | None]:
        """Return the score, or NaN and why there is none.

        Raises:
            UsageError: What was asked for is not there, and will not be in any trial.
        """
        pattern = self.searched.pattern if self.searched else None
        if pattern is not None:
            score = output.score(text, pattern)
            missing = f"--metric {pattern.pattern!r} matches nothing in the script's output"
        else:
            score = told.score(self.searched.text if self.searched else None)
            missing = "the script recorded no score" + (
                f" named {self.searched.text}" if self.searched else ""
            )
            missing += f" (recorded: {', '.join(filter(None, told.recorded)) or 'nothing'})"
        if score is None and not output.mentions_nan(text):
            raise UsageError(
                f"{missing}: give --metric 'name=([0-9.]+)' as the script prints it, or call "
                f"softplus.lab.record(value) in it; its output is in {log}, and ends with: "
                f"{output.tail(text, 1)!r}"
            )
        if score is None:
            return math.nan, f"{missing}, which has a NaN or an infinity: it diverged; see {log}"
        if not math.isfinite(score):
            return math.nan, f"the score is {score}: it diverged; see {log}"
        return score, None

    def _wait(self, words: Sequence[str], environment: dict[str, str], log: Path) -> int | None:
        """Run a command with its output in a file; return its code, None where time was up."""
        with log.open("wb") as file:
            process = subprocess.Popen(  # noqa: S603 -- the user's own command
                launching.supervised(words),
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the lab, which then ends the trial
            )
            try:
                return process.wait(self.timeout)
            except subprocess.TimeoutExpired:
                return None
            finally:
                process.terminate()
                process.wait()

    def _written(self, *, since: float) -> list[str]:
        """Return the files that changed in the folder where the script runs, three levels deep."""
        found: list[str] = []
        for root, folders, files in os.walk(self.folder):
            depth = len(Path(root).relative_to(self.folder).parts)
            folders[:] = [
                name
                for name in folders
                if depth < 2 and name[0] not in "._" and Path(root, name) != self.logs.parent
            ]
            for file in (Path(root, name) for name in files):
                with suppress(OSError):
                    if file.stat().st_mtime >= since:
                        found.append(f"{_WROTE}{file.relative_to(self.folder)}")
            if len(found) >= _MOST_FILES:
                break
        return found[:_MOST_REMARKS]


def script(
    command: Sequence[str],
    *,
    metric: str | None = None,
    out: str | Path = "softplus-report",
    lower_is_better: bool | None = None,
    test_ratio: float | None = None,
    threads: int | None = None,
    timeout: float | None = None,
) -> Script:
    """Return the problem that a training command is, for `softplus.lab.compare`.

    >>> problem = script(["python", "train.py", "--lr", "{lr}"], metric="val_acc=([0-9.]+)")
    >>> problem.metric.name, problem.learning_rates
    ('val_acc', (0.0003, 0.001, 0.003, 0.01, 0.03))

    Args:
        command: The words, in which {lr}, {seed} and {trial} are filled in.
        metric: A pattern with a group, of which the last match in the output is the score; or
            the name of a recorded value; None where the script records one value.
        out: The folder of the study, which gets the outputs.
        lower_is_better: None: what the metric's name suggests.
        test_ratio: Size of the test set over that of the training set, where it is known.
        threads: How many a trial computes with, where OMP_NUM_THREADS does not say; None: all.
        timeout: How many seconds a trial may take.

    Raises:
        UsageError: The command cannot run, the pattern is none, or the timeout.
    """
    words = launching.words(command)
    said = os.environ.get("OMP_NUM_THREADS", "")
    searched = _searched(metric)
    has_rate = any("{lr}" in word for word in command)
    if timeout is not None and not timeout > 0:
        raise UsageError(f"--timeout must be a positive number of seconds, got {timeout}")
    lower = bool(searched and searched.lower_is_better)
    notes = [_OWN_SCORE] if has_rate else [_OWN_RATE, _OWN_SCORE]
    if lower_is_better is None and lower:
        notes.append(f"lower is better, as the name {searched and searched.name} suggests")
    name = next((word for word in command if word.endswith(".py")), command[0])
    return Script(
        name=Path(name).name,
        title=" ".join(command),
        metric=Metric(
            name=searched.name if searched else "score",
            unit="",
            higher_is_better=not (lower if lower_is_better is None else lower_is_better),
            margin=None,
        ),
        learning_rates=_RATES if has_rate else (),
        test_ratio=test_ratio,
        notes=tuple(notes),
        command=tuple(command),
        words=tuple(words),
        folder=Path.cwd(),
        searched=searched,
        logs=Path(out).absolute() / "logs",
        threads=int(said) if said.isdigit() else threads or machine.cores(),
        timeout=timeout,
        code=_hash(command, Path(out).absolute()),
    )


def _searched(metric: str | None) -> output.Searched | None:
    if metric is None:
        return None
    try:
        re.compile(metric)
    except re.error as error:
        raise UsageError(f"--metric is no regular expression, got {metric!r}: {error}") from None
    return output.Searched(metric)


def _replaced(word: str, filled: Mapping[str, str]) -> str:
    for name, value in filled.items():
        word = word.replace(name, value)
    return word


def _file_name(trial: Trial) -> str:
    rate = "" if trial.learning_rate is None else f"-lr{trial.learning_rate:g}"
    return f"{trial.arm.replace(':', '-')}{rate}-seed{trial.seed}"


def _hash(command: Sequence[str], out: Path) -> str:
    """Return a hash of the files that a command names and of the code around its scripts."""
    digest = hashlib.sha256()
    for file in sorted({file.absolute() for file in _files(command, out)}):
        state = file.stat()
        content = (
            file.read_bytes()
            if state.st_size < _LARGE
            else f"{state.st_size} {state.st_mtime_ns}".encode()
        )
        digest.update(f"{file}\0".encode() + hashlib.sha256(content).digest())
    return digest.hexdigest()


def _files(command: Sequence[str], out: Path) -> Iterator[Path]:
    parts = [part for word in command for part in (word, word.rpartition("=")[2])]
    named = [Path(part) for part in parts if os.path.isfile(part)]  # noqa: PTH113 -- of any length
    yield from named
    folders = {file.absolute().parent for file in named if file.suffix == ".py"}
    if "-m" in command:
        folders.add(Path.cwd())
    for folder in folders:
        yield from itertools.islice(_code(folder, out), _MOST_FILES)


def _code(folder: Path, out: Path) -> Iterator[Path]:
    """Yield the Python files in a folder, but for environments, hidden folders and the report."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if name[0] not in "._"
            and Path(root, name) != out
            and not Path(root, name, "pyvenv.cfg").exists()
        )
        yield from (Path(root, name) for name in sorted(files) if name.endswith(".py"))
