"""Wrinkles, freckles and blotches: the skin of a new face shows no more of them than the original's."""

import cv2
import numpy as np

from .. import landmarks as lm
from .regions import filled
from .seam import seen_skin

SIZE = 256  # side of the crop that is measured in
BLURS = (1.5, 3.0, 6.0)  # standard deviations in its pixels, each of which ends a band; lines to folds
STRONG = 90  # percentile of a band's contrast that stands for it: folds are few, and harsh shadows fewer
LEAST = 0.4  # of a band's contrast that is left
FEWEST = 400  # pixels of skin: with fewer nothing is measured
SOFT = 2.0  # pixels by which the skin's border is softened


def measure(crop: np.ndarray, points: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """How uneven skin is, from fine lines to folds.

    Args:
        crop, points, parts:
            As for [`tones.measure`].

    Returns:
        `np.ndarray` of shape `(3,)`, float64: contrast of each band, in shares of the level; NaN where hardly any skin
        is seen.
    """
    skin = _skin(points, parts, len(crop))
    return _contrasts(_bands(crop, skin), skin)


def match(picture: np.ndarray, points: np.ndarray, parts: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Smooths the skin of a new face where it is less even than the original's; it is never made less even.

    Args:
        picture (`np.ndarray` of shape `(S, S, 3)`, uint8):
            Drawn picture as placed in the crop.
        points, parts:
            Its mesh and parts, as for [`measure`].
        wanted (`np.ndarray` of shape `(3,)`):
            [`measure`] of the original; NaN leaves a band as it is.

    Returns:
        `np.ndarray` of shape `(S, S, 3)`, uint8: a copy.
    """
    size, skin = len(picture), _skin(points, parts, len(picture))
    bands = _bands(picture, skin)
    left = np.nan_to_num(wanted / _contrasts(bands, skin), nan=1.0).clip(LEAST, 1)
    if (left == 1).all():
        return picture.copy()
    change = np.stack(bands[:-1], -1) @ np.float32(left - 1) * cv2.GaussianBlur(skin, (0, 0), SOFT)[..., None]
    change = cv2.resize(change, (size, size), interpolation=cv2.INTER_CUBIC)
    return (picture + change).round().clip(0, 255).astype(np.uint8)


def _skin(points: np.ndarray, parts: np.ndarray, size: int) -> np.ndarray:
    """Skin `(SIZE, SIZE)`, float32, 0 to 1, of the mesh in a crop of this side: without features and nostrils."""
    points = points * (SIZE / size)
    nose = cv2.dilate(filled(points, SIZE, lm.NOSE_BASE), np.ones((9, 9), np.uint8))
    return seen_skin(points, parts, SIZE) * (1 - nose)


def _bands(crop: np.ndarray, skin: np.ndarray) -> list[np.ndarray]:
    """Bands `(SIZE, SIZE, 3)` of the skin, from fine to coarse, and what is left."""
    way = cv2.INTER_AREA if len(crop) > SIZE else cv2.INTER_CUBIC
    small = cv2.resize(crop, (SIZE, SIZE), interpolation=way).astype(np.float32)
    bands = []
    for blur in BLURS:
        weight = cv2.GaussianBlur(skin, (0, 0), blur)[..., None].clip(1e-3)
        smooth = cv2.GaussianBlur(small * skin[..., None], (0, 0), blur) / weight
        bands.append(small - smooth)
        small = smooth
    return [*bands, small]


def _contrasts(bands: list[np.ndarray], skin: np.ndarray) -> np.ndarray:
    """[`measure`] of the result of [`_bands`]."""
    at = skin == 1
    if at.sum() < FEWEST:
        return np.full(len(BLURS), np.nan)
    *uneven, level = (band[at].mean(1) for band in bands)
    return np.array([np.percentile(np.abs(band) / level.clip(1), STRONG) for band in uneven]).clip(1e-4)
