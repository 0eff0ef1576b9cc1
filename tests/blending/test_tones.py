"""Brows, irises, shadows, lips, lashes and the texture of skin: of drawn faces."""

import numpy as np
import pytest

from faceanon_hub import landmarks as lm
from faceanon_hub.blending import texture, tones
from faceanon_hub.blending.regions import filled
from faceanon_hub.parsing import BROWS, HAIR, LIPS

SIZE = 256
AS_DRAWN = np.full(tones.COUNT, np.nan)
LIP_TONES = slice(3, 6)


@pytest.fixture(scope="module")
def drawn(pipe):
    """Picture, mesh and parts of a drawn face."""
    (picture,) = pipe.generator.render(pipe.draw_people([3]), SIZE)
    return picture, pipe.landmark_extractor.read(picture).points, pipe.parser.parse(picture)


def asked(**changes: float) -> np.ndarray:
    wanted = AS_DRAWN.copy()
    for name, value in changes.items():
        wanted[{"brows": 0, "irises": 1, "black": 2, "lashes": tones.LASHES}[name]] = value
    return wanted


def test_what_is_not_asked_for_stays(drawn):
    assert (tones.match(*drawn, AS_DRAWN) == drawn[0]).all()


def test_a_face_with_the_tones_that_are_asked_for_stays(drawn):
    same = tones.match(*drawn, tones.measure(*drawn))
    assert np.abs(same.astype(int) - drawn[0]).max() <= 2


@pytest.mark.parametrize("change", [-0.2, 0.3])
@pytest.mark.parametrize("number", [0, 1], ids=["brows", "irises"])
def test_brows_and_irises_become_as_dark_as_asked_for(drawn, number, change):
    picture, points, parts = drawn
    before = tones.measure(*drawn)
    wanted = before + change * (np.arange(tones.COUNT) == number)
    after = tones.measure(tones.match(picture, points, parts, wanted), points, parts)
    assert abs(after - wanted)[number] < 0.6 * abs(change)
    assert np.abs(np.delete(after - before, [2, number])).max() < 0.1


def test_fair_brows_can_become_dark_and_dark_ones_stay_brows(drawn):
    picture, points, parts = drawn
    fair = tones.match(picture, points, parts, asked(brows=-0.1))
    fairer = tones.match(fair, points, parts, asked(brows=-0.1))
    assert -0.6 < tones.measure(fair, points, parts)[0] < -0.3  # it was -0.7
    dark = tones.match(fairer, points, parts, asked(brows=-1.2))
    assert tones.measure(dark, points, parts)[0] < 1.6 * tones.measure(fairer, points, parts)[0] - 0.1


def test_lips_take_on_the_color_that_is_asked_for_and_the_skin_round_them_stays(drawn):
    picture, points, parts = drawn
    before = tones.measure(*drawn)
    wanted = before.copy()
    wanted[LIP_TONES] += [-0.3, 0.1, 0.1]
    changed = tones.match(picture, points, parts, wanted)
    after = tones.measure(changed, points, parts)
    assert np.abs(after - wanted)[LIP_TONES].max() < 0.1
    large = np.kron(parts[..., LIPS], np.ones((2, 2)))
    assert (changed[large < 1e-3] == picture[large < 1e-3]).all()


def test_lips_are_tinted_within_limits_and_not_painted_where_none_are_seen(drawn):
    picture, points, parts = drawn
    before, wanted = tones.measure(*drawn)[LIP_TONES], AS_DRAWN.copy()
    wanted[LIP_TONES] = before - [0, 2, 2]
    red = tones.match(picture, points, parts, wanted)
    change = tones.measure(red, points, parts)[LIP_TONES] - before
    assert abs(change[0]) < 0.05 and np.abs(change[1:] - tones.TINTS[0]).max() < 0.1
    for _ in range(3):
        red = tones.match(red, points, parts, wanted)
    painted = tones.measure(red, points, parts)[LIP_TONES]
    bare = tones.measure(tones.match(red, points, parts, AS_DRAWN), points, parts)[LIP_TONES]
    assert painted.min() < tones.LIPSTICK - 0.1
    assert np.abs(bare - np.maximum(painted, tones.LIPSTICK)).max() < 0.15


def test_a_face_in_a_hazy_photo_is_hazed_and_in_another_one_is_not(drawn):
    picture, points, parts = drawn
    black = tones.measure(*drawn)[2]
    assert black < tones.HAZY
    clear = tones.match(picture, points, parts, asked(black=tones.HAZY - 0.05))
    assert (clear == picture).all()
    hazed = tones.match(picture, points, parts, asked(black=-0.5))
    assert abs(tones.measure(hazed, points, parts)[2] + 0.5) < 0.15
    assert hazed.std() < 0.85 * picture.std()


def test_the_light_round_a_brow_is_what_it_is_compared_with(drawn):
    # A cap's shadow darkens brows and forehead alike.
    picture, points, parts = drawn
    shaded = picture.copy()
    shaded[: int(points[168, 1])] = shaded[: int(points[168, 1])] * 0.8  # less than two thirds of the light
    assert abs(tones.measure(shaded, points, parts)[0] - tones.measure(*drawn)[0]) < 0.2


def test_a_part_that_is_not_seen_is_not_measured(drawn):
    picture, points, parts = drawn
    bare = parts.copy()
    bare[..., BROWS] = bare[..., LIPS] = 0
    measured = tones.measure(picture, points, bare)
    assert np.isnan(measured[[0, 3, 4, 5]]).all() and np.isfinite(measured[1])
    assert np.isnan(tones.measure(picture, points, np.zeros_like(parts))).all()  # no skin to compare with


def test_lashes_become_as_dark_as_asked_for_but_never_fairer(drawn):
    picture, points, parts = drawn
    before = tones.measure(*drawn)[tones.LASHES]
    darker = tones.match(picture, points, parts, asked(lashes=before - 0.4))
    assert -0.5 < tones.measure(darker, points, parts)[tones.LASHES] - before < -0.2
    assert (tones.match(picture, points, parts, asked(lashes=before + 0.4)) == picture).all()
    changed = np.argwhere((darker != picture).any(2))
    lids = points[[*lm.LEFT_EYE, *lm.RIGHT_EYE], :2]
    reach = 0.2 * np.linalg.norm(points[33, :2] - points[133, :2])
    assert all(np.linalg.norm(lids - pixel[::-1], axis=1).min() < reach for pixel in changed)


def test_lashes_under_hair_are_not_measured(drawn):
    picture, points, parts = drawn
    fringe = np.zeros_like(parts)
    fringe[..., HAIR] = 1
    parts = np.where(np.arange(len(parts))[:, None, None] < points[168, 1] / 2 + 10, fringe, parts)
    assert np.isnan(tones.measure(picture, points, parts)[tones.LASHES])


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_skin_becomes_as_even_as_the_original_s(drawn, share):
    picture, points, parts = drawn
    before, wanted = tones.measure(*drawn), AS_DRAWN.copy()
    wanted[tones.TEXTURE] = share * before[tones.TEXTURE]
    after = tones.match(picture, points, parts, wanted)
    even = tones.measure(after, points, parts)[tones.TEXTURE] / before[tones.TEXTURE]
    assert np.abs(even - share).max() < 0.25 and even.max() < 0.95
    eyes = filled(points, SIZE, lm.LEFT_EYE, lm.RIGHT_EYE, lm.OUTER_LIPS) > 0
    assert np.abs(after.astype(int) - picture)[eyes].max() <= 2


def test_skin_is_never_made_less_even(drawn):
    wanted = AS_DRAWN.copy()
    wanted[tones.TEXTURE] = 2 * tones.measure(*drawn)[tones.TEXTURE]
    assert (tones.match(*drawn, wanted) == drawn[0]).all()


def test_the_least_of_a_texture_that_is_left(drawn):
    picture, points, parts = drawn
    wanted = AS_DRAWN.copy()
    wanted[tones.TEXTURE] = 0
    flat = texture.match(picture, points, parts, wanted[tones.TEXTURE])
    left = texture.measure(flat, points, parts) / texture.measure(*drawn)
    assert left.min() > 0.6 * texture.LEAST
