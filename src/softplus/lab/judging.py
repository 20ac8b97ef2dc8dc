"""Judges scores that exist: which arm is better, on these rows and on others."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softplus.lab import verdicts, wording
from softplus.lab.errors import UsageError, unknown
from softplus.lab.verdicts import Verdict

_COLUMNS = ("arm", "seed", "score")
NONE = "none"


@dataclass(frozen=True)
class Judgement:
    """What scores came to: a verdict on every arm but the reference, and what to know about it.

    `print(judgement)` says it in words.
    """

    subject: wording.Subject
    reference: str
    test_ratio: float | None
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"note: {note}" for note in self.notes]
        for verdict in self.verdicts:
            lines += ["", f"{verdict.arm} against {verdict.reference}: {wording.headline(verdict)}"]
            said = [*wording.sentences(verdict, self.subject), wording.evidence(verdict)]
            lines += [f"  {sentence}" for sentence in said]
        return "\n".join(lines).strip()


def judge(
    scores: str | Path | Mapping[str, Any] | Any,
    *,
    reference: str | None = None,
    test_ratio: float | None = None,
    paired_by: str = "seed",
    margin: float | None = None,
    lower_is_better: bool = False,
) -> Judgement:
    """Return which arm is better, on these rows and on others of their kind.

    >>> scores = {"relu": [91.2, 90.8, 91.5], "softplus": [92.9, 92.7, 92.8]}
    >>> print(judge(scores, margin=0.5, test_ratio=0.25))
    softplus against relu: softplus is better, on these rows and on others
      On these rows softplus is better by 1.6 (0.9 to 2.4).
      On other rows softplus is better too, by 1.6 (0.6 to 2.6).
      p on these rows: t test 0.011; exact sign-flip test 0.25. Interval of 95%.

    Each run must have drawn its training and test rows anew: scores on one fixed split say nothing
    about other rows.

    Args:
        scores: A CSV file with the columns arm, seed, score; a data frame of pandas or polars with
            these columns; or the scores by arm, each a sequence or a mapping from seed to score.
            A score that is NaN, infinite or missing is a run that failed.
        reference: The arm that the others are compared with: relu if there is one, else the first.
        test_ratio: Size of the test set over size of the training set; None: not known, and only
            the question about these rows is answered.
        paired_by: The column whose values pair the runs of two arms, or several of them,
            comma-separated; "none": the runs are no pairs.
        margin: The largest difference that does not matter to you; None: "equivalent" is not asked.
        lower_is_better: Whether a smaller score is the better one, as of a loss.

    Raises:
        UsageError: The scores cannot be read or compared, or an argument is out of range.
    """
    for name, value in (("margin", margin), ("test_ratio", test_ratio)):
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{name} must be a positive number, got {value}")
    by_arm = _by_arm(scores, paired_by)
    chosen = _reference(by_arm, reference)
    found = verdicts.decide(
        by_arm,
        chosen,
        test_ratio=test_ratio,
        margin=margin,
        higher_is_better=not lower_is_better,
        paired=paired_by != NONE,
    )
    return Judgement(
        subject=wording.Subject(higher_is_better=not lower_is_better, margin=margin),
        reference=chosen,
        test_ratio=test_ratio,
        verdicts=tuple(found),
        notes=tuple(_notes(by_arm, found, paired_by, margin, test_ratio)),
    )


def _reference(by_arm: Mapping[str, Any], asked: str | None) -> str:
    if len(by_arm) < 2:
        raise UsageError(f"two or more arms are needed, got {', '.join(by_arm) or 'none'}")
    if asked is None:
        return "relu" if "relu" in by_arm else next(iter(by_arm))
    if asked not in by_arm:
        raise unknown("arm", asked, by_arm)
    return asked


def _notes(
    by_arm: Mapping[str, verdicts.Scores],
    found: Sequence[Verdict],
    paired_by: str,
    margin: float | None,
    test_ratio: float | None,
) -> list[str]:
    notes = []
    for verdict in found:
        if not verdict.paired and paired_by != NONE:
            shared = len(by_arm[verdict.arm].keys() & by_arm[verdict.reference].keys())
            notes.append(
                f"{verdict.arm} and {verdict.reference} share {shared or 'no'} {paired_by}: their "
                "runs are compared as unpaired, which finds larger differences only"
            )
        elif verdict.paired:
            ours, theirs = (by_arm[name].keys() for name in (verdict.arm, verdict.reference))
            alone = len(ours ^ theirs)
            if alone:
                notes.append(
                    f"{alone} runs of {verdict.arm} or {verdict.reference} have no counterpart "
                    f"of the same {paired_by} and are left out"
                )
    if margin is None:
        notes.append('no margin is given, so "equivalent" cannot come out')
    if test_ratio is None:
        notes.append(
            "no test ratio is given (rows of the test set over rows of the training set), so "
            "the question about other rows stays open"
        )
    return notes


# Reading


def _by_arm(scores: Any, paired_by: str) -> dict[str, dict[Any, float]]:
    """Return the scores by arm and by what pairs them."""
    if isinstance(scores, str | Path):
        return _grouped(_read(Path(scores)), paired_by, str(scores))
    if isinstance(scores, Mapping):
        return {
            str(arm): {
                key: _number(score, f"{arm}, {key}")
                for key, score in (runs.items() if isinstance(runs, Mapping) else enumerate(runs))
            }
            for arm, runs in scores.items()
        }
    if hasattr(scores, "iter_rows"):  # polars
        return _grouped(scores.iter_rows(named=True), paired_by, "the data frame")
    if hasattr(scores, "to_dict"):  # pandas
        return _grouped(scores.to_dict("records"), paired_by, "the data frame")
    raise UsageError(
        "scores must be a CSV file, a data frame, or the scores by arm, "
        f"got {type(scores).__name__}"
    )


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path} cannot be read as CSV ({reason})") from None


def _grouped(
    rows: Iterable[Mapping[str, Any]], paired_by: str, source: str
) -> dict[str, dict[Any, float]]:
    keys = [] if paired_by == NONE else [column.strip() for column in paired_by.split(",")]
    by_arm: dict[str, dict[Any, float]] = {}
    for line, row in enumerate(rows, start=2):
        where = f"{source}, line {line}"
        if keys == ["seed"] and "seed" not in row:
            keys = []
        if None in row:
            raise UsageError(f"{where}: more values than columns")
        for column in ("arm", *keys, "score"):
            if column not in row:
                raise UsageError(
                    f"{source} has no column {column!r} (it has: {', '.join(map(str, row))}); "
                    f"it needs {', '.join(_COLUMNS)}, and paired_by names the one that pairs runs"
                )
        runs = by_arm.setdefault(str(row["arm"]), {})
        key: Any = tuple(str(row[column]) for column in keys) if keys else line
        if key in runs:
            raise UsageError(
                f"{where}: a second run of {row['arm']} with {paired_by} {', '.join(key)}; name "
                "the columns that tell runs apart, as paired_by='seed,fold'"
            )
        runs[key] = _number(row["score"], where)
    return by_arm


def _number(score: Any, where: str) -> float:
    """Return the score; a run without one has failed, which is NaN."""
    if score is None or score == "":
        return math.nan
    try:
        return float(score)
    except (TypeError, ValueError):
        raise UsageError(f"{where}: the score must be a number, got {score!r}") from None
