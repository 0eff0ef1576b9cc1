"""The light on a face: what the metrics make of lamps that are known."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_faces import SIZE, drawn, lit

from faceanon_hub.alignment import align, transform, warp_in
from faceanon_hub.lighting import to_linear, to_srgb, vertex_normals
from faceanon_hub.metrics.lighting import (
    DIRECTED,
    light_angle,
    light_vector,
    shading_distance,
    side_ratio,
    side_ratio_error,
)

LIGHTS = {
    "front": (0, 0, 1),
    "left": (-0.6, 0, 0.8),
    "right": (0.6, 0, 0.8),
    "below": (0, 0.6, 0.8),
    "above left": (-0.5, -0.4, 0.77),
    "far left": (-0.9, 0, 0.4),
    "far right": (0.9, 0, 0.4),
}


@pytest.fixture(scope="module")
def points(face) -> np.ndarray:
    return transform(face.landmarks, align(face.landmarks, SIZE))


@pytest.fixture(scope="module")
def even(points) -> np.ndarray:
    return drawn(points, np.full(468, 0.4))


def degrees_between(one: np.ndarray, other: np.ndarray) -> float:
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


@pytest.mark.parametrize(("ambient", "lamp"), [(0.3, 0.4), (0.05, 0.6)])
@pytest.mark.parametrize("name", LIGHTS)
def test_a_known_lamp_is_read_back(points, name, ambient, lamp):
    found = light_vector(lit(points, LIGHTS[name], ambient, lamp), points)
    assert found.shape == (3,)
    assert degrees_between(found, np.array(LIGHTS[name])) < 5


@pytest.mark.parametrize("name", LIGHTS)
def test_the_angle_between_two_lamps_is_theirs(points, name):
    wanted = degrees_between(np.array(LIGHTS[name]), np.array(LIGHTS["left"]))
    angle = light_angle(lit(points, LIGHTS[name]), lit(points, LIGHTS["left"]), points)
    assert angle == pytest.approx(wanted, abs=6)


def test_a_lamp_twice_as_strong_is_twice_as_long(points):
    weak, strong = (lit(points, LIGHTS["right"], ambient, 0.2) for ambient in (0.5, 0.2))
    vectors = [light_vector(picture, points) for picture in (weak, strong)]
    means = [
        np.average(to_linear(picture)[tuple(np.round(points[:468, 1::-1]).astype(int).T)])
        for picture in (weak, strong)
    ]
    ratio = np.linalg.norm(vectors[1]) / np.linalg.norm(vectors[0])
    assert ratio == pytest.approx(means[0] / means[1], rel=0.1)


@pytest.mark.parametrize("name", ["portrait", *LIGHTS])
def test_the_original_has_no_error(points, portrait, face, name):
    drawing = name != "portrait"
    picture = lit(points, LIGHTS[name]) if drawing else warp_in(portrait, align(face.landmarks, SIZE), SIZE)
    assert light_angle(picture, picture.copy(), points) < 0.1
    assert shading_distance(picture, picture.copy(), points) == pytest.approx(0, abs=1e-5)
    assert side_ratio_error(picture, picture.copy(), points) == 0


def test_brightness_barely_counts(points):
    bright = lit(points, LIGHTS["above left"])
    dark = to_srgb(0.4 * to_linear(bright))
    assert light_angle(dark, bright, points) < 1
    assert shading_distance(dark, bright, points) < 0.02
    assert side_ratio_error(dark, bright, points) < 0.02


def test_light_from_all_around_has_no_direction(points, even):
    lamp = lit(points, LIGHTS["left"])
    assert np.linalg.norm(light_vector(even, points)) < DIRECTED
    assert np.isnan(light_angle(lamp, even, points))
    assert np.isnan(light_angle(lamp, lit(points, LIGHTS["left"], 0.5, 0.05), points))
    assert np.isfinite(light_angle(even, lamp, points))


def test_light_from_the_opposite_side_is_a_large_angle(points):
    left, right = (lit(points, (x, 0, 0.02), 0.3, 0.4) for x in (-1, 1))
    assert light_angle(right, left, points) > 150
    assert light_angle(right, left, points) == pytest.approx(light_angle(left, right, points), abs=1e-3)


def test_the_distance_grows_with_the_turn_of_the_lamp(points):
    original = lit(points, LIGHTS["left"])
    turns = [lit(points, (np.sin(turn), 0, np.cos(turn))) for turn in np.radians([-37, -20, 0, 37, 66])]
    distances = [shading_distance(picture, original, points) for picture in turns]
    assert distances == sorted(distances)
    assert distances[0] < 0.02
    assert 0.2 < distances[-1] < 2


def test_shading_is_compared_both_ways(points):
    one, other = lit(points, LIGHTS["left"]), lit(points, LIGHTS["below"])
    assert shading_distance(one, other, points) == pytest.approx(shading_distance(other, one, points), abs=1e-6)


@pytest.mark.parametrize(("left", "right"), [("left", "right"), ("far left", "far right")])
def test_mirrored_light_has_the_opposite_ratio(points, left, right):
    ratios = [side_ratio(lit(points, LIGHTS[name]), points) for name in (left, right)]
    assert ratios[0] > 0.5
    assert ratios[1] == pytest.approx(-ratios[0], abs=0.1)
    assert side_ratio_error(lit(points, LIGHTS[left]), lit(points, LIGHTS[right]), points) > 1


def test_even_light_has_no_side(points, even):
    assert side_ratio(even, points) == pytest.approx(0, abs=0.02)
    assert side_ratio(lit(points, LIGHTS["front"]), points) == pytest.approx(0, abs=0.1)


def test_one_side_twice_as_bright_is_one_stop(points):
    # From the left cheek to the right in a single step, away from the middle, which does not count.
    picture = drawn(points, np.where(vertex_normals(points)[:, 0] < 0, 0.6, 0.3))
    assert side_ratio(picture, points) == pytest.approx(1, abs=0.15)


def test_a_face_out_of_sight_has_no_light(points, even):
    away = points + np.array([300, 0, 0], np.float32)
    assert light_vector(even, away).tolist() == [0, 0, 0]
    assert np.isnan(side_ratio(even, away))
    assert np.isnan(light_angle(even, even, away))
