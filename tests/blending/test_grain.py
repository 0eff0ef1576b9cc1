"""The new face is as soft and as noisy as what is round it."""

import cv2
import numpy as np
import pytest

from faceanon_hub.alignment import align, transform
from faceanon_hub.blending.grain import Grain, measure
from faceanon_hub.blending.grain import match as lay
from faceanon_hub.blending.seam import silhouette

SIZE = 256


@pytest.fixture(scope="module")
def points(face) -> np.ndarray:
    return transform(face.landmarks, align(face.landmarks, SIZE))


@pytest.fixture(scope="module")
def hidden(points) -> np.ndarray:
    return silhouette(points, SIZE).astype(np.float32)


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    """A picture with details of all sizes, as pictures have them."""
    rng, picture = np.random.default_rng(1), np.full((SIZE, SIZE), 128.0)
    for width in (0.7, 1.5, 3, 6, 12):
        layer = cv2.GaussianBlur(rng.normal(0, 1, (SIZE, SIZE)), (0, 0), width)
        picture += 9 * layer / layer.std()
    return np.repeat(picture.clip(0, 255).astype(np.uint8)[..., None], 3, 2)


def match(face: np.ndarray, photo: np.ndarray, hidden: np.ndarray, points: np.ndarray) -> np.ndarray:
    return lay(face, measure(face, photo, hidden, points))


def details(picture: np.ndarray) -> float:
    gray = picture[..., 1].astype(np.float32)
    return float(np.abs(gray - cv2.GaussianBlur(gray, (0, 0), 1)).mean())


@pytest.mark.parametrize("blur", [0.8, 1.5, 3.0])
def test_a_face_in_a_soft_photo_is_soft(drawn, hidden, points, blur):
    photo = cv2.GaussianBlur(drawn, (0, 0), blur)
    matched = details(match(drawn, photo, hidden, points))
    assert details(photo) < matched < 2 * details(photo) + 0.2
    assert matched < details(drawn)


def test_a_face_in_a_photo_as_sharp_stays_as_it_is(drawn, hidden, points):
    assert match(drawn, drawn, hidden, points) is drawn
    soft = cv2.GaussianBlur(drawn, (0, 0), 2)
    assert match(soft, drawn, hidden, points) is not None
    assert details(match(soft, drawn, hidden, points)) < 1.6 * details(soft) + 3


def test_a_face_in_a_noisy_photo_is_noisy(hidden, points):
    smooth = np.full((SIZE, SIZE, 3), 128, np.uint8)
    noise = np.random.default_rng(2).normal(0, 4, (SIZE, SIZE, 1))
    noisy = (smooth + noise).round().astype(np.uint8)
    assert match(smooth, noisy, hidden, points)[..., 0].std() == pytest.approx(4, rel=0.3)
    assert match(smooth, smooth, hidden, points) is smooth


def test_what_was_hidden_tells_nothing(drawn, hidden, points):
    photo = cv2.GaussianBlur(drawn, (0, 0), 1.5)
    other = photo.copy()
    other[hidden > 0] = np.random.default_rng(3).integers(0, 256, (int((hidden > 0).sum()), 3))
    assert np.array_equal(match(drawn, photo, hidden, points), match(drawn, other, hidden, points))


def test_where_nothing_is_left_round_a_face_it_stays_as_it_is(drawn, points):
    assert match(drawn, drawn, np.ones((SIZE, SIZE), np.float32), points) is drawn


def test_the_same_noise_is_laid_over_every_frame(drawn):
    noisy = lay(drawn, Grain(0, 4)).astype(int)
    assert np.array_equal(noisy, lay(drawn, Grain(0, 4)))
    assert (noisy - drawn)[(drawn > 20) & (drawn < 235)].std() == pytest.approx(4, rel=0.1)
