"""Photos to embeddings, in memory; and the whole way of the command."""

import json
import re
import tarfile

import numpy as np
import PIL.Image
import pytest
from helpers.commands import fails, run
from helpers.graph_models import FACERES, write_graph

from faceanon_hub import FaceAnonError, FaceAnonPipeline, UnreadableImageError, metrics
from faceanon_hub.attacks import SETTINGS, Capture, Setting, find_people, gather, known_settings, recognize
from faceanon_hub.attacks.capture import EXPRESSION
from faceanon_hub.attacks.report import FIGURES
from faceanon_hub.look import ROWS


@pytest.fixture(scope="module")
def record(album, sketcher) -> dict:
    return Capture(sketcher, known_settings())(find_people(album)[0])


def test_people_with_one_photo_are_left_out(album):
    tasks = find_people(album)
    assert len(tasks) == 12 and [task.number for task in tasks] == list(range(12))
    assert {task.path.parent.name for task in tasks} == {f"person {n}" for n in range(6)}


def test_a_limit_takes_two_of_each_first(tmp_path):
    for person in range(10):
        (tmp_path / str(person)).mkdir()
        for number in range(2 + person):
            (tmp_path / str(person) / f"{number}.jpg").touch()
    for limit, counts in {12: [2] * 6, 20: [2] * 10, 25: [2] * 5 + [3] * 5}.items():
        names = [task.identity for task in find_people(tmp_path, limit)]
        assert sorted(names.count(name) for name in set(names)) == counts
    assert len(find_people(tmp_path)) == len(find_people(tmp_path, 1000)) == 65
    with pytest.raises(UnreadableImageError, match="need 6 people"):
        find_people(tmp_path, 11)


def test_a_setting_that_the_pipeline_does_not_know_is_not_offered(monkeypatch):
    assert {"original", "blur", "default", "privacy 1", "no post-processors", "one seed"} <= set(known_settings())
    monkeypatch.setitem(SETTINGS, "new", Setting(options={"no_such_argument": 1}))
    assert "new" not in known_settings()

    class Later(FaceAnonPipeline):
        def __call__(self, image, no_such_argument=0):
            """Takes one argument more."""

    assert "new" in known_settings(Later)


def test_every_setting_is_seen_whole_and_alone(record):
    assert list(record["settings"]) and set(record["settings"]) == set(known_settings())
    for name, row in record["settings"].items():
        assert row["whole"].shape == row["alone"].shape == (128,), name
        assert np.isfinite(row["whole"]).all() and not np.array_equal(row["whole"], row["alone"]), name
    for kind in EXPRESSION:
        kept = [record["settings"][name]["expression"][kind] for name in ("original", "default")]
        assert kept[0] < 0.5 < kept[1] < 10
    assert list(record["numbers"]) == ["look", "light", "color", "tones", "shape"]
    assert record["numbers"]["look"].shape == (len(ROWS),) and record["numbers"]["shape"].shape == (956,)
    assert all(np.isfinite(numbers).all() for numbers in record["numbers"].values())
    assert record["numbers"]["light"].shape == record["numbers"]["color"].shape == (9,)
    assert record["numbers"]["tones"].shape == (10 + 15,) and np.isfinite(record["numbers"]["tones"]).all()


def test_settings_differ_and_the_original_is_the_original(record, album, pipe):
    rows = record["settings"]
    faces = [row["whole"] for row in rows.values()]
    same = {("default", "attributes from surroundings"), ("default", "attributes free")}  # without estimators
    for number, (name, face) in enumerate(zip(rows, faces, strict=True)):
        for other, theirs in list(zip(rows, faces, strict=True))[:number]:
            apart = np.linalg.norm(face - theirs) > 0.01
            assert apart or (other, name) in same or "attributes" in other, f"{other}, {name}"
    photo = np.asarray(PIL.Image.open(find_people(album)[0].path))
    (face,) = pipe.find_faces(photo)
    assert np.array_equal(rows["original"]["whole"], metrics.DlibRecognizer()(photo, face.landmarks))


def test_alone_nothing_round_the_face_is_seen(album, quick):
    task = find_people(album)[0]
    seen = []

    def spy(image, landmarks):
        seen.append(image)
        return np.zeros(2)

    Capture(quick, ["default"], recognizer=spy)(task)
    whole, alone = seen
    grey = (alone == 128).all(2)
    assert grey[:5].all() and grey[-5:].all() and 0.3 < grey.mean() < 0.95
    assert np.array_equal(alone[~grey], whole[~grey])


def test_one_seed_is_that_of_the_pipeline(album, quick):
    task = find_people(album)[1]
    photo = np.asarray(PIL.Image.open(task.path))
    results = []
    Capture(quick, ["one seed"], seed=4, recognizer=lambda image, points: results.append(image) or np.zeros(2))(task)
    assert np.array_equal(results[0], np.asarray(quick(photo, seed=4).images[0]))


def test_photos_without_a_face_are_left_out_and_counted(album, record, pipe, tmp_path):
    PIL.Image.new("RGB", (64, 64), "gray").save(tmp_path / "empty.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    look, tasks = Capture(pipe, ["original"]), find_people(album)
    for name, reason in {"empty.png": "no face", "broken.png": "unreadable"}.items():
        assert reason in look(type(tasks[0])(0, tmp_path / name, "x", True, tmp_path))["failed"]
    with pytest.raises(FaceAnonError, match="there are 5 .1 left out: no face."):
        gather(tasks, [{"failed": "no face"}, *[record] * 11])
    more = [*tasks, *(type(tasks[0])(n, tmp_path, "x", True, tmp_path) for n in (12, 13))]
    seen = gather(more, [*[record] * 13, {"failed": "no face"}])
    assert seen.left_out == {"no face": 1, "no second photo of the person is left": 1}
    assert seen.people.tolist() == [n // 2 for n in range(12)]
    assert seen.faces["blur"]["alone"].shape == (12, 128) and seen.expression["default"]["points"].shape == (12,)


def test_the_command_takes_another_recognizer(at_hand, album, tmp_path):
    fails(4, "faceres.json", "attack", album, tmp_path / "report", "--recognizer", tmp_path / "faceres.json")
    write_graph(tmp_path, "faceres", *FACERES)
    result = run(
        "attack", album, tmp_path / "report", "--settings", "original", "--workers", 1,
        "--recognizer", tmp_path / "faceres.json", "--keep-embeddings",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "embeddings of faceres" in (tmp_path / "report" / "report.md").read_text()
    assert json.loads((tmp_path / "report" / "report.json").read_text())["recognizer"] == "faceres"
    seen = np.load(tmp_path / "report" / "embeddings.npz")
    assert {value.shape[1] for name, value in seen.items() if name.endswith(("/whole", "/alone"))} == {16}


def test_the_command_reports_figures_and_nothing_biometric(at_hand, album, tmp_path):
    out = tmp_path / "report"
    result = run("attack", album, out, "--settings", "default", "--workers", 2)
    assert result.exit_code == 0 and "parrot:" in result.stderr and "12 photos" in result.stderr
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert names == ["plots/cmc.png", "plots/roc.png", "plots/trade-off.png", "report.json", "report.md"]
    summary = json.loads((out / "report.json").read_text())
    assert summary["photos"] == 12 and summary["people"] == 6 and list(summary["attacks"]) == ["original", "default"]
    for view in ("whole", "alone"):
        assert len(summary["attacks"]["default"][view]) == 6
        for found in summary["attacks"]["default"][view].values():
            for figure in FIGURES:
                assert 0 <= found[figure]["low"] <= found[figure]["value"] <= found[figure]["high"] <= 1
    assert summary["attacks"]["original"]["whole"]["recognizer"]["auc"]["value"] > 0.6
    text = (out / "report.json").read_text() + (out / "report.md").read_text()
    assert "person 0" not in text and not re.search(r"\[(\s*-?[\d.]+,){60}", text)
    assert "nan" not in text.lower()


def test_the_command_says_what_is_wrong(album, tmp_path):
    fails(4, "nowhere", "attack", tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "few").mkdir()
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "few" / "1.png")
    fails(4, "there are 0", "attack", tmp_path / "few", tmp_path / "out")
    assert run("attack", album, tmp_path / "out", "--settings", "magic").exit_code == 2
    assert run("attack", album, tmp_path / "few" / "1.png").exit_code == 5
    assert not list((tmp_path / "out").iterdir())


def test_photos_of_real_people_are_told_apart_until_they_are_blurred(shared, tmp_path, pipe):
    archive = shared / "data" / "eval-press.tar"
    if not archive.is_file():
        pytest.skip("no photos")
    with tarfile.open(archive) as tar:
        folders: dict[str, list[tarfile.TarInfo]] = {}
        for member in tar.getmembers():
            if member.isfile():
                folders.setdefault(member.name.rpartition("/")[0], []).append(member)
        several = [members[:2] for _, members in sorted(folders.items()) if len(members) > 1][:6]
        for number, members in enumerate(several):
            (tmp_path / str(number)).mkdir()
            for place, member in enumerate(members):
                source = tar.extractfile(member)
                assert source is not None
                (tmp_path / str(number) / f"{place}.jpg").write_bytes(source.read())
    tasks = find_people(tmp_path)
    look = Capture(pipe, ["original", "blur"])
    seen = gather(tasks, [look(task) for task in tasks])
    originals = seen.faces["original"]["whole"]
    known, blurred = (recognize(originals, seen.faces[name]["whole"], seen.people) for name in ("original", "blur"))
    assert known["auc"]["value"] > 0.95 > 0.85 > blurred["auc"]["value"]
