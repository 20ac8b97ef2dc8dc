"""A trial of `softplus.lab.trials`: what it shares with others, and that it is reproducible."""

import math

import torch

from softplus.lab import activations, tasks, trials

RELU, SOFTPLUS = activations.parse_list("relu,softplus")


def test_activations_share_the_weights_they_start_from():
    task = tasks.load("digits")
    with torch.random.fork_rng():
        weights = []
        for activation in (RELU, SOFTPLUS):
            torch.manual_seed(5)
            weights.append(trials.network(task, activation, 2, 16)[0].weight)
    assert torch.equal(*weights)


def test_a_trial_is_reproducible_and_leaves_the_global_generator_alone(settings):
    trial = settings().trial("softplus", 1e-2, seed=0, measured=True)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = trials.run(trial)
    assert torch.equal(torch.get_rng_state(), before)
    assert trials.run(trial) == first
    assert first.measures is not None


def test_a_diverging_trial_keeps_the_best_state_before_it(settings):
    trial = settings(task="diabetes").trial("relu", 1e30, seed=0, measured=True)
    result = trials.run(trial)
    assert result.diverged_at is not None
    assert math.isfinite(result.test)
    assert result.validation <= result.curve[0][1]


def test_the_state_judged_is_the_best_one_and_the_goal_is_counted_in_steps(settings):
    trial = settings(task="diabetes", epochs=2).trial("relu", 1.0, seed=0, measured=False)
    result = trials.run(trial)
    metrics = [metric for _, metric in result.curve]  # lower is better here
    assert min(metrics) == result.validation < metrics[-1]
    assert result.test < 10  # the last state's is in the hundreds
    assert result.steps_to_goal is None
    digits = trials.run(settings(epochs=5, width=64).trial("relu", 1e-2, seed=0, measured=False))
    assert digits.steps_to_goal == next(step for step, metric in digits.curve if metric >= 90)
