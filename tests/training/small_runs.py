"""Settings of runs that take seconds, and photos for them."""

from __future__ import annotations

import cv2
import numpy as np

SIZE = 64
TINY = {"channels": (8, 8, 16, 16, 16), "style_size": 16, "mixed_precision": "no", "workers": 0}


def variant(portrait: np.ndarray, number: int) -> np.ndarray:
    """The portrait's head, 256 px, otherwise placed and lit for each number."""
    matrix = cv2.getRotationMatrix2D((224, 118), 4 * (number % 5 - 2), 1 + 0.04 * (number % 3))
    matrix[:, 2] += [128 - 224 + 3 * (number % 7), 128 - 118 - 2 * (number % 4)]
    picture = cv2.warpAffine(portrait, matrix, (256, 256), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    if number % 2:
        picture = picture[:, ::-1]
    return np.clip(picture * (0.7 + 0.08 * (number % 6)), 0, 255).astype(np.uint8)
