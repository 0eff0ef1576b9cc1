"""Regions of a face in its crop, drawn from its mesh."""

import cv2
import numpy as np

from .. import landmarks as lm

MARGIN = 0.1  # of the region round a face, in heights of the face
RIM = 0.16  # by which skin stays inside of this region, in sides of the crop
_SUBPIXEL = 3  # bits of cv2's fixed-point coordinates


def face_region(points: np.ndarray, size: int, margin: float = MARGIN) -> np.ndarray:
    """The face and a margin round it.

    Args:
        points (`np.ndarray` of shape `(478, >= 2)`, float32):
            Mesh in pixels of the crop.
        size (`int`):
            Side of the crop.
        margin (`float`, *optional*, defaults to `0.1`):
            How far the region reaches beyond the outline, in heights of the face.

    Returns:
        `np.ndarray` of shape `(size, size)`, uint8, 0 or 1.
    """
    fixed, region = _fixed(points), np.zeros((size, size), np.uint8)
    reach = max(3, int(margin * np.ptp(points[lm.OVAL, 1])))
    # By the margin beyond the outline, and a little less beyond all points: the nose of a head that is turned away.
    for group, radius in ((fixed[lm.OVAL], reach), (fixed, reach - 2)):
        hull = np.zeros((size, size), np.uint8)
        cv2.fillConvexPoly(hull, cv2.convexHull(group), 1, cv2.LINE_8, _SUBPIXEL)
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        region |= cv2.dilate(hull, disc)
    return region


def skin_region(points: np.ndarray, size: int) -> np.ndarray:
    """Where skin is, safely inside the face and off eyes, brows and lips.

    Args:
        points, size:
            As of [`face_region`].

    Returns:
        `np.ndarray` of shape `(size, size)`, float32, 0 or 1.
    """
    width = int(size * RIM) // 2 * 2 + 1
    inner = cv2.erode(face_region(points, size), np.ones((width, width), np.uint8))
    groups = (lm.LEFT_EYE, lm.RIGHT_EYE, lm.LEFT_BROW, lm.RIGHT_BROW, lm.OUTER_LIPS)
    near = max(5, round(5 * size / 128)) | 1
    features = cv2.dilate(filled(points, size, *groups), np.ones((near, near), np.uint8))
    return (inner & (1 - features)).astype(np.float32)


def eyes_and_mouth(points: np.ndarray, size: int) -> np.ndarray:
    """Eyes and the opening of the mouth, soft at their borders: what is no skin and keeps its own colour.

    Args:
        points, size:
            As of [`face_region`].

    Returns:
        `np.ndarray` of shape `(size, size)`, float32, 0 to 1.
    """
    near = max(3, round(3 * size / 128)) | 1
    inside = cv2.dilate(filled(points, size, lm.LEFT_EYE, lm.RIGHT_EYE, lm.INNER_LIPS), np.ones((near, near)))
    return cv2.GaussianBlur(inside.astype(np.float32), (0, 0), size / 128)


def filled(points: np.ndarray, size: int, *groups: list[int]) -> np.ndarray:
    """Polygons of mesh points, by their numbers: `(size, size)`, uint8, 0 or 1. `points` as of [`face_region`]."""
    fixed, region = _fixed(points), np.zeros((size, size), np.uint8)
    for group in groups:
        cv2.fillPoly(region, fixed[None, group], 1, cv2.LINE_8, _SUBPIXEL)
    return region


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(points[:, :2].astype(np.float32) * 2**_SUBPIXEL).astype(np.int32)
