"""A crop of a face to its parts: skin, hair and what is neither."""

import threading
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .component import Network
from .diffusion import register_to_config
from .networks.residual import Residual, convolution
from .networks.segmentation import parser_session
from .ranges import check_number, check_widths

PARTS = ("other", "skin", "hair", "brows", "eyes", "lips", "mouth")
OTHER, SKIN, HAIR = range(3)  # the first of them
BROWS, EYES, LIPS, MOUTH = range(3, 7)  # the last
_building = threading.Lock()


class FaceParser(Network):
    r"""Tells the parts of a face apart.

    Face, ears and neck are skin, with a beard and glasses on it; hats, clothes, hands, microphones and the background
    are other. It learnt from drawn faces that label themselves, see [`training.parsing`]. The network is a U-Net
    (arXiv 1505.04597) of residual blocks.

    Args:
        sample_size (`int`, *optional*, defaults to `256`):
            Side of the crop in pixels, a multiple of 32.
        channels (`list[int]`, *optional*, defaults to `(16, 40, 80, 128, 160)`):
            Width of each resolution, from half of the crop's down.

    Raises:
        ValueError: a value is out of its range.

    Example:
        ```py
        >>> from faceanon_hub import FaceParser

        >>> parser = FaceParser.from_pretrained(folder)
        >>> parts = parser.parse(warp_in(photo, align(face.landmarks, 512), 512))
        >>> hair = parts[..., HAIR]
        ```
    """

    @register_to_config
    def __init__(self, sample_size: int = 256, channels: Sequence[int] = (16, 40, 80, 128, 160)) -> None:
        super().__init__()
        check_number("sample_size", sample_size, 32, 1024, whole=True)
        check_widths("channels", channels, 7)
        if sample_size % 2 ** len(channels):
            raise ValueError(f"`sample_size` must be a multiple of {2 ** len(channels)}, not {sample_size}")
        self.stem = nn.Sequential(convolution(3, channels[0], 5, 2), nn.ReLU())
        self.down = nn.ModuleList(
            nn.Sequential(convolution(wide, narrow, 3, 2), nn.ReLU(), Residual(narrow))
            for wide, narrow in zip(channels, channels[1:], strict=False)
        )
        self.across = nn.ModuleList(
            convolution(below, above, 1) for above, below in zip(channels, channels[1:], strict=False)
        )
        self.up = nn.ModuleList(Residual(width) for width in channels[:-1])
        self.head = nn.Conv2d(channels[0], len(PARTS), 1)
        self._session: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}  # built again from the weights where it is needed

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Parses crops.

        Args:
            crops (`torch.Tensor` of shape `(B, 3, S, S)`):
                RGB in [-1, 1], framed as [`alignment.align`] frames them.

        Returns:
            `torch.Tensor` of shape `(B, 7, S / 2, S / 2)`: log odds of `PARTS`.
        """
        x = self.stem(crops)
        levels = [x]
        for down in self.down:
            x = down(x)
            levels.append(x)
        for level, across, up in reversed(list(zip(levels, self.across, self.up, strict=False))):
            x = up(torch.relu(level + F.interpolate(across(x), scale_factor=2, mode="nearest")))
        return self.head(x)

    @torch.inference_mode()
    def parse(self, crop: np.ndarray) -> np.ndarray:
        """Parses one crop, on a CPU by ONNX Runtime in single precision.

        Args:
            crop (`np.ndarray` of shape `(S, S, 3)`, uint8):
                RGB of any size, framed as [`alignment.align`] frames it.

        Returns:
            `np.ndarray` of shape `(s, s, 7)`, float32: probabilities of `PARTS`, s half of `sample_size`.
        """
        size = self.config.sample_size
        way = cv2.INTER_AREA if len(crop) > size else cv2.INTER_CUBIC
        small = torch.from_numpy(cv2.resize(crop, (size, size), interpolation=way)).to(self.device)
        crops = small.permute(2, 0, 1)[None].to(self.dtype) / 127.5 - 1
        if self.device.type == "cpu":
            odds = torch.from_numpy(self.session.run(None, {"crops": crops.float().contiguous().numpy()})[0])
        else:
            odds = self(crops)
        return odds[0].float().softmax(0).permute(1, 2, 0).cpu().numpy()

    @property
    def session(self) -> Any:
        """What [`parse`] runs on a CPU, with the weights of the time when it was first needed."""
        with _building:
            if self._session is None:
                self._session = parser_session(self)
            return self._session


def teeth_shown(parts: np.ndarray) -> float:
    """What a mouth shows between its lips, in shares of their area: parts `(s, s, 7)`, from [`FaceParser.parse`]."""
    return float(parts[..., MOUTH].sum() / max(float(parts[..., LIPS].sum()), 1e-6))
