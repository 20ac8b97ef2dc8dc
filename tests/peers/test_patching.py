"""Other people's libraries under patch(): reached as they are, with the results they had."""

import pytest
import torch
from gpytorch.constraints import Positive
from gpytorch.utils.transforms import TRANSFORM_REGISTRY
from pyro.distributions import transforms as pyro_transforms
from torch import Tensor, distributions
from torch.nn import functional

import references
from peers.programs import PROGRAMS, activations
from softplus import patch

FLOAT32_ULP, FLOAT64_ULP = 1, 2  # of the accuracy table, for beta = 1


def distance(a: list[Tensor], b: list[Tensor]) -> float:
    """Return the largest relative distance of results, each taken as one vector."""
    return max(((x - y).norm() / y.norm()).item() for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_gives_the_same_results(name):
    differs = []
    # In float64 PyTorch's own reversion above 20 is wrong by 5e-11.
    for dtype, bound in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        run = PROGRAMS[name](dtype=dtype)
        before = run()
        with patch():
            under = run()
        assert distance(under, before) <= bound
        assert distance(run(), before) == 0
        differs.append(distance(under, before) > 0)
    assert any(differs), "the patch did not reach the program"


SOFTPLUS = {
    "GPyTorch": Positive().transform,
    "torch.distributions": distributions.SoftplusTransform(),
    "Pyro": pyro_transforms.SoftplusTransform(),
}


@pytest.mark.parametrize("library", SOFTPLUS)
@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float32, FLOAT32_ULP), (torch.float64, FLOAT64_ULP)]
)
def test_a_transform_keeps_the_accuracy_table(library, dtype, bound):
    x = torch.cat([torch.linspace(-80, 60, 2001), torch.tensor([0.0, 20.0, 20.5])]).to(dtype)
    exact = [references.softplus(value) for value in x.tolist()]
    with patch():
        y = SOFTPLUS[library](x)
    assert max(references.ulp_errors(y, exact)) <= bound
    assert not torch.equal(SOFTPLUS[library](x), y), "the patch did not reach the transform"


@pytest.mark.parametrize("library", ["torch.distributions", "Pyro"])
def test_a_log_determinant_keeps_the_accuracy_table(library):
    x = torch.linspace(-80, 60, 2001, dtype=torch.float64)
    exact = [-references.softplus(-value) for value in x.tolist()]
    with patch():
        y = SOFTPLUS[library].log_abs_det_jacobian(x, None)
    assert max(references.ulp_errors(y, exact)) <= FLOAT64_ULP


def test_schnetpack_s_shifted_softplus_is_softplus_s_error_and_one_rounding():
    x = torch.linspace(-40, 40, 2001)
    exact = [references.softplus(value) for value in x.tolist()]
    with patch():
        error = activations.shifted_softplus(x).double() - torch.tensor(
            [float(y - references.LN2) for y in exact], dtype=torch.float64
        )
    unit = torch.tensor([float(references.ulp(y, torch.float32)) for y in exact])
    rounding = torch.finfo(torch.float32).eps  # of ln 2, and of the difference
    assert (error.abs() <= FLOAT32_ULP * unit + rounding * (0.5 + x.abs())).all()


def test_a_registry_keyed_by_pytorch_s_function_still_finds_it():
    before = TRANSFORM_REGISTRY[functional.softplus]
    with patch():
        assert TRANSFORM_REGISTRY[functional.softplus] is before
