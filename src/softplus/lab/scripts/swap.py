"""The swap: in this process every ReLU computes another activation, and is counted.

PyTorch's dispatcher is where it happens: all spellings of ReLU, bound to whatever names, called
from Python, C++ or TorchScript, compiled or transformed, come by the operators `relu` and `relu_`.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from softplus.functional import overwrite
from softplus.lab import activations
from softplus.lab.activations import Activation
from softplus.lab.scripts import fused
from softplus.lab.scripts.account import Account

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_Function = Callable[..., Any]
_libraries: dict[str, torch.library.Library] = {}  # what a library registered ends with it


def install(spelling: str, folder: str) -> None:
    """Let every ReLU of this process compute the activation, and count it in the trial's folder."""
    activation, account = activations.parse(spelling), Account(folder)
    functions = {"relu": activation.build().forward, "relu_": _in_place(activation)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a kernel is overridden: that is the purpose
        for operator, function in functions.items():
            # Where no autograd key is left, as in inference mode, a backend's own kernel is called.
            for key in ("Autograd", *fused.BACKENDS):
                _override(operator, key, function, account)
        for name, key, condition in fused.operators():
            _watch(name, key, condition, account)
    # These would compute ReLU, or its derivative, where the dispatcher does not see it: the fused
    # layers of a transformer on a GPU, and TorchScript's own derivatives and fusions.
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._jit_set_profiling_mode(False)  # noqa: SLF001 -- there is no public switch


def _in_place(activation: Activation) -> _Function:
    module: Any = activation.build()
    if hasattr(module, "inplace"):
        module.inplace = True
        forward: _Function = module.forward
        return forward
    return lambda x: overwrite(x, module.forward)


def _override(operator: str, key: str, function: _Function, account: Account) -> None:
    name = f"aten::{operator}"
    if key != "Autograd" and not fused.has_kernel(name, key):
        return
    original = _kernel(name, "AutogradCPU" if key == "Autograd" else key)
    if original is None:
        if key.startswith("Quantized"):
            return
        original = _stand_in(operator, below_autograd=key == "Autograd")
    replace, strided = account.replace, torch.strided

    def relu(keys: Any, x: Tensor) -> Any:
        if x.dtype in _FLOATS and x.layout is strided:
            replace(operator)
            return function(x)
        # A backend's kernel, which follows, counts by itself; those of other layouts are not ours.
        if key != "Autograd" or x.layout is not strided:
            account.miss(f"{operator} of {x.dtype}, {x.layout}".replace("torch.", ""))
        return original(keys, x)

    _register(name, key, relu)


def _watch(name: str, key: str, computes_relu: fused.Condition, account: Account) -> None:
    original = _kernel(name, key)
    if original is None:
        return

    def watched(keys: Any, *args: Any, **kwargs: Any) -> Any:
        if computes_relu(args, kwargs):
            account.miss(name)
        return original(keys, *args, **kwargs)

    _register(name, key, watched)


def _kernel(name: str, key: str) -> _Function | None:
    """Return PyTorch's own kernel; None where PyTorch does not give it, before 2.10."""
    get: Any = getattr(torch.library, "get_kernel", None)
    return None if get is None else get(name, key).call_boxed


def _stand_in(operator: str, *, below_autograd: bool) -> _Function:
    """Return what computes PyTorch's own ReLU of what is no float, where it gives no kernel."""

    def relu(_: Any, x: Tensor) -> Any:
        if not below_autograd:  # of integers: other layouts have kernels that are not replaced
            return x.clamp_min(0) if operator == "relu" else x.clamp_min_(0)
        with torch._C._AutoDispatchBelowAutograd():  # noqa: SLF001 -- there is no public one
            return getattr(torch.ops.aten, operator)(x)

    return relu


def _register(name: str, key: str, function: _Function) -> None:
    space, _, operator = name.partition("::")
    if space not in _libraries:
        _libraries[space] = torch.library.Library(space, "IMPL")  # type: ignore[no-untyped-call]
    _libraries[space].impl(operator, function, key, with_keyset=True)  # type: ignore[no-untyped-call]
