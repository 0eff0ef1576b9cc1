"""The plain residual network (arXiv 1512.03385) that reads a few numbers off a small crop."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from torch import nn

from .errors import CheckpointError


class ResidualNetwork(ModelMixin, ConfigMixin):
    """Base of networks whose weights lie in a checkpoint: two strided convolutions, residual blocks, a linear head."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Loads like [`~diffusers.ModelMixin.from_pretrained`], but refuses a file that lacks weights.

        Raises:
            CheckpointError: weights are missing, which diffusers would leave random.
        """
        wanted = kwargs.pop("output_loading_info", False)
        model, info = super().from_pretrained(pretrained_model_name_or_path, output_loading_info=True, **kwargs)
        if info["missing_keys"]:
            missing = ", ".join(info["missing_keys"])
            raise CheckpointError(str(pretrained_model_name_or_path), f"weights lack {missing}")
        return (model, info) if wanted else model

    @staticmethod
    def layers(inputs: int, channels: Sequence[int], outputs: int) -> nn.Sequential:
        """Layers from `(B, inputs, S, S)` to `(B, outputs)`.

        Args:
            inputs (`int`):
                Channels of the crop.
            channels (`list[int]`):
                Width of each resolution, from half of the crop's down; each but the first has a residual block.
            outputs (`int`):
                Numbers read.
        """
        parts = [_convolution(inputs, channels[0], 5, 2), nn.ReLU()]
        for before, after in zip(channels, channels[1:], strict=False):
            parts += [_convolution(before, after, 3, 2), nn.ReLU(), Residual(after)]
        return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], outputs))


class Residual(nn.Module):
    """Two convolutions whose result is added to what goes in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(B, C, H, W)` to the same shape."""
        return torch.relu(x + self.second(torch.relu(self.first(x))))


def _convolution(before: int, after: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(after))
