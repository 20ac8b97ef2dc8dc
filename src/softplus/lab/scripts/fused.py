"""The operators that compute a ReLU inside of something else, where no swap reaches it."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import torch

# The dispatch keys under which PyTorch has kernels for tensors of numbers, quantised ones last.
BACKENDS = (
    *("CPU", "CUDA", "XPU", "MPS", "MTIA", "HPU", "PrivateUse1"),
    *("QuantizedCPU", "QuantizedCUDA"),
)
# Whether a call of the operator, with these arguments, computes a ReLU.
Condition = Callable[[tuple[Any, ...], dict[str, Any]], bool]


def _always(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    del args, kwargs
    return True


def _relu_by_name(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return "relu" in (each for each in (*args, *kwargs.values()) if isinstance(each, str))


def _relu_of_two(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return not kwargs.get("use_gelu", args[7] if len(args) > 7 else False)


def _mode_is_relu(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return kwargs.get("mode", args[6] if len(args) > 6 else None) == 0


# On a CPU the two of `use_gelu` call relu, which is replaced.
_CONDITIONAL: dict[str, tuple[Condition, tuple[str, ...]]] = {
    "aten::_addmm_activation": (_relu_of_two, BACKENDS[1:]),
    "aten::_transformer_encoder_layer_fwd": (_relu_of_two, BACKENDS[1:]),
    "aten::_cudnn_rnn": (_mode_is_relu, BACKENDS),
    "aten::miopen_rnn": (_mode_is_relu, BACKENDS),
    "aten::_sparse_semi_structured_linear": (_relu_by_name, BACKENDS),
    "aten::_mixed_dtypes_linear": (_relu_by_name, BACKENDS),
}


def operators() -> Iterator[tuple[str, str, Condition]]:
    """Yield each such operator that this PyTorch has, with its dispatch key and its condition."""
    for name in torch._C._dispatch_get_all_op_names():  # noqa: SLF001 -- there is no public one
        condition, keys = _known(name)
        for key in keys:
            if has_kernel(name, key):
                yield name, key, condition


def has_kernel(name: str, key: str) -> bool:
    """Whether this PyTorch has a kernel of an operator for a dispatch key."""
    return torch._C._dispatch_has_kernel_for_dispatch_key(name, key)  # noqa: SLF001 -- likewise


def _known(name: str) -> tuple[Condition, tuple[str, ...]]:
    if name in _CONDITIONAL:
        return _CONDITIONAL[name]
    space, _, operator = name.partition("::")
    words = operator.partition(".")[0].strip("_").split("_")
    if "relu" in words and "leaky" not in words and words != ["relu"]:
        return _always, BACKENDS
    if space in {"mkldnn", "onednn", "mkldnn_prepacked"} and re.search("pointwise|prepack", name):
        return _relu_by_name, BACKENDS
    return _always, ()
