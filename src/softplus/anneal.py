"""True zeros: Softplus sharpened while it trains, then replaced by an exact ReLU."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from softplus import arguments, functional
from softplus.conversion import classes, measure
from softplus.modules import LogSigmoid, ShiftedSoftplus, Softplus

_KINDS = (nn.Softplus, Softplus, ShiftedSoftplus)


def _linear(start: float, end: float, done: float) -> float:
    return start * (1 - done) + end * done


# From start to end with the share of the steps done; each is exact at both ends.
_SCHEDULES: dict[str, Callable[[float, float, float], float]] = {
    "geometric": lambda start, end, done: start ** (1 - done) * end**done,
    "linear": _linear,
    "cosine": lambda start, end, done: _linear(start, end, (1 - math.cos(math.pi * done)) / 2),
}


class BetaAnnealing:
    """Moves the beta of a model's Softplus modules from start to end while it trains.

    >>> model = nn.Sequential(nn.Linear(4, 8), Softplus(), nn.Linear(8, 1))
    >>> annealing = BetaAnnealing(model, start=1, end=100, steps=2)
    >>> model[1].beta
    1.0
    >>> annealing.step()  # after each step of the optimizer
    >>> model[1].beta
    10.0
    >>> annealing.step()
    >>> model[1].beta, annealing.finished
    (100.0, True)

    It writes the attribute `beta` and nothing else, so it works in any training loop;
    `softplus.integrations` has callbacks for Lightning and for Hugging Face's Trainer. It finds
    `Softplus`, `ShiftedSoftplus` (without a `shift` of its own, ln2/beta follows) and
    `torch.nn.Softplus`, but no call of a function and nothing inside a parametrization.

    A `state_dict` of the model does not hold beta: save that of the annealing beside it.

    Args:
        model: The model that trains; its activations get `start` at once.
        start: The first beta, positive, in units of 1/input.
        end: The last beta, positive.
        steps: How many calls of `step` lead from start to end.
        schedule: "geometric" (a constant factor a step), "linear" or "cosine" (half a cosine, flat
            at both ends).
        exclude: Names of modules to leave as they are, or patterns of them with `*`, as
            `named_modules` has them; what lies inside such a module is left too. Use it for a
            Softplus that makes an output positive.

    Raises:
        TypeError, ValueError: An argument is none of the above, the model has no such activation,
            or one has a learnable beta. The model is then unchanged.
    """

    def __init__(
        self,
        model: nn.Module,
        start: float,
        end: float,
        steps: int,
        schedule: str = "geometric",
        *,
        exclude: str | Sequence[str] = (),
    ) -> None:
        _check_schedule(start, end, steps, schedule)
        self._activations = _activations(model, _excluded(model, exclude))
        learnable = [
            name
            for name, module in self._activations.items()
            if getattr(module, "raw_beta", None) is not None
        ]
        if learnable:
            raise ValueError(
                f"the beta of {', '.join(learnable)} is learnable: training sets it, a schedule "
                "cannot; build the module with learnable=False, or name it in exclude"
            )
        self._settings: dict[str, Any] = {
            "start": start,
            "end": end,
            "steps": steps,
            "schedule": schedule,
        }
        self._interpolate = _SCHEDULES[schedule]
        self.steps = steps
        self._move_to(0)

    @property
    def finished(self) -> bool:
        """Whether beta has arrived at its end, and no further step may be made."""
        return self.taken == self.steps

    def step(self) -> None:
        """Move beta on by one step; RuntimeError if it has arrived, and beta stays."""
        if self.finished:
            raise RuntimeError(
                f"the annealing has made all of its steps={self.steps} and beta is "
                f"{self.beta:g}: make no step where annealing.finished, or give it more steps"
            )
        self._move_to(self.taken + 1)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to continue, ready for `torch.save` or JSON."""
        return {**self._settings, "activations": list(self._activations), "taken": self.taken}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where the annealing that gave this state stood.

        Raises:
            ValueError: The state is of another schedule or of a model with other activations, or
                no state at all. Beta then stays.
        """
        here = self.state_dict()
        for key in [key for key in here if key != "taken"]:
            if state_dict.get(key) != here[key]:
                raise ValueError(
                    f"the state was saved with {key}={state_dict.get(key)!r}, and this annealing "
                    f"has {here[key]!r}: build it for the same model with the same arguments"
                )
        taken = state_dict.get("taken")
        if not isinstance(taken, int) or not 0 <= taken <= self.steps:
            raise ValueError(
                f"taken must be a whole number from 0 to steps={self.steps}, got {taken!r}: pass "
                "what state_dict() returned"
            )
        self._move_to(taken)

    def _move_to(self, taken: int) -> None:
        self.taken = taken
        start, end = self._settings["start"], self._settings["end"]
        self.beta = float(self._interpolate(start, end, taken / self.steps))
        for module in self._activations.values():
            module.beta = self.beta


def harden(model: nn.Module, sample: Any = None, *, exclude: str | Sequence[str] = ()) -> nn.Module:
    """Return a copy of the model with an exact `torch.nn.ReLU` for every Softplus module.

    >>> model = nn.Sequential(nn.Linear(4, 8), Softplus(beta=1000), nn.Linear(8, 1))
    >>> hardened = harden(model, sample=torch.randn(64, 4))
    >>> hardened
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
      (2): Linear(in_features=8, out_features=1, bias=True)
    )
    >>> hardened.difference < 1e-3
    True

    Softplus lies above ReLU, by ln2/beta at 0 and by less elsewhere: that bounds what each
    activation changes. What the network makes of it is measured: `.difference` of the result is
    the largest absolute difference between the outputs of the two models on the sample, both in
    evaluation mode; without a sample it is None. Anneal beta first, with `BetaAnnealing`.

    Nothing of this package is left: the result saves, loads, exports and runs without it. The
    model itself stays as it is. Found are the modules that `BetaAnnealing` finds; a function of
    this package that the model calls by itself is noticed where there is a sample. A `LogSigmoid`
    becomes PyTorch's, and a module in which `convert` replaced calls of ReLU calls ReLU itself
    again. Hooks, names and parameters stay, other than those of a learnable beta.

    A `shift` is folded into the bias of the next layers (a layer without one gets one): `Linear`
    and convolutions, with flattening, dropout, maximum or adaptive average pooling in between. In
    training, dropout scales a shift and not a bias, so there the two are equal on average. The
    default shift ln2/beta is folded where that can be done and left out where not: the bound above
    holds either way.

    Args:
        model: The model to harden.
        sample: What to measure on: the input, a tuple of arguments, or a mapping of keyword
            arguments.
        exclude: As in `BetaAnnealing`. What is excluded stays as it is, of this package or not.

    Raises:
        ValueError: The model has no such activation, or something that cannot be hardened: a
            negative beta (the limit is min(x, 0), which is not ReLU), a negative threshold, a
            subclass, a shift that no bias can take (one before the zero padding of a convolution,
            which would make the borders wrong, or before a sum), another module of this package,
            or a call of one of its functions. The message names it; the model is unchanged.
    """
    own = getattr(model, "difference", None)
    if own is not None and type(own) is not float:
        raise ValueError(
            f"this {type(model).__name__} has an attribute `difference` of its own, where harden "
            "puts what it measures: rename it"
        )
    hardened = copy.deepcopy(model)
    excluded = _excluded(hardened, exclude)
    activations = _activations(hardened, excluded)
    replacements: dict[nn.Module, nn.Module] = {
        module: _in_place_of(module, nn.ReLU(inplace=getattr(module, "inplace", False)))
        for module in activations.values()
    }
    for module in hardened.modules():
        if type(module) is LogSigmoid and module not in excluded:
            replacements[module] = _in_place_of(module, nn.LogSigmoid())
    if _is_ours(vars(hardened).get("conversion")):  # the report of softplus.convert
        del hardened.__dict__["conversion"]
    _check_limits(activations)
    calling_relu = _calling_relu(hardened, replacements)
    _check_nothing_else(hardened, {*replacements, *excluded, *calling_relu})
    _fold_shifts(hardened, activations)
    for name, module in list(hardened.named_modules(remove_duplicate=False)):
        if module in replacements and name:
            hardened.set_submodule(name, replacements[module])
    hardened = replacements.get(hardened, hardened)
    for module, made in calling_relu.items():
        made.undo(module)
    # Not setattr, which a module would take for a parameter or a submodule.
    hardened.__dict__["difference"] = (
        None if sample is None else _difference(model, hardened, sample, exclude)
    )
    return hardened


def _check_schedule(start: float, end: float, steps: int, schedule: str) -> None:
    for name, beta in (("start", start), ("end", end)):
        arguments.check_positive_beta(beta, name)
    if not isinstance(steps, int):
        raise TypeError(
            f"steps must be a whole number of 1 or more, got {type(steps).__name__} {steps!r}"
        )
    if steps < 1:
        raise ValueError(f"steps must be a whole number of 1 or more, got {steps}")
    if schedule not in _SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(_SCHEDULES)}, got {schedule!r}")


def _excluded(model: nn.Module, exclude: str | Sequence[str]) -> set[nn.Module]:
    """Return the modules that the patterns match, with all that lies inside them."""
    found: set[nn.Module] = set()
    for pattern in [exclude] if isinstance(exclude, str) else exclude:
        matched = [
            module
            for name, module in model.named_modules(remove_duplicate=False)
            if fnmatchcase(name, pattern)
        ]
        if not matched:
            raise ValueError(
                f"exclude={pattern!r} matches no module of this {type(model).__name__}: "
                "model.named_modules() lists their names"
            )
        found.update(inner for module in matched for inner in module.modules())
    return found


def _activations(model: nn.Module, excluded: set[nn.Module]) -> dict[str, Any]:
    """Return the Softplus modules that count as activations, by name."""
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _KINDS)
        and module not in excluded
        and "parametrizations" not in name.split(".")
    }
    if not found:
        raise ValueError(
            f"no Softplus module found in this {type(model).__name__}"
            f"{' outside of exclude' if excluded else ''}: where the model calls a function "
            "(softplus, F.softplus), give it a module instead, such as softplus.Softplus()"
        )
    return found


def _check_limits(activations: dict[str, Any]) -> None:
    """Raise unless every activation has ReLU as its limit."""
    for name, module in activations.items():
        kind = type(module)
        if kind not in _KINDS:
            raise ValueError(
                f"{name} is a {kind.__name__}, a subclass, which may compute anything: replace it "
                "by a Softplus, or name it in exclude"
            )
        beta = _smallest_beta(module)
        if not beta > 0:
            raise ValueError(
                f"{name} has beta={beta:g}, whose limit is min(x, 0) and not ReLU: write "
                f"-softplus(-x) with beta={-beta:g} around it, or name it in exclude"
            )
        threshold = getattr(module, "threshold", None)
        if threshold is not None and threshold < 0:
            raise ValueError(
                f"{name} has threshold={threshold:g}, below which it is x itself for some x < 0, "
                "and so not near ReLU: give it a threshold of 0 or more, or name it in exclude"
            )


def _calling_relu(
    model: nn.Module, replacements: Mapping[nn.Module, nn.Module]
) -> dict[nn.Module, classes.Recipe]:
    """Return the modules whose calls of ReLU `convert` replaced by what becomes ReLU again."""
    recipes = {module: classes.recipe(type(module)) for module in model.modules()}
    return {
        module: made
        for module, made in recipes.items()
        if made.original is not type(module)
        and made.is_of_relu()
        and replacements.keys() >= set(made.activations(module))
    }


def _check_nothing_else(model: nn.Module, expected: set[nn.Module]) -> None:
    """Raise if any other module is, or holds, a thing of this package."""
    for name, module in model.named_modules():
        if module in expected:
            continue
        kind = type(module)
        for held in (*kind.__mro__, *vars(kind).values(), *vars(module).values()):
            if _is_ours(held):
                what = held if isinstance(held, (type, FunctionType)) else type(held)
                raise ValueError(
                    f"{name or 'the model'} uses {what.__name__} of this package, and harden "
                    "replaces modules of Softplus alone: give it a module in place of a function, "
                    "remove a parametrization (torch.nn.utils.parametrize.remove_parametrizations),"
                    " load a converted model's state_dict into the model that it was converted "
                    "from, or name it in exclude"
                )


def _is_ours(thing: object) -> bool:
    home = thing if isinstance(thing, (type, FunctionType)) else type(thing)
    return str(home.__module__).partition(".")[0] == __package__


def _smallest_beta(module: Any) -> float:
    return float(torch.as_tensor(module.beta).detach().min())


def _in_place_of(module: nn.Module, replacement: nn.Module) -> nn.Module:
    """Return the replacement, with the mode and the hooks of the module."""
    for name in vars(nn.Module()):
        if name == "training" or "hook" in name:
            setattr(replacement, name, getattr(module, name))
    return replacement


# Folding a shift: what a layer after the activation subtracts, its bias can.

# A layer that takes a constant off its input as a constant off its output; torch.fx looks into any
# subclass that is not PyTorch's own.
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
# What may stand between: what is done to x, done to x - c, gives the same minus c.
_CONSTANT_KEEPING = (
    nn.Identity,
    nn.Flatten,
    nn.Unflatten,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
)
_CONSTANT_KEEPING_CALLS = (
    ("call_function", torch.flatten),
    ("call_method", "flatten"),
    ("call_method", "reshape"),
    ("call_method", "view"),
)


class _CallGraph(fx.Tracer):
    """The calls of a model's modules, with its activations as single ones."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _KINDS) or super().is_leaf_module(m, module_qualified_name)


def _fold_shifts(model: nn.Module, activations: dict[str, Any]) -> None:
    """Subtract the shift of every ShiftedSoftplus in the bias of the layers that it feeds."""
    shifted = {n: module for n, module in activations.items() if type(module) is ShiftedSoftplus}
    if not shifted:
        return
    calls = _calls(model)
    for name, module in shifted.items():
        if module.shift is None and module.num_parameters > 1:
            continue  # a default shift for each channel; left out, as the bound allows
        try:
            layers = _layers_fed_by(module, calls)
        except ValueError as error:
            if module.shift is None:
                continue  # left out, as the bound allows
            raise ValueError(
                f"the shift={module.shift:g} of {name} cannot be folded: {error}; have it feed "
                "Linear layers or convolutions without zero padding alone, or use shift=None, "
                "which vanishes as beta grows"
            ) from None
        shift = math.log(2) / _smallest_beta(module) if module.shift is None else module.shift
        for layer in layers:
            _fold(shift, layer)


def _calls(model: nn.Module) -> dict[fx.Node, nn.Module | None]:
    """Return what the model calls, as far as torch.fx can trace it, with the modules called."""
    modules = dict(model.named_modules())
    try:
        # A copy: the model's code may keep a proxy in an attribute.
        graph = _CallGraph().trace(copy.deepcopy(model))
    except Exception:  # noqa: BLE001  # the model's own code runs with proxies and raises anything
        return {}
    return {
        node: modules[str(node.target)] if node.op == "call_module" else None
        for node in graph.nodes
    }


def _layers_fed_by(module: nn.Module, calls: dict[fx.Node, nn.Module | None]) -> set[Any]:
    """Return the layers that the module feeds, and that nothing else does."""
    ahead = [node for node, called in calls.items() if called is module]
    if not ahead:
        raise ValueError(
            "torch.fx, which shows where it goes, meets no call of it (control flow that depends "
            "on data and PyTorch's own compound modules hide calls)"
        )
    reached = set()
    while ahead:
        for user in ahead.pop().users:
            layer = calls[user]
            if isinstance(layer, _LAYERS):
                _check_takes_constant(user, layer)
                reached.add(user)
            elif (
                isinstance(layer, _CONSTANT_KEEPING)
                or (user.op, user.target) in _CONSTANT_KEEPING_CALLS
            ):
                ahead.append(user)
            elif not _reads_shape(user):
                raise ValueError(f"it goes into {user.target} ({user.op})")
    layers = {calls[user] for user in reached}
    for node, called in calls.items():
        if called in layers and node not in reached:
            raise ValueError(f"{node.target}, which it goes into, is called on something else too")
    return layers


def _reads_shape(node: fx.Node) -> bool:
    if node.op == "call_method":
        return node.target == "size"
    return node.target is getattr and node.args[1] == "shape"


def _check_takes_constant(node: fx.Node, layer: nn.Module) -> None:
    padding = getattr(layer, "padding", "valid")
    if padding != "valid" and any(padding) and layer.padding_mode == "zeros":
        raise ValueError(
            f"the zeros with which {node.target} pads its input (padding={padding}) are not "
            "shifted, so its borders would come out wrong"
        )


def _fold(shift: float, layer: Any) -> None:
    # On the CPU in float64: the sum of a wide layer's weights, and devices without float64.
    weight = layer.weight.detach().cpu().double()
    bias = 0.0 if layer.bias is None else layer.bias.detach().cpu().double()
    folded = (bias - shift * weight.flatten(1).sum(dim=1)).to(layer.weight)
    layer.bias = nn.Parameter(folded, requires_grad=layer.weight.requires_grad)


# What hardening changes, measured.


class _NoCalls(TorchFunctionMode):
    """Raises where a function of this package is called outside of the modules that stay."""

    def __init__(self, staying: set[nn.Module]) -> None:
        super().__init__()
        self._inside = 0
        for module in staying:
            module.register_forward_pre_hook(self._enter)
            module.register_forward_hook(self._leave)

    def _enter(self, *_: Any) -> None:
        self._inside += 1

    def _leave(self, *_: Any) -> None:
        self._inside -= 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self._inside and getattr(func, "__module__", None) == functional.__name__:
            raise ValueError(
                f"the model calls the function {func.__name__} of this package, which harden "
                "cannot replace: give it a module instead, such as softplus.Softplus(), or name "
                "the module that calls it in exclude"
            )
        return func(*args, **(kwargs or {}))


def _difference(
    model: nn.Module, hardened: nn.Module, sample: Any, exclude: str | Sequence[str]
) -> float:
    # Copies: a forward pass may change what a module holds.
    copied = copy.deepcopy(hardened)
    with _NoCalls(_excluded(copied, exclude)):
        after = _outputs(copied, sample)
    before = _outputs(copy.deepcopy(model), sample)
    if not after:
        raise TypeError("on the sample the model returns no floating-point tensor to compare")
    largest = [(a.double() - b.double()).abs().max() for a, b in zip(after, before, strict=True)]
    return float(torch.stack(largest).max())


def _outputs(model: nn.Module, sample: Any) -> list[Tensor]:
    """Return the floating-point tensors that the model returns in evaluation mode."""
    model.eval()
    sample = copy.deepcopy(sample)  # an activation in place may write into it
    with torch.no_grad():
        if isinstance(sample, Mapping):
            output = model(**sample)
        else:
            output = model(*sample) if isinstance(sample, tuple) else model(sample)
    return list(measure.tensors(output))
