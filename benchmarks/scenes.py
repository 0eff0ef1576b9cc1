"""Photos to measure on, made from the public-domain portrait of scikit-image."""

import cv2
import numpy as np
import skimage.data


def crowd(width: int = 2592, height: int = 1944, columns: int = 5, rows: int = 4, faces: int = 19) -> np.ndarray:
    """A 5-megapixel photo of 19 faces: the portrait in a grid, every other one mirrored, the last place empty."""
    canvas = np.full((height, width, 3), 128, np.uint8)
    side = min(width // columns, height // rows)
    portrait = cv2.resize(skimage.data.astronaut(), (side, side), interpolation=cv2.INTER_AREA)
    for number in range(faces):
        top, left = number // columns * (height // rows), number % columns * (width // columns)
        canvas[top : top + side, left : left + side] = portrait[:, ::-1] if number % 2 else portrait
    return canvas


def turned(angle: float) -> np.ndarray:
    """The portrait's head, turned by an angle in degrees about its middle, the borders mirrored."""
    portrait = skimage.data.astronaut()
    matrix = cv2.getRotationMatrix2D((224, 128), angle, 1)
    matrix[:, 2] += [160 - 224, 160 - 128]
    return cv2.warpAffine(portrait, matrix, (320, 320), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
