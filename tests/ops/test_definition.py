"""The maths of `softplus.ops.definition` against 60-digit references, in every dtype."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from derivatives import ULPS, every_value, excess, grid, with_derivatives
from marks import computing_dtypes, each_dtype, half_dtypes
from references import beta_derivatives, derivatives, ulp_errors
from softplus.ops import definition

POWERS_OF_TWO = [1.0, -1.0, 2.0, -0.25, 1 / 1024, 1024.0]
OTHER_BETAS = [0.01, 100.0, -3.0, 0.7, -0.013, 1e-3, 1e3]

each_beta = pytest.mark.parametrize("beta", POWERS_OF_TWO + OTHER_BETAS)


# Softplus and its derivatives in x


@each_dtype
@each_beta
def test_softplus_and_three_derivatives(dtype, beta):
    x = grid(dtype, beta)
    results = with_derivatives(lambda x: definition.softplus(x, beta), x)
    assert all(result.dtype == dtype for result in results)
    assert excess(results, x, beta) == []


@each_dtype
@pytest.mark.parametrize("beta", [1.0, -1.0, 0.01, 100.0, -3.0])
def test_a_tensor_beta_is_as_accurate_as_a_number(dtype, beta):
    x = grid(dtype, beta)
    stored = torch.tensor([beta], dtype=dtype).requires_grad_()
    results = with_derivatives(lambda x: definition.softplus(x, stored), x)
    assert excess(results, x, stored.item()) == []


@pytest.mark.parametrize("beta", POWERS_OF_TWO)
def test_float32_is_within_a_few_ulp_everywhere(beta):
    """200,000 random points against float64, itself held against mpmath above."""
    generator = torch.Generator().manual_seed(0)
    size = torch.empty(200_000, dtype=torch.float64)
    size.uniform_(math.log(1e-9), math.log(80), generator=generator)
    sign = torch.randint(0, 2, size.shape, generator=generator) * 2 - 1
    x = (size.exp() * sign / abs(beta)).float()
    results = with_derivatives(lambda x: definition.softplus(x, beta), x)
    exact = with_derivatives(lambda x: definition.softplus(x, beta), x.double())
    for order, (result, wanted) in enumerate(zip(results, exact, strict=True)):
        scale = wanted if order < 3 else exact[2] * beta
        _, exponent = torch.frexp(scale.abs())
        unit = torch.ldexp(torch.ones_like(scale), exponent.clamp_min(-125) - 24)
        assert ((result - wanted).abs() / unit).max() <= ULPS[order]


@half_dtypes
@pytest.mark.parametrize("beta", [1.0, -1.0, 0.01, 100.0, -3.0, 0.7])
def test_half_types_round_once(dtype, beta):
    """All finite values: no result farther off than half a ULP and float32's own error."""
    x = every_value(dtype)
    results = with_derivatives(lambda x: definition.softplus(x, beta), x, order=2)
    exact = with_derivatives(lambda x: definition.softplus(x, beta), x.double(), order=2)
    for result, wanted in zip(results, exact, strict=True):
        # Measured: at most 7 of 63,488 values fall on the other side of a near-tie.
        assert (result != wanted.to(dtype)).sum() <= 10
        limits = torch.finfo(dtype)
        unit = (wanted.abs() * limits.eps).clamp_min(limits.smallest_normal * limits.eps)
        assert ((result.double() - wanted).abs() / unit).nan_to_num(posinf=0.0).max() <= 0.501


@each_dtype
def test_the_gradient_at_zero_is_exactly_one_half(dtype):
    betas = [0.1 * i for i in range(1, 200)] + [i / 8 for i in range(1, 200)] + [1e-3, 1e3]
    for zero in (0.0, -0.0):
        for beta in betas + [-beta for beta in betas]:
            x = torch.tensor([zero], dtype=dtype)
            assert with_derivatives(lambda x: definition.softplus(x, beta), x, 1)[1].item() == 0.5  # noqa: B023
        x, beta = torch.full((len(betas),), zero, dtype=dtype), torch.tensor(betas, dtype=dtype)
        gradient = with_derivatives(lambda x: definition.softplus(x, beta), x, 1)[1]  # noqa: B023
        assert (gradient == 0.5).all()


# Derivatives in beta


@computing_dtypes
@pytest.mark.parametrize("beta", [1.0, -1.0, 2.0, 0.7, 0.01, 100.0, -3.0])
def test_beta_derivatives(dtype, beta):
    """(x·s - y) / beta would lose every digit at beta·x = 17."""
    at = torch.tensor([0, 1e-6, 1e-3, 0.1, 0.3, 1, 2, 5, 12, 15, 17, 20, 30, 40, 60, 80])
    x = torch.unique(torch.cat([at, -at]).to(dtype) / abs(beta)).requires_grad_()
    betas = torch.full_like(x, beta, requires_grad=True)
    first = torch.autograd.grad(definition.softplus(x, betas).sum(), betas, create_graph=True)
    mixed, second = torch.autograd.grad(first[0].sum(), (x, betas))
    eps = torch.finfo(dtype).eps
    beta = betas[0].item()
    for i, point in enumerate(x.tolist()):
        exact = beta_derivatives(point, beta)
        u = abs(point * beta)
        # Measured for beta = 1: 1.1 eps; beside it, beta·x rounded and carried through e^-u.
        relative = eps * (1.3 if abs(beta) in (1, 2) else 2 + u / 2)
        assert abs(first[0][i].item() - exact[0]) <= relative * abs(exact[0])
        assert abs(second[i].item() - exact[2]) <= relative * abs(exact[2])
        # x·s·(1 - s) passes through 0 with x, the sum that yields it is held to its parts.
        assert abs(mixed[i].item() - exact[1]) <= relative * max(
            abs(exact[1]), abs(beta * exact[0])
        )


@half_dtypes
def test_beta_gradient_of_half_types(dtype):
    x = torch.tensor([-9, -2, -0.5, 0, 0.5, 2, 9, 12], dtype=dtype)
    beta = torch.ones_like(x, requires_grad=True)
    gradient = torch.autograd.grad(definition.softplus(x, beta).sum(), beta)[0]
    exact = [beta_derivatives(point)[0] for point in x.tolist()]
    assert max(ulp_errors(gradient, exact)) <= 0.501


# Nothing but NaN gives NaN


def finite_floats(dtype: torch.dtype) -> st.SearchStrategy[float]:
    """Return a strategy for the finite values of dtype."""
    if dtype == torch.bfloat16:
        # The upper half of a float32's bits.
        bits = st.integers(-(2**15), 2**15 - 1)
        values = bits.map(lambda bits: torch.tensor(bits, dtype=torch.int16).view(dtype).item())
        return values.filter(math.isfinite)
    return st.floats(width=dtype.itemsize * 8, allow_nan=False, allow_infinity=False)


def magnitudes(low: float, high: float) -> st.SearchStrategy[float]:
    """Return a strategy for both signs of numbers between low and high."""
    sizes = st.floats(math.log(low), math.log(high)).map(math.exp)
    return st.builds(lambda size, sign: sign * size, sizes, st.sampled_from([1, -1]))


def assert_no_nan_through_a_tensor_beta(x: float, beta: float, dtype: torch.dtype) -> None:
    """Assert it for every derivative in x and beta up to the third order."""
    inputs = [torch.tensor([number], dtype=dtype, requires_grad=True) for number in (x, beta)]
    results = [definition.softplus(*inputs)]
    for _ in range(3):
        assert not any(result.isnan().any() for result in results)
        # 1/beta² may overflow the type for good; the next order starts from what did not.
        finite = [result.sum() for result in results if result.isfinite()]
        if not finite:
            return
        results = list(torch.autograd.grad(sum(finite), inputs, create_graph=True))
    assert not any(result.isnan().any() for result in results)


def assert_finite_where_the_exact_is(results: list[Tensor], x: float, beta: float) -> None:
    for result, wanted in zip(results, derivatives(x, beta), strict=False):
        limit = torch.finfo(result.dtype).max
        assert not result.isnan().any()
        assert result.isfinite().all() or abs(wanted) > 0.99 * limit


@each_dtype
@settings(deadline=None, max_examples=100)
@given(data=st.data(), beta=magnitudes(1e-5, 1e9))
def test_finite_input_never_gives_nan_to_third_order(dtype, data, beta):
    x = data.draw(finite_floats(dtype))
    stored = torch.tensor([x], dtype=dtype)
    results = with_derivatives(lambda x: definition.softplus(x, beta), stored)
    assert_finite_where_the_exact_is(results, x, beta)


@each_dtype
@settings(deadline=None, max_examples=100)
@given(data=st.data(), beta=magnitudes(1.2e-38, 3.4e38))
def test_finite_input_never_gives_nan_in_double_backward_for_any_legal_beta(dtype, data, beta):
    x = data.draw(finite_floats(dtype))
    stored = torch.tensor([x], dtype=dtype)
    results = with_derivatives(lambda x: definition.softplus(x, beta), stored, order=2)
    assert_finite_where_the_exact_is(results, x, beta)


@each_dtype
@settings(deadline=None, max_examples=100)
@given(data=st.data(), beta=magnitudes(1e-3, 1e3))
def test_finite_input_never_gives_nan_through_a_tensor_beta(dtype, data, beta):
    assert_no_nan_through_a_tensor_beta(data.draw(finite_floats(dtype)), beta, dtype)


@each_dtype
@pytest.mark.parametrize("beta", [1e-3, -1e-3, 1.0, 1e3])
def test_the_largest_input_gives_no_nan_through_a_tensor_beta(dtype, beta):
    """x·x and x/beta overflow here; none of them may meet a 0 in double backward."""
    largest = torch.finfo(dtype).max
    for x in (largest, -largest, largest**0.6):
        assert_no_nan_through_a_tensor_beta(x, beta, dtype)


@each_dtype
@pytest.mark.parametrize("beta", [1.0, 0.01, 100.0])
def test_special_values(dtype, beta):
    x = torch.tensor([math.inf, -math.inf, math.nan], dtype=dtype)
    value, first, second, third = with_derivatives(lambda x: definition.softplus(x, beta), x)
    assert value.tolist()[:2] == [math.inf, 0]
    assert first.tolist()[:2] == [1, 0]
    assert second.tolist()[:2] == third.tolist()[:2] == [0, 0]
    assert all(result[2].isnan() for result in (value, first, second, third))


@each_dtype
def test_special_values_of_a_negative_beta(dtype):
    x = torch.tensor([math.inf, -math.inf], dtype=dtype)
    value, first, second = with_derivatives(lambda x: definition.softplus(x, -1.0), x, 2)
    assert value.tolist() == [0, -math.inf]
    assert first.tolist() == [0, 1]
    assert second.tolist() == [0, 0]


def coefficients(result: Tensor, *towards: Tensor) -> list[float]:
    """Return the derivatives of the sum of a result, and all of theirs."""
    first = torch.autograd.grad(result.sum(), towards, create_graph=True)
    second = [torch.autograd.grad(d.sum(), towards, retain_graph=True) for d in first]
    return [
        v for d in (*first, *(d for each in second for d in each)) for v in d.reshape(-1).tolist()
    ]


@computing_dtypes
@pytest.mark.parametrize("infinite", [math.inf, -math.inf])
@pytest.mark.parametrize("beta", [2.0, -0.3])
def test_the_gradient_towards_beta_at_infinity_is_the_limit(dtype, infinite, beta):
    """As at 1e6, where every term but those of the shift has died away."""
    functions = [definition.softplus, definition.shifted_softplus]
    functions.append(lambda x, beta: definition.backward(torch.full_like(x, 3.0), x, beta))
    if infinite * beta > 0:
        functions.append(definition.inverse_softplus)
    for function in functions:
        at_infinity, far_away = (
            coefficients(function(x, b), x, b)
            for x, b in [
                (
                    torch.tensor([1.0 / beta, far], dtype=dtype, requires_grad=True),
                    torch.tensor(beta, dtype=dtype, requires_grad=True),
                )
                for far in (infinite, math.copysign(1e6, infinite))
            ]
        )
        assert at_infinity == far_away


@computing_dtypes
def test_one_infinite_element_leaves_beta_its_gradient(dtype):
    beta = torch.tensor(2.0, dtype=dtype, requires_grad=True)
    definition.softplus(torch.tensor([1.0, -math.inf], dtype=dtype), beta).sum().backward()
    assert beta.grad.item() == pytest.approx(beta_derivatives(1.0, 2.0)[0], rel=1e-6)
    assert beta.grad.item() == pytest.approx(-0.0913337, rel=1e-5)


@half_dtypes
@pytest.mark.parametrize("gradient", [300.0, 1e-3])
def test_two_gradients_in_half_are_multiplied_in_float32(dtype, gradient):
    x, g = (torch.tensor([v], dtype=dtype, requires_grad=True) for v in (0.7, gradient))
    (first,) = torch.autograd.grad(definition.softplus(x), x, g, create_graph=True)
    (second,) = torch.autograd.grad(first, x, g)
    wanted = g.item() ** 2 * derivatives(x.item())[2]
    assert ulp_errors(second, [wanted])[0] <= 0.51


# The threshold


@each_dtype
@pytest.mark.parametrize("beta", [1.0, 2.5, -1.0])
def test_a_threshold_of_20_or_more_is_the_exact_function(dtype, beta):
    x = grid(dtype, beta)
    exact = with_derivatives(lambda x: definition.softplus(x, beta), x)
    for threshold in (20, 20.0, 30.0, math.inf):
        results = with_derivatives(lambda x: definition.softplus(x, beta, threshold), x)  # noqa: B023
        assert all(map(torch.equal, results, exact))


@each_dtype
def test_a_smaller_threshold_reverts_to_x_above_it_alone(dtype):
    x = torch.tensor([-3, 0.25, 0.5, 0.515625, 30], dtype=dtype)
    value, first, second = with_derivatives(lambda x: definition.softplus(x, 2, 1), x, 2)
    exact = with_derivatives(lambda x: definition.softplus(x, 2), x, 2)
    assert torch.equal(value, torch.cat([exact[0][:3], x[3:]]))
    assert torch.equal(first, torch.cat([exact[1][:3], torch.ones_like(x[3:])]))
    assert torch.equal(second, torch.cat([exact[2][:3], torch.zeros_like(x[3:])]))
    assert exact[0][3] != x[3]
