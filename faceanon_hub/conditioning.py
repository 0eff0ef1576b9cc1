"""Landmarks and crop to what the generator is told: landmark maps, hide mask, photometric hint."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from . import landmarks as lm

MAPS = ("hide", "oval", "eyes", "irises", "brows", "nose", "lips", "mouth")
# The hidden region reaches this part of the face's height beyond its outline.
MASK_MARGIN = 0.10
EMPHASIZED = [MAPS.index("eyes"), MAPS.index("brows")]
HINT_CELL = 8  # pixels of the crop that one number of the hint averages, on each side
HINT_SIGMA = 0.10  # blur of the hint, in sides of the crop
# Opening of the lids, in widths of the eye, and height of the brows, in distances of the eyes, at which a network that
# follows both by too little is right: see benchmarks/emphasis.py.
LIDS_AT_REST, BROWS_AT_REST = 0.245, 0.28
_SUBPIXEL = 3  # bits of cv2's fixed-point coordinates

# Of each eye: contour, corners, lower and upper lid, brow.
_EYES = (
    (lm.LEFT_EYE, lm.LEFT_CORNERS, [lm.LEFT_LOWER_LID, lm.LEFT_UPPER_LID], lm.LEFT_BROW),
    (lm.RIGHT_EYE, lm.RIGHT_CORNERS, [lm.RIGHT_LOWER_LID, lm.RIGHT_UPPER_LID], lm.RIGHT_BROW),
)


def draw_maps(points: np.ndarray, size: int, margin: float = MASK_MARGIN) -> np.ndarray:
    """Draws a face's landmark maps.

    Args:
        points (`np.ndarray` of shape `(478, >= 2)`, float32):
            Mesh in pixels of the crop.
        size (`int`):
            Side of the crop.
        margin (`float`, *optional*, defaults to `0.1`):
            How far the hidden region reaches beyond the face's outline, in heights of the face.

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

    reach = max(3, int(margin * np.ptp(points[lm.OVAL, 1])))
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


def lids_and_brows(points: np.ndarray) -> np.ndarray:
    """What the eyes of an upright mesh do, however far it is turned aside.

    Args:
        points (`np.ndarray` of shape `(478, 3)`):
            Mesh in pixels, depth in the same unit.

    Returns:
        `np.ndarray` of shape `(2, 2)`: of each eye the opening of the lids in widths of the eye, and the height of the
        brow above its corners in distances of the eyes.
    """
    distance = np.linalg.norm(np.subtract(*points[lm.IRIS_CENTERS]))
    return np.array(
        [
            (
                np.subtract(*points[lids, 1].mean(1)) / np.linalg.norm(np.subtract(*points[corners])),
                (points[corners, 1].mean() - points[brow, 1].mean()) / distance,
            )
            for _, corners, lids, brow in _EYES
        ]
    )


def emphasize(points: np.ndarray, lids: float = 1.0, brows: float = 1.0) -> np.ndarray:
    """Moves lids and brows farther from where they rest, for a network that follows them by too little.

    Args:
        points (`np.ndarray` of shape `(478, 3)`, float32):
            Upright mesh, in pixels of the crop.
        lids, brows (`float`, *optional*, defaults to `1.0`):
            How many times as far from `LIDS_AT_REST` and `BROWS_AT_REST` they are afterwards; lids close at most.

    Returns:
        `np.ndarray` of the shape of the points, float32.
    """
    told = points.astype(np.float32)
    for (contour, corners, _, brow), opening, height in zip(_EYES, *lids_and_brows(points).T, strict=True):
        (x, y), (width, rise) = points[corners, :2].mean(0), np.subtract(*points[corners[::-1], :2])
        line = y + np.clip(rise / max(width, 1), -0.5, 0.5) * (points[contour, 0] - x)
        wanted = max(LIDS_AT_REST + lids * (opening - LIDS_AT_REST), 0)
        told[contour, 1] = line + wanted / max(opening, 0.01) * (points[contour, 1] - line)
        raised = (brows - 1) * (height - BROWS_AT_REST)
        told[brow, 1] -= raised * np.linalg.norm(np.subtract(*points[lm.IRIS_CENTERS]))
    return told


def emphasized(maps: np.ndarray, points: np.ndarray, lids: float = 1.0, brows: float = 1.0) -> np.ndarray:
    """Landmark maps whose eyes and brows are drawn as strongly as a network needs it.

    Args:
        maps (`np.ndarray` of shape `(8, S, S)`, uint8):
            From [`draw_maps`].
        points (`np.ndarray` of shape `(478, 3)`, float32):
            Upright mesh, in pixels of the crop.
        lids, brows (`float`, *optional*, defaults to `1.0`):
            See [`emphasize`].

    Returns:
        `np.ndarray` of shape `(8, S, S)`: all other maps as they were.
    """
    told = maps.copy()
    told[EMPHASIZED] = draw_maps(emphasize(points, lids, brows), maps.shape[-1])[EMPHASIZED]
    return told


def only_keypoints(maps: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Blanks what dense landmarks add to DeepPrivacy's conditioning: centres of eyes and mouth and nose tip remain.

    Args:
        maps (`np.ndarray` of shape `(8, S, S)`, uint8):
            From [`draw_maps`].
        points (`np.ndarray` of shape `(478, >= 2)`):
            Mesh in pixels of the crop.

    Returns:
        `np.ndarray` of shape `(8, S, S)`, uint8: the hidden region as it was, the rest dots.
    """
    few = np.zeros_like(maps)
    few[0] = maps[0]
    dots = [("irises", points[group, :2].mean(0)) for group in (lm.LEFT_EYE, lm.RIGHT_EYE)]
    dots += [("nose", points[lm.NOSE_BRIDGE[6], :2]), ("mouth", points[lm.INNER_LIPS, :2].mean(0))]
    for name, (x, y) in dots:
        cv2.circle(few[MAPS.index(name)], (round(float(x)), round(float(y))), 2, 1, -1)
    return few


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


def skin_mask(maps: np.ndarray) -> np.ndarray:
    """[`skin_masks`] of one face's maps, of shape `(8, S, S)`, uint8; returns shape `(S, S)`, float32, 0 or 1."""
    width = int(maps.shape[-1] * 0.16) // 2 * 2 + 1
    inner = cv2.erode(maps[0], np.ones((width, width), np.uint8))
    features = cv2.dilate(maps[2] | maps[4] | maps[6], np.ones((5, 5), np.uint8))
    return (inner & (1 - features)).astype(np.float32)


def hint_coefficients(image: torch.Tensor, maps: torch.Tensor, skin: torch.Tensor | None = None) -> torch.Tensor:
    """All that the photometric hint takes from a hidden face: skin colour, averaged over cells of 8 x 8 pixels.

    Args:
        image (`torch.Tensor` of shape `(B, 3, S, S)`):
            Crop, RGB in [-1, 1].
        maps (`torch.Tensor` of shape `(B, 8, S, S)`):
            Landmark maps.
        skin (`torch.Tensor` of shape `(B, 1, S, S)`, *optional*):
            [`skin_masks`] of the maps, where it is at hand.

    Returns:
        `torch.Tensor` of shape `(B, 4, S / 8, S / 8)`: mean skin colour and share of skin of each cell. The blur
        that [`render_hint`] applies leaves few of them independent: tests/test_conditioning.py counts.
    """
    skin = skin_masks(maps) if skin is None else skin
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


def condition(maps: torch.Tensor, hint: torch.Tensor | None = None) -> torch.Tensor:
    """What the generator is told beside the visible surroundings.

    Args:
        maps (`torch.Tensor` of shape `(B, 8, S, S)`):
            Landmark maps.
        hint (`torch.Tensor` of shape `(B, 4, S, S)`, *optional*):
            From [`render_hint`]; zeros where it is switched off.

    Returns:
        `torch.Tensor` of shape `(B, 11, S, S)`: the maps but the hidden region, then the hint.
    """
    if hint is None:
        hint = torch.zeros_like(maps[:, :4])
    return torch.cat([maps[:, 1:], hint], 1)
