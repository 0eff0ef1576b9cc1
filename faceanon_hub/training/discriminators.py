"""The discriminators: one on frozen features, one on pixels beside what the generator was told."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

PROJECTED = (64, 64, 128, 256)  # channels of the random projections, from fine to coarse
HALVINGS = (3, 2, 2, 1)  # of the heads on them


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weight is divided by its largest singular value (arXiv 1802.05957).

    The power iteration is a call of its own, [`advance`], once a step, not a hook at every pass.
    """

    left: torch.Tensor
    right: torch.Tensor

    def __init__(self, channels: int, out_channels: int, side: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__(channels, out_channels, side, stride, padding)
        self.register_buffer("left", F.normalize(torch.randn(len(self.weight)), dim=0))
        self.register_buffer("right", F.normalize(torch.randn(self.weight[0].numel()), dim=0))
        for _ in range(10):
            self.advance()

    @torch.no_grad()
    def advance(self) -> None:
        """Brings the singular vectors nearer to those of the weight as it now is."""
        matrix = self.weight.flatten(1)
        self.right.copy_(F.normalize(matrix.t() @ self.left, dim=0))
        self.left.copy_(F.normalize(matrix @ self.right, dim=0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, R, R) to (B, C2, R2, R2), in the dtype of the input."""
        largest = self.left.clone() @ self.weight.flatten(1) @ self.right.clone()
        assert self.bias is not None
        return F.conv2d(x, (self.weight / largest).to(x.dtype), self.bias.to(x.dtype), self.stride, self.padding)


class ProjectedDiscriminator(nn.Module):
    """Small heads on random, frozen mixtures of frozen features, across channels and scales (arXiv 2111.01007).

    Args:
        channels (`Sequence[int]`):
            Those of the four maps that [`forward`] takes.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        finer = (PROJECTED[0], *PROJECTED[:-1])
        self.across_channels = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(channels, PROJECTED, strict=True))
        self.across_scales = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in zip(PROJECTED, finer, strict=True)
        )
        self.across_channels.requires_grad_(False)
        self.across_scales.requires_grad_(False)
        self.heads = nn.ModuleList(_head(c, n) for c, n in zip(finer, HALVINGS, strict=True))

    def forward(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Four maps, fine to coarse, of shape `(B, C, R, R)`, to a map of scores of each, `(B, 1, R2, R2)`."""
        scores: list[torch.Tensor] = []
        coarser = None
        for channels, scales, head, x in reversed(
            list(zip(self.across_channels, self.across_scales, self.heads, features, strict=True))
        ):
            x = channels(x)
            if coarser is not None:
                x = x + F.interpolate(coarser, size=x.shape[-2:], mode="bilinear", align_corners=False)
            coarser = scales(x)
            scores.insert(0, head(coarser))
        return scores


class ConditionalDiscriminator(nn.Module):
    """Looks at pixels and at what the generator was told of them.

    Args:
        told_channels (`int`, *optional*, defaults to `12`):
            Hidden region, landmark maps and hint.
        width (`int`, *optional*, defaults to `48`):
            Channels of the finest level; each of the three coarser ones has twice as many.
    """

    def __init__(self, told_channels: int = 12, width: int = 48) -> None:
        super().__init__()
        # Summed, not concatenated: what is told is the same for the true picture and the painted one.
        self.image = SpectralConv2d(3, width, 4, stride=2, padding=1)
        self.told = SpectralConv2d(told_channels, width, 4, stride=2, padding=1)
        layers: list[nn.Module] = [nn.LeakyReLU(0.2), SpectralConv2d(width, width, 3, padding=1), nn.LeakyReLU(0.2)]
        for level in (width, 2 * width, 4 * width):
            layers += [SpectralConv2d(level, 2 * level, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            layers += [SpectralConv2d(2 * level, 2 * level, 3, padding=1), nn.LeakyReLU(0.2)]
        self.rest = nn.Sequential(*layers, SpectralConv2d(8 * width, 1, 3, padding=1))

    def forward(self, image: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Scores pictures.

        Args:
            image (`torch.Tensor` of shape `(N * B, 3, S, S)`):
                RGB in [-1, 1]: `N` pictures of each that was told of.
            told (`torch.Tensor` of shape `(B, 12, S, S)`):
                Hidden region and condition.

        Returns:
            `torch.Tensor` of shape `(N * B, 1, S / 16, S / 16)`.
        """
        seen = self.told(told)
        return self.rest(self.image(image) + seen.repeat(len(image) // len(seen), 1, 1, 1))


def advance_norms(*networks: nn.Module) -> None:
    """Runs the power iteration of every [`SpectralConv2d`]."""
    for network in networks:
        for module in network.modules():
            if isinstance(module, SpectralConv2d):
                module.advance()


def _head(channels: int, halvings: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(halvings):
        wider = min(512, 2 * channels)
        layers += [SpectralConv2d(channels, wider, 4, stride=2, padding=1)]
        layers += [nn.GroupNorm(8, wider, affine=False), nn.LeakyReLU(0.2)]
        channels = wider
    return nn.Sequential(*layers, SpectralConv2d(channels, 1, 3, padding=1))
