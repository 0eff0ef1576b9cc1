"""How far a head's pose is from that of its original: the rotation between two meshes."""

import numpy as np

from ..alignment import fit_rotation
from ..landmarks import RIGID


def head_rotation(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The rotation that turns a head as another one is turned, by least squares over the rigid part of the mesh.

    A difference in size or place does not change it, see [`alignment.fit_rotation`].

    Args:
        points, reference (`np.ndarray` of shape `(478, 3)`, float32):
            Mesh in pixels, and that of the original.

    Returns:
        `np.ndarray` of shape `(3, 3)`, float64: takes centred points, as columns, to those of the reference.
    """
    return fit_rotation(points[RIGID], reference[RIGID])[0]


def pose_error(points: np.ndarray, reference: np.ndarray) -> float:
    """Angle of the [`head_rotation`] between two faces, the geodesic distance of their poses (Huynh 2009).

    Args:
        points, reference (`np.ndarray` of shape `(478, 3)`, float32):
            Mesh in pixels, and that of the original.

    Returns:
        `float`: degrees, 0 (perfect) to 180.

    Example:
        ```py
        >>> import numpy as np
        >>> from faceanon_hub.metrics import pose_error

        >>> mesh = np.random.default_rng(0).normal(size=(478, 3))
        >>> angle = np.radians(10)
        >>> turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        >>> round(pose_error(2 * mesh @ turn.T, mesh), 3)
        10.0
        ```
    """
    # The chord, unlike the arc cosine of the trace, keeps its digits near 0.
    chord = np.linalg.norm(head_rotation(points, reference) - np.eye(3)) / np.sqrt(8)
    return float(np.degrees(2 * np.arcsin(min(chord, 1))))
