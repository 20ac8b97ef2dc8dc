"""SoftplusTransform: against its inverse, its determinant and the densities that it gives."""

import math
import pickle

import pytest
import torch
from torch import nn
from torch.distributions import (
    Normal,
    TransformedDistribution,
    biject_to,
    constraints,
    transform_to,
    transforms,
)

import references
from softplus import SoftplusTransform, softplus

ctx = references.ctx
POINTS = [-80.0, -20.0, -3.0, -1e-3, 0.0, 0.5, 4.0, 17.0, 25.0, 40.0]


@pytest.mark.parametrize("beta", [0.5, 1.0, 7.0])
@pytest.mark.parametrize("floor", [0.0, 0.25])
def test_the_transform_its_inverse_and_its_determinant(beta, floor):
    transform = SoftplusTransform(beta, floor)
    x = torch.tensor(POINTS, dtype=torch.float64)
    y = transform(x)
    exact = [references.softplus(point, beta) for point in POINTS]
    assert max(references.ulp_errors(y - floor, exact)) < (2.5 if floor == 0 else math.inf)
    torch.testing.assert_close(y, softplus(x, beta) + floor)
    if floor == 0:
        torch.testing.assert_close(transform.inv(y), x, rtol=1e-14, atol=1e-15)
    else:
        torch.testing.assert_close(transform.inv(y)[2:], x[2:], rtol=0, atol=1e-8)
    logs = [-ctx.log1p(ctx.exp(-ctx.mpf(point) * ctx.mpf(beta))) for point in POINTS]
    found = transform.log_abs_det_jacobian(x, y)
    assert max(references.ulp_errors(found, logs)) < 4
    torch.testing.assert_close(transform.inv.log_abs_det_jacobian(y, x), -found, rtol=0, atol=0)


def test_the_inverse_keeps_its_digits_where_torchs_loses_them():
    y = torch.tensor([0.6931472, 0.69315], dtype=torch.float32)
    exact = [references.inverse_softplus(value) for value in y.tolist()]
    assert max(references.ulp_errors(SoftplusTransform().inv(y), exact)) <= 2
    assert max(references.ulp_errors(transforms.SoftplusTransform().inv(y), exact)) > 1000


def test_a_transformed_distribution_has_the_right_density():
    """By the change of variables at 60 digits: p(y) = N(x) / sigmoid(beta·x)."""
    beta, floor = 2.0, 0.1
    base = Normal(torch.tensor(0.5, dtype=torch.float64), torch.tensor(1.5, dtype=torch.float64))
    distribution = TransformedDistribution(base, [SoftplusTransform(beta, floor)])
    y = torch.tensor([0.11, 0.2, 0.5, 2.0, 9.0], dtype=torch.float64)
    for found, value in zip(distribution.log_prob(y).tolist(), y.tolist(), strict=True):
        above = float(torch.tensor(value, dtype=torch.float64) - floor)
        x = references.inverse_softplus(above, beta)
        z = (x - ctx.mpf(0.5)) / ctx.mpf(1.5)
        density = ctx.npdf(z) / ctx.mpf(1.5) / references.sigmoid_and_tail(float(x), beta)[0]
        assert found == pytest.approx(float(ctx.log(density)), rel=1e-12)
    grid = torch.linspace(0.1 + 1e-9, 12, 400_001, dtype=torch.float64)
    total = torch.trapezoid(distribution.log_prob(grid).exp(), grid)
    assert total.item() == pytest.approx(1, abs=1e-4)


def test_a_transformed_distribution_samples_within_its_support():
    torch.manual_seed(0)
    scale = nn.Parameter(torch.tensor(2.0))
    distribution = TransformedDistribution(Normal(0.0, scale), [SoftplusTransform(5.0, 0.5)])
    sample = distribution.rsample((1000,))
    assert distribution.support.check(sample).all()
    assert sample.min() == torch.tensor(0.5).nextafter(torch.tensor(1.0))
    assert distribution.log_prob(sample).isfinite().all()
    sample.mean().backward()
    assert scale.grad.isfinite()
    quantile = distribution.icdf(torch.tensor(0.5))
    torch.testing.assert_close(quantile, torch.tensor(0.5 + math.log(2) / 5))
    torch.testing.assert_close(distribution.cdf(quantile), torch.tensor(0.5))


def test_the_transform_says_what_it_is():
    transform = SoftplusTransform(2.0, 0.5)
    assert transform.bijective
    assert transform.sign == 1
    assert transform.domain is constraints.real
    assert transform.codomain.check(torch.tensor([0.4, 0.5, 0.6])).tolist() == [False, False, True]
    assert SoftplusTransform().codomain.check(torch.tensor([0.0, 1e-30])).tolist() == [False, True]
    assert transform.event_dim == 0
    assert transform.forward_shape((2, 3)) == transform.inverse_shape((2, 3)) == (2, 3)
    assert repr(transform) == "SoftplusTransform(beta=2.0, floor=0.5)"


def test_equality_hash_and_pickle():
    transform = SoftplusTransform(2.0, 0.5)
    assert transform == SoftplusTransform(2.0, 0.5, cache_size=1)
    assert hash(transform) == hash(SoftplusTransform(2.0, 0.5))
    assert transform != SoftplusTransform(2.0)
    assert transform != SoftplusTransform(1.0, 0.5)
    assert SoftplusTransform() != transforms.SoftplusTransform()
    assert pickle.loads(pickle.dumps(transform)) == transform  # noqa: S301 - our own bytes
    assert transform.inv.inv is transform


def test_the_cache_returns_the_very_tensor():
    plain = SoftplusTransform(2.0, 0.5)
    cached = plain.with_cache()
    assert cached == plain
    assert cached.with_cache() is cached
    x = torch.tensor([-200.0, 1.0])
    y = cached(x)
    assert cached.inv(y) is x
    assert cached(x) is y
    assert plain.with_cache(0) is plain
    assert plain.inv(plain(x))[0] != -200.0


def test_the_gradient_of_the_log_determinant():
    x = torch.tensor([-3.0, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
    transform = SoftplusTransform(2.0)
    assert torch.autograd.gradcheck(lambda x: transform.log_abs_det_jacobian(x, None), x)
    assert torch.autograd.gradcheck(transform, x)
    y = transform(x).detach().requires_grad_()
    assert torch.autograd.gradcheck(transform.inv, y)


@pytest.mark.parametrize("registry", [biject_to, transform_to])
def test_nothing_global_is_registered(registry):
    used = registry(constraints.positive)
    parts = getattr(used, "parts", [used])
    assert not any(isinstance(part, SoftplusTransform) for part in parts)
    assert all(factory.__module__.startswith("torch.") for factory in registry._registry.values())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0.0,), ValueError, "beta must be"),
        ((-1.0,), ValueError, "beta must be positive"),
        ((math.nan,), ValueError, "beta must be"),
        (("1",), TypeError, "beta must be"),
        ((1.0, -0.5), ValueError, "floor must be 0 or a positive finite number, got -0.5"),
        ((1.0, math.inf), ValueError, "floor must be"),
        ((1.0, math.nan), ValueError, "floor must be"),
        ((1.0, 0.0, 2), ValueError, "cache_size must be 0 or 1"),
    ],
)
def test_a_bad_argument_of_the_transform_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        SoftplusTransform(*arguments)
