"""A face to its apparent sex, age and glasses: as estimated, and as coarse as may be kept."""

from collections.abc import Sequence

import numpy as np
import torch

from .alignment import placement, similarity, warp_in
from .diffusion import register_to_config
from .landmarks import LEFT_CORNERS, RIGHT_CORNERS
from .networks.residual import ResidualNetwork
from .ranges import check_number, check_widths

EYES_SIZE, EYES_EXTENTS = 96, 0.9  # pixels, and longer sides of the mesh, that the crop of both eyes is wide
EXTENTS = 1.4  # side of the crop over the longer side of the mesh
UNSURE = 0.6  # log odds within which a face is neither a woman's nor a man's
SURE = 4.5  # log odds that stand for the others: with 3, a judge takes more drawn faces for the other sex
EYE_CORNERS = [*LEFT_CORNERS, *RIGHT_CORNERS]
GLASSES = 1.7  # log odds above which a new face wears glasses, too: with 0, deep-set eyes are taken for them
SURE_GLASSES = 6.0  # log odds that stand for glasses: the limit of the estimate, which most drawn faces reach
YEARS = 5  # to which an age is rounded
MIDDLE_AGE, SPREAD_AGE = 35.0, 15.0  # mean and deviation of the network's unit of age, in years


class AttributeEstimator(ResidualNetwork):
    r"""Tells apparent sex and age of an upright face, and whether it wears glasses.

    Of sex and age its teacher was HSE-FaceRes (arXiv 1807.07718), see [`training.attributes`]: it says what a network
    takes a face for, not what a person is. Glasses have a network of their own, see [`training.glasses`].

    Args:
        sample_size (`int`, *optional*, defaults to `112`):
            Side of the crop in pixels.
        channels (`list[int]`, *optional*, defaults to `(16, 32, 64, 96, 144)`):
            Width of each resolution, see [`ResidualNetwork.layers`].
        glasses_channels (`list[int]`, *optional*, defaults to `(16, 32, 48, 64)`):
            The same of the glasses network.

    Raises:
        ValueError: a value is out of its range.

    Example:
        ```py
        >>> from faceanon_hub import AttributeEstimator

        >>> estimator = AttributeEstimator.from_pretrained(folder)
        >>> sex, age, glasses = estimator.read(photo, face.landmarks)
        ```
    """

    @register_to_config
    def __init__(
        self,
        sample_size: int = 112,
        channels: Sequence[int] = (16, 32, 64, 96, 144),
        glasses_channels: Sequence[int] = (16, 32, 48, 64),
    ) -> None:
        super().__init__()
        check_number("sample_size", sample_size, 32, 512, whole=True)
        check_widths("channels", channels, 7)
        check_widths("glasses_channels", glasses_channels, 6)
        self.network = self.layers(3, channels, 2)
        self.glasses = self.layers(3, glasses_channels, 1)

    def forward(self, crops: torch.Tensor, eyes: torch.Tensor) -> torch.Tensor:
        """Reads crops.

        Args:
            crops (`torch.Tensor` of shape `(B, 3, S, S)`):
                RGB in [-1, 1], `EXTENTS` longer sides of the mesh wide.
            eyes (`torch.Tensor` of shape `(B, 3, EYES_SIZE / 2, EYES_SIZE)`):
                RGB in [-1, 1], from [`eyes_crop`].

        Returns:
            `torch.Tensor` of shape `(B, 3)`: log odds of a man, age in years, log odds of glasses.
        """
        return torch.cat([self.sex_and_age(crops), self.glasses(eyes)], 1)

    def sex_and_age(self, crops: torch.Tensor) -> torch.Tensor:
        """The first two columns of [`forward`], `(B, 2)`."""
        sex, age = self.network(crops).unbind(1)
        return torch.stack([sex, MIDDLE_AGE + SPREAD_AGE * age], 1)

    @torch.inference_mode()
    def read(self, image: np.ndarray, landmarks: np.ndarray, mirrored: bool = False) -> np.ndarray:
        """Reads a face of a photo.

        Args:
            image (`np.ndarray` of shape `(H, W, 3)`, uint8):
                RGB photo.
            landmarks (`np.ndarray` of shape `(478, >= 2)`):
                Mesh of the face in pixels.
            mirrored (`bool`, *optional*, defaults to `False`):
                Read its mirror image, too, and return the mean of both.

        Returns:
            `np.ndarray` of shape `(3,)`, float64: log odds of a man; age in years, 0 and more; log odds of glasses.
        """
        size = self.config.sample_size
        crops = self._tensors(warp_in(image, crop_matrix(landmarks, size), size), mirrored)
        sex, age = np.mean([self.sex_and_age(crop)[0].double().cpu().numpy() for crop in crops], 0)
        return np.array([sex, max(age, 0.0), self.read_glasses(image, landmarks, mirrored)])

    @torch.inference_mode()
    def read_glasses(self, image: np.ndarray, landmarks: np.ndarray, mirrored: bool = False) -> float:
        """Log odds of glasses, and nothing else; arguments as of [`read`]."""
        eyes = self._tensors(eyes_crop(image, *eyes_placement(landmarks)), mirrored)
        odds = float(np.mean([float(self.glasses(crop)) for crop in eyes]))
        return min(max(odds, -SURE_GLASSES), SURE_GLASSES)

    def coarse(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """All that may be kept of a face; arguments as of [`read`].

        Returns:
            `np.ndarray` of shape `(3,)`, float64: `SURE` for a man, its negative for a woman, 0 where that is not
            clear; years, a multiple of `YEARS`; `SURE_GLASSES` with glasses, its negative without.
        """
        sex, age, glasses = self.read(image, landmarks, mirrored=True)
        sex = SURE * np.sign(sex) if abs(sex) > UNSURE else 0.0
        return np.array([sex, YEARS * round(age / YEARS), np.copysign(SURE_GLASSES, glasses - GLASSES)])

    def coarse_glasses(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """As [`coarse`], but sex and age are not looked at, and NaN."""
        glasses = self.read_glasses(image, landmarks, mirrored=True)
        return np.array([np.nan, np.nan, np.copysign(SURE_GLASSES, glasses - GLASSES)])

    def _tensors(self, crop: np.ndarray, mirrored: bool) -> list[torch.Tensor]:
        views = [crop, crop[:, ::-1]] if mirrored else [crop]
        return [self._tensor(np.ascontiguousarray(view)) for view in views]

    def _tensor(self, crop: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(crop).to(self.device).permute(2, 0, 1)[None].to(self.dtype) / 127.5 - 1


def crop_matrix(points: np.ndarray, size: int) -> np.ndarray:
    """The matrix, `(2, 3)`, of the estimator's crop: upright, `EXTENTS` longer sides of the mesh wide."""
    center, extent, roll = placement(points)
    return similarity(center, EXTENTS * extent, roll, size)


def eyes_placement(points: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Centre, side and roll of the square, for [`similarity`], whose middle half shows both eyes of a mesh."""
    _, extent, roll = placement(points)
    return points[EYE_CORNERS, :2].mean(0), EYES_EXTENTS * extent, roll


def eyes_crop(image: np.ndarray, center: np.ndarray, side: float, roll: float) -> np.ndarray:
    """What is round both eyes, `(EYES_SIZE / 2, EYES_SIZE, 3)`, uint8; arguments as of [`eyes_placement`]'s result."""
    return halved(warp_in(image, similarity(center, side, roll, EYES_SIZE), EYES_SIZE))


def halved(square: np.ndarray) -> np.ndarray:
    """The middle half of the rows of a crop."""
    return square[len(square) // 4 : len(square) * 3 // 4]
