"""Shards to batches: the same numbers in the same step, and faces framed as a generator draws them."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from faceanon_hub import FaceAnonError
from faceanon_hub.alignment import placement
from faceanon_hub.errors import UnreadableError
from faceanon_hub.training.data import Draws, FaceShards

SIZE = 64


@pytest.fixture(scope="module")
def faces(prepared) -> FaceShards:
    return FaceShards([str(prepared)], "train", SIZE)


def test_a_sample_is_what_the_discriminator_takes(faces):
    sample, mirrored = faces[0], faces[0, True]
    assert {name: (tuple(value.shape), value.dtype) for name, value in sample.items()} == {
        "image": ((3, SIZE, SIZE), torch.uint8),
        "valid": ((1, SIZE, SIZE), torch.uint8),
    }
    assert sample["image"].float().std() > 20 and sample["valid"].float().mean() > 0.8
    assert all(torch.equal(mirrored[name], sample[name].flip(2)) for name in sample)


def test_faces_are_framed_as_drawn_pictures_are(faces, pipe):
    generator, read = pipe.generator, pipe.landmark_extractor.read

    def framing(picture) -> np.ndarray:
        center, extent, roll = placement(read(np.ascontiguousarray(picture)).points)
        return np.array([extent / len(picture), center[0] / len(picture), center[1] / len(picture), roll])

    with torch.no_grad():
        drawn = [framing(p) for p in generator.render(generator.style(generator.latents(range(6)), 0.5), 256)]
    large = FaceShards([str(Path(faces._places[0][0]).parent)], "train", SIZE)
    photos = [framing(cv2.resize(large[n]["image"].permute(1, 2, 0).numpy(), (256, 256))) for n in range(4)]
    assert np.abs(np.mean(drawn, 0) - np.mean(photos, 0)).max() < 0.05


def test_a_face_is_its_stored_crop_and_mesh(faces):
    image, points = faces.face(1)
    low, high = points.min(0), points.max(0)
    assert image.ndim == 3 and points.shape == (478, 3) and (low[:2] > 0).all() and (high[:2] < len(image)).all()


def test_a_draw_follows_from_its_step_alone():
    whole = list(Draws(50, 8, range(10), seed=3))
    assert list(Draws(50, 8, range(6, 10), seed=3)) == whole[6:]
    assert list(Draws(50, 8, range(10), seed=4)) != whole
    assert list(Draws(50, 8, range(10), seed=3, process=1)) != whole
    assert len(whole) == 10 and {len(batch) for batch in whole} == {8}
    drawn = [one for batch in Draws(3, 100, range(30), seed=0) for one in batch]
    assert set(drawn) == {(number, mirrored) for number in range(3) for mirrored in (False, True)}


def test_a_photo_in_two_folders_counts_once(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "copy")
    both = FaceShards([str(prepared), str(tmp_path / "copy")], "train", SIZE)
    assert len(both) == len(FaceShards([str(prepared)], "train", SIZE))


def test_splits_share_no_photo(prepared):
    sets = [FaceShards([str(prepared)], split, SIZE) for split in ("train", "validation")]
    train, held_out = ({each[n]["image"].numpy().tobytes() for n in range(len(each))} for each in sets)
    assert len(train) + len(held_out) == 12 and held_out and not train & held_out


def test_what_cannot_be_read_is_a_clear_error(prepared, tmp_path):
    with pytest.raises(FaceAnonError, match=r"manifest\.json"):
        FaceShards([str(tmp_path)], "train", SIZE)
    with pytest.raises(FaceAnonError, match="too small for 256"):
        FaceShards([str(prepared)], "train", 256)
    shutil.copytree(prepared, tmp_path / "cut")
    (shard,) = (tmp_path / "cut").glob("train-*.tar")
    shard.write_bytes(shard.read_bytes()[:5000])
    with pytest.raises(UnreadableError, match=shard.name):
        FaceShards([str(tmp_path / "cut")], "train", SIZE)
    shutil.copytree(prepared, tmp_path / "none", ignore=shutil.ignore_patterns("*.tar"))
    with pytest.raises(FaceAnonError, match="no sample for train"):
        FaceShards([str(tmp_path / "none")], "train", SIZE)
