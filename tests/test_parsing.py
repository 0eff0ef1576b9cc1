"""The parser of the bundled checkpoint, on the public-domain portrait."""

import cv2
import numpy as np
import pytest
import torch

from faceanon_hub import FaceParser
from faceanon_hub import landmarks as lm
from faceanon_hub.alignment import align, transform, warp_in
from faceanon_hub.parsing import HAIR, OTHER, PARTS

SIZE = 256
EYES, LIPS, MOUTH = (PARTS.index(name) for name in ("eyes", "lips", "mouth"))


@pytest.fixture(scope="module")
def matrix(face) -> np.ndarray:
    return align(face.landmarks, SIZE)


@pytest.fixture(scope="module")
def crop(portrait, matrix) -> np.ndarray:
    return warp_in(portrait, matrix, SIZE)


@pytest.fixture(scope="module")
def points(face, matrix) -> np.ndarray:
    return transform(face.landmarks, matrix)[:, :2]


def at(parts: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The likeliest part at places in pixels of the crop."""
    column, row = ((places + 0.5) * len(parts) / SIZE).astype(int).T.clip(0, len(parts) - 1)
    return parts.argmax(2)[row, column]


def test_each_part_is_where_the_portrait_has_it(pipe, crop, points):
    parts = pipe.parser.parse(crop)
    assert parts.shape == (SIZE // 2, SIZE // 2, len(PARTS)) and parts.dtype == np.float32
    assert np.allclose(parts.sum(2), 1, atol=1e-4)
    assert not np.isin(at(parts, points[[50, 280, 205, 425, 151, 4, 199]]), (HAIR, OTHER)).any()
    assert (at(parts, points[[10]] - [0, 0.06 * SIZE]) == HAIR).all()
    assert (at(parts, np.array([[4, 4], [SIZE - 5, 4]])) == OTHER).all()
    assert (at(parts, points[lm.LEFT_EYE + lm.RIGHT_EYE]) == EYES).mean() > 0.4
    assert np.isin(at(parts, points[lm.INNER_LIPS]), (LIPS, MOUTH)).mean() > 0.7


def test_a_thing_in_front_is_no_face(pipe, crop, points):
    covered = crop.copy()
    x, y = points[205].astype(int)
    cv2.rectangle(covered, (x - 20, y - 20), (x + 20, SIZE), (30, 60, 160), -1)
    assert at(pipe.parser.parse(covered), points[[205]]) == OTHER
    assert at(pipe.parser.parse(crop), points[[205]]) != OTHER


def test_the_size_of_a_crop_counts_little(pipe, portrait, face):
    small, large = (
        pipe.parser.parse(warp_in(portrait, align(face.landmarks, size), size)) for size in (SIZE, 4 * SIZE)
    )
    assert (small.argmax(2) == large.argmax(2)).mean() > 0.97


def test_weights_are_saved_and_loaded(tmp_path, crop):
    torch.manual_seed(0)
    parser = FaceParser(sample_size=64, channels=(4, 8)).eval()
    parser.save_pretrained(tmp_path)
    again = FaceParser.from_pretrained(tmp_path)
    assert again.config.sample_size == 64
    assert np.array_equal(parser.parse(crop), again.parse(crop))
