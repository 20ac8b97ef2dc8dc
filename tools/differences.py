"""Prints for which inputs the instruction sets give other results, in the passes of checksums.py.

Those of this CPU are compared, and those of aarch64 where there is an emulator (three minutes). The
baseline of x86 is left out: without fused multiplication and addition it rounds twice.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import checksums
import emulator
import torch
from checksums import BITS, Call, Run
from torch import Tensor

from softplus.ops import cpu


def on(isa: str) -> Run:
    """Return what runs a call on an instruction set."""

    def run(call: Call, outputs: list[Tensor]) -> None:
        cpu.use(isa)
        checksums.run_here(call, outputs)

    return run


def in_hex(bits: Tensor) -> str:
    """Return one element as an unsigned number."""
    return f"{bits.item() % (1 << 8 * bits.itemsize):0{2 * bits.itemsize}x}"


def differences(
    expected: Run, run: Run, name: str, dtype: torch.dtype, beta: float
) -> Iterator[str]:
    """Yield, for each output of a pass, how many results differ and the first that does."""
    inputs = [t.view(BITS[t.itemsize]) for t in checksums.calls(name, dtype, beta)[0].inputs]
    results = [checksums.results(one, name, dtype, beta) for one in (expected, run)]
    for a, b in zip(*results, strict=True):
        where = (a != b).nonzero()[:, 0]
        if len(where):
            floats = torch.float64 if a.itemsize == 8 else dtype
            both_nan = a[where].view(floats).isnan() & b[where].view(floats).isnan()
            at, *found = (in_hex(t[where[0]]) for t in (inputs[0], *inputs[1:], a, b))
            yield f"{len(where)} | {both_nan.sum()} | {at} {' '.join(found[:-2])} | {' | '.join(found[-2:])}"


def print_all(runs: dict[str, Run]) -> None:
    """Print where others differ from the first."""
    first, *others = runs
    print(f"set | pass | dtype | beta | differ from {first} | of these NaN | at | {first} | other")
    for name, dtype in checksums.cases():
        for beta in checksums.betas(name):
            for other in others:
                for found in differences(runs[first], runs[other], name, dtype, beta):
                    case = f"{other} | {name} | {str(dtype)[6:]} | {beta:g}"
                    print(f"{case} | {found}", flush=True)


def main() -> None:
    """Compare what can be run here."""
    runs = {isa: on(isa) for isa in reversed(cpu.available()) if isa != "baseline"}
    if emulator.ABSENT:
        print(emulator.ABSENT)
        print_all(runs)
        return
    with tempfile.TemporaryDirectory() as folder:
        program = emulator.compiled(Path(folder))
        with emulator.running(program) as emulated:
            print_all({**runs, "aarch64": emulated})


if __name__ == "__main__":
    main()
