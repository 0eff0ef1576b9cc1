"""What docs/privacy.md promises, each as a test of the whole pipeline as it comes."""

from __future__ import annotations

import copy
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from faceanon_hub.io import read_photo


@pytest.fixture(scope="module")
def head(portrait):
    return np.ascontiguousarray(portrait[20:240, 130:300])


def run(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """A process of its own, whose home and temporary files lie in the folder."""
    (folder / "tmp").mkdir(exist_ok=True)
    places = {"HOME": str(folder), "TMPDIR": str(folder / "tmp"), "HF_HOME": str(folder / "tmp")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=Path(__file__).parents[1],
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("seed", range(3))
def test_hidden_pixels_show_only_in_landmarks_and_coefficients(pipe, head, seed, monkeypatch):
    faces, look, taken = pipe.find_faces(head), pipe.measure_face, {}

    def looked(pixels, job, options):
        look(pixels, job, options)
        coefficients = taken.setdefault("it", (job.hint, job.lighting, job.color))
        job.hint, job.lighting, job.color = coefficients

    monkeypatch.setattr(pipe, "measure_face", looked)
    (job,) = pipe.prepare_scene(read_photo(head), copy.deepcopy(faces), pipe.resolve(identity_shape=0)).jobs
    (left, top, right, bottom), inside = job.core
    changed = head.copy()
    noise = np.random.default_rng(seed).integers(0, 256, (int(inside.sum()), 3))
    changed[top:bottom, left:right][inside.astype(bool)] = noise
    assert (changed != head).any(2).mean() > 0.2
    for blur in (0, 0.05):
        told = {"seed": 3, "faces": [copy.deepcopy(faces)], "context_blur": blur}
        first, second = (pipe(photo, **copy.deepcopy(told)).images[0] for photo in (head, changed))
        assert first.tobytes() == second.tobytes()


def test_a_few_numbers_are_all_that_is_taken(pipe, head):
    (job,) = pipe.prepare_scene(read_photo(head), pipe.find_faces(head), pipe.resolve()).jobs
    assert job.hint.numel() == 4 * 16 * 16 and job.lighting.size == 9 and job.color.size == 9
    # Blurred over a tenth of the crop, few of the hint's cells are independent: tests/test_conditioning.py counts.
    held = [value for value in vars(job).values() if isinstance(value, np.ndarray) and value.dtype == np.uint8]
    assert all(not np.shares_memory(value, head) for value in held)
    hidden = job.mask > 0
    assert not (job.surroundings[hidden].astype(int) - job.surroundings[hidden].mean(0)).std() > 60


COMMAND = "from faceanon_hub.cli import app; app()"


def test_nothing_biometric_is_written_unless_asked_for(head, tmp_path):
    (tmp_path / "in").mkdir()
    PIL.Image.fromarray(head).save(tmp_path / "in" / "a.png")
    done = run(
        COMMAND, tmp_path, "image", f"{tmp_path}/in/a.png", f"{tmp_path}/b.png", "--report", f"{tmp_path}/b.json"
    )
    assert done.returncode == 0, done.stderr
    done = run(COMMAND, tmp_path, "folder", f"{tmp_path}/in", f"{tmp_path}/out", "--seed", "5", "--workers", "1")
    assert done.returncode == 0, done.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "in"]
    assert {path.name for path in written} >= {"b.png", "b.json", "a.png"}
    for path in written:
        if path.suffix != ".png":
            text = path.read_bytes().decode(errors="replace")
            assert not any(word in text for word in ("landmark", "keypoint", "embedding", "hint_")), path
    (record,) = json.loads((tmp_path / "b.json").read_text())["faces"]
    assert set(record) == {"number", "box", "score", "presence", "status", "reason"}
    assert not list((tmp_path / "tmp").rglob("*.png"))


def test_logs_hold_no_picture(pipe, head, monkeypatch, caplog):
    def fail(*args):
        raise RuntimeError("no network today")

    monkeypatch.setattr(pipe, "generate", fail)
    with caplog.at_level(logging.DEBUG):
        pipe(head, seed=1)
    assert "no network today" in caplog.text and "obfuscated" in caplog.text
    assert "array(" not in caplog.text and "tensor(" not in caplog.text and len(caplog.text) < 10_000


CRASH = """
import os, sys
import PIL.Image
from faceanon_hub.cli import app
save = PIL.Image.Image.save
def half(image, place, *args, **kwargs):
    save(image, place, *args, **kwargs)
    raise SystemError("in the middle of it")
PIL.Image.Image.save = half
app()
"""


def test_a_crash_leaves_no_file_behind(head, tmp_path):
    (tmp_path / "in").mkdir()
    PIL.Image.fromarray(head).save(tmp_path / "in" / "a.png")
    done = run(CRASH, tmp_path, "image", f"{tmp_path}/in/a.png", f"{tmp_path}/b.png")
    assert done.returncode != 0 and "in the middle of it" in done.stderr
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".json"] == ["a.png"]
