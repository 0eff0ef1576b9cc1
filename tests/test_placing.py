"""A drawn mesh in the original's pose and outline, and the drawn picture on it."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceanon_hub import landmarks as lm
from faceanon_hub import placing
from faceanon_hub.alignment import align, transform
from faceanon_hub.io.photos import Photo
from faceanon_hub.lighting import mesh_triangles, vertex_normals
from faceanon_hub.placing import (
    FEATURES,
    GAIN,
    IRISES,
    MOST_ERROR,
    SIZES,
    aim,
    crop_size,
    distortion,
    place,
    similarity,
    warp,
)

SIZE = 256
FLIP = np.diag([1.0, -1.0, -1.0])
STILL = np.eye(3)


@pytest.fixture(scope="module")
def points(face) -> np.ndarray:
    return transform(face.landmarks, align(face.landmarks, SIZE))


def yawed(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def seen_from(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """The mesh with its head turned by a pose."""
    middle = points.mean(0)
    return ((points - middle) @ (FLIP @ pose @ FLIP).T + middle).astype(np.float32)


def broader(points: np.ndarray, factor: float = 1.15) -> np.ndarray:
    """Somebody else's head: broader."""
    middle = points.mean(0)
    return ((points - middle) * [factor, 1, 1] + middle).astype(np.float32)


def gap(points: np.ndarray, pair: list[int], ends: list[int]) -> float:
    """How far the second of a pair is below the first, in lengths of the line between two ends and across it."""
    along = points[ends[1], :2] - points[ends[0], :2]
    return float((points[pair[1], :2] - points[pair[0], :2]) @ [-along[1], along[0]] / (along @ along))


def bent(before: np.ndarray, after: np.ndarray) -> float:
    """How far a line of points is from a turned and scaled copy of itself, in its own lengths."""
    rest = transform(before, similarity(before, after)) - after
    return float(np.sqrt((rest**2).sum(1).mean()) / np.ptp(after, 0).max())


def wavy(size: int) -> np.ndarray:
    y, x = np.mgrid[:size, :size] / size * 2 * np.pi
    waves = np.stack([np.sin(3 * x), np.sin(4 * y), np.cos(2 * x + 3 * y)], -1)
    return np.round(127.5 + 100 * waves).astype(np.uint8)


def test_a_mesh_placed_on_itself_stays_where_it_is(points):
    assert np.abs(place(points, STILL, points, STILL) - points)[:, :2].max() < 0.1


@settings(max_examples=20, deadline=None)
@given(st.floats(0.3, 4), st.floats(-0.5, 0.5), st.floats(-500, 500))
def test_where_the_drawn_mesh_lay_and_how_large_it_was_does_not_count(points, scale, roll, shift):
    c, s = scale * np.cos(roll), scale * np.sin(roll)
    elsewhere = transform(points, np.array([[c, -s, shift], [s, c, -shift]]))
    tilt = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    placed = place(elsewhere, tilt, points, STILL)
    assert np.abs(placed - points)[:, :2].max() < 0.02 * SIZE / 10


@pytest.mark.parametrize("yaw", [-35, -15, 0, 20, 40])
def test_the_head_is_turned_as_the_original_is(points, yaw):
    wanted = seen_from(points, yawed(yaw))
    placed = place(points, STILL, wanted, yawed(yaw))
    assert np.abs(placed - wanted)[:, :2].max() < 0.5
    unturned = place(points, STILL, wanted, STILL)
    if abs(yaw) > 10:
        assert np.abs(unturned - wanted)[:, :2].max() > 5  # so it was the pose that turned it


@pytest.mark.parametrize("yaw", [-30, 0, 30])
def test_the_outline_is_the_originals_and_the_features_are_the_drawn_ones(points, yaw):
    original, other = seen_from(points, yawed(yaw)), broader(points)
    placed = place(other, STILL, original, yawed(yaw))
    assert np.abs(placed - original)[lm.OVAL, :2].max() < 0.1
    before = seen_from(other, yawed(yaw))
    for group in (lm.LEFT_BROW, lm.RIGHT_BROW, lm.NOSE_BASE):
        assert bent(before[group, :2], placed[group, :2]) < 0.01


def test_the_edge_of_a_far_cheek_goes_to_the_originals(points):
    pose = yawed(45)
    original = seen_from(points, pose)
    placed = place(broader(points, 1.2), STILL, original, pose)
    hull = cv2.convexHull(original[:468, :2].astype(np.float32))
    outside = [cv2.pointPolygonTest(hull, tuple(map(float, p)), True) for p in placed[:468, :2]]
    features = {*lm.NOSE_BRIDGE, *lm.NOSE_BASE, *lm.OUTER_LIPS}
    assert min(d for i, d in enumerate(outside) if i not in features) > -0.01 * SIZE


@pytest.mark.parametrize("opened", [0.0, 0.3, 1.2])
def test_mouth_and_lids_open_as_the_originals(points, opened):
    original = points.copy()
    original[14, :2] = original[13, :2] + [0, opened * np.linalg.norm(np.subtract(*points[lm.MOUTH_CORNERS, :2]))]
    for upper, lower, (left, right) in ((159, 145, lm.LEFT_CORNERS), (386, 374, lm.RIGHT_CORNERS)):
        width = np.linalg.norm(points[left, :2] - points[right, :2])
        original[lower, :2] = original[upper, :2] + [0, 0.4 * opened * width]
    placed = place(broader(points), STILL, original, STILL)

    def same(pair: list[int], ends: list[int]) -> bool:
        return gap(placed, pair, ends) == pytest.approx(gap(original, pair, ends), abs=0.01)

    assert same(lm.LIP_MIDDLES, lm.MOUTH_CORNERS)
    for pair, ends in (([159, 145], lm.LEFT_CORNERS), ([386, 374], lm.RIGHT_CORNERS)):
        assert same(pair, ends)


@pytest.mark.parametrize("aside", [-0.2, 0.2])
def test_irises_look_where_the_originals_look(points, aside):
    original = points.copy()
    for corners, iris in ((lm.LEFT_CORNERS, range(468, 473)), (lm.RIGHT_CORNERS, range(473, 478))):
        original[list(iris), :2] += aside * (points[corners[1], :2] - points[corners[0], :2])
    placed = place(broader(points), STILL, original, STILL)
    for corners, iris in ((lm.LEFT_CORNERS, 468), (lm.RIGHT_CORNERS, 473)):
        told = []
        for mesh in (original, placed):
            eye = mesh[corners[1], :2] - mesh[corners[0], :2]
            told.append((mesh[iris, :2] - mesh[corners[0], :2]) @ eye / (eye @ eye))
        assert told[1] == pytest.approx(told[0], abs=0.01)


def test_distortion_counts_stretch_and_folds_but_neither_size_nor_turn(points):
    assert distortion(points, points) < 1e-3
    moved = transform(points, np.array([[1.5, -2.0, 7], [2.0, 1.5, -3]]))
    assert distortion(points, moved) < 1e-3
    stretched = (points * [1.21, 1, 1]).astype(np.float32)
    assert distortion(points, stretched) == pytest.approx(np.log(1.21) / 2, rel=0.05)
    torn = points.copy()
    torn[lm.OVAL[:18], 0] -= 0.5 * np.ptp(points[:, 0])
    assert distortion(points, torn) > 2 * distortion(points, stretched)


@pytest.mark.parametrize("size", SIZES)
def test_a_picture_laid_on_its_own_mesh_is_itself_at_every_size(points, size):
    picture = wavy(SIZE)
    placed = (points * (size / SIZE)).astype(np.float32)
    laid = warp(picture, points, placed, size)
    assert laid.shape == (size, size, 3)
    assert laid.dtype == np.uint8
    wanted = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA if size < SIZE else cv2.INTER_CUBIC)
    far = np.ones((size, size), np.uint8)
    cv2.fillConvexPoly(far, cv2.convexHull(placed[lm.OVAL, :2].round().astype(np.int32)), 0)
    inner = cv2.erode(1 - far, np.ones((size // 6 | 1,) * 2)) > 0  # the outline is taken from a little inside
    assert np.abs(laid.astype(int) - wanted)[inner].max() <= 12
    assert np.abs(laid.astype(int) - wanted)[inner].mean() <= 2


def marks(points: np.ndarray, size: int, vertices: list[int]) -> np.ndarray:
    picture = np.zeros((size, size, 3), np.float32)
    for x, y in points[vertices, :2]:
        spot = np.exp(-(((np.mgrid[:size, :size] + 0.5 - np.array([y, x])[:, None, None]) / 2.0) ** 2).sum(0) / 2)
        picture += spot[..., None].astype(np.float32)
    return (255 * picture.clip(0, 1)).astype(np.uint8)


@pytest.mark.parametrize("vertex", [33, 263, 4, 61, 291, 50, 280, 151])
def test_every_part_of_the_picture_comes_to_lie_on_its_vertex(points, vertex):
    placed = place(broader(points), STILL, points, STILL)
    laid = warp(marks(points, SIZE, [vertex]), points, placed, SIZE)[..., 0].astype(float)
    y, x = (np.average(axis, weights=laid) + 0.5 for axis in np.mgrid[:SIZE, :SIZE])
    assert np.hypot(*(placed[vertex, :2] - [x, y])) < 0.006 * SIZE


@pytest.mark.parametrize("yaw", [40, -40])
def test_a_far_cheek_is_not_torn(points, yaw):
    # Of a turned head the mesh folds behind the cheek: a spline through all of it turns the picture inside out there.
    pose = yawed(yaw)
    mesh = seen_from(points, pose)
    placed = place(mesh, pose, seen_from(broader(points, 1.2), pose), pose)
    y, x = np.mgrid[:SIZE, :SIZE]
    ramps = [warp(np.repeat(v[..., None], 3, 2).astype(np.uint8), mesh, placed, SIZE)[..., 0] for v in (x, y)]
    across, down = (cv2.GaussianBlur(v.astype(np.float32), (0, 0), 2) for v in ramps)
    (across_y, across_x), (down_y, down_x) = np.gradient(across), np.gradient(down)
    turns = across_x * down_y - across_y * down_x
    shown = np.zeros((SIZE, SIZE), np.uint8)
    facing = vertex_normals(placed)[:, 2]
    for triangle in mesh_triangles():
        if facing[triangle].min() > 0.2:
            cv2.fillConvexPoly(shown, placed[triangle, :2].round().astype(np.int32), 1)
    assert turns[shown > 0].min() > 0.2


def test_the_crop_is_as_fine_as_the_photo_and_no_finer(points):
    sizes = [crop_size(points * factor) for factor in (0.1, 0.5, 1, 2, 4, 20)]
    assert sizes == [128, 128, 256, 512, 1024, 1024]


def test_features_are_aimed_against_their_error_but_no_farther_than_a_little(points):
    rows = [*FEATURES, *IRISES]
    seen = points.copy()
    seen[:, 0] += 2
    moved = aim(points, seen) - points
    np.testing.assert_allclose(moved[rows, :2], np.tile([-2 * GAIN, 0], (len(rows), 1)), atol=1e-4)
    assert not np.delete(moved, rows, 0).any() and not moved[:, 2].any()
    np.testing.assert_array_equal(aim(points, points), points)
    seen[IRISES] += 50  # misread
    moved = np.linalg.norm((aim(points, seen) - points)[IRISES, :2], axis=1)
    np.testing.assert_allclose(moved, GAIN * MOST_ERROR * np.ptp(points[:, :2], axis=0).max(), rtol=1e-3)


def test_a_new_face_is_seen_where_it_was_aimed(pipe, portrait, face, monkeypatch):
    options = pipe.resolve()
    faces = [replace(face, seed=seed) for seed in range(4)]
    jobs = pipe.prepare_scene(Photo(portrait, None, False, None, None, "portrait"), faces, options).jobs
    drawn = pipe.sample(jobs, range(4), options)

    def error() -> float:
        fitted = [pipe.fit_face(job, one) for job, one in zip(jobs, drawn, strict=True)]
        seen = [pipe.landmark_extractor.read(new.picture).points - new.points for new in fitted if new is not None]
        return float(np.linalg.norm(np.array(seen)[:, FEATURES, :2], axis=2).mean())

    aimed = error()
    monkeypatch.setattr(placing, "aim", lambda placed, seen: placed)
    assert aimed < 0.9 * error()
