"""What a plain eager call and its tensors are, as `ops/cpu/plain.h` says it to the C++ entry.

Each test takes 20 to 60 nanoseconds; the dispatch keys, which C++ reads, would take 640.
"""

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.compiler import is_dynamo_compiling
from torch.nn import Parameter
from torch.overrides import has_torch_function_unary

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)

# Without public names: torch.func's levels; dispatch modes, those of fake tensors and of tracers
# among them; torch.jit.trace.
_level = torch._C._functorch.peek_interpreter_stack  # noqa: SLF001
_dispatch_modes = torch._C._len_torch_dispatch_stack  # noqa: SLF001
_trace = torch._C._get_tracing_state  # noqa: SLF001
_no_dispatch = torch._C._disabled_torch_dispatch_impl  # noqa: SLF001


def is_eager() -> bool:
    """Whether nothing but autograd follows what is computed now."""
    return (
        not is_dynamo_compiling()
        and not _dispatch_modes()
        and _level() is None
        and forward_ad._current_level < 0  # noqa: SLF001
        and _trace() is None
    )


def is_dense(tensor: Tensor, dtypes: tuple[torch.dtype, ...] = DTYPES) -> bool:
    """Whether this is a tensor of elements in memory that overrides nothing."""
    kind = type(tensor)
    try:
        return (
            (kind is Tensor or kind is Parameter or is_ordinary(tensor))
            and not has_torch_function_unary(tensor)
            and tensor.dtype in dtypes
            and not tensor.is_nested
            and not tensor.is_neg()
            # Meta tensors have none, nor those that functionalization wraps.
            and tensor.data_ptr() != 0
        )
    except RuntimeError:  # nor those of other layouts, or that outlived their level of torch.func
        return False


def is_ordinary(tensor: Tensor) -> bool:
    """Whether this is a Tensor to PyTorch's operators: by its class, or by one that adds none."""
    return getattr(type(tensor), "__torch_dispatch__", None) is _no_dispatch


def under_autocast(tensor: Tensor) -> bool:
    """Whether PyTorch's autocast gives softplus this tensor in float32, as it does on GPUs."""
    if tensor.is_cpu or tensor.is_meta or tensor.dtype == torch.float64:
        return False
    device = tensor.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def under_transform() -> bool:
    """Whether torch.func or forward-mode AD is at work, at any level."""
    return _level() is not None or forward_ad._current_level >= 0  # noqa: SLF001


def records(tensor: Tensor, other: Tensor | None = None) -> bool:
    """Whether autograd records what is computed of these tensors."""
    needed = tensor.requires_grad or (other is not None and other.requires_grad)
    return needed and torch.is_grad_enabled()
