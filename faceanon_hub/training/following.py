"""Photos that a sampler's draws follow in ages, tones and light: what is kept of them is 35 numbers for all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..alignment import align, transform, warp_in
from ..errors import FaceAnonError, UnreadableImageError
from ..io.photos import PHOTO_SUFFIXES, read_photo
from ..look import ROWS, SEEN, SIZE, appearance
from ..sampling import FOLLOWED, StyleSampler

if TYPE_CHECKING:
    from ..pipeline import FaceAnonPipeline

FEWEST = 30  # faces: of fewer, the numbers would describe single people
SMALLEST = 40  # pixels of a face's box
STEADY = 300  # faces that the population must count for, or photos are followed less strictly
LEAST_SPREAD = 0.1  # of a row's variance in the photos that is taken to be people's, not the estimator's error


def look_at_photos(
    folder: str | os.PathLike[str],
    pipe: FaceAnonPipeline,
    on_photo: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """Looks at the faces of photos, in any depth of a folder, in memory alone; those that cannot be read are passed
    over.

    Returns:
        `np.ndarray` of shape `(N, 7)`: rows `FOLLOWED` of each face.

    Raises:
        UnreadableImageError: the folder is missing or holds no photo.
        FaceAnonError: there are fewer than `FEWEST` faces.
    """
    photos = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    if not photos:
        raise UnreadableImageError(str(folder), "a folder with photos is needed, and holds none")
    if pipe.attribute_estimator is None:
        raise FaceAnonError("the checkpoint lacks the attribute estimator, which estimates ages")
    found = []
    for number, path in enumerate(photos, 1):
        try:
            pixels = read_photo(path).pixels
        except UnreadableImageError:
            continue
        faces = [face for face in pipe.detector(pixels) if face.size >= SMALLEST]
        for face in pipe.landmark_extractor(pixels, faces):
            if face.landmarks is not None:
                matrix = align(face.landmarks, SIZE)
                crop, points = warp_in(pixels, matrix, SIZE), transform(face.landmarks, matrix)
                predicted = [*appearance(crop, points), *pipe.attribute_estimator.read(crop, points)]
                seen = dict(zip(ROWS[SEEN.stop :], predicted, strict=True))
                found.append([seen[name] for name in FOLLOWED])
        on_photo(number, len(photos))
    if len(found) < FEWEST:
        raise FaceAnonError(f"{folder}: shows {len(found)} faces, and at least {FEWEST} are needed")
    return np.array(found)


def follow(sampler: StyleSampler, population: np.ndarray, looks: np.ndarray) -> tuple[StyleSampler, float]:
    """Makes a sampler's draws follow the looks `(N, 7)` of photos; it stays as it is.

    Both distributions are taken for normal ones; their ratio weighs the faces of the prior, styles `(M, style_size)`
    (importance weights). Mean and covariance of styles are those of the weighted population, as far as they go with
    the rows that are followed.

    Returns:
        `tuple`: another sampler; and how many evenly weighted faces the weighted population counts for, as a share of
        it (Kish's effective sample size): the less, the more seldom the prior draws such people.
    """
    at = [list(sampler.config.rows).index(name) for name in FOLLOWED]
    known = {name: buffer.double().numpy() for name, buffer in sampler.named_buffers()}
    wanted = (looks - known["middle"][at]) / known["spread"][at]
    x = (population - known["mean"]) @ known["inner"] + known["bias"]
    predicted = (
        (population - known["mean"]) @ known["linear"] + (x / (1 + np.exp(-x))) @ known["outer"] + known["offset"]
    )
    line, square = _ratio(predicted[:, at], wanted, known["missed"][at])
    odds = predicted[:, at] @ line + ((predicted[:, at] @ square) * predicted[:, at]).sum(1)
    strength = _strength(odds)
    weights = np.exp(strength * (odds - odds.max()))
    weights /= weights.sum()
    effective = 1 / (weights**2).sum()
    # Weights depend on the predicted rows alone: along what goes with these, mean and spread of styles change.
    apart, shown = population - population.mean(0), predicted[:, at] - predicted[:, at].mean(0)
    spread = np.cov(shown.T)
    gain = apart.T @ shown / (len(shown) - 1) @ np.linalg.inv(spread)
    moved = weights @ shown
    followed_spread = (weights[:, None] * (shown - moved)).T @ (shown - moved)
    covariance = np.cov(apart.T) + gain @ (followed_spread - spread) @ gain.T
    values, vectors = np.linalg.eigh(covariance)
    mean = population.mean(0) + gain @ moved
    shift = mean - known["mean"]
    config = {name: sampler.config[name] for name in sampler.config if not name.startswith("_")}
    followed = StyleSampler(**{**config, "photos": len(looks)})
    for name, value in {
        **known,
        "mean": mean,
        "factor": vectors * np.sqrt(values.clip(0)),
        # Styles are less the mean, which has moved.
        "bias": known["bias"] + shift @ known["inner"],
        "offset": known["offset"] + shift @ known["linear"],
        "line": strength * line,
        "square": strength * square,
    }.items():
        getattr(followed, name).copy_(torch.from_numpy(value))
    return followed, float(effective / len(population))


def _ratio(drawn: np.ndarray, wanted: np.ndarray, missed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Line and square of the logarithm of the ratio of two normal distributions."""
    spread = wanted.var(0)
    # A predicted look varies less than a measured one: by what the fit misses.
    shrunk = np.sqrt(np.maximum(spread - missed, LEAST_SPREAD * spread) / spread)
    covariance = np.cov(wanted.T) * np.outer(shrunk, shrunk)
    covariance += 1e-3 * np.eye(len(covariance))
    precision, other = np.linalg.inv(covariance), np.linalg.inv(np.cov(drawn.T))
    return precision @ wanted.mean(0) - other @ drawn.mean(0), (other - precision) / 2


def _strength(odds: np.ndarray) -> float:
    """What to multiply odds by, at most 1, for the weighted faces to count for `STEADY` even ones."""

    def effective(strength: float) -> float:
        weights = np.exp(strength * (odds - odds.max()))
        return float(weights.sum() ** 2 / (weights**2).sum())

    low, high = 0.0, 1.0
    if effective(high) >= STEADY:
        return high
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if effective(middle) >= STEADY else (low, middle)
    return low
