"""A face to the sex and age that it seems to have: as exact as a network can tell, and as coarse as one may keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from diffusers.configuration_utils import register_to_config

from .alignment import placement, similarity, warp_in
from .residual import ResidualNetwork

EXTENTS = 1.4  # side of the crop over the longer side of the mesh
UNSURE = 1.0  # log odds within which a face is neither a woman's nor a man's
YEARS = 5  # to which an age is rounded
MIDDLE_AGE, SPREAD_AGE = 35.0, 15.0  # mean and deviation of the network's unit of age, in years


class Coarse(NamedTuple):
    """All that may be kept of a face's apparent sex and age.

    Args:
        sex (`int`):
            -1 woman, 0 unsure, 1 man.
        age (`int`):
            Years, a multiple of five.
    """

    sex: int
    age: int


class AttributeEstimator(ResidualNetwork):
    r"""Tells apparent sex and age of an upright face.

    Its teacher was HSE-FaceRes (arXiv 1807.07718), see [`training.attributes`]: it says what a network takes a face
    for, not what a person is.

    Args:
        sample_size (`int`, *optional*, defaults to `112`):
            Side of the crop in pixels.
        channels (`list[int]`, *optional*, defaults to `(16, 32, 64, 96, 144)`):
            Width of each resolution, see [`ResidualNetwork.layers`].

    Example:
        ```py
        >>> from faceanon_hub.attributes import AttributeEstimator, coarse

        >>> estimator = AttributeEstimator.from_pretrained(folder)
        >>> sex, age = estimator.read(photo, face.landmarks)
        >>> coarse(sex, age)
        ```
    """

    @register_to_config
    def __init__(self, sample_size: int = 112, channels: Sequence[int] = (16, 32, 64, 96, 144)) -> None:
        super().__init__()
        self.network = self.layers(3, channels, 2)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Reads crops.

        Args:
            crops (`torch.Tensor` of shape `(B, 3, S, S)`):
                RGB in [-1, 1], `EXTENTS` longer sides of the mesh wide.

        Returns:
            `torch.Tensor` of shape `(B, 2)`: log odds of a man, and age in years.
        """
        sex, age = self.network(crops).unbind(1)
        return torch.stack([sex, MIDDLE_AGE + SPREAD_AGE * age], 1)

    @torch.inference_mode()
    def read(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Reads a face of a photo.

        Args:
            image (`np.ndarray` of shape `(H, W, 3)`, uint8):
                RGB photo.
            landmarks (`np.ndarray` of shape `(478, >= 2)`):
                Mesh of the face in pixels.

        Returns:
            `np.ndarray` of shape `(2,)`, float64: log odds of a man, and age in years, 0 and more.
        """
        size = self.config.sample_size
        crop = torch.from_numpy(warp_in(image, crop_matrix(landmarks, size), size))
        pixels = crop.to(self.device).permute(2, 0, 1)[None].to(self.dtype) / 127.5 - 1
        sex, age = self(pixels)[0].double().cpu().numpy()
        return np.array([sex, max(age, 0.0)])


def crop_matrix(points: np.ndarray, size: int) -> np.ndarray:
    """The matrix, `(2, 3)`, of the estimator's crop: upright, `EXTENTS` longer sides of the mesh wide."""
    center, extent, roll = placement(points)
    return similarity(center, EXTENTS * extent, roll, size)


def coarse(sex: float, age: float) -> Coarse:
    """Rounds what was read off a face.

    Args:
        sex (`float`):
            Log odds of a man.
        age (`float`):
            Years.
    """
    return Coarse(int(np.sign(sex)) if abs(sex) > UNSURE else 0, YEARS * round(age / YEARS))
