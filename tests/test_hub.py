"""Checkpoints: the bundled one, folders, and a real exchange with a Hub on this machine."""

import contextlib
import hashlib
import io
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from helpers.commands import run
from helpers.disk import Code
from helpers.loopback_hub import OWNER, LoopbackHub
from huggingface_hub import ModelCard, constants, hf_api
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from faceanon_hub import (
    DEFAULT_CHECKPOINT,
    AttributeEstimator,
    CheckpointError,
    FaceAnonGenerator,
    FaceAnonPipeline,
    FaceDetector,
    FaceParser,
    FaceRecognizer,
    LandmarkExtractor,
    LightingTransfer,
    SkinColorTransfer,
    StyleSampler,
    SurroundingsEncoder,
    UnmeasuredError,
)
from faceanon_hub.hub import describe

COMPONENTS = {
    "detector": "FaceDetector",
    "generator": "FaceAnonGenerator",
    "landmark_extractor": "LandmarkExtractor",
    "lighting_transfer": "LightingTransfer",
    "parser": "FaceParser",
    "recognizer": "FaceRecognizer",
    "sampler": "StyleSampler",
    "attribute_estimator": "AttributeEstimator",
    "surroundings_encoder": "SurroundingsEncoder",
    "skin_color_transfer": "SkinColorTransfer",
}
FILE = "diffusion_pytorch_model.safetensors"
WEIGHTS = f"generator/{FILE}"
WEIGHED = ("attribute_estimator", "generator", "parser", "recognizer", "sampler", "surroundings_encoder")
ID = "someone/some-anonymizer"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty Hub, and an empty cache of what comes from it."""
    with LoopbackHub() as server:
        # huggingface_hub reads HF_ENDPOINT and HF_HOME once, when it is imported: these are the places that keep them.
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(hf_api.api, "endpoint", server.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server


@pytest.fixture
def diffusers_log(caplog):
    """Diffusers' own messages, which it does not pass on to the root logger."""
    logger = logging.getLogger("diffusers")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture
def pushed(hub) -> FaceAnonPipeline:
    """A pipeline that is on the Hub, under `ID`."""
    pipeline = tiny()
    pipeline.push_to_hub(ID, token=OWNER)
    return pipeline


def tiny(seed: int = 0, **options) -> FaceAnonPipeline:
    """A pipeline of few and random weights, configured unlike the defaults: no face that it draws fits."""
    torch.manual_seed(seed)
    parts = {
        "detector": FaceDetector(threshold=0.4),
        "landmark_extractor": LandmarkExtractor(min_presence=0.4),
        "generator": FaceAnonGenerator(
            latent_size=16, channels=(8, 8, 8, 8, 8, 8, 12), sizes=(128, 512), resolutions=(128, 256)
        ),
        "lighting_transfer": LightingTransfer(limit=1.4),
        "skin_color_transfer": SkinColorTransfer(strength=0.9),
        "sampler": StyleSampler.from_pretrained(DEFAULT_CHECKPOINT, subfolder="sampler", truncation=0.5),
        "parser": FaceParser(sample_size=64, channels=(8, 8)),
        "recognizer": FaceRecognizer.from_pretrained(DEFAULT_CHECKPOINT, subfolder="recognizer"),
        "attribute_estimator": AttributeEstimator(channels=(8, 8)),
        "surroundings_encoder": SurroundingsEncoder(channels=(8, 8)),
        "mask_margin": 0.12,
        "privacy": 0.25,
        "attributes": "none",
        "batch_size": 2,
        "fallback": "solid",
    }
    return FaceAnonPipeline(**{**parts, **options})


def picture(pipeline: FaceAnonPipeline, photo: np.ndarray) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    return np.asarray(pipeline(photo, seed=1).images[0])


def settings(pipeline: FaceAnonPipeline) -> dict:
    """Every value that a checkpoint holds beside the weights."""
    held = {name: part and public(part.config) for name, part in pipeline.components.items()}
    return {**held, "pipeline": public(pipeline.config)}


def public(config) -> dict:
    return json.loads(json.dumps({name: value for name, value in config.items() if not name.startswith("_")}))


def fingerprint(network: torch.nn.Module) -> str:
    weights = network.state_dict()
    return hashlib.sha256(b"".join(weights[name].numpy().tobytes() for name in sorted(weights))).hexdigest()


def jsons(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in Path(folder).rglob("*.json")}


# The bundled checkpoint


def test_bundled_checkpoint_names_every_component():
    index = json.loads((DEFAULT_CHECKPOINT / "model_index.json").read_text())
    assert index.pop("_class_name") == ["pipeline", "FaceAnonPipeline"]
    parts = {name: value for name, value in index.items() if isinstance(value, list) and value != [None, None]}
    assert parts == {name: ["faceanon_hub", kind] for name, kind in COMPONENTS.items()}
    texts = jsons(DEFAULT_CHECKPOINT)
    assert set(texts) == {"model_index.json", *(f"{name}/config.json" for name in COMPONENTS)}
    for name, text in texts.items():  # nor a path
        assert "_name_or_path" not in text, name
        assert not re.search(r'"(/|~|\w:\\)', text), name


def test_bundled_weights_are_small():
    most = {"": 44_000_000, "attribute_estimator": 3_000_000, "surroundings_encoder": 8_000_000}
    for name, limit in most.items():
        files = [file for file in (DEFAULT_CHECKPOINT / name).rglob("*") if file.is_file()]
        assert sum(file.stat().st_size for file in files) <= limit, name
    for name in WEIGHED:
        with safe_open(DEFAULT_CHECKPOINT / name / FILE, "pt") as weights:
            assert {weights.get_slice(key).get_dtype() for key in weights.keys()} <= {"F16", "I64"}  # noqa: SIM118


@pytest.mark.parametrize(("asked", "dtype"), [({}, torch.float32), ({"dtype": torch.float16}, torch.float16)])
def test_bundled_checkpoint_loads_without_a_network(asked, dtype, monkeypatch):
    called, connect, here = [], socket.socket.connect, threading.get_ident()

    def watch(one, address):
        if threading.get_ident() != here:  # a demo's client of another test, still hanging up
            return connect(one, address)
        return called.append(address)

    monkeypatch.setattr(socket.socket, "connect", watch)
    pipeline = FaceAnonPipeline.from_pretrained(**asked)
    assert not called
    for name in WEIGHED:
        if name == "sampler":
            continue
        part = pipeline.components[name]
        assert {weight.dtype for weight in part.state_dict().values() if weight.is_floating_point()} == {dtype}
        assert not part.training
    # Its numbers bear no rounding.
    assert {weight.dtype for weight in pipeline.sampler.state_dict().values()} == {torch.float32}


# The command


@pytest.fixture
def saved(tmp_path):
    """A pipeline's folder, in half precision."""
    pipe = tiny()
    pipe.generator.half()
    pipe.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def push(*arguments):
    return run("push", *arguments)


def test_a_folder_is_pushed_with_a_card(hub, saved, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", OWNER)
    result = push(saved, ID, "--licence", "other:research-only")
    assert result.exit_code == 0 and result.stdout.strip().startswith(hub.url)
    repo = hub.repos[ID]
    assert repo.private
    card = ModelCard(repo.files["README.md"].decode())
    assert (card.data.license, card.data.license_name) == ("other", "research-only")
    assert "research-only, as stated by those" in card.text and "(samples.png)" in card.text
    assert not re.search(r"{\w*}", card.content)
    with Image.open(io.BytesIO(repo.files["samples.png"])) as sheet:
        assert sheet.size == (8 * 160, 2 * 160)
    loaded = FaceAnonPipeline.from_pretrained(ID, dtype=torch.float16)
    assert fingerprint(loaded.generator) == fingerprint(tiny().generator.half())


def test_a_push_can_be_public_without_a_sheet_and_asks_for_a_licence(hub, saved, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", OWNER)
    assert push(saved, ID).exit_code == 2 and not hub.repos
    assert push(saved, ID, "--licence", "mit", "--public", "--no-sheet").exit_code == 0
    repo = hub.repos[ID]
    assert not repo.private and "samples.png" not in repo.files
    assert ModelCard(repo.files["README.md"].decode()).data.license == "mit"


NEAREST = {
    "asked": 1000, "draws": 990, "photos": 5000, "median": 0.31, "p99": 0.52, "most": 0.61, "strangers": 200,
    "strangers_median": 0.33, "strangers_p99": 0.55, "strangers_most": 0.7, "nearer": 0.004,
}  # fmt: skip
RECORD = {
    "steps": 5000, "images": 80000, "started_from": "bundled", "nearest": NEAREST, "validation": {"frechet": 0.0123},
    "sources": {"ward": {"licence": "consent of the patients", "samples": 5000}},
}  # fmt: skip


def trained(**changes) -> FaceAnonPipeline:
    pipeline = tiny()
    pipeline.generator.register_to_config(record={**RECORD, **changes})
    return pipeline


@pytest.mark.parametrize(
    ("nearest", "told"),
    [
        (None, "lacks the nearest training photos: asked"),
        ({**NEAREST, "median": "low"}, "median"),
        ({**NEAREST, "most": float("nan")}, "most"),
        ({**NEAREST, "asked": 999}, "of 999 drawn people is known, 1000"),
    ],
)
def test_a_trained_pipeline_is_not_pushed_before_its_nearest_photos_are_known(hub, nearest, told, tmp_path):
    with pytest.raises(UnmeasuredError, match=told):
        trained(nearest=nearest).push_to_hub(ID, token=OWNER)
    assert not hub.repos
    trained(nearest=nearest).save_pretrained(tmp_path)
    result = push(tmp_path, ID, "--licence", "mit")
    assert result.exit_code == 1 and told in " ".join(result.stderr.split()) and not hub.repos


def test_card_and_info_tell_what_a_trained_pipeline_is(hub):
    trained().push_to_hub(ID, token=OWNER, licence="other:ward-only")
    card = ModelCard.load(ID)
    facts = json.loads(run("info", ID, "--json").stdout)
    for fact in (
        "FaceAnonGenerator, up to 512 px",
        "ward: 5,000 faces, consent of the patients",
        "5,000 steps, 80,000 photos shown",
        "Fréchet distance 0.0123",
        "truncation 0.5",
        "of 990 drawn people, the cosine of embeddings to the nearest of 5000 training photos has the median 0.31",
        "0.4% of the drawn are nearer",
    ):
        assert fact in card.text and any(fact in str(value) for value in facts.values()), fact
    assert facts["licence"] == "ward-only"
    # What is not trained says nothing of it.
    tiny().push_to_hub(f"{ID}-2", token=OWNER)
    assert "nearest" not in ModelCard.load(f"{ID}-2").text


def test_records_of_strangers_are_shown_as_plain_text():
    hostile = trained(
        started_from="\x1b[2J[link=x]<script>" + "a" * 10_000,
        sources={"a|b\n# c": {"licence": ["x"], "samples": "1e9"}},
        steps=float("inf"), nearest={"asked": "{0.__class__}"},
    )  # fmt: skip
    told = describe(hostile)
    assert told["nearest training photo"] == "not measured"
    assert told["training"].startswith("unknown steps") and "unknown faces" in told["data"]
    assert not re.search(r"[\x1b\n|<>\[\]#]", "".join(told.values())) and len(told["started from"]) <= 200
    for record in (["a"], {"sources": "a", "nearest": [1], "validation": 3}):
        hostile.generator.register_to_config(record=record)
        assert describe(hostile)["draws"]


def test_a_strangers_checkpoint_runs_no_code_and_reads_nothing_outside(tmp_path):
    folder, ran = tmp_path / "p", tmp_path / "ran"

    def library(name):
        def change():
            index = json.loads((folder / "model_index.json").read_text())
            (folder / "model_index.json").write_text(json.dumps({**index, "generator": [name, "Thing"]}))
            (folder / "generator" / f"{name}.py").write_text(f"import os\nos.mkdir({str(ran)!r})\nclass Thing: ...")

        return change

    def pickled():
        (folder / WEIGHTS).unlink()
        torch.save({"constant": Code(ran)}, folder / WEIGHTS.replace(".safetensors", ".bin"))

    def outside():
        names = list(load_file(folder / WEIGHTS))
        (folder / WEIGHTS).rename(tmp_path / "outside.safetensors")
        index = {"metadata": {}, "weight_map": dict.fromkeys(names, "../../outside.safetensors")}
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))

    for change in (library("stranger"), library("subprocess"), pickled, outside):
        shutil.rmtree(folder, ignore_errors=True)
        tiny().save_pretrained(folder)
        change()
        with pytest.raises(CheckpointError, match=str(folder)):
            FaceAnonPipeline.from_pretrained(folder)
        assert not ran.exists()


def test_a_push_that_cannot_be_is_a_clear_error(hub, saved, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "a_stranger")
    result = push(saved, ID, "--licence", "mit", "--no-sheet")
    assert result.exit_code == 1 and ID in result.stderr and not hub.repos
    assert push(tmp_path / "nowhere", ID, "--licence", "mit").exit_code == 4
    assert push(saved, ID, "--licence", "mit", "--evaluation", tmp_path / "none.json").exit_code == 4


# Folders


def test_saved_and_loaded_twice_gives_the_same_picture(sketcher, head, tmp_path):
    sketcher.save_pretrained(tmp_path / "once")
    once = FaceAnonPipeline.from_pretrained(tmp_path / "once")
    once.save_pretrained(tmp_path / "twice")
    twice = FaceAnonPipeline.from_pretrained(str(tmp_path / "twice"))
    expected = picture(sketcher, head)
    assert (expected != head).any()
    assert np.array_equal(picture(twice, head), expected)
    assert settings(twice) == settings(once) == settings(sketcher)
    texts = jsons(tmp_path / "twice")
    assert texts == jsons(tmp_path / "once") and len(texts) == 1 + len(COMPONENTS)
    assert not [name for name, text in texts.items() if "_name_or_path" in text or str(tmp_path) in text]


@pytest.mark.parametrize("lacking", [(), ("lighting_transfer", "skin_color_transfer", "recognizer")])
def test_configurations_survive_and_so_do_missing_components(lacking, tmp_path):
    saved = tiny(**dict.fromkeys(lacking))
    saved.save_pretrained(tmp_path)
    loaded = FaceAnonPipeline.from_pretrained(tmp_path)
    assert not any((tmp_path / name).exists() or loaded.components[name] for name in lacking)
    assert settings(loaded) == settings(saved)
    assert list(loaded.generator.config.channels) == [8, 8, 8, 8, 8, 8, 12]
    assert list(loaded.generator.config.sizes) == [128, 512] and loaded.sampler.config.truncation == 0.5
    assert loaded.detector.config.threshold == 0.4
    assert (loaded.config.fallback, loaded.config.mask_margin, loaded.config.batch_size) == ("solid", 0.12, 2)
    assert (loaded.config.privacy, loaded.config.attributes) == (0.25, "none")
    assert fingerprint(loaded.generator) == fingerprint(saved.generator)


def test_components_and_options_can_be_replaced_while_loading(tmp_path):
    tiny().save_pretrained(tmp_path)
    detector = FaceDetector(threshold=0.5)
    loaded = FaceAnonPipeline.from_pretrained(tmp_path, detector=detector, lighting_transfer=None, fallback="mosaic")
    assert loaded.detector is detector
    assert loaded.lighting_transfer is None
    assert loaded.config.fallback == "mosaic"
    assert loaded.skin_color_transfer.config.strength == 0.9


def test_wrong_components_are_complained_about(tmp_path, diffusers_log):
    tiny().save_pretrained(tmp_path)
    with pytest.raises((ValueError, CheckpointError), match="FaceDetector'>, but should be .*ModelMixin"):
        FaceAnonPipeline.from_pretrained(tmp_path, generator=FaceDetector())
    FaceAnonPipeline.from_pretrained(tmp_path, lighting_transfer=SkinColorTransfer())
    assert "Expected types for lighting_transfer" in diffusers_log.text


def test_variants(tmp_path):
    full, half = tiny(), tiny()
    for part in (half.generator, half.parser, half.recognizer, half.attribute_estimator, half.surroundings_encoder):
        part.to(torch.float16)
    full.save_pretrained(tmp_path)
    half.save_pretrained(tmp_path, variant="fp16")
    size = (tmp_path / WEIGHTS).stat().st_size
    assert (tmp_path / WEIGHTS.replace(".safe", ".fp16.safe")).stat().st_size < 0.7 * size

    loaded = FaceAnonPipeline.from_pretrained(tmp_path, variant="fp16", dtype=torch.float16)
    assert loaded.generator.dtype == torch.float16
    for name in WEIGHED:
        assert fingerprint(loaded.components[name]) == fingerprint(half.components[name])
    assert fingerprint(FaceAnonPipeline.from_pretrained(tmp_path).generator) == fingerprint(full.generator)


@pytest.mark.parametrize(("variant", "kind"), [("fp16", "F16"), ("bf16", "BF16")])
def test_a_variant_is_written_in_its_precision(variant, kind, tmp_path):
    full = tiny()
    before = [fingerprint(full.components[name]) for name in WEIGHED]
    full.save_pretrained(tmp_path, variant=variant)
    for name in WEIGHED:
        with safe_open(tmp_path / name / FILE.replace(".safe", f".{variant}.safe"), "pt") as weights:
            assert {weights.get_slice(key).get_dtype() for key in weights.keys()} <= {kind, "I64"}  # noqa: SIM118
    assert [fingerprint(full.components[name]) for name in WEIGHED] == before and full.generator.dtype == torch.float32


@pytest.mark.parametrize("imported", ["", "import faceanon_hub; "])
def test_the_base_class_loads_a_folder_as_any_community_pipeline(imported, tmp_path):
    tiny().save_pretrained(tmp_path / "saved")
    code = f"{imported}from diffusers import DiffusionPipeline as D; import sys; "
    code += "print(*[type(D.from_pretrained(folder, trust_remote_code=True)).__name__ for folder in sys.argv[1:]])"
    folders = [str(tmp_path / "saved"), str(DEFAULT_CHECKPOINT)]
    done = subprocess.run([sys.executable, "-c", code, *folders], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["FaceAnonPipeline"] * 2, done.stderr


def test_our_class_runs_no_code_of_a_folder(tmp_path):
    tiny().save_pretrained(tmp_path)
    (tmp_path / "pipeline.py").write_text("raise SystemExit('code of a stranger')")
    assert type(FaceAnonPipeline.from_pretrained(tmp_path)) is FaceAnonPipeline
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        DiffusionPipeline.from_pretrained(tmp_path)


# The Hub


def test_pushed_pipeline_gives_the_same_picture(hub, sketcher, head):
    address = sketcher.push_to_hub(ID, token=OWNER)
    files = hub.repos[ID].files
    assert address.startswith(f"{hub.url}/{ID}/commit/")
    assert set(files) == {
        *("README.md", "model_index.json", "pipeline.py", "landmark_extractor/face_landmarker.task"),
        *(f"{name}/{FILE}" for name in WEIGHED),
        *(f"{name}/config.json" for name in COMPONENTS),
    }
    assert not [name for name, content in files.items() if name.endswith("json") and b"_name_or_path" in content]

    loaded = FaceAnonPipeline.from_pretrained(ID)
    assert settings(loaded) == settings(sketcher)
    expected = picture(sketcher, head)
    assert np.array_equal(picture(loaded, head), expected)
    # The weights do show.
    with torch.no_grad():
        for part in loaded.generator.heads.values():
            part.mix.bias += 0.2
    loaded.generator._runtime = None
    assert (picture(loaded, head) != expected).any()


def test_card(pushed, portrait, tmp_path, monkeypatch):
    card = ModelCard.load(ID)
    card.validate()
    assert card.data.library_name == "diffusers"
    assert card.data.pipeline_tag == "image-to-image"
    assert (card.data.license, card.data.license_name) == ("other", "non-commercial-research")
    assert {"faceanon-hub", "face-anonymization"} <= set(card.data.tags)
    assert f"# {ID}\n" in card.text
    assert not re.search(r"{\w*}", card.content)  # nothing left to be filled in

    (example,) = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(portrait).save("photo.jpg")
    exec(example, {})
    assert Image.open("anonymized.jpg").size == (512, 512)


def test_second_push_keeps_an_edited_card(hub):
    for options in ({}, {"private": True}):
        name = f"{ID}-{len(options)}"
        tiny().push_to_hub(name, token=OWNER, **options)
        hub.repos[name].commit({"README.md": b"---\nlicense: mit\n---\n# Edited\n"}, "main")
        tiny(batch_size=5).push_to_hub(name, token=OWNER, commit_message="Again")
        assert hub.repos[name].files["README.md"] == b"---\nlicense: mit\n---\n# Edited\n"
        assert json.loads(hub.repos[name].files["model_index.json"])["batch_size"] == 5


def test_pushing_needs_the_token_and_so_does_a_private_repository(hub):
    with pytest.raises(OSError, match="401"):
        tiny().push_to_hub(ID)
    assert ID not in hub.repos
    tiny().push_to_hub(ID, private=True, token=OWNER)
    with pytest.raises(CheckpointError, match=ID):
        FaceAnonPipeline.from_pretrained(ID)
    with pytest.raises(CheckpointError, match=ID):
        FaceAnonPipeline.from_pretrained(ID, token="hf_somebody")
    assert settings(FaceAnonPipeline.from_pretrained(ID, token=OWNER)) == settings(tiny())


def test_pull_request_leaves_the_branch_alone(hub, pushed):
    before = hub.repos[ID].files
    answer = tiny(batch_size=5).push_to_hub(ID, token=OWNER, create_pr=True)
    assert hub.repos[ID].files is before
    number = answer.pr_url.rsplit("/", 1)[1]
    assert FaceAnonPipeline.from_pretrained(ID, revision=f"refs/pr/{number}").config.batch_size == 5
    assert FaceAnonPipeline.from_pretrained(ID).config.batch_size == 2


def test_loads_again_after_the_hub_is_gone(hub, pushed):
    FaceAnonPipeline.from_pretrained(ID)
    hub.stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(hub.url.rsplit(":", 1)[1])))
    for options in ({}, {"local_files_only": True}):
        loaded = FaceAnonPipeline.from_pretrained(ID, **options)
        assert settings(loaded) == settings(pushed)
        assert fingerprint(loaded.generator) == fingerprint(pushed.generator)
    with pytest.raises(CheckpointError, match="someone/never-loaded"):
        FaceAnonPipeline.from_pretrained("someone/never-loaded")


BASE_CLASS = """
import hashlib, sys
from diffusers import DiffusionPipeline
from huggingface_hub import snapshot_download
options = {"custom_pipeline": "pipeline", "trust_remote_code": True}
try:
    DiffusionPipeline.from_pretrained(sys.argv[1], **options)
except ValueError as error:
    print("/faceanon_hub.py" in str(error))
assert "faceanon_hub" not in sys.modules
pipe = DiffusionPipeline.from_pretrained(snapshot_download(sys.argv[1]), **options)
weights = pipe.generator.state_dict()
print(hashlib.sha256(b"".join(weights[name].numpy().tobytes() for name in sorted(weights))).hexdigest())
print(type(pipe).__module__, type(pipe).__name__)
"""


def test_the_base_class_alone_finds_the_pipeline_in_a_snapshot(hub, pushed, tmp_path):
    # By its id it does not: diffusers asks for the components' library before pipeline.py, which would import it.
    command, places = [sys.executable, "-c", BASE_CLASS, ID], {"HF_ENDPOINT": hub.url, "HF_HOME": f"{tmp_path}/home"}
    environment = {**os.environ, **places}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", fingerprint(pushed.generator), "faceanon_hub.pipeline", "FaceAnonPipeline"]


def test_the_base_class_finds_the_pipeline_by_id_once_we_are_imported(pushed):
    loaded = DiffusionPipeline.from_pretrained(ID, custom_pipeline="pipeline", trust_remote_code=True)
    assert type(loaded) is FaceAnonPipeline
    assert settings(loaded) == settings(pushed)
    assert fingerprint(loaded.generator) == fingerprint(pushed.generator)


def test_components_load_from_the_pipelines_repository(pushed):
    for name, part in pushed.components.items():
        loaded = type(part).from_pretrained(ID, subfolder=name)
        assert public(loaded.config) == public(part.config)
        assert name not in WEIGHED or fingerprint(loaded) == fingerprint(part)
    assert FaceDetector.from_pretrained(ID, subfolder="detector", threshold=0.6).config.threshold == 0.6


@pytest.mark.parametrize(
    ("name", "push"), [("generator", "push_to_hub"), ("detector", "push_to_hub"), ("detector", "save_pretrained")]
)
def test_a_component_has_a_repository_of_its_own(name, push, hub, tmp_path):
    part = tiny().components[name]
    if push == "push_to_hub":
        part.push_to_hub("someone/some-part", token=OWNER)
    else:
        part.save_pretrained(tmp_path / "d", push_to_hub=True, repo_id="someone/some-part", token=OWNER)
    loaded = type(part).from_pretrained("someone/some-part")
    assert public(loaded.config) == public(part.config)
    assert name == "detector" or fingerprint(loaded) == fingerprint(part)


@pytest.mark.parametrize("kind", [str, Path])
def test_saving_can_push(kind, hub, tmp_path):
    tiny().save_pretrained(kind(tmp_path / "p"), push_to_hub=True, repo_id=ID, token=OWNER)
    assert "pipeline.py" in hub.repos[ID].files
    assert "non-commercial" in hub.repos[ID].files["README.md"].decode()


# What is broken


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def make_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


BROKEN = {
    "no folder": shutil.rmtree,
    "empty folder": empty,
    "a file": make_a_file,
    "no index": lambda folder: (folder / "model_index.json").unlink(),
    "index cut short": lambda folder: (folder / "model_index.json").write_text("{"),
    "no such component": lambda folder: edit(folder / "model_index.json", '"detector"', '"other"'),
    "no such class": lambda folder: edit(folder / "model_index.json", "FaceDetector", "NoDetector"),
    "no configuration": lambda folder: shutil.rmtree(folder / "detector"),
    "not utf-8": lambda folder: (folder / "detector/config.json").write_bytes(b"\xff\xfe"),
    "impossible size": lambda folder: edit(folder / "generator/config.json", " 512\n  ]", " 64\n  ]"),
    "weights of another shape": lambda folder: edit(folder / "generator/config.json", " 12\n", " 8\n"),
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "empty weights": lambda folder: (folder / WEIGHTS).write_bytes(b""),
    "weights cut short": lambda folder: os.truncate(folder / WEIGHTS, 5000),
    "git-lfs pointer": lambda folder: (folder / WEIGHTS).write_text("version https://git-lfs.github.com\n"),
    "no sampler": lambda folder: shutil.rmtree(folder / "sampler"),
    "no weights of the sampler": lambda folder: (folder / "sampler" / FILE).unlink(),
    "recognizer cut short": lambda folder: os.truncate(folder / "recognizer" / FILE, 5000),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_folders_are_named(name, tmp_path):
    folder = tmp_path / "checkpoint"
    tiny().save_pretrained(folder)
    FaceAnonPipeline.from_pretrained(folder)
    BROKEN[name](folder)
    with pytest.raises(CheckpointError) as caught:
        FaceAnonPipeline.from_pretrained(folder)
    assert caught.value.checkpoint == str(folder)
    assert str(caught.value).startswith(f"{folder}: ")
    assert isinstance(caught.value, OSError)
    assert name != "no weights" or "diffusion_pytorch_model" in str(caught.value)


def old_kind(folder: Path) -> Path:
    """A checkpoint of the versions whose generator was a U-Net."""
    tiny().save_pretrained(folder)
    index = json.loads((folder / "model_index.json").read_text())
    for name in ("sampler", "parser", "recognizer", "attribute_estimator", "surroundings_encoder"):
        del index[name]
        shutil.rmtree(folder / name, ignore_errors=True)
    index |= {"retargeter": ["faceanon_hub", "FaceRetargeter"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "generator/config.json").write_text('{"_class_name": "FaceAnonGenerator", "sample_size": 128}')
    save_file({"stem.weight": torch.zeros(8, 4, 3, 3)}, folder / WEIGHTS)
    return folder


@pytest.mark.parametrize("retargeter", [True, False])
def test_a_checkpoint_of_the_old_kind_is_told(retargeter, tmp_path):
    folder = old_kind(tmp_path / "old")
    if not retargeter:
        edit(folder / "model_index.json", '["faceanon_hub", "FaceRetargeter"]', "[null, null]")
    with pytest.raises(CheckpointError, match="of an earlier kind, whose generator is a U-Net") as caught:
        FaceAnonPipeline.from_pretrained(folder)
    assert caught.value.checkpoint == str(folder)


def test_a_checkpoint_of_the_old_kind_on_the_hub_is_told(hub, pushed, tmp_path):
    folder = old_kind(tmp_path / "old")
    hub.repos[ID].files.clear()
    files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    hub.repos[ID].commit(files, "main")
    with pytest.raises(CheckpointError, match="of an earlier kind, whose generator is a U-Net"):
        FaceAnonPipeline.from_pretrained(ID)


@pytest.mark.parametrize("name", ["someone/nothing", "nothing", "not an id", "a/b/c", ""])
def test_unknown_ids_are_named(name, hub):
    with pytest.raises(CheckpointError) as caught:
        FaceAnonPipeline.from_pretrained(name)
    assert caught.value.checkpoint == name
    assert str(caught.value).startswith(f"{name}: ")
    assert isinstance(caught.value, OSError)
    assert name != "someone/nothing" or "not found" in str(caught.value).lower()


@pytest.mark.parametrize("part", [FaceAnonPipeline, FaceDetector, FaceAnonGenerator])
def test_a_hub_that_cannot_be_reached_is_told_in_a_line(part, hub, monkeypatch):
    hub.stop()
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between its six tries
    options = {} if part is FaceAnonPipeline else {"subfolder": part.__name__}
    with pytest.raises(CheckpointError, match="not in the cache, and the Hub cannot be reached") as caught:
        part.from_pretrained(ID, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("/nowhere/at/all", "no such folder"),
        ("./nowhere", "no such folder"),
        (f"/tmp/{'a' * 256}", "a name in it is longer than 255 bytes"),
        ("https://huggingface.co/someone/some-anonymizer", "an address: give the name of a repository"),
    ],
)
def test_names_that_are_no_ids_are_told_in_a_line(name, cause):
    with pytest.raises(CheckpointError, match=f"^{name}: {cause}") as caught:
        FaceAnonPipeline.from_pretrained(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"revision": "no-such-branch"}, {"variant": "fp16"}, {}])
def test_what_a_repository_lacks_is_an_error(options, hub, pushed):
    if not options:
        del hub.repos[ID].files[WEIGHTS]
    with pytest.raises(CheckpointError, match=ID):
        FaceAnonPipeline.from_pretrained(ID, **options)


def test_hub_that_hangs_up_is_an_error(hub, monkeypatch):
    def hang_up() -> None:
        with contextlib.suppress(OSError):  # the test's end closes the server
            while True:
                connection, _ = server.accept()
                connection.recv(65536)  # closing before this would be a reset, which diffusers knows how to handle
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=hang_up, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(hf_api.api, "endpoint", url)
        with pytest.raises(CheckpointError, match=ID):
            FaceAnonPipeline.from_pretrained(ID)
