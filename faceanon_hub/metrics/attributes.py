"""Apparent sex and age, as a judge that takes no part in making faces sees them."""

import os

import numpy as np
import torch

from .identity import FaceRes


class FaceResJudge(FaceRes):
    r"""Apparent sex and age by [`metrics.identity.FaceRes`].

    Args:
        path (`str`):
            `faceres.json`, with its weights beside it.

    Raises:
        UnreadableError: the file is missing or damaged, or another graph.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path, ["gender_pred/BiasAdd", "age_pred/BiasAdd"])

    def __call__(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """As [`metrics.DlibRecognizer`], but returns shape `(2,)`, float64: log odds of a man, up to 9, and years."""
        sex, ages = self.read(image, landmarks)
        years = float(ages.softmax(0) @ torch.arange(len(ages), dtype=torch.float32))
        return np.array([float(sex[0].clamp(-9, 9)), years])
