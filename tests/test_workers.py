"""Processes that work for one: what they are made of, and what is heard of them when that fails."""

from __future__ import annotations

import pickle

import numpy as np
import PIL.Image
import pytest

from faceanon_hub import CheckpointError, FaceAnonError, workers
from faceanon_hub.attacks.capture import find_people, observe
from faceanon_hub.bulk.folders import anonymize_folder
from faceanon_hub.evaluation.evaluator import evaluate, find_photos


@pytest.fixture
def album(tmp_path):
    for person in range(6):
        for number in range(2):
            path = tmp_path / "album" / f"{person}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(np.full((32, 32, 3), 99, np.uint8)).save(path)
    return tmp_path / "album"


def test_a_worker_does_what_was_made_in_it(monkeypatch):
    monkeypatch.setattr(workers, "obey_parent", lambda: None)
    monkeypatch.setattr(workers, "_work", None, raising=False)
    workers.start(lambda factor, offset: lambda task: factor * task + offset, 3, 1)
    assert [workers.work(task) for task in (0, 1, 2)] == [1, 4, 7]


def test_what_kept_a_worker_from_being_made_is_told_for_every_task(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "obey_parent", lambda: None)
    monkeypatch.setattr(workers, "_work", None, raising=False)
    workers.start(workers.load, str(tmp_path / "lost"))
    for _ in range(2):
        with pytest.raises(CheckpointError, match="lost") as raised:
            workers.work(None)
    again = pickle.loads(pickle.dumps(raised.value))  # as it comes to the caller
    assert isinstance(again, CheckpointError) and str(again) == str(raised.value)
    assert again.checkpoint == str(tmp_path / "lost")


@pytest.mark.parametrize("task", ["evaluate", "attack", "folder"])
def test_a_missing_checkpoint_is_a_clear_error_of_every_command(album, tmp_path, task):
    lost = str(tmp_path / "lost")
    with pytest.raises(CheckpointError, match="lost"):
        if task == "evaluate":
            evaluate(find_photos([album], pairs=True), lost, ["original"], tmp_path / "state")
        elif task == "attack":
            observe(find_people(album), lost, ["original"], workers=1)
        else:
            anonymize_folder(album, tmp_path / "out", checkpoint=lost, workers=1)


@pytest.mark.slow
def test_records_come_back_from_other_processes(album, sketches, tmp_path):
    tasks = find_photos([album], pairs=True)
    records = evaluate(tasks, str(sketches), ["original"], tmp_path / "state", workers=2)
    assert len(records) == 12 and all("no face" in record["failed"] for record in records)
    with pytest.raises(FaceAnonError, match="there are 0 .12 left out: no face"):
        observe(find_people(album), str(sketches), ["original"], workers=2)
