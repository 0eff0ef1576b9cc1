"""Labelled crops, holes in them, and the loop that trains the small networks."""

import functools
import json

import cv2
import numpy as np
import pytest
import torch

from faceanon_hub import FaceAnonError
from faceanon_hub.attributes import AttributeEstimator
from faceanon_hub.landmarks import FIVE
from faceanon_hub.surroundings import APPEARANCE, SurroundingsEncoder
from faceanon_hub.training import attributes, surroundings
from faceanon_hub.training.crops import EXTENTS, SIZE, degrade, load_crops, prepare_crops
from faceanon_hub.training.fitting import fit

SEX, AGE, LIGHT_X = (APPEARANCE.index(name) for name in ("sex", "age", "lightX"))


@pytest.fixture(scope="module")
def crops(tmp_path_factory, portrait, face):
    """The portrait, and a darker part of it, told to be women of 40 and 30."""
    folder = tmp_path_factory.mktemp("crops")
    cv2.imwrite(str(folder / "1.png"), portrait[..., ::-1])
    cv2.imwrite(str(folder / "2.png"), cv2.convertScaleAbs(portrait[40:, :, ::-1], alpha=0.7))
    found, told = iter([face.landmarks, face.landmarks - np.float32([0, 40, 0])]), iter([(-3.0, 40.0), (-2.0, 30.0)])
    pictures = [folder / "1.png", folder / "2.png"]
    prepare_crops(pictures, folder / "made", lambda *_: np.array(next(told)), lambda _: next(found))
    return load_crops([folder / "made"])


def test_crops_hold_what_was_told_and_where_the_face_is(crops, face):
    assert crops.names.tolist() == ["1", "2"] and crops.pixels.shape == (2, SIZE, SIZE, 3)
    np.testing.assert_array_equal(crops.labels[:, [SEX, AGE]], [[-3, 40], [-2, 30]])
    assert np.isfinite(crops.labels).all()
    assert np.ptp(crops.points[0], axis=0).max() == pytest.approx(SIZE / EXTENTS, rel=0.01)
    # The corners of the photo, 512 pixels apart.
    scale = SIZE / (EXTENTS * crops.width[0])
    assert np.linalg.norm(crops.corners[0, 1] - crops.corners[0, 0]) == pytest.approx(512 * scale, rel=1e-3)


def test_shards_that_are_there_are_not_made_again(crops, tmp_path):
    (tmp_path / "00000.npz").write_bytes(b"")
    prepare_crops([tmp_path / "absent.png"], tmp_path, lambda *_: np.zeros(2), lambda _: None)


def test_no_crops_is_an_error(tmp_path):
    with pytest.raises(FaceAnonError, match="no crops"):
        load_crops([tmp_path])


def test_every_hole_hides_eyes_nose_and_mouth(crops):
    rng = np.random.default_rng(0)
    shares = []
    for number in range(60):
        crop, points = crops.pixels[number % 2], crops.points[number % 2]
        mask = surroundings.hole(crop, points, crops.labels[number % 2, surroundings.COLORS], rng)
        column, row = points[FIVE].round().astype(int).T
        assert mask[row, column].all()
        shares.append(mask.mean())
    assert max(shares) > 1.3 * min(shares)


def test_women_are_drawn_as_often_as_men_of_each_source(crops):
    many = crops.take(np.array([0, 1, 1, 1, 1, 1, 1, 1]))
    many.labels[0, SEX] = 3
    _, labels = next(attributes.batches(many, np.zeros(8, int), 32, 400, np.random.default_rng(0)))
    assert 0.4 < (labels[:, 0] > 0).float().mean() < 0.6


def test_batches_follow_their_seed_and_mirrored_light_changes_side(crops):
    model = SurroundingsEncoder(channels=(4, 8))
    told = surroundings.targets(crops, {"1": np.arange(512.0), "2": np.ones(512)}, model)
    first, again = (next(surroundings.batches(crops, told, 128, 16, np.random.default_rng(3))) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    pictures, masks, wanted = first
    assert pictures.shape == (16, 3, 128, 128) and masks.shape == (16, 1, 128, 128)
    mirrored = wanted[:, -1].isnan()
    assert 0 < mirrored.sum() < 16
    lights = {round(abs(float(v)), 4) for v in told[:, LIGHT_X]}
    assert {round(abs(float(v)), 4) for v in wanted[:, LIGHT_X]} <= lights
    assert surroundings.loss(model, first).isfinite()


def test_style_coordinates_give_styles_back():
    styles = np.random.default_rng(0).standard_normal((40, 4)) @ np.random.default_rng(1).standard_normal((4, 512)) + 2
    names = np.array([str(number) for number in range(40)])
    model = SurroundingsEncoder(channels=(4, 8), styles=4)

    class Known:
        labels = np.random.default_rng(2).standard_normal((40, len(APPEARANCE))).astype(np.float32)

        def __len__(self):
            return 40

    known = Known()
    known.names = names
    told = surroundings.targets(known, dict(zip(names, styles, strict=True)), model)
    back = told[:, len(APPEARANCE) :] @ model.basis.numpy() + model.middle.numpy()
    np.testing.assert_allclose(back, styles, atol=1e-3)


def test_degraded_crops_are_less_sharp_and_keep_their_size(crops):
    rng = np.random.default_rng(0)
    crop = cv2.resize(crops.pixels[0], (112, 112))
    changed = [degrade(crop, 28, rng) for _ in range(20)]
    assert all(other.shape == crop.shape and other.dtype == np.uint8 for other in changed)
    assert sum(np.abs(other.astype(int) - crop).mean() > 1 for other in changed) > 10


def test_training_learns_and_goes_on_where_it_was_broken_off(crops, tmp_path):
    draw = functools.partial(attributes.batches, crops, np.zeros(2, int), 32, 8)

    def run(steps):
        torch.manual_seed(0)
        fit(AttributeEstimator(sample_size=32, channels=(4, 8)), draw, attributes.loss, steps, tmp_path)
        return AttributeEstimator.from_pretrained(tmp_path)

    model = run(100)
    (batch, _) = next(draw(np.random.default_rng(1)))
    with torch.no_grad():
        assert (model.sex_and_age(batch)[:, 0] < 0).all()
    kept = torch.load(tmp_path / "training.pt", weights_only=True)
    assert kept["step"] == 100
    again = run(100)  # nothing is left to do
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert json.loads((tmp_path / "config.json").read_text())["sample_size"] == 32
