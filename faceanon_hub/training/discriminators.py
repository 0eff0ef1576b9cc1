"""The discriminator: small heads on frozen features of pictures, and the terms of its game (non-saturating, R1)."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .features import FrozenFeatures

PROJECTED = (64, 64, 128, 256)  # channels of the random projections, from fine to coarse
HALVINGS = (3, 2, 2, 1)  # of the heads on them
SEEN = 256  # pixels of a picture that the features see


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
        """Scores pictures `(B, 3, S, S)`, RGB in [-1, 1]; `source` says which part is looked at.

        Returns:
            `torch.Tensor` of shape `(B, N)`: above 0 what is taken for photos, at N places and scales.
        """
        largest = self.left.clone() @ self.weight.flatten(1) @ self.right.clone()
        return F.conv2d(x, self.weight / largest, self.bias, self.stride, self.padding)


class ProjectedDiscriminator(nn.Module):
    """Small heads on random, frozen mixtures of frozen features, across channels and scales (arXiv 2111.01007).

    Pictures of more than `SEEN` pixels are seen twice: reduced, and a part of each as it is.

    Args:
        size (`int`):
            Side of the pictures in pixels.

    Raises:
        MissingDependencyError: the extra `train` is not installed.
    """

    views: Any  # heads each

    def __init__(self, size: int) -> None:
        super().__init__()
        self.features = FrozenFeatures()
        self.views = nn.ModuleList(_Heads(self.features.channels[1:]) for _ in range(1 + (size > SEEN)))

    @property
    def learned(self) -> list[nn.Parameter]:
        """The parameters that are not frozen."""
        return [parameter for view in self.views for parameter in view.heads.parameters()]

    def advance(self) -> None:
        """Runs the power iteration of every [`SpectralConv2d`]."""
        for module in self.views.modules():
            if isinstance(module, SpectralConv2d):
                module.advance()

    def forward(self, image: torch.Tensor, source: torch.Generator) -> torch.Tensor:
        """Scores pictures.

        Args:
            image (`torch.Tensor` of shape `(B, 3, S, S)`):
                RGB in [-1, 1].
            source (`torch.Generator`):
                Says which part is looked at.

        Returns:
            `torch.Tensor` of shape `(B, N)`: above 0 what is taken for photos, at N places and scales.
        """
        pictures = [image]
        if len(self.views) > 1:
            pictures = [F.interpolate(image, size=SEEN, mode="bilinear", antialias=True), _parts(image, source)]
        scores = [
            score
            for view, picture in zip(self.views, pictures, strict=True)
            for score in view(self.features(picture)[1:])
        ]
        return torch.cat([score.flatten(1) for score in scores], 1)


def discriminator_loss(true: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Of scores `(B, N)` of photos and of drawn pictures (arXiv 1406.2661)."""
    return F.softplus(-true.float()).mean() + F.softplus(drawn.float()).mean()


def generator_loss(drawn: torch.Tensor) -> torch.Tensor:
    """The non-saturating one, of scores `(B, N)` of drawn pictures."""
    return F.softplus(-drawn.float()).mean()


def gradient_penalty(scores: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """R1 (arXiv 1801.04406): the squared gradient of scores `(B, N)` of photos by these photos, `(B, 3, S, S)`."""
    (gradient,) = torch.autograd.grad(scores.float().mean(1).sum(), image, create_graph=True)
    return gradient.float().square().sum((1, 2, 3)).mean()


class _Heads(nn.Module):
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


def _head(channels: int, halvings: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(halvings):
        wider = min(512, 2 * channels)
        layers += [SpectralConv2d(channels, wider, 4, stride=2, padding=1)]
        layers += [nn.GroupNorm(8, wider, affine=False), nn.LeakyReLU(0.2)]
        channels = wider
    return nn.Sequential(*layers, SpectralConv2d(channels, 1, 3, padding=1))


def _parts(image: torch.Tensor, source: torch.Generator) -> torch.Tensor:
    """A part of each picture, `SEEN` pixels wide."""
    room = image.shape[-1] - SEEN + 1
    places = torch.randint(room, (len(image), 2), generator=source, device=image.device).tolist()
    return torch.stack(
        [one[:, top : top + SEEN, left : left + SEEN] for one, (top, left) in zip(image, places, strict=True)]
    )
