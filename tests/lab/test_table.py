"""The figures of `softplus.lab.table`, against the formulas and what PyTorch returns."""

import math

import pytest
import torch

from softplus.lab import table


def test_the_values_are_the_textbooks():
    for x, figures in table.values().items():
        s = 1 / (1 + math.exp(-x))
        expected = [math.log1p(math.exp(x)), s, s * (1 - s), max(x, 0.0), float(x > 0)]
        assert figures == pytest.approx(expected, rel=1e-14)


def test_the_limits():
    assert table.at(-math.inf) == [0, 0, 0, 0, 0]
    assert table.at(math.inf) == [math.inf, 1, 0, math.inf, 1]


@pytest.mark.parametrize("name", ["float64", "float32", "bfloat16", "float16"])
def test_an_edge_is_the_last_point_that_underflows(name):
    dtype = getattr(torch, name)
    subnormal, zero, _ = table.underflow()[name]
    limits = {subnormal: torch.finfo(dtype).tiny, zero: 0}
    for edge, limit in limits.items():
        x = torch.tensor([edge], dtype=dtype)
        beyond = torch.nextafter(x.double() if name == "float64" else x, torch.zeros_like(x))
        below, above = (torch.log1p(torch.exp(point.double())) for point in (x, beyond))
        assert below.to(dtype) <= max(limit, torch.finfo(dtype).tiny)
        assert above.to(dtype) > limit


def test_pytorch_loses_what_is_exact_just_above_its_threshold():
    for figure, (exact, theirs) in table.reversion().items():
        assert theirs == 0
        kept = figure.startswith("float64") or figure.endswith("second derivative")
        assert exact == pytest.approx(math.exp(-20) if kept else 0, rel=1e-5)
