"""Pools of processes: what they call, and which errors come back."""

import pickle

import numpy as np
import PIL.Image
import pytest

from faceanon_hub import CheckpointError, FaceAnonError, processes
from faceanon_hub.attacks.capture import find_people, observe
from faceanon_hub.bulk.folders import anonymize_folder
from faceanon_hub.evaluation.evaluator import evaluate, find_photos
from faceanon_hub.loading import load


@pytest.fixture
def album(tmp_path):
    for person in range(6):
        for number in range(2):
            path = tmp_path / "album" / f"{person}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(np.full((32, 32, 3), 99, np.uint8)).save(path)
    return tmp_path / "album"


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr(processes, "end_with_parent", lambda: None)
    monkeypatch.setattr(processes, "_function", None, raising=False)


def test_a_process_calls_the_function_made_in_it(in_this_process):
    processes._initialize(lambda factor, offset: lambda task: factor * task + offset, 3, 1)
    assert [processes.run_task(task) for task in (0, 1, 2)] == [1, 4, 7]


def test_an_error_of_making_it_is_raised_by_every_task(in_this_process, tmp_path):
    processes._initialize(load, str(tmp_path / "lost"))
    for _ in range(2):
        with pytest.raises(CheckpointError, match="lost") as raised:
            processes.run_task(None)
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
