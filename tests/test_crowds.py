"""Faces below the detector's limit: counted, hidden where asked for, never replaced then; and crowds, named."""

import json
import logging
import tarfile

import cv2
import numpy as np
import PIL.Image
import pytest
from helpers.commands import run

from faceanon_hub import (
    Face,
    FaceAnonPipeline,
    FaceDetector,
    FaceStatus,
    Options,
    PhotoEditor,
    anonymize_dataset,
    anonymize_folder,
)
from faceanon_hub.faces import FAR, MANY, crowd_note
from faceanon_hub.io.photos import read_photo

WIDTH = 95  # of the portrait's face
SMALL = "smaller than 12 px"


def crowd(portrait: np.ndarray, width: float, count: int = 6, shape: tuple[int, int] = (120, 200)) -> np.ndarray:
    """A grey photo with heads of this width of face, in rows from the top left."""
    photo = np.full((*shape, 3), 128, np.uint8)
    scale = width / WIDTH
    head = cv2.resize(portrait[20:240, 110:340], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, wide = head.shape[0] + 4, head.shape[1] + 4
    columns = (shape[1] - 10) // wide
    for number in range(count):
        y, x = 5 + number // columns * height, 5 + number % columns * wide
        photo[y : y + head.shape[0], x : x + head.shape[1]] = head
    return photo


@pytest.fixture(scope="module")
def far(portrait):
    """Six faces of eight pixels."""
    return crowd(portrait, 8)


@pytest.fixture(scope="module")
def mixed(portrait):
    """A large face, and three of nine pixels beside it."""
    return np.concatenate([portrait[:256, 96:352], crowd(portrait, 9, 3, (256, 200))], 1)


@pytest.fixture(scope="module")
def many(portrait):
    """A crowd whose faces are all large enough."""
    return crowd(portrait, 18, 24, (280, 300))


def faces_of(*widths: float) -> list[Face]:
    return [Face(np.array([0, 0, width, 1.3 * width], np.float32), 0.9) for width in widths]


def test_a_second_search_finds_faces_down_to_six_pixels(detector, portrait):
    for width, least in ((8.5, 6), (8, 6), (7, 3)):
        photo = crowd(portrait, width)
        assert len(detector(photo)) == 0
        assert least <= len(detector(photo, smallest=6)) <= 6
    with pytest.raises(ValueError, match="smallest"):
        detector(portrait, smallest=5)


def test_a_second_search_changes_nothing_of_what_the_first_one_finds(detector, mixed):
    first, both = detector(mixed), detector(mixed, smallest=6)
    assert len(first) == 1 and len(both) == 4
    assert sum(np.array_equal(first[0].box, face.box) and first[0].score == face.score for face in both) == 1
    middles = [face.box[0] + face.box[2] for face in both]
    assert middles == sorted(middles)
    coarse = FaceDetector(min_face_size=6)
    assert len(coarse(mixed, smallest=6)) == len(coarse(mixed))


def test_small_faces_are_hidden_and_never_replaced(quick, mixed):
    result = quick(mixed, seed=0, hide_small=True)
    (large, *small), pixels = result.faces[0], np.asarray(result.images[0])
    assert large.status is FaceStatus.ANONYMIZED and not large.small
    assert len(small) == 3
    for face in small:
        assert face.small and face.status is FaceStatus.OBFUSCATED and face.reason == SMALL
        assert face.landmarks is None and face.to_dict()["small"] is True
        left, top, right, bottom = face.box.round().astype(int)
        assert (pixels[top:bottom, left:right] != mixed[top:bottom, left:right]).any(2).mean() > 0.8


def test_faces_found_before_are_not_replaced_either(quick, portrait):
    faces = quick.find_faces(portrait)
    parts = {"sampler": quick.sampler, "generator": quick.generator}
    coarse = FaceAnonPipeline.from_pretrained(detector=FaceDetector(min_face_size=200), **parts)
    assert coarse(portrait, faces=[faces], hide_small=True).faces[0][0].reason == "smaller than 200 px"
    (face,) = coarse(portrait, faces=[faces]).faces[0]  # as ever, where it is not asked for
    assert face.small and face.status is FaceStatus.ANONYMIZED


def test_one_can_be_kept_and_without_the_option_they_are_left_and_chance_finds_are_counted(pipe, far, portrait):
    result = pipe(far, seed=0, hide_small=True, keep=[0])
    assert [face.status.value for face in result.faces[0]] == ["kept", *["obfuscated"] * 5]
    result = pipe(far, seed=0)
    assert result.faces == [[]] and np.array_equal(np.asarray(result.images[0]), far)
    found = pipe.find_faces(crowd(portrait, 10))
    assert found and all(face.small == (face.width < 12) for face in found) and any(face.small for face in found)
    assert all(face.reason != SMALL for face in found)


def test_an_editor_hides_them_in_every_rendering(pipe, far):
    editor = PhotoEditor(pipe, far, hide_small=True)
    editor.keep(0)
    editor.render(hide_small=True)
    editor.keep(0, False)
    editor.render(hide_small=True)
    assert [face.reason for face in editor.faces] == [SMALL] * 6
    assert PhotoEditor(pipe, far).faces == []


def test_they_are_looked_for_in_what_only_the_transparency_shows(pipe, portrait):
    alpha = crowd(portrait, 9)[..., 1]
    grey = np.full((*alpha.shape, 3), 128, np.uint8)
    plain, hidden = (pipe.find_faces(grey, alpha=alpha, hide_small=option) for option in (False, True))
    assert len(plain) < len(hidden) and sum(face.small for face in hidden) >= 3


@pytest.mark.parametrize("wrong", [1, 0, None, "yes", 1.0])
def test_the_option_is_true_or_false(wrong):
    with pytest.raises(ValueError, match="`hide_small` must be"):
        Options(hide_small=wrong)


def test_many_small_faces_are_a_crowd_and_few_or_large_ones_are_not():
    assert "24 faces" in crowd_note(faces_of(*[15] * 24)) and "--hide-small" in crowd_note(faces_of(*[15] * 24))
    assert "narrower than 15 px" in crowd_note(faces_of(*[15] * 14, *[80] * 10))
    assert "may be missed" in crowd_note(faces_of(*[15] * 24), hide_small=True)
    assert "--hide-small" not in crowd_note(faces_of(*[15] * 24), hide_small=True)
    assert crowd_note(faces_of(*[FAR - 1] * MANY)) and not crowd_note(faces_of(*[FAR - 1] * (MANY - 1)))
    assert not crowd_note(faces_of(*[FAR] * 50)) and not crowd_note(faces_of(*[15] * 10, *[80] * 14))
    assert not crowd_note([])


def test_a_crowd_is_told_and_a_portrait_is_not(quick, many, portrait, caplog):
    with caplog.at_level(logging.WARNING, logger="faceanon_hub"):
        quick(portrait, keep=[0])
        assert "crowd" not in caplog.text
        quick(many, keep=[(0, 0, 300, 280)])
    assert "photo 0: a crowd of 24 faces" in caplog.text and "--hide-small" in caplog.text


def test_a_street_full_of_people_is_a_crowd_and_no_photo_of_a_group_is(pipe, shared):
    street = shared / "data" / "cases" / "06_street_sign_and_sunglasses.jpg"
    for path in (street, *sorted((shared / "data" / "groups").glob("*.jpg"))):
        assert bool(crowd_note(pipe.detector(read_photo(path).pixels))) == (path == street), path.name


def test_the_command_counts_them_and_names_a_crowd(far, many, tmp_path):
    PIL.Image.fromarray(far).save(tmp_path / "far.png")
    done = run("image", tmp_path / "far.png", tmp_path / "new.png", "--hide-small", "--json")
    assert done.exit_code == 3
    assert "6 obfuscated; 6 of them smaller than the detector's limit" in done.stderr
    assert done.stderr.count(SMALL) == 1 and f"6 faces are obfuscated: {SMALL}" in done.stderr
    record = json.loads(done.stdout)
    assert record["small"] == 6 and record["crowd"] == "" and all(face["small"] for face in record["faces"])
    done = run("image", tmp_path / "far.png", tmp_path / "left.png", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["small"] == 0 and "smaller" not in done.stderr
    PIL.Image.fromarray(many).save(tmp_path / "many.png")
    done = run("image", tmp_path / "many.png", tmp_path / "crowd.png", "--keep", "0,0,300,280", "--json")
    assert "a crowd of 24 faces" in done.stderr and "a crowd of 24 faces" in json.loads(done.stdout)["crowd"]


def test_a_folder_counts_them_and_names_its_crowds(pipe, far, many, tmp_path):
    (tmp_path / "in").mkdir()
    PIL.Image.fromarray(far).save(tmp_path / "in" / "far.png")
    PIL.Image.fromarray(many).save(tmp_path / "in" / "many.png")
    asked = {"pipe": pipe, "seed": 1, "keep": [(0, 0, 300, 280)], "reports": tmp_path / "told"}
    report = anonymize_folder(tmp_path / "in", tmp_path / "out", hide_small=True, **asked)
    assert report.small == 6 and report.kept == 6 + 24 and list(report.crowds) == ["many.png"]
    assert report.to_dict()["small"] == 6
    told = {name: json.loads((tmp_path / "told" / f"{name}.png.json").read_text()) for name in ("far", "many")}
    assert told["far"]["small"] == 6 and told["far"]["crowd"] == "" and "24 faces" in told["many"]["crowd"]
    again = anonymize_folder(tmp_path / "in", tmp_path / "out", hide_small=True, **asked)
    assert again.unchanged == 2 and again.small == 6 and again.crowds == report.crowds
    plain = anonymize_folder(tmp_path / "in", tmp_path / "plain", **asked)
    assert plain.small == 0 and plain.kept == 24


def test_a_dataset_counts_them_and_names_its_crowds(far, many, tmp_path):
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "a.tar", "w") as tar:
        for name, photo in (("far", far), ("three", far[:20])):
            PIL.Image.fromarray(photo).save(tmp_path / f"{name}.png")
            tar.add(tmp_path / f"{name}.png", f"{name}.png")
    report = anonymize_dataset(tmp_path / "in", tmp_path / "out", seed=1, hide_small=True)
    assert report.rows == 2 and report.small == report.obfuscated >= 6 and report.crowds == []
    plain = anonymize_dataset(tmp_path / "in", tmp_path / "plain", seed=1)
    assert plain.small == plain.obfuscated == 0


def test_a_row_that_shows_a_crowd_is_named(portrait, tmp_path):
    (tmp_path / "in").mkdir()
    PIL.Image.fromarray(crowd(portrait, 9, 24, (150, 200))).save(tmp_path / "in" / "far.png")
    report = anonymize_dataset(tmp_path / "in", tmp_path / "out", seed=1, hide_small=True)
    (named,) = report.crowds
    assert named["shard"] == "part-000000" and named["row"] == "far.png" and "a crowd of" in named["note"]


def test_a_video_hides_them_in_every_frame(pipe, portrait, tmp_path):
    pytest.importorskip("av")
    from helpers.clips import encode

    frames = [np.roll(crowd(portrait, 8, 6, (160, 200)), step, 1) for step in range(4)]
    clip = encode(tmp_path / "clip.mp4", frames)
    report = pipe.video(clip, tmp_path / "new.mp4", seed=1, hide_small=True)
    assert report.counts.keys() == {"obfuscated"} and report.small == report.counts["obfuscated"] >= 12
    assert all(set(track["reasons"]) <= {SMALL, "seen for too short a time"} for track in report.tracks)
    assert report.to_dict()["small"] == report.small and report.crowd == ""
    assert pipe.video(clip, tmp_path / "plain.mp4", seed=1).small == 0
