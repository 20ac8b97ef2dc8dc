"""Networks of one shape as one network: every tensor has a first dimension more, one entry each."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

# PyTorch's vector loops take up to 32 numbers at a time, and the rest of a tensor goes another way
# with other bits. A row of parameters is a multiple of that, so that no row holds the rest.
_ROW = 64


class Stack(nn.Module):
    """Chains of linear layers and elementwise modules, of one shape, trained side by side.

    Takes [networks, examples, features] and returns [networks, examples, outputs]. A network's
    bits depend neither on how many stand beside it, from two on, nor on its place among them.
    `values` and `gradients` have one row for each network, which holds all of its parameters.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        self.models = list(models)  # a plain list: they are not parameters of this module
        chains = [list(_layers(model)) for model in models]
        numbers = sum(parameter.numel() for parameter in models[0].parameters())
        self.numbers = numbers
        shape = (len(models), math.ceil(numbers / _ROW) * _ROW)
        self.values, self.gradients = torch.zeros(shape), torch.zeros(shape)
        self._places: list[tuple[slice, list[Tensor]]] = []
        self._leaves: list[tuple[Tensor, Tensor]] = []
        self._steps = nn.ModuleList()
        start = 0
        for layers in zip(*chains, strict=True):
            if not isinstance(layers[0], nn.Linear):
                self._steps.append(_with_one_more_dimension(layers[0]))
                continue
            step = _Linears()
            for name in ("weight", "bias"):
                if getattr(layers[0], name) is None:
                    continue
                # As x @ weight reads it: the gradient of a transposed one would be strided.
                theirs = [getattr(layer, name).detach().t() for layer in layers]
                place = slice(start, start := start + theirs[0].numel())
                self._places.append((place, theirs))
                setattr(step, name, self._view(place, theirs[0].shape))
            self._steps.append(step)
        self.load()

    def _view(self, place: slice, shape: torch.Size) -> Tensor:
        """Return the leaf that lies in these columns of all rows."""
        values, gradients = (
            rows[:, place].unflatten(1, shape) for rows in (self.values, self.gradients)
        )
        leaf = values.detach().requires_grad_()
        self._leaves.append((leaf, gradients))
        return leaf

    def load(self) -> None:
        """Take the parameters of the models."""
        for place, theirs in self._places:
            self.values[:, place] = torch.stack([value.flatten() for value in theirs])

    def unload(self, row: int, values: Tensor) -> nn.Module:
        """Return the model of that row with the parameters that `values`, a row, holds."""
        for place, theirs in self._places:
            theirs[row].copy_(values[place].view(theirs[row].shape))
        return self.models[row]

    def backward(self, loss: Tensor) -> None:
        """Bring the gradients of a loss, a number, into `gradients`."""
        found = torch.autograd.grad(loss, [leaf for leaf, _ in self._leaves])
        for (_, place), gradient in zip(self._leaves, found, strict=True):
            place.copy_(gradient)

    def forward(self, inputs: Tensor) -> Tensor:
        for step in self._steps:
            inputs = step(inputs)
        return inputs


class _Linears(nn.Module):
    """The same linear layer of all networks."""

    weight: Tensor
    bias: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        if self.bias is None:
            return torch.bmm(inputs, self.weight)
        return torch.baddbmm(self.bias.unsqueeze(1), inputs, self.weight)


def stack(models: Sequence[nn.Module], sample: Tensor) -> Stack | None:
    """Return the models as one, None where they are no chains or would not compute the same.

    Args:
        models: Two or more, of one architecture.
        sample: Examples to compare on, a few rows of the inputs.
    """
    if not all(_is_chain(model) for model in models):
        return None
    stacked = Stack(models)
    with torch.no_grad():
        try:
            together = stacked(sample.expand(len(models), *sample.shape))
        except (RuntimeError, IndexError):  # a module that counts dimensions from the left
            return None
        apart = torch.stack([model(sample) for model in (models[0], models[-1])])
    together = together[[0, -1]]
    # Dropout differs from itself, and what mixes examples or networks from either.
    same = together.shape == apart.shape and torch.allclose(together, apart, 1e-3, 1e-4)
    return stacked if same else None


def _layers(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules of a chain in the order in which they run."""
    if type(model).forward is nn.Sequential.forward:
        for child in model.children():
            yield from _layers(child)
    else:
        yield model


def _is_chain(model: nn.Module) -> bool:
    """Whether the model is one linear layer after another, with nothing else that learns."""
    layers = list(_layers(model))
    for layer in layers:
        if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks:  # noqa: SLF001
            return False
        state = (*layer.parameters(), *layer.buffers())
        if type(layer) is not nn.Linear and (state or list(layer.children())):
            return False
    linear = [layer for layer in layers if type(layer) is nn.Linear]
    tensors = [p for layer in linear for p in layer.parameters()]
    return (
        bool(linear)
        and len({id(layer) for layer in linear}) == len(linear)  # used twice: one gradient for both
        and all(p.requires_grad and p.dtype == torch.float32 for p in tensors)
    )


def _with_one_more_dimension(module: nn.Module) -> nn.Module:
    """Return what the module is to a stack: itself, but for what counts dimensions."""
    if type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
        return nn.Flatten(2)
    return module
