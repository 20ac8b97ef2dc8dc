"""What `softplus.lab.cost` makes of the time of a step, and the bytes that it counts."""

import math

from softplus.lab import activations, cost, problems, timing

ARMS = activations.parse_list("relu,softplus")


def measured(monkeypatch, busy=(None,)):
    """Return the costs where a step takes 1 s with ReLU, 2 s with Softplus."""
    disturbances = iter([each for each in busy for _ in range(cost._NETWORKS)])

    def interleaved(calls, rounds, _):
        times = timing.Times(relu=[1.0] * rounds, softplus=[2.0] * rounds)
        assert times.keys() == calls.keys()
        times.busy = next(disturbances)
        return times

    monkeypatch.setattr(timing, "interleaved", interleaved)
    monkeypatch.setattr(cost, "_PAUSE", 0.0)
    return cost.measure(problems.load("digits", depth=2, width=16), ARMS, "relu")


def test_the_time_of_a_step_is_its_ratio_times_the_references(monkeypatch):
    costs = measured(monkeypatch)
    assert costs["relu"].milliseconds.center == 1000.0
    assert costs["relu"].ratio.center == 1.0
    ratio, milliseconds = costs["softplus"].ratio, costs["softplus"].milliseconds
    assert (ratio.low, ratio.center, ratio.high) == (2.0, 2.0, 2.0)
    assert milliseconds.center == 2000.0
    assert costs["softplus"].spread == 0.0
    assert costs["softplus"].busy is None


def test_a_busy_machine_is_tried_again_and_then_not_measured(monkeypatch):
    again = measured(monkeypatch, busy=("it had to wait", None))
    assert again["softplus"].ratio.center == 2.0
    never = measured(monkeypatch, busy=["it had to wait"] * cost._TRIES)
    for each in never.values():
        assert math.isnan(each.milliseconds.center)
        assert math.isnan(each.ratio.low)
        assert math.isnan(each.spread)
        assert each.busy == "machine busy: not measured (it had to wait)"
        assert each.bytes_kept > 0


def test_bytes_kept_count_each_storage_once_and_no_parameters(monkeypatch):
    hidden, outputs = 64 * 16 * 4, 64 * 10 * 4
    # ReLU keeps its output, which is the next layer's input; cross-entropy keeps the
    # log-probabilities and one number, the mean nothing.
    assert measured(monkeypatch)["relu"].bytes_kept == 2 * hidden + outputs + 4
