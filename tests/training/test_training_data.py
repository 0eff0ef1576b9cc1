"""Shards to batches: the same numbers in the same step, and picture, maps and points that move together."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from faceanon_hub import FaceAnonError
from faceanon_hub.errors import UnreadableError
from faceanon_hub.training import TrainingConfig, conditioning
from faceanon_hub.training.data import Draws, FaceShards, Jitter, draw_weights

SIZE = 64


@pytest.fixture(scope="module")
def faces(prepared) -> FaceShards:
    return FaceShards([str(prepared)], "train", SIZE, Jitter(10, 0.1, 0.05))


def test_a_sample_is_what_the_network_takes(faces):
    sample = faces[0]
    assert {name: (tuple(value.shape), value.dtype) for name, value in sample.items()} == {
        "image": ((3, SIZE, SIZE), torch.uint8),
        "maps": ((8, SIZE, SIZE), torch.uint8),
        "valid": ((1, SIZE, SIZE), torch.uint8),
        "points": ((478, 2), torch.float32),
    }
    assert sample["maps"][0].float().mean() > 0.2 and sample["image"].float().std() > 20


def test_jitter_moves_everything_together(faces):
    plain, moved, again, other = (faces[item] for item in (0, (0, 1), (0, 1), (0, 2)))
    assert (moved["points"] - plain["points"]).abs().max() > 1
    assert all(torch.equal(moved[name], again[name]) for name in moved)
    assert not torch.equal(moved["image"], other["image"])
    for sample in (plain, moved):
        assert np.array_equal(sample["maps"].numpy(), conditioning.draw_maps(sample["points"].numpy(), SIZE))
    # The colours under the lips are those of the lips, wherever these are.
    colors = [s["image"][:, s["maps"][6] > 0].float().mean(1) for s in (plain, moved)]
    elsewhere = moved["image"][:, plain["maps"][6] > 0].float().mean(1)
    assert (colors[0] - colors[1]).abs().max() < 0.5 * (colors[0] - elsewhere).abs().max() + 4


def test_without_jitter_a_seed_moves_nothing(faces, prepared):
    still = FaceShards([str(prepared)], "train", SIZE)
    assert torch.equal(still[0, 5]["image"], faces[0]["image"])


def test_a_draw_follows_from_its_step_alone():
    weights = np.ones(50)
    whole = list(Draws(weights, 8, range(10), seed=3))
    assert list(Draws(weights, 8, range(6, 10), seed=3)) == whole[6:]
    assert list(Draws(weights, 8, range(10), seed=4)) != whole
    assert list(Draws(weights, 8, range(10), seed=3, process=1)) != whole
    assert len(whole) == 10 and {len(batch) for batch in whole} == {8}


def test_rare_faces_are_drawn_more_often():
    plain = {"yaw": 0.0, "eyes": 30.0, "mouth": 2.0, "ita": 50.0}
    facts = [plain, {**plain, "yaw": -60.0}, {**plain, "eyes": 5.0, "ita": -20.0}, {**plain, "mouth": 30.0}]
    config = TrainingConfig(
        data=("x",), profile_weight=3.0, closed_eyes_weight=2.0, dark_skin_weight=2.5, open_mouth_weight=1.5
    )
    weights = draw_weights(facts, config)
    assert weights.tolist() == [1, 3, 5, 1.5]
    drawn = np.bincount([n for batch in Draws(weights, 100, range(80), 0) for n, _ in batch], minlength=4) / 8000
    assert np.abs(drawn - weights / weights.sum()).max() < 0.02


def test_a_photo_in_two_folders_counts_once(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "copy")
    both = FaceShards([str(prepared), str(tmp_path / "copy")], "train", SIZE)
    assert len(both) == len(FaceShards([str(prepared)], "train", SIZE))


def test_splits_share_no_photo(prepared):
    sets = [FaceShards([str(prepared)], split, SIZE) for split in ("train", "validation")]
    train, held_out = ({fact["identity"] for fact in faces.facts} for faces in sets)
    assert train and held_out and not train & held_out


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
