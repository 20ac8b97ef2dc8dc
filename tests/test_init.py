"""The start of a Softplus network: its gains, and the shift that centres its outputs."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import references
from softplus import (
    calculate_gain,
    centering,
    shifted_softplus,
    softplus,
)

ctx = references.ctx
F64 = torch.float64


def gaussian_mean(function, deviation):
    """Return E[function(x)] for x ~ N(0, deviation²) at 60 digits, split where functions bend."""
    bends = [ctx.mpf(k) / deviation for k in (0, 1, 2, 4, 8, 16, 32, 64, 128)]
    points = sorted({point for point in bends if point < 12} | {ctx.mpf(k) for k in (1, 3, 6, 12)})
    return ctx.quad(
        lambda z: (function(float(deviation * z)) + function(float(-deviation * z))) * ctx.npdf(z),
        points,
        maxdegree=4,
    )


@pytest.mark.parametrize("deviation", [1e-3, 1.0, 5.0, 1e3])
def test_the_means_meet_a_quadrature_at_high_precision(deviation):
    beta = 2.0
    q = (deviation / beta) ** 2
    mean = gaussian_mean(references.softplus, deviation)
    assert centering(beta, q) == pytest.approx(float(mean) / beta, rel=1e-13)
    for name, function in {
        "softplus": references.softplus,
        "shifted_softplus": references.shifted_softplus,
    }.items():
        square = gaussian_mean(lambda x, function=function: function(x) ** 2, deviation)
        exact = deviation / math.sqrt(square)
        assert calculate_gain(name, beta=beta, q=q) == pytest.approx(exact, rel=1e-13)
        square = gaussian_mean(lambda x: references.sigmoid_and_tail(x)[0] ** 2, deviation)
        backward = calculate_gain(name, beta=beta, q=q, mode="fan_out")
        assert backward == pytest.approx(1 / math.sqrt(square), rel=1e-13)


@pytest.mark.parametrize("kappa", [0.01, 1.0, 4.0])
def test_the_means_meet_gauss_hermite_quadrature_where_that_converges(kappa):
    nodes, weights = np.polynomial.hermite_e.hermegauss(150)
    outputs = np.logaddexp(0, math.sqrt(kappa) * nodes)
    weights /= weights.sum()
    assert centering(1.0, kappa) == pytest.approx(weights @ outputs, rel=1e-12)
    gain = math.sqrt(kappa / (weights @ outputs**2))
    assert calculate_gain("softplus", q=kappa) == pytest.approx(gain, rel=1e-12)


@pytest.mark.parametrize("kappa", [1e6, 1e12, 1e30])
def test_far_from_smooth_the_means_are_those_of_relu_and_its_first_correction(kappa):
    s = math.sqrt(kappa)
    mean = (s + math.pi**2 / (6 * s)) / math.sqrt(2 * math.pi)
    assert centering(1.0, kappa) == pytest.approx(mean, rel=1e-11)
    # E[softplus²] = s²/2 + pi²/6 + O(1/s).
    assert calculate_gain("softplus", q=kappa) == pytest.approx(math.sqrt(2), rel=3 / kappa)
    assert calculate_gain("softplus", q=kappa, mode="fan_out") == pytest.approx(
        math.sqrt(2), rel=1 / s
    )


def test_near_zero_the_means_are_those_of_the_tangent():
    q = 1e-12
    assert centering(3.0, q) == pytest.approx(math.log(2) / 3, rel=1e-11)
    assert calculate_gain("softplus", q=q) == pytest.approx(1e-6 / math.log(2), rel=1e-11)
    assert calculate_gain("shifted_softplus", q=q) == pytest.approx(2, rel=1e-11)
    assert calculate_gain("shifted_softplus", q=q, mode="fan_out") == pytest.approx(2, rel=1e-11)


@pytest.mark.parametrize(
    ("name", "mode", "gain"),
    [
        ("softplus", "fan_in", 1.0419),
        ("shifted_softplus", "fan_in", 1.8756),
        ("softplus", "fan_out", 1.8462),
        ("shifted_softplus", "fan_out", 1.8462),
    ],
)
def test_gains_at_beta_1_and_q_1(name, mode, gain):
    assert calculate_gain(name, mode=mode) == pytest.approx(gain, abs=5e-5)


@pytest.mark.parametrize(("kappa", "mean"), [(1, 0.8061), (4, 1.0677), (6, 1.2093), (25, 2.1205)])
def test_centring_constants(kappa, mean):
    assert centering(1.0, kappa) == pytest.approx(mean, abs=5e-5)
    assert centering(10.0, kappa / 100) == pytest.approx(mean / 10, abs=5e-6)


def test_a_negative_beta_mirrors_the_function():
    assert centering(-2.0, 3.0) == -centering(2.0, 3.0)
    assert calculate_gain("softplus", beta=-2.0) == calculate_gain("softplus", beta=2.0)


def test_a_gain_keeps_the_variance_from_layer_to_layer():
    """The definition itself, in a wide random layer."""
    generator = torch.Generator().manual_seed(0)
    z = 0.7 * torch.randn(4_000_000, generator=generator, dtype=F64)
    kept = calculate_gain("shifted_softplus", beta=2, q=0.49) ** 2
    assert kept * shifted_softplus(z, 2).square().mean().item() == pytest.approx(0.49, rel=5e-3)


def kaiming(gain, fan_in, fan_out):
    """Return weights by the recipe of calculate_gain's docstring."""
    weight = nn.init.kaiming_normal_(torch.empty(fan_out, fan_in), nonlinearity="linear")
    return weight * gain


@pytest.mark.parametrize(("beta", "q"), [(1.0, 1.0), (5.0, 1.0), (1.0, 9.0)])
def test_kaimings_start_with_this_gain_keeps_the_variance_through_20_layers(beta, q):
    torch.manual_seed(0)
    variances = {}
    for gain in (calculate_gain("softplus", beta=beta, q=q), math.sqrt(2)):
        z = torch.randn(256, 512) @ kaiming(math.sqrt(q), 512, 512).T
        variances[gain] = [z.square().mean().item()]
        for _ in range(20):
            z = softplus(z, beta) @ kaiming(gain, 512, 512).T
            variances[gain].append(z.square().mean().item())
    ours, he = variances.values()
    assert ours == pytest.approx([q] * 21, rel=0.35)
    assert he[-1] > 1.2 * max(ours)


@pytest.mark.parametrize("name", ["linear", "conv2d", "sigmoid", "tanh", "relu", "selu"])
def test_other_names_go_to_torch(name):
    assert calculate_gain(name) == nn.init.calculate_gain(name)


def test_other_names_take_their_parameter():
    assert calculate_gain("leaky_relu", 0.3) == nn.init.calculate_gain("leaky_relu", 0.3)
    assert calculate_gain("leaky_relu", param=0.3) == nn.init.calculate_gain("leaky_relu", 0.3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"nonlinearity": "softpuls"}, ValueError, "softpuls"),
        ({"param": 2.0}, TypeError, "write beta=2.0"),
        ({"mode": "forward"}, ValueError, '"fan_in" .forward. or "fan_out" .backward.'),
        ({"beta": 0.0}, ValueError, "beta must be"),
        ({"beta": "1"}, TypeError, "beta must be"),
        ({"q": 0.0}, ValueError, "positive number"),
        ({"q": -1.0}, ValueError, "got -1.0"),
        ({"q": math.inf}, ValueError, "got inf"),
        ({"q": math.nan}, ValueError, "got nan"),
        ({"q": "1"}, TypeError, "q must be a number, got str"),
    ],
)
def test_a_bad_argument_of_a_gain_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        calculate_gain(**{"nonlinearity": "softplus", **arguments})


@pytest.mark.parametrize(("beta", "q"), [(0.0, 1.0), (math.nan, 1.0), (1.0, 0.0), (1.0, math.nan)])
def test_a_bad_argument_of_centering_is_named(beta, q):
    with pytest.raises(ValueError, match="must be"):
        centering(beta, q)
