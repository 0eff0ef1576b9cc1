"""The independent detector, and which of its boxes match."""

import cv2
import numpy as np
import pytest

from faceanon_hub.metrics.coverage import DlibFaces, covered, redetected

NONE = np.empty((0, 4), np.float32)


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float32)


@pytest.fixture(scope="module")
def detector() -> DlibFaces:
    return DlibFaces()


def test_the_portraits_face_is_found_where_ours_is(detector, portrait, face):
    found = detector(portrait)
    assert found.shape == (1, 4)
    assert found.dtype == np.float32
    assert covered(found, face.box[None]).all()
    left, top, right, bottom = found[0]
    middle = face.landmarks[:, :2].mean(0)
    assert left < middle[0] < right
    assert top < middle[1] < bottom


def test_no_face_is_no_box(detector):
    assert detector(np.full((100, 150, 3), 127, np.uint8)).shape == (0, 4)


def test_boxes_of_a_wide_and_of_a_large_photo_are_in_its_pixels(detector, portrait):
    wide = np.concatenate([portrait, np.zeros_like(portrait)[:, :200]], 1)
    assert detector(wide) == pytest.approx(detector(portrait), abs=12)
    large = cv2.resize(portrait, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    assert detector(large) == pytest.approx(4 * detector(portrait), abs=60)


def test_a_lower_threshold_finds_more(detector, portrait):
    assert len(DlibFaces(-1)(portrait)) > len(detector(portrait))


@pytest.mark.parametrize(
    ("box", "is_covered", "is_redetected"),
    [
        ((0, 0, 10, 10), True, True),  # the same
        ((0, 0, 4, 4), True, False),  # inside
        ((-20, -20, 30, 30), True, False),  # round it
        ((5, 0, 15, 10), False, True),  # half of it, IoU 1 / 3
        ((4, 0, 14, 10), True, True),  # 60 % of it
        ((6, 0, 16, 10), False, False),  # 40 % of it, IoU 1 / 4
        ((10, 0, 20, 10), False, False),  # beside it
        ((20, 20, 30, 30), False, False),  # far in both directions: two negative sides are no area
    ],
)
def test_matches(box, is_covered, is_redetected):
    reference = boxes((0, 0, 10, 10))
    # An IoU above 0.3 counts for both; half of two equal boxes has it.
    assert covered(boxes(box), reference).tolist() == [is_covered or is_redetected]
    assert redetected(boxes(box), reference).tolist() == [is_redetected]


def test_each_box_has_an_answer_of_its_own():
    ours = boxes((100, 100, 120, 120), (0, 0, 10, 10))
    assert covered(boxes((1, 1, 11, 11), (50, 50, 60, 60), (98, 98, 118, 120)), ours).tolist() == [True, False, True]


@pytest.mark.parametrize("function", [covered, redetected])
def test_none_on_either_side(function):
    some = boxes((0, 0, 10, 10), (20, 0, 30, 10))
    assert function(some, NONE).tolist() == [False, False]
    assert function(NONE, some).shape == (0,)
    assert function(NONE, NONE).shape == (0,)
    assert function(NONE, NONE).dtype == bool
