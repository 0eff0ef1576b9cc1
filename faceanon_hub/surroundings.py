"""Hair, neck and clothes to what a face among them should look like: DeepPrivacy's idea, as numbers."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch

from .alignment import CROP_LIFT, placement, similarity, warp_in, window
from .diffusion import register_to_config
from .look import AT, LIGHT, SKIN
from .networks.residual import ResidualNetwork
from .ranges import check_number, check_widths

APPEARANCE = (*SKIN, *LIGHT, "forehead", "glasses", "beard", "sex", "age")  # rows of [`look.ROWS`]
EXTENTS = 2.0  # side of the crop over the longer side of the mesh
STYLE_SIZE = 512
MARGIN = 4  # pixels round the crop that are taken from the photo too, for interpolation
LEAST = 0.1  # deviation, in those of all faces, that a prediction never falls below


class Prediction(NamedTuple):
    """What is expected of B faces, as independent normal distributions.

    Args:
        mean (`np.ndarray` of shape `(B, R)`, float64):
            In the units of [`look.look`], in the order of [`SurroundingsEncoder.rows`].
        deviation (`np.ndarray` of shape `(B, R)`, float64):
            Standard deviation, in the same units, above 0.
    """

    mean: np.ndarray
    deviation: np.ndarray


class SurroundingsEncoder(ResidualNetwork):
    r"""Tells from what surrounds a face how a face there would look, and never sees the face.

    The thought is DeepPrivacy's (arXiv 1909.04538), whose generator learns it as it paints. This network learnt it of
    drawn faces and photos with a hole, see [`training.surroundings`].

    Args:
        sample_size (`int`, *optional*, defaults to `128`):
            Side of the crop in pixels.
        channels (`list[int]`, *optional*, defaults to `(16, 32, 64, 128, 224)`):
            Width of each resolution, see [`ResidualNetwork.layers`].
        styles (`int`, *optional*, defaults to `16`):
            Number of coordinates of the prior's style that it predicts: rows `style0` and on are
            `basis @ (w - middle)`.

    Raises:
        ValueError: a value is out of its range.

    Example:
        ```py
        >>> from faceanon_hub import SurroundingsEncoder

        >>> encoder = SurroundingsEncoder.from_pretrained(folder)
        >>> crop, mask = encoder.cut(photo, face.landmarks, hidden)
        >>> mean, deviation = encoder.encode(crop[None], mask[None])
        ```
    """

    center: torch.Tensor
    scale: torch.Tensor
    basis: torch.Tensor
    middle: torch.Tensor

    @register_to_config
    def __init__(
        self, sample_size: int = 128, channels: Sequence[int] = (16, 32, 64, 128, 224), styles: int = 16
    ) -> None:
        super().__init__()
        check_number("sample_size", sample_size, 32, 512, whole=True)
        check_widths("channels", channels, 7)
        check_number("styles", styles, 0, STYLE_SIZE, whole=True)
        self.rows = (*APPEARANCE, *(f"style{number}" for number in range(styles)))
        self.network = self.layers(4, channels, 2 * len(self.rows))
        self.register_buffer("center", torch.zeros(len(self.rows)))  # of all faces
        self.register_buffer("scale", torch.ones(len(self.rows)))
        self.register_buffer("basis", torch.zeros(styles, STYLE_SIZE))
        self.register_buffer("middle", torch.zeros(STYLE_SIZE))

    def forward(self, crops: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Reads surroundings.

        Args:
            crops (`torch.Tensor` of shape `(B, 3, S, S)`):
                RGB in [-1, 1].
            masks (`torch.Tensor` of shape `(B, 1, S, S)`):
                Above 0 where nothing may be seen: nothing there changes the result.

        Returns:
            `tuple`: means and logarithms of the deviations, each `(B, R)`, less `center` and in units of `scale`.
        """
        unseen = (masks > 0).to(crops.dtype)
        found = self.network(torch.cat([torch.where(unseen > 0, 0, crops), unseen], 1))
        return found.chunk(2, 1)

    def cut(self, image: np.ndarray, landmarks: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Takes crop and mask of a face from a photo.

        Args:
            image (`np.ndarray` of shape `(H, W, 3)`, uint8):
                RGB photo.
            landmarks (`np.ndarray` of shape `(478, >= 2)`):
                Mesh of the face in pixels.
            hidden (`np.ndarray` of shape `(H, W)`):
                Above 0 where the face is hidden.

        Returns:
            `tuple`: crop `(S, S, 3)`, uint8, black where it is masked; mask `(S, S)`, uint8, 1 where the face is
                hidden and beyond the photo.
        """
        size = self.config.sample_size
        matrix = crop_matrix(landmarks, size)
        rim = MARGIN * max(1.0, float(np.hypot(*matrix[0, :2])))
        wider = np.concatenate([matrix[:, :2], matrix[:, 2:] + rim], 1)
        left, top, right, bottom = window(wider, size + round(2 * rim), image.shape)
        part = np.s_[top:bottom, left:right]
        matrix[:, 2] += matrix[:, :2] @ [left, top]
        unseen = hidden[part] > 0
        # Blackened before it is shrunk: no pixel of the face spreads beyond the mask.
        crop = warp_in(np.where(unseen[..., None], np.uint8(0), image[part]), matrix, size)
        seen = warp_in(np.where(unseen, np.uint8(0), np.uint8(255)), matrix, size, cv2.BORDER_CONSTANT)
        mask = (seen < 255).astype(np.uint8)
        return crop * (1 - mask)[..., None], mask

    def complete(self, goal: np.ndarray, image: np.ndarray, landmarks: np.ndarray, hidden: np.ndarray) -> None:
        """Fills in what a look lacks of sex and age, in place; arguments as of [`cut`], and the look `(R,)`."""
        crop, mask = self.cut(image, landmarks, hidden)
        (mean,), _ = self.encode(crop[None], mask[None])
        for name in ("sex", "age"):
            if np.isnan(goal[AT[name]]):
                goal[AT[name]] = mean[self.rows.index(name)]

    @torch.inference_mode()
    def encode(self, crops: np.ndarray, masks: np.ndarray) -> Prediction:
        """Tells what faces to expect, each crop on its own, so that no batch changes a result.

        Args:
            crops (`np.ndarray` of shape `(B, S, S, 3)`, uint8):
                RGB, from [`cut`].
            masks (`np.ndarray` of shape `(B, S, S)`):
                Above 0 where nothing may be seen.
        """
        means, deviations = [], []
        for crop, mask in zip(crops, masks, strict=True):
            pixels = torch.from_numpy(crop).to(self.device).permute(2, 0, 1)[None].to(self.dtype) / 127.5 - 1
            mean, spread = self(pixels, torch.from_numpy(mask).to(self.device)[None, None])
            means.append(self.center + self.scale * mean[0])
            deviations.append(self.scale * spread[0].exp().clamp(min=LEAST))
        return Prediction(*(torch.stack(rows).double().cpu().numpy() for rows in (means, deviations)))


def crop_matrix(points: np.ndarray, size: int) -> np.ndarray:
    """The matrix, `(2, 3)`, of the encoder's crop: as [`alignment.align`]'s, but `EXTENTS` wide."""
    center, extent, roll = placement(points)
    side = EXTENTS * extent
    up = np.array([np.sin(roll), -np.cos(roll)])
    return similarity(center + CROP_LIFT * side * up, side, roll, size)
