"""The rule of `softplus.lab.verdicts`: who wins, on these rows and on others."""

import math

import numpy as np
import pytest
from scipy import stats

from softplus.lab import verdicts

NOISE = [0.3, -0.2, 0.1, 0.4, -0.3, 0.2]


def decide(differences, *, margin=0.1, test_ratio=1 / 3, higher_is_better=True):
    """Return the verdict on one arm that differs from its reference by these amounts."""
    base = np.linspace(90, 91, len(differences))
    return decide_all(
        {"reference": base, "arm": base + differences},
        margin=margin,
        test_ratio=test_ratio,
        higher_is_better=higher_is_better,
    )[0]


def decide_all(scores, *, margin=0.1, test_ratio=None, higher_is_better=True, paired=True):
    """Return the verdicts against "reference" on these scores, in the order of the seeds."""
    return verdicts.decide(
        {name: dict(enumerate(values)) for name, values in scores.items()},
        "reference",
        test_ratio=test_ratio,
        margin=margin,
        higher_is_better=higher_is_better,
        paired=paired,
    )


def bounds(answer):
    """Return the ends of the interval."""
    return answer.interval.low, answer.interval.high


def test_on_these_rows_the_interval_is_the_paired_t_and_on_others_nadeau_and_bengios():
    differences = np.array(NOISE) + 1
    verdict = decide(differences, test_ratio=0.5)
    plain = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert bounds(verdict.these_rows) == pytest.approx((plain.low, plain.high))
    widening = math.sqrt((1 / 6 + 0.5) / (1 / 6))
    half = (plain.high - plain.low) / 2 * widening
    assert bounds(verdict.other_rows) == pytest.approx(
        (differences.mean() - half, differences.mean() + half)
    )
    assert verdict.these_rows.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)


def test_without_a_test_ratio_only_the_first_question_is_answered():
    verdict = decide(NOISE, test_ratio=None)
    assert verdict.other_rows is None
    assert verdict.these_rows.winner == "cannot tell"


def test_what_holds_on_these_rows_need_not_hold_on_others():
    verdict = decide(np.array(NOISE) + 0.35)
    assert verdict.these_rows.winner == "arm"
    assert verdict.other_rows.winner == "cannot tell"


def test_the_better_arm_wins_whatever_better_means():
    gains = np.array([2.0, 2.1, 1.9, 2.2, 1.8, 2.0])
    for answer in ("these_rows", "other_rows"):
        winners = [
            getattr(decide(signs * gains, margin=0.5, higher_is_better=higher), answer).winner
            for signs, higher in ((1, True), (1, False), (-1, False), (-1, True))
        ]
        assert winners == ["arm", "reference", "arm", "reference"]


def test_a_difference_inside_the_margin_is_equivalence_even_where_it_is_certain():
    answer = decide([0.10, 0.11, 0.09, 0.10, 0.12, 0.10], margin=1.0).these_rows
    assert answer.p_holm < 0.05
    assert answer.winner == "equivalent"


@pytest.mark.parametrize("question", ["these_rows", "other_rows"])
def test_equivalence_is_read_off_the_interval(question):
    low, high = bounds(getattr(decide(NOISE), question))
    reach = max(-low, high)
    for factor, winner in ((1.001, "equivalent"), (0.999, "cannot tell")):
        assert getattr(decide(NOISE, margin=factor * reach), question).winner == winner


def test_without_a_margin_nothing_is_equivalent():
    answer = decide([1e-6 * x for x in NOISE], margin=None).these_rows
    assert (answer.winner, answer.p_equivalence_holm) == ("cannot tell", None)


def test_holm_raises_the_bar_with_the_number_of_arms():
    gains = np.array([0.6, 0.9, 0.5, 1.0, 0.6, 0.7])
    alone = decide(gains, margin=0.01).these_rows
    noise = np.array([3.0, -3.0, 2.0, -2.0, 1.0, -1.0])
    base = np.linspace(90, 91, 6)
    crowd = decide_all(
        {
            "reference": base,
            "arm": base + gains,
            **{f"noise {i}": base + noise for i in range(9)},
        },
        margin=0.01,
    )[0].these_rows
    assert crowd.p == pytest.approx(alone.p)
    assert crowd.p_holm == pytest.approx(10 * alone.p)
    assert crowd.level == pytest.approx(1 - 0.05 / 10)


@pytest.mark.parametrize("seed", range(40))
def test_every_printed_interval_shows_what_was_decided(seed):
    """Holm in the p-values and not in the intervals was a fault: they disagreed."""
    generator = np.random.default_rng(seed)
    base = generator.normal(90, 1, 8)
    arms = {
        f"arm {i}": base + generator.normal(generator.choice([0, 0.05, 0.5, 1]), 0.4, 8)
        for i in range(5)
    }
    margin = 0.6
    for verdict in decide_all({"reference": base, **arms}, margin=margin, test_ratio=1 / 3):
        for answer in (verdict.these_rows, verdict.other_rows):
            low, high = bounds(answer)
            inside = -margin < low < high < margin
            if answer.winner == "equivalent":
                assert inside
            elif answer.winner == "cannot tell":
                assert low <= 0 <= high
                assert not inside
            else:
                assert low > 0 if answer.winner == verdict.arm else high < 0


def test_the_seeds_of_that_test_reach_every_kind_of_answer():
    kinds = set()
    for seed in range(40):
        generator = np.random.default_rng(seed)
        base = generator.normal(90, 1, 8)
        arms = {
            f"arm {i}": base + generator.normal(generator.choice([0, 0.05, 0.5, 1]), 0.4, 8)
            for i in range(5)
        }
        for verdict in decide_all({"reference": base, **arms}, margin=0.6):
            winner = verdict.these_rows.winner
            kinds.add("arm" if winner.startswith("arm") else winner)
            # The case of the fault: significant alone, not among five.
            kinds.add(verdict.these_rows.p < 0.05 < verdict.these_rows.p_holm)
    assert kinds >= {"arm", "equivalent", "cannot tell", True}


def test_runs_that_share_no_seed_are_compared_by_welch():
    arm, reference = [3.0, 4.0, 6.0, 5.0], [1.0, 1.5, 0.5]
    (verdict,) = verdicts.decide(
        {"reference": dict(enumerate(reference)), "arm": dict(enumerate(arm, start=10))},
        "reference",
        test_ratio=0.25,
        margin=None,
        higher_is_better=True,
    )
    welch = stats.ttest_ind(arm, reference, equal_var=False)
    interval = welch.confidence_interval()
    assert not verdict.paired
    assert verdict.runs == (4, 3)
    assert verdict.these_rows.p == pytest.approx(welch.pvalue)
    assert bounds(verdict.these_rows) == pytest.approx((interval.low, interval.high))
    widths = [high - low for low, high in map(bounds, (verdict.these_rows, verdict.other_rows))]
    assert widths[1] > widths[0]


def test_a_few_seeds_that_two_lists_share_by_chance_are_no_pairs():
    arms = [{seed: 1.0 + seed % 3 for seed in range(first, first + 10)} for first in (0, 9)]
    options = {"test_ratio": None, "margin": None, "higher_is_better": True}
    scores = dict(zip(("reference", "arm"), arms, strict=True))
    (verdict,) = verdicts.decide(scores, "reference", **options)
    assert (verdict.paired, verdict.runs) == (False, (10, 10))


def test_pairs_may_be_refused():
    scores = {"reference": [1.0, 2.0, 3.0], "arm": [1.1, 2.1, 3.2]}
    (verdict,) = decide_all(scores, paired=False)
    assert not verdict.paired
    assert decide_all(scores)[0].paired


def test_a_failed_run_leaves_its_pair_out_and_is_counted():
    scores = {
        "reference": [1.0, 2.0, 3.0, math.inf, 5.0],
        "arm": [2.0, math.nan, 4.1, 5.0, 6.2],
    }
    (verdict,) = decide_all(scores)
    assert (verdict.runs, verdict.failed, verdict.paired) == ((3, 3), (1, 1), True)
    assert verdict.these_rows.interval.center == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("reference", "arm", "doubt"),
    [
        ([1.0], [5.0], "one run has no spread"),
        ([1.0, 2.0], [math.nan, 3.0], "one run has no spread"),
        ([1.0, 2.0], [math.nan, math.nan], "no run of both finished"),
        ([1.0, 2.0], [], "no run of one of them finished"),
        ([1.0] * 10, [2.0] * 10, "the seed does not reach them"),
        ([1.0] * 10, [1.0] * 10, "the metric is at its limit"),
    ],
)
def test_where_nothing_can_be_told_the_reason_is_given(reference, arm, doubt):
    (verdict,) = decide_all({"reference": reference, "arm": arm}, test_ratio=1 / 3)
    assert doubt in verdict.doubt
    for answer in (verdict.these_rows, verdict.other_rows):
        assert answer.winner == "cannot tell"
        assert math.isnan(answer.interval.low)
        assert (answer.p, answer.p_holm, answer.seeds_needed) == (1.0, 1.0, None)
        assert math.isnan(answer.smallest_difference)


def test_one_arm_that_failed_does_not_silence_the_others():
    base = np.linspace(90, 91, 6)
    failed, better = decide_all(
        {"reference": base, "failed": [math.nan] * 6, "better": base + 2 + np.array(NOISE)}
    )
    assert failed.doubt
    assert better.these_rows.winner == "better"


def test_a_metric_that_takes_steps_is_no_certainty():
    """On thirty test rows an accuracy moves in steps of 3.3: three equal differences say little."""
    step = 100 / 30
    reference = np.array([90.0, 90 + step, 90.0])
    (few,) = decide_all({"reference": reference, "arm": reference + step})
    assert few.these_rows.winner == "cannot tell"
    longer = np.tile(reference, 4)
    (many,) = decide_all({"reference": longer, "arm": longer + step})
    assert many.these_rows.winner == "arm"
    (same,) = decide_all({"reference": longer, "arm": longer}, margin=step)
    assert same.these_rows.winner == "equivalent"
    assert same.these_rows.interval.low < 0 < same.these_rows.interval.high


def test_what_can_be_found_stands_beside_what_cannot_be_told():
    verdict = decide(NOISE, margin=0.2, test_ratio=0.5)
    here, elsewhere = verdict.these_rows, verdict.other_rows
    assert (here.limit, elsewhere.seeds_needed) == (0.0, None)
    assert here.seeds_needed > 6
    # More seeds never bring the second below what the rows allow.
    assert here.smallest_difference < elsewhere.smallest_difference
    assert 0 < elsewhere.limit < elsewhere.smallest_difference
    assert decide(NOISE, margin=None).these_rows.seeds_needed is None
    assert decide(NOISE, margin=1e-4).these_rows.seeds_needed is None  # more than a thousand
