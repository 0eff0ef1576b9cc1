"""Drawn faces to the glasses network of [`AttributeEstimator`].

    python -m faceanon_hub.training.glasses CROPS... --checkpoint WEIGHTS --folder NEW --labels LABELS.csv

A network learns from the faces that somebody labelled. Then it says of all others whether they wear glasses, and
another one learns from its sure answers, too. Without labels it starts from drawn faces whose edges are clear, see
[`crops.frame_edge`]. Then it misses three pairs of glasses in four on photos: frames are thinner there. The crops are
those of [`training.crops`]. About 4 minutes of two cores that have bfloat16.
"""

import csv
import functools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..attributes import EYES_SIZE, AttributeEstimator, eyes_crop, eyes_placement, halved
from ..errors import FaceAnonError
from ..surroundings import APPEARANCE
from .crops import Crops, degrade, jitter, load_crops, recolor, warp_crop
from .fitting import arguments, fit, to_tensor

EDGE = APPEARANCE.index("glasses")
CLEAR = -2.4, -1.3  # edges below and above which a face has no glasses, or some
SURE = 2.0  # log odds from which a network is believed
SHARE = 0.2  # of the faces in a batch with glasses
SMALLEST = 22  # pixels of the crop


def labels_of_edges(edges: np.ndarray) -> np.ndarray:
    """1 with glasses, 0 without, NaN where the edges are not clear."""
    return np.where(edges > CLEAR[1], 1.0, np.where(edges < CLEAR[0], 0.0, np.nan))


def labels_of_file(path: str | os.PathLike[str], names: np.ndarray) -> np.ndarray:
    """1 with glasses, 0 without, NaN where the CSV file, a crop's name and 0 or 1 in each row, has no label.

    Raises:
        FaceAnonError: no crop has a label.
    """
    with Path(path).open(newline="") as file:
        labelled = {name: float(label) for name, label in csv.reader(file)}
    labels = np.array([labelled.get(name, np.nan) for name in names])
    if not np.isfinite(labels).any():
        raise FaceAnonError(f"{path} labels none of the crops")
    return labels


@torch.inference_mode()
def labels_of_network(model: AttributeEstimator, crops: Crops) -> np.ndarray:
    """1 with glasses, 0 without, NaN where the network is not sure."""
    eyes = [
        eyes_crop(pixels, *eyes_placement(points)) for pixels, points in zip(crops.pixels, crops.points, strict=True)
    ]
    odds = torch.cat(
        [model.glasses(to_tensor(np.stack(eyes[i : i + 64])))[:, 0] for i in range(0, len(eyes), 64)]
    ).numpy()
    return np.where(np.abs(odds) > SURE, odds > 0, np.nan)


def batches(
    crops: Crops, labels: np.ndarray, count: int, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Endless augmented batches: crops `(B, 3, EYES_SIZE / 2, EYES_SIZE)` in [-1, 1] and labels `(B,)`.

    Labels `(N,)` are 1 with glasses, 0 without; faces of NaN are left out.
    """
    chance = np.zeros(len(labels))
    for label, share in ((1.0, SHARE), (0.0, 1 - SHARE)):
        chance[labels == label] = share / max(1, (labels == label).sum())
    chance /= chance.sum()
    while True:
        chosen = rng.choice(len(labels), count, p=chance)
        pictures = np.stack([_augmented(crops.pixels[i], crops.points[i], rng) for i in chosen])
        yield to_tensor(pictures), torch.from_numpy(labels[chosen]).float()


def _augmented(pixels: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    crop = warp_crop(pixels, jitter(*eyes_placement(points), EYES_SIZE, rng), EYES_SIZE)
    crop = halved(degrade(recolor(rng)(crop), SMALLEST, rng))
    return crop[:, ::-1] if rng.random() < 0.5 else crop


def loss(model: AttributeEstimator, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Cross entropy."""
    eyes, labels = batch
    return F.binary_cross_entropy_with_logits(model.glasses(eyes)[:, 0].float(), labels)


def main() -> None:
    """Trains twice and saves; a run that was broken off goes on."""
    parser = arguments(__doc__, "crops", 900, 32)
    parser.add_argument("--checkpoint", required=True, help="estimator whose other network is kept")
    parser.add_argument("--labels", help="CSV file: name of a crop, 1 with glasses or 0 without")
    given = parser.parse_args()
    crops = load_crops(given.sources)
    known = labels_of_file(given.labels, crops.names) if given.labels else labels_of_edges(crops.labels[:, EDGE])
    labels = known
    for part in ("first", "second"):
        torch.manual_seed(given.seed)
        model = AttributeEstimator()
        model.network.load_state_dict(AttributeEstimator.from_pretrained(given.checkpoint).network.state_dict())
        draw = functools.partial(batches, crops, labels, given.batch_size)
        target = given.folder if part == "second" else Path(given.folder, part)
        fit(model, draw, loss, given.steps, target, given.seed, given.bfloat16)
        seen = labels_of_network(model, crops)
        both = np.isfinite(seen) & np.isfinite(known)
        print(
            f"{part}: sure of {np.isfinite(seen).mean():.1%}, glasses in {np.nanmean(seen):.1%}, "
            f"as labelled in {(seen == known)[both].mean():.1%}",
            flush=True,
        )
        labels = np.where(np.isfinite(known), known, seen) if given.labels else seen


if __name__ == "__main__":
    main()
