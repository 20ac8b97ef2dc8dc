"""Networks of one shape as one network: every tensor has a first dimension more, one entry each."""

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# PyTorch's vector loops take up to 32 numbers at a time, and the rest of a tensor goes another way,
# with other bits. A row of parameters is a multiple of it, so no network's numbers are the rest.
_ROW = 64
# Above it the matrix products are all that counts, and company makes nothing faster.
_MOST_PARAMETERS = 2**18


class Stack(nn.Module):
    """Chains of linear layers and elementwise modules, of one shape, trained side by side.

    Takes [networks, examples, features] and returns [networks, examples, outputs]. From two
    networks on, the bits of one depend neither on how many there are nor on its place among them.
    `values` and `gradients` have a row for each network. The parameters of `models` are views of
    the rows, and their elementwise modules are those of the first.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        self.models = list(models)  # in a plain list, which is no part of this module
        numbers = sum(parameter.numel() for parameter in models[0].parameters())
        shape = (len(models), math.ceil(numbers / _ROW) * _ROW)
        self.values, self.gradients = torch.zeros(shape), torch.zeros(shape)
        self._best = self.values.clone()
        self._leaves: list[tuple[Tensor, Tensor]] = []
        self._layers = nn.ModuleList()
        start = 0
        for layers in zip(*map(_layers, models), strict=True):
            if not isinstance(layers[0], nn.Linear):
                self._layers.append(_with_one_more_dimension(layers[0]))
                continue
            together = _Linears()
            for name, parameter in layers[0].named_parameters():
                place = slice(start, start := start + parameter.numel())
                setattr(
                    together, name, self._adopt(place, [getattr(layer, name) for layer in layers])
                )
            self._layers.append(together)
        _share_elementwise(models)

    def _adopt(self, place: slice, parameters: list[nn.Parameter]) -> Tensor:
        """Move parameters, one of each network, into these columns; return them as one leaf."""
        # Transposed, as `inputs @ weight` reads it: its gradient comes so.
        shape = parameters[0].t().shape
        values, gradients = (
            rows[:, place].unflatten(1, shape) for rows in (self.values, self.gradients)
        )
        for row, parameter in zip(values, parameters, strict=True):
            row.copy_(parameter.detach().t())
            parameter.data = row.t()
        leaf = values.detach().requires_grad_()
        self._leaves.append((leaf, gradients))
        return leaf

    @property
    def module(self) -> nn.Module:
        """What computes, as `Alone` has it too."""
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        for layer in self._layers:
            inputs = layer(inputs)
        return inputs

    def backward(self, loss: Tensor) -> None:
        """Bring the gradients of a loss, one number, into `gradients`."""
        found = torch.autograd.grad(loss, [leaf for leaf, _ in self._leaves])
        for (_, place), gradient in zip(self._leaves, found, strict=True):
            place.copy_(gradient)

    def blocks(self, sizes: Sequence[int]) -> list[nn.Parameter]:
        """Return the rows in blocks of these sizes, each as one parameter for an optimizer."""
        blocks = []
        for values, gradients in zip(
            self.values.split(list(sizes)), self.gradients.split(list(sizes)), strict=True
        ):
            blocks.append(nn.Parameter(values))
            blocks[-1].grad = gradients
        return blocks

    def keep(self, row: int) -> None:
        """Remember a network as it now is."""
        self._best[row] = self.values[row]

    def restore(self, row: int) -> None:
        """Make a network what it was when it was last kept."""
        self.values[row] = self._best[row]


class Alone:
    """One model by itself, with the face of a stack of one."""

    def __init__(self, model: nn.Module) -> None:
        self.module = model
        self._best: dict[str, Any] = {}

    @property
    def gradients(self) -> Tensor:
        """All gradients, in one row."""
        found = [p.grad for p in self.module.parameters() if p.grad is not None]
        return torch.cat([gradient.flatten() for gradient in found])[None]

    def backward(self, loss: Tensor) -> None:
        """Bring the gradients of a loss, one number, into the model."""
        self.module.zero_grad()
        torch.autograd.backward(loss)

    def keep(self, _: int) -> None:
        """Remember the model as it now is."""
        self._best = copy.deepcopy(self.module.state_dict())

    def restore(self, _: int) -> None:
        """Make the model what it was when it was last kept."""
        self.module.load_state_dict(self._best)


class _Linears(nn.Module):
    """The same linear layer of all networks."""

    weight: Tensor
    bias: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        if self.bias is None:
            return torch.bmm(inputs, self.weight)
        return torch.baddbmm(self.bias.unsqueeze(1), inputs, self.weight)


def can_stack(model: nn.Module) -> bool:
    """Whether the model is one linear layer after another, with nothing else that learns."""
    layers = list(_layers(model))
    linear = [layer for layer in layers if type(layer) is nn.Linear]
    others = [layer for layer in layers if type(layer) is not nn.Linear]
    parameters = [parameter for layer in linear for parameter in layer.parameters()]
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return (
        bool(linear)
        and len(set(linear)) == len(linear)  # one used twice has one gradient for both
        and not any(getattr(layer, hook) for layer in layers for hook in hooks)
        and not any(layer.state_dict() for layer in others)
        and all(p.requires_grad and p.dtype == torch.float32 and p.is_cpu for p in parameters)
        and sum(parameter.numel() for parameter in parameters) <= _MOST_PARAMETERS
    )


def agrees(stack: Stack, inputs: Tensor) -> bool:
    """Whether a stack computes, and repeats, what its first model computes alone.

    Dropout does not repeat itself; a module that counts dimensions, or mixes examples, differs.
    """
    with torch.no_grad():
        alone = stack.models[0](inputs)
        try:
            together = stack(inputs.expand(len(stack.models), *inputs.shape))[0]
        except (RuntimeError, IndexError):
            return False
    return together.shape == alone.shape and torch.allclose(
        together, alone, rtol=1e-3, atol=1e-4, equal_nan=True
    )


def _layers(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules of a chain in the order in which they run."""
    if isinstance(model, nn.Sequential) and type(model).forward is nn.Sequential.forward:
        for child in model:  # .children() would name one that stands in two places once
            yield from _layers(child)
    else:
        yield model


def _share_elementwise(models: Sequence[nn.Module]) -> None:
    """Give all models the elementwise modules of the first: one beta moves for all of them."""
    first = dict(models[0].named_modules(remove_duplicate=False))
    for model in models[1:]:
        for name, module in list(model.named_modules(remove_duplicate=False)):
            if name and not module.state_dict() and not list(module.children()):
                parent, _, child = name.rpartition(".")
                setattr(model.get_submodule(parent), child, first[name])


def _with_one_more_dimension(module: nn.Module) -> nn.Module:
    """Return what the module is to a stack: itself, but for what counts dimensions."""
    if type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
        return nn.Flatten(2)
    return module
