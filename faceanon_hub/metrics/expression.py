"""How far a face's expression is from that of its original: blendshapes, landmarks and ratios."""

import functools
from typing import Any

import numpy as np

from .. import landmarks as lm
from ..alignment import invert, placement, roll_of, similarity, transform, warp_in
from ..errors import MissingDependencyError

# dlib sees an upright crop of twice the mesh's longer side; the rectangle in it, left, top, right and bottom, is the
# mean of those that dlib's own detector gives over several scales of a photo.
DLIB_CROP = 400
DLIB_BOX = (115, 120, 285, 290)
# How the names of the blendshapes of a part of the face begin.
BLENDSHAPE_PARTS = {"all": "", "eyes": "eye", "brows": "brow", "mouth": "mouth", "jaw": "jaw"}


def as_complex(points: np.ndarray) -> np.ndarray:
    """The x and y of points of shape `(N, >= 2)` as complex numbers, of shape `(N,)`, complex128."""
    return points[:, 0].astype(float) + 1j * points[:, 1]


def blendshape_errors(scores: dict[str, float], reference: dict[str, float]) -> dict[str, float]:
    """Absolute differences of two faces' blendshapes, which hardly depend on the shape of a face.

    Args:
        scores, reference (`dict[str, float]`):
            52 scores, 0 to 1, see [`Face`], and those of the original.

    Returns:
        `dict[str, float]`: means in percentage points, 0 (perfect) to 100: `all` of the 52, and by part of the face
        `eyes` (lids and gaze), `brows`, `mouth` and `jaw`.

    Example:
        ```py
        >>> from faceanon_hub.landmarks import BLENDSHAPES
        >>> from faceanon_hub.metrics import blendshape_errors

        >>> rest = dict.fromkeys(BLENDSHAPES, 0.0)
        >>> blendshape_errors({**rest, "jawOpen": 0.5}, rest)["jaw"]
        12.5
        ```
    """
    differences = {name: 100 * abs(scores[name] - reference[name]) for name in reference}
    return {
        part: float(np.mean([value for name, value in differences.items() if name.startswith(start)]))
        for part, start in BLENDSHAPE_PARTS.items()
    }


def procrustes_error(points: np.ndarray, reference: np.ndarray) -> float:
    """Distance of two sets of landmarks that place, size and in-plane rotation do not explain.

    The points are laid onto the reference by the similarity of least squares, without reflection (Goodall 1991,
    Umeyama 1991); what is left is the normalised mean error of face alignment.

    Args:
        points (`np.ndarray` of shape `(478, >= 2)` or `(68, 2)`, float32):
            Mesh or dlib's landmarks in pixels; only x and y count.
        reference (`np.ndarray` of the same shape, float32):
            Landmarks of the original.

    Returns:
        `float`: mean distance in percent of the distance of the reference's eyes, from 0 (perfect) without bound.
    """
    moved, fixed = as_complex(points), as_complex(reference)
    moved, fixed = moved - moved.mean(), fixed - fixed.mean()
    # On complex numbers a rotation and scale is one factor, and never a reflection.
    factor = np.vdot(moved, fixed) / np.vdot(moved, moved)
    return float(100 * np.abs(factor * moved - fixed).mean() / _eye_distance(reference))


def expression_ratios(points: np.ndarray) -> dict[str, float]:
    """What eyes, mouth and brows do, free of the face's place, size and in-plane rotation.

    Heights are measured along the face's own axes, see [`roll_of`]. The opening of an eye is the eye aspect ratio
    (Soukupova and Cech 2016) with one pair of lid points more.

    Args:
        points (`np.ndarray` of shape `(478, >= 2)`, float32):
            Mesh in pixels.

    Returns:
        `dict[str, float]`: `eye_left` and `eye_right`, opening of the lids in percent of the eye's width; and in
        percent of the distance of the eyes `mouth_open`, opening of the inner lips, `mouth_width`, distance of the
        corners, `smile`, how far the corners are above the middle of the inner lips, negative where they hang, and
        `brow_left` and `brow_right`, how far the brow is above the corners of the eye.
    """
    # Turned upright, in distances of the eyes: x to the right, y down.
    face = as_complex(points) * np.exp(-1j * roll_of(points)) / _eye_distance(points)
    height = face.imag
    upper_lip, lower_lip = height[lm.LIP_MIDDLES]
    return {
        "eye_left": _opening(face, lm.LEFT_CORNERS, lm.LEFT_UPPER_LID, lm.LEFT_LOWER_LID),
        "eye_right": _opening(face, lm.RIGHT_CORNERS, lm.RIGHT_UPPER_LID, lm.RIGHT_LOWER_LID),
        "mouth_open": 100 * float(lower_lip - upper_lip),
        "mouth_width": 100 * float(abs(np.subtract(*face[lm.MOUTH_CORNERS]))),
        "smile": 100 * float(height[lm.LIP_MIDDLES].mean() - height[lm.MOUTH_CORNERS].mean()),
        "brow_left": 100 * float(height[lm.LEFT_CORNERS].mean() - height[lm.LEFT_BROW].mean()),
        "brow_right": 100 * float(height[lm.RIGHT_CORNERS].mean() - height[lm.RIGHT_BROW].mean()),
    }


def ratio_errors(points: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Absolute differences of the [`expression_ratios`] of two faces.

    Args:
        points, reference (`np.ndarray` of shape `(478, >= 2)`, float32):
            Mesh in pixels, and that of the original.

    Returns:
        `dict[str, float]`: in percentage points, from 0 (perfect) without bound, by name of the ratio.
    """
    found, wanted = expression_ratios(points), expression_ratios(reference)
    return {name: abs(found[name] - wanted[name]) for name in wanted}


def dlib_landmarks(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The 68 landmarks of dlib (Kazemi and Sullivan 2014), an estimator that shares nothing with the mesh.

    The mesh only says where to start: on an upright crop, in a rectangle like that of dlib's detector. The model was
    trained on iBUG 300-W, whose licence excludes commercial use.

    Args:
        image (`np.ndarray` of shape `(H, W, 3)`, uint8):
            RGB photo.
        points (`np.ndarray` of shape `(478, >= 2)`, float32):
            Mesh of the face in pixels of the photo.

    Returns:
        `np.ndarray` of shape `(68, 2)`, float32: landmarks in pixels of the photo.

    Raises:
        MissingDependencyError: dlib or its model is not installed.
    """
    predictor, box = _predictor()
    center, extent, roll = placement(points)
    matrix = similarity(center, 2 * extent, roll, DLIB_CROP)
    shape = predictor(warp_in(image, matrix, DLIB_CROP), box)
    found = np.array([(part.x, part.y) for part in shape.parts()])
    # The mesh counts from the edge of a pixel, a matrix from its centre.
    return transform(found, invert(matrix)) + np.float32(0.5)


def _eye_distance(points: np.ndarray) -> float:
    """Distance of the eyes in pixels: the irises of the mesh, or the centres of dlib's eyes."""
    face = as_complex(points)
    if len(face) == 68:
        return float(abs(face[36:42].mean() - face[42:48].mean()))
    return float(abs(np.subtract(*face[lm.IRIS_CENTERS])))


def _opening(face: np.ndarray, corners: list[int], upper: list[int], lower: list[int]) -> float:
    """How far the lids of an upright face are apart, in percent of the eye's width."""
    return 100 * float((face[lower] - face[upper]).imag.mean() / abs(np.subtract(*face[corners])))


@functools.cache
def _predictor() -> tuple[Any, Any]:
    """The predictor of dlib and the rectangle it starts from."""
    try:
        import dlib
        import face_recognition_models
    except ImportError as error:
        raise MissingDependencyError("dlib-bin", "faceanon-hub[eval]") from error
    return dlib.shape_predictor(face_recognition_models.pose_predictor_model_location()), dlib.rectangle(*DLIB_BOX)
