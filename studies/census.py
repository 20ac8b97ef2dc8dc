"""Prints which ReLUs of torchvision's, timm's and transformers' models `convert` finds.

Three counts that share no code with it: nn.ReLU among the modules, ReLU by its spelling in the
source of their classes, and ReLU among the operators of a run. Weights are random, and on the meta
device; `make .venv/peers/installed` installs the libraries.
"""

import argparse
import ast
import inspect
import linecache
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.nn.quantized import FloatFunctional
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from softplus import convert, find_sites

try:
    import torchvision
except RuntimeError:  # its operators ask for CUDA's libraries, and its import for these names
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor a, Tensor b, float c) -> Tensor")
    import torchvision
import timm
import transformers

Model = Callable[[], nn.Module]
RELU = {torch.ops.aten.relu.default, torch.ops.aten.relu_.default}
FUNCTIONS = {functional.relu, torch.relu, torch.relu_, functional.relu_, Tensor.relu, Tensor.relu_}
TORCH = f"{Path(torch.__file__).parent}/"


@dataclass
class Row:
    """What was counted in the models of one library."""

    models: int = 0
    modules: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    computed: Counter[str] = field(default_factory=Counter)
    run: int = 0
    clamps: int = 0
    remarks: list[str] = field(default_factory=list)

    def compare(self, what: str, found: Counter[Any], true: Counter[Any], name: str) -> None:
        """Count what was found and what is true, and remark on every difference."""
        counts: Counter[str] = getattr(self, what)
        counts.update(found=(found & true).total(), true=true.total(), false=(found - true).total())
        for word, difference in (("missing", true - found), ("false", found - true)):
            if difference:
                self.remarks.append(f"{name}: {word} of {what}: {_listed(difference)}")


def _listed(counter: Counter[Any]) -> str:
    listed = [f"{count} x {place}" for place, count in counter.most_common(4)]
    return ", ".join(listed) + (", ..." if len(counter) > 4 else "")


# -- by type and by spelling ---------------------------------------------------------------------


def modules(model: nn.Module) -> Counter[Any]:
    """Return the nn.ReLU modules, subclasses that keep its forward among them, where they stand."""
    return Counter(
        (path, name)
        for path, owner in model.named_modules()
        for name, child in owner._modules.items()  # noqa: SLF001 -- under every name
        if getattr(type(child), "forward", None) is nn.ReLU.forward
    )


def calls(model: nn.Module) -> Counter[Any]:
    """Return the calls of ReLU in the code of the modules' classes, and functions kept by them."""
    found: Counter[Any] = Counter()
    for path, owner in model.named_modules():
        # Of PyTorch's own classes only this one calls a ReLU where reading finds it.
        if isinstance(owner, FloatFunctional):
            user = type(model.get_submodule(path.rpartition(".")[0]))
            if "add_relu(" not in inspect.getsource(user):
                continue
        found.update((path, file, line) for file, line in _spelled(type(owner)))
        kept = (name for name, value in vars(owner).items() if _is_relu(value))
        found.update((path, name) for name in kept)
    return found


def _is_relu(value: object) -> bool:
    return callable(value) and any(value is function for function in FUNCTIONS)


@cache
def _spelled(cls: type) -> list[tuple[str, int]]:
    """Return where the methods of a class that an instance has call a ReLU."""
    found = []
    hidden: set[str] = set()
    for base in cls.__mro__[: cls.__mro__.index(nn.Module)]:
        for name, value in vars(base).items():
            function = inspect.unwrap(getattr(value, "__func__", value))
            # What a constructor names is kept by the module, and counted there.
            if name in {"__init__", *hidden} or not isinstance(function, FunctionType):
                continue
            file = function.__code__.co_filename
            if _is_torch(file) and base is not FloatFunctional:
                continue
            tree = _definition(function)
            if tree is None:
                continue
            found += [(file, line) for line in _relu_lines(tree, function.__globals__)]
            # A method that another overrides is reached through super() alone.
            if "super" not in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}:
                hidden.add(name)
    return found


def _is_torch(file: str) -> bool:
    return file.startswith(TORCH)


def _relu_lines(tree: ast.AST, names: dict[str, Any]) -> Iterator[int]:
    """Yield the lines of `F.relu`, `torch.relu`, `x.relu()` and names of them, passed on or called.

    `self.relu` and `nn.relu` are no such spelling, and neither is `nn.ReLU(...)`, but where it is
    called at once: `nn.ReLU()(x)`.
    """
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=owner, attr="relu" | "relu_"):
                owner_value = _value(owner, names)
                if inspect.ismodule(owner_value):
                    if _is_relu(getattr(owner_value, node.attr, None)):
                        yield node.lineno
                elif owner_value is None and node in called and not _is_self(owner):
                    yield node.lineno
            case ast.Name(id=name) if _is_relu(names.get(name)):
                yield node.lineno
            case ast.Call(func=ast.Call(func=constructor)) if _value(constructor, names) is nn.ReLU:
                yield node.lineno


def _is_self(node: ast.expr) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id == "self"


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    """Return what a dotted name of the module's globals stands for, None if it is none."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, names), node.attr, None)
    return None


def _definition(function: FunctionType) -> ast.FunctionDef | None:
    code = function.__code__
    for node in ast.walk(_parsed(code.co_filename)):
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            starts = [node.lineno, *(decorator.lineno for decorator in node.decorator_list)]
            if min(starts) == code.co_firstlineno:
                return node
    return None


@cache
def _parsed(file: str) -> ast.Module:
    return ast.parse("".join(linecache.getlines(file)))


# -- what is found, and what a run computes ------------------------------------------------------


class Probe(nn.Module):
    """Stands for a ReLU in a converted model, and counts its calls."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        Probe.calls += 1
        return x.clone()


class Operators(TorchDispatchMode):
    """Counts the ReLUs that are computed, by the line outside of torch that leads to each."""

    def __init__(self) -> None:
        super().__init__()
        self.relu: Counter[Any] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in RELU:
            frame = sys._getframe(1)  # noqa: SLF001 -- inspect.stack reads it too
            while frame.f_back and _is_torch(frame.f_code.co_filename):
                frame = frame.f_back
            self.relu[_short(frame.f_code.co_filename), frame.f_lineno] += 1
        return func(*args, **(kwargs or {}))


def _short(file: str) -> str:
    return "/".join(Path(file).parts[-3:])


def _run(model: nn.Module, sample: Any) -> Counter[Any]:
    with torch.no_grad(), Operators() as operators:
        model.eval()(*sample)
    return operators.relu


def compare_sites(row: Row, name: str, model: nn.Module) -> None:
    """Count the sites that `convert` would replace and those that it leaves."""
    found: dict[bool, Counter[Any]] = {True: Counter(), False: Counter()}
    for site in find_sites(model):
        if site.family != "relu":
            continue
        if site.left is not None:
            row.clamps += "clamp" in site.spelling
            continue
        path, _, attribute = site.name.rpartition(".")
        owner = model.get_submodule(path)
        is_module = site.spelling == "nn.ReLU" and hasattr(owner, attribute)
        is_held = is_module or attribute in vars(owner)
        found[is_module][(path, attribute) if is_held else (path, site.file, site.line)] += 1
    row.compare("modules", found[True], modules(model), name)
    row.compare("calls", found[False], calls(model), name)


def compare_runs(row: Row, name: str, model: nn.Module, sample: Any) -> None:
    """Count the ReLUs that the model computes, and those that its converted copy still does."""
    true = _run(model, sample)
    row.run += 1
    if not true:
        return
    Probe.calls = 0
    converted = convert(model, {"relu": Probe()})
    left = _run(converted, sample)
    # What the copy computes more than the model has been replaced by mistake.
    found = true - left
    found["elsewhere", 0] = max(0, Probe.calls - found.total())
    row.compare("computed", +found, true, name)


# -- the libraries -------------------------------------------------------------------------------


def torchvision_models() -> Iterator[tuple[str, Model, Any]]:
    """Yield every model of torchvision and what it takes."""
    kinds = torchvision.models
    for name in kinds.list_models():
        sample: Any = (torch.zeros(2, 3, 299 if "inception" in name else 224, 224, device="meta"),)
        if name in kinds.list_models(kinds.video):
            sample = (torch.zeros(1, 3, 16, 224, 224, device="meta"),)
        elif name in kinds.list_models(kinds.optical_flow):
            sample = (torch.zeros(1, 3, 128, 128, device="meta"),) * 2
        elif name in kinds.list_models(kinds.detection):
            sample = None  # its code asks for values
        options = {"weights": None}
        if "weights_backbone" in inspect.signature(kinds.get_model_builder(name)).parameters:
            options["weights_backbone"] = None
        yield name, lambda name=name, options=options: kinds.get_model(name, **options), sample


def timm_models(*, every: bool) -> Iterator[tuple[str, Model, Any]]:
    """Yield a model of each of timm's files, or all."""
    names = timm.list_models()
    if not every:
        names = [timm.list_models(module=module)[0] for module in timm.list_modules()]
    for name in names:
        size = timm.get_pretrained_cfg(name, allow_unregistered=False).input_size
        sample = (torch.zeros(1, *size, device="meta"),)
        yield name, lambda name=name: timm.create_model(name), sample


def transformers_models() -> Iterator[tuple[str, Model, Any]]:
    """Yield the base model of each configuration of transformers, with two layers of a kind."""
    for config_class in transformers.MODEL_MAPPING:

        def build(config_class: type = config_class) -> nn.Module:
            config = config_class()
            for key, value in config.to_dict().items():
                if "layers" in key and isinstance(value, int) and value > 2:
                    setattr(config, key, 2)
            found = transformers.MODEL_MAPPING[config_class]
            return (found[0] if isinstance(found, tuple) else found)(config)

        yield config_class.__name__.removesuffix("Config"), build, None


LIBRARIES = {
    "torchvision": torchvision_models,
    "timm": timm_models,
    "transformers": transformers_models,
}


def census(models: Iterator[tuple[str, Model, Any]]) -> Row:
    """Compare what `find_sites` and `convert` find in each model with what is there."""
    row = Row()
    for name, build, sample in models:
        try:
            model = _built(build)
        except Exception as error:  # noqa: BLE001 -- of whatever library
            row.remarks.append(f"{name}: not built: {type(error).__name__}: {str(error)[:80]}")
            continue
        row.models += 1
        compare_sites(row, name, model)
        try:
            if sample is not None:
                compare_runs(row, name, model, sample)
            elif modules(model) + calls(model):
                convert(model, {"relu": Probe()})
        except Exception as error:  # noqa: BLE001
            last = traceback.extract_tb(error.__traceback__)[-1]
            row.remarks.append(
                f"{name}: not converted, or not run: {type(error).__name__}: {str(error)[:200]} "
                f"({_short(last.filename)}:{last.lineno})"
            )
    return row


def _built(build: Model) -> nn.Module:
    """Build on the meta device, and only then move there what computes with values meanwhile."""
    try:
        with torch.device("meta"):
            return build()
    except (NotImplementedError, RuntimeError):
        return build().to("meta")


def main() -> None:
    """Print the table, then every model that differs, or could not be built or run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("libraries", nargs="*", default=list(LIBRARIES), choices=LIBRARIES)
    parser.add_argument("--all", action="store_true", help="every model of timm, not one a file")
    arguments = parser.parse_args()
    print(
        "| | models | nn.ReLU found/there | calls found/there | run | ReLUs computed "
        "replaced/all | clamps, left | false |\n|---|---|---|---|---|---|---|---|"
    )
    remarks = []
    for library in arguments.libraries:
        options = {"every": arguments.all} if library == "timm" else {}
        row = census(LIBRARIES[library](**options))
        counts = [f"{c['found']:,}/{c['true']:,}" for c in (row.modules, row.calls, row.computed)]
        false = sum(c["false"] for c in (row.modules, row.calls, row.computed))
        cells = [library, row.models, *counts[:2], row.run, counts[2], row.clamps, false]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
        remarks += row.remarks
    print("", *remarks, sep="\n")


if __name__ == "__main__":
    main()
