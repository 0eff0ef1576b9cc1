"""Photos, crops and a small pipeline for training: the portrait, moved, mirrored and relit."""

from contextlib import contextmanager

import PIL.Image
import pytest
import torch
from helpers.small_runs import SIZE, little_prior, variant

from faceanon_hub import FaceAnonPipeline, StyleSampler
from faceanon_hub.training import TrainingConfig, bank, fits, prepare_faces


@contextmanager
def one_thread():
    """The order of sums is part of a result, bit for bit, and two threads choose it anew each time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="session")
def photos(portrait, tmp_path_factory):
    """A folder of twelve photos, three each of four folders, one photo that shows nobody, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos") / "heads"
    for number in range(12):
        place = folder / f"person {number % 4}"
        place.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(variant(portrait, number)).save(place / f"{number}.png")
    PIL.Image.new("RGB", (90, 90), "grey").save(folder / "flat.png")
    (folder / "broken.jpg").write_text("no photo")
    return folder


@pytest.fixture(scope="session")
def prepared(photos, tmp_path_factory):
    """Crops of these photos for 64 px, a third of the photos held out."""
    folder = tmp_path_factory.mktemp("prepared") / "crops"
    with one_thread():  # made before what holds for a module
        prepare_faces([photos], folder, ["CC0-1.0"], size=SIZE, validation=0.34)
    return folder


@pytest.fixture(scope="session")
def start(portrait, tmp_path_factory):
    """The folder of a pipeline whose generator is small, and whose sampler is not fitted to it."""
    folder = tmp_path_factory.mktemp("start") / "little"
    pipe = FaceAnonPipeline.from_pretrained(
        generator=little_prior(portrait), sampler=StyleSampler(style_size=16, truncation=0.5)
    )
    pipe.save_pretrained(folder)
    return folder


@pytest.fixture
def few_styles(monkeypatch):
    """A fourth of the styles that stand for all."""
    monkeypatch.setattr(bank, "POPULATION", bank.POPULATION // 4)


@pytest.fixture
def few_faces(few_styles, monkeypatch):
    """A fit of few faces and short, which tells little."""
    monkeypatch.setattr(fits, "FEWEST", 30)
    monkeypatch.setattr(fits, "EPOCHS", 2)


@pytest.fixture
def config(prepared, start):
    """A run that takes seconds."""

    def make(**changes) -> TrainingConfig:
        settings = {
            "data": (str(prepared),), "start": str(start), "size": SIZE, "steps": 2, "batch_size": 2, "head_start": 0,
            "mixed_precision": "no", "workers": 0, "bank": 30, "draws": 6, "log_every": 1, "sample_every": 100,
            "save_every": 100, **changes,
        }  # fmt: skip
        return TrainingConfig(**settings)

    return make
