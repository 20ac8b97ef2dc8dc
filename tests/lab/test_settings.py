"""The settings of `softplus.lab.settings`: the trials that they make, and what is refused."""

import math

import pytest

from softplus.lab import activations, problems
from softplus.lab.errors import UsageError
from softplus.lab.settings import settings as make


def test_the_learning_rate_is_chosen_on_seeds_that_the_comparison_never_uses(settings):
    chosen = settings()
    tuning = {trial.seed for trial in chosen.tuning("relu")}
    final = set(range(chosen.seeds))
    assert len(tuning) == 3
    assert not tuning & final
    assert settings(learning_rates=(1e-3,)).tuning("relu") == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"depth": 0}, "--depth"),
        ({"width": -1}, "--width"),
        ({"width": 100_000_000}, "--width 100000000 .* weights"),
        ({"depth": 10**9}, "--depth 1000000000 .* weights"),
        ({"epochs": 0}, "--epochs"),
        ({"seeds": 0}, "--seeds"),
        ({"learning_rates": (0.0,)}, "--lr"),
        ({"learning_rates": (math.nan,)}, "--lr"),
        ({"margin": 0.0}, "--margin"),
        ({"margin": math.nan}, "--margin"),
    ],
)
def test_settings_that_make_no_sense_name_their_option(change, word, settings):
    with pytest.raises(UsageError, match=word):
        settings(**change)


def said(**options):
    """Return the settings for these options of the command line, all others unsaid."""
    return make(problems.load("digits"), "relu,softplus", **options)


def test_what_is_not_said_is_the_tasks_own():
    digits = problems.load("digits")
    settings = said()
    assert settings.learning_rates == digits.learning_rates
    assert (settings.seeds, settings.margin) == (digits.seeds, digits.metric.margin)


def test_what_is_said_counts_more_than_quick():
    quick = said(quick=True)
    assert (quick.seeds, quick.learning_rates) == (3, (1e-3, 1e-2))
    chosen = said(quick=True, seeds=4, rates="1e-1,1e-2,1e-1", margin=0.5)
    assert (chosen.seeds, chosen.margin) == (4, 0.5)
    assert chosen.learning_rates == (0.01, 0.1)


@pytest.mark.parametrize(
    ("names", "reference"),
    [
        ("softplus,relu", "relu"),
        ("gelu,elu", "gelu"),
        ("softplus,relu:init=he", "relu:init=he"),
        ("softplus,relu:init=he,relu", "relu"),
    ],
)
def test_relu_is_the_reference_else_the_first(names, reference, settings):
    assert settings(activations=tuple(activations.parse_list(names))).reference == reference


def test_a_problem_with_a_rate_of_its_own_has_none_to_choose(settings):
    own = settings(learning_rates=())
    assert own.tuning("relu") == []
    assert {trial.learning_rate for trial in own.finals("relu", None)} == {None}
    assert own.trials == 4
