"""Expression: errors of landmarks, ratios and blendshapes with known answers."""

import cv2
import numpy as np
import pytest
from skimage.transform import estimate_transform

from faceanon_hub import LandmarkExtractor
from faceanon_hub.alignment import roll_of, similarity, transform
from faceanon_hub.landmarks import BLENDSHAPES, LEFT_BROW, RIGHT_EYE
from faceanon_hub.metrics.expression import (
    blendshape_errors,
    dlib_landmarks,
    expression_ratios,
    procrustes_error,
    ratio_errors,
)

DLIB_CORNERS = [36, 39, 42, 45, 48, 54]
MESH_CORNERS = [33, 133, 362, 263, 61, 291]


@pytest.fixture
def points(face) -> np.ndarray:
    return face.landmarks.copy()


def eye_distance(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[468, :2] - points[473, :2]))


def turned(points: np.ndarray, degrees: float, scale: float = 1.7) -> np.ndarray:
    return transform(points, similarity(np.array([200.0, 150.0]), 500 / scale, np.radians(degrees), 500))


def upright(points: np.ndarray) -> np.ndarray:
    """The mesh with its own axes along those of the picture."""
    return turned(points, float(np.degrees(roll_of(points))), 1)


@pytest.mark.parametrize("degrees", [0, 33, -90, 180])
def test_a_similarity_is_no_error(points, degrees):
    assert procrustes_error(turned(points, degrees), points) < 1e-3
    assert procrustes_error(points, turned(points, degrees)) < 1e-3


def test_a_reflection_is_an_error(points):
    assert procrustes_error(points * [-1, 1, 1], points) > 10


@pytest.mark.parametrize("count", [478, 68])
def test_the_error_is_that_of_umeyama(points, count):
    random = np.random.default_rng(0)
    reference = points[:count, :2].astype(float)
    moved = turned(reference, 20) + random.normal(0, 3, reference.shape)
    left = estimate_transform("similarity", moved, reference)(moved) - reference
    eyes = (reference[36:42].mean(0), reference[42:48].mean(0)) if count == 68 else reference[[468, 473]]
    expected = 100 * np.linalg.norm(left, axis=1).mean() / np.linalg.norm(np.subtract(*eyes))
    assert expected > 1
    assert procrustes_error(moved, reference) == pytest.approx(expected, rel=1e-6)


def test_the_original_has_no_error(points):
    assert procrustes_error(points, points) < 1e-4
    assert set(ratio_errors(points, points).values()) == {0}


@pytest.mark.parametrize("degrees", [0, 25, -90, 170])
def test_ratios_do_not_depend_on_rotation_and_scale(points, degrees):
    assert expression_ratios(turned(points, degrees)) == pytest.approx(expression_ratios(points), abs=0.01)


def test_ratios_of_a_smiling_portrait(points):
    ratios = expression_ratios(points)
    assert 20 < ratios["eye_left"] < 60
    assert 20 < ratios["eye_right"] < 60
    assert 80 < ratios["mouth_width"] < 130
    assert ratios["smile"] > 5
    assert 15 < ratios["brow_left"] < 50


def test_a_closed_eye_changes_only_its_ratio(points):
    closed = points.copy()
    for lid in set(RIGHT_EYE) - {263, 362}:
        closed[lid] = (points[263] + points[362]) / 2
    errors = ratio_errors(closed, points)
    assert errors.pop("eye_right") == pytest.approx(expression_ratios(points)["eye_right"])
    assert max(errors.values()) == 0


@pytest.mark.parametrize(
    ("moved", "x", "y", "expected"),
    [
        ([14], 0, 0.1, {"mouth_open": 10, "smile": 5}),
        ([291], 0.1, 0, {"mouth_width": 10}),
        ([61, 291], 0, 0.1, {"smile": -10}),
        (LEFT_BROW, 0, -0.1, {"brow_left": 10}),
    ],
)
def test_a_part_that_moves_by_a_tenth_of_the_eyes_distance(points, moved, x, y, expected):
    points = upright(points)
    after = points.copy()
    after[moved, :2] += np.array([x, y]) * eye_distance(points)
    before, found = expression_ratios(points), expression_ratios(after)
    differences = {name: found[name] - before[name] for name in before}
    assert differences == pytest.approx(dict.fromkeys(before, 0) | expected, abs=0.2)
    assert ratio_errors(after, points) == pytest.approx({name: abs(d) for name, d in differences.items()})


def test_dlib_agrees_with_the_mesh(portrait, points):
    found = dlib_landmarks(portrait, points)
    assert found.shape == (68, 2)
    assert found.dtype == np.float32
    apart = np.linalg.norm(found[DLIB_CORNERS] - points[MESH_CORNERS, :2], axis=1) / eye_distance(points)
    assert apart.max() < 0.08
    assert apart.mean() < 0.04


@pytest.mark.parametrize("degrees", [40, -90, 180])
def test_dlib_finds_a_tilted_face(portrait, points, degrees):
    matrix = similarity(points[4, :2].astype(float), 300, np.radians(degrees), 450)
    tilted = dlib_landmarks(cv2.warpAffine(portrait, matrix, (450, 450)), transform(points, matrix))
    expected = transform(dlib_landmarks(portrait, points), matrix)
    assert procrustes_error(tilted, expected) < 3
    assert np.linalg.norm(tilted - expected, axis=1).mean() < 0.04 * 1.5 * eye_distance(points)


def test_dlib_sees_the_picture_and_not_only_the_mesh(portrait, points):
    moved = points + np.array([0.1, 0.05, 0], np.float32) * eye_distance(points)
    found, expected = dlib_landmarks(portrait, moved), dlib_landmarks(portrait, points)
    assert np.linalg.norm(found - expected, axis=1).mean() < 0.05 * eye_distance(points)


def test_blendshapes_are_compared_by_part_of_the_face():
    neutral = dict.fromkeys(BLENDSHAPES, 0.25)
    found = neutral | {"jawOpen": 0.65, "eyeBlinkLeft": 0.95, "eyeLookUpLeft": 0.25, "mouthSmileRight": 0.02}
    errors = blendshape_errors(found, neutral)
    expected = {"all": (40 + 70 + 23) / 52, "eyes": 70 / 14, "brows": 0, "mouth": 23 / 23, "jaw": 40 / 4}
    assert errors == pytest.approx(expected)
    assert set(blendshape_errors(neutral, neutral).values()) == {0}


def test_blendshapes_do_not_see_a_face_that_is_moved_turned_and_larger(portrait, face):
    matrix = similarity(face.landmarks[4, :2].astype(float), 300, np.radians(30), 450)
    moved = cv2.warpAffine(portrait, matrix, (450, 450))
    after = LandmarkExtractor().read(moved)
    errors = blendshape_errors(dict(zip(BLENDSHAPES, after.blendshapes, strict=True)), face.blendshapes)
    assert errors["all"] < 2
