"""How well the light on a face is kept, by an estimator that shares nothing with the one that makes it.

[`~faceanon_hub.lighting.LightingTransfer`] reads light off the normals of MediaPipe's mesh. Here dlib's 68 landmarks
say how an ellipsoid stands in the picture, and its normals are those of the face. Chin and lips turn down more than an
ellipsoid: light from below reads as coming from farther above than it does, of original and result alike.
"""

from typing import NamedTuple

import cv2
import numpy as np

# A mean head, x right, y down, z forward, in halves of the distance of the outer corners of the eyes, between which it
# has its origin; after the means of anthropometry (Farkas 1994). Eight of dlib's points that hardly move with a face.
RIGID = [36, 45, 39, 42, 27, 30, 33, 8]
HEAD = np.array(
    [
        (-1, 0, 0), (1, 0, 0), (-0.36, 0.02, 0.2), (0.36, 0.02, 0.2),
        (0, -0.1, 0.5), (0, 0.95, 0.95), (0, 1.2, 0.6), (0, 2.6, 0.25),
    ]
)  # fmt: skip
CENTER, AXES = np.array([0, 0.35, -1.25]), np.array([1.6, 2.4, 1.9])
# Where dlib's points lie on the mesh, for those who have no dlib.
AS_DLIB = [
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389, 71, 63, 105, 66, 107, 336, 296,
    334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305, 33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380, 61,
    39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
]  # fmt: skip
FOREHEAD = 0.45  # of it, what is seen above the brows
# What is no skin: brows with eyes, mouth, and the nostrils.
FEATURES = ([*range(17, 22), *range(36, 42)], [*range(22, 27), *range(42, 48)], [*range(48, 60)], [*range(31, 36)])
FACING = 0.2  # cosine: what is turned further away lies at the outline
GAMMA = 2.2
FEWEST = 100  # pixels
TRIMMED, ROUNDS = 2.5, 6  # residuals beyond so many median ones are hair, shadows and highlights
DIRECTED = 0.1  # of the mean luminance: a weaker lamp has no direction worth the name


class Surface(NamedTuple):
    """Skin of a face: unit normals `(N, 3)`, x right, y down, z towards the camera, and linear luminance `(N,)`."""

    normals: np.ndarray
    luminance: np.ndarray


def light_vector(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Where the light on a face comes from: a lamp on an ellipsoid, and light from all around.

    By least squares over the side that the lamp reaches, trimmed: what fits badly is left out (Rousseeuw 1984).

    Args:
        image (`np.ndarray` of shape `(S, S, 3)`, uint8):
            RGB crop.
        points (`np.ndarray` of shape `(68, 2)`):
            dlib's landmarks in pixels of the crop, see [`metrics.dlib_landmarks`].

    Returns:
        `np.ndarray` of shape `(3,)`: x right, y down, z towards the camera, in units of the face's mean luminance; 0
        where too little skin is seen.
    """
    return _slope(_surface(image, points))


def light_angle(image: np.ndarray, reference: np.ndarray, points: np.ndarray, reference_points: np.ndarray) -> float:
    """Angle between the lights on two crops.

    Args:
        image, reference (`np.ndarray` of shape `(S, S, 3)`, uint8):
            RGB crops of the anonymized and the original face.
        points, reference_points (`np.ndarray` of shape `(68, 2)`):
            dlib's landmarks of each, in pixels of the crop.

    Returns:
        `float`: degrees, 0 (perfect) to 180; NaN where the original's light has no direction.
    """
    new, old = light_vector(image, points), light_vector(reference, reference_points)
    if np.linalg.norm(old) < DIRECTED:
        return np.nan
    cosine = new @ old / max(np.linalg.norm(new) * np.linalg.norm(old), 1e-9)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def light_distance(
    image: np.ndarray, reference: np.ndarray, points: np.ndarray, reference_points: np.ndarray
) -> float:
    """Length of the difference of two [`light_vector`], which counts how strong the light is, too: in percent of the
    mean luminance, from 0 (perfect) without bound. Arguments are as of [`light_angle`].
    """
    return float(100 * np.linalg.norm(light_vector(image, points) - light_vector(reference, reference_points)))


def side_ratio(image: np.ndarray, points: np.ndarray) -> float:
    """How much brighter a face is on its left in the picture than on its right; no model of light is fitted.

    Args:
        image, points:
            As in [`light_vector`].

    Returns:
        `float`: logarithm to base 2 of the ratio of median linear luminances, 0 for even light; NaN where too little
        of a side is seen.
    """
    normals, luminance = _surface(image, points)
    left, right = luminance[normals[:, 0] < -0.2], luminance[normals[:, 0] > 0.2]
    if min(len(left), len(right)) < FEWEST / 2:
        return np.nan
    return float(np.log2((np.median(left) + 1e-4) / (np.median(right) + 1e-4)))


def side_ratio_error(
    image: np.ndarray, reference: np.ndarray, points: np.ndarray, reference_points: np.ndarray
) -> float:
    """Difference of [`side_ratio`] between two crops, in stops; 0 is perfect. Arguments as in [`light_angle`]."""
    return abs(side_ratio(image, points) - side_ratio(reference, reference_points))


def _slope(surface: Surface) -> np.ndarray:
    normals, luminance = surface
    if len(luminance) < FEWEST or luminance.mean() < 1e-4:
        return np.zeros(3)
    light, trusted, reached = luminance / luminance.mean(), np.ones(len(normals), bool), np.ones((len(normals), 1))
    for _ in range(ROUNDS):
        basis = np.column_stack([np.ones(len(normals)), normals * reached])
        fit = np.linalg.lstsq(basis[trusted], light[trusted], rcond=1e-6)[0]
        missed = np.abs(light - basis @ fit)
        trusted = missed <= TRIMMED * np.median(missed) + 1e-6
        reached = normals @ fit[1:, None] > 0
    return fit[1:]


def _surface(image: np.ndarray, points: np.ndarray) -> Surface:
    """The pixels of a crop that show skin turned towards the camera."""
    rotation, scale, origin = _pose(points)
    mask = _skin(image.shape[:2], points, -FOREHEAD * scale * rotation[:2, 1])
    row, column = np.nonzero(mask)
    normals, met = _normals(np.column_stack([column, row]), rotation, scale, origin)
    luminance = ((cv2.GaussianBlur(image, (0, 0), len(image) / 128) / 255) ** GAMMA).mean(2)[row, column]
    codes = image[row, column]
    seen = met & (normals[:, 2] > FACING) & (codes.max(1) > 3) & (codes.min(1) < 250)
    return Surface(normals[seen], luminance[seen])


def _pose(points: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """How the mean head stands: rotation `(3, 3)`, pixels a unit, and where its origin lies, by weak perspective."""
    flat, solid = points[RIGID].astype(float), HEAD - HEAD.mean(0)
    affine = np.linalg.lstsq(solid, flat - flat.mean(0), rcond=None)[0].T  # (2, 3)
    u, sizes, vt = np.linalg.svd(affine, full_matrices=False)
    first = u @ vt
    scale = float(sizes.mean())
    return np.vstack([first, np.cross(*first)]), scale, flat.mean(0) - scale * first @ HEAD.mean(0)


def _normals(
    pixels: np.ndarray, rotation: np.ndarray, scale: float, origin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Normals `(N, 3)` of the ellipsoid under pixels `(N, 2)`, and which of them it reaches."""
    flat = (pixels - origin) / scale - rotation[:2] @ CENTER
    # In the head's own frame, with its axes of length 1, the line of sight meets a sphere.
    start, sight = flat @ rotation[:2] / AXES, rotation[2] / AXES
    half, size = start @ sight / (sight @ sight), (start**2).sum(1) - 1
    under = half**2 - size / (sight @ sight)
    met = under > 0
    ball = start + (np.sqrt(under.clip(0)) - half)[:, None] * sight
    normals = (ball / AXES) @ rotation.T
    return normals / np.linalg.norm(normals, axis=1, keepdims=True), met


def _skin(shape: tuple[int, ...], points: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Where skin is expected, `(S, S)` bool: from the jaw to the lower forehead, without eyes, brows and mouth."""
    mask = np.zeros(shape, np.uint8)
    whole = np.concatenate([points[:17], points[17:27], points[17:27] + up])
    cv2.fillConvexPoly(mask, cv2.convexHull(whole.astype(np.float32)).round().astype(np.int32), 1)
    mask = cv2.erode(mask, np.ones((3, 3), np.uint8))
    holes = np.zeros(shape, np.uint8)
    for part in FEATURES:
        cv2.fillConvexPoly(holes, cv2.convexHull(points[part].astype(np.float32)).round().astype(np.int32), 1)
    reach = 2 * round(float(np.linalg.norm(up)) / 8) + 1
    return (mask > 0) & (cv2.dilate(holes, np.ones((reach, reach), np.uint8)) == 0)
