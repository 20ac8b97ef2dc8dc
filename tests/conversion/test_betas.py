"""The smallest betas within a tolerance, on what each site receives of a sample."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 -- the spelling that models use

from conversion_models import Linears, sample, state_of
from softplus import ShiftedSoftplus, Softplus, convert, shifted_softplus, softplus


class Reused(Linears):
    """An activation called three times, one called once, and one that the sample does not reach."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.dropout, self.norm = nn.ReLU(), nn.Dropout(), nn.BatchNorm1d(4)

    def forward(self, x):
        x = self.dropout(F.relu(self.norm(self.first(x))))
        for _ in range(3):
            x = self.relu(self.second(x))
        return {"out": (x, x.argmax())}

    def unreached(self, x):
        return x.relu()


@pytest.mark.parametrize("tolerance", [1.0, 0.1, 1e-3])
@pytest.mark.parametrize(
    ("replacement", "function"),
    [
        (Softplus(), softplus),
        (Softplus(99, learnable=True), softplus),
        (ShiftedSoftplus(99), shifted_softplus),
    ],
    ids=["Softplus", "learnable", "ShiftedSoftplus"],
)
def test_the_smallest_beta_within_a_tolerance(tolerance, replacement, function):
    model, x = Reused(), sample(20, 4)
    before = state_of(model), {key: value.clone() for key, value in model.state_dict().items()}
    converted = convert(model, {"relu": replacement}, tolerance=tolerance, sample=x)
    assert state_of(model) == before[0]
    assert all(map(torch.equal, model.state_dict().values(), before[1].values()))
    conversion = converted.conversion
    assert conversion.betas["relu_2"] == pytest.approx(math.log(2) / tolerance, rel=2e-3)
    assert conversion.differences.keys() == {"relu", "relu_1"}
    seen = {"relu": [], "relu_1": []}
    for name, inputs in seen.items():
        module = converted.get_submodule(name)
        assert torch.as_tensor(module.beta).item() == pytest.approx(conversion.betas[name])
        module.register_forward_pre_hook(lambda _, args, inputs=inputs: inputs.append(args[0]))
    with torch.no_grad():
        after = converted.eval()(x)["out"][0]
        expected = (after - model.eval()(x)["out"][0]).abs().max()
    assert conversion.difference == pytest.approx(float(expected))
    for name, inputs in seen.items():
        x = torch.cat(inputs)
        beta, sure = conversion.betas[name], math.log(2) / tolerance
        largest = float((function(x, beta) - x.relu()).abs().max())
        assert largest == pytest.approx(conversion.differences[name], rel=1e-5)
        assert largest <= tolerance
        smaller = float((function(x, beta * 0.997) - x.relu()).abs().max())
        assert smaller > tolerance * 0.999 or beta == pytest.approx(sure / 1000, rel=2e-3)


def test_extreme_samples():
    for x in (torch.zeros(0, 4), torch.full((2, 4), math.inf), torch.full((2, 4), math.nan)):
        conversion = convert(
            nn.Sequential(nn.ReLU()), {"relu": Softplus}, sample=x, tolerance=0.1
        ).conversion
        assert conversion.betas["0"] == pytest.approx(math.log(2) / 0.1, rel=2e-3)
        assert conversion.difference == 0
    x = torch.zeros(2, 4)
    conversion = convert(
        nn.Sequential(nn.ReLU()).half(), {"relu": Softplus}, sample=x.half(), tolerance=0.1
    ).conversion
    assert 0.099 < conversion.difference <= 0.1
