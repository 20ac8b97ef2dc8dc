"""The implementations of Softplus that peers.py compares: how each library is called.

Inputs are tensors; each library reads the same memory as an array of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch._functorch.config as functorch_config
from scipy import special
from torch import Tensor
from torch.nn import functional

import softplus
from softplus.lab.bench import backward_alone

Call = Callable[[], Any]
FLOAT32, FLOAT64, BFLOAT16, FLOAT16 = "float32", "float64", "bfloat16", "float16"
DTYPES = {name: getattr(torch, name) for name in (FLOAT32, FLOAT64, BFLOAT16, FLOAT16)}
RELU, THEIRS, OURS, JAX = "ReLU", "F.softplus", "ours", "JAX"


@dataclass(frozen=True)
class Implementation:
    """How a library is called: each function prepares a call, which computes a pass alone.

    `backward` takes the input and the gradient of the output; what forward keeps for it is there
    before the call. Results are arrays of the library, which DLPack makes tensors.
    """

    name: str
    forward: Callable[[Tensor], Call]
    backward: Callable[[Tensor, Tensor], Call] | None
    dtypes: tuple[str, ...] = tuple(DTYPES)


def of_torch(
    name: str, function: Callable[[Tensor], Tensor], dtypes: tuple[str, ...] = tuple(DTYPES)
) -> Implementation:
    """Return a function of PyTorch's."""

    def backward(x: Tensor, g: Tensor) -> Call:
        return backward_alone(function(x.clone().requires_grad_()), g)

    return Implementation(name, lambda x: partial(function, x), backward, dtypes)


def compiled(name: str, function: Callable[[Tensor], Tensor]) -> Implementation:
    """Return a function under torch.compile: in float32 alone, as a dtype takes half a minute."""
    functorch_config.donated_buffer = False  # what backward reads must outlive it: it runs again
    return of_torch(f"{name}, compiled", torch.compile(function, dynamic=True), (FLOAT32,))


def of_jax() -> Implementation:
    """Return `jax.nn.softplus` under `jax.jit`, on the calling thread where that is all it has."""
    import jax  # noqa: PLC0415 -- where it is installed

    jax.config.update("jax_enable_x64", val=True)
    # Its default hands short computations to another thread, which costs more than they do.
    jax.config.update("jax_cpu_enable_async_dispatch", val=False)
    function = jax.jit(jax.nn.softplus)
    pull = jax.jit(lambda pullback, g: pullback(g)[0])

    def finished(f: Callable[..., Any], *arguments: Any) -> Any:
        return f(*arguments).block_until_ready()

    def forward(x: Tensor) -> Call:
        return partial(finished, function, jax.dlpack.from_dlpack(x))

    def backward(x: Tensor, g: Tensor) -> Call:
        x, g = map(jax.dlpack.from_dlpack, (x, g))
        return partial(finished, pull, jax.vjp(jax.nn.softplus, x)[1], g)

    return Implementation(JAX, forward, backward)


def numpy_forward(x: Tensor) -> Call:
    """Return NumPy's way: it has no softplus, and no derivatives."""
    array = x.numpy()
    return partial(np.logaddexp, array.dtype.type(0), array)


def scipy_backward(x: Tensor, g: Tensor) -> Call:
    """Return what one writes by hand beside SciPy's softplus."""
    x, g = x.numpy(), g.numpy()
    return lambda: g * special.expit(x)


def all_here() -> list[Implementation]:
    """Return all of them, JAX's where it is installed."""
    relu, theirs, ours, *others = uncompiled()
    functions = {THEIRS: functional.softplus, OURS: softplus.softplus}
    return [relu, theirs, ours, *(compiled(*named) for named in functions.items()), *others]


def uncompiled() -> list[Implementation]:
    """Return those that torch.compile does not make."""
    both = (FLOAT32, FLOAT64)
    return [
        of_torch(RELU, torch.relu),
        of_torch(THEIRS, functional.softplus),
        of_torch(OURS, softplus.softplus),
        *([of_jax()] if find_spec("jax") else []),
        Implementation("NumPy", numpy_forward, None, (*both, FLOAT16)),
        Implementation(
            "SciPy", lambda x: partial(special.softplus, x.numpy()), scipy_backward, both
        ),
    ]
