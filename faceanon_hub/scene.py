"""A photo on its way through the pipeline, its faces, and what a call asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from . import blending
from .blending import FALLBACKS, Fallback
from .faces import Face, FaceStatus, derived_seed
from .io import Photo

if TYPE_CHECKING:
    import torch

Zone: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom in pixels, inside the photo


def _option(flag: str, help: str, low: float = -math.inf, high: float = math.inf, default: Any = None) -> Any:
    """A field of `Options`: its name on the command line, what it does in a line, and the range of a number."""
    span = {} if math.isinf(low) else {"range": (low, high)}
    return field(default=default, metadata={"flag": flag, "help": help, **span})


@dataclass(frozen=True)
class Options:
    """Everything that a call can ask for, alike for all its photos or frames.

    None stands for what the pipeline is configured with; [`FaceAnonPipeline.resolve`] fills it in, and the fields are
    annotated as they are afterwards. Commands have a flag for each field, see [`cli`].

    Args:
        fallback (`str`, *optional*):
            `"blur"`, `"mosaic"` or `"solid"`: how a face is hidden that cannot be replaced.
        mask_margin (`float`, *optional*):
            0.05 to 0.3: how far the hidden region reaches beyond a face's outline, in heights of the face.
        context_blur (`float`, *optional*):
            0 to 0.3: blur of hair, ears and neck, a standard deviation in heights of the face.
        threshold (`float`, *optional*):
            0 to 1: lowest confidence of the detector.
        batch_size (`int`, *optional*):
            At least 1: faces that go through the network at a time.
        use_hint (`bool`, *optional*, defaults to `True`):
            Whether the network gets a blurred skin colour of the hidden face.
        lighting_strength, color_strength (`float`, *optional*):
            0 to 1: strength of the post-processors.
        identity_shape (`float`, *optional*):
            0 (the landmarks' shape as found) to 1 (that of a new person).
        truncation (`float`, *optional*, defaults to `0.85`):
            0 (an average face) to 1 (full variety).

    Raises:
        ValueError: a value is not finite, out of its range, or of another type.
    """

    fallback: Fallback = _option("fallback", "For faces that cannot be replaced.")
    mask_margin: float = _option("mask_margin", "Hidden rim, in face heights.", 0.05, 0.3)
    context_blur: float = _option("context_blur", "Blur of hair, ears and neck, in face heights; 0 is none.", 0, 0.3)
    threshold: float | None = _option("threshold", "Lowest confidence of the detector.", 0, 1)
    batch_size: int = _option("batch_size", "Faces per run of the network.", 1)
    use_hint: bool = _option("hint", "Give the network the blurred skin colour of the hidden face.", default=True)
    lighting_strength: float = _option("light", "Strength of the light transfer.", 0, 1)
    color_strength: float = _option("color", "Strength of the skin colour transfer.", 0, 1)
    identity_shape: float = _option("identity_shape", "0 the face's own shape, 1 a new one.", 0, 1)
    truncation: float = _option("truncation", "0 average faces, 1 full variety.", 0, 1, 0.85)

    def __post_init__(self) -> None:
        if self.fallback not in (None, *FALLBACKS):
            raise ValueError(f"`fallback` must be one of {', '.join(FALLBACKS)}, not {self.fallback!r}")
        if not isinstance(self.use_hint, bool | np.bool_):
            raise ValueError(f"`use_hint` must be True or False, not {self.use_hint!r}")
        for entry in fields(self):
            value = getattr(self, entry.name)
            if "range" in entry.metadata and not (value is None and entry.default is None):
                _check_number(entry.name, value, *entry.metadata["range"])
        if not isinstance(self.batch_size, int | np.integer | None):
            raise ValueError(f"`batch_size` must be a whole number, not {self.batch_size!r}")


def _check_number(name: str, value: Any, low: float, high: float) -> None:
    span = f"at least {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"`{name}` must be a number {span}, not {value!r}")


@dataclass
class FaceJob:
    """One face on its way through the network. Of the original face it holds coefficients, never pixels.

    S is the side of the crop.
    """

    face: Face
    matrix: np.ndarray  # (2, 3), photo to crop
    points: np.ndarray  # (478, 3), landmarks of the new face in pixels of the crop
    maps: np.ndarray  # (8, S, S) uint8, see `conditioning.draw_maps`
    skin: np.ndarray  # (S, S) float32, 0 or 1
    core: tuple[Zone, np.ndarray]  # what is erased of the photo, and a mask of this part
    hint: torch.Tensor | None = None  # (1, 4, S / 8, S / 8), see `conditioning.hint_coefficients`
    lighting: np.ndarray | None = None  # (9,)
    color: np.ndarray | None = None  # (9,)
    surroundings: np.ndarray = field(default_factory=lambda: np.empty(0))  # (S, S, 3) uint8, of the erased photo
    context: torch.Tensor | None = None  # (1, 256), where it is not from this crop
    generated: np.ndarray | None = None  # (S, S, 3) uint8, after the post-processors

    @property
    def mask(self) -> np.ndarray:
        """The hidden region, of shape `(S, S)`, 0 or 1."""
        return self.maps[0]


@dataclass
class Scene:
    """One photo on its way: `canvas` is a copy in which no face that is to be hidden exists.

    The canvas, of shape `(H, W, 3)`, uint8, shows new faces once they are composed.
    """

    photo: Photo  # the original, its zones hidden
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
    """Faces that a zone cuts, and that are seen only with its pixels.

    Args:
        seen, found (`list[Face]`):
            Faces of the photo without and with its zones hidden.
        zones (`list`):
            The zones, at least one.
    """
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
