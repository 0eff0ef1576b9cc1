"""The light on a face: what the judge makes of lamps that are known, on a surface that it does not know."""

import ast
from pathlib import Path

import numpy as np
import pytest
from helpers.drawn_faces import LIGHTS as ALL_LIGHTS
from helpers.drawn_faces import SIZE, degrees_between, drawn, lit

from faceanon_hub.alignment import align, transform, warp_in
from faceanon_hub.lighting import to_linear, to_srgb, vertex_normals
from faceanon_hub.metrics import AS_DLIB, dlib_landmarks
from faceanon_hub.metrics import lighting as judge
from faceanon_hub.metrics.lighting import (
    DIRECTED,
    light_angle,
    light_distance,
    light_vector,
    side_ratio,
    side_ratio_error,
)

LIGHTS = {name: light for name, light in ALL_LIGHTS.items() if name != "below right"}


@pytest.fixture(scope="module")
def mesh(face) -> np.ndarray:
    return transform(face.landmarks, align(face.landmarks, SIZE))


@pytest.fixture(scope="module")
def points(portrait, face) -> np.ndarray:
    return transform(dlib_landmarks(portrait, face.landmarks), align(face.landmarks, SIZE))


@pytest.fixture(scope="module")
def even(mesh) -> np.ndarray:
    return drawn(mesh, np.full(468, 0.4))


def test_the_judge_shares_nothing_with_what_it_judges():
    tree = ast.parse(Path(judge.__file__).read_text())
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"typing", "cv2", "numpy"}


@pytest.mark.parametrize(("ambient", "lamp"), [(0.3, 0.4), (0.05, 0.6)])
@pytest.mark.parametrize("name", LIGHTS)
def test_a_known_lamp_is_read_back(mesh, points, name, ambient, lamp):
    found = light_vector(lit(mesh, LIGHTS[name], ambient, lamp), points)
    assert found.shape == (3,)
    assert degrees_between(found, np.array(LIGHTS[name])) < 20


def test_light_from_below_is_read_with_a_bias_upwards(mesh, points):
    below = (0, 0.6, 0.8)
    found = light_vector(lit(mesh, below), points)  # chin, lips and nose turn down more than an ellipsoid does
    assert found[1] > light_vector(lit(mesh, LIGHTS["front"]), points)[1] + 0.1
    assert degrees_between(found, np.array(below)) < 40


@pytest.mark.parametrize("name", LIGHTS)
def test_the_angle_between_two_lamps_is_theirs(mesh, points, name):
    wanted = degrees_between(np.array(LIGHTS[name]), np.array(LIGHTS["left"]))
    angle = light_angle(lit(mesh, LIGHTS[name]), lit(mesh, LIGHTS["left"]), points, points)
    assert angle == pytest.approx(wanted, abs=20)


def test_landmarks_of_the_mesh_serve_as_well(mesh, points):
    for light in LIGHTS.values():
        picture = lit(mesh, light)
        assert degrees_between(light_vector(picture, points), light_vector(picture, mesh[AS_DLIB, :2])) < 12


def test_a_lamp_twice_as_strong_is_twice_as_long(mesh, points):
    weak, strong = (lit(mesh, LIGHTS["right"], ambient, lamp) for ambient, lamp in ((0.5, 0.2), (0.35, 0.4)))
    vectors = [light_vector(picture, points) for picture in (weak, strong)]
    assert 1.6 < np.linalg.norm(vectors[1]) / np.linalg.norm(vectors[0]) < 2.4


@pytest.mark.parametrize("name", ["portrait", *LIGHTS])
def test_the_original_has_no_error(mesh, points, portrait, face, name):
    drawing = name != "portrait"
    picture = lit(mesh, LIGHTS[name]) if drawing else warp_in(portrait, align(face.landmarks, SIZE), SIZE)
    both = picture, picture.copy(), points, points
    assert light_angle(*both) < 0.1 and light_distance(*both) < 0.1 and side_ratio_error(*both) == 0


def test_brightness_barely_counts(mesh, points):
    bright = lit(mesh, LIGHTS["above left"])
    dark = to_srgb(0.4 * to_linear(bright))
    assert light_angle(dark, bright, points, points) < 4
    assert light_distance(dark, bright, points, points) < 8
    assert side_ratio_error(dark, bright, points, points) < 0.1


def test_light_from_all_around_has_no_direction(mesh, points, even):
    lamp = lit(mesh, LIGHTS["left"])
    assert np.linalg.norm(light_vector(even, points)) < DIRECTED
    assert np.isnan(light_angle(lamp, even, points, points))
    assert np.isfinite(light_angle(even, lamp, points, points))


def test_light_from_the_opposite_side_is_a_large_angle(mesh, points):
    left, right = (lit(mesh, (x, 0, 0.02), 0.3, 0.4) for x in (-1, 1))
    assert light_angle(right, left, points, points) > 110


def test_the_distance_grows_with_the_turn_of_the_lamp(mesh, points):
    original = lit(mesh, LIGHTS["left"])
    turns = [lit(mesh, (np.sin(turn), 0, np.cos(turn))) for turn in np.radians([-37, -20, 0, 37, 66])]
    distances = [light_distance(picture, original, points, points) for picture in turns]
    assert distances == sorted(distances)
    assert distances[0] < 2 and distances[-1] > 50


@pytest.mark.parametrize(("left", "right"), [("left", "right"), ("far left", "far right")])
def test_mirrored_light_has_the_opposite_ratio(mesh, points, left, right):
    ratios = [side_ratio(lit(mesh, LIGHTS[name]), points) for name in (left, right)]
    assert ratios[0] > 0.5
    assert ratios[1] == pytest.approx(-ratios[0], abs=0.15)
    assert side_ratio_error(lit(mesh, LIGHTS[left]), lit(mesh, LIGHTS[right]), points, points) > 1


def test_even_light_has_no_side(mesh, points, even):
    assert side_ratio(even, points) == pytest.approx(0, abs=0.02)
    assert side_ratio(lit(mesh, LIGHTS["front"]), points) == pytest.approx(0, abs=0.1)


def test_one_side_twice_as_bright_is_one_stop(mesh, points):
    picture = drawn(mesh, np.where(vertex_normals(mesh)[:, 0] < 0, 0.6, 0.3))
    assert side_ratio(picture, points) == pytest.approx(1, abs=0.15)


def test_hair_on_a_part_of_the_face_does_not_turn_the_light(mesh, points):
    picture = lit(mesh, LIGHTS["left"])
    hidden = picture.copy()
    hidden[: int(points[17:27, 1].min()), : SIZE // 2] = 20
    assert (hidden != picture).any(2).mean() > 0.05
    assert light_angle(hidden, picture, points, points) < 10


def test_a_face_out_of_sight_has_no_light(points, even):
    away = points + np.array([300, 0], np.float32)
    assert light_vector(even, away).tolist() == [0, 0, 0]
    assert np.isnan(side_ratio(even, away))
    assert np.isnan(light_angle(even, even, away, away))
