"""The benchmark: what it prints, writes and refuses, how it times; no time is asserted."""

import json
import sys

import pytest
import torch

from softplus import cli
from softplus.lab import bench, timing


def run(monkeypatch, *arguments):
    """Run the command line in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["softplus", "bench", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code


def test_bench_prints_the_bounds_and_writes_the_times_and_the_plot(monkeypatch, capsys, tmp_path):
    narrow = ["--quick", "--dtype", "float32,float16", "--size", "64,65536", "--threads", "1"]
    files = ["--json", tmp_path / "bench.json", "--plot", tmp_path / "bench.svg"]
    threads = torch.get_num_threads()
    assert run(monkeypatch, *narrow, *files) == 0
    assert torch.get_num_threads() == threads
    printed = capsys.readouterr().out
    assert "times faster" in printed
    assert "not compiled: --quick" in printed
    results = json.loads((tmp_path / "bench.json").read_text())
    assert results["torch"] == torch.__version__
    assert results["not_compiled"] == "--quick"
    assert results["settings"]["sizes"] == [64, 65536]
    measured = [(case["direction"], case["dtype"], case["size"]) for case in results["cases"]]
    assert measured == [
        (direction, dtype, size)
        for dtype in ("float32", "float16")
        for size in (64, 65536)
        for direction in ("forward", "with grad", "backward", "double backward")
        if direction != "with grad" or size == 64
    ]
    for case in results["cases"]:
        copied = {"copy"} if case["direction"] == "forward" else set()
        assert set(case["eager"]) == {"ReLU", "PyTorch", "softplus"} | copied
        assert min(case["eager"].values()) > 0
        assert case["compiled"] == {}
    drawn = (tmp_path / "bench.svg").read_text()
    assert "GB/s" in drawn
    assert "roofline" in drawn


def test_the_bounds_stand_beside_one_thread_of_the_instruction_set_they_are_for(monkeypatch):
    def bound(threads, isa, size=65_536):
        monkeypatch.setattr(bench.cpu, "instruction_set", lambda: isa)
        return bench.Case("forward", "float32", size, threads, {}).bound

    assert bound(1, "avx512") == bench.Bound(4.0, 4.0)
    assert bound(1, "avx2") == bench.Bound(6.4, 2.5)
    assert bound(1, "avx2", size=64) == bench.Bound(None, 0.5 / 1.6)
    assert bound(1, "baseline") is None
    assert bound(1, None) is None
    assert bound(2, "avx512") is None
    assert bound(1, "avx512", size=65_537) is None


def test_a_missed_bound_is_red_and_a_met_one_green():
    assert bench._beside(4.0, "≤", 4.0) == "[green]4.00 (≤ 4)[/]"
    assert bench._beside(4.1, "≤", 4.0).startswith("[red]")
    assert bench._beside(4.1, "≥", 4.0).startswith("[green]")
    assert bench._beside(3.9, "≥", 4.0).startswith("[red]")


def test_the_largest_size_goes_into_existing_memory(monkeypatch):
    monkeypatch.setattr(bench, "_INTO_EXISTING", 100)
    x, *rest = torch.linspace(-3, 3, 100), torch.ones(100), torch.ones(100)
    for name, expected in (
        (bench.RELU, torch.relu(x)),
        (bench.TORCH, torch.nn.functional.softplus(x)),
        (bench.OURS, torch.nn.functional.softplus(x)),
    ):
        call = bench._call(bench.FORWARD, name, bench._FUNCTIONS[name], (x, *rest))
        assert call() is call()
        torch.testing.assert_close(call(), expected)


@pytest.mark.parametrize("name", [bench.RELU, bench.TORCH, bench.OURS])
def test_every_pass_computes_what_it_says(name):
    tensors = tuple(torch.linspace(a, 2.0, 50) for a in (-3, -1, 0.5))
    x, g, gg = tensors
    s = (x > 0).float() if name == bench.RELU else torch.sigmoid(x)
    f = bench._FUNCTIONS[name]
    backward = bench._call(bench.BACKWARD, name, f, tensors)
    for _ in range(2):  # timing calls it again and again
        torch.testing.assert_close(backward(), g * s)
    towards_g, towards_x = bench._call(bench.DOUBLE_BACKWARD, name, f, tensors)()
    torch.testing.assert_close(towards_g, gg * s)
    second = torch.zeros_like(x) if name == bench.RELU else s * (1 - s)
    torch.testing.assert_close(towards_x, gg * g * second)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dtype", "float23"], ["unknown dtype 'float23'", "did you mean", "bfloat16"]),
        (["--size", "0"], ["--size", "at least 1", "'0'"]),
        (["--size", "big"], ["--size", "whole numbers", "'big'"]),
        (["--threads", "-1"], ["--threads", "at least 1", "'-1'"]),
        (["--json", "/dev/null/x.json"], ["--json /dev/null/x.json cannot be written"]),
        (["--plot", "/dev/null/x.svg"], ["--plot /dev/null/x.svg cannot be written"]),
        (["--plot", "bench.xyz"], ["--plot", "suffix", "svg"]),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(arguments, words, monkeypatch, capsys):
    assert run(monkeypatch, *arguments) == 2
    message = capsys.readouterr().err
    assert len(message.strip().splitlines()) == 1
    assert all(word in message for word in words)


def test_without_a_compiler_the_reason_is_given(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no C++ compiler\nand a long story")

    monkeypatch.setattr(torch, "compile", broken)
    assert bench.no_compiler() == "torch.compile does not work here: no C++ compiler"


def test_rounds_visit_every_call_in_turn():
    visits = []
    calls = {name: lambda name=name: visits.append(name) for name in "ab"}
    times = timing.interleaved(calls, rounds=3)
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3}
    assert visits[-6:] == ["a", "b"] * 3
