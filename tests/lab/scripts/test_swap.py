"""The swap: which ReLUs compute the activation, what is counted, and what stays as it was."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from softplus.lab import activations
from softplus.lab.scripts import account, launching

EVERY_RELU = str(Path(__file__).with_name("every_relu.py"))


@pytest.fixture
def run(tmp_path):
    """Return a function that runs Python in a trial, and returns what it printed and told."""

    def run_python(*words, activation="softplus", seed=None, **variables):
        folder = tmp_path / activation
        folder.mkdir(exist_ok=True)
        environment = launching.environment(activations.parse(activation), seed, folder)
        ran = subprocess.run(
            [sys.executable, *words],
            env={**environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout, account.read(folder)

    return run_python


def test_every_relu_is_reached_and_nothing_else(run):
    printed, told = run(EVERY_RELU)
    assert printed == ""
    assert told.replaced.keys() == {"relu", "relu_"}
    assert told.replaced["relu"] > 100
    assert told.missed == {}
    assert told.fault("softplus") is None


def test_without_the_swap_the_script_finds_relus(run):
    """Else the test above could not fail."""
    printed, told = run(EVERY_RELU, activation="relu")
    assert len(printed.splitlines()) == 34  # of all but the three that are no ReLU
    assert not {"clamp", "ReLU6", "LeakyReLU"} & {
        line.partition(":")[0] for line in printed.splitlines()
    }
    assert (told.processes, told.replaced, told.fault("relu")) == (1, {}, None)


@pytest.mark.slow
def test_compiled_code_is_reached_although_the_bare_script_s_is_in_the_cache(run, tmp_path):
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    assert len(run(EVERY_RELU, "compiled", activation="relu", **cache)[0].splitlines()) == 5
    assert run(EVERY_RELU, "compiled", **cache)[0] == ""


OUT_OF_REACH = """
import torch, warnings
from torch import nn
from torch.ao.nn.quantized import Linear
warnings.simplefilter("ignore")
x = torch.tensor([-1.0, 2.0])
quantized = torch.quantize_per_tensor(x, 0.1, 128, torch.quint8)
layer = torch.ao.nn.intrinsic.quantized.LinearReLU(2, 2)
with torch.inference_mode():
    layer(quantized[None])
layer(quantized[None])
torch.relu(quantized)
assert torch.relu(torch.tensor([-1, 2])).tolist() == [0, 2]
assert torch.tensor([-1, 2]).relu_().tolist() == [0, 2]
assert torch.relu(x.to_mkldnn()).to_dense().tolist() == [0.0, 2.0]
"""


def test_what_is_out_of_reach_computes_relu_and_is_counted_with_its_place(run, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(OUT_OF_REACH)
    _, told = run(str(script))
    assert told.replaced == {}
    assert told.missed == {
        "quantized::linear_relu": (2, f"{script}:10"),
        "relu of quint8, strided": (1, f"{script}:12"),
        "relu of int64, strided": (1, f"{script}:13"),
        "relu_ of int64, strided": (1, f"{script}:14"),
        "relu of float32, _mkldnn": (1, f"{script}:15"),
    }
    assert f"out of reach: 2 calls of quantized::linear_relu, first at {script}:10" in (
        told.fault("softplus")
    )


@pytest.mark.parametrize("activation", ["gelu", "softplus:beta=5"])
def test_every_activation_computes_itself_in_place_too(run, activation):
    source = (
        "import torch; from softplus.lab import activations\n"
        f"f = activations.parse('{activation}').build()\n"
        "x = torch.linspace(-3, 3, 8, requires_grad=True)\n"
        "for swapped in (torch.relu(x), (x * 1).relu_()):\n"
        "    pair = [torch.autograd.grad(y.sum(), x)[0] for y in (swapped, f(x))]\n"
        "    print(torch.equal(swapped, f(x)), torch.allclose(*pair))\n"
    )
    assert run("-c", source, activation=activation)[0].split() == ["True"] * 4


def test_a_process_that_is_killed_has_told(run):
    source = "import os, torch; [torch.zeros(1).relu() for _ in range(1000)]; os._exit(0)"
    assert 500 <= run("-c", source)[1].replaced["relu"] <= 1000


def test_processes_that_the_script_starts_swap_too(run, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import torch, torch.multiprocessing as mp\n"
        "def work(rank):\n"
        "    assert torch.relu(torch.zeros(1)).item() > 0.6\n"
        "if __name__ == '__main__':\n"
        "    for way in ('spawn', 'fork', 'forkserver'):\n"
        "        process = mp.get_context(way).Process(target=work, args=(0,))\n"
        "        process.start(); process.join(); assert process.exitcode == 0, way\n"
    )
    told = run(str(script))[1]
    assert told.replaced == {"relu": 3}


# Seeds and surroundings

DRAWS = """
import os, random, sys
import numpy as np, torch
{seeds}
print(random.random(), np.random.rand(), torch.rand(()).item(), os.environ.get("SOFTPLUS_SEED"))
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for _ in range(20):
    x = torch.randn(32, 64)
    loss = (model(x) - x[:, :1].relu()).square().mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
print(loss.item().hex(), sys.path, torch.backends.mha.get_fastpath_enabled())
"""


def test_the_arm_relu_is_the_bare_script_with_these_seeds_to_the_bit(run, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(DRAWS.format(seeds=""))
    seeded, _ = run(str(script), activation="relu", seed=7)
    script.write_text(
        DRAWS.format(
            seeds="random.seed(7); np.random.seed(7); torch.manual_seed(7)\n"
            "os.environ['SOFTPLUS_SEED'] = '7'"
        )
    )
    bare = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert seeded == bare.stdout


def test_a_sitecustomize_of_the_user_s_runs_too(run, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.mine = 'mine'")
    printed, _ = run(
        "-c",
        "import torch, sitecustomize; print(mine, sitecustomize.__file__)",
        PYTHONPATH=os.pathsep.join(
            [str(Path(launching.__file__).with_name("startup")), str(tmp_path)]
        ),
    )
    assert printed.split() == ["mine", str(tmp_path / "sitecustomize.py")]


def test_a_python_with_torch_and_without_softplus_says_so(tmp_path):
    environment = launching.environment(activations.parse("softplus"), None, tmp_path)
    (tmp_path / "torch.py").write_text("")
    (tmp_path / "script.py").write_text("import torch")
    ran = subprocess.run(
        [sys.executable, "-S", "-c", "import sitecustomize, torch"],
        env={**environment, "PYTHONPATH": environment["PYTHONPATH"] + os.pathsep + str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "has PyTorch, and not softplus" in ran.stderr


def test_a_python_without_torch_is_left_alone(run):
    source = "import sys; print(*sorted(sys.modules))"
    printed, told = run("-c", source, seed=1)
    bare = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    more = set(printed.split()) - set(bare.stdout.split())
    assert "sitecustomize" in more
    assert {name.partition(".")[0] for name in more} <= {
        *("sitecustomize", "importlib", "__future__", "warnings"),
    }
    assert "nothing was replaced: no Python of this command imported torch" in (told.fault("relu"))


def test_a_trial_needs_torch_and_this_package_alone(run):
    source = "import torch, sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    swapped, bare = (
        set(run("-c", source, activation=each)[0].split()) for each in ("softplus", "relu")
    )
    assert "softplus" in swapped - bare
    assert swapped - bare <= {"softplus", *sys.stdlib_module_names}


def test_a_pytorch_that_gives_no_kernels_is_swapped_too(tmp_path):
    """As before 2.10: fused operators are then not counted."""
    source = (
        "import sys, torch; del torch.library.get_kernel\n"
        "from softplus.lab.scripts import swap; swap.install('softplus', sys.argv[1])\n"
        "x = torch.tensor([-1.0, 2.0])\n"
        "quantized = torch.quantize_per_tensor(x, 0.1, 128, torch.quint8)\n"
        "integers = torch.tensor([-1, 2])\n"
        "print(torch.relu(x).sum().item() > 2.4, torch.relu(integers).tolist())\n"
        "print(torch.relu(quantized).dequantize().tolist(), integers.relu_().tolist())\n"
        "print(torch.relu(x.to_mkldnn()).to_dense().tolist())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", source, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "True [0, 2]\n[0.0, 2.0] [0, 2]\n[0.0, 2.0]\n"
    assert account.read(tmp_path).replaced == {"relu": 1}
