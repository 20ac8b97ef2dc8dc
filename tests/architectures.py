"""Small networks as users write them, and by hand with an activation of one's choice."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- the spelling that models use

Build = Callable[[], nn.Module]


class BasicBlock(nn.Module):
    """The block of a ResNet: one activation in place, called at two places."""

    def __init__(self, inputs: int, outputs: int, stride: int, build: Build) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = build()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.downsample(x)
        return self.relu(out)


class ResNet(nn.Module):
    """Three blocks."""

    def __init__(self, build: Build) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu = build()
        self.layers = nn.Sequential(
            BasicBlock(4, 4, 1, build), BasicBlock(4, 8, 2, build), BasicBlock(8, 8, 1, build)
        )
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(self.relu(self.bn1(self.conv1(x))))
        return self.fc(x.mean((2, 3)))


def vgg(build: Build) -> nn.Sequential:
    """Return a VGG with BatchNorm, every layer of it in one Sequential."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 4), (4, 4), (4, 8)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), build()]
    head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 16), build(), nn.Linear(16, 5)]
    return nn.Sequential(*layers, nn.MaxPool2d(2), *head)


class DoubleConv(nn.Module):
    """The block of a U-Net, which calls its activations as functions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return self.conv2(x).relu_()


class UNet(nn.Module):
    """A U-Net of two levels."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.bottom, self.up = DoubleConv(3, 4), DoubleConv(4, 8), DoubleConv(8, 4)
        self.transposed = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.last = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down(x)
        x = self.bottom(F.max_pool2d(skip, 2))
        x = torch.relu(self.transposed(x))
        x = self.up(torch.cat([skip, x], 1))
        return self.last(x).relu()


class DoubleConvByHand(DoubleConv):
    """The block of a U-Net with an activation of one's choice."""

    def __init__(self, inputs: int, outputs: int, build: Build) -> None:
        super().__init__(inputs, outputs)
        self.first, self.second = build(), build()

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.conv2(self.first(self.norm1(self.conv1(x)))))


class UNetByHand(UNet):
    """The U-Net with an activation of one's choice."""

    def __init__(self, build: Build) -> None:
        super().__init__()
        self.down, self.bottom, self.up = (
            DoubleConvByHand(inputs, outputs, build) for inputs, outputs in ((3, 4), (4, 8), (8, 4))
        )
        self.first, self.second = build(), build()

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down(x)
        x = self.first(self.transposed(self.bottom(F.max_pool2d(skip, 2))))
        return self.second(self.last(self.up(torch.cat([skip, x], 1))))
