"""A training by `softplus.lab.training`: what it shares with others, and that it repeats."""

import math

import torch

from softplus.lab import activations, problems, training
from softplus.lab.trials import Trial

RELU, SOFTPLUS = activations.parse_list("relu,softplus")


def train(problem, trial):
    """Return the outcome of one trial."""
    (outcome,) = training.run(problem, [trial])
    return outcome


def test_activations_share_the_weights_they_start_from():
    problem = problems.load("digits", depth=2, width=16)
    with torch.random.fork_rng():
        weights = []
        for activation in (RELU, SOFTPLUS):
            torch.manual_seed(5)
            weights.append(problem.model(activation)[0].weight)
    assert torch.equal(*weights)


def test_a_trial_is_reproducible_and_leaves_the_global_generator_alone(settings):
    problem, trial = settings().problem, Trial("softplus", 1e-2, seed=0, measured=True)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = train(problem, trial)
    assert torch.equal(torch.get_rng_state(), before)
    assert train(problem, trial) == first
    assert first.measures is not None


def test_a_diverging_trial_keeps_the_best_state_before_it(settings):
    problem = settings("diabetes").problem
    trial = Trial("relu", 1e30, seed=0, measured=True)
    result = train(problem, trial)
    assert result.diverged_at is not None
    assert math.isfinite(result.test)
    assert result.validation <= result.curve[0][1]


def test_the_state_judged_is_the_best_one_and_the_goal_is_counted_in_steps(settings):
    problem = settings("diabetes", epochs=2).problem
    trial = Trial("relu", 1.0, seed=0, measured=False)
    result = train(problem, trial)
    metrics = [metric for _, metric in result.curve]  # lower is better here
    assert min(metrics) == result.validation < metrics[-1]
    assert result.test < 10  # the last state's is in the hundreds
    assert result.steps_to_goal is None
    problem = settings(epochs=5, width=64).problem
    digits = train(problem, Trial("relu", 1e-2, seed=0, measured=False))
    assert digits.steps_to_goal == next(step for step, metric in digits.curve if metric >= 90)
