"""Drawn faces that label themselves to the weights of [`FaceParser`].

    python -m faceanon_hub.training.parsing FACES --folder WEIGHTS

The faces are those of [`training.parts`]. What real photos have and drawn ones have not is laid over them: fringes,
things in front of the face, shadows, casts, blur, noise and compression. About 33 minutes of two cores.
"""

import functools
from collections.abc import Iterator

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from .. import landmarks as lm
from ..alignment import align, transform
from ..parsing import HAIR, OTHER, PARTS, FaceParser
from .crops import JITTER, degrade, recolor
from .fitting import arguments, fit, to_tensor
from .parts import LabelledFaces, load_faces

SMALLEST = 40  # pixels of the crop, of which the face takes 27
FRINGES, THINGS, HANDS, MASKS, SHADOWS, FLIPS = 0.2, 0.35, 0.08, 0.06, 0.4, 0.5  # shares of crops


def batches(
    faces: LabelledFaces, size: int, count: int, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Endless augmented batches: crops `(B, 3, size, size)` in [-1, 1], parts `(B, 7, size / 2, size / 2)`."""
    while True:
        rows = [example(faces, int(number), size, rng) for number in rng.integers(0, len(faces), count)]
        pictures, shares = (np.stack(column) for column in zip(*rows, strict=True))
        yield to_tensor(pictures), torch.from_numpy(shares).permute(0, 3, 1, 2)


def example(faces: LabelledFaces, number: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An augmented crop `(size, size, 3)`, uint8, and the shares of its parts `(size / 2, size / 2, 7)`, float32."""
    picture, labels, points = faces.pixels[number], faces.labels[number], faces.points[number]
    shares = np.eye(len(PARTS), dtype=np.float32)[
        cv2.resize(labels, picture.shape[:2], interpolation=cv2.INTER_NEAREST)
    ]
    matrix = align(points, size)
    scale, turn, shift = np.exp(2 * JITTER * rng.standard_normal()), 2 * JITTER * rng.standard_normal(), size * JITTER
    middle = cv2.getRotationMatrix2D((size / 2, size / 2), np.degrees(turn), scale)
    middle[:, 2] += shift * rng.standard_normal(2)
    matrix = middle @ np.vstack([matrix, [0, 0, 1]])
    crop, shares = (
        cv2.warpAffine(layer, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for layer in (picture, shares)
    )
    points = transform(points, matrix)
    other = _patch(faces, rng, size)
    if rng.random() < SHADOWS:
        crop = cast_shadow(crop, rng)
    if rng.random() < FRINGES:
        crop, shares = lower_hair(crop, shares, points, rng)
    for chance, shape in ((MASKS, mask_shape), (HANDS, hand_shape), (THINGS, thing_shape)):
        if rng.random() < chance:
            texture = _skin_texture(crop, points, rng) if shape is hand_shape else _texture(other, rng)
            crop, shares = lay_over(crop, shares, shape(points, size, rng), texture)
    crop = degrade(recolor(rng)(crop), SMALLEST, rng)
    shares = cv2.resize(shares, (size // 2, size // 2), interpolation=cv2.INTER_AREA)
    if rng.random() < FLIPS:
        crop, shares = crop[:, ::-1], shares[:, ::-1]
    return crop, shares


def cast_shadow(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Darkens a crop on one side of a line or in a blob, with a hard or a soft edge."""
    size = len(crop)
    if rng.random() < 0.6:
        angle, y_x = rng.uniform(0, 2 * np.pi), np.indices((size, size), np.float32) - size / 2
        side = y_x[0] * np.sin(angle) + y_x[1] * np.cos(angle) + rng.normal(0, 0.15) * size
        dark = (side / (size * rng.uniform(0.02, 0.5)) + 0.5).clip(0, 1)
    else:
        dark = cv2.GaussianBlur(_blob(size, rng), (0, 0), rng.uniform(1, 0.06 * size))
    return (crop * (1 - rng.uniform(0.2, 0.8) * dark[..., None])).clip(0, 255).astype(np.uint8)


def lower_hair(
    crop: np.ndarray, shares: np.ndarray, points: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Lays a copy of the hair over forehead and temples, in strands."""
    size, height = len(crop), float(np.ptp(points[lm.OVAL, 1]))
    turn = cv2.getRotationMatrix2D((size / 2, size / 3), rng.normal(0, 12), np.exp(rng.normal(0, 0.1)))
    turn[:, 2] += rng.normal(0, 0.15) * height, rng.uniform(0.05, 0.4) * height
    hair = cv2.warpAffine(shares[..., HAIR], turn, (size, size))
    moved = cv2.warpAffine(crop, turn, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    strands = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(1, 40))):
        start = points[lm.OVAL].mean(0) + rng.normal(0, 0.3, 2) * height - [0, 0.5 * height]
        steps = rng.normal([0, 0.09 * height], 0.03 * height, (6, 2))
        steps[:, 0] += rng.normal(0, 0.05) * height
        path = np.round((start + np.cumsum(steps, 0)) * 8).astype(np.int32)
        cv2.polylines(strands, [path], False, 1.0, int(rng.integers(1, max(2, size // 16))), cv2.LINE_AA, 3)
    return _over(crop, shares, hair * cv2.GaussianBlur(strands, (0, 0), rng.uniform(0.3, 1.5)), moved, HAIR)


def thing_shape(points: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A blob, an ellipse or a bar anywhere, `(size, size)`, 0 to 1."""
    shape = np.zeros((size, size), np.float32)
    center = points[int(rng.integers(468))] + rng.normal(0, 0.12 * size, 2)
    place = tuple(int(v) for v in center)
    kind = rng.random()
    if kind < 0.35:
        return np.roll(_blob(size, rng), (center - size / 2).astype(int)[::-1], (0, 1))
    if kind < 0.65:
        axes = tuple(int(v) for v in rng.integers(size // 16, size // 3, 2))
        return cv2.ellipse(shape, place, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_AA)
    end = center + rng.normal(0, size, 2)
    width = int(rng.integers(size // 40, size // 5))
    return cv2.line(shape, place, tuple(int(v) for v in end), 1.0, width, cv2.LINE_AA)


def hand_shape(points: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Fingers and a palm that reach in from outside, `(size, size)`, 0 to 1."""
    shape = np.zeros((size, size), np.float32)
    tip, angle = points[lm.OVAL[int(rng.integers(len(lm.OVAL)))]], rng.uniform(0, 2 * np.pi)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    width = size * rng.uniform(0.04, 0.09)
    for finger in range(int(rng.integers(1, 5))):
        start = tip + along * rng.normal(0, 0.05) * size + across * finger * width * 1.1
        end = start + along * size * rng.uniform(0.25, 0.5)
        cv2.line(shape, _pixel(start), _pixel(end), 1.0, max(2, round(width)), cv2.LINE_AA)
    palm = tip + along * 0.55 * size + across * 2 * width
    return cv2.circle(shape, _pixel(palm), round(0.22 * size), 1.0, -1, cv2.LINE_AA)


def mask_shape(points: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A medical mask or a scarf over nose, mouth and chin, `(size, size)`, 0 to 1."""
    around = points[lm.OVAL]
    top = points[[6, 197, 195, 5, 4][int(rng.integers(5))], 1]
    below = around[around[:, 1] > top + rng.normal(0, 0.02) * size]
    shape = np.zeros((size, size), np.float32)
    if len(below) > 2:
        hull = cv2.convexHull(np.round(below * 8).astype(np.int32))
        cv2.fillConvexPoly(shape, hull, 1.0, cv2.LINE_AA, 3)
    return cv2.dilate(shape, np.ones((int(rng.integers(1, size // 20)) | 1,) * 2))


def lay_over(
    crop: np.ndarray, shares: np.ndarray, shape: np.ndarray, texture: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lays a thing over a crop, darker towards its rim, with a shadow beside it."""
    shape = shape.clip(0, 1)
    depth = cv2.distanceTransform((shape > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    shade = 0.65 + 0.35 * (depth / max(1.0, 0.4 * float(depth.max()))).clip(0, 1)
    shadow = 1 - 0.35 * cv2.GaussianBlur(shape, (0, 0), len(crop) / 50)
    return _over((crop * shadow[..., None]).astype(np.uint8), shares, shape, texture * shade[..., None], OTHER)


def _over(
    crop: np.ndarray, shares: np.ndarray, opacity: np.ndarray, texture: np.ndarray, part: int
) -> tuple[np.ndarray, np.ndarray]:
    opacity = opacity[..., None]
    mixed = crop + opacity * (texture.astype(np.float32) - crop)
    whole = np.eye(len(PARTS), dtype=np.float32)[part]
    return mixed.clip(0, 255).astype(np.uint8), shares + opacity * (whole - shares)


def _blob(size: int, rng: np.random.Generator) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 9)[:-1]
    radii = size * rng.uniform(0.05, 0.3) * np.exp(0.35 * rng.standard_normal(8))
    corners = size / 2 + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    shape = cv2.fillPoly(np.zeros((size, size), np.float32), [corners.astype(np.int32)], 1.0, cv2.LINE_AA)
    return cv2.GaussianBlur(shape, (0, 0), rng.uniform(0.5, 4))


def _patch(faces: LabelledFaces, rng: np.random.Generator, size: int) -> np.ndarray:
    """A piece of another picture, enlarged."""
    picture = faces.pixels[int(rng.integers(len(faces)))]
    side = int(rng.integers(len(picture) // 6, len(picture)))
    top, left = rng.integers(0, len(picture) - side + 1, 2)
    return cv2.resize(picture[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_LINEAR)


def _texture(patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """That piece in other colours, or one colour."""
    color = rng.integers(0, 256, 3).astype(np.float32)
    kept = 0.0 if rng.random() < 0.4 else rng.uniform(0.3, 1)
    return color + kept * (patch[:, :, rng.permutation(3)].astype(np.float32) - color)


def _skin_texture(crop: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The colour of a cheek, a little lighter or darker, with some grain."""
    x, y = points[205].round().astype(int).clip(4, len(crop) - 5)
    tone = crop[y - 4 : y + 5, x - 4 : x + 5].reshape(-1, 3).mean(0) * np.exp(0.2 * rng.standard_normal())
    return tone + rng.normal(0, 4, (*crop.shape[:2], 1))


def _pixel(place: np.ndarray) -> tuple[int, int]:
    return int(place[0]), int(place[1])


def loss(model: FaceParser, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Cross entropy."""
    crops, shares = batch
    return F.cross_entropy(model(crops).float(), shares)


def main() -> None:
    """Trains and saves; a run that was broken off goes on."""
    given = arguments(__doc__, "labelled faces", 2600, 8).parse_args()
    faces = load_faces(given.sources)
    torch.manual_seed(given.seed)
    model = FaceParser()
    draw = functools.partial(batches, faces, model.config.sample_size, given.batch_size)
    fit(model, draw, loss, given.steps, given.folder, given.seed, given.bfloat16)


if __name__ == "__main__":
    main()
