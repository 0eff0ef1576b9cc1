"""What is opened, and what takes a file's place."""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from faceanon_hub import (
    DEFAULT_CHECKPOINT,
    CheckpointError,
    FaceAnonPipeline,
    FaceDetector,
    UnreadableError,
    UnreadableImageError,
    UnreadableVideoError,
    UnwritableError,
)
from faceanon_hub.bulk.batch import AnonymizeBatch
from faceanon_hub.bulk.datasets import anonymize_dataset
from faceanon_hub.bulk.folders import anonymize_folder
from faceanon_hub.errors import FaceAnonError
from faceanon_hub.files import PARTIAL, inside, open_regular, read_json, replacing, write_text
from faceanon_hub.hub import renew_card
from faceanon_hub.io.photos import read_photo, write_photo
from faceanon_hub.metrics.realism import InceptionFeatures
from faceanon_hub.networks.tfjs import GraphModel
from faceanon_hub.training.config import read_config
from faceanon_hub.video.container import VideoReader

SECONDS = 20


def in_time(call):
    """What a call raises or returns; a call that waits for the other end of a pipe fails the test."""
    outcome = []

    def run():
        try:
            outcome.append(call())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive(), "still waiting"
    return outcome[0]


@pytest.fixture
def pipes(tmp_path):
    """Makes named pipes, and at the end frees whoever waits at one."""
    made = []

    def make(*parts):
        path = tmp_path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        made.append(path)
        return path

    yield make
    for path in made:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


OPENERS = {
    "photo": read_photo,
    "video": VideoReader,
    "json": read_json,
    "card": lambda path: renew_card(path, {}),
    "graph": lambda path: GraphModel(path, ["out"]),
    "inception": InceptionFeatures,
    "training": read_config,
}


@pytest.mark.parametrize("name", OPENERS)
@pytest.mark.parametrize("device", ["pipe", "/dev/ptmx", "/dev/zero"])
def test_only_regular_files_are_opened(name, device, pipes, monkeypatch):
    path = pipes("a.mp4") if device == "pipe" else Path(device)
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda place, *rest: (opened.append(str(place)), real(place, *rest))[1])
    error = in_time(lambda: OPENERS[name](path))
    assert isinstance(error, FaceAnonError | OSError) and str(path) in str(error)
    assert str(path) not in opened


def test_a_file_that_becomes_another_is_not_read(tmp_path, pipes, monkeypatch):
    path = pipes("a")
    regular = Path(__file__).stat()
    monkeypatch.setattr(Path, "stat", lambda self: regular)
    assert "a pipe" in str(in_time(lambda: open_regular(path)))


def test_rows_name_regular_files_only(pipes):
    path = pipes("a.png")
    batch = AnonymizeBatch()
    assert "a pipe" in in_time(lambda: batch.rows([{"path": str(path)}]))[0][1]


@pytest.mark.parametrize("name", ["a.tar", "a.parquet", "a.png"])
def test_shards_are_regular_files(name, pipes, tmp_path):
    pipes("source", name)
    error = in_time(lambda: anonymize_dataset(tmp_path / "source", tmp_path / "target"))
    assert isinstance(error, UnreadableError) and name in str(error) and "a pipe" in str(error)


def test_zones_are_a_regular_file(pipes, tmp_path):
    (tmp_path / "source").mkdir()
    zones = pipes("zones.json")
    error = in_time(lambda: anonymize_folder(tmp_path / "source", tmp_path / "target", zones=zones))
    assert isinstance(error, UnreadableError) and "a pipe" in str(error)


@pytest.mark.parametrize("place", ["model_index.json", "detector/config.json", "generator/extra.json"])
def test_a_checkpoint_holds_regular_files_only(place, pipes, tmp_path):
    folder = tmp_path / "checkpoint"
    for path in DEFAULT_CHECKPOINT.rglob("*"):
        if path.is_file() and path.relative_to(DEFAULT_CHECKPOINT).as_posix() != place:
            link = folder / path.relative_to(DEFAULT_CHECKPOINT)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    pipes("checkpoint", place)
    error = in_time(lambda: FaceAnonPipeline.from_pretrained(folder))
    assert isinstance(error, CheckpointError) and place in str(error)
    if place.startswith("detector"):
        error = in_time(lambda: FaceDetector.from_pretrained(folder, subfolder="detector"))
        assert isinstance(error, CheckpointError) and "config.json" in str(error)


@pytest.mark.parametrize("name", ["/etc/passwd", "../a", "a/../../b", "", "a\0b", "C:\\a", "..\\a", None, 3])
def test_paths_stay_inside(name, tmp_path):
    with pytest.raises(ValueError, match="leads out"):
        inside(tmp_path, name)


def test_a_graph_names_files_beside_it(tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(8))
    spec = {"modelTopology": {"node": [{"name": "out", "op": "Const"}]}}
    weights = [{"name": "out", "dtype": "float32", "shape": [2]}]
    for name in ("../secret.bin", str(tmp_path / "secret.bin")):
        spec["weightsManifest"] = [{"paths": [name], "weights": weights}]
        path = tmp_path / "model" / "model.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(spec))
        with pytest.raises(UnreadableError, match="leads out"):
            GraphModel(path, ["out"])
    assert inside(tmp_path, "a/b.bin") == tmp_path / "a" / "b.bin"


KILLED = """
import os, signal, sys
from pathlib import Path
from faceanon_hub.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    print(temporary, flush=True)
    if len(sys.argv) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_what_a_killed_run_was_writing_goes_with_the_next(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a.mp4")], check=False, timeout=60)
    assert len(leftovers(tmp_path)) == 1
    (tmp_path / ".mine.mp4").touch()
    with replacing(tmp_path / "b.mp4") as temporary:
        temporary.write_bytes(b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.mp4", "b.mp4"]


def test_what_another_run_is_writing_stays(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "a.mp4"), "wait"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        place = Path(other.stdout.readline().strip())
        write_text(tmp_path / "b.txt", "b")
        with replacing(tmp_path / "c") as mine, replacing(tmp_path / "d") as more:
            mine.touch()
            assert place.exists() and more.exists()
        other.stdin.close()
        assert other.wait(60) == 0
    assert (tmp_path / "a.mp4").read_bytes() == b"half" and not leftovers(tmp_path)


def test_photos_and_texts_are_swept_too(tmp_path, portrait):
    import PIL.Image

    stale = tmp_path / f"{PARTIAL}0123.png"
    for write in (
        lambda: write_photo(PIL.Image.fromarray(portrait), tmp_path / "a.png"),
        lambda: write_text(tmp_path / "a.txt", "a"),
    ):
        stale.touch()
        write()
        assert not stale.exists()


def test_text_is_written_whole_or_not_at_all(tmp_path):
    write_text(tmp_path / "a.json", "{}")
    with pytest.raises(UnwritableError, match="nowhere"):
        write_text(tmp_path / "nowhere" / "a.json", "{}")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnwritableError):
        write_text(tmp_path / "folder", "{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "folder"]


def test_a_target_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(UnwritableError, match="missing/a: No such file"), replacing(tmp_path / "missing" / "a"):
        pass
    with pytest.raises(KeyError), replacing(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_what_was_being_written_is_no_original(tmp_path, pipe):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / f"{PARTIAL}0123.mp4").write_bytes(b"half")
    report = anonymize_folder(tmp_path / "source", tmp_path / "target", pipe=pipe)
    assert report.videos == 0 and not report.failures


@pytest.mark.parametrize("place", ["https://example.com/a.jpg", "s3://bucket/a.jpg", "HTTP://example.com/a.mp4"])
def test_addresses_are_told_as_they_were_given(place, pipe, tmp_path):
    told = re.escape(f"{place}: ") + ".*an address, not a file: download it first"
    with pytest.raises(UnreadableImageError, match=told):
        pipe(place)
    with pytest.raises(UnreadableVideoError, match=told):
        pipe.video(place, tmp_path / "b.mp4")
    with pytest.raises(UnreadableImageError, match=re.escape(f"{place}: no such folder")):
        anonymize_folder(place, tmp_path / "out", pipe=pipe)


def test_a_file_system_that_cannot_be_reached_is_told_in_a_line(tmp_path, monkeypatch):
    def hung_up(*args, **options):
        raise RuntimeError("no\nanswer")

    monkeypatch.setattr(MemoryFileSystem, "isdir", hung_up)
    with pytest.raises(UnreadableImageError, match="^memory://source: cannot be reached: no answer$"):
        anonymize_dataset("memory://source", tmp_path / "out")
