"""What docs/privacy.md promises, each as a test of the whole pipeline as it comes."""

import copy
import gc
import json
import logging
import os
import re
import subprocess
import sys
import weakref
from dataclasses import fields
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import PIL.Image
import pytest

from faceanon_hub import Face, FaceStatus
from faceanon_hub.io.photos import read_photo
from faceanon_hub.look import AT, ROWS


def run(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """A process of its own, whose home and temporary files lie in the folder."""
    (folder / "tmp").mkdir(exist_ok=True)
    places = {"HOME": str(folder), "TMPDIR": str(folder / "tmp"), "HF_HOME": str(folder / "tmp")}
    command, environment = [sys.executable, "-c", code, *arguments], {**os.environ, **places}
    root = Path(__file__).parents[1]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120)


def take_from(pipe, monkeypatch, numbers):
    """Makes the pipeline take the numbers of the first face it measures for every one that it measures after it."""
    hide, measure = pipe.hide_face, pipe.measure_face

    def hidden(pixels, job, options):
        parts = hide(pixels, job, options)
        found = job.hidden, job.core, job.skin, job.over, job.cloth
        job.hidden, job.core, job.skin, job.over, job.cloth = numbers.setdefault("hidden", found)
        return parts

    def measured(pixels, job, options, parts):
        measure(pixels, job, options, parts)
        names = "goal", "identity", "lighting", "color", "tones", "patches", "toning"
        taken = numbers.setdefault("measured", {name: getattr(job, name) for name in names})
        for name, value in taken.items():
            setattr(job, name, value)

    monkeypatch.setattr(pipe, "hide_face", hidden)
    monkeypatch.setattr(pipe, "measure_face", measured)


def altered(photo, job, pixels):
    """The photo with other pixels where the face is erased."""
    (left, top, right, bottom), inside = job.core
    changed = photo.copy()
    changed[top:bottom, left:right][inside] = pixels[top:bottom, left:right][inside]
    assert (changed != photo).any(2).mean() > 0.15
    return changed


@pytest.mark.parametrize("seed", [0, 1, None], ids=["noise", "other noise", "somebody else"])
def test_erased_pixels_show_only_in_the_numbers(pipe, head, seed, monkeypatch):
    # Somebody else: the face upside down and in other colours, in the same place of the same photo.
    noise = np.random.default_rng(seed).integers(0, 256, head.shape, dtype=np.uint8)
    faces = pipe.find_faces(head)
    take_from(pipe, monkeypatch, {})
    (job,) = pipe.prepare_scene(read_photo(head), copy.deepcopy(faces), pipe.resolve()).jobs
    changed = altered(head, job, 255 - head[::-1, ::-1] if seed is None else noise)
    for options in ({}, {"context_blur": 0.05}):
        told = {"seed": 3, **options}
        first, second = (pipe(photo, faces=[copy.deepcopy(faces)], **told) for photo in (head, changed))
        assert first.faces[0][0].status is FaceStatus.ANONYMIZED
        assert first.images[0].tobytes() == second.images[0].tobytes()


def test_a_few_numbers_are_all_that_is_taken(pipe, head):
    (job,) = pipe.prepare_scene(read_photo(head), pipe.find_faces(head), pipe.resolve()).jobs
    assert {name: value.shape for name, value in vars(job).items() if isinstance(value, np.ndarray)} == {
        "matrix": (2, 3),
        "points": (478, 3),
        "pose": (3, 3),
        "hidden": (job.size, job.size),
        "skin": (128, 128),
        "over": (128, 128),
        "goal": (len(ROWS),),
        "identity": (256,),
        "lighting": (9,),
        "color": (9,),
        "tones": (10,),
        "patches": (5, 3),
        "surroundings": (job.size, job.size, 3),
    }
    assert job.glasses in (None, False, True)  # a part of the goal, too
    assert set(vars(job)) - {"face", "size", "core", "cloth", "glasses", "new", "composed"} == {
        *("matrix", "points", "pose", "hidden", "skin", "over"),
        *("goal", "identity", "lighting", "color", "tones", "patches", "toning", "surroundings"),
    }
    assert job.cloth is None
    assert not np.shares_memory(job.surroundings, head)
    # Where it was hidden, there is one colour; at its border it is resampled.
    inner = cv2.erode((job.hidden == 1).astype(np.uint8), np.ones((11, 11))) > 0
    assert inner.mean() > 0.1
    assert np.ptp(job.surroundings[inner].astype(int), axis=0).max() <= 1


def test_no_identity_is_taken_without_privacy_and_no_age_without_asking(pipe, head, monkeypatch):
    faces = pipe.find_faces(head)
    asked = []
    monkeypatch.setattr(type(pipe.recognizer), "describe", lambda *args: asked.append(args) or np.zeros(256))
    (job,) = pipe.prepare_scene(read_photo(head), copy.deepcopy(faces), pipe.resolve(privacy=0)).jobs
    assert job.identity is None and not asked
    monkeypatch.setattr(type(pipe.attribute_estimator), "sex_and_age", None)  # is not even called
    (job,) = pipe.prepare_scene(read_photo(head), copy.deepcopy(faces), pipe.resolve(attributes="none")).jobs
    assert np.isnan(job.goal[[AT["sex"], AT["age"]]]).all()


def test_nothing_of_the_original_is_kept_after_a_call(pipe, head, monkeypatch):
    seen, prepare = [], pipe.prepare_job

    def watched(pixels, face, options):
        job = prepare(pixels, face, options)
        seen.extend(weakref.ref(value) for value in (job, job.identity, job.goal, job.points, job.hidden, pixels))
        return job

    monkeypatch.setattr(pipe, "prepare_job", watched)
    result = pipe(head.copy(), seed=1)
    (face,) = result.faces[0]
    assert set(vars(face)) == {field.name for field in fields(Face)}
    del result
    gc.collect()
    assert len(seen) == 6 and not [ref() for ref in seen if ref() is not None]


COMMAND = "from faceanon_hub.cli import app; app()"


def test_nothing_biometric_is_written_unless_asked_for(head, tmp_path):
    (tmp_path / "in").mkdir()
    PIL.Image.fromarray(head).save(tmp_path / "in" / "a.png")
    words = "image", f"{tmp_path}/in/a.png", f"{tmp_path}/b.png", "--report", f"{tmp_path}/b.json"
    done = run(COMMAND, tmp_path, *words)
    assert done.returncode == 0, done.stderr
    done = run(COMMAND, tmp_path, "folder", f"{tmp_path}/in", f"{tmp_path}/out", "--seed", "5", "--workers", "1")
    assert done.returncode == 0, done.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "in"]
    assert {path.name for path in written} >= {"b.png", "b.json", "a.png"}
    for path in written:
        if path.suffix != ".png":
            text = path.read_bytes().decode(errors="replace")
            assert not re.search("landmark|keypoint|embedding|identity|blendshape", text), path
    (record,) = json.loads((tmp_path / "b.json").read_text())["faces"]
    assert set(record) == {"number", "box", "score", "presence", "small", "status", "reason"}
    assert not list((tmp_path / "tmp").rglob("*.png"))


def test_logs_hold_no_picture(pipe, head, monkeypatch, caplog):
    monkeypatch.setattr(pipe, "draw_batch", Mock(side_effect=RuntimeError("no network today")))
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
