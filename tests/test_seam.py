"""What of a photo is hidden, what stays in front, and how the new face ends: on drawn faces of flat skin."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceanon_hub import landmarks as lm
from faceanon_hub.alignment import align, transform
from faceanon_hub.color import to_lab
from faceanon_hub.seam import carry, compose, covered, hidden, in_front, inner_face, silhouette

SIZE = 256
SKIN, NEW, HAIR, WALL = (205, 160, 135), (188, 148, 128), (45, 32, 26), (90, 130, 160)


@pytest.fixture(scope="module")
def points(face) -> np.ndarray:
    return transform(face.landmarks, align(face.landmarks, SIZE))


def person(points: np.ndarray, skin: tuple[int, int, int], hair_to: float = 0.0) -> np.ndarray:
    """A head and neck of flat skin before a wall; hair from above down to a part of the face's height."""
    picture = np.full((SIZE, SIZE, 3), WALL, np.uint8)
    head = cv2.dilate(silhouette(points, SIZE), np.ones((25, 25)))
    head[int(points[152, 1]) :, 90:166] = 1
    picture[head > 0] = skin
    top, height = points[10, 1], points[152, 1] - points[10, 1]
    if hair_to:
        picture[: round(top + hair_to * height), 60:196] = HAIR
    return picture


def erased(picture: np.ndarray, region: np.ndarray) -> np.ndarray:
    left = picture.copy()
    left[region == 1] = picture[region < 1].mean(0)
    return left


def laid(surroundings: np.ndarray, new: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return surroundings + alpha[..., None] * (new.astype(float) - surroundings)


def nothing() -> np.ndarray:
    return np.zeros((SIZE, SIZE), np.float32)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_inner_face_is_hidden_whatever_is_said_to_be_in_front(points, seed):
    front = np.random.default_rng(seed).random((SIZE, SIZE), dtype=np.float32)
    inner = inner_face(points, SIZE)
    assert (hidden(points, front)[inner > 0] == 1).all()
    assert (hidden(points, np.ones_like(front))[inner > 0] == 1).all()
    for group in (lm.LEFT_EYE, lm.RIGHT_EYE, lm.LEFT_BROW, lm.RIGHT_BROW, lm.OUTER_LIPS, lm.NOSE_BASE, [4, 1, 2]):
        for x, y in points[group, :2].round().astype(int):
            assert inner[y, x]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_picture_brings_the_inner_face_to_the_front(points, seed):
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 256, (int(rng.integers(1, 40)),) * 2 + (3,), dtype=np.uint8)
    crop = cv2.resize(cells, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)
    assert not in_front(crop, points)[inner_face(points, SIZE) > 0].any()


def test_without_anything_in_front_the_whole_face_is_hidden(points):
    assert in_front(person(points, SKIN), points)[silhouette(points, SIZE) > 0].max() < 0.05
    region = hidden(points, nothing())
    assert (region[silhouette(points, SIZE) > 0] == 1).all()
    assert region[0].max() == 0


def test_a_margin_hides_as_much_more_on_all_sides(points):
    height = float(np.ptp(points[lm.OVAL, 1]))
    plain, wider, widest = (hidden(points, nothing(), margin) for margin in (0.0, 0.1, 0.2))
    away = cv2.distanceTransform(1 - plain.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    for margin, region in ((0.1, wider), (0.2, widest)):
        assert region[away < margin * height - 1.5].all()
        assert not region[away > margin * height + 1.5].any()


def test_what_is_in_front_beyond_the_face_stays_within_a_margin_too(points):
    front = in_front(person(points, SKIN, 0.12), points)
    assert (hidden(points, front, 0.1)[(front == 1) & (inner_face(points, SIZE) == 0)] == 0).all()


def test_a_fringe_stays_and_a_dark_spot_on_the_forehead_does_not(points):
    crop = person(points, SKIN, 0.06)
    x, y = points[151, :2].round().astype(int)
    cv2.circle(crop, (int(x), int(y)), 4, HAIR, -1)
    front = in_front(crop, points)
    fringe = np.zeros((SIZE, SIZE), bool)
    fringe[: round(points[10, 1] + 0.045 * (points[152, 1] - points[10, 1])), 70:186] = True
    fringe &= silhouette(points, SIZE) > 0
    assert front[fringe].min() > 0.9
    assert front[y - 3 : y + 4, x - 3 : x + 4].max() == 0
    assert (hidden(points, front)[fringe] < 0.1).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_hidden_pixels_of_the_original_change_nothing(points, seed):
    original = person(points, SKIN, 0.12)
    region = hidden(points, in_front(original, points))
    other = original.copy()
    core = region == 1
    other[core] = np.random.default_rng(seed).integers(0, 256, (int(core.sum()), 3))
    face = person(points, NEW)
    for a, b in zip(
        compose(erased(original, region), region, face, points),
        compose(erased(other, region), region, face, points),
        strict=True,
    ):
        assert np.array_equal(a, b)


def test_all_that_was_erased_is_covered(points):
    region = hidden(points, nothing())
    new, alpha = compose(erased(person(points, SKIN), region), region, person(points, NEW), points)
    assert new.dtype == np.uint8
    assert alpha.dtype == np.float32
    assert (alpha[region == 1] == 1).all()
    assert alpha.min() >= 0
    assert alpha.max() == 1
    assert alpha[cv2.dilate((region > 0).astype(np.uint8), np.ones((31, 31))) == 0].max() == 0


def test_no_step_where_skin_meets_skin(points):
    region, original = hidden(points, nothing()), person(points, SKIN)
    surroundings, face = erased(original, region), person(points, NEW)
    new, alpha = compose(surroundings, region, face, points)
    shown = silhouette(points, SIZE)
    rim = (cv2.dilate(shown, np.ones((7, 7))) > 0) & (cv2.erode(shown, np.ones((7, 7))) == 0)

    def step(picture: np.ndarray) -> float:
        change = to_lab(picture.round().astype(np.uint8)) - to_lab(original)
        return float(np.linalg.norm(change, axis=2)[rim].mean())

    assert step(laid(surroundings, face, region)) > 2
    assert step(laid(surroundings, new, alpha)) < 1
    middle = points[4, :2].round().astype(int)[::-1]
    assert np.abs(new[tuple(middle)].astype(int) - NEW).max() <= 6  # the new face keeps its own colour


def test_hair_that_came_along_is_filled_with_skin(points):
    region = hidden(points, nothing())
    free, fringed = person(points, SKIN), person(points, SKIN, 0.12)
    assert covered(free, points) < 0.01
    assert covered(fringed, points) > 0.03
    new, _ = compose(erased(free, region), region, fringed, points)
    forehead = np.zeros((SIZE, SIZE), bool)
    forehead[int(points[10, 1]) + 2 : int(points[10, 1] + 14), 100:156] = True
    assert np.abs(new[forehead].astype(int) - SKIN).max() < 25
    assert np.abs(fringed[forehead].astype(int) - SKIN).max() > 100


def test_glasses_are_not_taken_for_hair(points):
    region, face = hidden(points, nothing()), person(points, SKIN)
    y = int(points[168, 1])
    left, right = int(points[234, 0]) - 6, int(points[454, 0]) + 6
    cv2.line(face, (left, y), (right, y), (20, 20, 20), 3)
    assert covered(face, points) < 0.01
    new, _ = compose(erased(person(points, SKIN), region), region, face, points)
    between = new[y, int(points[33, 0]) : int(points[263, 0])]
    assert between.max() < 60


def test_where_the_old_face_reached_farther_its_background_goes_on(points):
    # A larger nose in profile: what it hid was the wall.
    region = hidden(points, nothing())
    beyond = np.zeros((SIZE, SIZE), np.uint8)
    x = int(points[454, 0])
    original = person(points, SKIN)
    original[:, x - 4 :] = WALL
    cv2.rectangle(beyond, (x - 2, 120), (x + 14, 140), 1, -1)
    region = np.maximum(region, beyond)
    face = person(points, NEW)
    face[:, x + 1 :] = (240, 240, 20)
    new, alpha = compose(erased(original, region), region, face, points)
    shown = laid(erased(original, region), new, alpha)[125:135, x + 6 : x + 12]
    assert np.abs(shown - WALL).max() < 25


def test_a_change_of_a_small_copy_is_carried_over():
    fine = np.random.default_rng(0).integers(60, 200, (512, 512, 3), dtype=np.uint8)
    fine = cv2.GaussianBlur(fine, (0, 0), 1.5)
    small = cv2.resize(fine, (256, 256), interpolation=cv2.INTER_AREA)
    assert np.abs(carry(fine, small, small).astype(int) - fine).max() <= 1
    darker = carry(fine, small, np.round(small * 0.8).astype(np.uint8))
    assert np.abs(darker - 0.8 * fine)[8:-8, 8:-8].mean() < 2
    assert carry(small, small, fine[:256, :256]) is not small


def test_a_gap_in_a_fringe_is_hair_and_a_forehead_above_a_headband_is_not(points):
    picture = person(points, SKIN, hair_to=0.25)
    top, height = points[10, 1], points[152, 1] - points[10, 1]
    picture[round(top + 0.06 * height) : round(top + 0.12 * height), 120:132] = SKIN
    front = in_front(picture, points)
    assert front[round(top + 0.09 * height), 126] > 0.9
    banded = person(points, SKIN)
    banded[round(top + 0.2 * height) : round(top + 0.27 * height), 40:216] = HAIR
    assert in_front(banded, points)[round(top + 0.1 * height), 126] < 0.1


def test_the_new_face_runs_out_over_a_pixel_or_two(points):
    picture = person(points, SKIN, hair_to=0.2)
    region = hidden(points, in_front(picture, points))
    _, alpha = compose(erased(picture, region), region, person(points, NEW), points)
    column = alpha[: int(points[168, 1]), 128]
    assert (alpha[region == 1] == 1).all() and ((column > 0.05) & (column < 0.95)).sum() in range(1, 6)
