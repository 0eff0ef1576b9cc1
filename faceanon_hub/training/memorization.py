"""How near drawn people come to those of the photos that a generator learned from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..recognition import FaceRecognizer
from ..sampling import Read
from .data import FaceShards

if TYPE_CHECKING:
    from ..generators.generator import Prior

FIRST_SEED = 2**40  # of the draws: no face of a bank has these seeds
SIZE = 256  # pixels of the drawn pictures, at most


def describe_faces(faces: FaceShards, recognizer: FaceRecognizer) -> np.ndarray:
    """Embeddings `(N, 256)` of the people of photos; nobody writes them down."""
    found = [recognizer.describe(*faces.face(number)) for number in range(len(faces))]
    return np.array(found).reshape(len(found), -1)


def describe_draws(
    generator: Prior, recognizer: FaceRecognizer, read: Read, seeds: Iterable[int]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Embeddings `(M, 256)` of drawn people, not truncated, and the pictures; those without a mesh are left out."""
    size = max((side for side in generator.config.sizes if side <= SIZE), default=generator.config.sizes[0])
    found, pictures = [], []
    for seed in seeds:
        (picture,) = generator.render(generator.style(generator.latents([seed])).detach(), size)
        pictures.append(picture)
        mesh = read(picture)
        if mesh is not None:
            found.append(recognizer.describe(picture, mesh.points))
    return np.array(found).reshape(len(found), -1), pictures


def nearest_photos(asked: int, draws: np.ndarray, photos: np.ndarray, strangers: np.ndarray) -> dict[str, Any]:
    """Says how near drawn people come to their nearest training photo, beside people who are in no training photo.

    Args:
        asked (`int`):
            Pictures that were drawn; some of them may show no face.
        draws (`np.ndarray` of shape `(M, 256)`):
            Embeddings of drawn people.
        photos (`np.ndarray` of shape `(N, 256)`):
            Of the training photos.
        strangers (`np.ndarray` of shape `(K, 256)`):
            Of held-out photos, of other people than the training photos, where identities are known. May be empty.

    Returns:
        `dict`: `"asked"`, `"draws"`, `"photos"`, `"strangers"`, their numbers; `"median"`, `"p99"` and `"most"`, of
            the cosine of each drawn person to the nearest training photo; the same of strangers, as
            `"strangers_median"` and so on; and `"nearer"`, the share of drawn people who are nearer than 99 % of
            strangers: 0.01 is chance.
    """
    cosine = (draws @ photos.T).max(1)
    summary: dict[str, Any] = {"asked": asked, "draws": len(draws), "photos": len(photos), "strangers": len(strangers)}
    summary |= _summary(cosine)
    if len(strangers):
        others = (strangers @ photos.T).max(1)
        summary |= {f"strangers_{name}": value for name, value in _summary(others).items()}
        summary["nearer"] = round(float((cosine > np.quantile(others, 0.99)).mean()), 4)
    return summary


def _summary(cosine: np.ndarray) -> dict[str, float]:
    values = {"median": np.median(cosine), "p99": np.quantile(cosine, 0.99), "most": cosine.max()}
    return {name: round(float(value), 4) for name, value in values.items()}
