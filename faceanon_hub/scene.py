"""A photo on its way through the pipeline, and its faces."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from .blending import compositing as blending
from .blending.grain import Grain
from .blending.seam import Cloth
from .faces import Face, FaceStatus, derived_seed
from .io.photos import Photo
from .options import Fallback

Zone: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom in pixels, inside the photo


@dataclass
class NewFace:
    """A drawn face, laid where the original's is in a crop of side S."""

    picture: np.ndarray  # (S, S, 3) uint8
    points: np.ndarray  # (478, 3), its mesh in pixels of the crop
    parts: np.ndarray  # (s, s, 7), see [`parsing.FaceParser`]
    faults: float = 0.0  # how much of it is not as it should be; 0 for a face that needs no second try
    aim: np.ndarray | None = None  # (478, 3), the mesh that the drawn picture was warped to, where it was
    luminance: tuple[np.ndarray, np.ndarray] | None = None  # of its skin as it was drawn, for videos
    grain: Grain | None = None  # what the photo has and it lacks, if that is known


@dataclass
class FaceJob:
    """One face on its way. Of the original it holds numbers, never pixels. S is the side of the crop.

    Args:
        face ([`Face`]):
            Where it is, and what was done to it.
        matrix (`np.ndarray` of shape `(2, 3)`):
            Photo to crop.
        size (`int`):
            S.
        points (`np.ndarray` of shape `(478, 3)`):
            The original's mesh, in pixels of the crop.
        pose (`np.ndarray` of shape `(3, 3)`):
            The original's rotation in the crop.
    """

    face: Face
    matrix: np.ndarray
    size: int
    points: np.ndarray
    pose: np.ndarray
    hidden: np.ndarray = field(default_factory=lambda: np.empty(0))  # (S, S) float32, 1 where the original is erased
    skin: np.ndarray = field(default_factory=lambda: np.empty(0))  # (s, s) float32, where skin is in what is left
    over: np.ndarray = field(default_factory=lambda: np.empty(0))  # (s, s) float32, hair over eyes and brows
    cloth: Cloth | None = None  # what covers the mouth, in the crop
    core: tuple[Zone, np.ndarray] = field(default_factory=lambda: ((0, 0, 0, 0), np.zeros((0, 0), bool)))  # what is
    # erased of the photo, and a mask of this part
    goal: np.ndarray = field(default_factory=lambda: np.empty(0))  # (R,), what the new face should look like
    identity: np.ndarray | None = None  # (256,), embedding that the new face is pushed away from
    lighting: np.ndarray | None = None  # (9,)
    color: np.ndarray | None = None  # (9,)
    tones: np.ndarray | None = None  # (10,), see [`tones.measure`]
    patches: np.ndarray | None = None  # (5, 3), see [`patches.measure`]
    toning: np.ndarray | None = None  # (9, 2), see [`color.toning`]
    glasses: bool | None = None  # whether the original wears any, if that is known
    surroundings: np.ndarray = field(default_factory=lambda: np.empty(0))  # (S, S, 3) uint8, of the erased photo
    new: NewFace | None = None  # as drawn
    composed: np.ndarray | None = None  # (S, S, 3) uint8, in the original's light and colour

    def seed(self, attempt: int) -> int:
        """The face's own seed, and for other attempts others that follow from it."""
        own = self.face.seed or 0
        return derived_seed(own, attempt) if attempt else own


@dataclass
class Scene:
    """One photo on its way: `canvas` is a copy in which no face that is to be hidden exists.

    The canvas, of shape `(H, W, 3)`, uint8, shows new faces once they are composed.
    """

    photo: Photo  # the original; its zones, and faces that cannot be replaced, are hidden; opaque over all faces
    canvas: np.ndarray
    jobs: list[FaceJob]  # faces to be replaced
    zones: list[Zone] = field(default_factory=list)


def check_zones(hide: Sequence[Any], shape: tuple[int, ...]) -> list[Zone]:
    """Zones in whole pixels, cut off at the borders of a photo of shape `(H, W, ...)`.

    Raises:
        ValueError: a zone is no box, or nothing of it lies in the photo.
    """
    height, width = shape[:2]
    zones = []
    for entry in hide:
        box = np.asarray(entry, float)
        if box.shape != (4,) or not np.isfinite(box).all():
            raise ValueError(f"`hide` takes zones (left, top, right, bottom), not {entry}")
        left, top = (int(v) for v in np.floor(box[:2]).clip(0))
        right, bottom = (int(v) for v in np.minimum(np.ceil(box[2:]), (width, height)))
        if not (box[:2] < box[2:]).all() or left >= right or top >= bottom:
            raise ValueError(f"`hide` names the zone {entry}, of which nothing lies in a photo of {width} x {height}")
        zones.append((left, top, right, bottom))
    return zones


def cover_zones(pixels: np.ndarray, zones: Sequence[Zone], fallback: Fallback) -> np.ndarray:
    """A copy of the photo with its zones hidden; the photo itself where there are none."""
    if zones:
        pixels = pixels.copy()
    for zone in zones:
        blending.cover(pixels, zone, fallback)
    return pixels


def faces_cut(seen: Sequence[Face], found: Sequence[Face], zones: Sequence[Zone]) -> list[Face]:
    """Faces that a zone cuts: they are seen without zones hidden, but not `found` with them."""
    cut = []
    for face in seen:
        shares = [share_inside(face.box, np.asarray(zone, float)) for zone in zones]
        again = any(share_inside(face.box, other.box) > 0.5 for other in found)
        if 0 < max(shares) < 1 and not again:
            face.reason = "cut by a zone that is hidden"
            cut.append(face)
    return cut


def mark_kept(faces: Sequence[Face], keep: Sequence[Any]) -> None:
    """Sets the status of faces that the caller keeps, by number or box.

    Raises:
        ValueError: there is no face of such a number.
    """
    for entry in keep:
        if np.ndim(entry) == 0:
            if not 0 <= entry < len(faces):
                raise ValueError(f"`keep` names face {entry}, but the photo has {len(faces)}")
            chosen = [faces[int(entry)]]
        else:
            chosen = [face for face in faces if share_inside(face.box, np.asarray(entry, float)) > 0.5]
        for face in chosen:
            face.status, face.reason = FaceStatus.KEPT, "asked for by the caller"


def deal_seeds(faces: Sequence[Face], base: int) -> None:
    """Gives every face that has none a seed of its own, by its number in the photo."""
    for number, face in enumerate(faces):
        if face.seed is None:
            face.seed = derived_seed(base, number)


def share_inside(box: np.ndarray, other: np.ndarray) -> float:
    """Shared area over that of the first box."""
    shared = (np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])).clip(0).prod()
    return float(shared / max((box[2:] - box[:2]).prod(), 1e-6))
