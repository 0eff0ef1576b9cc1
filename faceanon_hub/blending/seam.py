"""Where the new face ends: what it hides of the photo, what stays in front, no edge where skin meets skin."""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from .. import landmarks as lm
from ..lighting import mesh_triangles, to_linear, to_srgb
from ..parsing import HAIR, OTHER, SKIN
from .regions import filled, skin_region

BROWS = [70, 63, 105, 66, 107, 336, 296, 334, 293, 300]
INNER = [lm.LEFT_EYE, lm.RIGHT_EYE, lm.LEFT_BROW, lm.RIGHT_BROW, lm.OUTER_LIPS, lm.NOSE_BRIDGE + lm.NOSE_BASE]
UNSURE, SURELY = 0.5, 0.85  # probabilities of a part: below and above
STRANDS, LOOSE = 0.15, 12  # strands: least probability of hair; width round sure hair, as a part of the crop's side
SAFE = 0.02  # sides of the crop by which eyes, brows, nose and mouth are hidden beyond their own outline
FADE = 0.025  # sides of the crop over which new skin runs out into the photo's
RING = 0.05  # width of the skin round the face that the new skin is fitted to
DEPTH = 0.16  # how far into the face it is
LARGEST = 30.0  # levels by which it is moved at most
SOFT = 340  # parts of the crop's side over which an edge runs out
MATTING, EDGES = 50, 1e-3  # parts of the crop's side by which hair is looked for beside its mask; variance of an edge
MOST_IN_FRONT = 0.7  # of what lies round the inner face: above, the parser is wrong, or there is nothing to keep
MATTE = 512  # side of the crop in which hair in front is found at most
MOST_OVER = 0.3  # of the inner face under hair: above, the parser is not believed
REACHED = 0.12  # sides of the crop from the hair that is left, up to which it is continued
# Where the copy comes from: farthest offset, in sides of the crop; cost of an offset of one side, in levels.
FARTHEST, FARTHER = 0.3, 20.0
# What is compared round the gap: its width, as a part of the crop's side; least share that is seen, of it and of the
# copy; pixels at most.
BESIDE, MOST, WHOLE, SAMPLES = 16, 0.7, 0.97, 200
COVERED = 0.7  # of the lips under something else, from which on it is a mask or a veil
CLOTH_CELLS = 8  # colours per side of the crop that are taken of it
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


def frames_as_skin(parts: np.ndarray, points: np.ndarray, size: int) -> np.ndarray:
    """Parts of a face with glasses, whose frame counts as skin inside the outline: it goes where the face goes.

    Args:
        parts (`np.ndarray` of shape `(s, s, 7)`, float32):
            From [`FaceParser.parse`].
        points (`np.ndarray` of shape `(478, >= 2)`):
            Mesh of the face in pixels of the crop.
        size (`int`):
            Side of the crop.
    """
    points, parts = points * (len(parts) / size), parts.copy()
    band = silhouette(points, len(parts)).astype(np.float32)
    band[: max(0, int(points[BROWS, 1].min()))] = 0
    band[max(0, int(points[lm.NOSE_BASE, 1].max())) :] = 0
    parts[..., SKIN] += band * parts[..., OTHER]
    parts[..., OTHER] *= 1 - band
    return parts


def in_front(crop: np.ndarray, points: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """What lies before a face: hair, hats, hands. Where that is not sure, the face is.

    Of a mask or a hand over nose and mouth, what lies on the inner face is hidden, see [`cloth`]. Where hardly any of
    a face is seen, all is hidden.

    Args:
        crop (`np.ndarray` of shape `(S, S, 3)`, uint8):
            RGB crop of the original.
        points (`np.ndarray` of shape `(478, >= 2)`):
            Its mesh in pixels of the crop.
        parts (`np.ndarray` of shape `(s, s, 7)`, float32):
            Its parts, from [`FaceParser.parse`].

    Returns:
        `np.ndarray` of shape `(S, S)`, float32: 0 to 1, all 0 on the [`inner_face`].
    """
    full, size = len(crop), min(len(crop), MATTE)
    crop, points = _shrunk(crop, size), points * (size / full)
    kept = trusted(_matted(crop, sized(_strange(parts), size), size / MATTING))
    shown, inner = silhouette(points, size), inner_face(points, size)
    rim = shown * (1 - inner)
    if (kept * rim).sum() > MOST_IN_FRONT * rim.sum():
        kept *= 1 - shown
    return _enlarged(kept, full).clip(0, 1) * (1 - inner_face(points * (full / size), full))


@dataclass(frozen=True)
class Cloth:
    """What covers the mouth, be it a mask, a veil or a hand: on the inner face its outline and a few colours alone."""

    alpha: np.ndarray  # (s, s) float32, 0 to 1
    skin: np.ndarray  # (s, s) float32, 0 or 1: skin beside it
    colors: np.ndarray  # (CLOTH_CELLS, CLOTH_CELLS, 3) float32, RGB

    def over(self, picture: np.ndarray) -> np.ndarray:
        """The picture `(S, S, 3)`, uint8, of the same crop, with the cloth before it."""
        size = len(picture)
        alpha = sized(self.alpha, size)[..., None]
        colors = cv2.resize(self.colors, (size, size), interpolation=cv2.INTER_CUBIC)
        return (picture + alpha * (colors - picture)).round().clip(0, 255).astype(np.uint8)

    def off(self, picture: np.ndarray) -> np.ndarray:
        """The original's crop `(S, S, 3)`, uint8, with skin as beside the cloth in its place, to be measured."""
        size = len(picture)
        small = _shrunk(picture, len(self.skin)).astype(np.float32)
        mean = np.array(cv2.mean(small, self.skin.astype(np.uint8))[:3], np.float32)
        alpha = sized(cv2.dilate(self.alpha, _square(len(self.alpha) / 40)), size)[..., None]
        return (
            (picture + alpha * (_enlarged(spread(small, self.skin, mean), size) - picture))
            .round()
            .clip(0, 255)
            .astype(np.uint8)
        )


def cloth(crop: np.ndarray, points: np.ndarray, parts: np.ndarray) -> Cloth | None:
    """What covers the mouth, where something does.

    Were it the face after all that the parser takes for cloth, no more of it would be seen than in a blurred one.

    Args:
        crop (`np.ndarray` of shape `(S, S, 3)`, uint8):
            RGB crop of the original.
        points (`np.ndarray` of shape `(478, >= 2)`):
            Its mesh in pixels of the crop.
        parts (`np.ndarray` of shape `(s, s, 7)`, float32):
            Its parts, from [`FaceParser.parse`].
    """
    size = len(parts)
    other = parts[..., OTHER]
    crop, points = _shrunk(crop, size).astype(np.float32), points * (size / len(crop))
    lips = filled(points, size, lm.OUTER_LIPS)
    if (other * lips).sum() < COVERED * lips.sum():
        return None
    below = np.zeros((size, size), np.uint8)
    below[max(0, int(points[lm.LEFT_EYE + lm.RIGHT_EYE, 1].max())) :] = 1
    face = silhouette(points, size)
    shown = face * below
    pieces = cv2.connectedComponents(((other > UNSURE) & (shown > 0)).astype(np.uint8))[1]
    piece = np.isin(pieces, np.unique(pieces[(lips > 0) & (pieces > 0)])).astype(np.uint8)
    whole = cv2.morphologyEx(piece, cv2.MORPH_CLOSE, _square(size / 6)) * shown
    # A little beyond the face's outline, where nothing is laid into the photo: no skin shines through on it.
    beyond = cv2.dilate(whole, _square(size / 25)) * below * (1 - face)
    alpha = cv2.GaussianBlur((whole | beyond).astype(np.float32), (0, 0), size / 128)
    skin = (parts[..., SKIN] > SURELY) & (cv2.dilate(alpha, _square(size / 20)) == 0)
    if not skin.any():
        return None
    seen = whole.astype(np.float32)[..., None]
    cells = cv2.resize(np.dstack([crop * seen, seen]), (CLOTH_CELLS,) * 2, interpolation=cv2.INTER_AREA)
    mean = cells[..., :3].sum((0, 1)) / cells[..., 3].sum()
    wide = cv2.GaussianBlur(cells, (0, 0), 1)
    near = (wide[..., :3] + 1e-3 * mean) / (wide[..., 3:] + 1e-3)
    trust = cells[..., 3:]
    return Cloth(alpha, skin.astype(np.float32), (cells[..., :3] + (1 - trust) * near).astype(np.float32))


def overhang(points: np.ndarray, parts: np.ndarray, size: int) -> np.ndarray:
    """Where hair, or a brim above the eyes, covers the [`inner_face`]. It is erased there; see [`draw_overhang`].

    Args:
        points (`np.ndarray` of shape `(478, >= 2)`):
            The original's mesh in pixels of the crop.
        parts (`np.ndarray` of shape `(s, s, 7)`, float32):
            Its parts, from [`FaceParser.parse`].
        size (`int`):
            Side of the crop.

    Returns:
        `np.ndarray` of shape `(s, s)`, float32, 0 to 1; all 0 where it would cover most of the inner face.
    """
    points = points * (len(parts) / size)
    above = np.zeros((len(parts), 1), np.float32)
    above[: max(0, int(points[[*lm.LEFT_EYE, *lm.RIGHT_EYE], 1].min()))] = 1
    inner = inner_face(points, len(parts))
    over = trusted(parts[..., HAIR] + above * parts[..., OTHER])
    if (over * inner).sum() > MOST_OVER * inner.sum():
        return np.zeros_like(over)
    # A little beyond the inner face, too: the new face is still blended in there.
    return over * cv2.dilate(inner, _square(len(parts) / 24))


def draw_overhang(
    picture: np.ndarray, over: np.ndarray, surroundings: np.ndarray, hidden: np.ndarray, skin: np.ndarray
) -> np.ndarray:
    """Continues hair over the new face with a copy of the hair beside it.

    Args:
        picture (`np.ndarray` of shape `(S, S, 3)`, uint8):
            The crop with the new face.
        over (`np.ndarray` of shape `(s, s)`, float32):
            From [`overhang`].
        surroundings, hidden, skin:
            As for [`compose`].

    Returns:
        `np.ndarray` of shape `(S, S, 3)`, uint8.
    """
    size = len(picture)
    alpha, source = sized(over, size), _clear(hidden) & (sized(skin, size) < 1 - SURELY)
    if not source.any() or not alpha.any():
        return picture
    away = cv2.distanceTransform(1 - source.astype(np.uint8), cv2.DIST_L2, 5)
    alpha *= ((REACHED - away / size) / (REACHED / 4)).clip(0, 1)
    drawn, (count, pieces) = picture.copy(), cv2.connectedComponents((alpha > 0).astype(np.uint8))
    for piece in range(1, count):
        mask = pieces == piece
        hair, known = _continued(surroundings, source, mask)
        at = np.nonzero(mask & known)
        drawn[at] = (picture[at] + alpha[at][:, None] * (hair[at] - picture[at])).round().clip(0, 255).astype(np.uint8)
    return drawn


def _continued(picture: np.ndarray, source: np.ndarray, piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A moved copy of a picture that fills a piece of it, `(S, S, 3)`, float32, and where it is known, `(S, S)`, bool.

    One offset for the whole piece keeps strands whole: the one with which the copy differs least from the picture
    round the piece (statistics of patch offsets, He and Sun 2012). What still differs is spread over the piece.
    """
    size, small = len(picture), min(len(picture), SMALL)
    step = max(1, size // SMALL)
    picture = picture.astype(np.float32)
    ring = (cv2.dilate(piece.astype(np.uint8), _square(size / BESIDE)) > 0) & source
    coarse = _best_offset(picture, source, piece, ring, _grid(round(FARTHEST * size), 4 * step))
    if coarse is None:
        return picture, np.zeros_like(piece)
    row, column = _best_offset(picture, source, piece, ring, coarse + _grid(3 * step, step)) or coarse
    shift = np.array([[1, 0, -column], [0, 1, -row]], np.float32)
    copied = cv2.warpAffine(picture, shift, (size, size), flags=cv2.INTER_NEAREST)
    known = cv2.warpAffine(source.astype(np.uint8), shift, (size, size), flags=cv2.INTER_NEAREST) > 0
    weight = _shrunk((ring & known).astype(np.float32), small)
    differs = _shrunk((picture - copied) * (ring & known)[..., None], small) / weight[..., None].clip(1e-3)
    return (copied + _enlarged(spread(differs, weight), size)).clip(0, 255), known


def _best_offset(
    picture: np.ndarray, source: np.ndarray, piece: np.ndarray, ring: np.ndarray, offsets: np.ndarray
) -> tuple[int, int] | None:
    """The offset, of `(K, 2)`, with which the copy differs least on the ring; None if too little is seen for any."""
    beside, inside = np.argwhere(ring), np.argwhere(piece)
    if not len(beside):
        return None
    beside, inside = beside[:: 1 + len(beside) // SAMPLES], inside[:: 1 + len(inside) // SAMPLES]
    taken, around = inside + offsets[:, None], beside + offsets[:, None]
    fits = [(moved.min((1, 2)) >= 0) & (moved.max((1, 2)) < len(picture)) for moved in (taken, around)]
    taken, around, offsets = (values[fits[0] & fits[1]] for values in (taken, around, offsets))
    seen = source[around[..., 0], around[..., 1]]
    differs = np.abs(picture[around[..., 0], around[..., 1]] - picture[tuple(beside.T)]).mean(2)
    cost = (differs * seen).sum(1) / seen.sum(1).clip(1) + FARTHER * np.hypot(*offsets.T) / len(picture)
    cost[(source[taken[..., 0], taken[..., 1]].mean(1) < WHOLE) | (seen.mean(1) < MOST)] = np.inf
    if not np.isfinite(cost).any():
        return None
    row, column = offsets[cost.argmin()].tolist()
    return row, column


def _grid(reach: int, step: int) -> np.ndarray:
    steps = np.arange(-reach, reach + 1, step)
    return np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)


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


def skin_left(parts: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Where skin is in what is left of a photo.

    Args:
        parts (`np.ndarray` of shape `(s, s, 7)`, float32):
            Of the original's crop, from [`FaceParser.parse`].
        hidden (`np.ndarray` of shape `(S, S)`, float32):
            What is erased of it, from [`hidden`].

    Returns:
        `np.ndarray` of shape `(s, s)`, float32, 0 to 1.
    """
    return (1 - _strange(parts)) * (1 - sized(hidden, len(parts)))


def covered(parts: np.ndarray, placed: np.ndarray, size: int) -> tuple[float, float]:
    """How much of a drawn face its own hair, hat or hand lies before: above some, draw again.

    Args:
        parts (`np.ndarray` of shape `(s, s, 7)`, float32):
            Parts of the drawn picture as placed in the crop, from [`FaceParser.parse`].
        placed (`np.ndarray` of shape `(478, >= 2)`):
            Its mesh in pixels of the crop.
        size (`int`):
            Side of the crop in pixels.

    Returns:
        `tuple`: shares, 0 to 1, of the whole face, and of the [`inner_face`]: where a face is no face there, it has a
        hand before it, or is torn.
    """
    side = len(parts)
    placed = placed * (side / size)
    strange, shown, inner = _strange(parts), silhouette(placed, side), inner_face(placed, side)
    return float((strange * shown).sum() / shown.sum()), float((strange * inner).sum() / inner.sum())


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
    surroundings: np.ndarray,
    hidden: np.ndarray,
    skin: np.ndarray,
    face: np.ndarray,
    parts: np.ndarray,
    placed: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Fits the new face to what is left of the photo.

    Hair that came along with the new face is filled with its skin. Where skin of both is seen outside the face, their
    difference is spread into it. What the old face hid and the new one does not goes on as its surroundings.

    Args:
        surroundings (`np.ndarray` of shape `(S, S, 3)`, uint8):
            RGB crop of the photo, the old face erased.
        hidden (`np.ndarray` of shape `(S, S)`, float32):
            What was erased of it, from [`hidden`].
        skin (`np.ndarray` of shape `(s, s)`, float32):
            Where skin is in what is left, 0 to 1.
        face (`np.ndarray` of shape `(S, S, 3)`, uint8):
            Drawn picture as placed in the crop, in the original's light and skin colour.
        parts (`np.ndarray` of shape `(s, s, 7)`, float32):
            Its parts, from [`FaceParser.parse`].
        placed (`np.ndarray` of shape `(478, >= 2)`):
            Its mesh in pixels of the crop.

    Returns:
        `tuple`: the crop to be laid into the photo `(S, S, 3)`, uint8, and its opacity `(S, S)`, float32, 1 where
        `hidden` is.
    """
    size = len(face)
    small = min(size, SMALL)
    placed = placed * (small / size)
    shown = silhouette(placed, small)
    strange = sized(_strange(parts), small)
    old, drawn = _shrunk(surroundings, small), _shrunk(face, small).astype(np.float32)
    filling, filled = _filling(drawn, strange, placed, shown)
    drawn += filled * (filling - drawn)
    erased = _shrunk(hidden, small) > 0
    away, depth = (cv2.distanceTransform(v, cv2.DIST_L2, 5) / small for v in (1 - shown, shown))
    clear = _clear(erased)
    left = sized(skin, small)
    ring = (away > 0) & (away < RING) & clear & (left > SURELY) & (strange < UNSURE)
    difference = (old.astype(np.float32) - drawn).clip(-LARGEST, LARGEST)
    change = spread(difference, ring.astype(np.float32)) * np.exp(-((depth / DEPTH) ** 2))[..., None]
    kept = cv2.dilate((1 - _shrunk(hidden, small)) * (depth > 2 / small), _square(small / 40))
    seen = cv2.GaussianBlur(np.dstack([left * clear, clear]).astype(np.float32), (0, 0), small / 120)
    fade = _smooth((1 - away / FADE).clip(0, 1)) * (seen[..., 0] / seen[..., 1].clip(1e-3)) * (1 - kept)
    gone = ((shown == 0) & erased).astype(np.float32)
    # What is laid over the drawn picture, and how much of that is left.
    change += filled * filling
    left_over = 1 - filled
    if gone.any():
        beside = clear * (shown == 0) * (1 - left)
        around = spread(
            old.astype(np.float32), beside, np.array(cv2.mean(old, clear.astype(np.uint8))[:3], np.float32)
        )
        gone = (cv2.GaussianBlur(gone, (0, 0), small / 256) * (1 - fade))[..., None]
        change += gone * (around - change)
        left_over, filled = left_over * (1 - gone), filled * (1 - gone)
    new = face * _enlarged(left_over[..., 0], size)[..., None] + _enlarged(change, size)
    if filled.any():
        new += _enlarged(filled[..., 0], size)[..., None] * _tiles(size, _grain(face, placed * (size / small)))
    # Without an edge from pixel to pixel: what was hidden runs out beyond itself.
    edge = (2 * cv2.GaussianBlur(hidden, (0, 0), size / SOFT)).clip(0, 1)
    opacity = np.maximum(np.maximum(hidden, edge), _enlarged(fade, size).clip(0, 1))
    return new.round().clip(0, 255).astype(np.uint8), opacity


def trusted(probability: np.ndarray) -> np.ndarray:
    """How far the probability of a part is acted upon, same shape: 0 where it is unsure, 1 where it is sure."""
    return ((probability - UNSURE) / (SURELY - UNSURE)).clip(0, 1)


def _clear(erased: np.ndarray) -> np.ndarray:
    """Where nothing of a mask (S, S) of what is erased is seen: resampled, its colour bleeds a little."""
    return cv2.dilate((erased > 0).astype(np.uint8), _square(len(erased) / 100)) == 0


def _strange(parts: np.ndarray) -> np.ndarray:
    """Probability (s, s) of what is no part of a face: hair, hats, hands, the background."""
    return parts[..., HAIR] + parts[..., OTHER]


def _matted(crop: np.ndarray, mask: np.ndarray, radius: float) -> np.ndarray:
    """A coarse mask (S, S) that follows the edges of a crop (S, S, 3): a guided filter (He et al. 2010)."""
    guide, side = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255, (2 * round(radius) + 1,) * 2
    mean, target = cv2.blur(guide, side), cv2.blur(mask, side)
    slope = (cv2.blur(guide * mask, side) - mean * target) / (cv2.blur(guide * guide, side) - mean**2 + EDGES)
    return cv2.blur(slope, side) * guide + cv2.blur(target - slope * mean, side)


def _filling(
    drawn: np.ndarray, strange: np.ndarray, points: np.ndarray, shown: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What is laid over what is strange in a drawn face, and how much of it: skin, as smooth as from beside.

    Args:
        drawn (`np.ndarray` of shape `(s, s, 3)`, float32):
            The drawn face.
        strange (`np.ndarray` of shape `(s, s)`, float32):
            0 to 1.
        points (`np.ndarray` of shape `(478, >= 2)`):
            Its mesh in the same pixels.
        shown (`np.ndarray` of shape `(s, s)`, uint8):
            Its [`silhouette`].

    Returns:
        `tuple`: colours `(s, s, 3)` and opacity `(s, s, 1)`, float32.
    """
    small = len(drawn)
    inner = inner_face(points, small)
    # Beyond the outline, too: there the new skin runs out into the photo's.
    near = cv2.dilate(shown, _square(4 * FADE * small))
    sure = (near * (strange > UNSURE)).astype(np.uint8)
    strands = cv2.dilate(sure, _square(small / LOOSE)) * near * (strange > STRANDS)
    wide = cv2.dilate(sure | strands.astype(np.uint8), _square(small / 32)) * (1 - inner)
    known = (shown > 0) & (wide == 0) & (inner == 0)
    if known.sum() < 10 or not wide.any():
        return drawn, np.zeros((small, small, 1), np.float32)
    smooth = spread(drawn, known.astype(np.float32), drawn[known].mean(0))
    return smooth, cv2.GaussianBlur(wide.astype(np.float32), (0, 0), small / 80)[..., None]


def _tiles(size: int, level: float) -> np.ndarray:
    """Grain `(size, size, 1)`, float32, of a standard deviation in levels."""
    return np.tile(np.float32(level) * _pattern(), (-(-size // SMALL),) * 2)[:size, :size, None]


@functools.cache
def _pattern() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (SMALL, SMALL)).astype(np.float32)


def _grain(face: np.ndarray, placed: np.ndarray) -> float:
    """Levels by which neighbouring pixels of the cheeks differ from what is smooth, pores left out."""
    reach = max(2, len(face) // 24)
    rest = []
    for x, y in placed[[205, 425], :2].round().astype(int).clip(reach, len(face) - reach):
        patch = face[y - reach : y + reach, x - reach : x + reach, 1].astype(np.float32)
        rest.append(1.48 * float(np.median(np.abs(patch - cv2.GaussianBlur(patch, (0, 0), 1.5)))))
    return min(rest)


def spread(values: np.ndarray, weight: np.ndarray, far: np.ndarray | float = 0.0) -> np.ndarray:
    """Values (S, S, 3) known where the weight (S, S) is 1, smoothly everywhere: from near by where it can be."""
    size = len(weight)
    small = max(min(size, SMALL // 4), size // 2)
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


def sized(mask: np.ndarray, size: int) -> np.ndarray:
    """A mask or picture `(s, s, ...)`, float32, resampled to `(size, size, ...)`."""
    return cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA if len(mask) > size else cv2.INTER_LINEAR)


def seen_skin(points: np.ndarray, parts: np.ndarray, size: int) -> np.ndarray:
    """How far skin is seen safely inside the face and off its features, `(size, size)`, float32, 0 to 1.

    `points` are the mesh in pixels of a crop of this size, `parts` of any size.
    """
    return skin_region(points, size) * trusted(sized(parts[..., SKIN], size))


def _enlarged(values: np.ndarray, size: int) -> np.ndarray:
    return values if len(values) == size else cv2.resize(values, (size, size), interpolation=cv2.INTER_CUBIC)


def _smooth(step: np.ndarray) -> np.ndarray:
    return step * step * (3 - 2 * step)


def _square(width: float) -> np.ndarray:
    return np.ones((max(1, round(width)) | 1,) * 2, np.uint8)
