"""Regions of a face: what is hidden holds the face whole, what is skin lies inside it and off the features."""

import numpy as np
import pytest

from faceanon_hub import landmarks as lm
from faceanon_hub.alignment import align, similarity, transform
from faceanon_hub.blending.regions import face_region, filled, skin_region

SIZE = 128


@pytest.fixture(scope="module")
def mesh(face) -> np.ndarray:
    return transform(face.landmarks, align(face.landmarks, SIZE))


def turned(mesh: np.ndarray, degrees: float) -> np.ndarray:
    """The head turned left or right."""
    yaw, center = np.radians(degrees), mesh.mean(0)
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]], np.float32)
    return (mesh - center) @ turn + center


@pytest.mark.parametrize("degrees", [-75, -40, 0, 40, 75])
@pytest.mark.parametrize(("roll", "scale"), [(0.0, 1.0), (0.6, 0.8)])
def test_the_face_is_hidden_whole_and_skin_is_off_the_features(mesh, degrees, roll, scale):
    center = np.array([SIZE / 2, SIZE / 2])
    points = transform(turned(mesh, degrees), similarity(center, SIZE / scale, roll, SIZE))
    face, skin = face_region(points, SIZE), skin_region(points, SIZE)
    column, row = points[:, :2].round().astype(int).T
    inside = (column >= 0) & (column < SIZE) & (row >= 0) & (row < SIZE)
    assert face[row[inside], column[inside]].all()
    assert not (skin > face).any()
    features = filled(points, SIZE, lm.LEFT_EYE, lm.RIGHT_EYE, lm.LEFT_BROW, lm.RIGHT_BROW, lm.OUTER_LIPS)
    assert not (skin * features).any()
    assert skin.any() or abs(degrees) > 60
