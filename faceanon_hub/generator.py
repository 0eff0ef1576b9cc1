"""The generator: a style to a photograph of nobody."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from .errors import CheckpointError
from .runtime import OnnxRuntime

SMALLEST = 4  # side of the constant that synthesis starts from
WIDEST = 1024  # channels, style or latent: more is no network of this kind, and would fill the memory
MAPPING_LAYERS = 8

_building = threading.Lock()


class FaceAnonGenerator(ModelMixin, ConfigMixin):
    r"""Draws faces of nobody: MobileStyleGAN (arXiv 2104.04767), distilled from StyleGAN2 on FFHQ.

    A mapping makes a style of a latent, synthesis makes a picture of the style. Each level doubles the resolution by
    an inverse Haar transform of its channels. A head on the features of half its size reads a picture off them, so a
    small picture costs less than a large one.

    Args:
        latent_size (`int`, *optional*, defaults to `512`):
            Length of the latent.
        style_size (`int`, *optional*, defaults to `512`):
            Length of the style.
        channels (`tuple[int]`, *optional*):
            Width of each level's features, from 4 px upwards, each level twice the resolution of the one before.
        sizes (`tuple[int]`, *optional*, defaults to `(128, 256, 512, 1024)`):
            Sides of the pictures in pixels, rising; the last one is twice the resolution of the last level.

    Raises:
        ValueError: the sizes do not fit the levels, or a value is out of range.
    """

    mean_style: torch.Tensor

    @register_to_config
    def __init__(
        self,
        latent_size: int = 512,
        style_size: int = 512,
        channels: Sequence[int] = (512, 512, 512, 512, 512, 256, 128, 64),
        sizes: Sequence[int] = (128, 256, 512, 1024),
    ) -> None:
        super().__init__()
        if not all(isinstance(n, int) and 1 <= n <= WIDEST for n in (latent_size, style_size, *channels)):
            raise ValueError(
                f"latent, style and channels have 1 to {WIDEST} numbers, not {latent_size}, {style_size}, {channels}"
            )
        if len(channels) < 2 or any(n % 4 for n in channels[:-1]):
            raise ValueError(f"channels of two levels or more are multiples of 4, not {channels}")
        reached = [2 * SMALLEST * 2**level for level in range(len(channels))]
        if list(sizes) != sorted(set(sizes) & set(reached[1:])) or list(sizes[-1:]) != reached[-1:]:
            raise ValueError(f"{len(channels)} levels draw some of {reached[1:]} px and the last of them, not {sizes}")
        widths = [latent_size] + [style_size] * MAPPING_LAYERS
        self.mapping = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.register_buffer("mean_style", torch.zeros(style_size))
        self.constant = nn.Parameter(torch.randn(1, channels[0], SMALLEST, SMALLEST))
        self.stem = StyledConv(channels[0], channels[0], SMALLEST, style_size, separable=False)
        self.levels = nn.ModuleList(
            Level(narrow, wide, 2 * SMALLEST * 2**i, style_size)
            for i, (narrow, wide) in enumerate(zip(channels, channels[1:], strict=False))
        )
        self.heads = nn.ModuleDict({str(size): Head(channels[reached.index(size)], style_size) for size in sizes})
        self._runtime: OnnxRuntime | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_runtime": None}  # built again from the weights where it is needed

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Loads like [`~diffusers.ModelMixin.from_pretrained`], but refuses a file that lacks weights.

        Raises:
            CheckpointError: weights are missing, which diffusers would leave random, or the configuration is none of
                such a network.
        """
        wanted = kwargs.pop("output_loading_info", False)
        try:
            model, info = super().from_pretrained(pretrained_model_name_or_path, output_loading_info=True, **kwargs)
        except (ValueError, TypeError) as error:
            raise CheckpointError(str(pretrained_model_name_or_path), str(error)) from error
        if info["missing_keys"]:
            missing = ", ".join(info["missing_keys"])
            raise CheckpointError(str(pretrained_model_name_or_path), f"weights lack {missing}")
        # Weights mapped from a file lie at any address, and the last bit of a product depends on its alignment.
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.data = tensor.data.clone()
        return (model, info) if wanted else model

    @property
    def style_layers(self) -> int:
        """How many styles one picture takes: one for the stem, two for each level."""
        return 1 + 2 * len(self.levels)

    def latents(self, seeds: Sequence[int]) -> torch.Tensor:
        """Draws latents, on the CPU, so that a seed is the same person on every device and at any batch size.

        Returns:
            `torch.Tensor` of shape `(B, latent_size)`, standard normal, on the device and of the type of the weights.
        """
        length = self.config.latent_size
        drawn = [torch.randn(length, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(drawn).to(self.mean_style)

    def style(self, latent: torch.Tensor, truncation: float = 1.0) -> torch.Tensor:
        """The mapping.

        Args:
            latent (`torch.Tensor` of shape `(B, latent_size)`):
                Standard normal; only its direction counts.
            truncation (`float`, *optional*, defaults to `1.0`):
                Distance from the mean style, 0 (one average face) to 1 (full variety).

        Returns:
            `torch.Tensor` of shape `(B, style_size)`.
        """
        if latent.device.type == "cpu" and len(latent) > 1 and not torch.is_grad_enabled():
            # One at a time: the last bit of a product depends on the number of rows.
            return torch.cat([self.style(row, truncation) for row in latent.split(1)])
        x = latent * torch.rsqrt(latent.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.mapping:
            x = F.leaky_relu(layer(x), 0.2)
        return x if truncation == 1 else torch.lerp(self.mean_style.expand_as(x), x, truncation)

    def forward(self, style: torch.Tensor, size: int | None = None) -> torch.Tensor:
        """Draws faces, in torch, with gradients where they are wanted.

        Args:
            style (`torch.Tensor` of shape `(B, style_size)` or `(B, style_layers, style_size)`):
                One style for all layers, or one for each, from coarse to fine.
            size (`int`, *optional*):
                Side of the pictures in pixels, one of the configuration's `sizes`; the largest unless given.

        Returns:
            `torch.Tensor` of shape `(B, 3, size, size)`: RGB, about -1 to 1.
        """
        size = self.config.sizes[-1] if size is None else size
        features = self.features(style, size)[size]
        return self.heads[str(size)](features, self._layered(style)[:, self.head_layer(size) :].mean(1))

    def features(self, style: torch.Tensor, size: int | None = None) -> dict[int, torch.Tensor]:
        """What the heads see: for each size up to this one, features `(B, C, size / 2, size / 2)`; as [`forward`]."""
        styles, found = self._layered(style), {}
        x = self.constant.expand(len(styles), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        x = self.stem(x, styles[:, 0])
        for number, level in enumerate(self.levels):
            x = level(x, styles[:, 1 + 2 * number], styles[:, 2 + 2 * number])
            found[2 * x.shape[-1]] = x
            if 2 * x.shape[-1] == size:
                break
        return found

    def head_layer(self, size: int) -> int:
        """The first of the layers whose mean style modulates the head for a size: those that would have followed."""
        return 2 * (size // SMALLEST).bit_length() - 4

    @torch.no_grad()
    def render(self, style: torch.Tensor, size: int | None = None) -> np.ndarray:
        """Draws faces as fast as the device can: by ONNX Runtime on a CPU, one at a time, in single precision.

        On a CPU a face is the same bit for bit at any batch size and with any number of threads.

        Args:
            style, size:
                As for [`forward`].

        Returns:
            `np.ndarray` of shape `(B, size, size, 3)`, uint8: RGB.
        """
        size = self.config.sizes[-1] if size is None else size
        if self.device.type == "cpu":
            return self._onnx()(self._layered(style).float().numpy(), size)
        levels = (self(style.to(self.dtype), size).float().clamp(-1, 1) + 1) * 127.5
        return levels.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    def _layered(self, style: torch.Tensor) -> torch.Tensor:
        return style[:, None].expand(-1, self.style_layers, -1) if style.ndim == 2 else style

    def _onnx(self) -> OnnxRuntime:
        with _building:
            if self._runtime is None:
                self._runtime = OnnxRuntime(self)
            return self._runtime


class StyledConv(nn.Module):
    """Scales channels by the style, filters and mixes them, adds constant noise and a bias, and a leaky ReLU.

    StyleGAN2's demodulation is part of the weights, as the distilled network holds it.
    """

    noise: torch.Tensor

    def __init__(self, channels: int, out_channels: int, size: int, style_size: int, separable: bool = True) -> None:
        super().__init__()
        self.scale = nn.Linear(style_size, channels)
        self.filter = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False) if separable else None
        self.mix = (
            nn.Conv2d(channels, out_channels, 1) if separable else nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.register_buffer("noise", torch.zeros(1, 1, size, size))

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """(B, C, R, R) and (B, S) to (B, C2, R, R)."""
        x = x * self.scale(style)[:, :, None, None]
        if self.filter is not None:
            x = self.filter(x)
        return F.leaky_relu(self.mix(x) + self.noise, 0.2)


class Level(nn.Module):
    """Doubles the resolution and refines twice."""

    def __init__(self, channels: int, out_channels: int, size: int, style_size: int) -> None:
        super().__init__()
        self.scale = nn.Linear(style_size, channels)
        self.first = StyledConv(channels // 4, out_channels, size, style_size)
        self.second = StyledConv(out_channels, out_channels, size, style_size)

    def forward(self, x: torch.Tensor, style: torch.Tensor, next_style: torch.Tensor) -> torch.Tensor:
        """(B, C, R, R) and two styles (B, S) to (B, C2, 2 R, 2 R)."""
        x = inverse_haar(x * self.scale(style)[:, :, None, None])
        return self.second(self.first(x, style), next_style)


class Head(nn.Module):
    """Reads a picture off features of half its size: scales channels by the style, mixes 12, lays them as 2 x 2."""

    def __init__(self, channels: int, style_size: int) -> None:
        super().__init__()
        self.scale = nn.Linear(style_size, channels)
        self.mix = nn.Conv2d(channels, 12, 1)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """(B, C, R, R) and (B, S) to (B, 3, 2 R, 2 R)."""
        return F.pixel_shuffle(self.mix(x * self.scale(style)[:, :, None, None]), 2)


def inverse_haar(x: torch.Tensor) -> torch.Tensor:
    """Four bands of C channels, low, rows, columns, both, (B, 4 C, R, R), to their sums (B, C, 2 R, 2 R)."""
    low, rows, columns, both = x.permute(0, 2, 3, 1).chunk(4, 3)
    top, bottom, over, under = low + rows, low - rows, columns + both, columns - both
    pairs = torch.stack((top + over, top - over), 3), torch.stack((bottom + under, bottom - under), 3)
    return torch.stack(pairs, 2).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
