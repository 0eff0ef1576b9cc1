"""Photos made from the public-domain portrait of scikit-image."""

from __future__ import annotations

import cv2
import numpy as np
import skimage.data


def turned(angle: float) -> np.ndarray:
    """The portrait's head, turned by an angle in degrees about its middle, the borders mirrored."""
    matrix = cv2.getRotationMatrix2D((224, 128), angle, 1)
    matrix[:, 2] += [160 - 224, 160 - 128]
    return cv2.warpAffine(
        skimage.data.astronaut(), matrix, (320, 320), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
