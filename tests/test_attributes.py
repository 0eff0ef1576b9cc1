"""Apparent sex and age of a face and its glasses, and what may be kept of them."""

import tarfile

import cv2
import numpy as np
import PIL.Image
import pytest
import torch

from faceanon_hub import AttributeEstimator
from faceanon_hub.alignment import warp_in
from faceanon_hub.attributes import SURE, SURE_GLASSES, UNSURE, crop_matrix
from faceanon_hub.hub import DEFAULT_CHECKPOINT
from faceanon_hub.landmarks import IRIS_CENTERS
from faceanon_hub.training.fitting import to_tensor

EARS = [234, 454]  # vertices of the mesh where temples end
SIDE = 112  # of the estimator's crop
WEIGHTS = DEFAULT_CHECKPOINT / "attribute_estimator"


@pytest.fixture(scope="module")
def estimator():
    return AttributeEstimator.from_pretrained(WEIGHTS)


def test_the_portrait_is_a_grown_up_woman(estimator, portrait, face):
    sex, age, _ = estimator.read(portrait, face.landmarks)
    assert sex < -UNSURE and 20 < age < 50


def test_glasses_are_told_from_none(estimator, portrait, face):
    framed, color = portrait.copy(), (25, 20, 20)
    (left, right), ears = (face.landmarks[group, :2].astype(int) for group in (IRIS_CENTERS, EARS))
    for eye, ear, side in ((left, ears[0], -15), (right, ears[1], 15)):
        cv2.ellipse(framed, eye.tolist(), (15, 11), 0, 0, 360, color, 2, cv2.LINE_AA)
        cv2.line(framed, (eye + [side, -2]).tolist(), ear.tolist(), color, 2, cv2.LINE_AA)
    cv2.line(framed, (left + [15, 0]).tolist(), (right - [15, 0]).tolist(), color, 2, cv2.LINE_AA)
    assert estimator.coarse(portrait, face.landmarks)[2] == -SURE_GLASSES
    assert estimator.coarse(framed, face.landmarks)[2] == SURE_GLASSES


def test_a_photo_is_read_together_with_its_mirror_image(estimator, portrait, face):
    crop = warp_in(portrait, crop_matrix(face.landmarks, SIDE), SIDE)
    with torch.inference_mode():
        readings = [estimator.sex_and_age(to_tensor(view[None]))[0] for view in (crop, crop[:, ::-1].copy())]
    sex, age, _ = estimator.read(portrait, face.landmarks, mirrored=True)
    assert [sex, age] == pytest.approx(np.mean([reading.tolist() for reading in readings], 0), abs=1e-3)
    assert sex != pytest.approx(float(readings[0][0]), abs=1e-3)


@pytest.mark.parametrize("size", [80, 40, 24])
def test_a_small_face_keeps_its_age(estimator, portrait, face, size):
    scale = size / np.ptp(face.landmarks[:, 1])
    small = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    age = estimator.read(small, face.landmarks * np.float32(scale))[1]
    assert abs(age - estimator.read(portrait, face.landmarks)[1]) < 8


def test_women_and_men_are_told_apart(estimator, pipe, shared):
    """People who were drawn by other networks; found and read as the pipeline does."""
    told = []
    with tarfile.open(shared / "data" / "train-synthetic.tar") as tar:
        for sign, kind in ((-1, "female-"), (1, "male-")):
            for name in [name for name in tar.getnames() if name.startswith(kind)][::40][:12]:
                photo = np.asarray(PIL.Image.open(tar.extractfile(name)).convert("RGB"))
                found = max(pipe.find_faces(photo), key=lambda face: face.size)
                told.append(sign * np.sign(estimator.coarse(photo, found.landmarks)[0]))
    assert len(told) == 24 and told.count(-1) <= 2 and told.count(1) >= 16


def test_a_face_on_its_side_is_read_upright(estimator, portrait, face):
    upright = estimator.read(portrait, face.landmarks)
    height = portrait.shape[0]
    points = np.stack([face.landmarks[:, 1], height - 1 - face.landmarks[:, 0]], 1)
    lying = estimator.read(np.rot90(portrait).copy(), points)
    np.testing.assert_allclose(lying, upright, atol=0.5)


def test_nothing_beyond_the_crop_counts(estimator, portrait, face):
    left, top, right, bottom = face.box.astype(int)
    other = np.random.default_rng(0).integers(0, 256, portrait.shape, np.uint8)
    around = slice(max(top - 60, 0), bottom + 60), slice(left - 60, right + 60)
    other[around] = portrait[around]
    np.testing.assert_array_equal(estimator.read(other, face.landmarks), estimator.read(portrait, face.landmarks))


def test_only_coarse_numbers_are_kept(estimator, portrait, face, monkeypatch):
    def kept(sex: float, age: float, glasses: float = -1.0) -> tuple[float, ...]:
        monkeypatch.setattr(estimator, "read", lambda image, landmarks, mirrored: np.array([sex, age, glasses]))
        return tuple(estimator.coarse(portrait, face.landmarks))

    assert kept(-3.0, 33.1, 1.0) == (-SURE, 35, -SURE_GLASSES)
    assert kept(0.9 * UNSURE, 6.9, 2.0) == (0, 5, SURE_GLASSES)
    assert kept(3.0, 62.4, 6.0) == (SURE, 60, SURE_GLASSES)
    found = {kept(sex, age) for sex in np.linspace(-9, 9, 100) for age in np.linspace(0, 100, 200)}
    assert len(found) == 3 * 21
