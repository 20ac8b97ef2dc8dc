"""Prints a checksum of what every kernel gives for fixed inputs, in every dtype and for five betas.

    python tools/checksums.py > tests/ops/cpu/checksums.txt

makes the ones that the tests compare with: they are one for all instruction sets but the baseline of
x86, which has no fused multiplication and addition. SOFTPLUS_ISA chooses the set they come from.
Where they differ, tools/differences.py prints the inputs.
"""

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from softplus.ops import cpu

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]  # in the order of kernels.h
BETAS = [0.1, 1.0, 5.0, 100.0, -2.0]
BITS = {8: torch.int64, 4: torch.int32, 2: torch.int16}
# Odd, and 2^64 and 2^32 over the golden ratio: multiples of it fall evenly into the range.
GOLDEN = {8: 0x9E3779B97F4A7C15 - (1 << 64), 4: 0x9E3779B1 - (1 << 32)}
TO_INPUT, SHIFTED = 1, 2


@dataclass(frozen=True)
class Pass:
    """A kernel and the parameters beside beta; inputs by role: an incoming gradient or a value."""

    kernel: str
    inputs: str  # g: gradients, x: inputs, y: outputs of softplus, b: float64 gradients
    outputs: str  # x: the dtype, b: float64
    threshold: float = 20.0
    shift: float | None = 0.0
    to_input: bool = False
    shifted: bool = False
    beta_of_each: bool = False


PASSES = {
    "forward": Pass("forward", "x", "x"),
    "forward with a threshold": Pass("forward", "x", "x", threshold=5.0),
    "backward from the output": Pass("backward_of_output", "gy", "x"),
    "backward from the input": Pass("backward_of_input", "gx", "x"),
    "backward with a threshold": Pass("backward_of_input", "gx", "x", threshold=5.0),
    "double backward from the output": Pass("double_backward_of_output", "hgy", "xx"),
    "the same towards the input": Pass("double_backward_of_output", "hgy", "xx", to_input=True),
    "double backward from the input": Pass("double_backward_of_input", "hgx", "xx"),
    "shifted": Pass("shifted", "x", "x", shift=None),
    "shifted by a number": Pass("shifted", "x", "x", shift=0.3),
    "inverse": Pass("inverse", "x", "x"),
    "log-sigmoid": Pass("log_sigmoid", "x", "xx"),
    "tensor beta: forward": Pass("forward_each", "x", "x", beta_of_each=True),
    "tensor beta: backward": Pass("backward_each", "gx", "xb", beta_of_each=True),
    "tensor beta: double backward": Pass("double_backward_each", "hcgx", "xxb", beta_of_each=True),
    "tensor beta, shifted: forward": Pass(
        "forward_each", "x", "x", shifted=True, beta_of_each=True
    ),
    "tensor beta, shifted: backward": Pass(
        "backward_each", "gx", "xb", shifted=True, beta_of_each=True
    ),
    "tensor beta, shifted: double backward": Pass(
        "double_backward_each", "hcgx", "xxb", shifted=True, beta_of_each=True
    ),
}


@dataclass(frozen=True)
class Call:
    """What a kernel is called with."""

    kernel: str
    dtype: int
    beta: float
    threshold: float
    shift: float | None
    to_input: bool
    shifted: bool
    inputs: list[Tensor]


# Makes a call, into the outputs.
Run = Callable[[Call, list[Tensor]], None]


def run_here(call: Call, outputs: list[Tensor]) -> None:
    """Run a call on the instruction set in use."""
    number = cpu._kernels.KERNELS.index(call.kernel)  # noqa: SLF001
    flags = TO_INPUT * call.to_input + SHIFTED * call.shifted
    n, inner, threads = outputs[0].numel(), 1, 1
    options = call.beta, call.threshold, call.shift, flags, inner, n, threads
    addresses = [tensor.data_ptr() for tensor in (*outputs, *call.inputs)]
    cpu._kernels.run(number, call.dtype, n, *options, *addresses)  # noqa: SLF001


def near_the_flush_limit(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return gradients and inputs whose products are nearly the smallest normal number.

    (1 + 2^-k) (1 - 2^-k) of it is below, and rounds to it: some processors return 0 there.
    """
    tiny, x = torch.finfo(dtype).tiny, []
    for k in range(5, 30):
        near = torch.tensor(k * math.log(2), dtype=dtype).view(BITS[dtype.itemsize])
        x.append((near + torch.arange(-64, 64)).to(near.dtype).view(dtype))
    k = torch.arange(5, 30).repeat_interleave(128)
    return (tiny * (1 + torch.exp2(-k.double()))).to(dtype), torch.cat(x)


@cache
def values(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return inputs, two kinds of gradient of the dtype, and one of float64, all of one length."""
    size = dtype.itemsize
    if size == 2:
        x = torch.arange(1 << 16).to(torch.int16).view(dtype)
        g = (torch.arange(1 << 16) * 40503).to(torch.int16).view(dtype)
    elif size == 4:
        count = (1 << 32) // 1009
        x = (torch.arange(count) * 1009).to(torch.int32).view(dtype)
        g = (torch.arange(count) * GOLDEN[4]).to(torch.int32).view(dtype)
    else:
        steps = torch.arange(1 << 17) * GOLDEN[8]
        even = steps.double() * 2.0**-63  # from -1 to 1
        x = torch.cat([steps.view(dtype), even * 2, even * 40, even * 760, even * 1e-12])
        g = torch.cat([even * 2, steps.view(dtype), even * 2, even * 1e-300, even * 2])
    limit_g, limit_x = near_the_flush_limit(dtype)
    x, g = torch.cat([x, limit_x]), torch.cat([g, limit_g])
    h = g.flip(0).clamp(-4, 4)
    return x, g, h, torch.where(g.isfinite(), g.double(), 0.5)


def calls(name: str, dtype: torch.dtype, beta: float) -> tuple[Call, list[Tensor]]:
    """Return the call of a pass, and memory for its outputs."""
    one = PASSES[name]
    x, g, h, c = values(dtype)
    roles = {"x": x, "y": x.abs() * math.copysign(1, beta), "g": g, "h": h, "c": c}
    inputs = [roles[role].contiguous() for role in one.inputs]
    if one.beta_of_each:
        inputs.append(torch.full((x.numel(),), beta, dtype=torch.float64))
    options = one.threshold, one.shift, one.to_input, one.shifted
    call = Call(one.kernel, DTYPES.index(dtype), beta, *options, inputs)
    types = [dtype if kind == "x" else torch.float64 for kind in one.outputs]
    return call, [torch.empty(x.numel(), dtype=type_) for type_ in types]


def results(run: Run, name: str, dtype: torch.dtype, beta: float) -> list[Tensor]:
    """Return the bits that a pass gives."""
    call, outputs = calls(name, dtype, beta)
    run(call, outputs)
    return [tensor.view(BITS[tensor.itemsize]) for tensor in outputs]


def checksum(run: Run, name: str, dtype: torch.dtype, beta: float) -> str:
    """Return the checksum of what a pass gives."""
    checksum = 0
    for tensor in results(run, name, dtype, beta):
        checksum = zlib.crc32(memoryview(tensor.numpy()), checksum)
    return f"{checksum:08x}"


def betas(name: str) -> list[float]:
    """Return the betas that a pass is run with: log-sigmoid has none."""
    return [1.0] if name == "log-sigmoid" else BETAS


def cases() -> Iterator[tuple[str, torch.dtype]]:
    """Yield passes and dtypes."""
    for name in PASSES:
        for dtype in DTYPES:
            yield name, dtype


def line(run: Run, name: str, dtype: torch.dtype) -> str:
    """Return the line of a pass in a dtype: a checksum for each beta."""
    sums = [checksum(run, name, dtype, beta) for beta in betas(name)]
    return f"{name} | {str(dtype)[6:]} | {' '.join(sums)}"


def main() -> None:
    """Print them all."""
    print(f"pass | dtype | beta = {', '.join(f'{beta:g}' for beta in BETAS)}")
    for case in cases():
        print(line(run_here, *case), flush=True)


if __name__ == "__main__":
    main()
