"""Two local processes with gloo: DDP, FSDP2, DTensor, and checkpoints across plain and sharded."""

import datetime as dt
import traceback
import warnings

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from calls import CALLS, normal
from softplus import LogSigmoid, ShiftedSoftplus, Softplus, softplus
from softplus.ops import cpu

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="PyTorch without distributed")
WORLD = 2
CHECKS = {}


def check(function):
    """Make a function one of the checks that both processes run, each with a folder for both."""
    CHECKS[function.__name__] = function
    return function


def model() -> nn.Module:
    """Return a model with every module of the package, the same on every call."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 8),
        Softplus(2, learnable=True),
        nn.Linear(8, 8),
        Softplus(1.5, learnable=True, num_parameters=8),
        nn.Linear(8, 4),
        Softplus(10),
        ShiftedSoftplus(),
        nn.Linear(4, 4),
        LogSigmoid(),
    )


def gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the gradients of the mean square of the outputs for every parameter, put together."""
    module.zero_grad()
    module(x).square().mean().backward()
    found = [parameter.grad for parameter in module.parameters()]
    return [grad.full_tensor() if isinstance(grad, DTensor) else grad for grad in found]


def part(x: Tensor) -> Tensor:
    """Return this process's part of a batch."""
    return x.chunk(WORLD)[dist.get_rank()]


@check
def ddp_gives_the_gradients_of_the_whole_batch(_folder):
    x = normal(8, 6)
    torch.testing.assert_close(
        gradients(DistributedDataParallel(model()), part(x)), gradients(model(), x)
    )


def sharded(device: str = "cpu") -> nn.Module:
    """Return the model with its linear layers and the whole sharded by FSDP2."""
    with torch.device(device):
        module = model()
    mesh = init_device_mesh("cpu", (WORLD,))
    for layer in module:
        if any(True for _ in layer.parameters()):
            fully_shard(layer, mesh=mesh)
    return fully_shard(module, mesh=mesh)


@check
def fsdp2_gives_the_gradients_of_the_whole_batch(_folder):
    x = normal(8, 6)
    module = sharded()
    assert all(isinstance(parameter, DTensor) for parameter in module.parameters())
    torch.testing.assert_close(gradients(module, part(x)), gradients(model(), x))


@check
def fsdp2_starts_the_betas_of_a_model_made_without_memory(_folder):
    module = sharded("meta").to_empty(device="cpu")
    for layer, wanted in zip(module, model(), strict=True):
        if isinstance(layer, Softplus) and layer.raw_beta is not None:
            layer.reset_parameters()
            assert torch.equal(layer.raw_beta.full_tensor(), wanted.raw_beta)


@check
def fsdp2_trains_as_one_process_does(_folder):
    x = normal(8, 6)
    modules = [sharded(), model()]
    for module, batch in zip(modules, (part(x), x), strict=True):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for _ in range(3):
            gradients(module, batch)
            optimizer.step()
    trained = [parameter.full_tensor() for parameter in modules[0].parameters()]
    torch.testing.assert_close(trained, [p.data for p in modules[1].parameters()])


@check
def a_checkpoint_of_plain_modules_loads_into_sharded_ones_and_back(folder):
    plain = model()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(0.25)
    dcp.save({"model": plain.state_dict()}, checkpoint_id=folder / "plain")
    receiver = sharded()
    state = {"model": get_model_state_dict(receiver)}
    dcp.load(state, checkpoint_id=folder / "plain")
    set_model_state_dict(receiver, state["model"])
    for ours, wanted in zip(receiver.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.full_tensor(), wanted)

    dcp.save({"model": get_model_state_dict(receiver)}, checkpoint_id=folder / "sharded")
    back = model()
    state = {"model": back.state_dict()}
    dcp.load(state, checkpoint_id=folder / "sharded")
    back.load_state_dict(state["model"])
    for ours, wanted in zip(back.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, wanted)

    whole = get_model_state_dict(receiver, options=StateDictOptions(full_state_dict=True))
    model().load_state_dict(whole, strict=True)
    assert whole.keys() == plain.state_dict().keys()


PLACEMENTS = {"rows": Shard(0), "columns": Shard(1), "whole": Replicate(), "summands": Partial()}


def distribute(x: Tensor, placement) -> DTensor:
    """Return a tensor as a DTensor; as summands, a half of it on each process."""
    mesh = init_device_mesh("cpu", (WORLD,))
    if placement == Partial():
        return DTensor.from_local(x / WORLD, mesh, [placement])
    return distribute_tensor(x, mesh, [placement])


@check
def dtensors_have_the_values_and_derivatives_of_the_whole(_folder):
    x = normal(4, 6, dtype=torch.float64)
    for name, call in CALLS.items():
        whole = x.clone().requires_grad_()
        wanted = [call(whole)]
        wanted += torch.autograd.grad(wanted[0].square().sum(), whole, create_graph=True)
        wanted += torch.autograd.grad(wanted[1].square().sum(), whole)
        for where, placement in PLACEMENTS.items():
            leaf = distribute(x, placement).requires_grad_()
            got = [call(leaf)]
            assert isinstance(got[0], DTensor), name
            if placement != Partial():
                assert got[0].placements == (placement,), (name, where)
            got += torch.autograd.grad(got[0].square().sum(), leaf, create_graph=True)
            got += torch.autograd.grad(got[1].square().sum(), leaf)
            for tensor, whole_tensor in zip(got, wanted, strict=True):
                assert torch.allclose(tensor.full_tensor(), whole_tensor), (name, where)


@check
def dtensors_run_the_operators(_folder):
    """On each process a kernel on its part, and neither PyTorch's softplus nor the definition."""
    leaf = distribute(normal(4, 6), Shard(0)).requires_grad_()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        softplus(leaf).sum().backward()
    names = {event.name for event in profile.events()}
    if cpu.absent is None:
        assert {"softplus::forward", "softplus::backward"} <= names
        assert "aten::softplus" not in names
    else:
        assert {"aten::softplus", "aten::softplus_backward"} <= names
    assert "aten::log1p" not in names


@check
def a_compiled_call_takes_dtensors(_folder):
    """In PyTorch's operators: the kernels' own have no rules for placements.

    One call alone: in PyTorch 2.13 the second function of DTensors that a process compiles fails,
    whatever it is (torch.sigmoid does).
    """
    leaf = distribute(normal(4, 6), Shard(0)).requires_grad_()
    results = [torch.compile(softplus, fullgraph=True, backend="aot_eager")(leaf), softplus(leaf)]
    gradients = [torch.autograd.grad(y.sum(), leaf)[0] for y in results]
    for pair in (results, gradients):
        torch.testing.assert_close(*[tensor.full_tensor() for tensor in pair])


@check
def a_learnable_beta_may_be_a_dtensor(_folder):
    x = normal(4, 6, dtype=torch.float64)
    beta = torch.linspace(0.5, 3, 6, dtype=torch.float64)
    whole = beta.clone().requires_grad_()
    softplus(x, whole).square().sum().backward()
    leaf = distribute(beta, Shard(0)).requires_grad_()
    softplus(distribute(x, Shard(1)), leaf).square().sum().backward()
    torch.testing.assert_close(leaf.grad.full_tensor(), whole.grad)


def work(rank: int, folder) -> None:
    """Run every check in this process, and write down what failed."""
    torch.set_num_threads(1)
    # A module whose result is a view may lose FSDP2's hooks.
    warnings.filterwarnings("error", message="FSDP2-wrapped module")
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=WORLD,
        timeout=dt.timedelta(seconds=60),
    )
    outcomes = {}
    for name, function in CHECKS.items():
        try:
            function(folder)
        except Exception:  # noqa: BLE001 -- each is the outcome of its test
            outcomes[name] = traceback.format_exc()
    torch.save(outcomes, folder / f"outcomes{rank}")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Return what failed in each process: one meeting of the two runs all checks."""
    folder = tmp_path_factory.mktemp("distributed")
    torch.multiprocessing.spawn(work, args=(folder,), nprocs=WORLD)
    return [torch.load(folder / f"outcomes{rank}") for rank in range(WORLD)]


@pytest.mark.parametrize("name", CHECKS)
def test_two_processes(outcomes, name):
    assert [outcome[name] for outcome in outcomes if name in outcome] == []
