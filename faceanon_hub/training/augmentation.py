"""Differentiable augmentation whose strength follows how sure a discriminator is of photos (arXiv 2006.06676)."""

import math

import torch
import torch.nn.functional as F

SHIFT, SCALE, TURN = 0.125, 0.2, 0.25  # deviations: in sides of the picture, of the logarithm, in half turns
BRIGHTNESS, CONTRAST, SATURATION = 0.2, 0.5, 1.0  # deviations: in levels of [-1, 1], of the logarithms
HOLE = 0.5  # side of what is cut out, in sides of the picture


def augment(image: torch.Tensor, chance: float, source: torch.Generator) -> torch.Tensor:
    """Moves, recolors and cuts pictures, each way with a chance of its own.

    Args:
        image (`torch.Tensor` of shape `(B, C, S, S)`):
            Pictures in [-1, 1]: RGB, then any more channels, which are moved along and keep their values.
        chance (`float`):
            Of each way for each picture, 0 to about 0.8: beyond, a generator would learn the augmentations.
        source (`torch.Generator`):
            Where the choices come from, on the device of the pictures.

    Returns:
        `torch.Tensor` of the same shape, no longer bounded.
    """
    if not chance:
        return image
    count, device = len(image), image.device

    def normal(deviation: float) -> torch.Tensor:
        return deviation * torch.randn(count, generator=source, device=device) * chosen()

    def chosen() -> torch.Tensor:
        return (torch.rand(count, generator=source, device=device) < chance).float()

    # Places.
    size, angle = torch.exp(normal(SCALE)), math.pi * normal(TURN)
    cosine, sine = torch.cos(angle) / size, torch.sin(angle) / size
    right, down = normal(2 * SHIFT), normal(2 * SHIFT)
    matrix = torch.stack([torch.stack([cosine, -sine, right], 1), torch.stack([sine, cosine, down], 1)], 1)
    grid = F.affine_grid(matrix.to(image), list(image.shape), align_corners=False)
    image = F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)

    # Colours.
    rgb, rest = image[:, :3], image[:, 3:]
    brightness, contrast, saturation = (
        value[:, None, None, None].to(image)
        for value in (normal(BRIGHTNESS), torch.exp(normal(CONTRAST)), torch.exp(normal(SATURATION)))
    )
    rgb = (rgb + brightness) * contrast
    gray = rgb.mean(1, keepdim=True)
    rgb = gray + (rgb - gray) * saturation

    # A hole.
    places = (torch.arange(image.shape[-1], device=device) + 0.5) / image.shape[-1]
    middle = torch.rand(count, 2, generator=source, device=device)
    inside = (places[None, None] - middle[:, :, None]).abs() < HOLE / 2
    hole = inside[:, 0, :, None] & inside[:, 1, None, :] & (chosen() > 0)[:, None, None]
    return torch.cat([rgb.masked_fill(hole[:, None], 0.0), rest], 1)
