"""Photo to square, roll-aligned crop and back: a similarity transform per face.

A matrix is float64 of shape (2, 3) and takes photo pixels to crop pixels; both count pixel centres as integers.
"""

import cv2
import numpy as np

# Mesh indices that give a face's tilt. Left and right are those of the picture.
FOREHEAD, CHIN, LEFT_EYE_CORNER, RIGHT_EYE_CORNER = 10, 152, 33, 263
# Side of the crop over the longer side of the mesh, and how far the crop's centre sits above the mesh's, in sides.
CROP_SCALE = 1.5
CROP_LIFT = 0.03


def roll_of(points: np.ndarray) -> float:
    """In-plane rotation of a face, from its mesh.

    The line of the eyes carries it on a frontal face and vanishes on a profile, where the line from forehead to chin
    takes over; the sum of both weighs them by their lengths.

    Args:
        points (`np.ndarray` of shape `(478, >= 2)`):
            Mesh in pixels.

    Returns:
        `float`: radians, positive where the face is turned clockwise in the picture.
    """
    across = points[RIGHT_EYE_CORNER, :2] - points[LEFT_EYE_CORNER, :2]
    down = points[CHIN, :2] - points[FOREHEAD, :2]
    x, y = 2 * across + [down[1], -down[0]]
    return float(np.arctan2(y, x))


def placement(points: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Where a face is, along its own axes.

    Args:
        points (`np.ndarray` of shape `(478, >= 2)`):
            Mesh in pixels.

    Returns:
        `tuple`: centre, of shape `(2,)`, and longer side of the upright box round the mesh, in pixels, and its roll.
    """
    roll = roll_of(points)
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    upright = points[:, :2].astype(np.float64) @ turn.T
    low, high = upright.min(0), upright.max(0)
    return turn.T @ ((low + high) / 2), float((high - low).max()), roll


def similarity(center: np.ndarray, side: float, roll: float, size: int) -> np.ndarray:
    """The matrix that takes a square of the photo to a crop.

    Args:
        center (`np.ndarray` of shape `(2,)`):
            Centre of the square in photo pixels.
        side (`float`):
            Side of the square in photo pixels.
        roll (`float`):
            Rotation of the square in radians, see [`roll_of`].
        size (`int`):
            Side of the crop in pixels.
    """
    scale = size / side
    turn = scale * np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    return np.concatenate([turn, (size / 2 - turn @ center)[:, None]], 1)


def align(points: np.ndarray, size: int, lift: float = CROP_LIFT) -> np.ndarray:
    """The matrix of the generator's crop: upright, square, one and a half times the mesh.

    Args:
        points (`np.ndarray` of shape `(478, >= 2)`):
            Mesh in photo pixels.
        size (`int`):
            Side of the crop in pixels.
        lift (`float`, *optional*, defaults to `CROP_LIFT`):
            How far the crop's centre sits above the mesh's, in sides.

    Returns:
        `np.ndarray` of shape `(2, 3)`.
    """
    return align_placed(*placement(points), size, lift)


def align_placed(center: np.ndarray, extent: float, roll: float, size: int, lift: float = CROP_LIFT) -> np.ndarray:
    """The matrix of the generator's crop for a face whose [`placement`] is known."""
    side = CROP_SCALE * extent
    up = np.array([np.sin(roll), -np.cos(roll)])
    return similarity(center + lift * side * up, side, roll, size)


def transform(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Applies a matrix to points of shape `(N, 2)` or `(N, 3)`; a third coordinate, depth, is scaled along."""
    moved = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    if points.shape[1] == 3:
        moved = np.concatenate([moved, points[:, 2:] * np.hypot(*matrix[0, :2])], 1)
    return moved.astype(np.float32)


def invert(matrix: np.ndarray) -> np.ndarray:
    """The matrix from crop pixels to photo pixels."""
    return cv2.invertAffineTransform(matrix)


def fit_rotation(
    points: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """The rotation and scale that lay points best onto others, both about their means (Umeyama 1991).

    Args:
        points, targets (`np.ndarray` of shape `(N, 3)`):
            In the same order.
        weights (`np.ndarray` of shape `(N,)`, *optional*):
            What each of them counts, not negative; all the same unless given.

    Returns:
        `tuple`: rotation `(3, 3)`, float64, without a reflection: takes centred points, as columns, to their targets;
        and the scale, above 0.
    """
    share = np.full((len(points), 1), 1 / len(points)) if weights is None else weights[:, None] / weights.sum()
    a, b = (p.astype(np.float64) for p in (points, targets))
    a, b = a - (share * a).sum(0), b - (share * b).sum(0)
    u, values, v = np.linalg.svd((share * b).T @ a)
    # The third direction is the one that the points fix least; it takes the sign that leaves out a reflection.
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ v))])
    return (u * sign) @ v, float((values * sign).sum() / (share * a**2).sum())


def window(matrix: np.ndarray, size: int, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The part of a photo of shape `(H, W, ...)` that a crop covers: left, top, right, bottom in pixels."""
    corners = transform(np.array([[0, 0], [size, 0], [0, size], [size, size]], float), invert(matrix))
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int) + 1
    bounds = [shape[1], shape[0]]
    left, top = np.clip(low, 0, bounds)
    right, bottom = np.clip(high, 0, bounds)
    return int(left), int(top), int(right), int(bottom)


def warp_in(image: np.ndarray, matrix: np.ndarray, size: int, border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
    """Takes a crop from a photo, averaged over the pixels it shrinks.

    Args:
        image (`np.ndarray` of shape `(H, W, C)`, uint8):
            Photo.
        matrix (`np.ndarray` of shape `(2, 3)`):
            Photo pixels to crop pixels.
        size (`int`):
            Side of the crop in pixels.
        border (`int`, *optional*, defaults to `cv2.BORDER_REPLICATE`):
            What lies outside the photo: its border goes on, or another of OpenCV's ways.

    Returns:
        `np.ndarray` of shape `(size, size, C)`, uint8.
    """
    scale = float(np.hypot(*matrix[0, :2]))
    if scale < 1:
        left, top, right, bottom = window(matrix, size, image.shape)
        if right - left > 1 and bottom - top > 1:
            part = image[top:bottom, left:right]
            width, height = (max(1, round(scale * v)) for v in (right - left, bottom - top))
            image = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
            ratio = np.array([(right - left) / width, (bottom - top) / height])
            # A pixel's centre, at an integer, is half a pixel from its edge on both scales.
            offset = np.array([left, top]) + (ratio - 1) / 2
            matrix = np.concatenate([matrix[:, :2] * ratio, (matrix[:, :2] @ offset + matrix[:, 2])[:, None]], 1)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=border)


def warp_out(
    crop: np.ndarray, matrix: np.ndarray, area: tuple[int, int, int, int], border: int = cv2.BORDER_REPLICATE
) -> np.ndarray:
    """Lays a crop back into a window of the photo.

    Args:
        crop (`np.ndarray` of shape `(S, S)` or `(S, S, C)`, float32):
            What belongs into the photo.
        matrix (`np.ndarray` of shape `(2, 3)`):
            Photo pixels to crop pixels.
        area (`tuple[int, int, int, int]`):
            Left, top, right, bottom of the window, see [`window`].
        border (`int`, *optional*, defaults to `cv2.BORDER_REPLICATE`):
            What lies outside the crop; `cv2.BORDER_CONSTANT` is 0.

    Returns:
        `np.ndarray` of shape `(bottom - top, right - left[, C])`, float32.
    """
    left, top, right, bottom = area
    shifted = np.concatenate([matrix[:, :2], (matrix[:, :2] @ [left, top] + matrix[:, 2])[:, None]], 1)
    scale = float(np.hypot(*matrix[0, :2]))
    if scale > 1:  # the crop shrinks: average first
        size = max(1, round(crop.shape[0] / scale))
        ratio = size / crop.shape[0]
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
        shifted = shifted * ratio
        shifted[:, 2] += (ratio - 1) / 2
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(crop, shifted, (right - left, bottom - top), flags=flags, borderMode=border)
