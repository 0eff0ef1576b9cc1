import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import PIL.Image
import pytest
from helpers.clips import encode
from helpers.commands import run
from helpers.photos import turned

from faceanon_hub import (
    FaceAnonError,
    FaceAnonPipeline,
    UnreadableImageError,
    UnwritableError,
    UnwritableImageError,
    UnwritableVideoError,
    anonymize_folder,
)
from faceanon_hub.bulk import folders
from faceanon_hub.bulk.ledger import Ledger

COMMAND = [sys.executable, "-c", "from faceanon_hub.cli import app; app()", "folder"]


@pytest.fixture(scope="module")
def head():
    return PIL.Image.fromarray(turned(0)).crop((70, 60, 250, 260))


@pytest.fixture
def source(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def album(source, head):
    """A small tree: three photos, one of them damaged, and a text."""
    (source / "deep" / "er").mkdir(parents=True)
    head.save(source / "a.png")
    head.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT).save(source / "deep" / "er" / "b c.jpg")
    (source / "deep" / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    (source / "notes.txt").write_text("who is who")
    return source


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_tree_keeps_its_shape_and_one_bad_file_stops_no_other(quick, album, tmp_path, head):
    calls = []
    asked = {"pipe": quick, "seed": 1, "reports": tmp_path / "told", "on_progress": lambda *call: calls.append(call)}
    report = anonymize_folder(album, tmp_path / "out", **asked)
    assert (report.photos, report.videos, report.skipped, report.anonymized) == (2, 0, 1, 2)
    assert list(report.failures) == ["deep/broken.jpg"] and report.failed == 1 == report.to_dict()["failed"]
    records = {".faceanon/manifest.jsonl", ".faceanon/run.json"}
    assert set(tree(tmp_path / "out")) == {"a.png", "deep/er/b c.jpg", *records}
    out = np.asarray(PIL.Image.open(tmp_path / "out" / "a.png"))
    assert out.shape == np.asarray(head).shape and (out != np.asarray(head)).any(2).mean() > 0.1
    assert set(tree(tmp_path / "told")) == {"a.png.json", "deep/er/b c.jpg.json"}
    told = json.loads((tmp_path / "told" / "deep" / "er" / "b c.jpg.json").read_text())
    assert told["input"] == "deep/er/b c.jpg" and told["faces"][0]["status"] == "anonymized"
    assert "seed" not in told["faces"][0] and str(tmp_path) not in json.dumps(told)
    assert calls[0] == (0, 3, "") and [call[0] for call in calls] == [0, 1, 2, 3]


def test_a_second_run_does_nothing_and_a_changed_file_is_done_again(quick, album, tmp_path, head, monkeypatch):
    out, reports = tmp_path / "out", tmp_path / "told"
    anonymize_folder(album, out, pipe=quick, seed=1, reports=reports)
    (album / "deep" / "broken.jpg").unlink()
    before, seen = tree(out), []
    work = folders._work
    monkeypatch.setattr(folders, "_work", lambda *a: seen.extend(job.path for job in a[2]) or work(*a))
    again = anonymize_folder(album, out, pipe=quick, seed=1, reports=reports)
    assert seen == [] and again.unchanged == again.photos == 2 and tree(out) == before

    os.utime(album / "a.png", (1, 1))  # a new date alone is no change
    anonymize_folder(album, out, pipe=quick, seed=1, reports=reports)
    assert seen == []
    head.rotate(90).save(album / "a.png")
    (reports / "deep" / "er" / "b c.jpg.json").unlink()
    anonymize_folder(album, out, pipe=quick, seed=1, reports=reports)
    assert sorted(seen) == ["a.png", "deep/er/b c.jpg"] and tree(out)["a.png"] != before["a.png"]
    assert tree(out)["deep/er/b c.jpg"] == before["deep/er/b c.jpg"]


def test_other_options_are_refused_unless_all_is_done_again(quick, album, tmp_path):
    out = tmp_path / "out"
    anonymize_folder(album, out, pipe=quick, seed=1)
    before = tree(out)
    with pytest.raises(FaceAnonError, match="another truncation, seed"):
        anonymize_folder(album, out, pipe=quick, seed=2, truncation=0.5)
    with pytest.raises(FaceAnonError, match="another dtype"):
        anonymize_folder(album, out, checkpoint=quick.config["_name_or_path"], seed=1, dtype="bfloat16")
    assert tree(out) == before
    report = anonymize_folder(album, out, pipe=quick, seed=2, redo=True)
    assert report.unchanged == 0 and tree(out)["a.png"] != before["a.png"]


def test_a_drawn_seed_is_forgotten_when_all_is_done(quick, album, tmp_path):
    anonymize_folder(album, tmp_path / "out", pipe=quick)
    state = tmp_path / "out" / ".faceanon"
    drawn = json.loads((state / "run.json").read_text())["seed"]
    assert isinstance(drawn, int) and state.stat().st_mode & 0o077 == 0  # a file failed: the run is unfinished
    (album / "deep" / "broken.jpg").unlink()
    anonymize_folder(album, tmp_path / "out", pipe=quick)
    assert json.loads((state / "run.json").read_text())["seed"] is None
    assert str(drawn) not in "".join(content.decode("latin-1") for content in tree(tmp_path / "out").values())


def test_same_photos_under_other_paths_get_other_faces(quick, source, tmp_path, head):
    head.save(source / "a.png")
    head.save(source / "b.png")
    anonymize_folder(source, tmp_path / "out", pipe=quick, seed=1)
    files = tree(tmp_path / "out")
    assert files["a.png"] != files["b.png"]


def test_results_do_not_depend_on_what_is_done_beside_them(quick, album, tmp_path, monkeypatch):
    anonymize_folder(album, tmp_path / "together", pipe=quick, seed=1)
    monkeypatch.setattr(folders, "BATCH_FILES", 1)
    anonymize_folder(album, tmp_path / "alone", pipe=quick, seed=1, batch_size=1)
    assert tree(tmp_path / "together") == tree(tmp_path / "alone")


def test_a_photo_that_breaks_the_call_stops_no_other(quick, album, tmp_path):
    zones = tmp_path / "zones.json"
    zones.write_text(json.dumps({"a.png": {"hide": [[900, 900, 950, 950]]}}))
    report = anonymize_folder(album, tmp_path / "out", pipe=quick, zones=zones)
    assert report.photos == 1 and "nothing lies in a photo of 180 x 200" in report.failures["a.png"]


def test_names_that_would_meet_are_refused(quick, source, tmp_path, head):
    head.save(source / "a.png")
    head.save(source / "a.jpg")
    with pytest.raises(FaceAnonError, match=r"a\.jpg and a\.png would both be written to .*a\.webp"):
        anonymize_folder(source, tmp_path / "out", pipe=quick, photo_format="webp")
    assert not (tmp_path / "out").exists()
    options = {"suffix": "_new", "exclude": ["*.jpg"], "photo_format": "webp"}
    report = anonymize_folder(source, tmp_path / "out", pipe=quick, **options)
    assert report.photos == 1 and PIL.Image.open(tmp_path / "out" / "a_new.webp").format == "WEBP"


def test_folders_that_lie_in_one_another_are_refused(quick, album, tmp_path):
    for out in (album, album / "out", album / "deep" / ".." / "out", tmp_path):
        with pytest.raises(ValueError, match="lies in"):
            anonymize_folder(album, out, pipe=quick)
    with pytest.raises(ValueError, match="lies in"):
        anonymize_folder(album, tmp_path / "out", pipe=quick, reports=album / "told")
    assert not (album / "out").exists()


def test_nothing_is_written_over_an_original_by_a_link(quick, album, tmp_path):
    out, before = tmp_path / "out", tree(album)
    out.mkdir()
    (out / "deep").symlink_to(album / "deep")
    with pytest.raises(FaceAnonError, match="deep/broken.jpg leads into .*in: an original would be overwritten"):
        anonymize_folder(album, out, pipe=quick, redo=True)
    (out / "deep").unlink()
    zones = out / "notes.txt"
    zones.write_text('{"*": {}}')
    with pytest.raises(FaceAnonError, match="the zones and notes.txt would both be written to"):
        anonymize_folder(album, out, pipe=quick, zones=zones, copy_others=True, redo=True)
    assert tree(album) == before and zones.read_text() == '{"*": {}}'


def test_files_of_somebody_else_are_not_overwritten(quick, album, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_text("mine")
    with pytest.raises(FaceAnonError, match="was not made here"):
        anonymize_folder(album, out, pipe=quick)
    assert (out / "a.png").read_text() == "mine" and not (out / ".faceanon").exists()


def test_patterns_choose_by_path_or_name(quick, album, tmp_path):
    def planned(**patterns):
        return anonymize_folder(album, tmp_path / "out", pipe=quick, dry_run=True, **patterns).planned

    assert planned() == ["a.png", "deep/broken.jpg", "deep/er/b c.jpg"]
    assert planned(include=["*.PNG"]) == ["a.png"]
    assert planned(include=["deep/*"], exclude=["broken*"]) == ["deep/er/b c.jpg"]
    assert planned(copy_others=True, include=["*.txt"]) == ["notes.txt"]
    assert not (tmp_path / "out").exists()


def test_links_are_not_followed_out_of_the_tree(quick, album, tmp_path, head):
    (tmp_path / "private").mkdir()
    head.save(tmp_path / "private" / "secret.png")
    (album / "out.png").symlink_to(tmp_path / "private" / "secret.png")
    (album / "folder").symlink_to(tmp_path / "private")
    (album / "loop").symlink_to(album)
    (album / "gone.png").symlink_to(tmp_path / "nothing.png")
    (album / "in.png").symlink_to("a.png")
    (album / ".faceanon").mkdir()  # as when the target of one run is the source of another
    head.save(album / ".faceanon" / "x.png")
    os.mkfifo(album / "pipe.png")
    report = anonymize_folder(album, tmp_path / "out", pipe=quick, dry_run=True)
    assert report.planned == ["a.png", "deep/broken.jpg", "deep/er/b c.jpg", "in.png"] and report.skipped == 6


def test_other_files_are_copied_on_request_but_what_may_hold_a_picture_is_named(quick, at_hand, album, tmp_path, head):
    out = tmp_path / "out"
    head.save(album / "a.tga")
    head.save(album / "photo.unknown", format="PNG")
    (album / "clip.bin").write_bytes(b"\0\0\0\x18ftypmp42 and so on")
    for name in ("a.mxf", "a.dv", "deep/a.pdf"):
        (album / name).write_bytes(b"\x06\x0e\x2b\x34" + head.tobytes())
    report = anonymize_folder(album, out, pipe=quick, copy_others=True, trust=["*.pdf"])
    assert report.copied == 2 and (out / "notes.txt").read_text() == "who is who" and (out / "deep" / "a.pdf").exists()
    left = {"a.tga", "a.mxf", "a.dv", "photo.unknown", "clip.bin"}
    assert set(report.failures) == left | {"deep/broken.jpg"} and not left & set(tree(out))
    assert "may hold a picture; not copied" in report.failures["a.mxf"]
    result = run("folder", album, out, "--copy-others", "--trust", "*.tga", "--exclude", "*.jpg", "--quiet", "--redo")
    assert result.exit_code == 6 and (out / "a.tga").read_bytes() == (album / "a.tga").read_bytes()
    assert not (out / "deep" / "a.pdf").exists()  # trusted no longer


def test_zones_hold_for_the_files_that_match(quick, album, tmp_path, head):
    zones = tmp_path / "zones.json"
    zones.write_text(json.dumps({"*.png": {"keep": [[0, 0, 180, 200]], "hide": [[0, 0, 20, 30]]}, "deep/*": {}}))
    out = tmp_path / "out"
    options = {"seed": 1, "zones": zones, "hide": [(160, 180, 180, 200)], "fallback": "solid"}
    report = anonymize_folder(album, out, pipe=quick, reports=tmp_path / "told", **options)
    assert (report.kept, report.anonymized) == (1, 1)
    picture = np.asarray(PIL.Image.open(out / "a.png")).copy()
    assert not picture[:30, :20].any() and not picture[180:, 160:].any()
    original = np.asarray(head).copy()
    original[:30, :20], original[180:, 160:] = 0, 0
    assert np.array_equal(picture, original)
    told = json.loads((tmp_path / "told" / "a.png.json").read_text())
    assert told["hide"] == [[160, 180, 180, 200], [0, 0, 20, 30]] and told["keep"] == [[0, 0, 180, 200]]

    # Other zones for one file: it is done again, and no other.
    zones.write_text(json.dumps({"*.png": {"hide": [[0, 0, 40, 30]]}}))
    again = anonymize_folder(album, out, pipe=quick, reports=tmp_path / "told", **options)
    assert again.unchanged == 1 and not np.asarray(PIL.Image.open(out / "a.png"))[:30, :40].any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "no JSON"),
        ("[]", "expected"),
        ('{"*.png": {"hidden": []}}', "expected"),
        ('{"*.png": {"hide": [[1, 2, 3]]}}', "takes boxes"),
        ('{"*.png": {"hide": [0]}}', "takes boxes"),
        ('{"*.gif": {"hide": [[0, 0, 5, 5]]}}', "matches no file"),
    ],
)
def test_zones_that_mean_nothing_are_refused(quick, album, tmp_path, text, message):
    (tmp_path / "zones.json").write_text(text)
    with pytest.raises(UnreadableImageError, match=message):
        anonymize_folder(album, tmp_path / "out", pipe=quick, zones=tmp_path / "zones.json")
    assert not (tmp_path / "out").exists()


def test_a_result_goes_when_its_input_no_longer_gives_one(quick, album, tmp_path):
    anonymize_folder(album, tmp_path / "out", pipe=quick, seed=1)
    (album / "a.png").write_bytes(b"damaged")
    report = anonymize_folder(album, tmp_path / "out", pipe=quick, seed=1)
    assert "a.png" in report.failures and not (tmp_path / "out" / "a.png").exists()


@pytest.mark.parametrize("kind", ["photo", "video"])
def test_a_full_disk_stops_the_run_and_it_goes_on_later(quick, album, tmp_path, monkeypatch, kind):
    if kind == "video":
        encode(album / "clip.mp4", [np.zeros((64, 64, 3), np.uint8)])
        place, error = (type(quick), "video"), UnwritableVideoError("result", "No space left on device")
    else:
        place, error = (folders, "write_photo"), UnwritableImageError("result", "No space left on device")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patched:
        patched.setattr(*place, Mock(side_effect=error))
        with pytest.raises(UnwritableError, match=r"out/(?!\.faceanon)\S+: No space left"):  # no partial file
            anonymize_folder(album, tmp_path / "out", pipe=quick, seed=1)
    anonymize_folder(album, tmp_path / "out", pipe=quick, seed=1)
    anonymize_folder(album, tmp_path / "whole", pipe=quick, seed=1)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_unusable_folders_and_options(quick, album, tmp_path):
    with pytest.raises(UnreadableImageError, match="no such folder"):
        anonymize_folder(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableImageError, match="is no folder"):
        anonymize_folder(album, tmp_path / "file", pipe=quick)
    for wrong in ({"workers": 0}, {"photo_format": "xyz"}, {"quality": 0}, {"suffix": "a/b"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            anonymize_folder(album, tmp_path / "out", pipe=quick, **wrong)
    with pytest.raises(ValueError, match="`dtype` must be one of float32, bfloat16, float16, not 'int8'"):
        anonymize_folder(album, tmp_path / "out", dtype="int8")
    with pytest.raises(ValueError, match="truncation"):
        anonymize_folder(album, tmp_path / "out", pipe=quick, truncation=2)
    assert run("folder", album, album).exit_code == 2
    assert run("folder", tmp_path / "nowhere", tmp_path / "out").exit_code == 4
    assert run("folder", album, tmp_path / "out", "--hide", "1,2,3").exit_code == 2


def test_a_format_that_nothing_here_writes_is_said_before_the_work(quick, album, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnwritableImageError, match="needs pillow-heif"):
        anonymize_folder(album, tmp_path / "out", pipe=quick, photo_format="heic")
    assert not (tmp_path / "out").exists()


def test_only_one_run_at_a_time(quick, album, tmp_path):
    with Ledger(tmp_path / "out" / ".faceanon").claimed(), pytest.raises(FaceAnonError, match="another run"):
        anonymize_folder(album, tmp_path / "out", pipe=quick)


def test_the_command_dry_run_and_summary(album, tmp_path):
    result = run("folder", album, tmp_path / "out", "--dry-run")
    assert result.exit_code == 0 and result.stdout.splitlines() == ["a.png", "deep/broken.jpg", "deep/er/b c.jpg"]
    assert "3 files to do, 1 to be skipped" in result.stderr and not (tmp_path / "out").exists()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes as Linux tells of them")
@pytest.mark.slow
def test_a_killed_run_started_again_gives_the_same_tree(one_thread, sketches, source, tmp_path, head):
    pipe = FaceAnonPipeline.from_pretrained(sketches)
    for number in range(8):
        (source / str(number % 3)).mkdir(exist_ok=True)
        head.rotate(5 * number).save(source / str(number % 3) / f"{number}.png")
    (source / "broken.jpg").write_bytes(b"\xff\xd8 no photo")

    # As each worker does, for the order of sums is part of the result.
    whole = anonymize_folder(source, tmp_path / "whole", pipe=pipe, seed=3, reports=tmp_path / "whole-told")
    assert whole.photos == 8 and whole.failed == 1 and whole.anonymized + whole.obfuscated >= 6

    command = [*COMMAND, source, tmp_path / "killed", "--report", tmp_path / "killed-told"]
    command += ["--checkpoint", sketches, "--seed", "3", "--workers"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen([*command, "2"], stderr=subprocess.DEVNULL, env=environment, start_new_session=True)
    state = tmp_path / "killed" / ".faceanon"
    until = time.monotonic() + 60
    while not (state / "journal.jsonl").exists() or ".png" not in (state / "journal.jsonl").read_text():
        assert killed.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    workers = _children(killed.pid)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert workers and (state / "journal.jsonl").exists() and len(list((tmp_path / "killed").rglob("*.png"))) < 8
    with (state / "journal.jsonl").open("a") as journal:
        journal.write('{"path": "cut sh')  # as a kill may leave it
    until = time.monotonic() + 10
    while any(Path(f"/proc/{worker}").exists() for worker in workers):  # none is left behind
        assert time.monotonic() < until
        time.sleep(0.05)

    again = subprocess.run([*command, "1", "--json"], capture_output=True, text=True, env=environment)
    assert again.returncode == 6 and 0 < json.loads(again.stdout)["unchanged"] < 8
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")
    assert tree(tmp_path / "killed-told") == tree(tmp_path / "whole-told")


def _mortal(*given):
    return _work_or_die


def _work_or_die(jobs):
    if jobs[0].path == "fatal.png":
        os._exit(9)
    return [{"path": job.path} for job in jobs]


@pytest.mark.slow
def test_a_file_that_kills_its_worker_is_a_failure_and_stops_no_other(monkeypatch, tmp_path):
    monkeypatch.setattr(folders, "_worker", _mortal)
    jobs = [
        folders._Job("photo", name, tmp_path / name, tmp_path / "out" / name, name, tmp_path, None, 0, [], [])
        for name in ("a.png", "fatal.png", "m.png", "z.png")
    ]
    records = list(folders._spread(deque([job] for job in jobs), 1, ("", "", None)))
    assert sorted(record["path"] for record in records) == ["a.png", "fatal.png", "m.png", "z.png"]
    failed = {record["path"]: record["error"] for record in records if "error" in record}
    assert list(failed) == ["fatal.png"] and "process that worked on it died" in failed["fatal.png"]


def test_a_video_among_photos(quick, album, tmp_path):
    encode(album / "deep" / "clip.mp4", [np.asarray(PIL.Image.open(album / "a.png").convert("RGB"))] * 3)
    report = anonymize_folder(album, tmp_path / "out", pipe=quick, seed=1, reports=tmp_path / "told")
    assert report.videos == 1 and (tmp_path / "out" / "deep" / "clip.mp4").is_file()
    assert report.anonymized + report.obfuscated >= 3
    assert json.loads((tmp_path / "told" / "deep" / "clip.mp4.json").read_text())["input"] == "deep/clip.mp4"


def test_a_video_that_cannot_be_done_is_a_failure_and_never_copied(quick, album, tmp_path, monkeypatch):
    (album / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42 and so on")
    monkeypatch.setitem(sys.modules, "faceanon_hub.video.anonymize", None)  # as where it cannot be imported
    report = anonymize_folder(album, tmp_path / "out", pipe=quick, copy_others=True)
    assert "clip.mp4" in report.failures and not (tmp_path / "out" / "clip.mp4").exists()


def test_names_as_long_as_can_be(quick, source, tmp_path, head):
    names = [f"{letter * 251}.png" for letter in "ab"]
    for name in [*names, "ä.png"]:
        head.save(source / name)
    report = anonymize_folder(source, tmp_path / "out", pipe=quick, seed=1, reports=tmp_path / "told")
    assert report.photos == 3 and not report.failures and {*names, "ä.png"} < set(tree(tmp_path / "out"))
    told = [json.loads(text) for text in tree(tmp_path / "told").values()]
    assert sorted(record["input"] for record in told) == sorted([*names, "ä.png"])
    assert anonymize_folder(source, tmp_path / "out", pipe=quick, seed=1, reports=tmp_path / "told").unchanged == 3
    report = anonymize_folder(source, tmp_path / "more", pipe=quick, seed=1, suffix="_new")
    assert report.photos == 1 and set(report.failures) == set(names)
    assert all("longer than 255 bytes" in reason for reason in report.failures.values())


def test_what_macos_writes_beside_files_is_no_photo(quick, source, tmp_path, head):
    head.save(source / "a.png")
    (source / "._a.png").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(100))
    head.save(source / "._b.png")  # a photo all the same
    report = anonymize_folder(source, tmp_path / "out", pipe=quick, seed=1)
    assert (report.photos, report.skipped, report.failures) == (2, 1, {})
