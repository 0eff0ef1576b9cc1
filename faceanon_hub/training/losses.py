"""The terms of the losses; each is a mean over the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

POOL = 4  # pixels, on each side, over which two paintings of one face are compared in colour


class LatentReader(nn.Module):
    """Reads the latent back from features of the painting, which so has to carry it (arXiv 1606.03657).

    Args:
        channels (`Sequence[int]`):
            Those of the maps that [`forward`] takes.
        latent_size (`int`):
            Length of the latent.
    """

    def __init__(self, channels: Sequence[int], latent_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(sum(channels), 512), nn.LeakyReLU(0.2), nn.Linear(512, latent_size))

    def forward(self, features: Sequence[torch.Tensor], latent: torch.Tensor) -> torch.Tensor:
        """Mean squared error of what is read, against latents `(B, L)` brought to the sphere they act on."""
        pooled = torch.cat([level.float().mean((2, 3)) for level in features], 1)
        return F.mse_loss(self.layers(pooled), F.normalize(latent, dim=1) * latent.shape[1] ** 0.5)


def discriminator_hinge(scores: Sequence[torch.Tensor]) -> torch.Tensor:
    """Hinge of the discriminators; the first half of each map `(2 B, 1, R, R)` is of true pictures."""
    halves = [score.float().chunk(2) for score in scores]
    return torch.stack([F.relu(1 - true).mean() + F.relu(1 + painted).mean() for true, painted in halves]).sum()


def adversarial(scores: Sequence[torch.Tensor]) -> torch.Tensor:
    """What the generator makes of scores `(B, 1, R, R)` of its paintings."""
    return -torch.stack([score.float().mean() for score in scores]).sum()


def perceptual(features: Sequence[torch.Tensor], reference: Sequence[torch.Tensor]) -> torch.Tensor:
    """Squared distance of features of unit length, as in LPIPS (arXiv 1801.03924) without its learned weights."""
    terms = []
    for level, wanted in zip(features, reference, strict=True):
        difference = F.normalize(level.float(), dim=1, eps=1e-3) - F.normalize(wanted.float(), dim=1, eps=1e-3)
        terms.append(difference.square().sum(1).mean())
    return torch.stack(terms).mean()


def masked_l1(painted: torch.Tensor, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of pictures `(B, 3, S, S)` under a mask `(B, 1, S, S)`."""
    return ((painted - image).abs() * mask).sum() / (3 * mask.sum() + 1)


def distances(
    painted: torch.Tensor, mask: torch.Tensor, features: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """How far apart two paintings of each face are.

    Args:
        painted (`torch.Tensor` of shape `(2 B, 3, S, S)`):
            Faces, then the same faces with other latents.
        mask (`torch.Tensor` of shape `(2 B, 1, S, S)`):
            Hidden region.
        features (`list[torch.Tensor]`):
            Deep features of the paintings, each of shape `(2 B, C, R, R)`.

    Returns:
        `tuple`: mean absolute difference of colour under the mask, `(B,)`; and squared distances of features over
        the mean square of the features, `(B,)` for each level.
    """
    first, second = F.avg_pool2d(painted, POOL).chunk(2)
    shares = mask.chunk(2)[0].mean((1, 2, 3)) + 1e-3
    apart = []
    for level in features:
        one, other = level.float().chunk(2)
        energy = one.detach().square().sum(1).mean((1, 2)) + 1e-3
        apart.append((one - other).square().sum(1).mean((1, 2)) / energy)
    return (first - second).abs().mean((1, 2, 3)) / shares, apart


def diversity_hinge(
    color: torch.Tensor, features: Sequence[torch.Tensor], color_distance: float, feature_distance: float
) -> torch.Tensor:
    """Pushes two paintings of one face apart until they are as far as wanted, see [`distances`]."""
    terms = [F.relu(feature_distance - level).mean() / feature_distance for level in features]
    return F.relu(color_distance - color).mean() / color_distance + torch.stack(terms).sum()
