"""The bytes that `softplus.lab.cost` counts; no time is asserted."""

from softplus.lab import activations, cost, problems


def test_bytes_kept_count_each_storage_once_and_no_parameters():
    problem = problems.load("digits", depth=2, width=16)
    costs = cost.measure(problem, [activations.parse("relu")], "relu")
    hidden, outputs = 64 * 16 * 4, 64 * 10 * 4
    # ReLU keeps its output, which is the next layer's input; cross-entropy keeps the
    # log-probabilities and one number, the mean nothing.
    assert costs["relu"].bytes_kept == 2 * hidden + outputs + 4
    assert costs["relu"].ratio.center == 1.0
