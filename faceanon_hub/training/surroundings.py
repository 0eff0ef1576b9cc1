"""Labelled crops to the weights of [`SurroundingsEncoder`]: the face is cut out, its look is the target.

    python -m faceanon_hub.training.surroundings CROPS... --styles STYLES.npz --folder WEIGHTS

The crops are those of [`training.crops`]. About 7 minutes of one core that has bfloat16.
"""

import os
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch

from .. import landmarks as lm
from ..alignment import placement, transform
from ..look import SKIN
from ..surroundings import APPEARANCE, EXTENTS, SurroundingsEncoder
from .crops import Crops, degrade, jitter, load_crops, recolor, warp_crop
from .fitting import arguments, fit, to_tensor

SMALLEST = 36  # pixels of the crop, of which the face takes 18
MARGINS = (-0.02, 0.22)  # how far the hole reaches beyond the mesh, in heights of the face
BOXES = 0.15  # share of holes that are boxes
HAIR = 0.3  # share of holes that leave hair on the forehead
UNLIKE_SKIN = 40.0  # CIELAB distance from which on what lies on the forehead is hair
BROWS = [*lm.LEFT_BROW, *lm.RIGHT_BROW]
FLIPS = 0.3  # share of crops; the style of a mirrored face is not known
MOST_ODDS = 5.0  # log odds of a man: beyond, surer is not more so
WEIGHTS = {"sex": 4.0, "age": 3.0, "style": 0.3}  # of rows in the loss; of the others 1
COLORS = [APPEARANCE.index(name) for name in SKIN]
LIGHT_X, SEX = APPEARANCE.index("lightX"), APPEARANCE.index("sex")


def targets(crops: Crops, styles: dict[str, np.ndarray], model: SurroundingsEncoder) -> np.ndarray:
    """The targets `(N, R)`, float32, of each crop, NaN where nothing is known; sets the model's units and the
    coordinates of the style: principal components of the drawn ones' styles `(512,)`, by name.
    """
    known = np.array([name in styles for name in crops.names])
    labels = np.full((len(crops), len(model.rows)), np.nan, np.float32)
    labels[:, : len(APPEARANCE)] = crops.labels
    labels[:, SEX] = labels[:, SEX].clip(-MOST_ODDS, MOST_ODDS)
    if known.any():
        drawn = np.stack([styles[name] for name in crops.names[known]])
        model.middle.copy_(torch.from_numpy(drawn.mean(0)))
        axes = np.linalg.eigh(np.cov(drawn.T))[1][:, ::-1].T[: len(model.basis)]
        model.basis.copy_(torch.from_numpy(axes.copy()))
        labels[known, len(APPEARANCE) :] = (drawn - drawn.mean(0)) @ axes.T
    rows = slice(len(APPEARANCE) if not known.any() else len(model.rows))
    model.center[rows] = torch.from_numpy(np.nanmean(labels[:, rows], 0))
    model.scale[rows] = torch.from_numpy(np.nanstd(labels[:, rows], 0))
    return labels


def batches(
    crops: Crops, labels: np.ndarray, size: int, count: int, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Endless augmented batches: crops `(B, 3, size, size)` in [-1, 1], masks `(B, 1, size, size)` and targets `(B,
    R)`, from those of [`targets`].
    """
    while True:
        chosen = rng.integers(0, len(crops), count)
        rows = [_example(crops, labels, i, size, rng) for i in chosen]
        pictures, masks, wanted = (np.stack(column) for column in zip(*rows, strict=True))
        yield to_tensor(pictures), torch.from_numpy(masks)[:, None].float(), torch.from_numpy(wanted)


def _example(
    crops: Crops, labels: np.ndarray, number: int, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    center, extent, roll = placement(crops.points[number])
    matrix = jitter(center, EXTENTS * extent, roll, size, rng)
    crop = warp_crop(crops.pixels[number], matrix, size)
    points, corners = (transform(places, matrix) for places in (crops.points[number], crops.corners[number]))
    wanted = labels[number].copy()
    mask = hole(crop, points, wanted[COLORS], rng)
    mask |= beyond(corners, size)
    change = recolor(rng)
    crop, wanted[COLORS] = change(crop), _recolored(wanted[COLORS], change)
    crop = degrade(crop, SMALLEST, rng)
    if rng.random() < FLIPS:
        crop, mask = crop[:, ::-1], mask[:, ::-1]
        wanted[LIGHT_X] *= -1
        wanted[len(APPEARANCE) :] = np.nan
    return crop, mask, wanted


def hole(crop: np.ndarray, points: np.ndarray, skin: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws what is hidden: the mesh and some margin, or its box, at times without the hair on the forehead.

    The crop is `(S, S, 3)`, uint8, the mesh `(478, 2)` in its pixels, and the skin `(3,)` in CIELAB.

    Returns:
        `np.ndarray` of shape `(S, S)`, uint8, 0 or 1.
    """
    size, height = len(crop), np.ptp(points[lm.OVAL, 1])
    mask = np.zeros((size, size), np.uint8)
    if rng.random() < BOXES:
        reach = rng.uniform(0, MARGINS[1]) * height
        (left, top), (right, bottom) = points.min(0) - reach, points.max(0) + reach
        return cv2.rectangle(mask, (round(left), round(top)), (round(right), round(bottom)), 1, -1)
    cv2.fillConvexPoly(mask, cv2.convexHull(points.round().astype(np.int32)), 1)
    margin = round(rng.uniform(*MARGINS) * height)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(margin) + 1,) * 2)
    mask = cv2.dilate(mask, disc) if margin > 0 else cv2.erode(mask, disc)
    if rng.random() < HAIR:
        lab = cv2.cvtColor(crop.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        hair = np.linalg.norm(lab - skin, axis=2) > UNLIKE_SKIN
        hair[max(0, int(points[BROWS, 1].min() - 0.03 * height)) :] = False
        mask[hair] = 0
    return mask


def beyond(corners: np.ndarray, size: int) -> np.ndarray:
    """What of a crop lies beyond the photo, whose corners `(4, 2)` are given: `(size, size)`, uint8, 0 or 1."""
    outside = np.ones((size, size), np.uint8)
    return cv2.fillConvexPoly(outside, corners.round().astype(np.int32), 0)


def _recolored(skin: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """CIELAB of skin in a photo whose colours are changed."""
    rgb = cv2.cvtColor(skin[None, None].astype(np.float32), cv2.COLOR_LAB2RGB)
    changed = change((rgb.clip(0, 1) * 255).round().astype(np.uint8))
    return cv2.cvtColor(changed.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0, 0]


def loss(model: SurroundingsEncoder, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Squared error of the means, and likelihood of the deviations with the means as they are."""
    crops, masks, wanted = batch
    mean, spread = (part.float() for part in model(crops, masks))
    known = ~wanted.isnan()
    error = torch.where(known, (wanted - model.center) / model.scale - mean, 0).square()
    spread = spread.clamp(-4, 3)
    parts = error / 2 + spread + error.detach() / 2 * (-2 * spread).exp()
    weight = torch.tensor([WEIGHTS.get(name.rstrip("0123456789"), 1.0) for name in model.rows]) * known
    return (weight * parts).sum() / weight.sum()


def load_styles(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Styles by name: a file of `names` `(N,)` and `styles` `(N, 512)`."""
    with np.load(path) as kept:
        return dict(zip(kept["names"].tolist(), kept["styles"], strict=True))


def main() -> None:
    """Trains and saves; a run that was broken off goes on."""
    parser = arguments(__doc__, "crops", 1500, 32)
    parser.add_argument("--styles", required=True, help="npz of the drawn ones' `names` and `styles`")
    given = parser.parse_args()
    crops = load_crops(given.sources)
    torch.manual_seed(given.seed)
    model = SurroundingsEncoder()
    labels, size = targets(crops, load_styles(given.styles), model), model.config.sample_size
    fit(
        model,
        lambda rng: batches(crops, labels, size, given.batch_size, rng),
        loss,
        given.steps,
        given.folder,
        given.seed,
        given.bfloat16,
    )


if __name__ == "__main__":
    main()
