"""A new face held fast to the mesh of its track, so that it does not change from frame to frame."""

from __future__ import annotations

import cv2
import numpy as np

from . import conditioning
from . import landmarks as lm
from .alignment import similarity, transform, warp_in
from .lighting import vertex_normals

STRENGTH = 0.9  # of the remembered face over the one just painted, on skin that was seen well
MEMORY = 60.0  # frames' worth of looks after which new ones replace old ones
SPREAD = 1 / 48  # blur that makes a field of the movements of single points, in sides of the crop
# A head's own axes: from left to right, and from top to bottom, in places no expression moves far.
ACROSS, DOWN = (234, 454), (10, 152)
MARGIN = 0.12  # round the remembered face, in sides of its picture
# How far round an eye the remembered face stays away, in sides of the crop: it has open lids where these are shut.
LIDS = 0.04
EDGE = 0.03  # over which the remembered face fades out to its outline, in sides of the crop
# Corners of an eye, and the points that tell what it does: lids and iris.
EYES = (lm.LEFT_CORNERS, [*lm.LEFT_EYE, *lm.LEFT_IRIS]), (lm.RIGHT_CORNERS, [*lm.RIGHT_EYE, *lm.RIGHT_IRIS])
EYE_SIDE = 0.3  # of the square round an eye, in sides of the crop
ALIKE = 0.0015  # mean distance, in sides of the crop, up to which lids and iris of two frames do the same
LOOKS = 48  # that are remembered of an eye


class Texture:
    """The mean of what the network painted on a track, as seen from the front.

    The network paints every frame anew, and what it paints changes with pose and expression in more than those.
    Here each crop is laid onto a frontal mesh and averaged with those before it, and the average is laid back onto
    the mesh of the frame. An eye is averaged with those before it whose lids and iris stood alike, so that a blink
    stays one. Lips and mouth, and what is turned away or outside the outline, stay as painted.

    Args:
        points (`np.ndarray` of shape `(478, 3)`):
            Mesh of the first frame, of which the frontal one is made.
        size (`int`):
            Side of the crops in pixels.
    """

    def __init__(self, points: np.ndarray, size: int) -> None:
        self.size = size
        self.mesh = _frontal(points, size)
        self.picture = np.zeros((size, size, 3), np.float32)
        self.weight = np.zeros((size, size), np.float32)
        self.eyes = [_Eye(*places, size) for places in EYES]

    def hold(self, crop: np.ndarray, points: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Lays the remembered face over a painted one, and remembers that, too.

        Args:
            crop (`np.ndarray` of shape `(S, S, 3)`, uint8):
                What the network painted.
            points (`np.ndarray` of shape `(478, 3)`):
                Mesh in pixels of the crop.
            maps (`np.ndarray` of shape `(8, S, S)`, uint8):
                From [`conditioning.draw_maps`].

        Returns:
            `np.ndarray` of shape `(S, S, 3)`, uint8.
        """
        mesh = points[:468]
        facing = (vertex_normals(points)[:, 2] * 2 - 0.4).clip(0, 1)
        to_crop = _field(self.mesh, mesh, self.size)
        looks = cv2.remap(crop.astype(np.float32), *to_crop, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        seen = _raster(facing, self.mesh, self.size)
        self.picture += (looks - self.picture) * (seen / (self.weight + seen + 1e-6))[..., None]
        self.weight = np.minimum(self.weight + seen, MEMORY)

        to_memory = _field(mesh, self.mesh, self.size)
        known = cv2.remap(self.picture, *to_memory, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        trust = cv2.remap(self.weight, *to_memory, cv2.INTER_LINEAR).clip(0, 1) * _raster(facing, mesh, self.size)
        opacity = (STRENGTH * trust * _skin(points, maps, self.size))[..., None]
        held = crop.astype(np.float32)
        for eye in self.eyes:
            look, spot = eye.hold(crop, points)
            held += STRENGTH * spot[..., None] * (look - held)
        held += opacity * (known - held)
        return np.round(held).clip(0, 255).astype(np.uint8)


class _Eye:
    """How the network painted an eye on a track, by what lids and iris did.

    The look of a frame is the mean of those it remembers, weighed by how much alike their points stood: a kernel
    regression (Nadaraya 1964, Watson 1964).
    """

    def __init__(self, corners: list[int], places: list[int], size: int) -> None:
        self.corners, self.places, self.size = corners, places, size
        self.side = side = round(EYE_SIDE * size)
        self.shapes = np.empty((0, len(places), 2), np.float32)
        self.looks = np.empty((0, side, side, 3), np.float32)
        self.counts = np.empty(0, np.float32)
        spot = np.zeros((side, side), np.float32)
        cv2.ellipse(spot, (side // 2, side // 2), (round(0.4 * side), round(0.28 * side)), 0, 0, 360, 1, -1)
        self.spot = cv2.GaussianBlur(spot, (0, 0), 0.06 * side)

    def hold(self, crop: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The eye where it is in the crop, (S, S, 3), and how much of it is to be seen, (S, S), both float32."""
        left, right = points[self.corners, :2]
        roll = float(np.arctan2(*(right - left)[::-1]))
        matrix = similarity((left + right) / 2, self.side, roll, self.side)
        look = warp_in(crop, matrix, self.side).astype(np.float32)
        unlike = self._remember(look, transform(points[self.places, :2], matrix))
        weight = np.exp(-(unlike**2) / 2)
        # Not by BLAS, which can hang where several threads call it.
        known = np.einsum("n,nhwc->hwc", (weight / weight.sum()).astype(np.float32), self.looks)
        area, back = (self.size, self.size), cv2.WARP_INVERSE_MAP
        return (
            cv2.warpAffine(known, matrix, area, flags=cv2.INTER_CUBIC | back, borderMode=cv2.BORDER_REPLICATE),
            cv2.warpAffine(self.spot, matrix, area, flags=cv2.INTER_LINEAR | back),
        )

    def _remember(self, look: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """Adds a look to the nearest one or, where none is near, as one more; how unlike all are to it then."""

        def unlike() -> np.ndarray:
            return np.linalg.norm(self.shapes - shape, axis=2).mean(1) / (ALIKE * self.size)

        distances = unlike()
        if not len(distances) or distances.min() > 1:
            kept = slice(int(len(distances) == LOOKS), None)  # the oldest goes
            self.shapes = np.concatenate([self.shapes[kept], shape[None]], dtype=np.float32)
            self.looks = np.concatenate([self.looks[kept], look[None]])
            self.counts = np.append(self.counts[kept], np.float32(1))
        else:
            near = int(distances.argmin())
            self.counts[near] = min(self.counts[near] + 1, MEMORY)
            for known, new in ((self.looks, look), (self.shapes, shape)):
                known[near] += (new - known[near]) / self.counts[near]
        return unlike()


def _frontal(points: np.ndarray, size: int) -> np.ndarray:
    """The mesh turned to the front and fitted into a square, of shape (468, 2)."""
    mesh = points[:468].astype(np.float64)
    across, down = (mesh[b] - mesh[a] for a, b in (ACROSS, DOWN))
    x = across / np.linalg.norm(across)
    y = down - (down @ x) * x
    turned = (mesh - mesh.mean(0)) @ np.stack([x, y / np.linalg.norm(y)], 1)
    low, high = turned.min(0), turned.max(0)
    scale = size * (1 - 2 * MARGIN) / (high - low).max()
    return ((turned - (low + high) / 2) * scale + size / 2).astype(np.float32)


def _field(at: np.ndarray, to: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of a picture, where in another one it is: an affine map, and what it leaves, spread smoothly."""
    at, to = at[:, :2].astype(np.float64), to[:, :2].astype(np.float64)
    whole = np.concatenate([at, np.ones((len(at), 1))], 1)
    affine = np.linalg.lstsq(whole, to, rcond=None)[0]
    rest = to - whole @ affine
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    weight = _sums(np.ones(len(at)), at, size) + 1e-4
    field = [
        (x * affine[0, i] + y * affine[1, i] + affine[2, i] + _sums(rest[:, i], at, size) / weight).astype(np.float32)
        for i in (0, 1)
    ]
    return field[0], field[1]


def _raster(values: np.ndarray, at: np.ndarray, size: int) -> np.ndarray:
    """Values of the mesh's points as a picture, 0 away from them."""
    return _sums(values, at, size) / (_sums(np.ones(len(at)), at, size) + 1e-4)


def _sums(values: np.ndarray, at: np.ndarray, size: int) -> np.ndarray:
    column, row = np.round(at[:, :2].T).astype(int).clip(0, size - 1)
    picture = np.bincount(row * size + column, values, size * size).reshape(size, size).astype(np.float32)
    return cv2.GaussianBlur(picture, (0, 0), SPREAD * size)


def _skin(points: np.ndarray, maps: np.ndarray, size: int) -> np.ndarray:
    """Where skin moves with the mesh: 0 on eyes, lips and mouth and at the outline, 1 away from them."""
    outline = np.zeros((size, size), np.uint8)
    cv2.fillPoly(outline, np.round(points[None, lm.OVAL, :2]).astype(np.int32), 1)
    inside = (cv2.distanceTransform(outline, cv2.DIST_L2, 3) / (EDGE * size)).clip(0, 1)
    eyes, lips, mouth = (maps[conditioning.MAPS.index(name)] for name in ("eyes", "lips", "mouth"))
    width = 2 * round(LIDS * size) + 1
    eyes = cv2.dilate(eyes, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
    moving = eyes | cv2.dilate(lips | mouth, np.ones((5, 5), np.uint8))
    return inside * (1 - cv2.GaussianBlur(moving.astype(np.float32), (0, 0), SPREAD * size / 2))
