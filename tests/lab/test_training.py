"""A training by `softplus.lab.training`: what it shares with others, and that it repeats."""

import math

import pytest
import torch

from softplus.lab import activations, problems, timing, training
from softplus.lab.problems.networks import Network
from softplus.lab.problems.torch_problem import Split
from softplus.lab.trials import Trial

RELU, SOFTPLUS = activations.parse_list("relu,softplus")


@pytest.fixture(autouse=True)
def _on_one_thread():
    with timing.threads(1):
        yield


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


# Company


@pytest.mark.parametrize(
    ("name", "arm"),
    [
        ("digits", "relu"),
        ("digits", "gelu"),
        ("digits", "annealed_softplus"),
        ("diabetes", "softplus:beta=5"),
    ],
)
def test_a_trial_has_the_same_bits_in_any_company(settings, name, arm):
    problem = settings(name).problem
    trials = [Trial(arm, rate, seed, False) for rate in (1e-3, 1e-2) for seed in range(3)]
    trials += [Trial(arm, 1e-2, seed, measured=True) for seed in (0, 1, 7)]
    together = dict(zip(trials, training.run(problem, trials), strict=True))
    assert all(outcome.failure is None for outcome in together.values())
    for some in (trials[:1], trials[4:1:-1], trials[6:7], trials[1::2]):
        assert training.run(problem, some) == [together[trial] for trial in some]


def test_the_arms_of_one_call_do_not_meet(settings):
    problem = settings().problem
    trials = [Trial(arm, 1e-2, 0, measured=False) for arm in ("relu", "softplus")]
    assert training.run(problem, trials[::-1]) == [train(problem, t) for t in trials[::-1]]


class ByItself(Network):
    """The same problem, but every network trains alone."""

    def may_stack(self, _):
        return False


def test_networks_train_as_one_to_what_they_come_to_alone(settings):
    problem = settings(epochs=1).problem
    alone = ByItself(**vars(problem))
    trials = [Trial("softplus", 1e-3, seed, measured=True) for seed in range(3)]
    for one, other in zip(training.run(problem, trials), training.run(alone, trials), strict=True):
        # Rounding differs, and one step of an optimizer after another lets it grow.
        assert one.validation == pytest.approx(other.validation, abs=0.6)
        assert one.measures.smoothness == pytest.approx(other.measures.smoothness, abs=1e-3)
        assert one.measures.first_layer_gradient == pytest.approx(
            other.measures.first_layer_gradient, rel=1e-3
        )
        assert [step for step, _ in one.curve] == [step for step, _ in other.curve]


class OwnOptimizer(Network):
    """A problem with an optimizer of its own, which sees every parameter."""

    def optimizer(self, parameters, rate):
        parameters = list(parameters)
        assert len(parameters) == 6
        return torch.optim.SGD(parameters, lr=rate)


def test_an_optimizer_of_the_problems_own_sees_the_parameters_of_one_model(settings):
    problem = OwnOptimizer(**vars(settings().problem))
    trials = [Trial("relu", 1e-2, seed, measured=False) for seed in range(2)]
    assert problem.batches(trials) == [[trial] for trial in trials]
    assert all(outcome.failure is None for outcome in training.run(problem, trials))
    assert settings().problem.batches(trials) == [trials]


# What an outcome tells


def test_only_the_first_six_seeds_have_a_twin(settings):
    problem = settings().problem
    trials = [Trial("relu", 1e-2, seed, measured=True) for seed in (7, 8)]
    trials.append(Trial("relu", 1e-2, 0, measured=False))
    drifts = [outcome.drift for outcome in training.run(problem, trials)]
    assert [drift is None for drift in drifts] == [False, True, True]
    # One bit of one weight: the networks differ, by little after 16 steps.
    assert 0 < drifts[0].weight < 1e-3
    assert drifts[0].output < 1e-2


def test_a_twin_starts_with_one_bit_of_one_weight_changed(settings):
    problem, activation = settings().problem, RELU
    trial = Trial("relu", 1e-2, 0, measured=True)
    run = training._start(problem, activation, trial, training._Data.of(problem, 0))
    twin = training._twin(problem, activation, run)
    pairs = zip(run.model.parameters(), twin.model.parameters(), strict=True)
    different = [(a[a != b], b[a != b]) for a, b in pairs if not a.equal(b)]
    ((before, after),) = different
    assert len(before) == 1
    assert torch.nextafter(before, torch.tensor(float("inf"))).equal(after)


def test_an_annealed_arm_is_judged_as_it_is_used_with_exact_relus(settings):
    problem = settings(epochs=3).problem
    outcome = train(problem, Trial("annealed_softplus", 1e-2, 7, measured=True))
    assert outcome.measures.sparsity > 0.1  # no Softplus has an exact 0
    # Not of the best of them: that one had another function.
    assert outcome.validation == pytest.approx(outcome.curve[-1][1], abs=5)


def test_a_loss_that_draws_at_random_trains_one_by_one(settings):
    class Noisy(Network):
        def losses(self, model, inputs, targets):
            return super().losses(model, inputs + torch.randn_like(inputs) / 100, targets)

    problem = Noisy(**vars(settings().problem))
    trials = [Trial("relu", 1e-2, seed, measured=False) for seed in range(2)]
    assert training.run(problem, trials)[1:] == training.run(problem, trials[1:])


def test_one_trial_that_raises_costs_the_others_nothing(settings):
    class Unlucky(Network):
        def score(self, model, examples, rows):
            if rows.equal(self.split(1).test):
                raise RuntimeError("no luck")
            return super().score(model, examples, rows)

    problem = Unlucky(**vars(settings().problem))
    trials = [Trial("relu", 1e-2, seed, measured=False) for seed in range(3)]
    outcomes = training.run(problem, trials)
    assert [outcome.failure is None for outcome in outcomes] == [True, False, True]
    assert outcomes[1].failure.splitlines()[-1] == "RuntimeError: no luck"
    assert outcomes[1].failure.count("Traceback") == 1
    assert outcomes[2] == train(settings().problem, trials[2])


def test_a_diverging_trial_leaves_its_company_alone(settings):
    problem = settings("diabetes").problem
    wild, calm = (Trial("relu", rate, 0, measured=False) for rate in (1e30, 1e-3))
    together = training.run(problem, [wild, calm])
    assert together[0].diverged_at is not None
    assert together == [train(problem, wild), train(problem, calm)]


def test_a_split_with_fewer_rows_than_the_first_gets_as_many_steps():
    data = training._Data(Split(torch.arange(10), None, None), None, batch=8, batches=2)
    epoch = next(data.epochs(seed=0))
    assert len(epoch) == 16
    assert set(epoch.tolist()) == set(range(10))
