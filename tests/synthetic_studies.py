"""Results of studies that nobody ran: as many arms and seeds as a test wants, in an instant."""

import math
from dataclasses import dataclass

import numpy as np

from softplus.lab import activations, verdicts
from softplus.lab.cost import Cost
from softplus.lab.measures import HISTOGRAM_BINS, LayerMeasures, Measures
from softplus.lab.problems import Metric, Problem
from softplus.lab.results import Arm, Results
from softplus.lab.settings import Settings
from softplus.lab.statistics import Interval
from softplus.lab.trials import Drift, Outcome


@dataclass(frozen=True, kw_only=True)
class Digits(Problem):
    """A problem that says what it is, and that nobody trains on."""

    name: str = "digits"
    title: str = "1,797 handwritten digits of 8 by 8 pixels, ten classes"
    metric: Metric = Metric("accuracy", "%", higher_is_better=True, margin=1.0, goal=90.0)  # noqa: RUF009
    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
    test_ratio: float | None = 1 / 3
    rows: int | None = 1797
    things: str = "handwritten digits"
    identity = {"data": "none"}  # noqa: RUF012
    training = "3 hidden layers of 64, 30 epochs"
    parts = {"train": 1079, "validation": 359, "test": 359}  # noqa: RUF012

    def run(self, trials):
        """Fail: there is nothing to train."""
        raise NotImplementedError(trials)


RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
# How much better than the first each arm is, in points.
GAINS = (0.0, -1.2, 0.1, 0.8, -0.2, 0.4, -3.0, 1.5)


def results(spellings="relu,softplus,softplus:beta=5", *, seeds=10, problem=None, measured=True):
    """Return results of a study of these arms, with measures and times or with a metric alone."""
    generator = np.random.default_rng(0)
    problem = problem or Digits()
    chosen = tuple(activations.parse_list(spellings))
    shared = generator.normal(0, 0.7, seeds)
    arms = tuple(
        arm(activation, index, shared, generator, measured=measured)
        for index, activation in enumerate(chosen)
    )
    settings = Settings(
        problem=problem,
        activations=chosen,
        seeds=seeds,
        learning_rates=RATES if measured else (),
        margin=problem.metric.margin,
    )
    return Results(
        created="2026-01-01T00:00:00+00:00",
        software={"softplus": "1", "torch": "2"},
        machine={"cpu": "a processor", "cores": "2", "load": "0.12"},
        command="softplus compare digits",
        settings=settings,
        arms=arms,
        verdicts=tuple(decide(settings, arms)),
    )


def decide(settings, arms):
    """Return the verdicts on these arms, as the runner does."""
    return verdicts.decide(
        {one.name: dict(enumerate(o.test for o in one.outcomes)) for one in arms},
        settings.reference,
        test_ratio=settings.problem.test_ratio,
        margin=settings.margin,
        higher_is_better=settings.problem.metric.higher_is_better,
    )


def arm(activation, index, shared, generator, *, measured):
    """Return the arm at this place of the list, on seeds whose splits differ by `shared`."""
    gain = GAINS[index % len(GAINS)]
    tests = 96 + gain + shared + generator.normal(0, 0.3, len(shared))
    outcomes = tuple(
        outcome(test, index, generator, measured=measured) for test in tests.round(4).tolist()
    )
    tuning = {rate: 95 + gain - 2 * math.log10(rate / 3e-3) ** 2 for rate in RATES}
    step = 1 + 0.08 * index
    return Arm(
        activation=activation,
        learning_rate=3e-3 if measured else None,
        tuning=tuning if measured else {},
        cost=Cost(
            milliseconds=Interval(0.5 * step, 0.49 * step, 0.51 * step),
            ratio=Interval(step, 0.97 * step, 1.03 * step),
            bytes_kept=65_536,
        )
        if measured
        else None,
        outcomes=outcomes,
    )


def outcome(test, index, generator, *, measured):
    """Return the outcome of one run."""
    if not measured:
        return Outcome(validation=test, test=test, seconds=20.0 + index)
    steps = range(0, 505, 5)
    noise = generator.normal(0, 0.4, len(steps)).tolist()
    curve = tuple(
        (step, test - 85 * math.exp(-step / 60) + wobble)
        for step, wobble in zip(steps, noise, strict=True)
    )
    reached = next((step for step, metric in curve if metric >= 90), None)
    return Outcome(
        validation=test + 0.5,
        test=test,
        steps_to_goal=reached,
        curve=curve,
        measures=measures(index, generator),
        drift=Drift(weight=1e-3, output=float(generator.lognormal(-3 - index)), test=0.0),
        seconds=3.0 + 0.2 * index,
        seconds_to_goal=None if reached is None else 1e-3 * reached,
    )


def measures(index, generator):
    """Return what was measured of a network of the arm at this place: ReLU's is the sparse one."""
    sparse = 0.48 + float(generator.normal(0, 0.01)) if index == 0 else 0.0
    dead = 0.03 if index == 0 else 0.0
    places = np.linspace(-10, 10, HISTOGRAM_BINS + 1)[:-1]
    shares = np.exp(-0.5 * ((places + 0.5) / (1.5 + 0.2 * index)) ** 2)
    return Measures(
        share_negative=0.55,
        output_negative=0.1 * index,
        recovered_negative=0.2 * index / 8,
        share_positive=0.45,
        output_positive=1.5,
        recovered_positive=1.0,
        smallest_gradient=0.0 if index == 0 else 1e-4,
        underflow=sparse,
        dead=dead,
        dormant=0.05,
        sparsity=sparse,
        histogram=tuple((shares / shares.sum()).tolist()),
        layers=tuple(
            LayerMeasures(units=64, dead=dead * layer, dormant=0.05, sparsity=sparse)
            for layer in range(3)
        ),
        smoothness=0.3 + 0.05 * index + float(generator.normal(0, 0.01)),
        first_layer_gradient=0.2,
    )
