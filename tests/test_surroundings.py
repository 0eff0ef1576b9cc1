"""What hair, neck and clothes say of a face, and that nothing of the face itself is seen."""

import numpy as np
import pytest

from faceanon_hub import SurroundingsEncoder
from faceanon_hub.alignment import transform
from faceanon_hub.blending.seam import hidden as hidden_region
from faceanon_hub.hub import DEFAULT_CHECKPOINT
from faceanon_hub.look import AT, ROWS
from faceanon_hub.surroundings import APPEARANCE, crop_matrix

WEIGHTS = DEFAULT_CHECKPOINT / "surroundings_encoder"
SEX, AGE = APPEARANCE.index("sex"), APPEARANCE.index("age")


@pytest.fixture(scope="module")
def encoder():
    return SurroundingsEncoder.from_pretrained(WEIGHTS)


@pytest.fixture(scope="module")
def hidden(portrait, face):
    """Where the portrait's face is hidden, (H, W)."""
    return hidden_region(face.landmarks, np.zeros((512, 512), np.float32))


@pytest.fixture(scope="module")
def seen(encoder, portrait, face, hidden):
    return encoder.cut(portrait, face.landmarks, hidden)


def test_hair_and_suit_are_those_of_a_grown_up(encoder, seen):
    crop, mask = seen
    mean, deviation = encoder.encode(crop[None], mask[None])
    assert mean.shape == deviation.shape == (1, len(encoder.rows)) and (deviation > 0).all()
    assert 20 < mean[0, AGE] < 55


def test_hidden_pixels_of_the_photo_change_nothing(encoder, portrait, face, hidden, seen):
    changed = portrait.copy()
    changed[hidden > 0] = np.random.default_rng(0).integers(0, 256, (int((hidden > 0).sum()), 3))
    assert all(map(np.array_equal, seen, encoder.cut(changed, face.landmarks, hidden)))


def test_masked_pixels_of_a_crop_change_nothing(encoder, seen):
    crop, mask = seen
    changed = crop.copy()
    changed[mask > 0] = np.random.default_rng(0).integers(0, 256, (int(mask.sum()), 3))
    first, second = (encoder.encode(one[None], mask[None]) for one in (crop, changed))
    assert all(map(np.array_equal, first, second))


def test_the_face_lies_under_the_mask_and_hair_does_not(face, seen):
    mask = seen[1]
    column, row = transform(face.landmarks, crop_matrix(face.landmarks, len(mask)))[:, :2].round().astype(int).T
    assert mask[row, column].all() and mask.mean() < 0.6


def test_a_crop_is_the_same_in_a_larger_photo(encoder, portrait, face, hidden, seen):
    wide, more = (np.pad(a, [(300, 200), (100, 400), (0, 0)][: a.ndim], mode="edge") for a in (portrait, hidden))
    crop, mask = encoder.cut(wide, face.landmarks + np.float32([100, 300, 0]), more)
    np.testing.assert_array_equal(mask, seen[1])
    assert np.abs(crop.astype(int) - seen[0]).mean() < 0.2  # shrunk from another pixel on


def test_what_lies_beyond_the_photo_is_masked(encoder, portrait, face, hidden):
    left, top, right, bottom = face.box.astype(int)
    part = np.s_[top:bottom, left:right]
    crop, mask = encoder.cut(portrait[part], face.landmarks - np.float32([left, top, 0]), hidden[part])
    assert mask[:8].all() and mask[-8:].all() and mask[:, :8].all() and mask[:, -8:].all()
    assert not crop[mask > 0].any()


def test_a_result_does_not_depend_on_its_batch(encoder, seen):
    crop, mask = seen
    others = np.random.default_rng(0).integers(0, 256, (3, *crop.shape), np.uint8)
    alone = encoder.encode(crop[None], mask[None])
    among = encoder.encode(np.stack([*others, crop]), np.stack([mask] * 4))
    for one, many in zip(alone, among, strict=True):
        np.testing.assert_array_equal(one[0], many[-1])


def test_who_sees_nothing_is_less_sure(encoder, seen):
    crop, mask = seen
    some = encoder.encode(crop[None], mask[None])
    none = encoder.encode(crop[None], np.ones_like(mask)[None])
    assert none.deviation[0, SEX] > 1.2 * some.deviation[0, SEX]


def test_style_rows_are_coordinates_of_the_priors_style(encoder):
    basis = encoder.basis.double().numpy()
    np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=2e-3)
    assert encoder.rows[len(APPEARANCE) :] == tuple(f"style{number}" for number in range(len(basis)))


def test_a_look_is_completed_by_what_it_lacks(encoder, portrait, face, hidden, seen):
    mean = encoder.encode(*(array[None] for array in seen)).mean[0]
    goal = np.full(len(ROWS), np.nan)
    goal[AT["age"]] = 70.0
    encoder.complete(goal, portrait, face.landmarks, hidden)
    assert goal[AT["age"]] == 70 and goal[AT["sex"]] == mean[SEX] and np.isnan(goal).sum() == len(ROWS) - 2
