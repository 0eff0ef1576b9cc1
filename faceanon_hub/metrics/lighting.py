"""How well the light on a face is kept."""

from __future__ import annotations

import numpy as np

from ..lighting import fit_lamp, fit_shading, skin_luminance, vertex_normals

DIRECTED = 0.2  # of the mean luminance: a weaker lamp has no direction worth the name


def light_vector(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Where the light on a face comes from, see [`~faceanon_hub.lighting.fit_lamp`].

    Args:
        image (`np.ndarray` of shape `(S, S, 3)`, uint8):
            RGB crop.
        points (`np.ndarray` of shape `(478, 3)`):
            Mesh in pixels of the crop.

    Returns:
        `np.ndarray` of shape `(3,)`: x right, y down, z towards the camera, in units of the face's mean luminance.
    """
    normal = vertex_normals(points)
    seen, luminance = skin_luminance(image, points, normal)
    return fit_lamp(normal[seen], luminance)[1:]


def light_angle(
    image: np.ndarray, reference: np.ndarray, points: np.ndarray, reference_points: np.ndarray | None = None
) -> float:
    """Angle between the lights on two crops.

    Args:
        image, reference (`np.ndarray` of shape `(S, S, 3)`, uint8):
            RGB crops of the anonymized and the original face.
        points (`np.ndarray` of shape `(478, 3)`):
            Mesh in pixels of the crop.
        reference_points (`np.ndarray` of shape `(478, 3)`, *optional*):
            Mesh of the reference, if that has another shape.

    Returns:
        `float`: degrees, 0 (perfect) to 180; NaN where the original's light has no direction.
    """
    new = light_vector(image, points)
    old = light_vector(reference, points if reference_points is None else reference_points)
    if np.linalg.norm(old) < DIRECTED:
        return np.nan
    cosine = new @ old / max(np.linalg.norm(new) * np.linalg.norm(old), 1e-9)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def shading_distance(
    image: np.ndarray, reference: np.ndarray, points: np.ndarray, reference_points: np.ndarray | None = None
) -> float:
    """Distance between the nine coefficients of spherical harmonics of two crops, each of unit length.

    Args:
        image, reference, points, reference_points:
            As in [`light_angle`].

    Returns:
        `float`: 0 (perfect) to 2.
    """
    both = []
    for crop, mesh in ((image, points), (reference, points if reference_points is None else reference_points)):
        normal = vertex_normals(mesh)
        seen, luminance = skin_luminance(crop, mesh, normal)
        both.append(fit_shading(normal[seen], luminance))
    new, old = both
    return float(np.linalg.norm(new / np.linalg.norm(new) - old / np.linalg.norm(old)))


def side_ratio(image: np.ndarray, points: np.ndarray) -> float:
    """How much brighter a face is on its left in the picture than on its right; no model of light is fitted.

    Args:
        image, points:
            As in [`light_vector`].

    Returns:
        `float`: logarithm to base 2 of the ratio of mean linear luminances, 0 for even light; NaN for a profile.
    """
    normal = vertex_normals(points)
    seen, luminance = skin_luminance(image, points, normal)
    across = normal[seen, 0] - normal[:, 0].mean()
    left, right = luminance[across < -0.2], luminance[across > 0.2]
    if min(len(left), len(right)) < 10:
        return np.nan
    return float(np.log2((left.mean() + 1e-4) / (right.mean() + 1e-4)))


def side_ratio_error(
    image: np.ndarray, reference: np.ndarray, points: np.ndarray, reference_points: np.ndarray | None = None
) -> float:
    """Difference of [`side_ratio`] between two crops, in stops; 0 is perfect. Arguments as in [`light_angle`]."""
    old = side_ratio(reference, points if reference_points is None else reference_points)
    return abs(side_ratio(image, points) - old)
