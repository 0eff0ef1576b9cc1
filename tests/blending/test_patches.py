"""Skin under the eyes and of the upper lip, brought to the original's: of drawn faces."""

import numpy as np
import pytest

from faceanon_hub.blending import patches
from faceanon_hub.blending.regions import skin_region
from faceanon_hub.lighting import to_linear, to_srgb
from faceanon_hub.parsing import SKIN

SIZE = 256
WHOLE = np.ones((SIZE, SIZE), np.float32)
LIP = 2
EYE = 0


@pytest.fixture(scope="module")
def drawn(pipe):
    """Picture, mesh and parts of a drawn face."""
    (picture,) = pipe.generator.render(pipe.draw_people([3]), SIZE)
    return picture, pipe.landmark_extractor.read(picture).points, pipe.parser.parse(picture)


def soiled(drawn, patch: int, change: list[float]) -> np.ndarray:
    """The picture with another colour round a patch; `change` is its logarithm."""
    picture, points, _ = drawn
    row, column = np.mgrid[:SIZE, :SIZE]
    x, y = points[list(patches.PATCHES[patch][0]), :2].mean(0)
    near = np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * (0.05 * SIZE) ** 2))
    return to_srgb(to_linear(picture) * np.exp(near[..., None] * change).astype(np.float32))


def test_a_face_with_the_patches_that_are_asked_for_stays(drawn):
    same = patches.match(*drawn, WHOLE, patches.measure(*drawn))
    assert np.abs(same.astype(int) - drawn[0]).max() <= 1


@pytest.mark.parametrize("patch", [LIP, EYE])
@pytest.mark.parametrize("change", [[-0.3] * 3, [-0.15, 0.05, 0.1]], ids=["dark", "greenish"])
def test_a_patch_that_is_off_is_brought_back(drawn, patch, change):
    picture, points, parts = drawn
    wrong = soiled(drawn, patch, change)
    wanted = patches.measure(*drawn)
    mended = patches.match(wrong, points, parts, WHOLE, wanted)
    before, after = (np.abs(patches.measure(one, points, parts) - wanted)[patch].max() for one in (wrong, mended))
    assert before > 0.07 and after < 0.35 * before
    spot = np.abs(wrong.astype(int) - picture).max(2)
    levels = [np.abs(one.astype(int) - picture)[spot > spot.max() / 2].mean() for one in (wrong, mended)]
    assert levels[1] < 0.5 * levels[0]


def test_the_middle_of_the_skin_stays(drawn):
    picture, points, parts = drawn
    changed = patches.match(picture, points, parts, WHOLE, patches.measure(*drawn) + [0.4, 0.3, 0.3])
    skin = skin_region(points, SIZE) > 0
    before, after = (np.median(one[skin], 0) for one in (picture, changed))
    assert np.abs(before - after).max() <= 1.5 and np.abs(changed.astype(int) - picture).max() > 8


def test_lightness_and_tint_are_changed_by_their_own_strengths(drawn):
    _, points, parts = drawn
    wrong, wanted = soiled(drawn, LIP, [-0.4, -0.3, -0.2]), patches.measure(*drawn)
    assert (patches.match(wrong, points, parts, WHOLE, wanted, 0, 0) == wrong).all()
    lit = patches.measure(patches.match(wrong, points, parts, WHOLE, wanted, 1, 0), points, parts)[LIP] - wanted[LIP]
    assert abs(lit.mean()) < 0.1 and np.ptp(lit) > 0.1
    tinted = (
        patches.measure(patches.match(wrong, points, parts, WHOLE, wanted, 0, 1), points, parts)[LIP] - wanted[LIP]
    )
    assert abs(tinted.mean()) > 0.15 and np.ptp(tinted) < 0.07


def test_what_is_not_known_stays_as_it_is(drawn):
    nothing = np.full((len(patches.PATCHES), 3), np.nan)
    assert (patches.match(*drawn, WHOLE, nothing) == drawn[0]).all()


def test_changes_are_limited_and_end_at_the_region(drawn):
    picture, points, parts = drawn
    wanted = patches.measure(*drawn)
    wanted[LIP] += [-5, -5, 2]
    left = (np.arange(SIZE) < SIZE / 2) * WHOLE
    changed = patches.match(picture, points, parts, left, wanted)
    assert (changed[left == 0] == picture[left == 0]).all()
    gain = np.log((to_linear(changed) + 1e-2) / (to_linear(picture) + 1e-2))
    assert 0.15 < np.abs(gain).max() < patches.TINTED + 0.05


def test_what_is_not_skin_is_not_measured(drawn):
    picture, points, parts = drawn
    covered = parts.copy()
    covered[round(points[4, 1] / SIZE * len(parts)) :, :, SKIN] = 0  # from the tip of the nose down
    found = patches.measure(picture, points, covered)
    assert np.isnan(found[LIP]).all() and np.isfinite(found[:2]).all()
    assert np.isnan(patches.measure(picture, points, np.zeros_like(parts))).all()
    assert (patches.match(picture, points, np.zeros_like(parts), WHOLE, patches.measure(*drawn)) == picture).all()


def test_a_patch_is_never_made_darker(drawn):
    picture, points, parts = drawn
    assert (patches.match(picture, points, parts, WHOLE, patches.measure(*drawn) - 0.5) == picture).all()
