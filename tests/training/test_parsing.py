"""Drawn faces label themselves, and a parser learns from them."""

import cv2
import numpy as np
import pytest
import torch

from faceanon_hub import FaceParser
from faceanon_hub import landmarks as lm
from faceanon_hub.errors import FaceAnonError
from faceanon_hub.parsing import HAIR, OTHER, PARTS
from faceanon_hub.training import parsing, parts
from faceanon_hub.training.fitting import fit
from faceanon_hub.training.parts import LABEL_SIZE, LabelledFaces, draw_faces, load_faces


@pytest.fixture(scope="module")
def faces(pipe, tmp_path_factory) -> LabelledFaces:
    """Two drawn faces, drawn in two runs."""
    folder = tmp_path_factory.mktemp("faces")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "SHARD", 1)
        draw_faces(pipe.generator, folder, [0], pipe.landmark_extractor.read)
        first = (folder / "00000.npz").stat().st_mtime_ns
        draw_faces(pipe.generator, folder, [0, 1], pipe.landmark_extractor.read)
    assert (folder / "00000.npz").stat().st_mtime_ns == first
    return load_faces([folder])


def test_drawn_faces_label_themselves(faces):
    assert len(faces) == 2
    for labels, points in zip(faces.labels, faces.points, strict=True):
        at = (points * LABEL_SIZE / parts.SIZE).astype(int)
        inside = labels[at[:468, 1], at[:468, 0]]
        assert not np.isin(inside, (HAIR, OTHER)).mean() > 0.1
        assert 0.05 < (labels == HAIR).mean() < 0.6
        assert labels[0, 0] == labels[0, -1] == OTHER
        for name, group in (("eyes", lm.LEFT_EYE), ("brows", lm.LEFT_BROW)):
            x, y = at[group].mean(0).astype(int)
            assert PARTS[labels[y, x]] == name


def test_a_beard_is_skin(faces):
    points = faces.points[0] * LABEL_SIZE / parts.SIZE
    bearded = np.full((LABEL_SIZE, LABEL_SIZE), HAIR, np.uint8)
    x, y = points[199].astype(int)
    assert PARTS[parts.add_features(bearded, points)[y, x]] == "skin"


@pytest.mark.parametrize("shape", [parsing.thing_shape, parsing.hand_shape, parsing.mask_shape])
def test_things_in_front_are_labelled_as_such(faces, shape):
    size, rng = 128, np.random.default_rng(0)
    crop = cv2.resize(faces.pixels[0], (size, size))
    shares = np.eye(len(PARTS), dtype=np.float32)[np.ones((size, size), int)]
    points = faces.points[0] * size / parts.SIZE
    seen = np.zeros(2)
    for _ in range(8):
        opacity = shape(points, size, rng)
        mixed, told = parsing.lay_over(crop, shares, opacity, np.full((size, size, 3), 255.0))
        assert mixed.dtype == np.uint8
        assert np.allclose(told.sum(2), 1, atol=1e-5)
        assert np.allclose(told[..., OTHER], opacity.clip(0, 1), atol=1e-5)
        seen += (opacity > 0.5).any(), (opacity < 0.5).any()
    assert seen.min() >= 7


def test_crops_are_the_same_for_the_same_seed_and_whole(faces):
    for seed in range(20):
        crop, shares = parsing.example(faces, 0, 64, np.random.default_rng(seed))
        again, _ = parsing.example(faces, 0, 64, np.random.default_rng(seed))
        assert np.array_equal(crop, again)
        assert crop.shape == (64, 64, 3) and shares.shape == (32, 32, len(PARTS))
        assert np.allclose(shares.sum(2), 1, atol=1e-4)


def test_a_parser_learns(faces, tmp_path):
    torch.manual_seed(0)
    model = FaceParser(sample_size=64, channels=(8, 16))
    batch = next(parsing.batches(faces, 64, 8, np.random.default_rng(9)))
    with torch.no_grad():
        before = float(parsing.loss(model, batch))
    fit(model, lambda rng: parsing.batches(faces, 64, 8, rng), parsing.loss, 40, tmp_path)
    with torch.no_grad():
        assert float(parsing.loss(model, batch)) < 0.7 * before
    assert FaceParser.from_pretrained(tmp_path).config.sample_size == 64


def test_a_folder_without_faces_is_named(tmp_path):
    with pytest.raises(FaceAnonError, match=tmp_path.name):
        load_faces([tmp_path])
