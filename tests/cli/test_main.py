import json
import re
import shlex
import subprocess
import sys
import tomllib
from io import BytesIO
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import PIL.Image
import pytest
import typer
from helpers.commands import fails, run, without_blanks
from helpers.photos import turned
from typer.testing import CliRunner

from faceanon_hub import FaceAnonPipeline, __version__
from faceanon_hub.cli import app
from faceanon_hub.cli.extras import EXTRAS
from faceanon_hub.hub import TABLE_END, TABLE_START

README = Path(__file__).parents[2] / "README.md"
pytestmark = pytest.mark.usefixtures("at_hand")


@pytest.fixture(scope="module")
def head():
    """A small photo with one face."""
    return PIL.Image.fromarray(turned(0))


@pytest.fixture
def photo(tmp_path, head):
    head.save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_image_with_report_and_preview(photo, tmp_path, head):
    result = run(
        "image", photo, tmp_path / "out.png", "--seed", 1,
        "--report", tmp_path / "report.json", "--preview", tmp_path / "sheet.png",
    )  # fmt: skip
    assert result.exit_code == 0 and "1 anonymized" in result.stderr and result.stdout == ""
    out = np.asarray(PIL.Image.open(tmp_path / "out.png"))
    assert out.shape == (320, 320, 3) and (out != np.asarray(head)).any()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["version"] == __version__ and report["input"] == str(photo)
    (face,) = report["faces"]
    assert face["status"] == "anonymized" and len(face["box"]) == 4 and face["number"] == 0
    assert "seed" not in face and "landmarks" not in face
    assert PIL.Image.open(tmp_path / "sheet.png").size == (648, 320)


def test_the_seed_decides_and_a_folder_can_be_the_target(photo, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        assert run("image", photo, tmp_path / name, "--seed", seed, "--quiet").exit_code == 0
    a, b, c = ((tmp_path / name / "photo.png").read_bytes() for name in "abc")
    assert a == b != c


def test_half_precision_gives_the_same_face(photo, sketches, tmp_path):
    for dtype in ("float32", "bfloat16"):
        chosen = "--checkpoint", sketches, "--dtype", dtype
        run("image", photo, tmp_path / f"{dtype}.png", "--seed", 1, *chosen, "--quiet")
    names = (photo, tmp_path / "float32.png", tmp_path / "bfloat16.png")
    before, whole, half = (np.asarray(PIL.Image.open(name)).astype(int) for name in names)
    apart = np.abs(whole - half)[(whole != before).any(2)]
    assert 0 < apart.mean() < 3


def test_json_on_standard_output_is_json_alone(photo, tmp_path):
    result = run("image", photo, tmp_path / "out.png", "--json", "--report-seeds")
    (face,) = json.loads(result.stdout)["faces"]
    assert isinstance(face["seed"], int)


def test_keep(photo, tmp_path, head):
    result = run("image", photo, tmp_path / "out.png", "--keep", 0, "--json")
    assert json.loads(result.stdout)["faces"][0]["status"] == "kept"
    assert np.array_equal(np.asarray(PIL.Image.open(tmp_path / "out.png")), np.asarray(head))
    by_box = run("image", photo, tmp_path / "out.png", "--keep", "0,0,320,320", "--json", "--force")
    assert json.loads(by_box.stdout)["faces"][0]["status"] == "kept"


def test_hide(photo, tmp_path):
    result = run("image", photo, tmp_path / "out.png", "--hide", "0,0,40,30.5", "--fallback", "solid", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 0 and report["hide"] == [[0, 0, 40, 30.5]] and report["keep"] == []
    assert not np.asarray(PIL.Image.open(tmp_path / "out.png"))[:31, :40].any()


def test_obfuscated_faces_have_their_exit_code(photo, blind, tmp_path):
    result = run("image", photo, tmp_path / "out.png", "--fallback", "solid")
    assert result.exit_code == 3 and "face 0 is obfuscated: no landmarks" in without_blanks(result.stderr)
    assert (np.asarray(PIL.Image.open(tmp_path / "out.png")) == 0).all(2).sum() > 5000


def test_unreadable_input(tmp_path):
    (tmp_path / "broken.jpg").write_text("no photo")
    for name in ("broken.jpg", "missing.jpg"):
        result = run("image", tmp_path / name, tmp_path / "out.jpg")
        assert result.exit_code == 4 and name in result.stderr and not (tmp_path / "out.jpg").exists()


def test_missing_checkpoint(photo, tmp_path):
    result = run("image", photo, tmp_path / "out.png", "--checkpoint", tmp_path / "nowhere")
    assert result.exit_code == 1 and "nowhere" in result.stderr and not (tmp_path / "out.png").exists()


WRONG = ["--light=2", "--fallback=fog", "--privacy=1.5", "--attributes=hair", "--dtype=int8"]
WRONG += [f"--keep={entry}" for entry in ("1", "x", "1,2,3", "-1", "1.5")]
WRONG += [f"--hide={zone}" for zone in ("1,2,3", "0", "a,b,c,d", "9,9,9,20", "400,0,500,9")]


def test_wrong_usage(photo, tmp_path):
    assert run("image", photo).exit_code == 2
    for wrong in WRONG:
        assert run("image", photo, tmp_path / "out.png", wrong).exit_code == 2, wrong
    assert not (tmp_path / "out.png").exists()


def test_privacy_and_attributes_reach_the_pipeline(photo, tmp_path, monkeypatch):
    call = Mock(side_effect=FaceAnonPipeline.__call__)
    monkeypatch.setattr(FaceAnonPipeline, "__call__", lambda *given, **options: call(*given, **options))
    run("image", photo, tmp_path / "out.png", "--privacy", 1, "--attributes", "none", "--quiet")
    assert (call.call_args.kwargs["privacy"], call.call_args.kwargs["attributes"]) == (1, "none")


def test_fit_says_what_is_wrong(tmp_path):
    bank = tmp_path / "bank"
    bank.write_text("a file")
    fails(5, "bank", "fit", tmp_path / "out", "--bank", bank)
    assert not (tmp_path / "out").exists()


def test_the_original_is_not_overwritten_by_mistake(photo):
    before = photo.read_bytes()
    assert run("image", photo, photo).exit_code == 2 and photo.read_bytes() == before
    assert run("image", photo, photo, "--force").exit_code == 0 and photo.read_bytes() != before


def test_nothing_is_overwritten_by_mistake(photo, tmp_path):
    there = {name: tmp_path / name for name in ("out.png", "report.json", "sheet.png")}
    for path in there.values():
        path.write_text("mine")
    wishes = (["out.png"], ["new.png", "--report", "report.json"], ["new.png", "--preview", "sheet.png"])
    for wish in wishes:
        result = run("image", photo, *(tmp_path / word if "." in word else word for word in wish))
        assert result.exit_code == 2 and "exists; --force overwrites it" in without_blanks(result.stderr)
    assert {path.read_text() for path in there.values()} == {"mine"} and not (tmp_path / "new.png").exists()
    everything = ["--report", there["report.json"], "--preview", there["sheet.png"], "--force"]
    assert run("image", photo, there["out.png"], *everything).exit_code == 0
    assert json.loads(there["report.json"].read_text())["faces"] and PIL.Image.open(there["sheet.png"])


def test_standard_input_and_output(photo, tmp_path):
    content = photo.read_bytes()
    through = CliRunner().invoke(app, ["image", "-", "-", "--seed", "1"], input=content)
    assert through.exit_code == 0 and "1 anonymized" in through.stderr
    out = PIL.Image.open(BytesIO(through.stdout_bytes))
    run("image", photo, tmp_path / "out.png", "--seed", 1)
    assert out.format == "PNG" and np.array_equal(np.asarray(out), np.asarray(PIL.Image.open(tmp_path / "out.png")))
    out = CliRunner().invoke(app, ["image", str(photo), "-", "--seed", "1"])
    assert out.stdout_bytes == through.stdout_bytes
    assert CliRunner().invoke(app, ["image", "-", str(tmp_path / "in.jpg")], input=content).exit_code == 0
    assert PIL.Image.open(tmp_path / "in.jpg").format == "JPEG"
    broken = CliRunner().invoke(app, ["image", "-", "-"], input=b"no photo")
    assert broken.exit_code == 4 and "standard input: text, not an image" in broken.stderr and not broken.stdout_bytes
    assert CliRunner().invoke(app, ["image", "-", "-", "--json"], input=content).exit_code == 2
    assert CliRunner().invoke(app, ["image", "-", str(tmp_path)], input=content).exit_code == 2
    for wish in (["-", "out.mp4"], ["in.mp4", "-"]):
        fails(2, "read and written as a file", "video", *wish)


def test_the_command_for_a_file_is_named(photo, tmp_path):
    for name, command in (("talk.mp4", "image"), ("TALK.MOV", "image"), ("photo.jpg", "video")):
        result = run(command, tmp_path / name, tmp_path / "out.png")
        other = {"image": "video", "video": "image"}[command]
        assert result.exit_code == 2 and f"another command: faceanon {other}" in without_blanks(result.stderr)
    for command in ("image", "video"):
        fails(2, "is a folder: faceanon folder", command, tmp_path, tmp_path / "out.png")


def test_addresses_are_told_whole(tmp_path):
    for command, name in (("image", "a.jpg"), ("video", "a.mp4"), ("folder", "photos")):
        fails(4, f"https://example.com/{name}: ", command, f"https://example.com/{name}", tmp_path / f"out-{name}")


@pytest.mark.parametrize("device", ["foo", "cuda:99", "mps"])
@pytest.mark.parametrize("command", ["image", "video", "folder", "fit"])
def test_a_device_that_is_not_there_is_wrong_usage(command, device, photo, tmp_path):
    source = {"image": photo, "video": tmp_path / "a.mp4"}.get(command, tmp_path)
    target = tmp_path.parent / f"out.{'mp4' if command == 'video' else 'png'}"
    paths = (target, "--bank", source) if command == "fit" else (source, target)
    fails(2, f"'{device}' cannot be used here", command, *paths, "--device", device)


def test_version():
    result = run("--version")
    assert result.exit_code == 0 and result.stdout == f"faceanon-hub {__version__}\n"


def test_no_face_has_an_exit_code_for_those_who_ask(photo, tmp_path):
    PIL.Image.new("RGB", (64, 64), "grey").save(tmp_path / "flat.png")
    result = run("image", tmp_path / "flat.png", tmp_path / "plain.png")
    assert result.exit_code == 0 and "no face found" in result.stderr
    result = run("image", tmp_path / "flat.png", tmp_path / "out.png", "--strict")
    assert result.exit_code == 7 and "no face found" in result.stderr and (tmp_path / "out.png").exists()
    assert run("image", photo, tmp_path / "face.png", "--strict").exit_code == 0


def test_the_limit_of_pixels_can_be_moved(photo, tmp_path):
    fails(4, "`max_pixels` moves it", "image", photo, tmp_path / "out.png", "--max-pixels", 320 * 320 - 1)
    assert run("image", photo, tmp_path / "out.png", "--max-pixels", 320 * 320).exit_code == 0
    limited = run("folder", tmp_path, tmp_path.parent / "limited", "--max-pixels", 9, "--include", "photo.png")
    assert limited.exit_code == 6


@pytest.mark.parametrize("bad", ["out.xyz", "nowhere/out.png", f"{'a' * 252}.png", "out.heic"])
def test_what_cannot_be_written_is_said_before_the_work(bad, photo, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr("faceanon_hub.loading.load_quietly", None)  # nothing is loaded
    assert run("image", photo, tmp_path / bad).exit_code == 5
    assert run("image", photo, tmp_path / "out.png", "--preview", tmp_path / bad).exit_code == 5
    if "heic" not in bad and "xyz" not in bad:
        assert run("image", photo, tmp_path / "out.png", "--report", tmp_path / bad).exit_code == 5
        assert run("video", tmp_path / "a.mp4", tmp_path / bad.replace("png", "mp4")).exit_code == 5
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.parametrize(
    "words",
    [
        ["image", "LONG.jpg", "out.jpg"],
        ["video", "LONG.mp4", "out.mp4"],
        ["video", "a.mp4", "LONG.mp4"],
        ["folder", "LONG", "out"],
        ["folder", "in", "LONG"],
        ["folder", "in", "out", "--report", "LONG"],
        ["folder", "in", "out", "--zones", "LONG"],
        ["dataset", "LONG", "out"],
        ["dataset", "in", "LONG"],
        ["info", "LONG"],
        ["fit", "LONG", "--bank", "in"],
        ["convert", "in/photo.png", "LONG"],
        ["evaluate", "in", "--out", "LONG"],
        ["attack", "in", "LONG"],
        ["check", "in", "LONG"],
        ["prepare", "in", "LONG", "--licence", "mit"],
        ["space", "build", "LONG"],
    ],
)
def test_names_that_are_too_long_are_told_in_a_line(words, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    photo.rename(tmp_path / "in" / "photo.png")
    long = "ä" * 130  # of two bytes each
    result = run(*(word.replace("LONG", long) for word in words))
    assert result.exit_code in (1, 4, 5), result
    assert re.search("long|no such folder", without_blanks(result.stderr)) and "Traceback" not in result.output


@pytest.mark.parametrize(
    ("words", "package"),
    [
        (["evaluate", "in", "--out", "out"], "matplotlib"),
        (["attack", "in", "out"], "matplotlib"),
        (["check", "in", "out"], "dlib"),
        (["image", "in/photo.png", "out.png", "--candidates", "2"], "dlib"),
        (["train", "run.yaml"], "tensorboard"),
        (["prepare", "in", "out", "--licence", "mit"], "yaml"),
        (["app"], "gradio"),
        (["app", "--mcp"], "mcp"),
        (["video", "a.mp4", "out.mp4"], "av"),
    ],
)
def test_a_missing_extra_is_said_before_the_work(words, package, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    photo.rename(tmp_path / "in" / "photo.png")
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("faceanon_hub.loading.load_quietly", None)
    fails(1, "is not installed: pip install 'faceanon-hub[", *words)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_extras_are_those_of_the_package():
    project = tomllib.loads((README.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name, modules in EXTRAS.items():
        listed = {re.split(r"[\[<>=]", line)[0] for line in project[name]}
        assert listed <= set(modules.values()) and set(modules.values()) - listed <= {"mcp"}


@pytest.mark.parametrize(
    ("command", "told"), [("image", "not finished is not written"), ("folder", "goes on where it")]
)
def test_ctrl_c_says_how_to_go_on(command, told, photo, tmp_path, monkeypatch):
    stop = Mock(side_effect=KeyboardInterrupt)
    monkeypatch.setattr(FaceAnonPipeline, "find_faces", stop)
    monkeypatch.setattr("faceanon_hub.bulk.folders.wait", stop)
    source = photo if command == "image" else tmp_path
    result = run(command, source, tmp_path.parent / f"stopped-{command}.png")
    assert result.exit_code == 130 and told in without_blanks(result.stderr)


SAME = [
    ("image", "photo.png", "out.png", "--preview", "out.png"),
    ("image", "photo.png", "out.png", "--report", "photo.png"),
    ("image", "photo.png", "out.png", "--preview", "photo.png", "--force"),
    ("image", "photo.png", "out.png", "--preview", "sheet.png", "--report", "sheet.png"),
    ("image", "photo.png", "out.png", "--preview", "link.png"),  # to out.png, which does not exist yet
    ("image", "photo.png", "out.png", "--report", "deep/../photo.png"),
    ("image", "photo.png", "out.png", "--report", "hard.png"),
    ("image", "photo.png", "deep", "--preview", "deep/photo.png"),
    ("video", "photo.png", "out.mp4", "--report", "photo.png"),
    ("video", "photo.png", "out.mp4", "--report", "out.mp4"),
    ("folder", "deep", "done", "--report", "done"),
    ("folder", "deep", "done", "--zones", "done"),
    ("dataset", "deep", "deep"),
    ("evaluate", "deep", "--out", "deep"),
    ("evaluate", "deep", "--out", "done", "--card", "done/report.md"),
    ("attack", "deep", "deep"),
    ("attack", "deep", "done", "--recognizer", "done/report.json"),
    ("prepare", "photo.png", "deep", "deep", "--licence", "a", "--licence", "b"),
    ("train", "photo.png", "photo.png"),
    ("fit", "deep", "--bank", "deep"),
    ("fit", "done", "--bank", "deep", "--generator", "deep"),
    ("convert", "photo.png", "photo.png"),
]


@pytest.mark.parametrize("command", SAME, ids=lambda command: " ".join(command))
def test_paths_that_meet_are_wrong_usage(photo, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "link.png").symlink_to("out.png")
    (tmp_path / "hard.png").hardlink_to(photo)
    before = photo.read_bytes()
    fails(2, "are the same", *command)
    assert photo.read_bytes() == before
    assert {path.name for path in tmp_path.rglob("*")} == {"deep", "hard.png", "link.png", "photo.png"}


def test_metadata_only_on_request(tmp_path, head):
    exif = PIL.Image.Exif()
    exif[0x010F], exif[0x013B] = "Camera maker", "Photographer"
    head.save(tmp_path / "photo.jpg", exif=exif)
    run("image", tmp_path / "photo.jpg", tmp_path / "plain.jpg")
    run("image", tmp_path / "photo.jpg", tmp_path / "kept.jpg", "--keep-metadata")
    assert not PIL.Image.open(tmp_path / "plain.jpg").getexif()
    assert PIL.Image.open(tmp_path / "kept.jpg").getexif()[0x013B] == "Photographer"


def test_info():
    facts = json.loads(run("info", "--json").stdout)
    assert facts["faceanon-hub"] == __version__ and facts["checkpoint"] == "bundled"
    assert re.fullmatch(r"FaceAnonGenerator, up to 1024 px, [\d.]+ M weights", facts["prior"])
    assert facts["python"].startswith(f"3.{sys.version_info[1]}")
    assert "ai-edge-litert" in run("info").stdout


def test_every_option_is_shown_by_example():
    commands = typer.main.get_command(app).commands
    text = README.read_text() + (README.parent / "docs" / "options.md").read_text()
    examples = re.findall(r"^faceanon (image|video|folder|dataset) (.*)$", text, re.M)
    shown = set()
    for name, arguments in examples:
        words = shlex.split(arguments)
        commands[name].make_context(name, list(words))  # raises what such a command would
        shown |= {word.replace("--no-", "--") for word in words if word.startswith("--")}
    options = {
        option.replace("--no-", "--")
        for name, _ in examples
        for parameter in commands[name].params
        for option in parameter.opts
        if option.startswith("--")
    }
    assert len(options) > 30 and options - shown <= {"--help"}


def test_nothing_is_said_where_nothing_is_wrong(photo, tmp_path):
    command = [sys.executable, "-m", "faceanon_hub", "image", photo, tmp_path / "out.png", "--seed", "1", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_nothing_is_said_where_accelerate_is_not_installed():
    code = "import diffusers.utils.import_utils as utils; utils._accelerate_available = False; "
    code += "from faceanon_hub.loading import load_quietly as load; "
    code += "from faceanon_hub import DEFAULT_CHECKPOINT as base, "
    code += "FaceAnonGenerator as part; load(str(base)); part.from_pretrained(str(base), subfolder='generator')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture(scope="module")
def album(tmp_path_factory, head):
    """Two photos of one person in a folder, and a file that is none."""
    folder = tmp_path_factory.mktemp("album")
    (folder / "somebody").mkdir()
    head.save(folder / "somebody" / "1.png")
    head.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "somebody" / "2.png")
    (folder / "somebody" / "3.png").write_bytes(b"no picture")
    return folder


def test_evaluate_measures_a_folder_and_goes_on_after_a_stop(album, tmp_path):
    out, card = tmp_path / "report", tmp_path / "card.md"
    card.write_text(f"# Card\n\n{TABLE_START}\n{TABLE_END}\n")
    command = (
        "evaluate", album, "--out", out, "--pairs", "identities", "--methods", "original, default", "--workers", 1,
        "--card", card, "--keep-state",
    )  # fmt: skip
    result = run(*command)
    assert result.exit_code == 0 and "2 photos" in result.stderr and "3.png: unreadable" in result.stderr
    summary = json.loads((out / "report.json").read_text())
    assert summary["photos"] == 2 and len(summary["left_out"]) == 1
    assert list(summary["methods"]) == ["original", "default"]
    assert summary["methods"]["default"]["values"]["ciede2000"]["n"] == 2
    assert "| default | 2 | 0 |" in (out / "report.md").read_text()
    assert PIL.Image.open(out / "worst.jpg").width == 1280 and (out / "plots" / "light.png").is_file()
    assert "Skin colour error" in card.read_text()

    records = sorted((out / "state").glob("*.npz"))
    written = [record.stat().st_mtime_ns for record in records]
    records[1].unlink()
    assert run(*command[:-1], "--quiet").exit_code == 0
    assert json.loads((out / "report.json").read_text()) == summary
    assert len(records) == len(written) == 3 and not (out / "state").exists()  # embeddings are gone


def test_evaluate_says_what_is_wrong(album, tmp_path, photo):
    out = tmp_path / "report"
    empty = tmp_path / "empty"
    empty.mkdir()
    fails(4, "empty: holds no photo", "evaluate", empty, "--out", out)
    assert run("evaluate", tmp_path / "nowhere", "--out", out).exit_code == 4
    fails(2, "magic", "evaluate", album, "--out", out, "--methods", "magic")
    fails(5, "photo.png", "evaluate", album, "--out", photo)
    assert not out.exists()
