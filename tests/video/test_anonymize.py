import dataclasses
import json
import math
import subprocess
import sys
import time
from unittest.mock import Mock

import av
import cv2
import numpy as np
import pytest
import torch
from helpers.clips import encode, read
from helpers.commands import run, without_blanks

from faceanon_hub import (
    FaceAnonGenerator,
    MissingDependencyError,
    UnreadableVideoError,
    UnwritableVideoError,
    VideoReport,
)
from faceanon_hub.blending.compositing import CELLS
from faceanon_hub.placing import crop_size
from faceanon_hub.video.container import Frame
from faceanon_hub.video.painting import Painter
from faceanon_hub.video.planning import MOST_TRIES, REMEMBERED, Planned, Planner
from faceanon_hub.video.searching import EVERY, LOOKAHEAD, Search
from faceanon_hub.video.tracking import Sighting, Track, carried

COUNT, SIZE = 22, 160


def decode(path):
    return [frame.pixels for frame in read(path)]


def moving(portrait, count=COUNT):
    """The portrait's head, drifting and nodding."""
    for number in range(count):
        matrix = cv2.getRotationMatrix2D((224, 128), 8 * np.sin(number / 4), 0.75)
        matrix[:, 2] += [SIZE / 2 - 224 + 12 * np.sin(number / 6), SIZE / 2 - 128]
        yield cv2.warpAffine(portrait, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)


@pytest.fixture(scope="module")
def clip(portrait, tmp_path_factory):
    return encode(tmp_path_factory.mktemp("clips") / "clip.mp4", list(moving(portrait)), sound=True)


@pytest.fixture(scope="module")
def places(lenient, clip):
    """Where the face is in each frame of the clip."""
    return [np.round(lenient.find_faces(picture)[0].box).astype(int) for picture in decode(clip)]


@pytest.fixture(scope="module")
def done(lenient, clip, tmp_path_factory):
    """The clip anonymized, and the report."""
    target, shares = tmp_path_factory.mktemp("done") / "done.mp4", []
    report = lenient.video(clip, target, seed=1, on_progress=shares.append)
    return target, report, shares


def changes(before, after, places):
    """Mean absolute difference inside the middle of the face, frame by frame."""
    found = []
    for old, new, (left, top, right, bottom) in zip(decode(before), decode(after), places, strict=True):
        part = slice(top + (bottom - top) // 5, bottom), slice(left + (right - left) // 5, right - (right - left) // 5)
        found.append(np.abs(old[part].astype(int) - new[part]).mean())
    return np.array(found)


def blinded(monkeypatch, hidden):
    """The detector finds nothing in the frames of these numbers."""
    find = Search._find
    monkeypatch.setattr(
        Search, "_find", lambda self, frame, *more: [] if frame.number in hidden else find(self, frame, *more)
    )


class Stages:
    """The stages of a video, each a batch further."""

    def __init__(self, pipe):
        options = pipe.resolve()
        self.search = Search(pipe, options)
        self.planner, self.painter = Planner(pipe, options, 0, self.search, []), Painter(pipe, options, [], [])

    def advance(self, batch, last=False):
        return self.painter.paint([(frame, self.planner.plan(frame)) for frame in self.search.advance(batch, last)])


def test_every_frame_has_one_new_face(clip, done, places):
    target, report, _ = done
    assert isinstance(report, VideoReport) and report.frames == COUNT and report.counts == {"anonymized": COUNT}
    (track,) = report.tracks
    assert track["person"] == 0 and track["first"] == 0 and track["last"] == pytest.approx((COUNT - 1) / 25)
    assert changes(clip, target, places).min() > 8
    for old, new in zip(decode(clip), decode(target), strict=True):
        assert np.abs(old[-20:, :20].astype(int) - new[-20:, :20]).mean() < 10


def test_sound_and_length_are_kept_and_progress_grows_to_the_end(clip, done):
    with av.open(str(clip)) as old, av.open(str(done[0])) as new:
        assert new.streams.video[0].frames == COUNT
        assert [p.size for p in old.demux(audio=0)] == [p.size for p in new.demux(audio=0)]
    assert done[2] == sorted(done[2]) and done[2][-1] == 1 and 0 < done[2][-2] < 1


def test_any_batch_size_gives_the_same_file(lenient, clip, tmp_path):
    for name, size in (("a", 8), ("b", 3)):
        lenient.video(clip, tmp_path / f"{name}.mkv", seed=1, end=0.72, batch_size=size, codec="ffv1")
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()


def test_faces_the_detector_misses_are_followed(lenient, clip, places, tmp_path, monkeypatch):
    blinded(monkeypatch, {0, 1, 2, 9, 10, 11, 12, 20, 21})
    report = lenient.video(clip, tmp_path / "a.mp4", seed=1)
    (track,) = report.tracks
    searched = {number for number in range(0, COUNT, EVERY)} - {0, 1, 2, 9, 10, 11, 12, 20, 21}
    assert track["found"] == {"followed": COUNT - len(searched), "detected": len(searched)}
    assert track["frames"] == {"anonymized": COUNT}
    assert changes(clip, tmp_path / "a.mp4", places).min() > 8


def test_frames_in_which_nothing_finds_the_face_are_filled(lenient, clip, places, tmp_path, monkeypatch):
    blinded(monkeypatch, {0, 1, 9, 10, 11, 12, 20, 21})
    monkeypatch.setattr(Search, "_seek", lambda *given: None)
    report = lenient.video(clip, tmp_path / "a.mp4", seed=1)
    (track,) = report.tracks
    assert track["found"] == {"beyond": 5, "detected": COUNT - 9, "filled": 4}
    assert changes(clip, tmp_path / "a.mp4", places).min() > 8


def test_a_newcomer_between_two_searches_is_traced_back(lenient, portrait, tmp_path):
    pictures = list(moving(portrait, 10))
    clip = encode(tmp_path / "a.mp4", [np.full_like(pictures[0], 90)] * (2 * EVERY + 1) + pictures)
    report = lenient.video(clip, tmp_path / "b.mp4", seed=1)
    (track,) = report.tracks
    assert track["frames"] == {"anonymized": 10} and track["first"] == pytest.approx((2 * EVERY + 1) / 25)


def test_what_fails_half_way_is_obfuscated(lenient, clip, places, tmp_path, monkeypatch):
    monkeypatch.setattr(FaceAnonGenerator, "render", Mock(side_effect=RuntimeError("out of memory")))
    report = lenient.video(clip, tmp_path / "a.mp4", end=0.2, fallback="solid")
    assert report.frames == 5 and report.counts == {"obfuscated": 5}
    assert set(report.tracks[0]["reasons"]) <= {"generation failed: out of memory", "no drawn face fits"}
    left, top, right, bottom = places[2]
    assert decode(tmp_path / "a.mp4")[2][(top + bottom) // 2, (left + right) // 2].max() < 20


def test_an_interrupted_run_leaves_what_was_there(lenient, clip, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"what was there")
    with pytest.raises(KeyboardInterrupt):
        lenient.video(clip, tmp_path / "a.mp4", on_progress=Mock(side_effect=KeyboardInterrupt))
    assert (tmp_path / "a.mp4").read_bytes() == b"what was there"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_video_may_become_itself(lenient, tmp_path):
    clip = encode(tmp_path / "a.mp4", [np.full((48, 64, 3), 90, np.uint8)] * 20)
    assert lenient.video(clip, clip).tracks == [] and len(decode(clip)) == 20


def test_kept_boxes_and_hidden_zones(lenient, clip, tmp_path):
    zone, everything = (100, 110, 150, 156), (0, 0, SIZE, SIZE)
    options = {"keep": [everything], "hide": [zone], "fallback": "mosaic", "quality": 95}
    report = lenient.video(clip, tmp_path / "a.mp4", end=0.2, **options)
    assert report.counts == {"kept": 5} and report.tracks[0]["reasons"] == {"asked for by the caller": 5}
    record = report.to_dict()
    assert record["keep"] == [[0, 0, SIZE, SIZE]] and record["hide"] == [[100, 110, 150, 156]]
    for old, new in zip(decode(clip), decode(tmp_path / "a.mp4"), strict=False):
        assert np.abs(old[20:100].astype(int) - new[20:100]).mean() < 3
        part = new[110:156, 100:150]
        few = cv2.resize(old[110:156, 100:150], (CELLS, CELLS), interpolation=cv2.INTER_AREA)
        flat = cv2.resize(few, (50, 46), interpolation=cv2.INTER_NEAREST)
        assert np.abs(part.astype(int) - flat).mean() < 5


def test_a_face_in_a_hidden_zone_is_no_track_of_the_report(lenient, clip, tmp_path):
    report = lenient.video(clip, tmp_path / "a.mp4", end=0.2, hide=[(0, 0, SIZE, SIZE)], fallback="solid")
    assert report.tracks == [] and report.frames == 5
    assert all(np.ptp(frame.astype(int), axis=(0, 1)).max() < 4 for frame in decode(tmp_path / "a.mp4"))


def test_a_cut_ends_a_track_and_a_shape_finds_the_person_again(lenient, portrait, tmp_path):
    first = list(moving(portrait, 8))
    clip = encode(tmp_path / "a.mp4", first + [np.full_like(first[0], 30)] * 8 + first)
    report = lenient.video(clip, tmp_path / "b.mp4", seed=1)
    assert report.cuts == [0.32, 0.64] and [track["person"] for track in report.tracks] == [0, 0]
    assert [track["last"] for track in report.tracks] == [0.28, 0.92]


def test_seeds_are_told_only_when_asked(done):
    report = done[1]
    assert isinstance(report.to_dict(seed=True)["tracks"][0]["seed"], int)
    assert "seed" not in report.to_dict()["tracks"][0]
    text = json.dumps(report.to_dict(seed=True))
    assert "landmarks" not in text and "shape" not in text


def test_no_more_frames_are_held_than_the_look_ahead(lenient):
    stages = Stages(lenient)
    given = 0
    for number in range(3 * LOOKAHEAD):
        given += len(stages.advance([Frame(number, number / 25, number, np.full((32, 32, 3), 90, np.uint8))]))
        assert len(stages.search.frames) <= LOOKAHEAD and given == max(0, number + 1 - LOOKAHEAD)
    assert len(stages.advance([], last=True)) == LOOKAHEAD


def test_few_people_are_held(lenient, portrait):
    stages = Stages(lenient)
    frames = [*moving(portrait, 2), *[np.full((SIZE, SIZE, 3), 90, np.uint8)] * (3 * LOOKAHEAD)]
    with torch.no_grad():
        for number, pixels in enumerate(frames):
            stages.advance([Frame(number, number / 25, number, pixels)])
    planner = stages.planner
    assert len(stages.painter.records) == 1 and not stages.search.tracker.tracks and list(planner._people) == [0]
    entry = Planned(None, None, "detected", size=128)
    for number in range(1, 20):
        entry.track = Track(number, person=number)
        planner.cast(entry.track, entry, number)
    assert list(planner._people) == list(planner._tried) == list(range(20 - REMEMBERED, 20))


class Casting:
    """Counts the people whom a planner has drawn, none of whom fits where told so."""

    def __init__(self, lenient, monkeypatch, fits=True):
        self.planner, self.jobs, self.sizes = Stages(lenient).planner, [], []
        found = self if fits else None
        monkeypatch.setattr(lenient, "draw_person", lambda job, options: self.jobs.append(job) or found)
        monkeypatch.setattr(lenient, "refine_person", lambda person, size: self.sizes.append(size) or self)
        self.size = 128

    def __call__(self, frames, person=0):
        """Who plays a face that is seen in these frames, looking as the portrait with this much of a smile."""
        self.planner.search.frames.clear()
        track = Track(len(self.jobs), person=person)
        for number, pixels, face, smile in frames:
            shapes = dict.fromkeys(face.blendshapes, 0.0) | {"mouthSmileLeft": smile}
            seen = dataclasses.replace(face, blendshapes=shapes)
            track.add(Sighting(number, number / 25, seen, "detected"))
            self.planner.search.frames.append(Frame(number, number / 25, number, pixels))
        entry = Planned(dataclasses.replace(seen, seed=5), track, "detected", size=128)
        return self.planner.cast(track, entry, frames[0][0])


def test_one_person_is_drawn_once_for_the_calmest_frame(lenient, portrait, face, monkeypatch):
    cast = Casting(lenient, monkeypatch)
    frames = [(number, portrait, face, smile) for number, smile in enumerate((0.9, 0.1, 0.5))]
    assert cast(frames) is cast and cast(frames[1:]) is cast
    (job,) = cast.jobs
    assert job.face.blendshapes["mouthSmileLeft"] == 0.1 and job.face.seed == 5
    cast(frames, person=1)
    assert len(cast.jobs) == 2


def test_a_face_that_comes_nearer_is_drawn_as_fine_as_it_is(lenient, portrait, face, monkeypatch):
    cast, large = Casting(lenient, monkeypatch), cv2.resize(portrait, None, fx=4, fy=4)
    cast([(0, portrait, face, 0.0)])
    assert not cast.sizes
    near = carried(face, 4 * face.box)
    near.blendshapes, near.pose = face.blendshapes, face.pose
    cast([(1, large, near, 0.0)])
    assert cast.sizes == [crop_size(near.landmarks)] and cast.sizes[0] > 128 and len(cast.jobs) == 1


def test_where_nobody_fits_the_tries_end(lenient, portrait, face, monkeypatch):
    cast = Casting(lenient, monkeypatch, fits=False)
    for number in range(2 * MOST_TRIES * LOOKAHEAD):
        assert cast([(number, portrait, face, 0.0)]) is None
    assert len(cast.jobs) == MOST_TRIES


def test_arguments_out_of_range(lenient, clip, tmp_path):
    for wrong in (
        {"start": 0.5, "end": 0.5}, {"start": 99.0}, {"keep": [(1, 2, 3)]}, {"hide": [(10, 10, 5, 20)]},
        {"quality": 0}, {"truncation": 2},
    ):  # fmt: skip
        with pytest.raises(ValueError):
            lenient.video(clip, tmp_path / "a.mp4", **wrong)
    for span in ({"start": math.nan}, {"end": math.nan}, {"start": math.inf}, {"start": -1}):
        with pytest.raises(ValueError, match="span of time"):
            lenient.video(clip, tmp_path / "a.mp4", **span)
    assert not list(tmp_path.iterdir())


def test_errors_name_file_and_cause(lenient, clip, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UnreadableVideoError, match=r"text\.mp4: damaged, or no video"):
        lenient.video(tmp_path / "text.mp4", tmp_path / "a.mp4")
    with pytest.raises(UnwritableVideoError, match=r"a\.xyz: unknown file type"):
        lenient.video(clip, tmp_path / "a.xyz")
    assert [path.name for path in tmp_path.iterdir()] == ["text.mp4"]


def test_a_missing_extra_is_told(lenient, clip, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'faceanon-hub\[video\]'"):
        lenient.video(clip, tmp_path / "a.mp4")
    assert run("video", clip, tmp_path / "a.mp4").exit_code == 1


def test_command_with_report(lenient, sketches, clip, tmp_path):
    result = run(
        "video", clip, tmp_path / "a.mp4", "--end", 0.2, "--seed", 1, "--voice", "drop", "--checkpoint", sketches,
        "--report", tmp_path / "r.json", "--json",
    )  # fmt: skip
    assert result.exit_code == 0 and "5 frames, faces of 1 in them: 5 anonymized" in without_blanks(result.stderr)
    record = json.loads(result.stdout)
    assert record == json.loads((tmp_path / "r.json").read_text())
    assert record["input"] == str(clip) and record["frames"] == 5 and "seed" not in record["tracks"][0]
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert not container.streams.audio


def test_exit_codes_of_the_command(clip, blind, tmp_path):
    assert run("video", clip, clip).exit_code == 2
    assert run("video", clip, tmp_path / "a.mp4", "--keep", "0").exit_code == 2
    assert run("video", clip, tmp_path / "a.mp4", "--hide", "5,5,1,1").exit_code == 2
    assert run("video", clip, tmp_path / "a.mp4", "--start", 2, "--end", 1).exit_code == 2
    assert run("video", tmp_path / "missing.mp4", tmp_path / "a.mp4").exit_code == 4
    assert run("video", clip, tmp_path / "a.xyz").exit_code == 5
    assert not list(tmp_path.iterdir())
    result = run("video", clip, tmp_path / "a.mp4", "--end", 0.2, "--fallback", "solid")
    assert result.exit_code == 3 and "is obfuscated in 5 frames: no landmarks fit" in without_blanks(result.stderr)


def test_a_killed_command_leaves_nothing_for_ever(clip, tmp_path):
    command = [sys.executable, "-m", "faceanon_hub", "video", str(clip), str(tmp_path / "a.mp4"), "--quiet"]
    with subprocess.Popen(command) as killed:
        while not list(tmp_path.iterdir()) and killed.poll() is None:
            time.sleep(0.05)
        killed.kill()
    assert [path.suffix for path in tmp_path.iterdir()] == [".mp4"]
    assert run("video", clip, tmp_path / "b.mp4", "--quiet", "--end", "0.1", "--keep", "0,0,160,160").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["b.mp4"]
