"""What is said of a study besides its table: what it is about, what to know, the tests."""

import math

from softplus.lab import wording
from softplus.lab.results import Results
from softplus.lab.verdicts import Answer, Verdict

# A median has no 95% interval with fewer seeds.
_SEEDS_OF_A_MEDIAN = 6


def subject(results: Results) -> wording.Subject:
    """Return what the verdicts of a study are about, in words."""
    problem = results.problem
    return wording.Subject(
        higher_is_better=problem.metric.higher_is_better,
        margin=results.settings.margin,
        unit=problem.metric.difference_unit,
        rows=problem.rows,
        things=problem.things,
    )


def own_rate(results: Results) -> str:
    """Return at which learning rate the arms ran where there was none to choose."""
    rates = {arm.learning_rate for arm in results.arms if arm.learning_rate is not None}
    if not rates:
        return (
            "Each arm ran at the problem's own learning rate, most likely chosen for ReLU, which "
            "that may favour."
        )
    listed = ", ".join(f"{rate:g}" for rate in sorted(rates))
    return f"Every arm ran at the one learning rate given: {listed}."


def notes(results: Results) -> list[str]:
    """Return what a reader should know before trusting the table."""
    settings = results.settings
    found = [
        f"{arm.name}: the chosen learning rate {arm.learning_rate:g} is at the edge of the "
        "grid; a wider --lr might serve it better"
        for arm in results.arms
        if arm.at_edge
    ]
    for arm in results.arms:
        failures = [outcome.failure for outcome in arm.outcomes if outcome.failure]
        if failures:
            last = failures[0].strip().splitlines()[-1]
            found.append(f"{arm.name}: {len(failures)} of {settings.seeds} runs failed ({last})")
        diverged = sum(outcome.diverged_at is not None for outcome in arm.outcomes)
        if diverged:
            found.append(
                f"{arm.name}: training diverged on {diverged} of {settings.seeds} seeds; the best "
                "state before it was judged"
            )
    if settings.seeds < _SEEDS_OF_A_MEDIAN:
        found.append(
            f"with {settings.seeds} seeds a median has no 95% interval, and the sign-flip test "
            f"cannot go below {2 / 2**settings.seeds:.2g}"
        )
    found += results.problem.remarks({arm.name: arm.outcomes for arm in results.arms})
    return found


# The tests

TEST_HEADINGS = [
    "question",
    "answer",
    "difference",
    "level",
    "p",
    "p, Holm",
    "p of equivalence, Holm",
    "p, sign flip",
    "finds from",
]


def tests(results: Results) -> list[tuple[str, list[str]]]:
    """Return, for each arm and question, the texts that stand under TEST_HEADINGS."""
    return [
        (verdict.arm, [question, *_test(answer), *_extras(verdict, answer)])
        for verdict in results.verdicts
        for question, answer in (
            ("these rows", verdict.these_rows),
            ("other rows", verdict.other_rows),
        )
        if answer is not None
    ]


def _test(answer: Answer) -> list[str]:
    same = answer.p_equivalence_holm
    return [
        answer.winner,
        wording.difference(answer.interval),
        f"{100 * answer.level:.3g}%",
        wording.p_value(answer.p),
        wording.p_value(answer.p_holm),
        "not asked" if same is None else wording.p_value(same),
    ]


def _extras(verdict: Verdict, answer: Answer) -> list[str]:
    # A permutation of the seeds knows nothing of other rows.
    flip = wording.p_value(verdict.p_sign_flip) if answer is verdict.these_rows else ""
    found = answer.smallest_difference
    return [flip, "" if math.isnan(found) else wording.amount(found)]
