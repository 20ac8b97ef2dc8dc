"""Whole studies run by `softplus.lab.runner`: the same on any jobs, and only what is missing."""

from softplus.lab import runner, training
from softplus.lab.store import Store

train = training.run


def run(settings, store, jobs=1):
    """Return the results of a study and the numbers of trials that it counted."""
    counts = []
    results = runner.run(settings, store, jobs, lambda _, count: counts.append(count))
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
        monkeypatch.setattr(
            training, "run", lambda problem, trial: ran.append(trial) or train(problem, trial)
        )
        again, _ = run(settings(), store)
        assert ran == []
        assert again.verdicts == first.verdicts

        more, _ = run(settings(seeds=3), store)
        assert sorted((trial.arm, trial.seed) for trial in ran) == [
            ("relu", 2),
            ("softplus", 2),
        ]
        assert [len(arm.outcomes) for arm in more.arms] == [3, 3]


def test_the_learning_rate_taken_has_the_best_mean_on_the_tuning_seeds(results):
    for arm in results.arms:
        assert set(arm.tuning) == {1e-3, 1e-2}
        assert arm.learning_rate == max(arm.tuning, key=arm.tuning.get)


def test_one_learning_rate_needs_no_tuning(tmp_path, settings):
    with Store(tmp_path / "study.sqlite") as store:
        results, counts = run(settings(learning_rates=(1e-2,)), store)
    assert [arm.learning_rate for arm in results.arms] == [1e-2, 1e-2]
    assert counts[-1] == 4
