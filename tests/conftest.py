import os
import tempfile
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


@pytest.fixture
def uncritical(monkeypatch):
    """The first face that is drawn fits."""
    from faceanon_hub import pipeline

    monkeypatch.setattr(pipeline, "ATTEMPTS", 1)
    monkeypatch.setattr(pipeline, "MOST_ATTEMPTS", 1)
    for limit in ("MAX_ERROR", "MAX_DISTORTION", "MAX_COVERED", "MAX_TORN", "MAX_BENT", "BROKEN"):
        monkeypatch.setattr(pipeline, limit, np.inf)


@pytest.fixture
def quick(sketcher, uncritical):
    """The bundled pipeline where any face will do."""
    return sketcher


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
