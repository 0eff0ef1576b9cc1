"""A drawn person who moves as the original does: one picture, laid anew for each frame, and mouths to open it with."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch

from .. import landmarks as lm
from ..alignment import fit_rotation
from ..lighting import mesh_triangles, skin_luminance, vertex_normals
from ..placing import EYES, FEATURES, FLIP, LIDS, LOWER_LIPS, Opening, flow, follow, opening, place, taken

# Inner lips from corner to corner.
UPPER = [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308]
LOWER = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308]
# Lips between their outer and their inner edge, the upper and the lower one.
BETWEEN_UPPER = [76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306, 62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292]
BETWEEN_LOWER = [77, 90, 180, 85, 16, 315, 404, 320, 307, 96, 89, 179, 86, 15, 316, 403, 319, 325]
MOUTH = sorted({*lm.OUTER_LIPS, *lm.INNER_LIPS, *BETWEEN_UPPER, *BETWEEN_LOWER})
HELD = sorted({*FEATURES, *MOUTH, *lm.OVAL})
IRIS = 0.22  # widths of the eye round the middle of the iris within which an eyeball is moved, not stretched
HALF_SHUT = 0.6  # of an eye's or mouth's opening when drawn, below which its skin is moved by triangles
REACH, SURROUNDED = 1.0, 0.7  # widths of the gap from its middle, to which it is, and to which by them alone
CLOSED = 0.3  # of an eye's opening at rest, at which the mesh of a shut eye still sees it open
WIDEST = 1.3  # times its opening at rest, the widest that an eye is drawn
SQUINT = 0.4  # of its opening at rest, from which on an eyeball darkens towards the lashes
LASHES = (0.15, 0.06)  # of the drawn eye's opening, at the upper and at the lower lid, that is no eyeball
LID = 0.02  # widths of the eye over which an eyeball runs out into the lids
TEETH = 0.4  # of a drawn mouth's opening, at either lip, that moves with the lip and is never stretched
LIP = 0.015  # widths of the mouth over which its inside runs out into the lips
SHUT = 0.02  # opening in widths of the mouth, below which nothing of its inside is seen
# Inside a mouth that is opened wider than it was drawn, in shares of the lips' colour: its depth, and a tongue in it,
# an ellipse whose middle and half axes are shares of the mouth's width and opening.
DEPTH, TONGUE = 0.2, 0.75
TONGUE_AT, TONGUE_AXES = np.array([0.5, 0.8]), np.array([0.36, 0.38])
SMOOTHING = 2e-5  # of the spline: lips and brows that move are where they are placed, to a third of a pixel


class Gap(NamedTuple):
    """What opens and shuts: vertices above and below without the corners, their middles, and the corners."""

    upper: list[int]
    lower: list[int]
    top: int
    bottom: int
    corners: list[int]

    def opening(self, points: np.ndarray) -> Opening:
        """How far it is open, see [`placing.opening`]."""
        return opening(points, self.top, self.bottom, self.corners)


EYE_GAPS = [Gap(upper, lower, top, bottom, corners) for upper, lower, top, bottom, corners, _ in EYES]
GAPS = [*EYE_GAPS, Gap(UPPER[1:-1], LOWER[1:-1], lm.LIP_MIDDLES[0], lm.LIP_MIDDLES[1], [UPPER[0], UPPER[-1]])]


@dataclass(frozen=True, eq=False)
class Picture:
    """A drawn picture of a person.

    Args:
        pixels (`np.ndarray` of shape `(P, P, 3)`, uint8):
            As rendered.
        points (`np.ndarray` of shape `(478, 3)`):
            Mesh in its pixels.
        styles (`torch.Tensor` of shape `(L, 512)`):
            What it was rendered of.
    """

    pixels: np.ndarray
    points: np.ndarray
    styles: torch.Tensor


@dataclass(frozen=True, eq=False)
class Person:
    """What is drawn once of a person, to be moved in every frame.

    Args:
        face ([`Picture`]):
            Of the whole face.
        pose (`np.ndarray` of shape `(3, 3)`):
            Rotation of the head in it.
        parts (`np.ndarray` of shape `(s, s, 7)`, float32):
            Its parts, from [`FaceParser.parse`].
        mouth ([`Picture`], *optional*):
            The same person with the mouth open.
        original (`np.ndarray` of shape `(478, 3)`):
            Mesh of the original that the face was drawn for.
        original_pose (`np.ndarray` of shape `(3, 3)`):
            Rotation of the original head there.
        tones (`np.ndarray` of shape `(10,)`, *optional*):
            Of the original, see [`tones.measure`], to which the pictures were brought.
    """

    face: Picture
    pose: np.ndarray
    parts: np.ndarray
    mouth: Picture | None
    original: np.ndarray
    original_pose: np.ndarray
    tones: np.ndarray | None = None

    @functools.cached_property
    def luminance(self) -> tuple[np.ndarray, np.ndarray]:
        """Vertices on skin and their luminance, see [`lighting.skin_luminance`]."""
        return skin_luminance(self.face.pixels, self.face.points, vertex_normals(self.face.points))

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        return len(self.face.pixels)


def move(person: Person, original: np.ndarray) -> np.ndarray:
    """Lays a person's mesh where the original's `(478, 3)` is, moved as the original has moved since it was drawn.

    Relative motion (Siarohin et al. 2019) of a mesh: what forehead, nose and cheek bones explain is the head's, and
    the rest is expression, added to the person's own face.

    Returns:
        `np.ndarray` of shape `(478, 3)`, float32: in pixels of the crop.
    """
    turn, scale = fit_rotation(original[lm.RIGID], person.original[lm.RIGID])
    still = scale * (original - original[lm.RIGID].mean(0)) @ turn.T + person.original[lm.RIGID].mean(0)
    _, size = fit_rotation(person.original[lm.RIGID], person.face.points[lm.RIGID])
    across = FLIP @ person.pose @ person.original_pose.T @ FLIP
    moved = person.face.points + size * (still - person.original) @ across.T
    # Lips are where the original's are: what they say depends on their shape and place, not on how these changed.
    lips = size * (still - person.original[lm.RIGID].mean(0)) @ across.T + person.face.points[lm.RIGID].mean(0)
    away = np.zeros((len(HELD), 2))
    away[np.isin(HELD, MOUTH)] = (lips - moved)[MOUTH, :2]
    moved[:, :2] += follow(moved, HELD, away)
    pose = FLIP @ turn.T @ FLIP @ person.original_pose
    return place(moved.astype(np.float32), person.pose, _with_own_eyes(person, original), pose)


def trials(person: Person) -> list[np.ndarray]:
    """Meshes `(478, 3)` of the original, by which to see how well a person moves: speaking, pursed, eyes shut."""
    found = []
    for width, gap, shut in ((1.0, 0.35, 0.0), (0.75, 0.12, 0.0), (1.0, 0.0, 1.0)):
        mesh = person.original.copy()
        line = _Line(mesh, *lm.MOUTH_CORNERS)
        at = line.inside(mesh[MOUTH])
        top, bottom = (line.inside(mesh[group]) for group in (UPPER, LOWER))
        wanted = top[:, 1] + gap * np.sin(np.pi * top[:, 0].clip(0, 1))
        at[:, 0] = 0.5 + width * (at[:, 0] - 0.5)
        below = np.isin(MOUTH, [*LOWER_LIPS, *LOWER[1:-1], *BETWEEN_LOWER])
        at[below, 1] += np.interp(at[below, 0], 0.5 + width * (bottom[:, 0] - 0.5), wanted - bottom[:, 1])
        mesh[MOUTH, :2] = line.outside(at)
        for lids in EYE_GAPS:
            eye = lids.opening(mesh)
            mesh[lids.upper, :2] += shut * eye.gap * LIDS * eye.down
        found.append(mesh.astype(np.float32))
    return found


def _with_own_eyes(person: Person, original: np.ndarray) -> np.ndarray:
    """The original's mesh, its eyes as open as the person's own would be."""
    shaped = original.copy()
    for lids in EYE_GAPS:
        rest, own, now = (lids.opening(mesh) for mesh in (person.original, person.face.points, original))
        share = max(0.0, now.gap) / now.width / max(rest.gap / rest.width, 1e-3)
        share = min(share, (max(share, CLOSED) - CLOSED) / (1 - CLOSED)) if share < 1 else min(share, WIDEST)
        more = share * own.gap / own.width * now.width - now.gap
        shaped[lids.top, :2] -= more / 2 * now.down
        shaped[lids.bottom, :2] += more / 2 * now.down
    return shaped


def show(person: Person, placed: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The person's face as placed by [`move`]: skin, then eyeballs behind the lids, then the inside of the mouth.

    Returns:
        `tuple`: picture `(size, size, 3)`, uint8; the mesh as placed; parts of the picture `(s, s, 7)`, float32.
    """
    where = flow(person.face.points, placed, size, irises=False, smoothing=SMOOTHING)
    for number, gap in enumerate(GAPS):
        _close(where, person.face.points, placed, gap, number)
    picture = taken(person.face.pixels, where)
    side = len(person.parts)
    coarse = cv2.resize(where, (side, side), interpolation=cv2.INTER_AREA) * (side / len(person.face.pixels))
    parts = cv2.remap(person.parts, coarse - 0.5, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    for eye, (*_, iris) in zip(EYE_GAPS, EYES, strict=True):
        _lay_eye(picture, person.face, placed, eye, iris[0])
    if person.mouth is not None:
        _lay_mouth(picture, person.mouth, placed)
    return picture, placed, parts


def _close(where: np.ndarray, points: np.ndarray, placed: np.ndarray, gap: Gap, number: int) -> None:
    """Moves the skin round what shuts by the triangles of the mesh: lids or lips that meet are no spline. In place."""
    rest, now = (gap.opening(mesh) for mesh in (points, placed))
    shut = 1 - now.gap / now.width / max(HALF_SHUT * rest.gap / rest.width, 1e-3)
    if shut <= 0:
        return
    outline = placed[[*gap.lower, *gap.upper, *gap.corners], :2]
    middle, reach = outline.mean(0), REACH * now.width
    low = np.floor(middle - reach).astype(int).clip(0, len(where))
    high = np.ceil(middle + reach).astype(int).clip(0, len(where))
    if (high - low).min() < 2:
        return
    near = _round(number)
    ids = np.full((high - low)[::-1], -1, np.int32)
    corners_at = np.round((placed[near, :2] - low - 0.5) * 16).astype(np.int32)
    for index, triangle in enumerate(corners_at):
        cv2.fillConvexPoly(ids, triangle, index, cv2.LINE_8, 4)
    y, x = np.mgrid[low[1] : high[1], low[0] : high[0]] + 0.5
    ends = np.dstack([placed[near, :2], np.ones(near.shape)]).astype(float)
    flat = np.abs(np.linalg.det(ends)) < 1e-3
    ends[flat] = np.eye(3)
    taken_from = np.linalg.solve(ends, points[near, :2].astype(float))  # (N, 3, 2): affine maps
    found = np.einsum("hwi,hwij->hwj", np.dstack([x, y, np.ones_like(x)]), taken_from[ids])
    away = np.hypot(x - middle[0], y - middle[1]) / now.width
    weight = min(1.0, 2 * shut) * ((REACH - away) / (REACH - SURROUNDED)).clip(0, 1) * (ids >= 0)
    part = where[low[1] : high[1], low[0] : high[0]]
    # Triangles that are seen edge-on would take their pixels from anywhere.
    most = rest.width / 2
    part += (weight[..., None] * (found - part).clip(-most, most)).astype(np.float32)


@functools.cache
def _round(number: int) -> np.ndarray:
    """Triangles `(N, 3)` within four edges of an eye or the mouth, those of the upper lid or lip last."""
    gap = GAPS[number]
    triangles, reached = mesh_triangles(), {*gap.upper, *gap.lower, *gap.corners}
    for _ in range(4):
        near = triangles[np.isin(triangles, list(reached)).any(1)]
        reached = {*near.ravel().tolist()}
    return near[np.argsort(np.isin(near, gap.upper).any(1), kind="stable")]


def _lay_eye(picture: np.ndarray, face: Picture, placed: np.ndarray, eye: Gap, middle: int) -> None:
    lids = [[eye.corners[0], *group, eye.corners[1]] for group in (eye.upper, eye.lower)]
    slot = _Slot(placed, lids[0], lids[1], LID, picture.shape)
    if slot.opacity is None:
        return
    if eye.opening(placed).gap < 1:
        slot.fill(picture, cv2.GaussianBlur(picture[slot.area], (0, 0), 1).astype(np.float32))  # lashes, not steps
        return
    new, old = (_Line(points, eye.corners[0], eye.corners[1]) for points in (placed, face.points))
    x, y = new.inside(placed[middle])
    drawn_x, drawn_y = old.inside(face.points[middle])
    # The iris is moved as it is; the white on both sides gives way.
    ends, drawn_ends = ([0, max(1e-3, at - IRIS), min(0.999, at + IRIS), 1] for at in (x, drawn_x))
    along = np.interp(slot.at[..., 0], ends, drawn_ends)
    high, low = _bounds(face.points, lids[0], lids[1], old, along)
    gap = low - high
    across = np.clip(slot.at[..., 1] + drawn_y - y, high + LASHES[0] * gap, low - LASHES[1] * gap)
    ball = _at(face.pixels, old.outside(np.dstack([along, across])))
    rest, now = (eye.opening(points) for points in (face.points, placed))
    shut = 1 - now.gap / now.width / max(SQUINT * rest.gap / rest.width, 1e-3)
    if shut > 0:
        lashes = _at(face.pixels, old.outside(np.dstack([along, high])))
        ball += min(shut, 1.0) * (lashes - ball)
    slot.fill(picture, ball)


def _lay_mouth(picture: np.ndarray, mouth: Picture, placed: np.ndarray) -> None:
    line, own = (_Line(points, UPPER[0], UPPER[-1]) for points in (placed, mouth.points))
    gap, drawn_gap = (
        float(at.inside(points[lm.LIP_MIDDLES])[1, 1] - at.inside(points[lm.LIP_MIDDLES])[0, 1])
        for at, points in ((line, placed), (own, mouth.points))
    )
    slot = _Slot(placed, UPPER, LOWER, LIP, picture.shape)
    if slot.opacity is None:
        return
    if gap < SHUT:
        slot.fill(picture, cv2.GaussianBlur(picture[slot.area], (0, 0), 1).astype(np.float32))
        return
    along = slot.at[..., 0]
    top, bottom = _bounds(placed, UPPER, LOWER, line, along)
    high, low = _bounds(mouth.points, UPPER, LOWER, own, along)
    ratio = max(1.0, gap / max(drawn_gap, 1e-3))
    # What is next to the lips, teeth above all, is not stretched: in a wider mouth, the dark between is wider.
    share = ((slot.at[..., 1] - top) / (bottom - top).clip(1e-3)).clip(0, 1) * min(gap / max(drawn_gap, 1e-3), ratio)
    seen = np.interp(share, [0, TEETH, ratio - TEETH, ratio], [0, TEETH, 1 - TEETH, 1])
    new = _at(mouth.pixels, own.outside(np.dstack([along, high + seen * (low - high)])))
    if ratio > 1:
        depth = np.minimum(share - TEETH, ratio - TEETH - share) / (1 - 2 * TEETH)
        lips = _at(mouth.pixels, mouth.points[None, BETWEEN_LOWER, :2]).mean((0, 1))
        away = np.linalg.norm((np.dstack([along, share / ratio]) - TONGUE_AT) / TONGUE_AXES, axis=2)
        tongue = (2 - 2 * away).clip(0, 1)[..., None]
        inside = (DEPTH + (TONGUE - DEPTH) * tongue * tongue * (3 - 2 * tongue)) * lips
        new += depth.clip(0, 1)[..., None] * (inside - new)
    slot.fill(picture, new)


class _Line:
    """Coordinates along and across a line from one point of a mesh to another, in its lengths."""

    def __init__(self, points: np.ndarray, start: int, end: int) -> None:
        self.start = points[start, :2].astype(float)
        self.axis = points[end, :2] - self.start
        self.length = float(self.axis @ self.axis)
        self.down = np.array([-self.axis[1], self.axis[0]])

    def inside(self, points: np.ndarray) -> np.ndarray:
        away = points[..., :2] - self.start
        return np.stack([away @ self.axis, away @ self.down], -1) / max(self.length, 1e-6)

    def outside(self, at: np.ndarray) -> np.ndarray:
        return self.start + at[..., :1] * self.axis + at[..., 1:] * self.down


class _Slot:
    """What is seen between two lids or lips: its pixels, their coordinates along the line of its corners, its edge."""

    def __init__(
        self, placed: np.ndarray, upper: list[int], lower: list[int], soft: float, shape: tuple[int, ...]
    ) -> None:
        line = _Line(placed, upper[0], upper[-1])
        outline = placed[[*upper, *lower[-2:0:-1]], :2]
        soft *= np.sqrt(line.length)
        low = np.floor(outline.min(0) - 3 * soft - 1).astype(int).clip(0, shape[1::-1])
        high = np.ceil(outline.max(0) + 3 * soft + 2).astype(int).clip(0, shape[1::-1])
        self.area = slice(low[1], high[1]), slice(low[0], high[0])
        self.opacity = None
        if (high - low).min() < 2:
            return
        mask = np.zeros((high - low)[::-1], np.uint8)
        cv2.fillPoly(mask, np.round((outline - low - 0.5) * 16).astype(np.int32)[None], 255, cv2.LINE_AA, 4)
        cv2.polylines(mask, [np.round((outline - low - 0.5) * 16).astype(np.int32)], True, 255, 1, cv2.LINE_AA, 4)
        self.opacity = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), max(0.5, soft))[..., None]
        self.inside = self.opacity[..., 0] >= self.opacity.max() / 2
        y, x = np.mgrid[low[1] : high[1], low[0] : high[0]] + 0.5
        self.at = line.inside(np.dstack([x, y]))

    def fill(self, picture: np.ndarray, new: np.ndarray) -> None:
        """Lays new pixels, float32, into the slot."""
        part = picture[self.area]
        part[:] = np.round(part + self.opacity * (new - part))


def _at(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
    """A picture at places counted from its edge, float32."""
    where = (where - 0.5).astype(np.float32)
    return cv2.remap(picture, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)


def _bounds(
    points: np.ndarray, upper: list[int], lower: list[int], line: _Line, along: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The upper and the lower edge of a slot at places along its line."""
    found = []
    for group in (upper, lower):
        edge = line.inside(points[group])
        found.append(np.interp(along, np.maximum.accumulate(edge[:, 0]), edge[:, 1]))
    return found[0], found[1]
