"""Where the new face ends: what it hides of the photo, what stays in front, no edge where skin meets skin."""

from __future__ import annotations

import cv2
import numpy as np

from . import landmarks as lm
from .color import to_lab
from .lighting import mesh_triangles, to_linear, to_srgb

CHEEKS = [50, 280, 205, 425, 36, 266, 151, 9, 8]  # where skin is seen best
BROWS = [70, 63, 105, 66, 107, 336, 296, 334, 293, 300]
INNER = [lm.LEFT_EYE, lm.RIGHT_EYE, lm.LEFT_BROW, lm.RIGHT_BROW, lm.OUTER_LIPS, lm.NOSE_BRIDGE + lm.NOSE_BASE]
TONES = np.array([16, 7, 9], np.float32)  # how far apart skin of one face is in CIELAB: shade, red, yellow
SHINE = 0.7  # what counts of the distance where it is brighter
# In these: surely skin up to here; skin; from here on it is not, of a photo; and of a drawn face, whose own shade is
# as dark as hair.
SURE, SKIN, OTHER, STRANGE = 1.4, 2.0, 2.6, 3.0
SAFE = 0.02  # sides of the crop by which eyes, brows, nose and mouth are hidden beyond their own outline
FADE = 0.025  # sides of the crop over which new skin runs out into the photo's
RING = 0.05  # width of the skin round the face that the new skin is fitted to
DEPTH = 0.16  # how far into the face it is
LARGEST = 30.0  # levels by which it is moved at most
ROUND, SOFT = 170, 340  # parts of the crop's side over which the outline of hair is rounded, and an edge runs out
STRANDS = 0.02  # sides of the crop above the brows from where on nothing but skin is left of a drawn face
ISLAND = 0.01  # of a face's skin: a smaller part that hair cuts off from the rest is hair, too
MATTE = 512  # side of the crop in which hair in front is found at most
SMALL = 256  # side of the crop in which light, colour and everything smooth is worked out


def silhouette(points: np.ndarray, size: int) -> np.ndarray:
    """The face as its mesh shows it, from forehead to chin, its nose too where it stands out of a profile.

    Args:
        points (`np.ndarray` of shape `(478, >= 2)`):
            Mesh in pixels of the crop.
        size (`int`):
            Side of the crop.

    Returns:
        `np.ndarray` of shape `(size, size)`, uint8, 0 or 1.
    """
    shown = np.zeros((size, size), np.uint8)
    fixed = np.round(points[:468, :2] * 8 - 4).astype(np.int32)
    cv2.fillPoly(shown, fixed[None, lm.OVAL], 1, cv2.LINE_8, 3)
    for triangle in fixed[mesh_triangles()]:
        cv2.fillConvexPoly(shown, triangle, 1, cv2.LINE_8, 3)
    return shown


def inner_face(points: np.ndarray, size: int) -> np.ndarray:
    """Eyes, brows, nose, mouth and the cheeks between them: what is hidden whatever lies in front.

    Args:
        points (`np.ndarray` of shape `(478, >= 2)`):
            Mesh in pixels of the crop.
        size (`int`):
            Side of the crop.

    Returns:
        `np.ndarray` of shape `(size, size)`, uint8, 0 or 1.
    """
    inner = np.zeros((size, size), np.uint8)
    features = np.concatenate([points[group, :2] for group in INNER])
    cv2.fillConvexPoly(inner, cv2.convexHull(np.round(features * 8 - 4).astype(np.int32)), 1, cv2.LINE_8, 3)
    return cv2.dilate(inner, _square(SAFE * size))


def in_front(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Hair and hats before forehead and temples, by colour: what is clearly no skin and comes in from outside.

    Args:
        crop (`np.ndarray` of shape `(S, S, 3)`, uint8):
            RGB crop of the original.
        points (`np.ndarray` of shape `(478, >= 2)`):
            Its mesh in pixels of the crop.

    Returns:
        `np.ndarray` of shape `(S, S)`, float32: 0 to 1, all 0 on the [`inner_face`].
    """
    full, size = len(crop), min(len(crop), MATTE)
    crop, points = _shrunk(crop, size), points * (size / full)
    shown = silhouette(points, size)
    lab = cv2.GaussianBlur(to_lab(crop), (0, 0), size / 400)
    other = ((_apart(lab, _tone(lab, points)) - SKIN) / (OTHER - SKIN)).clip(0, 1)
    solid = cv2.morphologyEx((other > 0.5).astype(np.uint8), cv2.MORPH_OPEN, _square(size / 150))
    parts = cv2.connectedComponents(solid)[1]
    outer = np.isin(parts, np.unique(parts[shown == 0])) & (solid > 0)
    near = cv2.dilate(outer.astype(np.uint8), _square(size / 100))
    # From the side only a rim: a cheek in the shade is as dark as hair.
    y = np.arange(size, dtype=np.float32)[:, None]
    top, mouth = points[BROWS, 1].min(), points[lm.MOUTH_CORNERS, 1].mean()
    above = ((top - y) / (0.03 * size)).clip(0, 1)
    rim = cv2.distanceTransform(shown, cv2.DIST_L2, 5)
    side = (1 - (rim - 0.02 * size) / (0.02 * size)).clip(0, 1) * ((mouth - y) / (0.05 * size)).clip(0, 1)
    kept = _rounded(other * near, size / ROUND) * np.maximum(above, side)
    kept = np.maximum(kept, _islands(shown * (kept < 0.5), inner_face(points, size)))
    return _enlarged(kept, full).clip(0, 1) * (1 - inner_face(points * (full / size), full))


def hidden(points: np.ndarray, front: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """How much of the original is hidden: 1 where it is erased.

    Args:
        points (`np.ndarray` of shape `(478, >= 2)`):
            The original's mesh in pixels of the crop.
        front (`np.ndarray` of shape `(S, S)`, float32):
            What stays in front of the face, 0 to 1, from [`in_front`] or a parser. Where it lies on the [`inner_face`]
            it does not count.
        margin (`float`, *optional*, defaults to `0.0`):
            How far beyond the face's outline, in heights of the face.

    Returns:
        `np.ndarray` of shape `(S, S)`, float32, 0 to 1.
    """
    inner = inner_face(points, len(front))
    shown = np.maximum(silhouette(points, len(front)), inner)
    if margin:
        reach = round(margin * float(np.ptp(points[lm.OVAL, 1])))
        shown = cv2.dilate(shown, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2))
    return np.maximum(shown * (1 - front), inner).astype(np.float32)


def covered(face: np.ndarray, placed: np.ndarray) -> float:
    """Share of a drawn face that its own hair, hat or hand lies before, by colour: above some, draw again.

    Args:
        face (`np.ndarray` of shape `(S, S, 3)`, uint8):
            Drawn picture as placed in the crop.
        placed (`np.ndarray` of shape `(478, >= 2)`):
            Its mesh in pixels of the crop.

    Returns:
        `float`: 0 to 1.
    """
    small = min(len(face), SMALL)
    placed = placed * (small / len(face))
    shown = silhouette(placed, small)
    return float(_strange(to_lab(_shrunk(face, small)), placed, shown).sum() / shown.sum())


def carry(face: np.ndarray, small: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """Carries over what was done to a small copy of a picture: a factor in linear light for each place and channel.

    Args:
        face (`np.ndarray` of shape `(S, S, 3)`, uint8):
            The picture.
        small, changed (`np.ndarray` of shape `(s, s, 3)`, uint8):
            Its copy before and after, s at most S.

    Returns:
        `np.ndarray` of shape `(S, S, 3)`, uint8.
    """
    if len(small) == len(face):
        return changed
    before, after = (cv2.GaussianBlur(to_linear(picture), (0, 0), 1) + 2e-3 for picture in (small, changed))
    gain = cv2.resize(after / before, face.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return to_srgb(to_linear(face) * gain)


def compose(
    surroundings: np.ndarray, hidden: np.ndarray, face: np.ndarray, placed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fits the new face to what is left of the photo.

    Hair that came along with the new face is filled with its skin. Where skin of both is seen outside the face, their
    difference is spread into it. What the old face hid and the new one does not goes on as its surroundings.

    Args:
        surroundings (`np.ndarray` of shape `(S, S, 3)`, uint8):
            RGB crop of the photo, the old face erased.
        hidden (`np.ndarray` of shape `(S, S)`, float32):
            What was erased of it, from [`hidden`].
        face (`np.ndarray` of shape `(S, S, 3)`, uint8):
            Drawn picture as placed in the crop, in the original's light and skin colour.
        placed (`np.ndarray` of shape `(478, >= 2)`):
            Its mesh in pixels of the crop.

    Returns:
        `tuple`: the crop to be laid into the photo `(S, S, 3)`, uint8, and its opacity `(S, S)`, float32, 1 where
        `hidden` is.
    """
    size = len(face)
    small = min(size, SMALL)
    new = _filled(face, placed)
    old, told, placed = _shrunk(surroundings, small), _shrunk(new, small), placed * (small / size)
    erased = _shrunk(hidden, small) > 0
    shown = silhouette(placed, small)
    away, depth = (cv2.distanceTransform(v, cv2.DIST_L2, 5) / small for v in (1 - shown, shown))
    lab, old_lab = to_lab(told), to_lab(old)
    tone = _tone(cv2.GaussianBlur(lab, (0, 0), 1), placed)
    skin = _skin(old_lab, tone, SKIN)
    both = skin & _skin(lab, tone, SKIN)
    # Resampled, the erased colour bleeds a little.
    clear = cv2.dilate(erased.astype(np.uint8), _square(small / 100)) == 0
    ring = (away > 0) & (away < RING) & clear & _skin(old_lab, tone, SURE) & _skin(lab, tone, SURE)
    difference = (old.astype(np.float32) - told).clip(-LARGEST, LARGEST)
    change = _spread(difference, ring.astype(np.float32)) * np.exp(-((depth / DEPTH) ** 2))[..., None]
    kept = cv2.dilate((1 - _shrunk(hidden, small)) * (depth > 2 / small), _square(small / 40))
    seen = cv2.GaussianBlur(np.dstack([both & clear, clear]).astype(np.float32), (0, 0), small / 120)
    fade = _smooth((1 - away / FADE).clip(0, 1)) * (seen[..., 0] / seen[..., 1].clip(1e-3)) * (1 - kept)
    gone = ((shown == 0) & erased).astype(np.float32)
    new = new.astype(np.float32) + _enlarged(change, size)
    if gone.any():
        beside = (clear & (shown == 0) & ~skin).astype(np.float32)
        around = _spread(
            old.astype(np.float32), beside, np.array(cv2.mean(old, clear.astype(np.uint8))[:3], np.float32)
        )
        gone = _enlarged(cv2.GaussianBlur(gone, (0, 0), small / 256) * (1 - fade), size)[..., None]
        new += gone * (_enlarged(around, size) - new)
    # Without an edge from pixel to pixel: what was hidden runs out beyond itself.
    edge = (2 * cv2.GaussianBlur(hidden, (0, 0), size / SOFT)).clip(0, 1)
    opacity = np.maximum(np.maximum(hidden, edge), _enlarged(fade, size).clip(0, 1))
    return new.round().clip(0, 255).astype(np.uint8), opacity


def _islands(skin: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """What of a face's skin is apart from the inner face and small: light strands of hair, not a forehead."""
    necks = cv2.morphologyEx(skin.astype(np.uint8), cv2.MORPH_OPEN, _square(len(skin) / 50)) | inner
    count, parts, facts, _ = cv2.connectedComponentsWithStats(necks)
    small = facts[:, cv2.CC_STAT_AREA] < ISLAND * max(1, int(skin.sum()))
    mainland = cv2.dilate((~np.isin(parts, [0, *np.flatnonzero(small)])).astype(np.uint8), _square(len(skin) / 40))
    return ((skin > 0) & (mainland == 0)).astype(np.float32)


def _rounded(mask: np.ndarray, radius: float) -> np.ndarray:
    """A mask of 0 to 1 with a smooth outline in the same place."""
    return _smooth((2 * cv2.GaussianBlur(mask, (0, 0), radius) - 0.5).clip(0, 1))


def _tone(lab: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The middle of the skin's colours, (3,)."""
    at = points[CHEEKS, :2].round().astype(int).clip(0, len(lab) - 1)
    return np.median(lab[at[:, 1], at[:, 0]], 0)


def _apart(lab: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """How far colours are from the skin's; what is brighter counts less, as skin shines."""
    away = (lab - tone) / TONES
    away[..., 0] *= np.where(away[..., 0] > 0, SHINE, 1)
    return np.linalg.norm(away, axis=2)


def _skin(lab: np.ndarray, tone: np.ndarray, limit: float) -> np.ndarray:
    size = len(lab)
    skin = (_apart(cv2.GaussianBlur(lab, (0, 0), size / 256), tone) < limit).astype(np.uint8)
    return cv2.morphologyEx(skin, cv2.MORPH_OPEN, _square(size / 73)) > 0


def _strange(lab: np.ndarray, placed: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """What of a drawn face is hair or a hat, (S, S), uint8: thick above the mouth, strands too on the forehead."""
    size = len(lab)
    lab = cv2.GaussianBlur(lab, (0, 0), size / 256)
    apart = _apart(lab, _tone(lab, placed))
    inside = shown.copy()
    inside[_mouth(placed) :] = 0  # below it grows the beard
    inside[inner_face(placed, size) > 0] = 0
    other = ((apart > STRANGE) & (inside > 0)) | (shown == 0)
    thick = cv2.morphologyEx(other.astype(np.uint8), cv2.MORPH_OPEN, _square(size / 26)) * inside  # no glasses
    thick = cv2.dilate(thick, _square(size / 12)) * inside * (apart > SKIN)
    forehead = inside.copy()
    forehead[max(0, int(placed[BROWS, 1].min() - STRANDS * size)) :] = 0
    strands = cv2.morphologyEx((apart > SKIN).astype(np.uint8) * forehead, cv2.MORPH_OPEN, _square(size / 85))
    return np.maximum(thick, cv2.dilate(strands, _square(size / 40)) * forehead * (apart > SURE))


def _mouth(points: np.ndarray) -> int:
    """The row of the mouth."""
    return max(0, int(points[lm.MOUTH_CORNERS, 1].mean()))


def _filled(face: np.ndarray, placed: np.ndarray) -> np.ndarray:
    """The face with skin in place of what is strange, uint8: its smooth colour from beside, its grain from a cheek."""
    size, small = len(face), min(len(face), SMALL)
    told, points = _shrunk(face, small), placed * (small / size)
    lab, shown = to_lab(told), silhouette(points, small)
    strange = _strange(lab, points, shown)
    inner = inner_face(points, small)
    skin = _skin(lab, _tone(lab, points), SURE)
    # Beyond the outline, too: there the new skin runs out into the photo's.
    beside = cv2.dilate(shown, _square(4 * FADE * small)) * (1 - shown) * (1 - skin)
    beside[_mouth(points) :] = 0
    wide = cv2.dilate((strange | beside).astype(np.uint8), _square(small / 32)) * (1 - inner)
    known = skin & (shown > 0) & (wide == 0) & (inner == 0)
    if known.sum() < 10:
        return face
    smooth = _spread(told.astype(np.float32), known.astype(np.float32), told[known].mean(0))
    grain = np.random.default_rng(0).normal(0, _grain(face, placed), (SMALL, SMALL)).astype(np.float32)
    tiles = np.tile(grain, (-(-size // SMALL),) * 2)[:size, :size, None]
    soft = _enlarged(cv2.GaussianBlur(wide.astype(np.float32), (0, 0), small / 80), size)[..., None]
    return (face + soft * (_enlarged(smooth, size) + tiles - face)).round().clip(0, 255).astype(np.uint8)


def _grain(face: np.ndarray, placed: np.ndarray) -> float:
    """Levels by which neighbouring pixels of the cheeks differ from what is smooth, pores left out."""
    reach = max(2, len(face) // 24)
    rest = []
    for x, y in placed[[205, 425], :2].round().astype(int).clip(reach, len(face) - reach):
        patch = face[y - reach : y + reach, x - reach : x + reach, 1].astype(np.float32)
        rest.append(1.48 * float(np.median(np.abs(patch - cv2.GaussianBlur(patch, (0, 0), 1.5)))))
    return min(rest)


def _spread(values: np.ndarray, weight: np.ndarray, far: np.ndarray | float = 0.0) -> np.ndarray:
    """Values (S, S, 3) known where the weight (S, S) is 1, smoothly everywhere: from near by where it can be."""
    size = len(weight)
    small = min(size, SMALL // 2)
    parts = cv2.resize(np.dstack([values * weight[..., None], weight]), (small, small), interpolation=cv2.INTER_AREA)
    result, known = np.zeros((small, small, 3), np.float32), np.zeros((small, small, 1), np.float32)
    for sigma in (0.012, 0.03, 0.07, 0.15):
        blur = cv2.GaussianBlur(parts, (0, 0), sigma * small)
        trust = (blur[..., 3:] / 0.15).clip(0, 1) * (1 - known)
        result += trust * blur[..., :3] / blur[..., 3:].clip(1e-4)
        known += trust
    return cv2.resize(result + (1 - known) * far, (size, size), interpolation=cv2.INTER_CUBIC)


def _shrunk(picture: np.ndarray, size: int) -> np.ndarray:
    return picture if len(picture) == size else cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def _enlarged(values: np.ndarray, size: int) -> np.ndarray:
    return values if len(values) == size else cv2.resize(values, (size, size), interpolation=cv2.INTER_CUBIC)


def _smooth(step: np.ndarray) -> np.ndarray:
    return step * step * (3 - 2 * step)


def _square(width: float) -> np.ndarray:
    return np.ones((max(1, round(width)) | 1,) * 2, np.uint8)
