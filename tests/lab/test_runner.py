"""Whole studies run by `softplus.lab.runner`: the same anywhere, and only what is missing."""

import threading
from dataclasses import dataclass, replace

import pytest

from softplus.lab import engines, problems, runner
from softplus.lab.engines import Died, Engine
from softplus.lab.errors import UsageError
from softplus.lab.problems.networks import Network
from softplus.lab.store import Store

train = Network.run


def run(settings, store, jobs=1):
    """Return the results of a study and the numbers of trials that it counted."""
    counts = []
    engine = engines.choose(jobs=jobs)
    results = runner.run(settings, store, engine, lambda _, count: counts.append(count))
    return results, counts


def test_a_study_gives_the_same_results_on_one_process_and_on_two(tmp_path, settings):
    with Store(tmp_path / "one.sqlite") as one, Store(tmp_path / "two.sqlite") as two:
        alone, _ = run(settings(), one, jobs=1)
        together, _ = run(settings(), two, jobs=2)
    assert [arm.outcomes for arm in alone.arms] == [arm.outcomes for arm in together.arms]
    assert alone.verdicts == together.verdicts


def test_the_same_study_again_runs_only_what_is_missing(tmp_path, monkeypatch, settings):
    with Store(tmp_path / "study.sqlite") as store:
        first, counts = run(settings(), store)
        assert counts[0] == 0
        assert counts[-1] == settings().trials == 2 * (2 * 3 + 2)

        ran = []
        monkeypatch.setattr(Network, "run", lambda problem, t: ran.extend(t) or train(problem, t))
        again, _ = run(settings(), store)
        assert ran == []
        assert again.verdicts == first.verdicts

        more, _ = run(settings(seeds=3), store)
        assert sorted((trial.arm, trial.seed) for trial in ran) == [("relu", 2), ("softplus", 2)]
        assert [len(arm.outcomes) for arm in more.arms] == [3, 3]
        for arm, before in zip(more.arms, first.arms, strict=True):
            assert arm.outcomes[:2] == before.outcomes


def test_two_studies_on_one_file_run_no_trial_twice(tmp_path, monkeypatch, settings):
    ran = []
    monkeypatch.setattr(Network, "run", lambda problem, t: ran.extend(t) or train(problem, t))
    found = []

    def study():
        with Store(tmp_path / "study.sqlite") as store:
            found.append(run(settings(), store)[0])

    both = [threading.Thread(target=study) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len(ran) == len(set(ran)) == settings().trials
    assert found[0].verdicts == found[1].verdicts


def test_the_learning_rate_taken_has_the_best_mean_on_the_tuning_seeds(results):
    for arm in results.arms:
        assert set(arm.tuning) == {1e-3, 1e-2}
        assert arm.learning_rate == max(arm.tuning, key=arm.tuning.get)


def test_one_learning_rate_needs_no_tuning(tmp_path, settings):
    with Store(tmp_path / "study.sqlite") as store:
        results, counts = run(settings(learning_rates=(1e-2,)), store)
    assert [arm.learning_rate for arm in results.arms] == [1e-2, 1e-2]
    assert counts[-1] == 4


def test_the_time_to_the_goal_is_its_steps_times_that_of_a_step(tmp_path, settings):
    with Store(tmp_path / "study.sqlite") as store:
        results, _ = run(settings(width=64, epochs=10, seeds=1, learning_rates=(1e-2,)), store)
    for arm in results.arms:
        for outcome in arm.outcomes:
            if outcome.steps_to_goal and not arm.cost.busy:
                step = arm.cost.milliseconds.center / 1e3
                assert outcome.seconds_to_goal == pytest.approx(outcome.steps_to_goal * step)
    assert all(outcome.steps_to_goal for arm in results.arms for outcome in arm.outcomes)


# Trials that fail


@dataclass(frozen=True, kw_only=True)
class Fragile(Network):
    """A problem of which some trials raise."""

    def model(self, activation):
        if activation.name in self.notes:
            raise RuntimeError(f"no {activation.name} for me")
        return super().model(activation)

    def may_stack(self, _):
        return False


def fragile(settings, *arms):
    small = settings(seeds=3)
    return replace(small, problem=Fragile(**{**vars(small.problem), "notes": arms}))


def test_a_trial_that_raises_is_recorded_and_tried_again_by_the_next_command(tmp_path, settings):
    with Store(tmp_path / "study.sqlite") as store:
        results, _ = run(fragile(settings, "softplus"), store)
        relu, softplus = results.arms
        assert all(outcome.failure is None for outcome in relu.outcomes)
        lines = [outcome.failure.splitlines() for outcome in softplus.outcomes]
        assert {line[-1] for line in lines} == {"RuntimeError: no softplus for me"}
        assert {line[0] for line in lines} == {"Traceback (most recent call last):"}
        mended, _ = run(fragile(settings), store)
        assert all(outcome.failure is None for arm in mended.arms for outcome in arm.outcomes)
        assert mended.arms[0].outcomes == relu.outcomes


def test_a_study_in_which_everything_fails_ends_with_the_reason(tmp_path, settings):
    with (
        Store(tmp_path / "study.sqlite") as store,
        pytest.raises(UsageError, match=r"(?s)first 3 trainings failed.*RuntimeError: no relu for"),
    ):
        run(fragile(settings, "relu", "softplus"), store)


def test_a_loss_that_is_never_finite_ends_the_study(tmp_path, settings):
    class Infinite(Network):
        def losses(self, model, inputs, targets):
            return super().losses(model, inputs, targets) * float("inf")

    small = settings()
    infinite = replace(small, problem=Infinite(**vars(small.problem)))
    with (
        Store(tmp_path / "study.sqlite") as store,
        pytest.raises(UsageError, match="not finite at the first step of all of the first"),
    ):
        run(infinite, store)


class Deadly(Engine):
    """An engine whose process ends on every batch that holds a trial of seed 1."""

    slots = 1

    def map(self, function, items):
        for batch in items:
            deadly = any(trial.seed == 1 for trial in batch)
            yield batch, Died("killed") if deadly else function(batch)

    def close(self):
        pass


def test_the_trial_that_ends_its_process_is_found_among_its_batch(tmp_path, settings):
    with Store(tmp_path / "study.sqlite") as store:
        chosen = settings(seeds=3, learning_rates=(1e-2,))
        results = runner.run(chosen, store, Deadly(), lambda *_: None)
    for arm in results.arms:
        assert [outcome.failure for outcome in arm.outcomes] == [None, "killed", None]


def test_batches_are_split_until_every_process_has_one():
    assert runner._split([[1, 2, 3, 4], [5]], 3) == [[1, 2], [3, 4], [5]]
    assert runner._split([[1], [2]], 9) == [[1], [2]]
    assert runner._split([], 2) == []


def test_a_rate_whose_trials_failed_is_not_chosen():
    metric = problems.load("digits").metric
    nan = float("nan")
    assert runner._best({1e-3: nan, 1e-2: 50.0, 1e-1: nan}, metric) == 1e-2
    assert runner._best({1e-3: nan, 1e-2: nan}, metric) == 1e-3
    assert runner._best({}, metric) is None
