"""The style sampler in a world whose pictures are known: a picture holds its style, and a look is a bent map of it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from faceanon_hub import sampling
from faceanon_hub.look import AT, ROWS
from faceanon_hub.sampling import StyleSampler

COUNT, KNOWN = len(ROWS), 5


class World:
    """Styles are normal; the first rows of a look are linear in them, with a bend that no fit knows."""

    def __init__(self) -> None:
        random = np.random.default_rng(3)
        self.slopes = np.zeros((512, COUNT))
        self.slopes[:, :KNOWN] = random.standard_normal((512, KNOWN)) / 512**0.5
        self.embedding = random.standard_normal((512, 256)) / 512**0.5
        self.pictures: dict[int, np.ndarray] = {}
        self.rendered: list[int] = []

    def sampler(self, **config) -> StyleSampler:
        sampler = StyleSampler(hidden_size=4, **config)
        missed = np.full(COUNT, 0.99)
        missed[:KNOWN] = 0.2
        for name, value in {
            "factor": np.eye(512), "linear": self.slopes, "spread": np.ones(COUNT), "missed": missed,
            "identity": self.embedding,
        }.items():  # fmt: skip
            getattr(sampler, name).copy_(torch.from_numpy(value))
        return sampler

    def render(self, styles: torch.Tensor) -> np.ndarray:
        self.rendered.append(len(styles))
        pictures = np.zeros((len(styles), 512, 4, 3), np.uint8)
        pictures[..., 0] = styles.numpy().view(np.uint8).reshape(len(styles), 512, 4)
        return pictures

    def read(self, picture: np.ndarray):
        style = np.ascontiguousarray(picture[..., 0]).view(np.float32)[:, 0]
        return SimpleNamespace(points=None, pose=None, blendshapes=None, style=style)

    def draw(self, sampler, goals, identities=None, **options) -> list:
        """What a sampler draws of as many people as there are goals."""
        return sampler.sample(goals, identities, people(len(goals)), self.render, self.read, **options)

    def look(self, picture, mesh, estimator=None) -> np.ndarray:
        shown = mesh.style.astype(float) @ self.slopes
        shown[:KNOWN] += 0.4 * np.tanh(shown[:KNOWN])
        shown[-2:] = np.nan
        return shown


@pytest.fixture
def world(monkeypatch):
    world = World()
    monkeypatch.setattr(sampling, "look", world.look)
    return world


def goals_of(*values: float) -> np.ndarray:
    goals = np.full((len(values), COUNT), np.nan)
    goals[:, :KNOWN] = np.array(values)[:, None]
    return goals


def people(count: int) -> torch.Tensor:
    return torch.stack([torch.randn(512, generator=torch.Generator().manual_seed(seed)) for seed in range(count)])


def test_looking_at_the_own_picture_brings_it_nearer_to_the_goal(world):
    once, often = (world.draw(world.sampler(rounds=rounds), goals_of(1.0))[0] for rounds in (0, 2))
    assert often.error < 0.5 * once.error < 0.5
    np.testing.assert_array_equal(often.look, world.look(None, often.mesh))


def test_a_face_is_the_same_in_any_batch_and_pictures_come_in_batches(world):
    sampler, goals, identities = world.sampler(), goals_of(0.5, -1.0, 1.5), np.eye(256)[:3]
    together = world.draw(sampler, goals, identities)
    assert world.rendered == [3, 3, 3]
    for k in range(3):
        part = slice(k, k + 1)
        (alone,) = sampler.sample(goals[part], identities[part], people(3)[part], world.render, world.read)
        assert torch.equal(alone.style, together[k].style)
        assert alone.error == together[k].error


def test_people_differ_though_goals_agree(world):
    one, other = world.draw(world.sampler(), goals_of(1.0, 1.0))
    assert torch.nn.functional.cosine_similarity(one.style, other.style, dim=0) < 0.5


@pytest.fixture
def identity() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 256))


def shown(world, drawn, identity) -> float:
    """How far a drawn style lies towards an identity."""
    along = world.embedding @ identity[0]
    return float(drawn.style.double().numpy() @ along / np.linalg.norm(along))


def test_privacy_pushes_away_from_the_identity_and_leaves_the_look(world, identity):
    sampler, goals = world.sampler(), goals_of(1.0)
    drawn = [world.draw(sampler, goals, identity, privacy=privacy)[0] for privacy in (0.0, 0.5, 1.0)]
    reached = [shown(world, one, identity) for one in drawn]
    assert reached[0] > reached[1] + 0.5 > reached[2] + 1.0
    assert max(d.error for d in drawn) < 0.3


def test_a_push_is_as_hard_as_a_picture_is_like_the_original(world, identity):
    sampler, goals = world.sampler(), goals_of(1.0)

    def reached(likeness: float, privacy: float = 0.5) -> float:
        described = likeness * identity[0] / (identity[0] @ identity[0])
        (drawn,) = world.draw(sampler, goals, identity, privacy=privacy, describe=lambda *_: described)
        return shown(world, drawn, identity)

    allowed = sum(sampling.LIKENESS) / 2
    assert reached(allowed + 0.1) < reached(allowed) - 0.5 < reached(allowed - 0.1) - 0.5
    assert reached(0.9, privacy=0) == reached(-0.9, privacy=0)


def test_without_an_identity_there_is_no_push(world):
    sampler, unknown = world.sampler(), np.full((1, 256), np.nan)
    assert torch.equal(*(world.draw(sampler, goals_of(1.0), given)[0].style for given in (None, unknown)))


def test_rows_that_a_style_does_not_tell_are_left_free(world):
    goals = goals_of(1.0)
    wild = goals.copy()
    wild[0, AT["mouthFrownLeft"]] = 9.0
    assert torch.equal(*(world.draw(world.sampler(), given)[0].style for given in (goals, wild)))


def test_a_picture_without_a_face_is_drawn_nearer_to_the_mean_and_none_at_all_is_told(world):
    lengths = []

    def blind(picture):
        lengths.append(np.linalg.norm(world.read(picture).style))

    assert world.sampler().sample(goals_of(1.0), None, people(1), world.render, blind) == [None]
    assert lengths[1] == pytest.approx(0.8 * lengths[0]) and lengths[2] == pytest.approx(0.64 * lengths[0])


def test_no_style_is_longer_than_the_reach(world):
    (drawn,) = world.draw(world.sampler(truncation=1.0, reach=0.3), goals_of(2.0))
    assert drawn.style.norm() <= 0.3 * 512**0.5 * (1 + 1e-6)


def test_a_saved_sampler_is_the_same(world, tmp_path):
    sampler = world.sampler(push=1.7)
    sampler.save_pretrained(tmp_path)
    loaded = StyleSampler.from_pretrained(tmp_path)
    one, other = (world.draw(given, goals_of(1.0), np.eye(256)[:1])[0].style for given in (sampler, loaded))
    assert torch.equal(one, other) and loaded.config.push == 1.7


def test_a_row_that_is_clearer_than_asked_for_is_left_so(world, monkeypatch):
    monkeypatch.setattr(world, "look", lambda *_: np.append(np.full(1, 6.0), np.full(COUNT - 1, np.nan)))
    monkeypatch.setattr(sampling, "look", world.look)
    goals = np.full((1, COUNT), np.nan)
    goals[0, 0] = 6  # more than is ever asked for
    asked = {}
    for one_sided in ((), (ROWS[0],)):
        monkeypatch.setattr(sampling, "ONE_SIDED", one_sided)
        styles = []

        def render(style: torch.Tensor, styles=styles) -> np.ndarray:
            styles.append(float(style[0].double().numpy() @ world.slopes[:, 0]))
            return world.render(style)

        world.sampler().sample(goals, None, torch.zeros(1, 512), render, world.read)
        asked[one_sided] = np.ptp(styles)
    assert asked[(ROWS[0],)] < 1e-6 < 0.1 < asked[()]
