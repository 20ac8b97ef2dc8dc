"""torch.export, AOTInductor, ONNX, TorchScript: what a deployed model holds and computes."""

import copy
import io
import logging

import pytest
import torch
from torch import Tensor, nn

from calls import CALLS, close, each_call, normal, quickly
from marks import each_dtype
from softplus import LogSigmoid, ShiftedSoftplus, Softplus, softplus

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

# Where a decomposition of log(1 + t) or e^u - 1 into two operators would lose every digit too.
X = torch.tensor([-80.0, -30.0, -9.5, -2.0, -1e-3, 0.0, 1e-3, 0.7, 5.0, 19.0, 21.0, 300.0])


class Calling(nn.Module):
    """A model of one call."""

    def __init__(self, call) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


def targets(exported: torch.export.ExportedProgram) -> list[str]:
    """Return the operators that an exported program calls."""
    return [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]


# torch.export


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
@each_call
def test_export_needs_nothing_of_this_package(call, strict):
    torch._dynamo.reset()
    exported = torch.export.export(Calling(call), (normal(6),), strict=strict)
    assert not [target for target in targets(exported) if target.startswith("softplus")]
    if call not in [CALLS[name] for name in ("inverse", "shifted", "shift")]:
        assert sum("aten.softplus" in target for target in targets(exported)) == 1
    other = normal(6, scale=5)
    assert close(exported.module()(other), call(other))


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
@pytest.mark.parametrize("call", quickly(CALLS, "beta", "tensor beta"))
def test_export_with_dynamic_shapes(call, strict):
    rows = torch.export.Dim("rows", min=2)
    exported = torch.export.export(
        Calling(call), (normal(4, 3),), dynamic_shapes={"x": {0: rows}}, strict=strict
    )
    for count in (2, 9):
        assert close(exported.module()(normal(count, 3)), call(normal(count, 3)))


MODULES = {
    "Softplus": Softplus,
    "beta 10": lambda: Softplus(10),
    "beta 0.1": lambda: Softplus(0.1),
    "beta -2": lambda: Softplus(-2),
    "threshold": lambda: Softplus(2, 5),
    "in place": lambda: Softplus(2, inplace=True),
    "learnable": lambda: Softplus(2, learnable=True),
    "channels": lambda: Softplus(2, learnable=True, num_parameters=12),
    "ShiftedSoftplus": lambda: ShiftedSoftplus(2),
    "LogSigmoid": LogSigmoid,
}


def model(module: nn.Module) -> nn.Module:
    """Return a model in which the input of a module does not belong to the caller."""
    return nn.Sequential(nn.Identity(), Calling(torch.clone), module).eval()


@each_dtype
@pytest.mark.parametrize("build", MODULES.values(), ids=MODULES.keys())
def test_an_exported_module_is_saved_and_loaded(build, dtype):
    """The values are right to PyTorch's own error in every dtype, on both sides of its overflow."""
    module, x = model(build()).to(dtype), X.to(dtype).expand(2, -1)
    saved = io.BytesIO()
    torch.export.save(torch.export.export(module, (x,)), saved)
    saved.seek(0)
    loaded = torch.export.load(saved)
    assert loaded.state_dict.keys() == module.state_dict().keys()
    eps = torch.finfo(dtype).eps
    result, wanted = loaded.module()(x), module(x)
    assert result.dtype == dtype
    torch.testing.assert_close(result, wanted, rtol=65 * eps, atol=torch.finfo(dtype).tiny)


def test_an_exported_model_trains():
    """A learnable beta among what is trained: the gradients are those of the model."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), Softplus(2, learnable=True), Softplus(3))
    other = torch.export.export(copy.deepcopy(module), (normal(5, 3),)).module()
    for each in (module, other):
        each(normal(5, 3)).square().sum().backward()
    for ours, theirs in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(theirs.grad, ours.grad)


# AOTInductor


@pytest.mark.slow  # a C++ compiler takes 15 seconds for the simplest model
@pytest.mark.parametrize("build", MODULES.values(), ids=MODULES.keys())
def test_aotinductor(build, tmp_path):
    module, x = model(build()), X.expand(2, -1)
    path = torch._inductor.aoti_compile_and_package(
        torch.export.export(module, (x,)), package_path=str(tmp_path / "model.pt2")
    )
    result = torch._inductor.aoti_load_package(path)(x)
    torch.testing.assert_close(result, module(x), rtol=1e-5, atol=1e-30)


# ONNX


@pytest.fixture(scope="module")
def _quiet():
    """Keep the exporter from saying that torchvision is not installed."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


def in_onnxruntime(module: nn.Module, x: Tensor) -> tuple[Tensor, list[str]]:
    """Return the result in onnxruntime, and the operators of the graph, all of them standard."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    program = torch.onnx.export(module, (x,), verbose=False)
    proto = program.model_proto
    assert {node.domain for node in proto.graph.node} == {""}
    assert not proto.functions
    session = runtime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (name,) = [given.name for given in session.get_inputs()]
    (result,) = session.run(None, {name: x.numpy()})
    return torch.from_numpy(result), [node.op_type for node in proto.graph.node]


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("build", quickly(MODULES, "beta 10"))
@pytest.mark.parametrize(
    "dtype",
    [pytest.param(torch.float32, marks=pytest.mark.slow), torch.float16],
    ids=["float32", "float16"],
)
def test_onnx(build, dtype):
    module = model(build())
    module = module.to(dtype)
    x = X.to(dtype).expand(2, -1).contiguous()
    result, operators = in_onnxruntime(module, x)
    if not isinstance(module[-1], ShiftedSoftplus):
        assert operators.count("Softplus") == 1
        assert not {"Exp", "Log"} & set(operators)
    wanted = module(x)
    assert result.dtype == dtype
    # onnxruntime's own Softplus, in float32, is right to a few units of the last place; next to 0
    # ONNX has no log(1 + t), and the shifted result there keeps absolute digits only.
    atol = 1e-7 if isinstance(module[-1], ShiftedSoftplus) else 1e-37
    rtol = 1e-5 if dtype == torch.float32 else torch.finfo(dtype).eps
    torch.testing.assert_close(result, wanted, rtol=rtol, atol=atol)


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("beta", [1e-3, 0.01, 0.1, 0.7, 1.0, 3.0, 10.0, 100.0, -0.3, -100.0])
def test_every_float16_input_in_onnxruntime(beta):
    """Rounded once, from float32: with float16 in every step it were 1.3 ULP."""
    x = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.float16)
    x = x[x.isfinite()]
    result, _ = in_onnxruntime(model(Softplus(beta)), x)
    exact = softplus(x.double(), beta)
    limits = torch.finfo(torch.float16)
    inside = exact.abs() < limits.max
    unit = limits.eps * torch.exp2(torch.frexp(exact.abs().clamp_min(limits.tiny)).exponent - 1)
    errors = (result.double() - exact).abs() / unit
    assert errors[inside].max() <= 0.52


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("build", MODULES.values(), ids=MODULES.keys())
def test_a_bfloat16_graph_is_valid(build):
    """Its Softplus stands in float32, as ONNX has none for bfloat16 before opset 22."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    program = torch.onnx.export(
        model(build()).bfloat16(), (X.bfloat16().expand(2, -1),), verbose=False
    )
    onnx.checker.check_model(program.model_proto, full_check=True)


# TorchScript


@pytest.mark.parametrize("name", ["Softplus", "beta 10", "beta -2", "threshold", "LogSigmoid"])
def test_a_scripted_module(name):
    """The modules with a fixed beta, compiled as PyTorch's own operators."""
    module = nn.Sequential(nn.Identity(), MODULES[name]())
    scripted = torch.jit.script(module)
    torch.testing.assert_close(scripted(X), module(X), rtol=1e-5, atol=1e-30)
    saved = io.BytesIO()
    torch.jit.save(scripted, saved)
    saved.seek(0)
    assert torch.equal(torch.jit.load(saved)(X), scripted(X))


def test_a_learnable_beta_is_not_scripted():
    """And not taken for a constant without a word."""
    with pytest.raises(TypeError, match=r"Softplus\.beta"):
        torch.jit.script(Softplus(2, learnable=True))
