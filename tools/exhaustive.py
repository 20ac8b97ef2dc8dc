"""Runs all 2^32 float32 inputs through every instruction set's kernels and prints the errors in ULP.

The reference is exp and log1p in float64, whose own error is below 1e-8 ULP of a float32. Inputs
whose exact result is below 2^-126 must give 0, NaN must give NaN: `wrong` counts those that do not.
Fails where an error is larger than the one stated above the function, in `maths.h` or
`derivatives.h` of `ops/cpu`.
"""

import time

import torch
from stated_errors import largest_errors
from torch import Tensor

from softplus import softplus
from softplus.ops import cpu

BLOCK = 1 << 22
TINY = torch.finfo(torch.float32).tiny
# Kernels, and the functions above which their largest errors stand
FUNCTIONS = {
    "forward": "softplus",
    "backward from y": "sigmoid_of_output",
    "backward from x": "derivative_of_input",
}


def kernels(x: Tensor) -> dict[str, Tensor]:
    """Return what the kernels in use give for a block."""
    y, ones = softplus(x), torch.ones_like(x)
    backward = torch.ops.softplus.backward
    return {
        "forward": y,
        "backward from y": backward(ones, y, 1.0, 20.0, True),
        "backward from x": backward(ones, x, 1.0, 20.0, False),
    }


def ulp_errors(got: Tensor, exact: Tensor) -> Tensor:
    """Return the errors of normal float32 results in units of the exact result's last place."""
    spacing = torch.ldexp(torch.ones_like(exact), torch.frexp(exact)[1] - 24)
    return (got.double() - exact).abs() / spacing


def main() -> None:
    """Sweep, with progress, and print the table."""
    errors = largest_errors()
    stated = {name: errors[function, "float32", "1"] for name, function in FUNCTIONS.items()}
    worst = {(isa, name): (0.0, 0.0) for isa in cpu.available() for name in stated}
    wrong = dict.fromkeys(worst, 0)
    start = time.monotonic()
    for first in range(-(1 << 31), 1 << 31, BLOCK):
        x = torch.arange(first, first + BLOCK).to(torch.int32).view(torch.float32)
        x64 = x.double()
        t = torch.exp(-x64.abs())
        exact_y = x64.clamp(min=0) + torch.log1p(t)
        exact_s = torch.where(x64 < 0, t, 1.0) / (1 + t)
        # Without an output, nothing is known of a derivative: where y is flushed, so is s.
        normal = (exact_y >= TINY) & (exact_s >= TINY) & x64.isfinite()
        for isa in cpu.available():
            cpu.use(isa)
            for name, got in kernels(x).items():
                exact = exact_y if name == "forward" else exact_s
                errors = torch.where(normal, ulp_errors(got, exact), 0.0)
                error, index = errors.max(dim=0)
                if error > worst[isa, name][0]:
                    worst[isa, name] = (error.item(), x[index].item())
                expected = torch.where(exact < TINY, 0.0, exact.float())
                right = (got == expected) | (got.isnan() & x.isnan())
                wrong[isa, name] += int((~right & ~normal).sum())
        if not (first // BLOCK) % 64:
            share = (first + (1 << 31) + BLOCK) / (1 << 32)
            print(f"{share:4.0%} after {time.monotonic() - start:.0f} s", flush=True)
    print("instruction set | kernel | largest error (ULP) | at x | stated | wrong special results")
    for (isa, name), (error, x) in worst.items():
        print(f"{isa} | {name} | {error:.4f} | {x:.9g} | {stated[name]:g} | {wrong[isa, name]}")
    met = all(error <= stated[name] for (_, name), (error, _) in worst.items())
    raise SystemExit(0 if met and not any(wrong.values()) else 1)


if __name__ == "__main__":
    main()
