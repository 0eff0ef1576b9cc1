import cv2
import numpy as np
import pytest

from faceanon_hub.metrics import DlibSearch


@pytest.fixture(scope="module")
def search():
    return DlibSearch()


@pytest.fixture(scope="module")
def head(portrait):
    """The portrait's head, 256 pixels, its face right of the middle and above it."""
    return np.ascontiguousarray(portrait[:256, 64:320])


def middle(box):
    return (box[:2] + box[2:]) / 2


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_turned_faces_are_found_and_known(search, head, turn):
    (upright,) = search(head, network=False)
    lying = np.ascontiguousarray(np.rot90(head, -turn))
    (found,) = search(lying, network=False)
    assert found.turn == turn
    x, y = middle(upright.box)
    expected = {0: (x, y), 1: (256 - y, x), 2: (256 - x, 256 - y), 3: (y, 256 - x)}[turn]
    assert np.abs(middle(found.box) - expected).max() < 4
    assert np.linalg.norm(search.describe(head, upright) - search.describe(lying, found)) < 0.15


def test_the_network_sees_a_face_that_the_gradients_miss(search, head):
    covered = head.copy()
    covered[130:190, 90:220] = 255  # nose, mouth and chin
    assert search(covered, network=False) == []
    (found,) = search(covered)
    assert found.box[0] < 160 < found.box[2] and found.box[1] < 110 < found.box[3]


def test_small_faces_are_found(search, head):
    small = np.full((200, 300, 3), 128, np.uint8)
    small[80:200, 160:280] = cv2.resize(head, (120, 120), interpolation=cv2.INTER_AREA)
    (found,) = search(small, network=False)
    assert 30 < found.box[2] - found.box[0] < 50
    assert np.abs(middle(found.box) - middle(search(head)[0].box) * 120 / 256 - [160, 80]).max() < 5


def test_nothing_is_found_in_nothing(search):
    assert search(np.full((64, 90, 3), 90, np.uint8)) == []
