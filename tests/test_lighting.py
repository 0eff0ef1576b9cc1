"""The light on a face: read off a known one, and moved to another face."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from faceanon_hub import LightingTransfer
from faceanon_hub.alignment import align, transform, warp_in
from faceanon_hub.lighting import mesh_triangles, to_linear, to_srgb, vertex_normals

SIZE = 128
NOSE, CHIN, FOREHEAD, LEFT_CHEEK, RIGHT_CHEEK = 4, 152, 10, 234, 454
LIGHTS = {
    "front": (0, 0, 1),
    "left": (-0.6, 0, 0.8),
    "right": (0.6, 0, 0.8),
    "above": (0, -0.6, 0.8),
    "above left": (-0.5, -0.4, 0.77),
    "below right": (0.4, 0.3, 0.87),
}


@pytest.fixture(scope="module")
def transfer() -> LightingTransfer:
    return LightingTransfer()


@pytest.fixture(scope="module")
def points(face) -> np.ndarray:
    return transform(face.landmarks, align(face.landmarks, SIZE))


@pytest.fixture(scope="module")
def everywhere() -> np.ndarray:
    return np.ones((SIZE, SIZE), np.float32)


def drawn(points: np.ndarray, values: np.ndarray, background: float = 0.4) -> np.ndarray:
    """A picture of the mesh, grey, its vertices of given linear light, nearer triangles over farther ones."""
    light = np.full((SIZE, SIZE), background)
    depth = np.full((SIZE, SIZE), np.inf)
    for triangle in mesh_triangles():
        corners = points[triangle].astype(float)
        (left, top), (right, bottom) = np.floor(corners[:, :2].min(0)).astype(int), np.ceil(corners[:, :2].max(0))
        y, x = np.mgrid[max(top, 0) : min(int(bottom) + 1, SIZE), max(left, 0) : min(int(right) + 1, SIZE)]
        matrix = np.vstack([corners[:, :2].T, np.ones(3)])
        if abs(np.linalg.det(matrix)) < 1e-9 or not x.size:
            continue
        parts = np.linalg.solve(matrix, np.stack([x.ravel(), y.ravel(), np.ones(x.size)])).reshape(3, *x.shape)
        z = np.tensordot(corners[:, 2], parts, 1)
        nearer = (parts > -1e-6).all(0) & (z < depth[y, x])
        depth[y[nearer], x[nearer]] = z[nearer]
        light[y[nearer], x[nearer]] = np.tensordot(values[triangle], parts, 1)[nearer]
    return np.repeat(to_srgb(light)[..., None], 3, 2)


def lit(points: np.ndarray, light: tuple[float, ...], ambient: float = 0.3, lamp: float = 0.4) -> np.ndarray:
    """A face of plain matte grey under a lamp and some light from all around."""
    direction = np.array(light) / np.linalg.norm(light)
    return drawn(points, ambient + lamp * (vertex_normals(points) @ direction).clip(0))


def degrees_between(one: np.ndarray, other: np.ndarray) -> float:
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


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


def test_normals_are_of_unit_length(points):
    normals = vertex_normals(points)
    assert normals.shape == (468, 3)
    assert normals.dtype == np.float32
    assert np.linalg.norm(normals, axis=1) == pytest.approx(np.ones(468), abs=1e-5)


def test_normals_point_out_of_the_face(points):
    normals = vertex_normals(points)
    assert normals[NOSE, 2] > 0.5
    assert normals[LEFT_CHEEK, 0] < -0.5
    assert normals[RIGHT_CHEEK, 0] > 0.5
    assert normals[CHIN, 1] > 0.3
    assert normals[FOREHEAD, 1] < 0
    assert (normals[:, 2] > 0).mean() > 0.8


def test_normals_turn_with_the_face(points):
    turn = np.array([[0, -1], [1, 0]])
    turned = points.copy()
    turned[:, :2] = turned[:, :2] @ turn.T
    wanted = vertex_normals(points)
    wanted[:, :2] = wanted[:, :2] @ turn.T
    assert vertex_normals(turned) == pytest.approx(wanted, abs=1e-3)


def test_points_without_area_have_finite_normals(points):
    assert np.isfinite(vertex_normals(np.zeros_like(points))).all()


@pytest.mark.parametrize("name", LIGHTS)
def test_the_direction_of_a_known_light_is_found(transfer, points, name):
    found = transfer.estimate(lit(points, LIGHTS[name]), points)
    assert found.shape == (4,)
    assert found.dtype == np.float32
    error = degrees_between(found[1:], np.array(LIGHTS[name]))
    print(f"{name}: {error:.1f} degrees")
    assert error < 15


@pytest.mark.parametrize("background", [0.02, 0.4, 0.95])
@pytest.mark.parametrize("name", [name for name in LIGHTS if name != "front"])
def test_the_side_of_a_known_light_is_found(transfer, points, name, background):
    # In the picture's plane, which is what one sees, whatever the background.
    light = np.array(LIGHTS[name])
    shading = 0.3 + 0.4 * (vertex_normals(points) @ light).clip(0)
    assert degrees_between(transfer.estimate(drawn(points, shading, background), points)[1:3], light[:2]) < 15


def test_brightness_is_not_direction(transfer, points):
    bright = lit(points, LIGHTS["above left"])
    dark = to_srgb(0.5 * to_linear(bright))
    wanted = transfer.estimate(bright, points)
    assert transfer.estimate(dark, points) == pytest.approx(wanted, abs=0.03)


def test_a_face_lit_evenly_has_no_direction(transfer, points):
    found = transfer.estimate(drawn(points, np.full(468, 0.4)), points)
    assert found[0] == pytest.approx(1, abs=0.02)
    assert np.abs(found[1:]).max() < 0.05


def test_dark_hair_over_the_forehead_barely_counts(transfer, points):
    picture = lit(points, LIGHTS["left"])
    wanted = transfer.estimate(picture, points)
    picture[: int(points[FOREHEAD, 1] + 12), SIZE // 2 :] = 15
    assert degrees_between(transfer.estimate(picture, points)[1:3], wanted[1:3]) < 15


def test_a_face_under_its_own_light_stays_as_it_is(transfer, points, portrait, face, everywhere):
    for picture in (lit(points, LIGHTS["left"]), warp_in(portrait, align(face.landmarks, SIZE), SIZE)):
        again = transfer(picture, points, everywhere, transfer.estimate(picture, points))
        assert np.abs(again.astype(int) - picture).max() <= 1


def test_light_from_the_left_is_moved_to_the_right(transfer, points, everywhere):
    wanted = transfer.estimate(lit(points, LIGHTS["right"]), points)
    moved = transfer.estimate(transfer(lit(points, LIGHTS["left"]), points, everywhere, wanted), points)
    assert degrees_between(moved[1:3], wanted[1:3]) < 15


@pytest.mark.parametrize("name", ["right", "above left", "front", "below right", "above"])
def test_most_of_a_difference_in_light_is_made_up_for(transfer, points, everywhere, name):
    # Weak lamps: the limit, which is there to leave the rest of a strong difference, does not bite.
    present, original = (lit(points, LIGHTS[lamp], 0.4, 0.25) for lamp in ("left", name))
    wanted = transfer.estimate(original, points)
    moved = transfer.estimate(transfer(present, points, everywhere, wanted), points)
    rest = np.linalg.norm(moved - wanted) / np.linalg.norm(transfer.estimate(present, points) - wanted)
    print(f"left to {name}: {rest:.0%} of the difference left")
    assert rest < 0.35


def test_relighting_keeps_the_brightness(transfer, points, everywhere):
    present = lit(points, LIGHTS["left"])
    moved = transfer(present, points, everywhere, transfer.estimate(lit(points, LIGHTS["right"]), points))
    at = tuple(np.round(points[:468, :2]).astype(int).T[::-1])
    assert to_linear(moved)[at].mean() == pytest.approx(to_linear(present)[at].mean(), rel=0.05)


def test_strength_goes_from_nothing_to_all(transfer, points, everywhere):
    picture, wanted = lit(points, LIGHTS["left"]), np.array([1, 0.4, 0, 0.2], np.float32)
    results = [transfer(picture, points, everywhere, wanted, strength).astype(int) for strength in (0, 0.5, 1)]
    assert np.array_equal(results[0], picture)
    steps = [np.abs(result - picture).mean() for result in results]
    assert 0 < steps[1] < steps[2]
    assert np.array_equal(results[2], transfer(picture, points, everywhere, wanted))
    weak = LightingTransfer(strength=0.5)
    assert np.array_equal(results[1], weak(picture, points, everywhere, wanted))


def test_no_pixel_changes_by_more_than_the_limit(points, everywhere):
    picture = np.full((SIZE, SIZE, 3), 120, np.uint8)
    extreme = np.array([1, 5, 0, 0], np.float32)
    moved = to_linear(LightingTransfer(limit=1.3)(picture, points, everywhere, extreme)) / to_linear(picture)
    assert moved.max() < 1.32
    assert moved.min() > 1 / 1.32
    assert moved.max() > 1.2 > 0.8 > moved.min()


def test_outside_the_region_nothing_changes(transfer, points):
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    region = np.zeros((SIZE, SIZE), np.float32)
    region[40:90, 40:90] = 1
    moved = transfer(picture, points, region, np.array([1, 0.6, 0, 0.2], np.float32))
    assert np.array_equal(moved[region == 0], picture[region == 0])
    assert not np.array_equal(moved[region == 1], picture[region == 1])


@pytest.mark.parametrize("level", [0, 1, 255])
def test_black_and_white_faces_have_finite_light(transfer, points, everywhere, level):
    picture = np.full((SIZE, SIZE, 3), level, np.uint8)
    found = transfer.estimate(picture, points)
    assert np.isfinite(found).all()
    assert found[0] == pytest.approx(1, abs=0.02)
    moved = transfer(picture, points, everywhere, np.array([1, -0.5, 0.2, 0.3], np.float32))
    assert moved.shape == picture.shape
    assert moved.dtype == np.uint8
    assert np.isfinite(transfer.estimate(moved, points)).all()


def test_a_mesh_outside_the_crop_has_no_light(transfer, points):
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    away = points + np.array([300, 0, 0], np.float32)
    assert transfer.estimate(picture, away).tolist() == [1, 0, 0, 0]
    transfer(picture, away, np.ones((SIZE, SIZE), np.float32), np.array([1, 0.5, 0, 0], np.float32))


def test_four_numbers_are_all_that_is_taken(transfer, points, everywhere):
    # Two originals with the same four numbers relight a face in the same way: the original itself is not at hand.
    picture = lit(points, LIGHTS["front"])
    originals = [lit(points, LIGHTS["left"]), lit(points, LIGHTS["left"])]
    originals[1][:12] = 255 - originals[1][:12]  # above the mesh
    assert not np.array_equal(*originals)
    results = [transfer(picture, points, everywhere, transfer.estimate(o, points)) for o in originals]
    assert np.array_equal(*results)


def test_every_level_survives_the_way_to_linear_light_and_back():
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_srgb(to_linear(levels)), levels)


def test_linear_light_follows_the_standard():
    wanted = {0: 0, 10: 0.003035, 188: 0.502886, 255: 1}
    for level, light in wanted.items():
        assert to_linear(np.array([level], np.uint8))[0] == pytest.approx(light, abs=1e-5)
    assert to_srgb(np.array([-1, 2.0], np.float32)).tolist() == [0, 255]
