"""Skin under the eyes and of the upper lip: no darker than the original's, each compared with the skin beside it."""

from collections.abc import Sequence

import cv2
import numpy as np

from ..lighting import to_linear, to_srgb
from .seam import seen_skin

SIZE = 128  # side of the crop that is measured in
MEASURED, CHANGED = 0.035, 0.05  # standard deviations of a patch, in sides of the crop
LEAST = 0.25  # of a patch, seen as skin: with less it is not measured
LIGHTER, TINTED = 0.35, 0.2  # logarithms by which a patch is made lighter and tinted at most
ROUNDS = 2  # patches overlap: what the first leaves, the second sees
BLACK = 2e-3  # added to light: the logarithm of 0 is infinite
# A patch lies in the middle of some mesh points; beside it are the patches that it is compared with. Under the eyes
# these are the cheeks, for the upper lip they lie beside nose and mouth.
BESIDE_MOUTH = ((203,), (423,), (212,), (432,))
PATCHES = (
    ((230,), ((50,),)),
    ((450,), ((280,),)),
    *((lip, BESIDE_MOUTH) for lip in ((164,), (92, 165), (322, 391))),
)


def measure(crop: np.ndarray, points: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Compares the skin under the eyes and of the upper lip with that beside it.

    Args:
        crop, points, parts:
            As for [`tones.measure`].

    Returns:
        `np.ndarray` of shape `(5, 3)`, float64: logarithms of ratios of linear red, green and blue; NaN where a patch
        is not seen.
    """
    points = points * (SIZE / len(crop))
    return _compare(_logarithm(crop), points, seen_skin(points, parts, SIZE))


def match(
    picture: np.ndarray,
    points: np.ndarray,
    parts: np.ndarray,
    region: np.ndarray,
    wanted: np.ndarray,
    light: float = 1.0,
    tint: float = 1.0,
) -> np.ndarray:
    """Lightens patches of a new face that are darker than the original's, and gives them its tint.

    The median colour of all skin stays.

    This removes what the transfers of light and skin colour leave: bags under the eyes, stubble, a grey upper lip.

    Args:
        picture (`np.ndarray` of shape `(S, S, 3)`, uint8):
            Drawn picture as placed in the crop, in the original's light and colour.
        points, parts:
            Its mesh and parts, as for [`measure`].
        region (`np.ndarray` of shape `(S, S)`, float32):
            Where to act, 0 to 1, soft at its border.
        wanted (`np.ndarray` of shape `(5, 3)`):
            [`measure`] of the original; NaN leaves a patch to its neighbours.
        light, tint (`float`, *optional*, defaults to `1.0`):
            How much is done about lightness, and about the rest of the colour, 0 to 1.

    Returns:
        `np.ndarray` of shape `(S, S, 3)`, uint8.
    """
    size, own = len(picture), _logarithm(picture)
    points = points * (SIZE / size)
    skin, weights = seen_skin(points, parts, SIZE), _weights(points, [patch for patch, _ in PATCHES], CHANGED)
    change = np.zeros_like(own)
    for _ in range(ROUNDS):
        missing = wanted - _compare(own + change, points, skin)
        known = np.isfinite(missing).all(1)
        if not known.any():
            return picture
        weight, missing = weights[known], missing[known].astype(np.float32)
        change += np.tensordot(weight, missing, (0, 0)) / weight.sum(0)[..., None].clip(1)
        lightness = change.mean(2, keepdims=True)
        change = (change - lightness).clip(-TINTED, TINTED) + lightness.clip(0, LIGHTER)
    lightness = change.mean(2, keepdims=True)
    change = light * lightness + tint * (change - lightness)
    change += np.median(own[skin > 0], 0) - np.median((own + change)[skin > 0], 0)
    return to_srgb(to_linear(picture) * np.exp(cv2.resize(change, (size, size)) * region[..., None]))


def _logarithm(crop: np.ndarray) -> np.ndarray:
    return np.log(to_linear(cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_AREA)) + BLACK)


def _compare(color: np.ndarray, points: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """[`measure`] of a picture in logarithms `(SIZE, SIZE, 3)`, with its mesh and skin."""

    def mean(groups: Sequence[Sequence[int]]) -> np.ndarray:
        weight = _weights(points, groups, MEASURED)
        seen = (weight * skin).sum()
        if seen < LEAST * weight.sum():
            return np.full(3, np.nan)
        return np.tensordot((weight * skin).sum(0), color, ((0, 1), (0, 1))) / seen

    return np.array([mean([patch]) - mean(beside) for patch, beside in PATCHES], np.float64)


def _weights(points: np.ndarray, groups: Sequence[Sequence[int]], deviation: float) -> np.ndarray:
    """Gaussian weights of patches, `(N, SIZE, SIZE)`, float32, 1 in the middle of each."""
    centers = np.array([points[list(group), :2].mean(0) for group in groups])
    column, row = (
        np.exp(-((np.arange(SIZE) - centers[:, axis, None]) ** 2) / (2 * (deviation * SIZE) ** 2)) for axis in (0, 1)
    )
    return (row[:, :, None] * column[:, None, :]).astype(np.float32)
