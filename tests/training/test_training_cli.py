"""The commands: from photos to a checkpoint."""

from __future__ import annotations

import json
import re
import sys

import pytest
import yaml
from small_runs import SIZE, TINY
from typer.testing import CliRunner

from faceanon_hub.cli import app

pytestmark = pytest.mark.usefixtures("one_thread")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def without_blanks(text):
    return re.sub(r"[\s│]+", " ", text)


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
    result = run("prepare", photos, photos / "person 1", tmp_path / "out", "--licence", "CC0-1.0")
    assert result.exit_code == 1 and "licence" in result.stderr
    assert run("prepare", tmp_path / "nowhere", tmp_path / "out", "--licence", "x").exit_code == 4
    assert not (tmp_path / "out").exists()


def test_train_and_go_on_from_a_checkpoint(prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {
        "data": str(prepared), "sample_size": SIZE, "steps": 1, "batch_size": 2, "validation_faces": 0,
        **{name: list(v) if isinstance(v, tuple) else v for name, v in TINY.items()},
    }  # fmt: skip
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(settings))
    result = run("train", "small.yaml")
    checkpoint = tmp_path / "runs" / "small" / "checkpoint-000001"
    assert result.exit_code == 0 and "checkpoint-000001: trained" in without_blanks(result.stderr)

    more = {name: value for name, value in settings.items() if name not in ("sample_size", "channels", "style_size")}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(more))
    result = run("train", "more.yaml", "more", "--from", checkpoint, "--quiet")
    assert result.exit_code == 0 and result.stderr == ""
    record = json.loads((tmp_path / "more" / "checkpoint-000001" / "training.json").read_text())
    assert record["started_from"]["training"]["images"] == 2


def test_train_says_what_is_wrong(tmp_path, monkeypatch):
    (tmp_path / "run.yaml").write_text("data: crops\nstepps: 3\n")
    result = run("train", tmp_path / "run.yaml", tmp_path / "out")
    assert result.exit_code == 1 and "'steps' meant" in without_blanks(result.stderr)
    assert run("train", tmp_path / "nowhere.yaml", tmp_path / "out").exit_code == 4
    (tmp_path / "run.yaml").write_text("data: crops\n")
    result = run("train", tmp_path / "run.yaml", tmp_path / "out")
    assert result.exit_code == 4 and "faceanon prepare" in without_blanks(result.stderr)
    monkeypatch.setitem(sys.modules, "accelerate", None)
    result = run("train", tmp_path / "run.yaml", tmp_path / "out")
    assert result.exit_code == 1 and "faceanon-hub[train]" in result.stderr
    assert not (tmp_path / "out").exists()
