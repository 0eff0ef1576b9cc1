"""The light on a face: read off a known one, and moved to another face."""

from collections import Counter

import cv2
import numpy as np
import pytest
from helpers.drawn_faces import LIGHTS, SIZE, degrees_between, drawn, lit, shaded, unit

from faceanon_hub import LightingTransfer
from faceanon_hub.alignment import align, transform, warp_in
from faceanon_hub.lighting import (
    DARKEST,
    FEATURES,
    FLAT,
    KEPT,
    fit_lamp,
    fit_shading,
    harmonics,
    mesh_triangles,
    skin_luminance,
    to_linear,
    to_srgb,
    vertex_normals,
)

NOSE, CHIN, FOREHEAD, LEFT_CHEEK, RIGHT_CHEEK = 4, 152, 10, 234, 454
CHEEKS = {"left": 50, "right": 280}
EVEN = np.array([FLAT, *np.zeros(8)], np.float32)


@pytest.fixture(scope="module")
def transfer() -> LightingTransfer:
    return LightingTransfer()


@pytest.fixture(scope="module")
def points(face) -> np.ndarray:
    return transform(face.landmarks, align(face.landmarks, SIZE))


@pytest.fixture(scope="module")
def crop(portrait, face) -> np.ndarray:
    return warp_in(portrait, align(face.landmarks, SIZE), SIZE)


@pytest.fixture(scope="module")
def everywhere() -> np.ndarray:
    return np.ones((SIZE, SIZE), np.float32)


def lamp_on(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    normal = vertex_normals(points)
    seen, luminance = skin_luminance(image, points, normal)
    return fit_lamp(normal[seen], luminance)


def harmonics_of(light: tuple[float, ...], ambient: float = 0.4, lamp: float = 0.6) -> np.ndarray:
    coefficients = lamp * KEPT * harmonics(unit(light)[None])[0]
    coefficients[0] += ambient * FLAT
    return coefficients


def gains(changed: np.ndarray, image: np.ndarray) -> np.ndarray:
    return to_linear(changed) / to_linear(image)


def test_triangles_are_the_whole_mesh_turned_one_way():
    triangles = mesh_triangles()
    assert triangles.shape == (852, 3)
    # The points of the lips' and eyes' corners apart, which MediaPipe connects by lines only, all are used.
    assert len(np.unique(triangles)) > 460
    assert triangles.max() < 468
    edges = Counter((int(t[i]), int(t[i - 2])) for t in triangles for i in range(3))
    # Two triangles turned the same way go along a shared edge in opposite directions.
    assert max(edges.values()) == 1
    assert len(set(map(frozenset, triangles.tolist()))) == 852
    assert sum((b, a) in edges for a, b in edges) > 0.95 * len(edges)


def test_every_triangle_but_the_folded_ones_faces_the_camera(points):
    a, b, c = (points[mesh_triangles()[:, i], :2] for i in range(3))
    turn = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (turn < 0).mean() > 0.93 or (turn > 0).mean() > 0.93


def test_normals_are_of_unit_length_and_point_out_of_the_face(points):
    normals = vertex_normals(points)
    assert normals.shape == (468, 3)
    assert normals.dtype == np.float32
    assert np.linalg.norm(normals, axis=1) == pytest.approx(np.ones(468), abs=1e-5)
    assert normals[NOSE, 2] > 0.5
    assert normals[LEFT_CHEEK, 0] < -0.5
    assert normals[RIGHT_CHEEK, 0] > 0.5
    assert normals[CHIN, 1] > 0.3
    assert normals[FOREHEAD, 1] < 0
    assert (normals[:, 2] > 0).mean() > 0.8
    assert np.isfinite(vertex_normals(np.zeros_like(points))).all()  # of points without area, too


def test_normals_turn_with_the_face(points):
    turn = np.array([[0, -1], [1, 0]])
    turned = points.copy()
    turned[:, :2] = turned[:, :2] @ turn.T
    wanted = vertex_normals(points)
    wanted[:, :2] = wanted[:, :2] @ turn.T
    assert vertex_normals(turned) == pytest.approx(wanted, abs=1e-3)


def test_harmonics_are_orthonormal_on_the_sphere():
    index = np.arange(4000)  # a Fibonacci sphere: points that are spread evenly
    z, turn = 1 - (2 * index + 1) / 4000, index * np.pi * (3 - np.sqrt(5))
    across = np.sqrt(1 - z * z)
    basis = harmonics(np.stack([across * np.cos(turn), across * np.sin(turn), z], 1))
    assert basis.shape == (4000, 9)
    assert basis.T @ basis * 4 * np.pi / 4000 == pytest.approx(np.eye(9), abs=0.01)


@pytest.mark.parametrize("name", LIGHTS)
def test_the_harmonics_of_a_lamp_shade_like_the_lamp(name):
    normal = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    lamp = unit(LIGHTS[name])
    # Second order leaves a few percent of the brightest (Ramamoorthi and Hanrahan 2001).
    assert harmonics(normal) @ harmonics_of(lamp, 0, 1) == pytest.approx((normal @ lamp).clip(0), abs=0.1)


@pytest.mark.parametrize(("ambient", "lamp"), [(0.3, 0.4), (0.05, 0.6), (0.4, 0.25)])
@pytest.mark.parametrize("name", LIGHTS)
def test_a_lamp_is_found_from_exact_luminances(points, name, ambient, lamp):
    normal = vertex_normals(points)
    seen = normal[:, 2] > 0.15
    light = shaded(points, LIGHTS[name], ambient, lamp)[seen]
    found = fit_lamp(normal[seen], light)
    assert degrees_between(found[1:], np.array(LIGHTS[name])) < 0.5
    assert found[0] == pytest.approx(ambient / light.mean(), abs=0.01)
    assert np.linalg.norm(found[1:]) == pytest.approx(lamp / light.mean(), rel=0.01)


@pytest.mark.parametrize(("ambient", "lamp"), [(0.3, 0.4), (0.05, 0.6)])
@pytest.mark.parametrize("name", LIGHTS)
def test_the_direction_of_a_known_light_is_found(points, name, ambient, lamp):
    error = degrees_between(lamp_on(lit(points, LIGHTS[name], ambient, lamp), points)[1:], np.array(LIGHTS[name]))
    print(f"{name}: {error:.1f} degrees")
    # From above it is the forehead's rim that is lit, where the drawing ends and its background shines in.
    assert error < (9 if name == "above" else 5)


@pytest.mark.parametrize(("background", "most"), [(0.02, 3), (0.95, 12)])
@pytest.mark.parametrize("name", ["left", "above", "far right"])
def test_the_direction_is_found_before_any_background(points, name, background, most):
    picture = drawn(points, shaded(points, LIGHTS[name], 0.3, 0.4), background)
    assert degrees_between(lamp_on(picture, points)[1:], np.array(LIGHTS[name])) < most


@pytest.mark.parametrize("name", ["front", "above left", "far right"])
def test_known_harmonics_are_read_back(transfer, points, name):
    known = harmonics_of(LIGHTS[name])
    normal = vertex_normals(points)
    values = harmonics(normal) @ known
    found = transfer.estimate(drawn(points, 0.5 * values), points)
    wanted = known / values[normal[:, 2] > 0.15].mean()
    assert np.linalg.norm(found - wanted) < 0.2 * np.linalg.norm(wanted)


@pytest.mark.parametrize("name", ["above", "above left", "far left", "far right"])
def test_a_shading_points_at_its_lamp(points, name):
    normal = vertex_normals(points)
    normal = normal[normal[:, 2] > 0.15]
    found = fit_shading(normal, 0.3 + 0.4 * (normal @ unit(LIGHTS[name])).clip(0))
    assert degrees_between(found[1:4], np.array(LIGHTS[name])) < 3


def test_the_mean_of_a_shading_is_one(points):
    normal = vertex_normals(points)
    seen, luminance = skin_luminance(lit(points, LIGHTS["far left"]), points, normal)
    shading = harmonics(normal[seen]) @ fit_shading(normal[seen], luminance)
    assert shading.mean() == pytest.approx(1, abs=0.1)  # over skin that is trusted exactly 1
    assert shading.min() > DARKEST


def test_brightness_is_no_direction_and_even_light_has_none(transfer, points):
    bright = lit(points, LIGHTS["above left"])
    dark = to_srgb(0.5 * to_linear(bright))
    wanted = transfer.estimate(bright, points)
    assert transfer.estimate(dark, points) == pytest.approx(wanted, abs=0.03)
    found = transfer.estimate(drawn(points, np.full(468, 0.4)), points)
    assert found[0] == pytest.approx(FLAT, abs=0.01)
    assert np.abs(found[1:]).max() < 0.01


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("cheek", CHEEKS)
def test_black_and_saturated_skin_is_left_out(points, cheek, level):
    picture, normal = lit(points, LIGHTS["left"]), vertex_normals(points)
    wanted = lamp_on(picture, points)
    column, row = np.round(points[CHEEKS[cheek], :2]).astype(int)
    picture[row - 8 : row + 9, column - 8 : column + 9] = level
    seen, luminance = skin_luminance(picture, points, normal)
    inside = np.abs(points[seen, :2] - [column, row]).max(1) < 4.5  # beyond the blur's reach
    assert not inside.any()
    assert (np.abs(points[:468, :2] - [column, row]).max(1) < 4.5).any()
    assert degrees_between(lamp_on(picture, points)[1:], wanted[1:]) < 2


def test_features_and_what_is_turned_away_are_left_out(points):
    normal = vertex_normals(points)
    seen, luminance = skin_luminance(lit(points, LIGHTS["front"]), points, normal)
    assert len(seen) == len(luminance) > 200
    assert not np.isin(seen, FEATURES).any()
    assert normal[seen, 2].min() > 0.1


def test_dark_hair_over_the_forehead_barely_counts(points):
    picture = lit(points, LIGHTS["left"])
    wanted = lamp_on(picture, points)
    picture[: int(points[FOREHEAD, 1] + 12), SIZE // 2 :] = 15
    assert degrees_between(lamp_on(picture, points)[1:], wanted[1:]) < 2


def test_a_face_under_its_own_light_stays_as_it_is(transfer, points, crop, everywhere):
    for picture in (lit(points, LIGHTS["left"]), crop):
        again = transfer(picture, points, everywhere, transfer.estimate(picture, points))
        assert np.abs(again.astype(int) - picture).max() <= 1


def test_a_face_in_nearly_even_light_stays_nearly_as_it_is(transfer, points, everywhere):
    even, nearly = drawn(points, np.full(468, 0.4)), lit(points, LIGHTS["left"], 0.4, 0.02)
    for picture, original in ((even, nearly), (nearly, even)):
        moved = transfer(picture, points, everywhere, transfer.estimate(original, points))
        assert np.abs(moved.astype(int) - picture).max() <= 4


@pytest.mark.parametrize(("one", "other"), [("left", "right"), ("far left", "far right"), ("right", "above left")])
def test_light_from_one_side_is_moved_to_another(transfer, points, everywhere, one, other):
    present, original = lit(points, LIGHTS[one]), lit(points, LIGHTS[other])
    moved = lamp_on(transfer(present, points, everywhere, transfer.estimate(original, points)), points)
    assert degrees_between(moved[1:], lamp_on(original, points)[1:]) < 5


@pytest.mark.parametrize("name", ["right", "above left", "front", "below right", "above"])
def test_most_of_a_difference_in_light_is_made_up_for(transfer, points, everywhere, name):
    # Weak lamps: the limit, which is there to leave the rest of a strong difference, does not bite.
    present, original = (lit(points, LIGHTS[lamp], 0.4, 0.25) for lamp in ("left", name))
    wanted = transfer.estimate(original, points)
    moved = transfer.estimate(transfer(present, points, everywhere, wanted), points)
    rest = np.linalg.norm(moved - wanted) / np.linalg.norm(transfer.estimate(present, points) - wanted)
    print(f"left to {name}: {rest:.0%} of the difference left")
    # The front's is the smallest difference: of one coefficient of nine.
    assert rest < (0.22 if name == "front" else 0.15)


@pytest.mark.parametrize("name", ["left", "right", "above", "far right"])
def test_a_lamp_on_the_portrait_is_read_back(transfer, points, crop, name):
    # In the picture are the portrait's own light and the lamp's, their product.
    normal, lamp = vertex_normals(points), shaded(points, LIGHTS[name], 0.3, 0.7)
    relit = to_srgb(to_linear(crop) * to_linear(drawn(points, lamp, 1.0)))
    seen, _ = skin_luminance(crop, points, normal)
    wanted = fit_lamp(normal[seen], harmonics(normal[seen]) @ transfer.estimate(crop, points) * lamp[seen])
    assert degrees_between(lamp_on(relit, points)[1:], wanted[1:]) < (10 if name == "far right" else 6)


@pytest.mark.parametrize("name", ["right", "above", "far left"])
def test_the_portrait_is_brought_under_a_lamp(transfer, points, crop, everywhere, name):
    original = to_srgb(to_linear(crop) * to_linear(drawn(points, shaded(points, LIGHTS[name], 0.3, 0.7), 1.0)))
    moved = transfer(crop, points, everywhere, transfer.estimate(original, points))
    wanted = lamp_on(original, points)
    assert degrees_between(lamp_on(crop, points)[1:], wanted[1:]) > 9
    assert degrees_between(lamp_on(moved, points)[1:], wanted[1:]) < 5


def test_coloured_light_keeps_its_hue(transfer, points, everywhere):
    grey = lit(points, LIGHTS["left"])
    picture = to_srgb(to_linear(grey) * np.array([1, 0.6, 0.4], np.float32))
    moved = transfer(picture, points, everywhere, transfer.estimate(lit(points, LIGHTS["right"]), points))
    gain = gains(moved, picture)
    assert moved.max() < 255
    assert picture.min() > 60  # so that eight bits say how much brighter a pixel became
    assert gain.max() > 1.5 > 0.7 > gain.min()
    assert (gain.max(2) / gain.min(2)).max() < 1.04


@pytest.mark.parametrize("degrees", [60, -60])
@pytest.mark.parametrize("name", ["left", "far right", "above"])
def test_a_profile_has_bounded_gains(transfer, points, everywhere, degrees, name):
    turn, middle = cv2.Rodrigues(np.radians(degrees) * np.array([0.0, 1, 0]))[0], points.mean(0)
    turned = ((points - middle) @ turn.T + middle).astype(np.float32)
    picture = lit(turned, LIGHTS["right"])
    assert np.isfinite(transfer.estimate(picture, turned)).all()
    original = transfer.estimate(lit(points, LIGHTS[name]), points)
    gain = gains(transfer(picture, turned, everywhere, original), picture)
    assert np.isfinite(gain).all()
    assert gain.max() < 2.55
    assert gain.min() > 1 / 2.6


@pytest.mark.parametrize("name", ["far left", "far right", "above", "front"])
def test_gains_are_smooth_across_the_border_of_the_mesh(transfer, points, name):
    hull = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.round(points[:468, :2]).astype(np.int32)), 1)
    outside = cv2.distanceTransform(1 - hull, cv2.DIST_L2, 5)
    picture = np.full((SIZE, SIZE, 3), 120, np.uint8)
    # Like the pipeline's: soft, it ends a few pixels from the mesh.
    region = (1 - outside / 8).clip(0, 1).astype(np.float32)
    original = transfer.estimate(lit(points, LIGHTS[name], 0.05, 0.6), points)
    change = np.log(gains(transfer(picture, points, region, original), picture)[..., 0])
    assert np.abs(change).max() > 0.3
    step = np.maximum(np.abs(np.diff(change, axis=0))[:, :-1], np.abs(np.diff(change, axis=1))[:-1])
    # Of which 0.02 is that of eight bits; inside, the nose's own edges are steeper.
    assert step[outside[:-1, :-1] > 0].max() < 0.26
    assert step.max() < 0.4


def test_relighting_keeps_the_brightness(transfer, points, everywhere):
    present = lit(points, LIGHTS["left"])
    moved = transfer(present, points, everywhere, transfer.estimate(lit(points, LIGHTS["right"]), points))
    at = tuple(np.round(points[:468, :2]).astype(int).T[::-1])
    assert to_linear(moved)[at].mean() == pytest.approx(to_linear(present)[at].mean(), rel=0.05)


def test_strength_goes_from_nothing_to_all(transfer, points, everywhere):
    picture, wanted = lit(points, LIGHTS["left"]), harmonics_of(LIGHTS["right"])
    results = [transfer(picture, points, everywhere, wanted, strength).astype(int) for strength in (0, 0.5, 1)]
    assert np.array_equal(results[0], picture)
    steps = [np.abs(result - picture).mean() for result in results]
    assert 0 < steps[1] < steps[2]
    assert np.array_equal(results[2], transfer(picture, points, everywhere, wanted))
    weak = LightingTransfer(strength=0.5)
    assert np.array_equal(results[1], weak(picture, points, everywhere, wanted))


def test_no_pixel_changes_by_more_than_the_limit(points, everywhere):
    picture = np.full((SIZE, SIZE, 3), 120, np.uint8)
    extreme = EVEN + 5 * np.eye(9, dtype=np.float32)[1]
    moved = gains(LightingTransfer(limit=1.3)(picture, points, everywhere, extreme), picture)
    assert moved.max() < 1.32
    assert moved.min() > 1 / 1.32
    assert moved.max() > 1.2 > 0.8 > moved.min()


def test_outside_the_region_nothing_changes(transfer, points):
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    region = np.zeros((SIZE, SIZE), np.float32)
    region[40:90, 40:90] = 1
    moved = transfer(picture, points, region, harmonics_of(LIGHTS["right"]))
    assert np.array_equal(moved[region == 0], picture[region == 0])
    assert not np.array_equal(moved[region == 1], picture[region == 1])


@pytest.mark.parametrize("level", [0, 1, 255])
def test_black_and_white_faces_have_finite_light(transfer, points, everywhere, level):
    picture = np.full((SIZE, SIZE, 3), level, np.uint8)
    found = transfer.estimate(picture, points)
    assert np.isfinite(found).all()
    assert found == pytest.approx(EVEN, abs=0.01)
    moved = transfer(picture, points, everywhere, harmonics_of(LIGHTS["above left"]))
    assert moved.shape == picture.shape
    assert moved.dtype == np.uint8
    assert np.isfinite(transfer.estimate(moved, points)).all()


def test_a_mesh_outside_the_crop_has_no_light(transfer, points):
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    away = points + np.array([300, 0, 0], np.float32)
    assert transfer.estimate(picture, away) == pytest.approx(EVEN, abs=1e-5)
    transfer(picture, away, np.ones((SIZE, SIZE), np.float32), harmonics_of(LIGHTS["right"]))


def test_nine_coefficients_are_all_that_is_taken(transfer, points, everywhere):
    # Two originals with the same numbers relight a face in the same way: the original itself is not at hand.
    picture = lit(points, LIGHTS["front"])
    originals = [lit(points, LIGHTS["left"]), lit(points, LIGHTS["left"])]
    originals[1][:12] = 255 - originals[1][:12]  # above the mesh
    assert not np.array_equal(*originals)
    numbers = [transfer.estimate(original, points) for original in originals]
    assert numbers[0].shape == (9,) and numbers[0].dtype == np.float32
    assert np.array_equal(*numbers)
    results = [transfer(picture, points, everywhere, number) for number in numbers]
    assert np.array_equal(*results)
    assert not np.array_equal(results[0], picture)


def test_linear_light_follows_the_standard_and_every_level_survives_the_way_there_and_back():
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_srgb(to_linear(levels)), levels)
    wanted = {0: 0, 10: 0.003035, 188: 0.502886, 255: 1}
    for level, light in wanted.items():
        assert to_linear(np.array([level], np.uint8))[0] == pytest.approx(light, abs=1e-5)
    assert to_srgb(np.array([-1, 2.0], np.float32)).tolist() == [0, 255]
