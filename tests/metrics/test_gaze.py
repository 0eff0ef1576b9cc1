"""Gaze: irises that are moved by a known distance."""

import numpy as np
import pytest

from faceanon_hub.alignment import similarity, transform
from faceanon_hub.metrics.gaze import gaze_error, iris_positions

EYES = {"left": (33, 133, 468), "right": (362, 263, 473)}


@pytest.fixture
def points(face) -> np.ndarray:
    return face.landmarks.copy()


def look(points: np.ndarray, eye: str, along: float, across: float = 0) -> np.ndarray:
    """The mesh with an iris moved by this much of the eye's width, along the eye and down across it."""
    start, end, iris = EYES[eye]
    x, y = points[end, :2] - points[start, :2]
    moved = points.copy()
    moved[iris, :2] += along * np.array([x, y]) + across * np.array([-y, x])
    return moved


def narrow(points: np.ndarray, eye: str, factor: float) -> np.ndarray:
    """The mesh with an eye that is seen from the side: all of it comes nearer to its middle."""
    start, end, iris = EYES[eye]
    squeezed, middle = points.copy(), (points[start] + points[end]) / 2
    squeezed[[start, end, iris]] = middle + factor * (points[[start, end, iris]] - middle)
    return squeezed


def test_the_original_has_no_error(points):
    assert gaze_error(points, points) == 0


def test_a_portrait_looks_about_straight(points):
    assert iris_positions(points).shape == (2, 2)
    assert np.abs(iris_positions(points)).max() < 0.15


@pytest.mark.parametrize(("along", "across"), [(0.1, 0), (-0.1, 0), (0, 0.1), (0.06, -0.08)])
def test_an_iris_moved_by_a_tenth(points, along, across):
    left = look(points, "left", along, across)
    moved = iris_positions(left) - iris_positions(points)
    assert moved == pytest.approx(np.array([[along, across], [0, 0]]), abs=1e-4)
    assert gaze_error(left, points) == pytest.approx(5, abs=0.01)
    assert gaze_error(look(left, "right", along, across), points) == pytest.approx(10, abs=0.01)


@pytest.mark.parametrize("degrees", [20, 90, 180])
def test_rotation_and_scale_do_not_count(points, degrees):
    matrix = similarity(np.array([200.0, 150.0]), 300, np.radians(degrees), 500)
    assert gaze_error(transform(points, matrix), points) < 0.01


@pytest.mark.parametrize("which", ["points", "reference"])
def test_an_eye_too_narrow_is_left_out(points, which):
    moved = look(look(points, "left", 0.3), "right", 0.1)
    pair = {"points": moved, "reference": points}
    assert gaze_error(**pair) == pytest.approx(20, abs=0.01)
    wide = pair | {which: narrow(pair[which], "left", 0.3)}
    assert gaze_error(**wide) == pytest.approx(20, abs=0.01)
    profile = pair | {which: narrow(pair[which], "left", 0.1)}
    assert gaze_error(**profile) == pytest.approx(10, abs=0.01)


def test_no_eye_seen_in_both_has_no_gaze(points):
    assert np.isnan(gaze_error(narrow(points, "left", 0.1), narrow(points, "right", 0.1)))
