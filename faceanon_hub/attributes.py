"""A face to the sex and age that it seems to have: as exact as a network can tell, and as coarse as one may keep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .alignment import placement, similarity, warp_in
from .diffusion import register_to_config
from .ranges import check_number, check_widths
from .residual import ResidualNetwork

EXTENTS = 1.4  # side of the crop over the longer side of the mesh
UNSURE = 0.6  # log odds within which a face is neither a woman's nor a man's
SURE = 3.0  # log odds that stand for the others: as of most drawn faces
YEARS = 5  # to which an age is rounded
MIDDLE_AGE, SPREAD_AGE = 35.0, 15.0  # mean and deviation of the network's unit of age, in years


class AttributeEstimator(ResidualNetwork):
    r"""Tells apparent sex and age of an upright face.

    Its teacher was HSE-FaceRes (arXiv 1807.07718), see [`training.attributes`]: it says what a network takes a face
    for, not what a person is.

    Args:
        sample_size (`int`, *optional*, defaults to `112`):
            Side of the crop in pixels.
        channels (`list[int]`, *optional*, defaults to `(16, 32, 64, 96, 144)`):
            Width of each resolution, see [`ResidualNetwork.layers`].

    Raises:
        ValueError: a value is out of its range.

    Example:
        ```py
        >>> from faceanon_hub import AttributeEstimator

        >>> estimator = AttributeEstimator.from_pretrained(folder)
        >>> sex, age = estimator.read(photo, face.landmarks)
        ```
    """

    @register_to_config
    def __init__(self, sample_size: int = 112, channels: Sequence[int] = (16, 32, 64, 96, 144)) -> None:
        super().__init__()
        check_number("sample_size", sample_size, 32, 512, whole=True)
        check_widths("channels", channels, 7)
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

    def coarse(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """All that may be kept of a face's apparent sex and age; arguments as of [`read`].

        Returns:
            `np.ndarray` of shape `(2,)`, float64: `SURE` for a man, its negative for a woman, 0 where that is not
            clear; and years, a multiple of `YEARS`.
        """
        sex, age = self.read(image, landmarks)
        return np.array([SURE * np.sign(sex) if abs(sex) > UNSURE else 0.0, YEARS * round(age / YEARS)])


def crop_matrix(points: np.ndarray, size: int) -> np.ndarray:
    """The matrix, `(2, 3)`, of the estimator's crop: upright, `EXTENTS` longer sides of the mesh wide."""
    center, extent, roll = placement(points)
    return similarity(center, EXTENTS * extent, roll, size)
