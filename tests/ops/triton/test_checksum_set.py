"""The GPU kernels in the interpreter on the inputs of the CPU's checksums: on every half number.

The CPU flushes subnormal numbers, and the GPU does not: they are left out.
"""

import pytest
import torch
from torch import Tensor

from interpreting import beside_the_cpu, launcher
from ops.cpu.test_checksums import checksums

pytestmark = beside_the_cpu

HALVES = [torch.bfloat16, torch.float16]
OF_FLOAT32 = ["forward", "backward from the output", "the same towards the input", "inverse"]
OF_HALVES = [name for name in checksums.PASSES if name != "log-sigmoid"]
# How far apart results may be, of a beta of 1 and of others: forward passes have operations of
# their own, as has float32's backward of 1, and the CPU rounds a half type's inverse, and its shift
# by a number, twice.
APART = {"forward": (1, 2), "forward with a threshold": (1, 2), "shifted": (2, 2)}
APART |= {"inverse": (1, 1), "shifted by a number": (1, 1)}
APART |= {"backward from the output": (2, 0), "the same towards the input": (2, 0)}
# With a beta for each element the GPU computes these in double, the CPU in float.
IN_FLOAT = [name for name in checksums.PASSES if "tensor" in name and "double" not in name]
APART |= dict.fromkeys(IN_FLOAT, (1, 1))


def on_gpu(name: str, call) -> tuple[Tensor, ...]:
    """Return what the operators of a GPU give for a call of a kernel of the CPU."""
    one = checksums.PASSES[name]
    operator = call.kernel.removesuffix("_of_output").removesuffix("_of_input")
    if one.beta_of_each:
        options = call.threshold, call.shifted
    elif operator == "shifted":
        options = call.beta, call.shift
    elif operator == "inverse":
        options = (call.beta,)
    elif operator == "forward":
        options = call.beta, call.threshold
    else:
        options = call.beta, call.threshold, call.kernel.endswith("_of_output")
        options += (call.to_input,) if operator == "double_backward" else ()
    results = launcher().OPERATORS[operator](*call.inputs, *options)
    return results if isinstance(results, tuple) else (results,)


def apart(one: Tensor, other: Tensor) -> Tensor:
    """Return how many numbers lie between results of one sign."""
    bits = checksums.BITS[one.itemsize]
    return (one.view(bits).long() - other.view(bits).long()).abs()


def hold(name: str, dtype: torch.dtype, beta: float) -> None:
    """Hold that results are those of the CPU, to the last bit where the operations are the same."""
    call, wanted = checksums.calls(name, dtype, beta)
    checksums.run_here(call, wanted)
    tiny = 4 * torch.finfo(dtype).tiny
    usual = torch.ones(wanted[0].shape, dtype=torch.bool)
    for role, tensor in zip(checksums.PASSES[name].inputs, call.inputs, strict=False):
        usual &= (tensor == 0) | (tensor.abs() >= tiny)
        if role in "xy":  # of a subnormal part of a slope a large gradient makes a usual result
            product = (tensor.double() * beta).abs()
            usual &= (product == 0) | (product >= 2.0**-100) & (product < 80)
    for got, other in zip(on_gpu(name, call), wanted, strict=True):
        assert torch.equal(got.isnan() & usual, other.isnan() & usual)
        here = usual & ~other.isnan() & (other.abs() >= tiny)
        assert here.double().mean() > 0.1
        if got.dtype != dtype and name in IN_FLOAT:  # towards beta: of float's digits and range
            here &= got.abs() < torch.finfo(torch.float32).max
            torch.testing.assert_close(got[here], other[here], rtol=2e-6, atol=0)
            continue
        distance = apart(got[here], other[here]).max()
        allowed = APART.get(name, (0, 0))[beta != 1]
        assert distance <= allowed, (name, beta, distance)


@pytest.mark.parametrize("beta", checksums.BETAS)
@pytest.mark.parametrize("name", OF_FLOAT32)
def test_float32(name, beta):
    hold(name, torch.float32, beta)


@pytest.mark.parametrize("dtype", HALVES, ids=lambda dtype: str(dtype)[6:])
@pytest.mark.parametrize("name", OF_HALVES)
def test_every_half(name, dtype):
    for beta in checksums.BETAS:
        hold(name, dtype, beta)
