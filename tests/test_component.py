"""Names and registration: what diffusers and users look up by name."""

import json
import logging
import math
import subprocess
import sys

import diffusers
import pytest
from diffusers.pipelines import pipeline_loading_utils, pipeline_utils

import faceanon_hub
from faceanon_hub import (
    DEFAULT_CHECKPOINT,
    AttributeEstimator,
    CheckpointError,
    Component,
    FaceAnonGenerator,
    FaceAnonPipeline,
    FaceDetector,
    FaceParser,
    FaceRecognizer,
    LandmarkExtractor,
    LightingTransfer,
    ModelMixin,
    SkinColorTransfer,
    StyleSampler,
    SurroundingsEncoder,
)

# Each with a value for every argument, none of them the default.
CONFIGS = [
    (FaceDetector, {"threshold": 0.4, "min_face_size": 20.0, "overview_size": 320, "tile_size": 512}),
    (LandmarkExtractor, {"min_presence": 0.3, "max_deviation": 0.2, "task_path": "my_own.task"}),
    (LightingTransfer, {"strength": 0.5, "limit": 1.4}),
    (SkinColorTransfer, {"strength": 0.5, "limit": 1.2}),
]
FOLDERS = {
    FaceDetector: "detector",
    LandmarkExtractor: "landmark_extractor",
    LightingTransfer: "lighting_transfer",
    SkinColorTransfer: "skin_color_transfer",
    FaceAnonGenerator: "generator",
    StyleSampler: "sampler",
    FaceParser: "parser",
    FaceRecognizer: "recognizer",
    AttributeEstimator: "attribute_estimator",
    SurroundingsEncoder: "surroundings_encoder",
}
configs = pytest.mark.parametrize(("part", "config"), CONFIGS, ids=[part.__name__ for part, _ in CONFIGS])


# What diffusers looks up


def test_diffusers_table_holds_our_entry():
    entry = {"ModelMixin": ["save_pretrained", "from_pretrained"], "Component": ["save_pretrained", "from_pretrained"]}
    assert pipeline_loading_utils.LOADABLE_CLASSES["faceanon_hub"] == entry
    assert entry.items() <= pipeline_loading_utils.ALL_IMPORTABLE_CLASSES.items()
    # Loading and saving read the same tables, no copies made before ours was entered.
    assert pipeline_utils.LOADABLE_CLASSES is pipeline_loading_utils.LOADABLE_CLASSES
    assert pipeline_utils.ALL_IMPORTABLE_CLASSES is pipeline_loading_utils.ALL_IMPORTABLE_CLASSES


def test_diffusers_finds_our_load_methods():
    index = json.loads((DEFAULT_CHECKPOINT / "model_index.json").read_text())
    index.pop("_class_name")
    parts = [value for value in index.values() if isinstance(value, list)]
    for library, name in (part for part in parts if part != [None, None]):  # optional ones may be absent
        kind, candidates = pipeline_loading_utils.get_class_obj_and_candidates(
            library, name, pipeline_loading_utils.ALL_IMPORTABLE_CLASSES, diffusers.pipelines, is_pipeline_module=False
        )
        assert kind is getattr(faceanon_hub, name)
        (base,) = {base for base in candidates.values() if base is not None and issubclass(kind, base)}
        assert base is (ModelMixin if issubclass(kind, ModelMixin) else Component)


def test_our_names_are_no_names_of_diffusers():
    # A component of the same name would be looked for there.
    classes = [name for name in faceanon_hub.__all__ if name not in ("ModelMixin", "__version__")]
    assert not [name for name in classes if hasattr(diffusers, name)]
    assert not hasattr(diffusers.pipelines, "faceanon_hub")


# What users look up


def test_every_public_name_resolves():
    names = faceanon_hub.__all__
    assert len(names) == len(set(names))
    assert {"FaceAnonPipeline", "FaceDetector", "FaceAnonGenerator", "CheckpointError", "__version__"} <= set(names)
    for name in names:
        found = getattr(faceanon_hub, name)
        assert getattr(found, "__name__", name) == name
        if isinstance(found, type) and name != "ModelMixin":
            assert found.__module__.startswith("faceanon_hub.")
            assert found.__doc__
    assert set(names) <= set(dir(faceanon_hub))


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="module 'faceanon_hub' has no attribute 'FaceSwapper'"):
        faceanon_hub.FaceSwapper  # noqa: B018
    with pytest.raises(ImportError, match="FaceSwapper"):
        from faceanon_hub import FaceSwapper  # noqa: F401
    assert not hasattr(faceanon_hub, "_no_such_name")


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        (
            "import faceanon_hub as hub; hub.__version__, dir(hub), hub.CheckpointError",
            "torch diffusers huggingface_hub ai_edge_litert onnxruntime cv2 onnx numpy PIL",
        ),
        ("import faceanon_hub.io.photos", "torch pillow_heif"),
        ("import faceanon_hub.cli", "torch diffusers onnxruntime cv2"),  # the command's help must not wait for them
    ],
)
def test_import_is_light(code, heavy):
    program = f"{code}; import sys; print([name for name in '{heavy}'.split() if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# The base of components without weights


@configs
def test_components_survive_a_folder(part, config, tmp_path):
    saved = part(**config)
    folder = tmp_path / "not" / "there yet"
    saved.save_pretrained(folder)
    files = {"config.json", *([config["task_path"]] if "task_path" in config else [])}
    assert {path.name for path in folder.iterdir()} == files
    written = json.loads((folder / "config.json").read_text())
    assert written == {**config, "_class_name": part.__name__, "_diffusers_version": diffusers.__version__}

    for loaded in (part.from_pretrained(folder), part.from_pretrained(str(folder.parent), subfolder="there yet")):
        assert type(loaded) is part
        assert {name: loaded.config[name] for name in config} == config
        loaded.save_pretrained(tmp_path / "again")
        assert (tmp_path / "again" / "config.json").read_text() == (folder / "config.json").read_text()


@configs
def test_given_values_replace_those_of_the_folder(part, config, tmp_path):
    part(**config).save_pretrained(tmp_path)
    (name, value), *others = config.items()
    loaded = part.from_pretrained(tmp_path, **{name: value / 2})
    assert {name: loaded.config[name] for name in config} == {name: value / 2, **dict(others)}


def test_values_that_a_folder_lacks_are_the_defaults_and_unknown_ones_are_ignored_with_a_warning(tmp_path, caplog):
    (tmp_path / "config.json").write_text('{"strength": 0.5, "from_the_future": 1}')
    logger = logging.getLogger("diffusers")  # passes nothing on to the root logger
    logger.addHandler(caplog.handler)
    try:
        loaded = LightingTransfer.from_pretrained(tmp_path, also_unknown=1)
    finally:
        logger.removeHandler(caplog.handler)
    assert "{'from_the_future': 1} were passed to LightingTransfer, but are not expected" in caplog.text
    assert (loaded.config.strength, loaded.config.limit) == (0.5, LightingTransfer().config.limit)
    assert "also_unknown" not in loaded.config


# Of every number and name of every component, values that would stop it, or switch it off in silence.
BAD = [
    *((FaceDetector, "threshold", value) for value in (2, 1.0, 0, -1, math.nan, "0.2", None, True, [0.2])),
    *((FaceDetector, "min_face_size", value) for value in (0, 1e-4, math.nan, math.inf, 1e9, "12")),
    *((FaceDetector, "tile_size", value) for value in (0, -576, 1, 10**9, math.nan, 576.5, None)),
    *((FaceDetector, "overview_size", value) for value in (0, 577, 100_000, math.nan, 300.5)),
    *((LandmarkExtractor, "min_presence", value) for value in (0, 2, math.nan, "0.5")),
    *((LandmarkExtractor, "max_deviation", value) for value in (0, 5, math.inf, math.nan, None)),
    *((LightingTransfer, "strength", value) for value in (-1, 2, math.nan, "1", None)),
    *((LightingTransfer, "limit", value) for value in (0, 0.5, 1e6, math.nan)),
    *((SkinColorTransfer, "strength", value) for value in (-1, 2, math.nan)),
    *((SkinColorTransfer, "limit", value) for value in (0, 0.5, math.inf, math.nan)),
    *((FaceAnonGenerator, name, value) for name in ("latent_size", "style_size") for value in (0, -1, 10**9, 6.5)),
    *((FaceAnonGenerator, "channels", value) for value in ([], 8, [8] * 40, [8, 0, 8], [8, 10**9, 8], ["8"] * 6)),
    *((FaceAnonGenerator, "sizes", value) for value in ([], 8, [96], [2048], [1024, 128], ["128"])),
    *((FaceAnonGenerator, "resolutions", value) for value in ([], 8, [128], [10**9] * 4)),
    *((StyleSampler, "rows", value) for value in ([], "yaw", ["yaw", "yaw"], ["height"], None)),
    *((StyleSampler, "hidden_size", value) for value in (0, -1, 10**9, 6.5)),
    *((StyleSampler, "rounds", value) for value in (-1, 10**9, 1.5, math.nan)),
    *((StyleSampler, "truncation", value) for value in (-1, 2, math.nan, "0.6")),
    *((StyleSampler, "reach", value) for value in (0, 1e9, math.nan)),
    *((StyleSampler, "push", value) for value in (-1, 1e9, math.nan)),
    *((StyleSampler, "leave", value) for value in (-1, 2, math.nan)),
    *((FaceParser, "sample_size", value) for value in (0, 100, 10**9, 6.5, math.nan)),
    *((FaceParser, "channels", value) for value in ([], 8, [8] * 40, [0, 8], [10**9])),
    *((FaceRecognizer, "widths", value) for value in ([], 8, [8] * 40, [8, 0], [10**9], ["8"])),
    *((FaceRecognizer, "embedding_size", value) for value in (0, 10**9, 6.5)),
    *((AttributeEstimator, "sample_size", value) for value in (0, 10**9, 6.5, math.nan)),
    *((AttributeEstimator, "channels", value) for value in ([], 8, [8] * 40, [0, 8], [10**9])),
    *((AttributeEstimator, "glasses_channels", value) for value in ([], 8, [8] * 40, [0, 8], [10**9])),
    *((SurroundingsEncoder, "sample_size", value) for value in (0, 10**9, 6.5, math.nan)),
    *((SurroundingsEncoder, "channels", value) for value in ([], 8, [8] * 40, [0, 8], [10**9])),
    *((SurroundingsEncoder, "styles", value) for value in (-1, 10**9, 6.5)),
]


@pytest.mark.parametrize(("part", "name", "value"), BAD, ids=[f"{p.__name__}-{n}-{v}" for p, n, v in BAD])
def test_numbers_are_checked(part, name, value, tmp_path):
    with pytest.raises(ValueError, match=name):
        part(**{name: value})
    whole = DEFAULT_CHECKPOINT / FOLDERS[part]
    for path in whole.iterdir():
        (tmp_path / path.name).symlink_to(path)
    config = json.loads((whole / "config.json").read_text())
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps({**config, name: value}))
    with pytest.raises(CheckpointError, match=name) as caught:
        part.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("batch_size", value) for value in (0, 10**9, 2.5, math.nan)),
        *((name, value) for name in ("mask_margin", "context_blur") for value in (math.nan, 9, -1)),
        *(("fallback", "none"), ("privacy", 2), ("attributes", "hair")),
    ],
)
def test_numbers_of_the_pipeline_are_checked(name, value, tmp_path):
    for path in DEFAULT_CHECKPOINT.iterdir():
        (tmp_path / path.name).symlink_to(path)
    index = json.loads((DEFAULT_CHECKPOINT / "model_index.json").read_text())
    (tmp_path / "model_index.json").unlink()
    (tmp_path / "model_index.json").write_text(json.dumps({**index, name: value}))
    with pytest.raises(CheckpointError, match=name):
        FaceAnonPipeline.from_pretrained(tmp_path)


@pytest.mark.parametrize("text", ["[]", "3", "null", '{"threshold": NaN}', "[" * 5000, "\xff", ""])
def test_any_other_json_is_no_configuration(text, tmp_path):
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError):
        FaceDetector.from_pretrained(tmp_path)


def test_folder_without_configuration_is_an_error(tmp_path):
    for options in ({}, {"subfolder": "detector"}):
        with pytest.raises(OSError, match="no file named config.json"):
            FaceDetector.from_pretrained(tmp_path, **options)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(OSError, match="not a valid JSON file"):
        FaceDetector.from_pretrained(tmp_path)
