"""`benchmarks/gpu.py` where there is no GPU: what it says, and its code on one that is faked."""

import contextlib
import functools
import importlib
import inspect
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from marks import with_kernels
from softplus.ops import triton

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "gpu.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "gpu.py: nothing to measure: PyTorch sees no GPU\n"
    assert not any(tmp_path.iterdir())


class Faked:
    """What of torch.cuda the benchmark uses, with signatures that are PyTorch's."""

    def __init__(self, monkeypatch) -> None:
        self.streams, self.captured = ["the default"], []
        replacements = {
            "is_available": lambda: True,
            "synchronize": lambda: None,
            "current_stream": lambda: self.streams[-1],
            "stream": self.stream,
            "graph": self.graph,
            "device_count": lambda: 1,
            "mem_get_info": lambda: (0, 0),
            "memory_allocated": lambda: 7,
            "max_memory_allocated": lambda: 12,
            "reset_peak_memory_stats": lambda: None,
            "get_device_properties": lambda _: SimpleNamespace(name="faked", total_memory=1),
            "Stream": lambda: SimpleNamespace(wait_stream=lambda _: None, synchronize=lambda: None),
            "Event": Event,
            "CUDAGraph": Graph,
        }
        for name, replacement in replacements.items():
            original = getattr(torch.cuda, name)
            monkeypatch.setattr(torch.cuda, name, checked(replacement, original))

    @contextlib.contextmanager
    def stream(self, stream):
        self.streams.append(stream)
        yield
        self.streams.pop()

    @contextlib.contextmanager
    def graph(self, graph, stream=None):
        self.captured.append((stream, self.streams[-1]))
        yield graph


def checked(replacement, original):
    """Return a replacement that takes no arguments that PyTorch's own does not take."""
    signature = inspect.signature(original)

    @functools.wraps(replacement, updated=())
    def call(*arguments, **options):
        signature.bind(*arguments, **options)
        return replacement(*arguments, **options)

    return call


class Event:
    """A time of the host."""

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.time = time.perf_counter()

    def synchronize(self) -> None:
        """Everything has run."""

    def elapsed_time(self, end) -> float:
        return max(1e3 * (end.time - self.time), 1e-3)


class Graph:
    """A graph of nothing."""

    def replay(self) -> None:
        """What was captured has run."""


class Device(str):
    """A device of the CPU that is not called so."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return False


@pytest.fixture(autouse=True)
def faked(monkeypatch):
    return Faked(monkeypatch)


@pytest.fixture
def gpu(monkeypatch):
    """The script as a module, on tiny tensors of the CPU that count as a GPU's."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    module = importlib.import_module("gpu")
    monkeypatch.setattr(module, "DEVICE", "cpu")
    monkeypatch.setattr(module, "SIZES", (64, 128))
    monkeypatch.setattr(module, "CALL_SIZES", (64, 128))
    monkeypatch.setattr(module, "BETAS", (4, 16))
    monkeypatch.setattr(module, "SECONDS", 1e-4)
    monkeypatch.setattr(triton, "absent", lambda: None)
    monkeypatch.setattr(triton, "serves", lambda _: True)
    monkeypatch.setattr(triton, "from_bytes", 0)
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    monkeypatch.setattr(module, "environment", lambda: {"device": "faked"})
    for name in ("sdf_steps", "memory", "compiled"):
        tiny = tiny_form(getattr(module.gpu_networks, name))
        monkeypatch.setattr(module.gpu_networks, name, tiny)
    monkeypatch.setattr(module.gpu_checks, "run", tiny_form(module.gpu_checks.run))
    return module


def tiny_form(function):
    return lambda *arguments, **options: function(*arguments, **options | {"tiny": True})


@with_kernels
def test_its_code_for_a_gpu_runs(gpu, faked, monkeypatch, tmp_path, capsys):
    """Every section; the figures mean nothing. The CPU flushes subnormal results, which is told."""
    target = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--json", str(target)])
    assert gpu.main() == 1
    results = json.loads(target.read_text(encoding="utf-8"))
    printed = capsys.readouterr().out
    assert "failed: accuracy_of_float32, rounding_of_halves;" in printed
    sections = {name for name, rows in results.items() if isinstance(rows, list)}
    assert sections == {"checks", "bandwidth", "sdf", "memory", "calls", "betas", "compiled"}
    assert [row["run"] for row in results["sdf"]] == ["eager", "compiled"]
    assert len(results["bandwidth"]) == 2 * (3 + 2) + 2 * 3
    assert {"kernels_over_pytorch", "shipped_over_pytorch"} <= results["calls"][0].keys()
    assert set(results["bounds"].values()) == {True, False}
    assert faked.streams == ["the default"]


def test_it_says_where_it_ran(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    compiler = ModuleType("triton")
    compiler.__version__ = "3.9"
    monkeypatch.setitem(sys.modules, "triton", compiler)
    found = importlib.import_module("gpu").environment()
    assert (found["triton"], found["device"], found["memory"]) == ("3.9", "faked", 1)


def test_a_graph_captures_the_stream_of_the_forward(gpu, faked, monkeypatch, tmp_path):
    """On another stream than the default, or no backward is captured."""
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--json", str(tmp_path / "gpu.json")])
    monkeypatch.setattr(gpu.gpu_checks, "run", lambda *_, **__: [])
    gpu.main()
    assert len(faked.captured) > 50
    assert all(stream is current for stream, current in faked.captured)
    assert {id(stream) for stream, _ in faked.captured} == {id(faked.captured[0][0])}
    assert faked.captured[0][0] != "the default"


def test_checks_and_memory_on_a_gpu(gpu, faked):
    device = Device("cpu")
    with pytest.raises(AssertionError, match="other bits"):  # what was captured does not follow
        gpu.gpu_checks.streams_and_graphs(device, 1)
    assert gpu.gpu_checks.several_devices(device, 1) == "only one device here"
    assert gpu.gpu_checks.beyond_32_bits(device, 1) == "not enough memory here"
    assert gpu.gpu_networks.peak_bytes(lambda: None, device) == 5
    assert len(faked.captured) == 1


def test_what_takes_too_long_is_broken_off(gpu, monkeypatch, tmp_path):
    """And whatever catches exceptions inside does not keep it."""

    def endless() -> None:
        while True:
            with contextlib.suppress(Exception):
                time.sleep(1)

    monkeypatch.setattr(gpu, "LIMIT", 0.2)
    target = tmp_path / "gpu.json"
    results = gpu.measured({"endless": endless, "late": list}, target)
    assert results["endless"] == results["late"] == "skipped: out of time"
    assert gpu.judged(results, target) == 1


def test_a_section_that_fails_leaves_the_others(gpu, tmp_path):
    def broken() -> None:
        raise RuntimeError("for this test")

    results = gpu.measured({"one": broken, "two": lambda: [{"a": 1.0}]}, tmp_path / "gpu.json")
    assert "for this test" in results["one"]
    assert results["two"] == [{"a": 1.0}]
    assert gpu.judged(results, tmp_path / "gpu.json") == 1


def test_the_bounds_are_those_of_the_issue(gpu):
    row = {"run": "forward", "dtype": "float32", "elements": 1 << 24, "of_copy_bandwidth": 0.89}
    double = {"run": "double backward", "dtype": "float32", "elements": 1 << 24}
    results = {
        "bandwidth": [row, double | {"over_pytorch": 0.33}],
        "memory": [{"network": "MLP", "relu_bytes": 4, "ours": 4}],
        "sdf": [{"run": "eager", "over_pytorch": 0.84}, {"run": "compiled", "refused": "both"}],
        "calls": [{"bytes": 256, "shipped_over_pytorch": 1.11}],
    }
    assert list(gpu.bounds(results).values()) == [False, True, True, False, False]


def test_the_size_from_which_kernels_serve_is_found(gpu):
    rows = [{"bytes": 4**k, "kernels_over_pytorch": r} for k, r in enumerate([3, 1.0, 1.2, 1.1, 1])]
    assert gpu.from_bytes(rows) == 64
    assert gpu.from_bytes(rows[:1]) is None
