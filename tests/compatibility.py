"""The matrix of docs/compatibility.md: every transform on every call in every dtype, measured.

`python tests/compatibility.py` measures all of it and writes it into the page; `--costs` writes the
column of costs alone, from what benchmarks/roads.py has measured.
"""

import contextlib
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, fx, nn
from torch.autograd import forward_ad
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.func import (
    functionalize,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    vjp,
    vmap,
)
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint

from calls import CALLS

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "compatibility.md"
DTYPES = {"f64": torch.float64, "f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
X = [-3.0, -0.5, 0.2, 0.7, 1.5, 4.0]

Call = Callable[[Tensor], Tensor]
# From a call and its argument to derivatives by their order, 0 for the value.
Check = Callable[[Call, Tensor], dict[int, Tensor]]


def exact(call: Call) -> list[Tensor]:
    """Return an elementwise call and its first three derivatives, by plain autograd in float64."""
    leaf = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    results = [call(leaf)]
    for _ in range(3):
        (result,) = torch.autograd.grad(results[-1].sum(), leaf, create_graph=True)
        results.append(result)
    return [result.detach() for result in results]


def right(order: int, transform: Callable[[Call], Call]) -> Check:
    """Return a check that transform(call)(x) is the derivative of this order."""
    return lambda call, x: {order: transform(call)(x)}


def second_backward(call: Call) -> Call:
    """Return the second derivative, with the second backward pass taken by torch.autograd."""

    def derivative(x: Tensor) -> Tensor:
        leaf = x.detach().requires_grad_()
        (first,) = torch.autograd.grad(call(leaf).sum(), leaf, create_graph=True)
        return torch.autograd.grad(first.sum(), leaf)[0]

    return derivative


def backward(call: Call) -> Call:
    """Return the derivative by torch.autograd."""

    def derivative(x: Tensor) -> Tensor:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(call(leaf).sum(), leaf)[0]

    return derivative


def backward_graph(call: Call) -> Call:
    """Return the derivative as a graph that can be differentiated."""

    def derivative(x: Tensor) -> Tensor:
        leaf = x if x.requires_grad else x.clone().requires_grad_()
        return torch.autograd.grad(call(leaf).sum(), leaf, create_graph=True)[0]

    return derivative


def dual(call: Call) -> Call:
    """Return the derivative by a tangent outside functorch."""

    def derivative(x: Tensor) -> Tensor:
        with forward_ad.dual_level():
            result = call(forward_ad.make_dual(x, torch.ones_like(x)))
            return forward_ad.unpack_dual(result).tangent

    return derivative


def under_hooks(call: Call) -> Call:
    """Return the derivative where what is saved is packed and unpacked as a copy."""

    def derivative(x: Tensor) -> Tensor:
        with saved_tensors_hooks(torch.clone, torch.clone):
            return backward(call)(x)

    return derivative


def under_autocast(call: Call) -> Call:
    """Return the derivative with the forward pass under autocast to bfloat16."""

    def forward(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return call(x)

    return backward(forward)


class Model(nn.Module):
    """A model of one call."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


class AllCalls(nn.Module):
    """A model of all calls, where making a program takes seconds."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [call(x) for call in CALLS.values()]


def together(make: Callable[[Tensor], Check]) -> Check:
    """Return a check by the program made for all calls at once, once for each dtype."""
    made: dict[torch.dtype, Check] = {}

    def check(call: Call, x: Tensor) -> dict[int, Tensor]:
        if x.dtype not in made:
            made[x.dtype] = make(x)
        return made[x.dtype](call, x)

    return check


def index_of(call: Call) -> int:
    """Return the place of a call's result in those of AllCalls."""
    return list(CALLS.values()).index(call)


def compiled(**options: Any) -> Callable[[Tensor], Check]:
    """Return what makes a check of torch.compile, in one graph, with gradients."""

    def make(_x: Tensor) -> Check:
        torch._dynamo.reset()
        program = torch.compile(AllCalls(), fullgraph=True, **options)

        def check(call: Call, x: Tensor) -> dict[int, Tensor]:
            return both(lambda x: program(x)[index_of(call)], x)

        return check

    return make


def both(call: Call, x: Tensor) -> dict[int, Tensor]:
    """Return the values and the derivative."""
    return {0: call(x), 1: backward(call)(x)}


def exported(*, strict: bool) -> Check:
    """Return a check of torch.export, with gradients: it holds PyTorch's operators alone."""

    def check(call: Call, x: Tensor) -> dict[int, Tensor]:
        torch._dynamo.reset()
        program = torch.export.export(Model(call), (x,), strict=strict)
        operators = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
        assert not [name for name in operators if name.startswith("softplus")]
        return both(program.module(), x)

    return check


def aotinductor(x: Tensor) -> Check:
    """Make a check of a package that AOTInductor compiled."""
    folder = tempfile.mkdtemp()  # the library stays loaded until the process ends
    path = torch._inductor.aoti_compile_and_package(
        torch.export.export(AllCalls(), (x,)), package_path=f"{folder}/model.pt2"
    )
    program = torch._inductor.aoti_load_package(path)
    return lambda call, x: {0: program(x)[index_of(call)]}


def onnx(x: Tensor) -> Check:
    """Make a check in onnxruntime of a graph that holds standard operators alone."""
    import onnxruntime  # noqa: PLC0415 -- in no other row

    program = torch.onnx.export(AllCalls().eval(), (x,), verbose=False)
    assert {node.domain for node in program.model_proto.graph.node} == {""}
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda call, x: {
        0: torch.from_numpy(session.run(None, {name: x.numpy()})[index_of(call)])
    }


def dtensor(call: Call, x: Tensor) -> dict[int, Tensor]:
    """Return the values and two derivatives of a sharded tensor."""
    with contextlib.ExitStack() as stack:
        if not dist.is_initialized():
            dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
            stack.callback(dist.destroy_process_group)
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        leaf = distribute_tensor(x, mesh, [Shard(0)]).requires_grad_()
        y = call(leaf)
        (first,) = torch.autograd.grad(y.sum(), leaf, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), leaf)
        return {order: result.full_tensor() for order, result in enumerate((y, first, second))}


def summed(call: Call) -> Call:
    """Return the sum of a call's results."""
    return lambda x: call(x).sum()


# The rows of the page.
TRANSFORMS = {
    "backward": right(1, backward),
    "double backward": right(2, second_backward),
    "`grad`": right(1, lambda call: grad(summed(call))),
    "`vjp`": right(1, lambda call: lambda x: vjp(call, x)[1](torch.ones_like(x))[0]),
    "`jvp`": right(1, lambda call: lambda x: jvp(call, (x,), (torch.ones_like(x),))[1]),
    "`vmap`": right(0, vmap),
    "`vmap(vmap)`": right(0, lambda call: lambda x: vmap(vmap(call))(x.view(2, 3)).flatten()),
    "`vmap(grad)`": right(1, lambda call: vmap(grad(call))),
    "`jacrev`": right(1, lambda call: lambda x: jacrev(call)(x).diag()),
    "`jacfwd`": right(1, lambda call: lambda x: jacfwd(call)(x).diag()),
    "`hessian`": right(2, lambda call: lambda x: hessian(summed(call))(x).diag()),
    "`jacrev(jacrev)`": right(2, lambda call: lambda x: jacrev(jacrev(summed(call)))(x).diag()),
    "third derivative": right(3, lambda call: vmap(grad(grad(grad(call))))),
    "`functionalize`": right(0, functionalize),
    "forward-mode AD": right(1, dual),
    "forward mode over backward": right(2, lambda call: dual(backward_graph(call))),
    "saved-tensor hooks": right(1, under_hooks),
    "activation checkpointing": right(
        1, lambda call: backward(lambda x: checkpoint(call, x, use_reentrant=False))
    ),
    "autocast": right(1, under_autocast),
    "`make_fx`": right(0, lambda call: lambda x: make_fx(Model(call))(x)(x)),
    "`fx.symbolic_trace`": right(0, lambda call: fx.symbolic_trace(Model(call))),
    "`torch.jit.trace`": right(
        0, lambda call: lambda x: torch.jit.trace(call, x * 2, check_trace=False)(x)
    ),
}

SLOW_TRANSFORMS = {
    "`linearize`": right(1, lambda call: lambda x: linearize(call, x)[1](torch.ones_like(x))),
    "`torch.compile`": together(compiled()),
    "`torch.compile`, dynamic": together(compiled(backend="aot_eager", dynamic=True)),
    "`torch.export`, strict": exported(strict=True),
    "`torch.export`, non-strict": exported(strict=False),
    "AOTInductor": together(aotinductor),
    "ONNX, in onnxruntime": together(onnx),
    "DTensor": dtensor,
}


def holds(check: Check, call: Call, dtype: torch.dtype) -> bool:
    """Whether a transform gives what plain autograd gives in float64, in the dtype given."""
    wanted = exact(call)
    x = torch.tensor(X, dtype=dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = check(call, x)
    except Exception:  # noqa: BLE001 -- whatever it is, the cell says no
        return False
    accuracy = 16 * torch.finfo(dtype).eps
    return all(
        result is not None
        and result.dtype == dtype
        and torch.allclose(result.double(), wanted[order], rtol=accuracy, atol=accuracy)
        for order, result in results.items()
    )


def costs() -> dict[str, str]:
    """Return what transforms cost over PyTorch's own, from the file of benchmarks/roads.py.

    With the C++ entry, at 65,536 elements, forward and backward where that was timed.
    """
    found = {}
    for figure in json.loads((ROOT / "benchmarks" / "roads.json").read_text(encoding="utf-8")):
        if figure["installation"] == "the C++ entry" and figure["size"] == 65_536:
            ratio = figure["ratio"]
            found[figure["road"]] = "raises" if ratio is None else f"{ratio:.2f}"
    return found | {"backward": found["plain eager"]}


def row(name: str) -> str:
    """Return a row of the page: its cost, and for every call the dtypes in which it holds."""
    check = (TRANSFORMS | SLOW_TRANSFORMS)[name]
    cells = []
    for call in CALLS.values():
        dtypes = [short for short, dtype in DTYPES.items() if holds(check, call, dtype)]
        cells.append("all" if len(dtypes) == len(DTYPES) else ", ".join(dtypes) or "no")
    return f"| {name} | {' | '.join([costs().get(name, ''), *cells])} |"


def committed() -> dict[str, str]:
    """Return the rows that the page holds, by the name of the transform."""
    lines = PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else []
    rows = [line for line in lines if line.startswith("| ")]
    return {line.split(" | ")[0].removeprefix("| "): line for line in rows}


def with_cost(line: str) -> str:
    """Return a row of the page as it is, but for its cost."""
    name, _, *cells = line.split(" | ")
    return " | ".join([name, costs().get(name.removeprefix("| "), ""), *cells])


def main() -> None:
    """Measure every row and write it into the page, in the place of the row of that name."""
    every = [*TRANSFORMS, *SLOW_TRANSFORMS]
    rows = committed()
    text = PAGE.read_text(encoding="utf-8")
    for name in every if sys.argv[1:] in ([], ["--costs"]) else sys.argv[1:]:
        text = text.replace(
            rows[name], with_cost(rows[name]) if "--costs" in sys.argv else row(name)
        )
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
