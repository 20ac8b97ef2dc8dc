"""The verdicts in plain words, and the figures in them."""

import math
from dataclasses import dataclass

from softplus.lab.statistics import Interval
from softplus.lab.verdicts import Answer, Verdict


@dataclass(frozen=True)
class Subject:
    """What the verdicts are about, in words.

    `unit` is that of a difference in the metric, `rows` how many rows the data have, None if that
    is not known, and `things` what they are, in the plural: "handwritten digits".
    """

    higher_is_better: bool
    margin: float | None
    unit: str = ""
    rows: int | None = None
    things: str = "rows"


def headline(verdict: Verdict) -> str:
    """Return the verdict on an arm in a few words.

    The other rows are named only where the answer about them is another one.
    """
    here = outcome(verdict.these_rows)
    elsewhere = "unknown" if verdict.other_rows is None else outcome(verdict.other_rows)
    if here == elsewhere:
        return f"{here}, on these rows and on others"
    return f"{here} on these rows; on others: {elsewhere}"


def sentences(verdict: Verdict, subject: Subject) -> list[str]:
    """Return the answers to both questions, one sentence or more each, and what failed."""
    found = [_here(verdict, subject), _elsewhere(verdict, subject)]
    for name, failed in zip((verdict.arm, verdict.reference), verdict.failed, strict=True):
        if failed:
            runs = "1 run" if failed == 1 else f"{failed} runs"
            found.append(f"{runs} of {name} failed, which the figures leave out.")
    return found


def evidence(verdict: Verdict) -> str:
    """Return the p-values on these rows, and the level of the interval that decides."""
    answer = verdict.these_rows
    holm = "" if answer.p == answer.p_holm else f", {p_value(answer.p_holm)} by Holm"
    return (
        f"p on these rows: t test {p_value(answer.p)}{holm}; exact sign-flip test "
        f"{p_value(verdict.p_sign_flip)}. Interval of {100 * answer.level:.3g}%."
    )


def p_value(p: float) -> str:
    """Return a p-value to read: below 0.0001 its digits say nothing."""
    return "<0.0001" if p < 1e-4 else f"{p:.2g}"


def difference(interval: Interval, unit: str = "") -> str:
    """Return a difference with its sign and its interval.

    >>> difference(Interval(-0.29, -1.41, 0.83), "points")
    '-0.3 points (-1.4 to +0.8)'
    """
    center, low, high = _rounded(interval, sign="+")
    return " ".join(filter(None, [center, unit, _brackets(low, high)]))


def estimate(interval: Interval) -> str:
    """Return an estimate with its interval, without signs.

    >>> estimate(Interval(1.08, 1.049, 1.111))
    '1.08 (1.05 to 1.11)'
    """
    center, low, high = _rounded(interval, sign="-")
    return " ".join(filter(None, [center, _brackets(low, high)]))


def amount(value: float, unit: str = "") -> str:
    """Return a size with its unit.

    >>> amount(1.234, "points")
    '1.2 points'
    """
    number = f"{value:{'.2g' if value < 100 else ',.0f'}}"
    return f"{number} {'point' if (number, unit) == ('1', 'points') else unit}".strip()


def outcome(answer: Answer) -> str:
    """Return who is better, in three words."""
    if answer.winner in {"equivalent", "cannot tell"}:
        return answer.winner
    return f"{answer.winner} is better"


def _here(verdict: Verdict, subject: Subject) -> str:
    answer = verdict.these_rows
    where = "these rows" if subject.rows is None else f"these {subject.rows:,} rows"
    if verdict.doubt:
        return f"On {where} it cannot be told which is better: {verdict.doubt}."
    if answer.winner == "equivalent":
        return (
            f"On {where} {verdict.arm} and {verdict.reference} are equivalent: they differ by "
            f"{difference(answer.interval, subject.unit)}, within the margin of "
            f"{amount(subject.margin or 0, subject.unit)}."
        )
    if answer.winner != "cannot tell":
        return f"On {where} {answer.winner} is better by {_gain(verdict, answer, subject)}."
    needed = ""
    if answer.seeds_needed:
        needed = (
            f" With about {answer.seeds_needed} seeds a difference of "
            f"{amount(subject.margin or 0, subject.unit)} could be told from none."
        )
    return (
        f"On {where} it cannot be told which is better: {verdict.arm} minus {verdict.reference} "
        f"is {difference(answer.interval, subject.unit)}, and {_runs(verdict)} find a difference "
        f"of {amount(answer.smallest_difference, subject.unit)} or more.{needed}"
    )


def _elsewhere(verdict: Verdict, subject: Subject) -> str:
    answer = verdict.other_rows
    undecided = verdict.these_rows.winner == "cannot tell"
    opening = "Nor can it be told for" if undecided else "Whether that holds for"
    unknown = f"{opening} other {subject.things}" + ("" if undecided else " cannot be told")
    if answer is None:
        return f"{unknown}: the size of the test set over that of the training set is not known."
    if verdict.doubt:
        return f"{unknown}."
    too = " too" if answer.winner == verdict.these_rows.winner else ""
    if answer.winner == "equivalent":
        interval = difference(answer.interval, subject.unit)
        return f"On other {subject.things} they are equivalent{too}: {interval}."
    if answer.winner != "cannot tell":
        gain = _gain(verdict, answer, subject)
        return f"On other {subject.things} {answer.winner} is better{too}, by {gain}."
    return (
        f"{unknown}: there the difference is {difference(answer.interval, subject.unit)}, and "
        f"{_runs(verdict)} find one of {amount(answer.smallest_difference, subject.unit)} or "
        f"more; no number of seeds on the same rows finds one below "
        f"{amount(answer.limit, subject.unit)}, more rows would."
    )


def _gain(verdict: Verdict, answer: Answer, subject: Subject) -> str:
    """Return by how much the winner is better, as a positive number with its interval."""
    interval = answer.interval
    if (answer.winner == verdict.arm) != subject.higher_is_better:
        interval = Interval(-interval.center, -interval.high, -interval.low)
    center, low, high = _rounded(interval, sign="-")
    return " ".join(filter(None, [center, subject.unit, _brackets(low, high)]))


def _runs(verdict: Verdict) -> str:
    if verdict.paired:
        return f"{verdict.runs[0]} seeds"
    return f"{verdict.runs[0]} and {verdict.runs[1]} unpaired runs"


def _brackets(low: str, high: str) -> str:
    return "" if low == "" else f"({low} to {high})"


def _rounded(interval: Interval, sign: str) -> tuple[str, str, str]:
    """Return estimate and bounds to the decimals that the interval's width makes known.

    A bound that is not 0 is not printed as 0: the interval must show what it decides.
    """
    if math.isnan(interval.low):
        return f"{interval.center:{sign}.3g}", "", ""
    half = (interval.high - interval.low) / 2 or abs(interval.center) or 1.0
    decimals = max(0, -math.floor(math.log10(half / 3)))
    bounds = (interval.low, interval.high)
    while decimals < 9 and any(bound and not round(bound, decimals) for bound in bounds):
        decimals += 1
    center, low, high = (
        # Adding 0.0 makes a rounded -0.0 positive.
        f"{round(value, decimals) + 0.0:{sign}.{decimals}f}"
        for value in (interval.center, *bounds)
    )
    return center, low, high
