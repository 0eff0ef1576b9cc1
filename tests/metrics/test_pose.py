"""Pose: rotations that are known are read back."""

import cv2
import numpy as np
import pytest

from faceanon_hub import landmarks
from faceanon_hub.metrics.pose import RIGID, head_rotation, pose_error

LOOSE = landmarks.LEFT_BROW + landmarks.RIGHT_BROW + landmarks.OUTER_LIPS + landmarks.INNER_LIPS
LOOSE += list(set(landmarks.LEFT_EYE + landmarks.RIGHT_EYE) - {33, 263})
JAW = [172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397]


def rotation(axis: int, degrees: float) -> np.ndarray:
    return cv2.Rodrigues(np.radians(degrees) * np.eye(3)[axis])[0]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("degrees", [1, 5, -15, 40, 180])
def test_a_known_rotation_is_read_back(face, axis, degrees):
    turn = rotation(axis, degrees)
    turned = (1.4 * face.landmarks @ turn.T + [30, -20, 7]).astype(np.float32)
    assert pose_error(turned, face.landmarks) == pytest.approx(abs(degrees), abs=0.01)
    assert head_rotation(face.landmarks, turned) == pytest.approx(turn, abs=1e-4)
    assert head_rotation(turned, face.landmarks) == pytest.approx(turn.T, abs=1e-4)


def test_a_noisy_rotation_is_read_back_within_a_degree(face):
    noise = np.random.default_rng(0).normal(0, 0.5, face.landmarks.shape)
    turned = face.landmarks @ rotation(1, 20).T + noise
    assert pose_error(turned, face.landmarks) == pytest.approx(20, abs=1)


def test_a_mirrored_face_has_a_rotation(face):
    assert np.linalg.det(head_rotation(face.landmarks * [-1, 1, 1], face.landmarks)) == pytest.approx(1)


def test_neither_the_original_nor_an_expression_has_an_error(face):
    assert pose_error(face.landmarks, face.landmarks) < 1e-4
    moved = face.landmarks.copy()
    moved[LOOSE + JAW] += [5, 8, -3]
    assert pose_error(moved, face.landmarks) < 1e-4


def test_the_rigid_part_is_named_once_and_even(face):
    assert len(set(RIGID)) == len(RIGID)
    # Each point has its mirror image, so that no side weighs more: their middles lie on the line of the nose.
    middle = face.landmarks[RIGID].mean(0)
    left, right = face.landmarks[[33, 263]]
    along = (right - left) / np.linalg.norm(right - left)
    assert abs((middle - (left + right) / 2) @ along) < 0.05 * np.linalg.norm(right - left)


def test_a_turned_photo(pipe, portrait, face):
    center = face.landmarks[4, :2].astype(float)
    turned = cv2.warpAffine(portrait, cv2.getRotationMatrix2D(center, 25, 1), portrait.shape[1::-1])
    found = min(pipe.find_faces(turned), key=lambda other: np.linalg.norm(other.landmarks[4, :2] - center))
    assert pose_error(found.landmarks, face.landmarks) == pytest.approx(25, abs=3)
