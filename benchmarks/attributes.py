"""How well sex and age are told off faces, and off what surrounds them, against HSE-FaceRes on the whole face.

python -m benchmarks.attributes CROPS... [--estimator WEIGHTS] [--surroundings WEIGHTS] [--styles STYLES.npz]

The crops are those of `python -m faceanon_hub.training.crops`, of pictures that no training saw.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from faceanon_hub import attributes, surroundings
from faceanon_hub.alignment import transform
from faceanon_hub.blending import regions
from faceanon_hub.surroundings import APPEARANCE
from faceanon_hub.training.crops import Crops, load_crops, warp_crop
from faceanon_hub.training.fitting import to_tensor
from faceanon_hub.training.surroundings import beyond, load_styles

SURE = 1.5  # log odds of the teacher from which on its word on sex counts
CHILD = 14
SIZES = (None, 48, 32, 20)  # longer side of the mesh in pixels; stored are about 80
SEX, AGE = APPEARANCE.index("sex"), APPEARANCE.index("age")


def read_faces(model: attributes.AttributeEstimator, crops: Crops, size: int | None) -> np.ndarray:
    """Log odds and years, `(N, 2)`, of faces that are shrunk to a size."""
    side = model.config.sample_size
    found = []
    for pixels, points in zip(crops.pixels, crops.points, strict=True):
        crop = warp_crop(pixels, attributes.crop_matrix(points, side), side)
        if size is not None:
            small = round(attributes.EXTENTS * size)
            crop = cv2.resize(cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA), (side, side))
        with torch.inference_mode():
            found.append(model.sex_and_age(to_tensor(crop[None]))[0].numpy())
    return np.array(found)


def read_surroundings(model: surroundings.SurroundingsEncoder, crops: Crops) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations, `(N, R)`, behind the hole that the pipeline cuts."""
    side = model.config.sample_size
    pictures, masks = [], []
    for pixels, points, corners in zip(crops.pixels, crops.points, crops.corners, strict=True):
        matrix = surroundings.crop_matrix(points, side)
        pictures.append(warp_crop(pixels, matrix, side))
        masks.append(regions.face_region(transform(points, matrix), side) | beyond(transform(corners, matrix), side))
    return model.encode(np.stack(pictures), np.stack(masks))


def auc(values: np.ndarray, positive: np.ndarray) -> float:
    """Chance that a positive has a greater value than another."""
    one, other = values[positive], values[~positive]
    return float((one[:, None] > other).mean() + (one[:, None] == other).mean() / 2)


def compare(found: np.ndarray, told: np.ndarray) -> str:
    """One line on log odds and years, `(N, 2)` each, against the teacher's."""
    man, sure = told[:, 0] > 0, np.abs(told[:, 0]) > SURE
    same = (found[:, 0] > 0) == man
    kept = np.where(np.abs(found[:, 0]) > attributes.UNSURE, np.sign(found[:, 0]), 0)
    years, wanted = found[:, 1], told[:, 1]
    child = wanted < CHILD
    parts = [
        f"{len(told)} faces, {sure.sum()} sure: same sex {same[sure].mean():.3f}",
        f"women {same[sure & ~man].mean():.3f}, men {same[sure & man].mean():.3f}",
        f"the more frequent alone {max(man[sure].mean(), 1 - man[sure].mean()):.3f}",
        f"AUC {auc(found[sure, 0], man[sure]):.3f}",
        f"coarse: wrong {(kept * np.where(man, 1, -1) < 0)[sure].mean():.3f}, unsure {(kept == 0)[sure].mean():.3f}",
        f"age: error {np.abs(years - wanted).mean():.2f}, r {np.corrcoef(years, wanted)[0, 1]:.3f}",
        f"the median alone {np.abs(np.median(wanted) - wanted).mean():.2f}",
        f"{child.sum()} under {CHILD}: {(years[child] < CHILD).sum()} found, {(years[child] < 18).sum()} under 18",
        f"{(years[~child] < CHILD).sum()} others taken for one",
    ]
    return "; ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("crops", nargs="+")
    parser.add_argument("--estimator")
    parser.add_argument("--surroundings")
    parser.add_argument("--styles")
    parser.add_argument("--first", type=int, default=None, help="faces of each folder")
    given = parser.parse_args()
    torch.set_num_threads(1)
    styles = load_styles(given.styles) if given.styles else {}
    for folder in given.crops:
        crops = load_crops([folder]).take(slice(given.first))
        told = crops.labels[:, [SEX, AGE]]
        if given.estimator:
            estimator = attributes.AttributeEstimator.from_pretrained(given.estimator)
            for size in SIZES:
                print(
                    f"{Path(folder).name}, face {size or 'as it is'}:",
                    compare(read_faces(estimator, crops, size), told),
                )
        if given.surroundings:
            encoder = surroundings.SurroundingsEncoder.from_pretrained(given.surroundings)
            mean, deviation = read_surroundings(encoder, crops)
            print(f"{Path(folder).name}, surroundings:", compare(mean[:, [SEX, AGE]], told))
            wanted = np.full(mean.shape, np.nan)
            wanted[:, : len(APPEARANCE)] = crops.labels
            for row, name in enumerate(crops.names):
                if name in styles:
                    basis, middle = encoder.basis.numpy(), encoder.middle.numpy()
                    wanted[row, len(APPEARANCE) :] = basis @ (styles[name] - middle)
            explained = 1 - np.square(mean - wanted).mean(0) / wanted.var(0)
            within = np.square((mean - wanted) / deviation).mean(0)
            for name, share, ratio in zip(encoder.rows, explained, within, strict=True):
                if not np.isnan(share):
                    print(f"  {name}: R² {share:.2f}, squared error over the variance that was said {ratio:.2f}")


if __name__ == "__main__":
    main()
