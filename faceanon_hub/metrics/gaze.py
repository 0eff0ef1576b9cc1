"""How far a face's gaze is from that of its original: where the irises sit in the eyes."""

import numpy as np

from ..landmarks import IRIS_CENTERS, LEFT_CORNERS, RIGHT_CORNERS
from .expression import as_complex

# Of both eyes: the corners to the left and to the right of the picture.
LEFT_ENDS, RIGHT_ENDS = np.transpose([LEFT_CORNERS, RIGHT_CORNERS])
# Width of an eye over that of the wider one below which the view is too much from the side to measure gaze.
NARROW = 0.2


def iris_positions(points: np.ndarray) -> np.ndarray:
    """Where the irises sit between the corners of the eyes, free of place, size and in-plane rotation.

    Args:
        points (`np.ndarray` of shape `(478, >= 2)`, float32):
            Mesh in pixels.

    Returns:
        `np.ndarray` of shape `(2, 2)`, float64: for the left and the right eye of the picture, the iris' offset from
        the middle of the corners, to the right along their line and down across it, in widths of that eye.
    """
    face, axes = as_complex(points), _axes(points)
    # Over the axis as a complex number: turned to it and divided by its length.
    offsets = (face[IRIS_CENTERS] - face[LEFT_ENDS] - axes / 2) / axes
    return np.stack([offsets.real, offsets.imag], 1)


def gaze_error(points: np.ndarray, reference: np.ndarray) -> float:
    """Mean distance of the [`iris_positions`] of two faces.

    An eye that is less than a fifth as wide as the other in either face, as in profile, is left out.

    Args:
        points, reference (`np.ndarray` of shape `(478, >= 2)`, float32):
            Mesh in pixels, and that of the original.

    Returns:
        `float`: percent of the eye's width, from 0 (perfect) without bound; NaN where no eye is left.
    """
    widths = np.abs([_axes(points), _axes(reference)])
    seen = (widths >= NARROW * widths.max(1, keepdims=True)).all(0)
    if not seen.any():
        return float("nan")
    distances = np.linalg.norm(iris_positions(points) - iris_positions(reference), axis=1)
    return float(100 * distances[seen].mean())


def _axes(points: np.ndarray) -> np.ndarray:
    """From the left to the right corner of both eyes, as complex numbers."""
    face = as_complex(points)
    return face[RIGHT_ENDS] - face[LEFT_ENDS]
