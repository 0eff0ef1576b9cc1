"""Landmarks and crop to what the network is told: landmark maps, hidden region, photometric hint."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from .. import landmarks as lm

MAPS = ("hide", "oval", "eyes", "irises", "brows", "nose", "lips", "mouth")
MASK_MARGIN = 0.10  # part of the face's height by which the hidden region reaches beyond its outline
HINT_CELL = 8  # pixels of the crop that one number of the hint averages, on each side
HINT_SIGMA = 0.10  # blur of the hint, in sides of the crop
_SUBPIXEL = 3  # bits of cv2's fixed-point coordinates


def draw_maps(points: np.ndarray, size: int) -> np.ndarray:
    """Draws a face's landmark maps.

    Args:
        points (`np.ndarray` of shape `(478, >= 2)`, float32):
            Mesh in pixels of the crop.
        size (`int`):
            Side of the crop.

    Returns:
        `np.ndarray` of shape `(8, size, size)`, uint8, 0 or 1, in the order of `MAPS`: hidden region, outline, eyes,
        irises, brows, nose lines, lips with mouth, mouth opening.
    """
    fixed = np.round(points[:, :2].astype(np.float32) * 2**_SUBPIXEL).astype(np.int32)
    maps = np.zeros((len(MAPS), size, size), np.uint8)

    def fill(name: str, *groups: list[int]) -> None:
        for group in groups:
            cv2.fillPoly(maps[MAPS.index(name)], fixed[None, group], 1, cv2.LINE_8, _SUBPIXEL)

    def line(name: str, group: list[int], closed: bool) -> None:
        cv2.polylines(maps[MAPS.index(name)], fixed[None, group], closed, 1, 1, cv2.LINE_8, _SUBPIXEL)

    reach = max(3, int(MASK_MARGIN * np.ptp(points[lm.OVAL, 1])))
    # By the margin beyond the outline, and a little less beyond all points: the nose of a head that is turned away.
    for group, radius in ((fixed[lm.OVAL], reach), (fixed, reach - 2)):
        hull = np.zeros((size, size), np.uint8)
        cv2.fillConvexPoly(hull, cv2.convexHull(group), 1, cv2.LINE_8, _SUBPIXEL)
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        maps[0] |= cv2.dilate(hull, disc)
    line("oval", lm.OVAL, True)
    fill("eyes", lm.LEFT_EYE, lm.RIGHT_EYE)
    fill("irises", lm.LEFT_IRIS, lm.RIGHT_IRIS)
    fill("brows", lm.LEFT_BROW, lm.RIGHT_BROW)
    line("nose", lm.NOSE_BRIDGE, False)
    line("nose", lm.NOSE_BASE, False)
    fill("lips", lm.OUTER_LIPS)
    fill("mouth", lm.INNER_LIPS)
    return maps


def skin_masks(maps: torch.Tensor) -> torch.Tensor:
    """Where skin is, safely inside the hidden region and off eyes, brows and lips.

    Args:
        maps (`torch.Tensor` of shape `(B, 8, S, S)`, float):
            Landmark maps, see [`draw_maps`].

    Returns:
        `torch.Tensor` of shape `(B, 1, S, S)`, 0 or 1.
    """
    width = int(maps.shape[-1] * 0.16) // 2 * 2 + 1
    # An erosion by a square, one axis after the other.
    inner = -F.max_pool2d(-maps[:, :1], (width, 1), 1, (width // 2, 0))
    inner = -F.max_pool2d(-inner, (1, width), 1, (0, width // 2))
    features = (maps[:, 2:3] + maps[:, 4:5] + maps[:, 6:7]).clamp(max=1)
    return inner * (1 - F.max_pool2d(features, 5, 1, 2))


def hint_coefficients(image: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """All that the photometric hint takes from a hidden face: skin colour, averaged over cells of 8 x 8 pixels.

    Args:
        image (`torch.Tensor` of shape `(B, 3, S, S)`):
            Crop, RGB in [-1, 1].
        maps (`torch.Tensor` of shape `(B, 8, S, S)`):
            Landmark maps.

    Returns:
        `torch.Tensor` of shape `(B, 4, S / 8, S / 8)`: mean skin colour and share of skin of each cell.
    """
    skin = skin_masks(maps)
    return F.avg_pool2d(torch.cat([image * skin, skin], 1), HINT_CELL)


def render_hint(coefficients: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The photometric hint: the skin's colour, blurred over a tenth of the crop, and a flag that it is there.

    Args:
        coefficients (`torch.Tensor` of shape `(B, 4, S / 8, S / 8)`):
            From [`hint_coefficients`].
        mask (`torch.Tensor` of shape `(B, 1, S, S)`):
            Hidden region.

    Returns:
        `torch.Tensor` of shape `(B, 4, S, S)`: RGB in [-1, 1] and flag, 0 outside the hidden region.
    """
    sigma = HINT_SIGMA * mask.shape[-1]
    reach = int(2.5 * sigma) // HINT_CELL
    steps = torch.arange(-reach, reach + 1, device=mask.device).float() * HINT_CELL
    kernel = torch.exp(-((steps / sigma) ** 2) / 2)
    kernel = (kernel / kernel.sum()).to(coefficients.dtype)
    blurred = F.conv2d(coefficients, kernel.view(1, 1, -1, 1).repeat(4, 1, 1, 1), padding=(reach, 0), groups=4)
    blurred = F.conv2d(blurred, kernel.view(1, 1, 1, -1).repeat(4, 1, 1, 1), padding=(0, reach), groups=4)
    smooth = F.interpolate(blurred, scale_factor=HINT_CELL, mode="bilinear", align_corners=False)
    return torch.cat([(smooth[:, :3] / (smooth[:, 3:] + 1e-3)).clamp(-1, 1) * mask, mask], 1)


def condition(maps: torch.Tensor, hint: torch.Tensor) -> torch.Tensor:
    """What the network is told beside the visible surroundings.

    Args:
        maps (`torch.Tensor` of shape `(B, 8, S, S)`):
            Landmark maps.
        hint (`torch.Tensor` of shape `(B, 4, S, S)`):
            From [`render_hint`]; zeros where it is left out.

    Returns:
        `torch.Tensor` of shape `(B, 11, S, S)`: the maps but the hidden region, then the hint.
    """
    return torch.cat([maps[:, 1:], hint], 1)
