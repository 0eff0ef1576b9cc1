"""The plain residual network (arXiv 1512.03385) that reads a few numbers off a small crop."""

from collections.abc import Sequence

import torch
from torch import nn

from ..component import Network


class ResidualNetwork(Network):
    """Base of networks whose weights lie in a checkpoint: two strided convolutions, residual blocks, a linear head."""

    @staticmethod
    def layers(inputs: int, channels: Sequence[int], outputs: int) -> nn.Sequential:
        """Layers from `(B, inputs, S, S)` to `(B, outputs)`, as wide as `channels` says of each resolution, from half
        of the crop's down; each but the first has a residual block.
        """
        parts = [convolution(inputs, channels[0], 5, 2), nn.ReLU()]
        for before, after in zip(channels, channels[1:], strict=False):
            parts += [convolution(before, after, 3, 2), nn.ReLU(), Residual(after)]
        return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], outputs))


class Residual(nn.Module):
    """Two convolutions whose result is added to what goes in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels)
        self.second = convolution(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(B, C, H, W)` to the same shape."""
        return torch.relu(x + self.second(torch.relu(self.first(x))))


def convolution(before: int, after: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution and its batch norm."""
    return nn.Sequential(nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(after))
