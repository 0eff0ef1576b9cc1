"""New people that go with their surroundings: what is learnt of looks, and what it changes in the network."""

from __future__ import annotations

import copy

import numpy as np
import PIL.Image
import pytest
import torch
from typer.testing import CliRunner

from benchmarks.scenes import turned
from faceanon_hub import FaceAnonError, FaceAnonGenerator, FaceAnonPipeline, latents
from faceanon_hub.cli import app
from faceanon_hub.hub import DEFAULT_CHECKPOINT, read_record
from faceanon_hub.latents import Looks, agreement, fit_checkpoint, fit_latents, look

CONTEXT, LATENT = 256, 64


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return FaceAnonGenerator(sample_size=32, channels=(8, 8, 8, 8)).eval()


def made_up(count: int = 300, seed: int = 0) -> tuple[Looks, np.ndarray, np.ndarray]:
    """Looks of a network whose latents pick sex and age along two directions, whatever the context tells of them."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(np.random.default_rng(1).standard_normal((LATENT, 2)))[0].T
    readings = np.random.default_rng(2).standard_normal((2, CONTEXT)) / CONTEXT**0.5
    contexts = rng.standard_normal((count, CONTEXT)) + 3
    found = rng.standard_normal((count, 2, LATENT))
    found *= LATENT**0.5 / np.linalg.norm(found, axis=2, keepdims=True)
    old = (contexts - 3) @ readings.T * [3, 10] + [0, 40]
    new = found @ directions.T * [1, 4] + [0, 40] + 0.1 * rng.standard_normal((count, 2, 2))
    return Looks(old, new, found, contexts), directions, readings


def first_layer(net, latent, context):
    return net.mapping[0](torch.cat([torch.as_tensor(latent), torch.as_tensor(context)], -1).float())


@torch.no_grad()
def test_latents_move_along_what_the_surroundings_tell_and_nowhere_else(small):
    looks, directions, readings = made_up()
    net = copy.deepcopy(small)
    told = fit_latents(net, looks, strengths=(2.0, 1.0), kept=0.5)
    assert all(share["latent"] > 0.9 and share["context"] > 0.5 for share in told.values())
    fresh, _, _ = made_up(200, seed=7)
    latent, context = fresh.latents[:, 0], fresh.contexts
    # The old layer's answer to the new one's: which latent would have given it?
    change = first_layer(net, latent, context) - first_layer(small, latent, context)
    moved = torch.linalg.lstsq(small.mapping[0].weight[:, :LATENT].double(), change.double().T).solution.T.numpy()
    along = moved @ directions.T
    assert np.linalg.norm(moved - along @ directions) < 0.2 * np.linalg.norm(moved)
    wanted = (context - 3) @ readings.T * [2, 1] - 0.5 * latent @ directions.T
    for got, expected in zip(along.T, wanted.T, strict=True):
        assert np.corrcoef(got, expected)[0, 1] > 0.9
        assert 0.7 < got.std() / expected.std() < 1.3


@torch.no_grad()
def test_nothing_else_of_the_network_changes_and_no_strength_changes_nothing(small):
    looks, _, _ = made_up()
    changed, same = copy.deepcopy(small), copy.deepcopy(small)
    fit_latents(changed, looks)
    fit_latents(same, looks, strengths=(0.0, 0.0))
    for (name, before), after, still in zip(
        small.named_parameters(), changed.parameters(), same.parameters(), strict=True
    ):
        assert torch.equal(before, after) == (name not in ("mapping.0.weight", "mapping.0.bias"))
        assert torch.equal(still, before)


@torch.no_grad()
def test_an_attribute_of_no_strength_is_left_alone(small):
    looks, directions, _ = made_up()
    net = copy.deepcopy(small)
    fit_latents(net, looks, strengths=(1.0, 0.0))
    change = (net.mapping[0].weight - small.mapping[0].weight)[:, :LATENT].double()
    sex, age = (change @ torch.as_tensor(direction) for direction in directions)
    assert sex.norm() > 10 * age.norm()


def test_agreement_counts_faces_whose_sex_is_sure():
    old = np.array([[-4.0, 20], [-3, 30], [5, 40], [0.5, 50]])
    new = np.stack([np.array([[-1.0, 20], [2, 30], [1, 40], [-1, 50]]), old], 1)
    found = agreement(Looks(old, new, np.zeros((4, 2, LATENT)), np.zeros((4, CONTEXT))))
    assert found == {"same sex": pytest.approx(5 / 6), "women": 0.75, "men": 1, "age": pytest.approx(1)}


def test_too_few_faces_and_none(small, pipe, tmp_path):
    looks, _, _ = made_up(40)
    with pytest.raises(FaceAnonError, match="40 faces are too few"):
        fit_latents(small, looks)
    PIL.Image.new("RGB", (64, 64)).save(tmp_path / "nobody.png")
    with pytest.raises(FaceAnonError, match="no face was found in 1 photos"):
        look(pipe, lambda image, landmarks: np.zeros(2), [tmp_path / "nobody.png"])


def test_faces_are_painted_and_judged(pipe, tmp_path):
    photos = []
    for number in range(2):
        photos.append(tmp_path / f"{number}.png")
        PIL.Image.fromarray(turned(9 * number)).save(photos[-1])
    seen, calls = [], []

    def judge(image, landmarks):
        seen.append((image.shape, landmarks.shape))
        return np.array([image.mean(), len(seen)])

    looks = look(pipe, judge, photos, lambda *call: calls.append(call))
    assert calls == [(1, 2), (2, 2)] and len(seen) == 6 and {landmarks for _, landmarks in seen} == {(478, 3)}
    assert looks.old.shape == (2, 2) and looks.new.shape == (2, 2, 2)
    assert looks.latents.shape == (2, 2, LATENT) and looks.contexts.shape == (2, CONTEXT)
    assert np.allclose(np.linalg.norm(looks.latents, axis=2), LATENT**0.5)
    again = look(pipe, judge, photos)
    assert np.array_equal(again.contexts, looks.contexts) and np.array_equal(again.new[..., 0], looks.new[..., 0])
    # The latents are those that painted: another pair of faces for each photo.
    assert len({value for pair in looks.new[..., 0] for value in pair}) == 4


def test_a_checkpoint_is_saved_with_its_history(tmp_path, small):
    pipe = FaceAnonPipeline.from_pretrained()
    before = pipe.generator.mapping[0].weight.detach().clone()
    looks, _, _ = made_up()
    told = fit_checkpoint(pipe, looks, tmp_path / "fitted", strengths=(1.0, 1.0))
    assert set(told) == {"sex", "age"}
    loaded = FaceAnonPipeline.from_pretrained(tmp_path / "fitted")
    torch.testing.assert_close(
        loaded.generator.mapping[0].weight, pipe.generator.mapping[0].weight, atol=1e-3, rtol=1e-3
    )
    assert not torch.equal(before, pipe.generator.mapping[0].weight) and pipe.generator.dtype == torch.float32
    assert loaded.config["mask_margin"] == pipe.config["mask_margin"]
    record = read_record(tmp_path / "fitted")
    assert record["latents"] == len(looks.old) and record["started_from"] == {"checkpoint": "bundled"}
    with pytest.raises(FaceAnonError, match="exists already"):
        fit_checkpoint(pipe, looks, tmp_path / "fitted", DEFAULT_CHECKPOINT)


def test_the_command(tmp_path, monkeypatch, pipe):
    asked = {}

    def looked(pipe, judge, photos, on_photo):
        asked["photos"] = len(photos)
        return made_up()[0]

    monkeypatch.setattr(latents, "FaceResJudge", lambda path: None)
    monkeypatch.setattr(latents, "look", looked)
    (tmp_path / "in").mkdir()
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "in" / "a.png")
    arguments = ["fit-latents", str(tmp_path / "in"), "--judge", "faceres.json", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0 and asked == {"photos": 1} and "same sex" in result.stderr
    assert FaceAnonPipeline.from_pretrained(tmp_path / "out").generator.dtype == torch.float32
    assert CliRunner().invoke(app, arguments).exit_code == 1  # it is there


def test_a_file_that_is_no_judge(tmp_path):
    arguments = ["fit-latents", str(tmp_path), "--judge", str(tmp_path / "no.json"), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, arguments).exit_code == 4
