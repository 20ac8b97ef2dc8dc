"""A converted model on a sample: the differences of its sites and of its output."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 -- the spelling that models use

from conversion_models import TEN, Linears, Straight, sample
from softplus import convert, softplus


@torch.no_grad()
def test_a_sample_without_a_tolerance_measures_only():
    model, x = Straight(), sample(3, 4)
    conversion = convert(model, TEN, sample=(x,)).conversion
    assert conversion.betas == {"relu": 10, "relu_1": 10}
    y = model.first(x)
    first = (softplus(y, 10) - y.relu()).abs().max()
    assert conversion.differences["relu"] == pytest.approx(float(first))
    whole = (convert(model, TEN)(x) - model(x)).abs().max()
    assert conversion.difference == pytest.approx(float(whole))
    assert convert(model, TEN, sample={"x": x}).conversion == conversion
    assert convert(model, TEN).conversion.difference is None


def test_a_function_that_gets_more_than_its_input():
    class Model(Linears):
        def __init__(self) -> None:
            super().__init__()
            self.act = F.relu

        def forward(self, x):
            return self.act(self.first(x), inplace=True)

    with pytest.raises(TypeError, match="that 'act' stands for is called with more than its input"):
        convert(Model(), TEN, sample=sample(3, 4))


def test_a_sample_is_not_written_into():
    x = sample(3, 4)
    before = x.clone()
    convert(nn.Sequential(nn.ReLU(inplace=True)), TEN, sample=x)
    assert torch.equal(x, before)
