"""What the demo keeps, and for how long."""

import tempfile
import time
from pathlib import Path

import pytest

from faceanon_hub.demo import retention


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return retention.private_folder.__wrapped__()


def test_what_is_old_goes_with_its_folder_and_the_example_stays(folder):
    old = retention.place(folder, "photo.jpg")
    example = folder / retention.SPARED / "portrait.png"
    example.parent.mkdir()
    for file in (old, folder / "part-of-an-upload", example):
        file.write_bytes(b"x")
    time.sleep(0.3)
    new = retention.place(folder, "photo.jpg")
    new.write_bytes(b"x")
    retention.sweep(0.2)
    assert {path for path in folder.rglob("*") if path.is_file()} == {new, example}
    time.sleep(0.3)
    retention.sweep(0.2)  # folders count from the moment when they were emptied
    assert not old.parent.exists()


def test_the_files_of_a_process_that_was_killed_go_too(folder):
    other = folder.with_name(f"{retention.PREFIX}gone")
    other.mkdir()
    (other / "photo.jpg").write_bytes(b"x")
    unrelated = folder.with_name("somebody-elses.jpg")
    unrelated.write_bytes(b"x")
    time.sleep(0.2)
    retention.sweep(0.1)
    assert not (other / "photo.jpg").exists() and unrelated.exists()


def test_folders_are_private_and_cannot_be_guessed(folder):
    assert folder.stat().st_mode & 0o077 == 0
    places = {retention.place(folder, "photo.jpg") for _ in range(20)}
    assert len(places) == 20 and all(len(path.parent.name) >= 22 for path in places)
