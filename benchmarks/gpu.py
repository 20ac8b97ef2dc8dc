"""Checks the GPU kernels and measures them: against ReLU, PyTorch's Softplus and a plain copy.

    python benchmarks/gpu.py             # on a GPU: checks first, then everything, in four minutes
    python benchmarks/gpu.py --tune      # and the shapes of the programs
    python benchmarks/gpu.py --dry-run   # in Triton's interpreter, on tiny tensors: does it run?

Needs PyTorch 2.11 or newer, Triton and this source tree: nothing is built, nothing fetched. The
figures go to gpu.json, or where --json says, and as tables to the terminal. Each is measured beside
what it is compared with, in rounds that visit one after the other; a table shows the median of the
rounds. A check that fails is printed, and so is a bound that is missed; the exit code is then 1,
and 2 where there is no GPU to run on.

Time on the device is that of a CUDA graph of many calls, which has no cost of the host in it; that
of a call is between events around calls as a program makes them. All runs on one stream, and not on
the default one: autograd runs a backward on the stream of its forward, so a graph captures both.
"""

import argparse
import json
import math
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
DRY = "--dry-run" in sys.argv
if DRY and find_spec("triton") is None:
    sys.stderr.write(
        "gpu.py: --dry-run runs in Triton's interpreter: pip install --no-deps triton\n"
    )
    sys.exit(2)
if DRY:
    import interpreted  # noqa: F401 -- CPU tensors then count as those of a GPU

import gpu_checks  # noqa: E402
import gpu_networks  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

import softplus  # noqa: E402
from softplus.ops import cpu, entry, triton  # noqa: E402

Function = Callable[[], Any]
DEVICE = "cpu" if DRY else "cuda"
MEBI = 1 << 20
SIZES = (1 << 10,) if DRY else (16 * MEBI, 64 * MEBI, 256 * MEBI)
BETAS = (4, 16) if DRY else (1 << 16, 512)  # a shape, with a beta for each of its last dimension
CALL_SIZES = (64, 1024) if DRY else tuple(4**k for k in range(3, 14))
ROUNDS = 2 if DRY else 7
SECONDS = 0.001 if DRY else 0.02  # of a round of one contender
SERVED_FROM = triton.from_bytes
LIMIT = 220  # seconds, after which a section is broken off, and what is left is skipped
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MORE_DTYPES = DTYPES | {"float16": torch.float16, "float64": torch.float64}


# Timing


def seconds_of(call: Function, repeats: int) -> float:
    """Return how long so many calls take on the device, one after the other."""
    if DRY:
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        return time.perf_counter() - start
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def as_graph(call: Function, repeats: int) -> Function:
    """Return what makes so many calls without the host; of a call that was made before."""
    if DRY:
        return lambda: [call() for _ in range(repeats)]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        for _ in range(repeats):
            call()
    return graph.replay


def timed(calls: dict[str, Function], *, on_device: bool) -> dict[str, float]:
    """Return the seconds that each call takes, the median of rounds that visit all in turn."""
    made: dict[str, tuple[Function, int, int]] = {}
    for name, call in calls.items():
        call()
        seconds_of(call, 2)
        repeats = max(1, min(1000, int(SECONDS / max(seconds_of(call, 3) / 3, 1e-7))))
        if on_device:
            made[name] = as_graph(call, repeats), 1, repeats
        else:
            made[name] = call, repeats, repeats
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, (call, visits, count) in made.items():
            found[name].append(seconds_of(call, visits) / count)
    return {name: median(times) for name, times in found.items()}


# What is measured


def normal(n: int, dtype: torch.dtype) -> Tensor:
    """Return normal numbers on the device."""
    return torch.randn(n, device=DEVICE).to(dtype)


def backward_of(function: Callable[[Tensor], Tensor], x: Tensor, g: Tensor) -> Function:
    """Return the call of a function's backward."""
    leaf = x.detach().requires_grad_()
    y = function(leaf)
    return lambda: torch.autograd.grad(y, leaf, g, retain_graph=True)


def double_backward_of(function: Callable[[Tensor], Tensor], x: Tensor, g: Tensor) -> Function:
    """Return the call of the backward of its backward."""
    leaf, given = x.detach().requires_grad_(), g.detach().requires_grad_()
    (first,) = torch.autograd.grad(function(leaf), leaf, given, create_graph=True)
    return lambda: torch.autograd.grad(first, (leaf, given), g, retain_graph=True)


def bandwidth() -> list[dict[str, Any]]:
    """Measure forward, backward and double backward on the device, beside a copy."""
    rows = []
    for name, dtype in MORE_DTYPES.items():
        for size in SIZES if name in DTYPES else SIZES[:1]:
            x, g, out = normal(size, dtype), normal(size, dtype), normal(size, dtype)
            ways = {"ours": softplus.softplus, "PyTorch": functional.softplus, "ReLU": torch.relu}
            passes = {
                "forward": (lambda f, x=x: lambda: f(x), 1.0),
                "backward": (lambda f, x=x, g=g: backward_of(f, x, g), 1.5),
            }
            if size == SIZES[0]:
                # three tensors are read and two written, where a copy reads and writes one
                passes["double backward"] = (lambda f, x=x, g=g: double_backward_of(f, x, g), 2.5)
            for run, (made, traffic) in passes.items():
                calls = {way: made(f) for way, f in ways.items()}
                if run == "double backward":
                    del calls["ReLU"]
                with torch.set_grad_enabled(run != "forward"):
                    copy = {"copy": lambda x=x, out=out: out.copy_(x)}
                    times = timed(copy | calls, on_device=True)
                copied = times["copy"] * traffic
                row = {"run": run, "dtype": name, "elements": size, "seconds": times}
                row["copy_bandwidth_tb_s"] = 2 * x.nbytes / times["copy"] / 1e12
                row["of_copy_bandwidth"] = copied / times["ours"]
                row["over_pytorch"] = times["ours"] / times["PyTorch"]
                row["over_relu"] = times["ours"] / times["ReLU"] if "ReLU" in times else None
                rows.append(row)
    return rows


def serve_from(size: int) -> None:
    """Have the kernels serve calls from so many bytes on, as SOFTPLUS_TRITON_FROM does."""
    triton.from_bytes = size
    if cpu.entry_absent is None:
        cpu.serve_gpu(entry._softplus, size)  # noqa: SLF001 -- as the variable does at import


def calls() -> list[dict[str, Any]]:
    """Measure calls as a program makes them, at every size: by the kernels, and as shipped."""
    rows = []
    for size in CALL_SIZES:
        row: dict[str, Any] = {"bytes": 4 * size}
        for way, served_from in {"kernels": 0, "shipped": SERVED_FROM}.items():
            serve_from(served_from)
            forward, both = of_a_call(size)
            row |= {f"{way}, forward": forward, f"{way}, and backward": both}
            ratios = [times["ours"] / times["PyTorch"] for times in (forward, both)]
            row[f"{way}_over_pytorch"] = max(ratios)
        rows.append(row)
    serve_from(0)
    return rows


def of_a_call(size: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return the seconds of a forward call, and of one with its backward."""
    x, g = normal(size, torch.float32), normal(size, torch.float32)
    leaf = x.clone().requires_grad_()
    ways = {"ours": softplus.softplus, "PyTorch": functional.softplus}
    with torch.no_grad():
        forward = timed({w: lambda f=f: f(x) for w, f in ways.items()}, on_device=False)
    steps = {w: lambda f=f: torch.autograd.grad(f(leaf), leaf, g) for w, f in ways.items()}
    return forward, timed(steps, on_device=False)


def from_bytes(rows: list[dict[str, Any]]) -> int | None:
    """Return the size from which on no call costs more than 1.1 times PyTorch's."""
    found = None
    for row in reversed(rows):
        if row["kernels_over_pytorch"] > 1.1:
            break
        found = row["bytes"]
    return found


def betas() -> list[dict[str, Any]]:
    """Measure a tensor as beta, one for each channel, beside the one-liner."""
    rows = []
    for name, dtype in DTYPES.items():
        x = normal(math.prod(BETAS), dtype).view(BETAS).requires_grad_()
        g = normal(x.numel(), dtype).view(BETAS)
        beta = torch.rand(BETAS[1], device=DEVICE).add(0.5).to(dtype).requires_grad_()
        ways = {
            "ours": lambda x=x, b=beta: softplus.softplus(x, b),
            "PyTorch": lambda x=x, b=beta: functional.softplus(x * b) / b,
        }

        def step(f: Function, x: Tensor = x, g: Tensor = g, beta: Tensor = beta) -> None:
            torch.autograd.grad(f(), (x, beta), g)

        times = timed({way: lambda f=f: step(f) for way, f in ways.items()}, on_device=False)
        ratio = times["ours"] / times["PyTorch"]
        rows.append({"dtype": name, "seconds": times, "over_pytorch": ratio})
    return rows


def tune() -> list[dict[str, Any]]:
    """Measure the shapes of programs at 64 Mi elements, or the fewest."""
    from softplus.ops.triton import launch  # noqa: PLC0415

    before, rows = launch.shape, []
    for name, dtype in MORE_DTYPES.items():
        size = SIZES[0] if DRY else SIZES[1]
        x, g = normal(size, dtype), normal(size, dtype)
        for block in (1024,) if DRY else (512, 1024, 2048, 4096):
            for warps in (4,) if DRY else (2, 4, 8):
                launch.shape = lambda _, shape=(block, warps): shape
                with torch.no_grad():
                    forward = timed({"ours": lambda x=x: softplus.softplus(x)}, on_device=True)
                backward = timed({"ours": backward_of(softplus.softplus, x, g)}, on_device=True)
                rows.append(
                    {"dtype": name, "block": block, "warps": warps}
                    | {"forward": forward["ours"], "backward": backward["ours"]}
                )
    launch.shape = before
    return rows


# Running


def bounds(results: dict[str, Any]) -> dict[str, bool]:
    """Return which of the plan's bounds are met."""
    found = {}
    for row in results.get("bandwidth") or []:
        name = f"{row['run']}, {row['dtype']}, {row['elements'] / MEBI:g} Mi elements"
        if row["run"] == "double backward":
            found[f"{name}: 3 times faster than PyTorch"] = row["over_pytorch"] <= 1 / 3
        elif row["dtype"] in DTYPES:
            found[f"{name}: 90% of the copy bandwidth"] = row["of_copy_bandwidth"] >= 0.9
    for row in results.get("memory") or []:
        if row["relu_bytes"]:
            found[f"{row['network']}: keeps what ReLU keeps"] = row["ours"] <= row["relu_bytes"]
    for row in results.get("sdf") or []:
        if "refused" in row:
            continue
        bound = 1 / 1.2 if row["run"] == "eager" else 1.0
        found[f"SDF step, {row['run']}: at most {bound:.2f} of PyTorch's"] = (
            row["over_pytorch"] <= bound
        )
    for row in results.get("calls") or []:
        name = f"a call of {row['bytes']:,} bytes: at most 1.1 of PyTorch's"
        found[name] = row["shipped_over_pytorch"] <= 1.1
    return found


def show(name: str, rows: Any) -> None:
    """Print a table, with numbers to three digits."""
    print(f"\n{name}")
    if not (isinstance(rows, list) and rows):
        print(f"  {rows}")
        return
    flat = []
    for row in rows:
        cells = {}
        for key, value in row.items():
            if isinstance(value, dict):
                cells |= {f"{key}: {k}, µs": 1e6 * v for k, v in value.items()}
            else:
                cells[key] = value
        flat.append({k: f"{v:.3g}" if isinstance(v, float) else str(v) for k, v in cells.items()})
    heads = list(dict.fromkeys(head for row in flat for head in row))
    print(" | ".join(heads))
    for row in flat:
        print(" | ".join(row.get(head, "") for head in heads))


def environment() -> dict[str, Any]:
    """Return what the figures are of."""
    import triton as compiler  # noqa: PLC0415

    found = {"torch": torch.__version__, "triton": compiler.__version__, "dry_run": DRY}
    found["entry"] = "C++" if cpu.entry_absent is None else "Python"
    if not DRY:
        properties = torch.cuda.get_device_properties(0)
        found |= {"device": properties.name, "memory": properties.total_memory}
    return found


def unable() -> str | None:
    """Return why nothing can be measured here; None where it can."""
    if DRY:
        return None
    if not torch.cuda.is_available():
        return "PyTorch sees no GPU"
    if why := triton.absent():
        return why
    served = triton.serves(torch.zeros(1, device=DEVICE))
    return None if served else "Triton compiles for no GPU before Volta"


class OutOfTimeError(BaseException):
    """What ends a section; whatever catches exceptions in it lets this one pass."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Break off what takes longer; a dry run takes its time."""

    def stop(*_: Any) -> None:
        raise OutOfTimeError

    if DRY:
        yield
        return
    if seconds <= 0:
        raise OutOfTimeError
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def measured(sections: dict[str, Function], target: Path) -> dict[str, Any]:
    """Run the sections, print each and write all; what fails or is out of time says so."""
    start = time.perf_counter()
    results: dict[str, Any] = {"environment": environment()}
    for name, section in sections.items():
        left = math.inf if name == "tune" else LIMIT - (time.perf_counter() - start)
        try:
            with at_most(min(left, 3600)):
                results[name] = section()
        except OutOfTimeError:
            results[name] = "skipped: out of time"
        except Exception:  # noqa: BLE001 -- one section less, and the others' figures
            results[name] = f"failed: {traceback.format_exc()}"
        show(name, results[name])
        results["seconds"] = time.perf_counter() - start
        target.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return results


def judged(results: dict[str, Any], target: Path) -> int:
    """Print and write what the figures say of the bounds; return the exit code."""
    kept = {name: rows for name, rows in results.items() if isinstance(rows, list)}
    results["from_bytes"] = from_bytes(kept.get("calls", []))
    results["bounds"] = bounds(kept)  # of a dry run they mean nothing
    target.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(f"\nfrom_bytes by these figures: {results['from_bytes']}")
    for bound, met in ({} if DRY else results["bounds"]).items():
        print("met   " if met else "MISSED", bound)
    failed = [name for name, rows in results.items() if str(rows).startswith("failed")]
    failed += [row["check"] for row in kept.get("checks", []) if row["result"] != "passed"]
    skipped = [name for name, rows in results.items() if str(rows).startswith("skipped")]
    print(f"{results['seconds']:.0f} s; failed: {', '.join(failed) or 'nothing'}; {target}")
    if skipped:
        print(f"out of time for: {', '.join(skipped)}")
    missed = not DRY and not all(results["bounds"].values())
    return 1 if failed or skipped or missed else 0


def main() -> int:
    """Check, measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), help="where figures go")
    parser.add_argument("--tune", action="store_true", help="measure the shapes of programs too")
    parser.add_argument("--dry-run", action="store_true", help="tiny, in Triton's interpreter")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    serve_from(0)  # the kernels at every size
    if why := unable():
        sys.stderr.write(f"gpu.py: nothing to measure: {why}\n")
        return 2
    sections: dict[str, Function] = {
        "checks": lambda: gpu_checks.run(DEVICE, tiny=DRY),
        "bandwidth": bandwidth,
        "sdf": lambda: gpu_networks.sdf_steps(DEVICE, timed, tiny=DRY),
        "memory": lambda: gpu_networks.memory(DEVICE, tiny=DRY),
        "calls": calls,
        "betas": betas,
        "compiled": lambda: gpu_networks.compiled(DEVICE, timed, tiny=DRY),
    }
    if options.tune:
        sections["tune"] = tune
    with nullcontext() if DRY else torch.cuda.stream(torch.cuda.Stream()):
        results = measured(sections, options.json)
    return judged(results, options.json)


if __name__ == "__main__":
    sys.exit(main())
