"""The numbers of a look, on drawings whose truth is known and on the public-domain portrait."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from faceanon_hub import look as looks
from faceanon_hub.alignment import align, transform, warp_in
from faceanon_hub.look import AT, BLENDSHAPES, ROWS, angles_of, goal_of, look


@pytest.fixture(scope="module")
def crop(portrait, face):
    matrix = align(face.landmarks, 512)
    return warp_in(portrait, matrix, 512), transform(face.landmarks, matrix)


def seen(image, points, **told):
    mesh = SimpleNamespace(points=points, pose=np.eye(3), blendshapes=np.full(52, 0.25))
    return look(image, mesh, **told)


def test_a_look_has_a_name_for_every_row(crop):
    assert seen(*crop).shape == (len(ROWS),) == (len(set(ROWS)),)
    assert len(BLENDSHAPES) == 52


def test_angles_are_those_of_the_rotation():
    wanted = np.array([31.0, -12.0, 7.0])
    pose = Rotation.from_euler("YXZ", wanted, degrees=True).as_matrix()
    np.testing.assert_allclose(angles_of(pose), wanted, atol=1e-9)


def test_only_an_estimator_tells_sex_age_and_glasses(crop):
    assert np.isnan(seen(*crop)[-3:]).all()
    told = seen(*crop, estimator=lambda image, points: np.array([1.5, 40.0, -4.0]))
    assert [told[AT[name]] for name in ("sex", "age", "glasses")] == [1.5, 40.0, -4.0]


def test_a_larger_picture_shows_the_same(crop):
    image, points = crop
    large = seen(cv2.resize(image, (1024, 1024), interpolation=cv2.INTER_CUBIC), points * np.float32(2))
    small = seen(image, points)
    known = ~np.isnan(small)
    np.testing.assert_allclose(large[known], small[known], atol=1.0, rtol=0.05)


def test_dark_chins_read_as_beards_and_covered_foreheads_as_hair(crop):
    image, points = crop
    dark = image.copy()
    for index in looks.BEARD:
        cv2.circle(dark, tuple(int(v) for v in points[index, :2]), 12, (40, 30, 25), -1)
    for index in looks.FOREHEAD:
        cv2.circle(dark, tuple(int(v) for v in points[index, :2]), 12, (40, 30, 25), -1)
    before, after = seen(image, points), seen(dark, points)
    assert after[AT["beard"]] < before[AT["beard"]] - 20
    assert after[AT["forehead"]] > before[AT["forehead"]] + 20


def test_a_goal_has_a_free_forehead(crop):
    original = seen(*crop)
    original[AT["forehead"]], original[AT["beard"]] = 40.0, -10.0
    goal = goal_of(original)
    assert goal[AT["forehead"]] == looks.FREE_FOREHEAD and np.isnan(goal[AT["beard"]])
    assert original[AT["forehead"]] == 40.0
    np.testing.assert_array_equal(goal[:60], original[:60])


def test_a_goal_tells_of_a_beard_where_a_man_clearly_has_one_or_none(crop):
    original = seen(*crop)
    for value, sex, kept in (
        *((-30.0, 3.0, True), (-30.0, np.nan, True), (-10.0, 3.0, False), (-30.0, -3.0, False)),
        *((-2.0, 3.0, True), (-2.0, -3.0, False)),
    ):
        original[AT["beard"]], original[AT["sex"]] = value, sex
        goal = goal_of(original)[AT["beard"]]
        assert goal == value if kept else np.isnan(goal)


@pytest.mark.parametrize(
    ("row", "asked", "shown", "strange"),
    [
        ("glasses", -4.0, 1.0, 1),
        ("glasses", 4.0, -1.0, 1),
        ("glasses", 4.0, 1.0, 0),
        ("glasses", np.nan, 1.0, 0),
        ("sex", 3.0, -0.5, 1),
        ("sex", -3.0, -1.0, 0.5),
        ("sex", 3.0, 2.5, 0),
        ("beard", -2.0, -20.0, 1),
        ("beard", -30.0, -20.0, 0),
        ("beard", np.nan, -20.0, 0),
        ("sex", 0.0, -4.0, 0),
        ("sex", np.nan, -4.0, 0),
        ("age", 10.0, 22.0, 1),
        ("age", 10.0, 19.0, 0.5),
        ("age", 10.0, 16.0, 0),
        ("age", 30.0, 39.0, 0),
        ("age", 60.0, 42.0, 1),
        ("skinL", 70.0, 56.0, 0),
        ("skinL", 70.0, 49.0, 0.5),
        ("skinA", np.nan, 40.0, 0),
        ("age", np.nan, 40.0, 0),
        ("forehead", 5.0, 17.0, 0),
        ("forehead", 5.0, 27.0, 0.5),
        ("forehead", 5.0, 50.0, 1),
    ],
)
def test_what_is_seen_at_a_glance_is_strange(row, asked, shown, strange):
    goal, seen_row = np.zeros(len(ROWS)), np.zeros(len(ROWS))
    goal[AT[row]], seen_row[AT[row]] = asked, shown
    assert looks.strangeness(goal, seen_row) == strange


@pytest.mark.parametrize(
    ("asked", "shown", "grown"), [(10, 25, True), (10, 16, False), (15, 40, False), (np.nan, 40, False)]
)
def test_a_child_must_not_get_an_adults_face(asked, shown, grown):
    goal, seen_row = np.zeros(len(ROWS)), np.zeros(len(ROWS))
    goal[AT["age"]], seen_row[AT["age"]] = asked, shown
    assert looks.grown_up(goal, seen_row) == grown
