"""The former 128 px network: surroundings, landmark maps and a latent to a new face."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ..component import Network
from ..diffusion import register_to_config

GAIN = 1.414  # keeps the variance through a leaky ReLU
WIDTHS = (32, 64, 128, 256, 384, 384, 384)  # channels of each resolution from 256 down to 4


class UNetGenerator(Network):
    r"""A U-Net that paints a face into a hidden region, in the spirit of DeepPrivacy (arXiv 1909.04538).

    Its decoder is modulated by a style as in StyleGAN2 (arXiv 1912.04958). The style comes from a latent, which picks
    the identity, and from the surroundings.

    Args:
        sample_size (`int`, *optional*, defaults to `128`):
            Side of the crop in pixels, a power of two.
        latent_size (`int`, *optional*, defaults to `64`):
            Length of the latent.
        style_size (`int`, *optional*, defaults to `256`):
            Length of the style.
        condition_channels (`int`, *optional*, defaults to `11`):
            Landmark maps and hint, see [`training.conditioning.condition`].
        channels (`tuple[int]`, *optional*):
            Width of each resolution, from `sample_size` down to 4; the last of `WIDTHS` unless given.
    """

    @register_to_config
    def __init__(
        self,
        sample_size: int = 128,
        latent_size: int = 64,
        style_size: int = 256,
        condition_channels: int = 11,
        channels: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if channels is None:
            channels = WIDTHS[-(sample_size.bit_length() - 2) :]
            self.register_to_config(channels=channels)
        if sample_size != 4 * 2 ** (len(channels) - 1):
            raise ValueError(f"{len(channels)} resolutions from 4 upwards do not end at `sample_size={sample_size}`")
        self.stem = nn.Conv2d(3 + 1 + condition_channels, channels[0], 1)
        steps = list(zip(channels, channels[1:], strict=False))
        self.encoder = nn.ModuleList(EncoderBlock(wide, narrow) for wide, narrow in steps)
        self.context = nn.Linear(channels[-1] * 16, style_size)
        self.mapping = nn.Sequential(
            nn.Linear(latent_size + style_size, style_size),
            nn.LeakyReLU(0.2),
            nn.Linear(style_size, style_size),
            nn.LeakyReLU(0.2),
            nn.Linear(style_size, style_size),
            nn.LeakyReLU(0.2),
        )
        self.bottleneck = ModulatedConv(channels[-1], channels[-1], style_size)
        self.decoder = nn.ModuleList(
            DecoderBlock(narrow, wide, 1 + condition_channels, style_size) for wide, narrow in reversed(steps)
        )

    @property
    def noise_shapes(self) -> list[tuple[int, int, int]]:
        """Shape `(1, R, R)` of each noise input of [`forward`], in order."""
        sizes = [4] + [4 * 2 ** (i // 2 + 1) for i in range(2 * len(self.decoder))]
        return [(1, size, size) for size in sizes]

    def forward(
        self,
        image: torch.Tensor,
        mask: torch.Tensor,
        condition: torch.Tensor,
        latent: torch.Tensor,
        noise: Sequence[torch.Tensor],
    ) -> torch.Tensor:
        """Paints faces.

        Args:
            image (`torch.Tensor` of shape `(B, 3, S, S)`):
                Crops, RGB in [-1, 1]; what lies under the mask is not looked at.
            mask (`torch.Tensor` of shape `(B, 1, S, S)`):
                Hidden region, 0 or 1.
            condition (`torch.Tensor` of shape `(B, 11, S, S)`):
                Landmark maps and hint, see [`training.conditioning.condition`].
            latent (`torch.Tensor` of shape `(B, 64)`):
                Standard normal; only its direction counts.
            noise (`list[torch.Tensor]`):
                Standard normal of shapes `(B, *shape)` for each of [`noise_shapes`]: fine texture.

        Returns:
            `torch.Tensor` of shape `(B, 3, S, S)`: the crops with new faces under the mask.
        """
        visible = image * (1 - mask)
        told = torch.cat([mask, condition], 1).contiguous(memory_format=torch.channels_last)
        skips, hidden = self.encode(visible, told)
        direction = F.normalize(latent, dim=1) * latent.shape[1] ** 0.5
        style = self.mapping(torch.cat([direction, self.context(hidden.contiguous().flatten(1))], 1))
        hidden = self.bottleneck([hidden], style, noise[0])

        pyramid = [told]
        for _ in skips[1:]:
            pyramid.append(F.avg_pool2d(pyramid[-1], 2))
        painted = hidden.new_zeros(len(hidden), 3, *hidden.shape[2:])
        levels = zip(self.decoder, reversed(skips), reversed(pyramid), noise[1::2], noise[2::2], strict=True)
        for block, skip, level, *noises in levels:
            hidden, rgb = block(upsample(hidden), skip, level, style, noises)
            painted = upsample(painted) + rgb
        return visible + painted * mask

    def encode(self, visible: torch.Tensor, told: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Features of the surroundings: of each resolution, from fine to coarse, and `(B, C, 4, 4)`."""
        hidden = torch.cat([visible, told], 1).contiguous(memory_format=torch.channels_last)
        hidden = F.leaky_relu(self.stem(hidden), 0.2, inplace=True)
        skips = []
        for block in self.encoder:
            skip, hidden = block(hidden)
            skips.append(skip)
        return skips, hidden


class EncoderBlock(nn.Module):
    """Two convolutions; the second halves the resolution. Returns both results."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.down = nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, C, R, R) to itself, refined, and (B, C2, R / 2, R / 2)."""
        skip = F.leaky_relu(self.conv(x), 0.2, inplace=True)
        return skip, F.leaky_relu(self.down(F.avg_pool2d(skip, 2)), 0.2, inplace=True)


class DecoderBlock(nn.Module):
    """Sees the upsampled features, the encoder's and the conditioning, and adds to the picture."""

    def __init__(self, channels: int, out_channels: int, told_channels: int, style_size: int) -> None:
        super().__init__()
        self.merge = ModulatedConv(channels + out_channels + told_channels, out_channels, style_size)
        self.conv = ModulatedConv(out_channels, out_channels, style_size)
        self.to_rgb = nn.Conv2d(out_channels, 3, 1)

    def forward(
        self,
        x: torch.Tensor,
        skip: torch.Tensor,
        told: torch.Tensor,
        style: torch.Tensor,
        noise: Sequence[torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Upsampled features, the encoder's, the conditioning, style and two noises to features and RGB."""
        x = self.merge([x, skip, told], style, noise[0])
        x = self.conv([x], style, noise[1])
        return x, self.to_rgb(x)


class ModulatedConv(nn.Module):
    """A 3 x 3 convolution whose input is scaled by the style, and its output normalised for it (StyleGAN2)."""

    def __init__(self, channels: int, out_channels: int, style_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(1))
        self.scale = nn.Linear(style_size, channels)

    def forward(self, parts: Sequence[torch.Tensor], style: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Parts of the input's channels, (B, ..., R, R), style (B, W) and noise (B, 1, R, R) to (B, C2, R, R)."""
        scale = self.scale(style)
        # A processor's caches hold the squares of a few kernels at a time.
        kernels = self.weight.split(64 if self.weight.is_cpu else len(self.weight))
        energy = torch.cat([few.float().square().sum((2, 3)) for few in kernels])
        norm = (GAIN * torch.rsqrt(scale.float().square() @ energy.t() + 1e-8)).to(scale.dtype)
        widths = [part.shape[1] for part in parts]
        # Sums of convolutions save the copies that a concatenation makes, on the way back, too.
        terms = [
            F.conv2d(part * factor[:, :, None, None], weight, padding=1)
            for part, factor, weight in zip(parts, scale.split(widths, 1), self.weight.split(widths, 1), strict=True)
        ]
        x = functools.reduce(torch.add, terms)
        x = torch.addcmul(GAIN * self.bias[:, None, None], x, norm[:, :, None, None])
        return F.leaky_relu(x.add_(GAIN * self.noise_strength * noise), 0.2, inplace=True)


def upsample(x: torch.Tensor) -> torch.Tensor:
    """Doubles the resolution, bilinearly."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
