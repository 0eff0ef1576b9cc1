"""Photos made from the public-domain portrait of scikit-image, and contents of files."""

import io

import cv2
import numpy as np
import PIL.Image
import skimage.data


def turned(angle: float) -> np.ndarray:
    """The portrait's head, turned by an angle in degrees about its middle, the borders mirrored."""
    matrix = cv2.getRotationMatrix2D((224, 128), angle, 1)
    matrix[:, 2] += [160 - 224, 160 - 128]
    return cv2.warpAffine(
        skimage.data.astronaut(), matrix, (320, 320), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )


def encoded(image: np.ndarray | PIL.Image.Image, kind: str, **options) -> bytes:
    """The file of a photo."""
    stream = io.BytesIO()
    (PIL.Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(stream, kind, **options)
    return stream.getvalue()


def saved(array: np.ndarray) -> bytes:
    """The `.npy` file of an array."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()
