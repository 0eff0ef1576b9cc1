"""Banks of drawn faces and fits of them, with a generator and eyes of this file's own making."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from faceanon_hub.errors import FaceAnonError, UnreadableImageError
from faceanon_hub.look import ROWS
from faceanon_hub.sampling import FOLLOWED
from faceanon_hub.training import bank, fits
from faceanon_hub.training.bank import DrawnFaces, bank_style, claim_bank, draw_bank, look_at_bank, picture_path
from faceanon_hub.training.fits import fit_sampler
from faceanon_hub.training.following import follow


class Drawing:
    """Draws its style's first number as a shade of grey."""

    mean_style = torch.full((512,), 0.25)
    config = SimpleNamespace(latent_size=512, sizes=[64, 512, 1024])

    def __init__(self) -> None:
        self.drawn = 0

    def style(self, latent: torch.Tensor) -> torch.Tensor:
        return latent + self.mean_style

    def render(self, style: torch.Tensor, size: int) -> np.ndarray:
        self.drawn += len(style)
        grey = (128 + 40 * style[:, 0]).clamp(0, 255).numpy().astype(np.uint8)
        return np.broadcast_to(grey[:, None, None, None], (len(style), 64, 64, 3))


@pytest.fixture
def eyes(monkeypatch):
    seen = SimpleNamespace(count=0)

    def look(picture, mesh, estimator):
        seen.count += 1
        return np.append(np.full(len(ROWS) - 2, picture.mean()), estimator(picture, mesh.points))

    monkeypatch.setattr(bank, "look", look)
    monkeypatch.setattr(bank, "SHARD", 4)
    seen.read = lambda picture: SimpleNamespace(points=np.zeros((478, 3), np.float32)) if picture.mean() > 90 else None
    seen.recognizer = SimpleNamespace(describe=lambda picture, points: np.full(256, picture.mean(), np.float32))
    seen.estimator = lambda picture, points: np.array([1.0, 30.0])
    return seen


def test_a_bank_that_was_cut_off_goes_on(tmp_path):
    first, second = Drawing(), Drawing()
    draw_bank(first, tmp_path, 3)
    told = []
    draw_bank(second, tmp_path, 5, lambda done, total: told.append((done, total)))
    assert (first.drawn, second.drawn) == (3, 2)
    assert told == [(k, 5) for k in range(1, 6)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{k:06d}.jpg" for k in range(5)]


def test_a_bank_is_of_one_generator(tmp_path):
    one, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    claim_bank(one, tmp_path / "bank")
    claim_bank(copy.deepcopy(one), tmp_path / "bank")
    with pytest.raises(FaceAnonError, match="another generator"):
        claim_bank(other, tmp_path / "bank")
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(FaceAnonError, match="not made here"):
        claim_bank(one, tmp_path)


def test_a_face_is_that_of_its_number():
    drawing = Drawing()
    latent = torch.randn(1, 512, generator=torch.Generator().manual_seed(9))[0]
    ratio = (bank_style(drawing, 9) - drawing.mean_style) / latent
    assert 0.6 <= ratio.mean() <= 1 and ratio.std() < 1e-4


def test_looks_are_kept_until_the_rows_change(tmp_path, eyes, monkeypatch):
    drawing = Drawing()
    draw_bank(drawing, tmp_path, 10)
    rest = tmp_path, 10, eyes.read, eyes.recognizer, eyes.estimator
    one = look_at_bank(drawing, *rest)
    count = eyes.count
    other = look_at_bank(drawing, *rest)
    assert eyes.count == count == len(one.looks) <= 10
    np.testing.assert_array_equal(one.styles, other.styles)
    # JPEG keeps a flat grey: each look goes with its own style.
    np.testing.assert_allclose(one.looks[:, 0], np.floor(128 + 40 * (one.styles[:, 0] + 0.25)), atol=1)
    monkeypatch.setattr(bank, "ROWS", (*ROWS[:-1], "years"))
    look_at_bank(drawing, *rest)
    assert eyes.count == 2 * count


def test_a_missing_picture_is_named(tmp_path, eyes):
    drawing = Drawing()
    draw_bank(drawing, tmp_path, 2)
    picture_path(tmp_path, 1).unlink()
    with pytest.raises(UnreadableImageError, match="000001.jpg"):
        look_at_bank(drawing, tmp_path, 2, eyes.read, eyes.recognizer, eyes.estimator)


def faces(count: int, seed: int = 0) -> DrawnFaces:
    """Looks that are ramps of eight directions, as an open mouth is, and one that no style tells."""
    random, directions = np.random.default_rng(seed), np.random.default_rng(1).standard_normal((512, 8))
    scale = np.linspace(1, 0.01, 512)
    styles = random.standard_normal((count, 512)) * scale
    ramps = (styles @ (directions / np.linalg.norm(directions * scale[:, None], axis=0))).clip(0)
    looks = np.tile(ramps, -(-len(ROWS) // 8))[:, : len(ROWS)]
    looks[:, 0] = random.standard_normal(count)
    return DrawnFaces(styles, looks, styles[:, :256])


def test_a_fit_tells_what_styles_show_and_what_they_do_not():
    lessons, fresh, told = faces(5000), faces(500, seed=7), []
    sampler, explained = fit_sampler(lessons, lessons.styles + 3, lambda done, total: told.append((done, total)))
    assert explained[ROWS[0]] < 0.05
    assert told[-1][0] == told[-1][1]
    assert torch.allclose(sampler.mean, torch.full((512,), 3.0), atol=0.1)
    buffers = {name: value.double().numpy() for name, value in sampler.named_buffers()}
    lines = fresh.styles @ buffers["linear"]
    x = fresh.styles @ buffers["inner"] + buffers["bias"]
    bent = lines + (x / (1 + np.exp(-x))) @ buffers["outer"] + buffers["offset"]
    wanted = (fresh.looks - buffers["middle"]) / buffers["spread"]
    missed = ((wanted - bent)[:, 1:] ** 2).mean()
    assert missed < 0.7 * ((wanted - lines)[:, 1:] ** 2).mean()
    # What is held out tells what a fresh face shows.
    assert missed == pytest.approx(1 - np.mean([explained[name] for name in ROWS[1:]]), abs=0.1)


def test_few_faces_or_unknown_rows_are_refused():
    few = faces(100)
    with pytest.raises(FaceAnonError, match="too few"):
        fit_sampler(few, few.styles)
    lacking = faces(1200)
    lacking.looks[:, ROWS.index("age")] = np.nan
    with pytest.raises(FaceAnonError, match="age"):
        fit_sampler(lacking, lacking.styles)


def test_draws_follow_photos_as_far_as_the_prior_goes(monkeypatch):
    monkeypatch.setattr(fits, "EPOCHS", 1)  # looks are linear here
    drawn = faces(2000)
    for number, name in enumerate(FOLLOWED):  # rows that styles tell, each by a direction of its own
        drawn.looks[:, ROWS.index(name)] = drawn.styles[:, number] / (1 - number / 511 * 0.99) * 10 + 40
    population = faces(8000, seed=5).styles + 2
    sampler, _ = fit_sampler(drawn, population)
    wanted = np.array([50.0, *[40.0] * 6])  # a standard deviation older than the prior, else as it is
    looks = wanted + np.random.default_rng(3).standard_normal((200, 7)) * [4, *[10] * 6]
    followed, share = follow(sampler, population, looks)
    assert followed.config.photos == 200 and sampler.config.photos == 0 and 0.05 < share < 0.9

    class Generator:
        """Its latents are its styles."""

        def latents(self, seeds):
            rng = np.random.default_rng(list(seeds))
            return torch.from_numpy(rng.standard_normal((len(seeds), 512)) * np.linspace(1, 0.01, 512) + 2).float()

        def style(self, latents):
            return latents

    ages = {}
    for name, one in (("before", sampler), ("after", followed)):
        people = one.people(Generator(), range(150)).numpy()
        ages[name] = 10 * (people[:, 0] - 2) + 40
        assert abs(np.median(10 * (people[:, 1] - 2) / (1 - 0.99 / 511))) < 3  # what photos do not ask for stays
    assert abs(ages["before"].mean() - 40) < 2 and abs(ages["after"].mean() - 50) < 2
    assert ages["after"].std() < 0.7 * ages["before"].std()
    again = followed.people(Generator(), [7, 8])
    assert torch.equal(again[1:], followed.people(Generator(), [8]))
    # The same style shows the same, whatever the mean is.
    style = drawn.styles[:3] + 2
    told = [one._model().predict(style - one._model().mean) for one in (sampler, followed)]
    np.testing.assert_allclose(*told, atol=1e-3)
    # Nobody draws such people: they are followed less strictly, and all numbers stay finite.
    far, least = follow(sampler, population, looks + 400)
    assert least * len(population) > 250 and all(torch.isfinite(b).all() for b in far.buffers())
