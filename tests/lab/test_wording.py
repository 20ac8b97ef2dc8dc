"""The sentences of `softplus.lab.wording`."""

from dataclasses import replace

import numpy as np
import pytest

from softplus.lab import verdicts, wording
from softplus.lab.statistics import Interval

NOISE = np.array([0.3, -0.2, 0.1, 0.4, -0.3, 0.2, 0.15, -0.25])
DIGITS = wording.Subject(
    higher_is_better=True, margin=1.0, unit="points", rows=1797, things="handwritten digits"
)


def verdict(gain, *, spread=1.0, margin=1.0, test_ratio=1 / 3, higher_is_better=True):
    """Return the verdict on softplus, better than relu by about this much."""
    base = np.linspace(90, 91, len(NOISE))
    arm = base + gain + spread * (NOISE - NOISE.mean())
    return verdicts.decide(
        {"relu": dict(enumerate(base)), "softplus": dict(enumerate(arm))},
        "relu",
        test_ratio=test_ratio,
        margin=margin,
        higher_is_better=higher_is_better,
    )[0]


def test_a_winner_is_better_by_a_positive_number_on_these_rows_and_on_others():
    here, elsewhere = wording.sentences(verdict(-3), DIGITS)
    assert here == "On these 1,797 rows relu is better by 3.00 points (2.78 to 3.22)."
    assert elsewhere == (
        "On other handwritten digits relu is better too, by 3.0 points (2.6 to 3.4)."
    )
    loss = replace(DIGITS, higher_is_better=False)
    here, _ = wording.sentences(verdict(-3, higher_is_better=False), loss)
    assert here == "On these 1,797 rows softplus is better by 3.00 points (2.78 to 3.22)."


def test_two_questions_may_have_two_answers():
    found = verdict(1, spread=4)
    here, elsewhere = wording.sentences(found, DIGITS)
    assert here.startswith("On these 1,797 rows softplus is better by 1.0 points (0.1 to 1.9).")
    assert elsewhere.startswith("Whether that holds for other handwritten digits cannot be told: ")
    assert "8 seeds find one of" in elsewhere
    assert "more rows would." in elsewhere
    headline = "softplus is better on these rows; on others: cannot tell"
    assert wording.headline(found) == headline


def test_equivalents_differ_by_less_than_the_margin():
    here, elsewhere = wording.sentences(verdict(0.1), DIGITS)
    assert here == (
        "On these 1,797 rows softplus and relu are equivalent: they differ by +0.10 points "
        "(-0.12 to +0.32), within the margin of 1 point."
    )
    assert elsewhere.startswith("On other handwritten digits they are equivalent too: +0.1 points")


def test_what_cannot_be_told_says_what_could_have_been_found_and_the_seeds():
    here, elsewhere = wording.sentences(verdict(0.3, spread=4), DIGITS)
    assert here.startswith(
        "On these 1,797 rows it cannot be told which is better: softplus minus relu is +0.3 points"
    )
    assert "and 8 seeds find a difference of" in here
    assert "seeds a difference of 1 point could be told from none." in here
    assert elsewhere.startswith("Nor can it be told for other handwritten digits: ")


def test_an_unknown_size_of_the_test_set_leaves_the_second_question_open():
    _, elsewhere = wording.sentences(verdict(3, test_ratio=None), DIGITS)
    assert elsewhere == (
        "Whether that holds for other handwritten digits cannot be told: the size of the test set "
        "over that of the training set is not known."
    )
    assert wording.headline(verdict(3, test_ratio=None)).endswith("on others: unknown")


def test_too_is_said_only_of_the_same_answer():
    found = verdict(3)
    equivalent = replace(found, these_rows=replace(found.these_rows, winner="equivalent"))
    _, elsewhere = wording.sentences(equivalent, DIGITS)
    assert elsewhere.startswith("On other handwritten digits softplus is better, by 3.0 points")


def test_a_doubt_takes_the_place_of_figures():
    doubt = replace(verdict(3), doubt="one run has no spread, so at least two are needed")
    here, _ = wording.sentences(replace(doubt, failed=(3, 1)), DIGITS)[:2]
    assert here == (
        "On these 1,797 rows it cannot be told which is better: one run has no spread, so at "
        "least two are needed."
    )


def test_the_evidence_has_both_tests_and_the_level_of_the_interval():
    assert wording.evidence(verdict(-3)) == (
        "p on these rows: t test <0.0001; exact sign-flip test 0.0078. Interval of 95%."
    )
    base = np.linspace(90, 91, len(NOISE))
    arms = {"relu": base, "a": base + 0.2 + NOISE, "b": base - 0.2 - NOISE}
    several = verdicts.decide(
        {name: dict(enumerate(scores)) for name, scores in arms.items()},
        "relu",
        test_ratio=None,
        margin=None,
        higher_is_better=True,
    )
    assert wording.evidence(several[0]) == (
        "p on these rows: t test 0.033, 0.065 by Holm; exact sign-flip test 0.062. "
        "Interval of 97.5%."
    )


def test_failed_runs_are_named():
    failed = wording.sentences(replace(verdict(3), failed=(3, 1)), DIGITS)[2:]
    assert failed == [
        "3 runs of softplus failed, which the figures leave out.",
        "1 run of relu failed, which the figures leave out.",
    ]


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(1.234, 0.3, 2.1), "+1.2 (+0.3 to +2.1)"),
        (Interval(0.0123, 0.0111, 0.0135), "+0.0123 (+0.0111 to +0.0135)"),
        (Interval(123.0, 80.0, 160.0), "+123 (+80 to +160)"),
        # A bound that is not 0 is never printed as 0.
        (Interval(1.0, 0.004, 2.0), "+1.000 (+0.004 to +2.000)"),
        (Interval(0.0, 0.0, 0.0), "+0.0 (+0.0 to +0.0)"),
        (Interval(2.5, float("nan"), float("nan")), "+2.5"),
    ],
)
def test_figures_have_the_decimals_that_the_interval_makes_known(interval, text):
    assert wording.difference(interval) == text
