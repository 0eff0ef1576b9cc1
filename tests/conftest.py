import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from pathlib import Path

# Before huggingface_hub is imported: it reads these once. No test reaches a network or the user's cache.
_HOME = tempfile.TemporaryDirectory(prefix="faceanon-tests-")
os.environ["HF_HOME"] = _HOME.name
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_ENDPOINT"] = os.environ.get("FACEANON_TEST_ENDPOINT", "http://127.0.0.1:9")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import skimage.data  # noqa: E402


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """The public-domain portrait in scikit-image: (512, 512, 3) uint8, one face of about 90 by 120 pixels."""
    return skimage.data.astronaut()


@pytest.fixture(scope="session")
def head(portrait) -> np.ndarray:
    """The head of it: (220, 170, 3) uint8."""
    return np.ascontiguousarray(portrait[20:240, 130:300])


@pytest.fixture(scope="session")
def detector():
    from faceanon_hub import FaceDetector

    return FaceDetector()


@pytest.fixture(scope="session")
def pipe():
    """The bundled pipeline; it keeps no state between calls."""
    from faceanon_hub import FaceAnonPipeline

    pipeline = FaceAnonPipeline.from_pretrained()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def sketcher():
    """The bundled pipeline drawing each face once, for tests of what is round it: a third of the time or less."""
    from faceanon_hub import DEFAULT_CHECKPOINT, FaceAnonPipeline, StyleSampler

    sampler = StyleSampler.from_pretrained(DEFAULT_CHECKPOINT, subfolder="sampler", rounds=0)
    pipeline = FaceAnonPipeline.from_pretrained(sampler=sampler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@contextmanager
def _uncritical():
    from faceanon_hub import pipeline

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "ATTEMPTS", 1)
        patch.setattr(pipeline, "MOST_ATTEMPTS", 1)
        for limit in ("MAX_ERROR", "MAX_DISTORTION", "MAX_COVERED", "MAX_TORN", "MAX_BENT", "BROKEN"):
            patch.setattr(pipeline, limit, np.inf)
        yield


@pytest.fixture
def uncritical():
    """The first face that is drawn fits."""
    with _uncritical():
        yield


@pytest.fixture(scope="module")
def lenient(sketcher):
    """The bundled pipeline drawing each face once: as long as the module runs, the first one fits."""
    with _uncritical():
        yield sketcher


@pytest.fixture(scope="session")
def sketches(sketcher, tmp_path_factory) -> Path:
    """The folder of that pipeline, for commands and other processes."""
    folder = tmp_path_factory.mktemp("checkpoint") / "sketches"
    sketcher.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def stand_in(sketcher):
    """That pipeline with one face for everybody, drawn once a size, under waves that differ by style."""
    from faceanon_hub import FaceAnonPipeline

    generator, faces = copy(sketcher.generator), {}

    def render(style, size=None):
        if size not in faces:
            faces[size] = sketcher.generator.render(generator.mean_style[None], size)[0].astype(np.float32)
        phases = style[:, :8].sum(1).double().cpu().numpy()
        waves = 6 * np.sin(np.linspace(0, 20, len(faces[size]))[:, None, None] + 7 * phases[:, None, None, None])
        return (faces[size] + waves).clip(0, 255).astype(np.uint8)

    generator.render = render
    pipeline = FaceAnonPipeline(**{**sketcher.components, "generator": generator})
    pipeline.register_to_config(_name_or_path=sketcher.config["_name_or_path"])
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def quick(stand_in, uncritical):
    """The bundled pipeline where any face will do: all get the same one but for a pattern, in a fourth of the time."""
    return stand_in


@pytest.fixture
def blind(monkeypatch):
    """No landmarks are found."""
    from faceanon_hub import LandmarkExtractor

    def see_nothing(self, image, faces):
        for face in faces:
            face.landmarks, face.presence = None, 0.0
        return faces

    monkeypatch.setattr(LandmarkExtractor, "__call__", see_nothing)


@pytest.fixture
def at_hand(quick, monkeypatch):
    """That pipeline for commands, in this process: in place of the bundled one and of process pools."""
    from faceanon_hub import DEFAULT_CHECKPOINT, loading, processes

    load = loading.load_quietly

    def loaded(checkpoint, device="cpu", dtype="float32"):
        loading.check_device(device)
        bundled = (checkpoint, dtype) == (str(DEFAULT_CHECKPOINT), "float32")
        return quick if bundled else load(checkpoint, device, dtype)

    def in_thread(count, context, initializer, arguments):
        return ThreadPoolExecutor(1, initializer=initializer, initargs=arguments)

    monkeypatch.setattr(loading, "load_quietly", loaded)
    monkeypatch.setattr(processes, "ProcessPoolExecutor", in_thread)
    monkeypatch.setattr(processes, "end_with_parent", lambda: None)
    monkeypatch.setattr(processes, "_function", None, raising=False)


@pytest.fixture(scope="session")
def face(pipe, portrait):
    """The portrait's face with its landmarks; copy it before changing it."""
    (found,) = pipe.find_faces(portrait)
    return found


@pytest.fixture
def one_thread():
    """One thread, as workers have: the order of sums is part of a result, byte for byte."""
    import cv2
    import torch

    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    yield
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])


@pytest.fixture(scope="session")
def shared() -> Path:
    """Material that is never committed; tests that need it are skipped where it is absent."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("no shared material beside the checkout")
    return folder
