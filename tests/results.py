"""What every kernel gives for an input."""

import torch
from torch import Tensor

from references import same_bits
from softplus import inverse_softplus, logsigmoid, shifted_softplus, softplus


def derivatives(x: Tensor, beta: float = 1.0, threshold: float | None = None) -> list[Tensor]:
    """Return Softplus and its first two derivatives, by autograd through the kernels."""
    x = x.detach().requires_grad_()
    y = softplus(x, beta, threshold)
    (first,) = torch.autograd.grad(y, x, torch.ones_like(y), create_graph=True)
    (second,) = torch.autograd.grad(first, x, torch.ones_like(y))
    return [y.detach(), first.detach(), second]


def everything(x: Tensor, beta: float = 1.0) -> dict[str, Tensor]:
    """Return the result of each kernel at x."""
    leaf = x.detach().requires_grad_()
    g = (x.detach() * 0.37 + 1).requires_grad_()
    y = softplus(leaf, beta)
    (first,) = torch.autograd.grad(y, leaf, g, create_graph=True)
    to_x, to_g = torch.autograd.grad(first, (leaf, g), x.detach() * 0.11 - 1)
    reverting = softplus(leaf, beta, 5.0)
    return {
        "forward": y.detach(),
        "backward": first.detach(),
        "double backward towards x": to_x,
        "double backward towards g": to_g,
        "reverting": reverting.detach(),
        "its backward": torch.autograd.grad(reverting, leaf, g)[0].detach(),
        "shifted": shifted_softplus(x, beta),
        "shifted by 0.3": shifted_softplus(x, beta, 0.3),
        "inverse": inverse_softplus(x.abs(), beta),
        "logsigmoid": logsigmoid(x),
    }


def hold_same(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Hold that every result has the same bits."""
    assert [name for name in wanted if not same_bits(got[name], wanted[name])] == []
