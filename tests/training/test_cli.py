"""The commands: from photos to a checkpoint."""

import json
import sys

import numpy as np
import pytest
import torch
import yaml
from helpers.commands import fails, run, without_blanks
from helpers.small_runs import SIZE, little_prior

from faceanon_hub import FaceAnonPipeline
from faceanon_hub.cli import training as training_cli
from faceanon_hub.training import following

pytestmark = pytest.mark.usefixtures("one_thread")


def test_prepare(photos, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for photo in sorted((photos / "person 1").iterdir())[:2]:
        (few / photo.name).write_bytes(photo.read_bytes())
    result = run("prepare", few, tmp_path / "out", "--licence", "CC0-1.0", "--size", SIZE, "--workers", 1)
    assert result.exit_code == 0 and "few: 2 photos, 2 faces" in without_blanks(result.stderr)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["size"] == SIZE and manifest["sources"]["few"]["licence"] == "CC0-1.0"
    again = run("prepare", few, tmp_path / "out", "--licence", "CC0-1.0", "--size", SIZE, "--json", "--quiet")
    assert json.loads(again.stdout) == manifest


def test_prepare_asks_for_licences(photos, tmp_path):
    assert run("prepare", photos, tmp_path / "out").exit_code == 2
    fails(1, "licence", "prepare", photos, photos / "person 1", tmp_path / "out", "--licence", "CC0-1.0")
    assert run("prepare", tmp_path / "nowhere", tmp_path / "out", "--licence", "x").exit_code == 4
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("few_faces")
def test_train_and_look_at_the_checkpoint(config, start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {**config(steps=1).model_dump(mode="json"), "start": None}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(settings))
    result = run("train", "small.yaml", "--from", start)
    checkpoint = tmp_path / "runs" / "small" / "checkpoint-000001"
    assert result.exit_code == 0 and "checkpoint-000001: trained" in without_blanks(result.stderr)
    told = json.loads(run("info", checkpoint, "--json").stdout)
    assert told["prior"].startswith("StyleGAN2Generator, up to 128 px")
    assert told["training"] == "1 steps, 2 photos shown" and told["started from"] == "little"
    assert "CC0-1.0" in told["data"] and "median" in told["nearest training photo"]
    fails(1, "6 drawn people is known, 1000 are needed", "push", checkpoint, "someone/some", "--licence", "mit")


@pytest.mark.usefixtures("few_faces")
def test_another_prior_becomes_a_pipeline(portrait, start, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(following, "FEWEST", 5)
    little_prior(portrait).save_pretrained(tmp_path / "prior")
    # The command refuses so few.
    training_cli.fit(tmp_path / "out", photos, tmp_path / "bank", tmp_path / "prior", count=30, quiet=True)
    made = FaceAnonPipeline.from_pretrained(tmp_path / "out")
    assert made.sampler.config.bank == 30 and made.sampler.config.photos == 12
    assert made.sampler.config.style_size == 16 and made.draw_people([1, 2]).shape == (2, 16)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".png", ".jpg", ".npz")]
    result = made(portrait, seed=0)
    assert result.faces[0][0].status.value in ("anonymized", "obfuscated")
    assert (np.asarray(result.images[0]) != portrait).any()


@pytest.mark.usefixtures("few_styles")
def test_photos_alone_are_followed_by_the_sampler_that_is_there(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(following, "FEWEST", 5)
    training_cli.fit(tmp_path / "out", photos, quiet=True)
    made, bundled = FaceAnonPipeline.from_pretrained(tmp_path / "out"), FaceAnonPipeline.from_pretrained()
    assert made.sampler.config.photos == 12 and made.sampler.config.bank == bundled.sampler.config.bank
    assert torch.allclose(made.sampler.linear, bundled.sampler.linear, atol=1e-3)
    assert not torch.allclose(made.sampler.mean, bundled.sampler.mean, atol=1e-2)


def test_fit_says_what_is_wrong(photos, tmp_path):
    (tmp_path / "there").mkdir()
    here, bank = ("--photos", photos), ("--bank", tmp_path / "bank")
    assert "--photos or --bank" in without_blanks(run("fit", tmp_path / "out").stderr)
    fails(2, "--bank names a folder", "fit", tmp_path / "out", *here, "--generator", tmp_path / "there")
    assert "exists" in without_blanks(run("fit", tmp_path / "there", *here).stderr)
    fails(2, "no model_index.json", "fit", tmp_path / "there", *here, "--force")
    fails(1, "shows 12 faces, and at least 30", "fit", tmp_path / "out", *here)
    fails(4, "there: ", "fit", tmp_path / "out", "--photos", tmp_path / "there")
    assert run("fit", tmp_path / "out", *bank, "--generator", tmp_path / "there").exit_code == 4
    assert not (tmp_path / "out").exists() and not (tmp_path / "bank").exists()


def test_convert(tmp_path):
    (tmp_path / "g.pt").write_text("no weights")
    fails(1, "no StyleGAN2 generator", "convert", tmp_path / "g.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_train_says_what_is_wrong(tmp_path, monkeypatch):
    (tmp_path / "run.yaml").write_text("data: crops\nstepps: 3\n")
    fails(1, "`steps` meant", "train", tmp_path / "run.yaml", tmp_path / "out")
    assert run("train", tmp_path / "nowhere.yaml", tmp_path / "out").exit_code == 4
    (tmp_path / "run.yaml").write_text("data: crops\n")
    fails(4, "faceanon prepare", "train", tmp_path / "run.yaml", tmp_path / "out")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    fails(1, "faceanon-hub[train]", "train", tmp_path / "run.yaml", tmp_path / "out")
    assert not (tmp_path / "out").exists()
