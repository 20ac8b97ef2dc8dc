"""The networks of gpu.py: a signed-distance step, what training keeps, and compiled layers."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import softplus

Timed = Callable[..., dict[str, float]]


class HalfSoftplus(softplus.Softplus):
    """Softplus in the type of its input, where autocast would have it in float32."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input)


def network(activation: nn.Module, widths: list[int]) -> nn.Sequential:
    """Return linear layers with an activation between them."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation]
    return nn.Sequential(*layers[:-1])


def sdf_step(model: nn.Module, x: Tensor) -> Tensor:
    """Run forward, backward and double backward: the distance, and a gradient of length 1."""
    x = x.detach().requires_grad_()
    f = model(x)
    (gradient,) = torch.autograd.grad(f.sum(), x, create_graph=True)
    loss = f.abs().mean() + 0.1 * (gradient.norm(dim=1) - 1).square().mean()
    loss.backward()
    return loss.detach()


def sdf_loss_of_one(model: nn.Module, x: Tensor) -> Tensor:
    """The same loss by torch.func, whose gradient inside compiles."""

    def total(points: Tensor) -> tuple[Tensor, Tensor]:
        f = model(points)
        return f.sum(), f

    gradient, f = torch.func.grad(total, has_aux=True)(x)
    return f.abs().mean() + 0.1 * (gradient.norm(dim=1) - 1).square().mean()


def sdf_steps(device: str, timed: Timed, *, tiny: bool) -> list[dict[str, Any]]:
    """Measure the step of an SDF network of 8 layers of 512, beta = 100, on 65,536 points."""
    widths, points = ([3, 8, 8, 1], 16) if tiny else ([3, *[512] * 8, 1], 65_536)
    ways = {"ours": softplus.Softplus(100), "PyTorch": nn.Softplus(100), "ReLU": nn.ReLU()}
    models = {way: network(act, widths).to(device) for way, act in ways.items()}
    x = torch.rand(points, 3, device=device) * 2 - 1
    eager = timed({w: lambda m=m: sdf_step(m, x) for w, m in models.items()}, on_device=False)
    rows = [{"run": "eager", "seconds": eager, "over_pytorch": eager["ours"] / eager["PyTorch"]}]
    calls, reasons = {}, {}
    for way in ("ours", "PyTorch"):
        loss = torch.compile(sdf_loss_of_one)

        def step(model: nn.Module = models[way], loss: Callable[..., Tensor] = loss) -> None:
            loss(model, x).backward()

        try:
            step()
            calls[way] = step
        except Exception as error:  # noqa: BLE001 -- whatever a compiler says
            reasons[way] = str(error).splitlines()[0]
    if len(calls) == 2:
        times = timed(calls, on_device=False)
        ratio = times["ours"] / times["PyTorch"]
        rows.append({"run": "compiled", "seconds": times, "over_pytorch": ratio})
    elif "PyTorch" in calls:
        raise RuntimeError(f"ours does not compile: {reasons['ours']}")
    else:
        rows.append({"run": "compiled", "refused": str(reasons)})
    return rows


def kept_bytes(model: nn.Module, x: Tensor, context: AbstractContextManager[Any]) -> int:
    """Return the bytes of distinct memory that forward keeps, parameters apart."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in own:
            found[place] = tensor.untyped_storage().nbytes()
            alive.append(tensor)  # so that no other gets its memory
        return tensor

    alive: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), context:
        model(x)
    return sum(found.values())


def peak_bytes(call: Callable[[], Any], device: str) -> int:
    """Return how much memory a call takes at most beyond what there is."""
    if device == "cpu":
        return 0
    call()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def memory(device: str, *, tiny: bool) -> list[dict[str, Any]]:
    """Count what an MLP and an SDF network keep, and the peak of their steps."""
    width, batch = (8, 4) if tiny else (2048, 16_384)
    ours, theirs, relu = softplus.Softplus(), nn.Softplus(), nn.ReLU()
    rows = []
    for name, dtype, autocast in [
        ("MLP, float32", torch.float32, False),
        ("MLP, bfloat16", torch.bfloat16, False),
        ("MLP, autocast", torch.float32, True),
    ]:
        x = torch.randn(batch, width, device=device, dtype=dtype)
        kinds = {"ours": ours, "PyTorch": theirs, "ReLU": relu}
        if autocast:
            kinds["ours, autocast off"] = HalfSoftplus()
        kept, peaks = {}, {}
        for kind, activation in kinds.items():
            model = network(activation, [width] * 4).to(device, dtype)

            def entered(autocast: bool = autocast) -> AbstractContextManager[Any]:
                return torch.autocast(device, torch.bfloat16) if autocast else nullcontext()

            def step(model: nn.Module = model, x: Tensor = x, entered: Any = entered) -> None:
                with entered():
                    y = model(x)
                y.float().sum().backward()

            kept[kind] = kept_bytes(model, x, entered())
            peaks[kind] = peak_bytes(step, device)
        rows.append(_row(name, kept, peaks, "ours, autocast off" if autocast else "ours"))
    widths, points = ([3, 8, 8, 1], 16) if tiny else ([3, *[512] * 8, 1], 65_536)
    x = torch.rand(points, 3, device=device)
    peaks = {}
    for kind, activation in {"ours": softplus.Softplus(100), "PyTorch": nn.Softplus(100)}.items():
        model = network(activation, widths).to(device)
        peaks[kind] = peak_bytes(lambda model=model: sdf_step(model, x), device)
    rows.append({"network": "SDF step", "relu_bytes": None, "ours": None, "peaks": str(peaks)})
    return rows


def _row(name: str, kept: dict[str, int], peaks: dict[str, int], ours: str) -> dict[str, Any]:
    row = {"network": name, "relu_bytes": kept["ReLU"], "ours": kept[ours]}
    return row | {"kept": str(kept), "peaks": str(peaks)}


def compiled(device: str, timed: Timed, *, tiny: bool) -> list[dict[str, Any]]:
    """Measure a compiled layer, act(x·g + 0.1)·g, forward and backward."""
    size = 1 << 10 if tiny else 1 << 24
    rows = []
    ways = {"ours": softplus.softplus, "PyTorch": functional.softplus, "ReLU": torch.relu}
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.randn(size, device=device).to(dtype).requires_grad_()
        g = torch.randn(size, device=device).to(dtype)
        calls = {}
        for way, f in ways.items():
            layer = torch.compile(lambda x, g, f=f: f(x * g + 0.1) * g)

            def step(layer: Any = layer, x: Tensor = x, g: Tensor = g) -> None:
                torch.autograd.grad(layer(x, g), x, g)

            calls[way] = step
        times = timed(calls, on_device=False)
        ratio = times["ours"] / times["PyTorch"]
        rows.append({"dtype": str(dtype)[6:], "seconds": times, "over_pytorch": ratio})
    return rows
