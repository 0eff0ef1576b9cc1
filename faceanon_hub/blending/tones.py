"""Brows, irises, lips, lashes, shadows and the texture of skin: as strong in the new face as in the original."""

import cv2
import numpy as np

from .. import landmarks as lm
from ..lighting import LUMINANCE, to_linear, to_srgb
from ..parsing import BROWS, HAIR, LIPS, OTHER, SKIN
from . import texture
from .regions import filled
from .seam import SURELY, UNSURE, inner_face, sized, spread, trusted

SMALL = 128  # side of the crop that is measured in
SMOOTH = 0.01  # standard deviation of a blur, in sides of the crop, that makes sharp and soft photos alike
SURE = 0.6  # probability of a part from which on it is measured
LEAST = 12.0  # pixels of a part below which it is not measured
DARKEST = 1  # percentile of the inner face that counts as black
HAZY, MOST_HAZY = -0.8, -0.3  # darkest spot from which on a photo is hazy; what is above the second is cut off
FAINTEST, CONTRASTS = -0.1, (0.6, 1.6)  # of brows, and factors of their contrast
DARKENED = -0.2  # logarithm by which fair brows, of which more contrast makes no dark ones, are darkened at most
GAINS, TINTS = (-1.0, 0.3), (-0.35, 0.5)  # logarithms, of irises and of the lips' colour
LIPSTICK, REMOVED = -0.7, 0.8  # logarithms of lips: below the first they are painted; what of it is removed at most
COUNT, LASHES, TEXTURE = 10, 6, slice(7, 10)  # of the tones, and the places of two of them
LASHES_SIZE = 256  # side of the crop in which lashes are measured: they are thin
# Of an eye's width: how far above the lid's edge lashes and their make-up begin, how thick and how soft they are.
ABOVE, THICK, SOFT = 0.03, 0.09, 0.035
DARKER = -0.7  # logarithm by which lashes are darkened at most; they are never made fairer
BLACK = 2e-3  # added to light: the logarithm of 0 is infinite
SEEN = 4e-3  # of a mask: below, no level changes
FEWEST = 200  # pixels of skin: with fewer nothing is measured
# Of each eye: its contour, its corners and its upper lid from one to the other.
UPPER_LIDS = (
    (lm.LEFT_EYE, lm.LEFT_CORNERS, [246, 161, 160, 159, 158, 157, 173]),
    (lm.RIGHT_EYE, lm.RIGHT_CORNERS, [398, 384, 385, 386, 387, 388, 466]),
)
BROWN = np.array([1.25, 0.95, 0.6], np.float32)  # linear, of a luminance of 1


def measure(crop: np.ndarray, points: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Compares brows, irises, the darkest spot of the inner face, lips and upper lashes with the skin beside them.

    The texture of the skin, from fine lines to folds, is measured, too.

    Args:
        crop (`np.ndarray` of shape `(S, S, 3)`, uint8):
            RGB crop.
        points (`np.ndarray` of shape `(478, >= 2)`):
            Mesh in pixels of the crop.
        parts (`np.ndarray` of shape `(s, s, 7)`, float32):
            From [`FaceParser.parse`].

    Returns:
        `np.ndarray` of shape `(10,)`, float64: logarithms of ratios of linear light. Luminance of brows, irises and
        the darkest spot; red, green and blue of the lips; luminance of the upper lashes. Then [`texture.measure`].
        NaN where a part is not seen.
    """
    skin = _skin_beside(crop, parts)
    if skin is None:
        return np.full(COUNT, np.nan)
    return np.concatenate([_compare(crop, points, parts, skin), texture.measure(crop, points, parts)])


def _compare(crop: np.ndarray, points: np.ndarray, parts: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """As [`measure`], but for the texture, with the skin from [`_skin_beside`]."""
    small_points, sharp = points * (SMALL / len(crop)), _linear(crop)
    small = cv2.GaussianBlur(sharp, (0, 0), SMOOTH * SMALL)
    light = np.log((small @ LUMINANCE + BLACK) / (skin @ LUMINANCE + BLACK))
    brows, lips = sized(parts[..., BROWS], SMALL) > SURE, sized(parts[..., LIPS], SMALL) > SURELY
    irises = _discs(small_points, 0.9, SMALL) & filled(small_points, SMALL, lm.LEFT_EYE, lm.RIGHT_EYE) > 0
    face = (inner_face(small_points, SMALL) > 0) & (sized(parts[..., HAIR] + parts[..., OTHER], SMALL) < UNSURE)
    color = np.log((sharp + BLACK) / (skin + BLACK))  # lips are thin: a blur would mix them with teeth
    return np.array(
        [
            np.median(light[brows]) if brows.sum() > LEAST else np.nan,
            np.median(light[irises]) if irises.sum() > LEAST else np.nan,
            np.percentile(light[face], DARKEST) if face.sum() > FEWEST else np.nan,
            *(np.median(color[lips], 0) if lips.sum() > LEAST else np.full(3, np.nan)),
            _darkness_of_lashes(crop, points, parts, skin),
        ]
    )


def _darkness_of_lashes(crop: np.ndarray, points: np.ndarray, parts: np.ndarray, skin: np.ndarray) -> float:
    mask = _lashes(points * (LASHES_SIZE / len(crop)), LASHES_SIZE)
    mask *= sized(parts[..., HAIR] + parts[..., OTHER], LASHES_SIZE) < UNSURE
    if mask.sum() < LEAST:
        return np.nan
    light = _linear(crop, LASHES_SIZE) @ LUMINANCE + BLACK
    return float(np.average(np.log(light / (sized(skin, LASHES_SIZE) @ LUMINANCE + BLACK)), weights=mask))


def match(picture: np.ndarray, points: np.ndarray, parts: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Gives brows, irises, lips, lashes and skin of a new face the original's tones; hazes it if the photo is hazy.

    Args:
        picture (`np.ndarray` of shape `(S, S, 3)`, uint8):
            Drawn picture as placed in the crop.
        points, parts:
            Its mesh and parts, as for [`measure`].
        wanted (`np.ndarray` of shape `(10,)`):
            [`measure`] of the original; NaN leaves a part as it is, but for lipstick, which is removed.

    Returns:
        `np.ndarray` of shape `(S, S, 3)`, uint8.
    """
    size, skin = len(picture), _skin_beside(picture, parts)
    if skin is None:
        return picture
    own = _compare(picture, points, parts, skin)
    picture = texture.match(picture, points, parts, wanted[TEXTURE])
    if wanted[2] > max(HAZY, own[2]):
        veil = max(0.0, (np.exp(min(wanted[2], MOST_HAZY)) - np.exp(own[2])) / (1 - np.exp(own[2])))
        picture, skin = to_srgb(_veiled(to_linear(picture), veil, skin)), _veiled(skin, veil, skin)
        own = measure(picture, points, parts)
    if np.isfinite(wanted[0] + own[0]):
        fair, dark = min(own[0], FAINTEST), min(wanted[0], FAINTEST)
        contrast = float(np.clip(dark / fair, *CONTRASTS))
        darker = float(np.clip(dark - contrast * own[0], DARKENED, 0))
        mask = _hairs(parts[..., BROWS], size)
        at = mask > SEEN
        beside = sized(skin, size)[at] + BLACK
        light = (to_linear(picture[at]) + BLACK) / beside
        weight = mask[at, None]
        picture[at] = to_srgb(beside * light ** (1 + (contrast - 1) * weight) * np.exp(darker * weight) - BLACK)
    if np.isfinite(wanted[1] + own[1]):
        gain, mask = float(np.exp(np.clip(wanted[1] - own[1], *GAINS))), _irises(points, size)
        at = mask > SEEN
        light, mask = to_linear(picture[at]), mask[at, None]
        # Light eyes that are darkened become brown, as dark ones are.
        brown = mask * np.float32(np.clip(2 * (1 - gain), 0, 1))
        light = light + brown * ((light @ LUMINANCE)[:, None] * BROWN - light)
        picture[at] = to_srgb(light * (1 + (gain - 1) * mask))
    lips, wanted_lips = own[3:6], wanted[3:6]
    if np.isfinite(lips).all():
        # Where the original's lips are not seen, the new ones are not painted.
        bare, seen = (LIPSTICK - lips).clip(0, REMOVED), (wanted_lips - lips).clip(*TINTS)
        gains = np.exp(np.where(np.isnan(wanted_lips), bare, seen)).astype(np.float32)
        mask = trusted(sized(parts[..., LIPS], size))  # the skin beside red lips would turn green
        at = mask > SEEN
        picture[at] = to_srgb(to_linear(picture[at]) * (1 + (gains - 1) * mask[at, None]))
    if np.isfinite(wanted[LASHES] + own[LASHES]):
        gain, mask = float(np.clip(wanted[LASHES] - own[LASHES], DARKER, 0)), _lashes(points, size)
        at = mask > SEEN
        picture[at] = to_srgb(to_linear(picture[at]) * np.exp(gain * mask[at, None]))
    return picture


def _veiled(light: np.ndarray, veil: float, skin: np.ndarray) -> np.ndarray:
    return light + np.float32(veil) * (skin.mean((0, 1)) - light)


def _hairs(brows: np.ndarray, size: int) -> np.ndarray:
    """Where to act on brows, `(size, size)`: a little beyond what is sure, where single hairs are."""
    mask = cv2.dilate((brows / SURE).clip(0, 1), np.ones((round(len(brows) / 64) | 1,) * 2))
    return sized(cv2.GaussianBlur(mask, (0, 0), len(brows) / 128).clip(0, 1), size)


def _irises(points: np.ndarray, size: int) -> np.ndarray:
    """Where to act on irises, `(size, size)`: soft at their borders, and not on the lids."""
    soft = cv2.GaussianBlur(_discs(points, 1.1, size).astype(np.float32), (0, 0), size / 340)
    return soft * filled(points, size, lm.LEFT_EYE, lm.RIGHT_EYE)


def _lashes(points: np.ndarray, size: int) -> np.ndarray:
    """Where upper lashes and their make-up are, `(size, size)`: soft lines along the edges of the lids."""
    mask = np.zeros((size, size), np.float32)
    for group, corners, upper in UPPER_LIDS:
        eye, (left, right) = points[group, :2], points[corners, :2]
        width = float(np.linalg.norm(right - left))
        line = points[[corners[0], *upper, corners[1]], :2]
        up = line - eye.mean(0)
        line = line + ABOVE * width * up / np.linalg.norm(up, axis=1, keepdims=True)
        drawn, thickness = np.zeros((size, size), np.float32), max(1, round(THICK * width))
        cv2.polylines(drawn, [np.round(line * 8 - 4).astype(np.int32)], False, 1.0, thickness, cv2.LINE_8, 3)
        mask = np.maximum(mask, cv2.GaussianBlur(drawn, (0, 0), max(0.5, SOFT * width)))
    return mask


def _skin_beside(picture: np.ndarray, parts: np.ndarray) -> np.ndarray | None:
    """Linear colour of the skin, in its gaps of that beside, `(SMALL, SMALL, 3)`; None where hardly any is seen."""
    small = _linear(picture)
    brows = cv2.dilate((parts[..., BROWS] > 0.1).astype(np.uint8), np.ones((7, 7)))
    known = cv2.resize((parts[..., SKIN] > SURELY) * (1.0 - brows), (SMALL, SMALL), interpolation=cv2.INTER_AREA) == 1
    if known.sum() < FEWEST:
        return None
    return spread(small, known.astype(np.float32), small[known].mean(0)).clip(0)


def _linear(picture: np.ndarray, size: int = SMALL) -> np.ndarray:
    return to_linear(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA))


def _discs(points: np.ndarray, share: float, size: int) -> np.ndarray:
    """Both irises, `(size, size)`, uint8, 0 or 1, with this share of their radius."""
    discs = np.zeros((size, size), np.uint8)
    for center, edge in zip(lm.IRIS_CENTERS, (lm.LEFT_IRIS, lm.RIGHT_IRIS), strict=True):
        radius = share * np.linalg.norm(points[edge, :2] - points[center, :2], axis=1).mean()
        middle = np.round(points[center, :2] * 8 - 4).astype(int)
        cv2.circle(discs, middle.tolist(), int(radius * 8), 1, -1, cv2.LINE_8, 3)
    return discs
