"""Differentiable augmentation: the discriminator never sees a picture in its own colours (arXiv 2006.10738)."""

from __future__ import annotations

import torch

BRIGHTNESS, SATURATION, CONTRAST = 0.6, (0.4, 1.6), (0.6, 1.4)  # width of the shift; ranges of the factors


def draw_colors(count: int, source: torch.Generator) -> torch.Tensor:
    """Draws brightness, saturation and contrast for pictures. Returns a tensor of shape `(count, 3, 1, 1)`."""
    low = torch.tensor([-BRIGHTNESS / 2, SATURATION[0], CONTRAST[0]], device=source.device)
    high = torch.tensor([BRIGHTNESS / 2, SATURATION[1], CONTRAST[1]], device=source.device)
    drawn = torch.rand(count, 3, generator=source, device=source.device)
    return (low + drawn * (high - low))[:, :, None, None]


def recolor(image: torch.Tensor, colors: torch.Tensor) -> torch.Tensor:
    """Changes the colours of pictures.

    Args:
        image (`torch.Tensor` of shape `(B, 3, S, S)`):
            RGB in [-1, 1].
        colors (`torch.Tensor` of shape `(B, 3, 1, 1)`):
            From [`draw_colors`]: the same for a picture and what it is compared with.

    Returns:
        `torch.Tensor` of the same shape, no longer bounded.
    """
    brightness, saturation, contrast = colors[:, :1], colors[:, 1:2], colors[:, 2:]
    grey = image.mean(1, keepdim=True)
    image = torch.lerp(grey.expand_as(image), image, saturation) + brightness
    return torch.lerp(image.mean((1, 2, 3), keepdim=True).expand_as(image), image, contrast)
