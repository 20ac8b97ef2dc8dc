"""The passes that `softplus.lab.bench` times, and what it refuses; no time is asserted."""

import pytest
import torch

from softplus.lab import bench
from softplus.lab.errors import UsageError


def test_the_largest_size_goes_into_existing_memory(monkeypatch):
    monkeypatch.setattr(bench, "INTO_EXISTING", 100)
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


def test_without_a_compiler_the_reason_is_given(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no C++ compiler\nand a long story")

    monkeypatch.setattr(torch, "compile", broken)
    assert bench.no_compiler() == "torch.compile does not work here: no C++ compiler"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dtype": "float23"}, r"unknown dtype 'float23'; did you mean .*bfloat16"),
        ({"size": "0"}, "--size must be .* at least 1, got '0'"),
        ({"size": "big"}, "--size must be whole numbers .*'big'"),
        ({"threads": "-1"}, "--threads must be .* at least 1, got '-1'"),
    ],
)
def test_settings_that_make_no_sense_name_their_option(arguments, words):
    unsaid = dict.fromkeys(("dtype", "size", "threads"))
    with pytest.raises(UsageError, match=words):
        bench.settings(**{**unsaid, **arguments}, quick=True)


def test_the_settings_count_the_cases_that_run_yields():
    settings = bench.settings("float32", "64,128", "1", quick=True)
    cases = list(bench.run(settings, lambda _: None))
    assert len(cases) == settings.cases == 4 + 3
