"""Photo to crop and back: where things land, without half-pixel errors, and what lies outside."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceanon_hub.alignment import (
    align,
    fit_rotation,
    invert,
    roll_of,
    similarity,
    transform,
    warp_in,
    warp_out,
    window,
)

SIZE = 128
turns = st.floats(-np.pi, np.pi)
scales = st.floats(0.05, 20)
spots = st.tuples(st.floats(-300, 4000), st.floats(-300, 4000))


def rotation(roll: float) -> np.ndarray:
    return np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])


def grid(width: int, height: int, left: int = 0, top: int = 0) -> np.ndarray:
    """Pixel centres (height, width, 2) as x, y."""
    return np.stack(np.meshgrid(np.arange(left, left + width), np.arange(top, top + height)), -1).astype(float)


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def waves(points: np.ndarray, length: float) -> np.ndarray:
    """A smooth picture, 28 to 228, at points (..., 2)."""
    turn = 2 * np.pi / length
    return 128 + 60 * np.sin(points[..., 0] * turn + 0.3) + 40 * np.cos(points[..., 1] * turn - 1)


def picture(width: int, height: int, length: float) -> np.ndarray:
    across, down = waves(grid(width, 1), length), waves(grid(1, height), length)
    levels = np.round(across + down - waves(np.zeros(2), length)).astype(np.uint8)
    return np.repeat(levels[..., None], 3, 2)


def drift(actual: np.ndarray, wanted: np.ndarray) -> float:
    """By how many pixels one picture is shifted against the other, to first order."""
    slope = np.stack([part.ravel() for part in np.gradient(wanted)], 1)
    return float(np.linalg.norm(np.linalg.lstsq(slope, (actual - wanted).ravel(), rcond=None)[0]))


def crop_of(scale: float, roll: float, width: int, height: int) -> np.ndarray:
    """The matrix of a crop in the middle of a photo."""
    return similarity(np.array([width, height]) / 2 + [0.37, -0.21], SIZE / scale, roll, SIZE)


def test_the_aligned_mesh_is_level_centred_and_two_thirds_of_the_crop(face):
    points = transform(face.landmarks, align(face.landmarks, SIZE))[:, :2]
    low, high = points.min(0), points.max(0)
    assert (high - low).max() == pytest.approx(SIZE / 1.5, abs=0.01)
    assert (low + high) / 2 == pytest.approx([SIZE / 2, SIZE / 2 + 0.03 * SIZE], abs=0.01)


@pytest.mark.parametrize("degrees", range(-180, 180, 30))
def test_the_aligned_face_stands_upright(face, degrees):
    # Across the eyes and down the nose, which need not be at a right angle: both within what the two differ by.
    tilted = face.landmarks.copy()
    tilted[:, :2] = tilted[:, :2] @ rotation(np.radians(degrees)).T
    points = transform(tilted, align(tilted, SIZE))[:, :2]
    across, down = points[263] - points[33], points[152] - points[10]
    tilts = np.degrees([np.arctan2(across[1], across[0]), np.arctan2(-down[0], down[1])])
    skew = abs(tilts[0] - tilts[1])
    assert np.abs(tilts).max() < skew + 0.1
    assert abs(tilts[0]) < 1
    assert roll_of(points) == pytest.approx(0, abs=1e-3)


@given(turns, scales, spots)
@settings(max_examples=60, deadline=None)
def test_the_crop_of_a_face_does_not_depend_on_where_it_lies_in_the_photo(face, roll, scale, spot):
    elsewhere = face.landmarks.astype(float)
    elsewhere[:, :2] = scale * elsewhere[:, :2] @ rotation(roll).T + spot
    elsewhere[:, 2] *= scale
    here, there = (transform(points, align(points, SIZE)) for points in (face.landmarks, elsewhere))
    assert there == pytest.approx(here, abs=0.02)


@given(turns)
@settings(max_examples=30, deadline=None)
def test_roll_follows_the_face(face, roll):
    points = face.landmarks[:, :2] @ rotation(roll).T
    change = roll_of(points) - roll_of(face.landmarks)
    assert np.exp(1j * change) == pytest.approx(np.exp(1j * roll), abs=1e-4)


def test_a_profile_is_aligned_by_forehead_and_chin(face):
    # Seen from the side the eyes' corners fall together and their line says nothing.
    profile = face.landmarks.copy()
    profile[:, 0] = 100 + 0.02 * (profile[:, 0] - 100)
    profile[263, 1] += 5  # noise, which turns the short line of the eyes by much
    assert abs(np.degrees(roll_of(profile))) < 10


@given(turns, scales, spots)
@settings(max_examples=60, deadline=None)
def test_there_and_back_is_where_it_was(roll, scale, spot):
    matrix = similarity(np.array(spot), SIZE / scale, roll, SIZE)
    points = np.random.default_rng(0).uniform(0, SIZE, (20, 3)).astype(np.float32)
    again = transform(transform(points, invert(matrix)), matrix)
    assert again == pytest.approx(points, abs=1e-3 * max(1, scale))


@given(turns, scales, spots)
@settings(max_examples=60, deadline=None)
def test_the_middle_of_the_square_is_the_middle_of_the_crop(roll, scale, spot):
    matrix = similarity(np.array(spot), SIZE / scale, roll, SIZE)
    assert moved(np.array(spot), matrix) == pytest.approx([SIZE / 2, SIZE / 2], abs=1e-6)
    assert np.hypot(*matrix[0, :2]) == pytest.approx(scale)
    assert np.linalg.det(matrix[:, :2]) == pytest.approx(scale**2)  # turned, not mirrored
    assert transform(np.array([[1.0, 2.0, 3.0]]), matrix)[0, 2] == pytest.approx(3 * scale)  # depth, too


@given(turns, scales, spots)
@settings(max_examples=60, deadline=None)
def test_the_window_holds_what_the_crop_shows_of_the_photo(roll, scale, spot):
    height, width = 3000, 3500
    matrix = similarity(np.array(spot), SIZE / scale, roll, SIZE)
    left, top, right, bottom = window(matrix, SIZE, (height, width, 3))
    assert 0 <= left <= right <= width
    assert 0 <= top <= bottom <= height
    corners = moved(np.array([[0, 0], [SIZE, 0], [0, SIZE], [SIZE, SIZE]], float), invert(matrix))
    assert left <= max(0, corners[:, 0].min() + 1e-3)
    assert top <= max(0, corners[:, 1].min() + 1e-3)
    assert right >= min(width, corners[:, 0].max() - 1e-3)
    assert bottom >= min(height, corners[:, 1].max() - 1e-3)
    # Nothing much beyond: what is pasted costs time by the pixel.
    assert right - left <= np.ptp(corners[:, 0]) + 3
    assert bottom - top <= np.ptp(corners[:, 1]) + 3


@pytest.mark.parametrize("roll", [0, 0.4, -2])
@pytest.mark.parametrize("scale", [0.05, 0.13, 0.3, 0.49, 0.7, 0.97, 1, 1.5, 3])
def test_a_crop_shows_the_photo_where_the_matrix_says(scale, roll):
    length = 50 / min(scale, 1)
    width = int(1.6 * SIZE / scale) + 7
    matrix = crop_of(scale, roll, width, width + 11)
    crop = warp_in(picture(width, width + 11, length), matrix, SIZE)[..., 1].astype(float)
    wanted = waves(moved(grid(SIZE, SIZE), invert(matrix)), length)
    assert drift(crop, wanted) < 0.1
    # The outermost pixels lack the neighbours from which the others are interpolated.
    assert np.abs(crop - wanted)[2:-2, 2:-2].max() < 2.5


def test_a_crop_averages_what_it_shrinks():
    board = np.repeat((np.indices((1100, 1100)).sum(0) % 2 * 255).astype(np.uint8)[..., None], 3, 2)
    for roll in (0, 0.3):
        crop = warp_in(board, crop_of(1 / 8, roll, 1100, 1100), SIZE)
        assert np.abs(crop.astype(int) - 127).max() < 8


@pytest.mark.parametrize("roll", [0, 0.4, -2])
@pytest.mark.parametrize("scale", [0.1, 0.5, 0.9, 1, 1.7, 3, 8, 20])
def test_a_crop_is_laid_back_where_the_matrix_says(scale, roll):
    length = 40 * max(scale, 1)  # of the crop's pixels
    matrix = crop_of(scale, roll, 2000, 1500)
    area = left, top, right, bottom = window(matrix, SIZE, (1500, 2000))
    laid = warp_out(waves(grid(SIZE, SIZE), length).astype(np.float32), matrix, area)
    assert laid.shape == (bottom - top, right - left)
    at = moved(grid(right - left, bottom - top, left, top), matrix)
    border = max(3, 1.5 * scale)
    inner = ((at > border) & (at < SIZE - 1 - border)).all(-1)
    wanted = waves(at, length)
    assert np.abs(laid - wanted)[inner].max() < 4
    rows, columns = (slice(where.min(), where.max()) for where in np.nonzero(inner))
    if scale <= 8 and roll == 0:
        assert drift(laid[rows, columns], wanted[rows, columns]) < 0.1


def test_laying_back_averages_what_it_shrinks():
    # Fine lines of a crop laid into a small face would else become a pattern of their own.
    board = (np.indices((SIZE, SIZE)).sum(0) % 2 * 255).astype(np.float32)
    matrix = crop_of(5, 0.3, 200, 200)
    left, top, right, bottom = area = window(matrix, SIZE, (200, 200))
    at = moved(grid(right - left, bottom - top, left, top), matrix)
    inner = ((at > 15) & (at < SIZE - 16)).all(-1)
    assert inner.sum() > 200
    assert np.abs(warp_out(board, matrix, area)[inner] - 127.5).max() < 25


@pytest.mark.parametrize("roll", [0, 0.8])
@pytest.mark.parametrize("scale", [0.1, 0.35, 1, 2.3, 6])
def test_there_and_back_a_smooth_photo_is_itself(scale, roll):
    length = 60 / min(scale, 1)
    width = int(2 * SIZE / scale) + 31
    photo = picture(width, width, length)
    matrix = crop_of(scale, roll, width, width)
    area = left, top, right, bottom = window(matrix, SIZE, photo.shape)
    again = warp_out(warp_in(photo, matrix, SIZE).astype(np.float32), matrix, area)
    at = moved(grid(right - left, bottom - top, left, top), matrix)
    border = max(4, 2 * scale)
    inner = ((at > border) & (at < SIZE - 1 - border)).all(-1)
    difference = (again - photo[top:bottom, left:right])[inner]
    assert np.abs(difference).max() < 4
    assert abs(difference.mean()) < 0.3
    assert np.array_equal(photo, picture(width, width, length))  # as it was


@pytest.mark.parametrize("scale", [0.3, 1, 2])
def test_outside_the_photo_its_border_goes_on(scale):
    side = int(SIZE / scale)
    photo = picture(side, side, 45 / min(scale, 1))
    beyond = 2 * side // 3
    wide = np.pad(photo, ((beyond, beyond), (beyond, beyond), (0, 0)), "edge")
    for center in ([0, side / 2], [side, side], [side / 3, side]):
        crop = warp_in(photo, similarity(np.array(center), side, 0.2, SIZE), SIZE)
        wanted = warp_in(wide, similarity(np.array(center) + beyond, side, 0.2, SIZE), SIZE)
        assert crop.min() > 20  # the picture is nowhere black
        assert np.abs(crop.astype(int) - wanted).mean() < 3  # half a pixel of the crop in where the border is


@pytest.mark.parametrize("scale", [0.02, 1, 30])
def test_a_square_all_outside_the_photo_raises_nothing(scale):
    photo = picture(90, 60, 40)
    matrix = similarity(np.array([-5000.0, 300.0]), SIZE / scale, 0.3, SIZE)
    assert warp_in(photo, matrix, SIZE).shape == (SIZE, SIZE, 3)
    left, top, right, bottom = window(matrix, SIZE, photo.shape)
    assert right - left == 0 or bottom - top == 0 or scale < 1


def test_colours_stay_apart():
    crop = warp_in(np.array([[[10, 200, 90]]], np.uint8), similarity(np.array([0.5, 0.5]), 4, 0.1, SIZE), SIZE)
    assert (crop == [10, 200, 90]).all()
    photo = np.zeros((300, 300, 3), np.uint8)
    photo[..., 0], photo[..., 2] = 250, 40
    for scale in (0.5, 2):
        matrix = crop_of(scale, 0.3, 300, 300)
        crop = warp_in(photo, matrix, SIZE)
        assert (crop == [250, 0, 40]).all()
        laid = warp_out(crop.astype(np.float32), matrix, window(matrix, SIZE, photo.shape))
        assert laid == pytest.approx(np.broadcast_to([250, 0, 40], laid.shape), abs=0.01)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_rotation_and_a_scale_are_found_again(weighted):
    random = np.random.default_rng(0)
    points = random.normal(size=(20, 3))
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    targets = 2.5 * points @ turn.T + [3, -1, 7]
    weights = None
    if weighted:  # what counts nothing may lie anywhere
        weights = random.random(20)
        weights[:5], targets[:5] = 0, 100
    found, scale = fit_rotation(points, targets, weights)
    np.testing.assert_allclose(found, turn, atol=1e-9)
    assert scale == pytest.approx(2.5)


def test_a_mirror_image_is_fitted_by_a_rotation():
    points = np.random.default_rng(1).normal(size=(20, 3))
    assert np.linalg.det(fit_rotation(points, points * [-1, 1, 1])[0]) == pytest.approx(1)
