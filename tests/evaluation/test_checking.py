"""The portrait and its result, unchanged copies of it, and what a check says of each."""

import json
import os
import re
import shutil

import cv2
import numpy as np
import PIL.Image
import pytest
from helpers.clips import encode
from helpers.commands import fails, run
from helpers.photos import turned
from PIL import ImageEnhance

from faceanon_hub import UnreadableError, check_results
from faceanon_hub.evaluation import checking
from faceanon_hub.evaluation.checking import Checker, similarity
from faceanon_hub.metrics import Sighting


@pytest.fixture(scope="module")
def head():
    """A small photo with one face."""
    return np.ascontiguousarray(turned(0)[60:260, 60:260])


@pytest.fixture(scope="module")
def replaced(sketcher, head):
    """The same, its face replaced."""
    return np.asarray(sketcher(head, seed=0).images[0])


@pytest.fixture(scope="module")
def checker():
    return Checker()


@pytest.fixture(autouse=True)
def loaded(checker, monkeypatch):
    """The networks of one checker for all."""
    monkeypatch.setattr(checking, "Checker", lambda: checker)


def save(path, pixels, **options):
    PIL.Image.fromarray(pixels).save(path, **options)
    return path


# One photo


def test_a_replaced_face_is_not_listed(checker, head, replaced):
    assert checker(head, replaced) == (1, [])


@pytest.mark.parametrize("kind", [cv2.GaussianBlur, cv2.medianBlur, "solid"])
def test_a_hidden_face_is_not_listed(checker, head, kind):
    hidden = head.copy()
    place = hidden[:, 20:180]
    place[:] = {
        cv2.GaussianBlur: lambda: cv2.GaussianBlur(place, (0, 0), 8),
        cv2.medianBlur: lambda: cv2.medianBlur(place, 31),
        "solid": lambda: 0,
    }[kind]()
    assert checker(head, hidden) == (1, [])


def test_unchanged_faces_are_listed(checker, head, tmp_path):
    photo = PIL.Image.fromarray(head)
    smaller = photo.resize((180, 180), PIL.Image.Resampling.LANCZOS)
    copies = {"same": head, "brighter": np.asarray(ImageEnhance.Brightness(photo).enhance(1.15))}
    save(tmp_path / "copy.jpg", head, quality=60)
    copies["compressed"] = np.asarray(PIL.Image.open(tmp_path / "copy.jpg"))
    save(tmp_path / "copy.jpg", np.asarray(smaller), quality=75)
    copies["smaller"] = np.asarray(PIL.Image.open(tmp_path / "copy.jpg"))
    copies["larger"] = np.asarray(photo.resize((250, 250), PIL.Image.Resampling.BICUBIC))
    for name, copy in copies.items():
        count, (match,) = checker(head, copy)
        assert count == 1 and match.reason.startswith("the same pixels" if name == "same" else "looks the same"), name
        left, top, right, bottom = match.box
        assert left < 100 < right and top < 80 < bottom
        assert np.allclose(match.place, match.box * copy.shape[0] / 200, atol=0.1)


def test_a_face_that_was_moved_is_known_by_the_recognizer(checker, head, replaced):
    moved = np.full((200, 200, 3), 90, np.uint8)
    moved[40:, 60:] = head[:160, 20:160]
    (match,) = checker(head, moved)[1]
    assert match.reason.startswith("a recognizer knows it")
    assert np.abs(match.place - match.box - [40, 40, 40, 40]).max() < 10
    moved[40:, 60:] = replaced[:160, 20:160]
    assert checker(head, moved) == (1, [])


def test_a_photo_that_lies_on_its_side(checker, head, replaced):
    lying, result = (np.ascontiguousarray(np.rot90(pixels)) for pixels in (head, replaced))
    assert checker(lying, result) == (1, [])
    (match,) = checker(lying, lying.copy())[1]
    assert match.reason == "the same pixels"
    (match,) = checker(lying, head)[1]  # turned on the way
    assert match.reason.startswith("a recognizer knows it")


def test_only_brightness_does_not_count():
    noise = np.random.default_rng(0).uniform(0, 200, (48, 48)).astype(np.float32)
    assert similarity(noise, noise + 50) == pytest.approx(1, abs=1e-3)
    assert similarity(noise, noise[::-1].copy()) < 0.3
    assert similarity(noise, cv2.GaussianBlur(noise, (0, 0), 3)) < 0.5


def test_flat_places_that_were_taken_for_faces_are_not_listed(checker, monkeypatch):
    dark = np.random.default_rng(0).normal(30, 1, (100, 100, 3)).astype(np.uint8)
    face = Sighting(np.array([20, 20, 80, 80], np.float32))
    monkeypatch.setattr(checker, "_search", lambda image, network=True: [face] if network else [])
    assert checker(dark, cv2.blur(dark, (9, 9))) == (1, [])
    assert [match.reason for match in checker(dark, dark.copy())[1]] == ["the same pixels"]


# Files and folders


@pytest.fixture
def folders(tmp_path, head, replaced):
    """Originals and results, of each kind one."""
    for name in ("in/sub", "out/sub", "out/.faceanon"):
        (tmp_path / name).mkdir(parents=True)
    source, target = tmp_path / "in", tmp_path / "out"
    for name in ("replaced.png", "sub/missed.jpg", "lost.png", "broken.png", "cropped.png"):
        save(source / name, head)
    save(target / "replaced.png", replaced)
    save(target / "sub" / "missed.jpg", head, quality=60)
    save(target / "cropped.png", head[:, :140])
    save(target / "foreign.png", head)
    save(target / ".faceanon" / "partial.png", head)
    (target / "broken.png").write_bytes(b"no picture")
    (source / "notes.txt").write_text("no picture either")
    return source, target


def test_a_folder(folders):
    calls = []
    report = check_results(*folders, on_progress=lambda *call: calls.append(call))
    assert [face.path for face in report.unchanged] == ["cropped.png", "sub/missed.jpg"]
    assert report.photos == 3 and report.faces == 3 and report.videos == 0
    assert set(report.failures) == {"lost.png", "broken.png", "foreign.png", "cropped.png"}
    assert report.failures["lost.png"] == "no result" and report.failures["foreign.png"] == "no original"
    assert "200 x 200 pixels became 140 x 200: of another shape" in report.failures["cropped.png"]
    assert calls[0] == (0, 4, "broken.png") and not report.notes
    record = json.loads(json.dumps(report.to_dict()))
    assert set(record["unchanged"][1]) == {"path", "time", "box", "reason"} and record["faces"] == 3
    assert [picture.shape for picture in report.unchanged[0].pictures] == [(128, 128, 3)] * 2


def test_results_under_other_names(tmp_path, head):
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    save(tmp_path / "in" / "a.jpg", head)
    save(tmp_path / "out" / "a_new.png", head[::2, ::2])
    report = check_results(tmp_path / "in", tmp_path / "out", suffix="_new", photo_format="PNG")
    assert not report.failures and report.notes == {"a.jpg": "200 x 200 pixels became 100 x 100"}
    assert [face.path for face in report.unchanged] == ["a.jpg"]


def test_videos_are_compared_by_time(tmp_path, head, replaced):
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    small = [cv2.resize(pixels, (100, 100), interpolation=cv2.INTER_AREA) for pixels in (head, replaced)]
    before, after = ([np.roll(pixels, shift, 1) for shift in range(12)] for pixels in small)
    for name, result in {"half": [*after[:10], *before[10:]], "short": after[:7]}.items():
        encode(tmp_path / "in" / f"{name}.mp4", before, rate=10)
        encode(tmp_path / "out" / f"{name}.mp4", result, rate=10)
    report = check_results(tmp_path / "in", tmp_path / "out")
    assert [(face.path, face.time) for face in report.unchanged] == [("half.mp4", 1), ("half.mp4", 1.1)]
    assert report.videos == 2 and report.faces == 4
    assert report.failures == {"short.mp4": "the frames differ in time from 0.60 s on: not compared any further"}


# The command


def test_exit_codes(folders, tmp_path):
    source, target = folders
    missed, there = "sub/missed.jpg", "replaced.png"
    result = run("check", source / there, target / there)
    assert result.exit_code == 0 and result.stdout == "" and "1 faces; 0 look unchanged" in result.stderr
    result = run("check", source / missed, target / missed)
    assert result.exit_code == 3
    assert re.match(r"1\. missed.jpg: [\d.,]+: looks the same, [01]\.\d\d of 1\n", result.stdout)
    shutil.rmtree(source / "sub")
    (source / "cropped.png").unlink()
    result = run("check", source, target)
    assert result.exit_code == 6 and "not compared: lost.png: no result" in result.stderr and result.stdout == ""
    for name in ("broken.png", "none.png"):
        fails(4, name, "check", source / there, target / name)
    for wrong in ((source, target / there), (source, source), (source / there, source / there)):
        assert run("check", *wrong).exit_code == 2
    encode(tmp_path / "clip.mp4", [np.zeros((64, 64, 3), np.uint8)])
    assert run("check", source / there, tmp_path / "clip.mp4").exit_code == 2


def test_sheet_json_and_quiet(folders, tmp_path):
    source, target = (folder / "sub" / "missed.jpg" for folder in folders)
    sheet = tmp_path / "sheet.png"
    unlike = [folder / "replaced.png" for folder in folders]
    assert run("check", *unlike, "--sheet", sheet).exit_code == 0 and not sheet.exists()  # nothing to show
    result = run("check", source, target, "--sheet", sheet, "--json", "--quiet")
    assert result.exit_code == 3 and result.stderr == ""
    (face,) = json.loads(result.stdout)["unchanged"]
    assert face["path"] == "missed.jpg" and len(face["box"]) == 4 and face["time"] is None
    assert PIL.Image.open(sheet).size == (264, 156)
    assert run("check", source, target, "--sheet", sheet).exit_code == 2  # it is there
    assert run("check", source, target, "--sheet", source, "--force").exit_code == 2
    assert run("check", source, target, "--sheet", tmp_path / "nowhere" / "sheet.png").exit_code == 5
    result = run("check", source, target, "--sheet", sheet, "--force", "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", "")


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(UnreadableError, match="nowhere: no such file or folder"):
        check_results(tmp_path, tmp_path / "nowhere")
    with pytest.raises(UnreadableError, match="longer than"):
        check_results(tmp_path, os.fspath(tmp_path / ("a" * 300)))
