"""Networks with activations in every spelling, whose source a test can read."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import relu


class Spellings(nn.Module):
    """Calls ReLU as a module twice, as functions, as methods, in place, on one line."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 3)
        self.act = nn.ReLU()
        self.held = functional.relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.second(self.act(self.first(x))))
        x = functional.relu(self.third(relu(x)), inplace=True)
        x = torch.relu_(x.clone()) + x.relu()
        return self.held(
            x,
        )


class SharedWeights(nn.Module):
    """Calls one function for layers of different widths in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 8), nn.Linear(8, 3)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = functional.relu(layer(x))
        return x


class Images(nn.Module):
    """Normalises before it activates; later has its channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.scale, self.mix = nn.LayerNorm(4), nn.Linear(4, 9)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.conv(x)))
        return functional.gelu(self.mix(self.scale(x.permute(0, 2, 3, 1))))
