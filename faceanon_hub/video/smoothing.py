"""Landmarks and coefficients of a track, smoothed without lag: the frames that follow are known, too."""

from collections.abc import Sequence

import numpy as np

from ..alignment import align_placed, invert, placement, transform

POSE_SPAN = 0.12  # seconds over which a crop's place, size and turn are averaged (standard deviation)
SHAPE_SPAN = 0.08  # the same of the landmarks in the crop
# Movement in the crop, in sides of it, from which a landmark is followed rather than averaged.
MOVED = 0.006
COEFFICIENT_SPAN = 0.25
RECOLORED = 5.0  # change of skin colour, in CIELAB, from which light is followed rather than averaged
# How far a steadied crop may lie from the face's own: of its side, of its logarithm, in radians.
LIMITS = np.array([0.03, 0.03, 0.03, 0.05])
SETTLED = 1e-5  # square seconds that hold a slope back where there are hardly any frames to measure it


def steady(times: np.ndarray, landmarks: Sequence[np.ndarray], index: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The crop and the landmarks of one frame, rid of their jitter.

    The crop follows a line fitted to place, size and turn of the frames around, so that steady motion passes
    unchanged. The landmarks are averaged in crops that move along that line, each weighed by its distance in time and
    by how far it has moved: a bilateral filter (Tomasi and Manduchi 1998), which keeps the moment of a blink.

    Args:
        times (`np.ndarray` of shape `(N,)`):
            Of the frames around, in seconds, the frame itself included.
        landmarks (`list[np.ndarray]`, N of shape `(478, 3)`):
            Meshes in pixels.
        index (`int`):
            Which of them is asked for.
        size (`int`):
            Side of the crop in pixels.

    Returns:
        `tuple`: the matrix of the crop, of shape `(2, 3)`, and the landmarks in pixels, of shape `(478, 3)`, float32.
    """
    offsets = np.asarray(times, float) - times[index]
    poses = np.array([_pose(points) for points in landmarks])
    poses[:, 3] = poses[index, 3] + np.angle(np.exp(1j * (poses[:, 3] - poses[index, 3])))
    value, slope = _line(offsets, poses, np.exp(-((offsets / POSE_SPAN) ** 2) / 2))
    own = poses[index]
    limit = LIMITS * [np.exp(own[2]), np.exp(own[2]), 1, 1]
    value = own + (value - own).clip(-limit, limit)
    matrices = [_matrix(value + slope * offset, size) for offset in offsets]
    seen = np.array([transform(points, matrix) for points, matrix in zip(landmarks, matrices, strict=True)])
    moved = np.linalg.norm(seen[..., :2] - seen[index, :, :2], axis=2) / (MOVED * size)
    weight = np.exp(-((offsets / SHAPE_SPAN) ** 2) / 2)[:, None] * np.exp(-(moved**2) / 2)
    points = (seen * weight[..., None]).sum(0) / weight.sum(0)[:, None]
    return matrices[index], transform(points, invert(matrices[index]))


def average(times: np.ndarray, values: np.ndarray, time: float, colors: np.ndarray, color: np.ndarray) -> np.ndarray:
    """Coefficients `(N, ...)` of the frames around, averaged over time as long as the light does not change.

    Times and skin colours, in CIELAB, of these frames and of the one that is asked for say how much each counts.
    """
    changed = np.linalg.norm(colors - color, axis=1) / RECOLORED
    weight = np.exp(-(((times - time) / COEFFICIENT_SPAN) ** 2) / 2 - changed**2 / 2)
    return np.tensordot(weight / weight.sum(), values, 1).astype(values.dtype)


def _pose(points: np.ndarray) -> np.ndarray:
    """Centre, logarithm of the extent, and roll of a mesh."""
    center, extent, roll = placement(points)
    return np.array([*center, np.log(extent), roll])


def _matrix(pose: np.ndarray, size: int) -> np.ndarray:
    return align_placed(pose[:2], float(np.exp(pose[2])), float(pose[3]), size)


def _line(offsets: np.ndarray, values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value at offset 0 and slope of the weighted line through values of shape (N, D)."""
    weight = weight / weight.sum()
    middle, mean = weight @ offsets, weight @ values
    spread = weight @ (offsets - middle) ** 2
    slope = (weight * (offsets - middle)) @ (values - mean) / (spread + SETTLED)
    return mean - slope * middle, slope
