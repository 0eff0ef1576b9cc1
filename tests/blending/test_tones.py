"""How dark brows, irises and shadows are, and the colour of the lips: of drawn faces."""

import numpy as np
import pytest

from faceanon_hub.blending import tones
from faceanon_hub.parsing import BROWS, LIPS

SIZE = 256
AS_DRAWN = np.full(6, np.nan)


@pytest.fixture(scope="module")
def drawn(pipe):
    """Picture, mesh and parts of a drawn face."""
    (picture,) = pipe.generator.render(pipe.draw_people([3]), SIZE)
    return picture, pipe.landmark_extractor.read(picture).points, pipe.parser.parse(picture)


def asked(**changes: float) -> np.ndarray:
    wanted = AS_DRAWN.copy()
    for name, value in changes.items():
        wanted[("brows", "irises", "black").index(name)] = value
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
    wanted = before + change * (np.arange(6) == number)
    after = tones.measure(tones.match(picture, points, parts, wanted), points, parts)
    assert abs(after - wanted)[number] < 0.6 * abs(change)
    assert np.abs(after - before)[[0, 1, 3, 4, 5]][np.arange(5) != number].max() < 0.1


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
    wanted = before + [0, 0, 0, -0.3, 0.1, 0.1]
    changed = tones.match(picture, points, parts, wanted)
    after = tones.measure(changed, points, parts)
    assert np.abs(after - wanted)[3:].max() < 0.1
    large = np.kron(parts[..., LIPS], np.ones((2, 2)))
    assert (changed[large < 1e-3] == picture[large < 1e-3]).all()


def test_lips_are_tinted_within_limits_and_not_painted_where_none_are_seen(drawn):
    picture, points, parts = drawn
    before, wanted = tones.measure(*drawn)[3:], AS_DRAWN.copy()
    wanted[3:] = before - [0, 2, 2]
    red = tones.match(picture, points, parts, wanted)
    change = tones.measure(red, points, parts)[3:] - before
    assert abs(change[0]) < 0.05 and np.abs(change[1:] - tones.TINTS[0]).max() < 0.1
    for _ in range(3):
        red = tones.match(red, points, parts, wanted)
    painted = tones.measure(red, points, parts)[3:]
    bare = tones.measure(tones.match(red, points, parts, AS_DRAWN), points, parts)[3:]
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
