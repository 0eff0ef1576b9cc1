"""Skin colour: nine numbers of the original, and what they do to a new face."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import deltaE_ciede2000, rgb2lab

from faceanon_hub import SkinColorTransfer
from faceanon_hub.color import from_lab, to_lab, tone, toning

SIZE = 64
SKIN_COLOR = np.array([62, 14, 18], np.float32)  # CIELAB
SPREAD = np.array([[30, 4, 6], [4, 8, 2], [6, 2, 10]], np.float32)


@pytest.fixture(scope="module")
def transfer() -> SkinColorTransfer:
    return SkinColorTransfer()


def skin_of(mean=SKIN_COLOR, covariance=SPREAD, seed: int = 0) -> np.ndarray:
    """A picture of skin whose colours have nearly these moments, (SIZE, SIZE, 3) uint8."""
    noise = np.random.default_rng(seed).standard_normal((SIZE * SIZE, 3)).clip(-2.2, 2.2)
    noise = (noise - noise.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(noise.T))).T
    lab = mean + noise @ np.linalg.cholesky(np.asarray(covariance, float)).T
    return from_lab(lab.reshape(SIZE, SIZE, 3))


EVERYWHERE = np.ones((SIZE, SIZE), np.float32)


def moments(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lab = to_lab(image).reshape(-1, 3)
    return lab.mean(0), np.cov(lab.T)


def middle(image: np.ndarray) -> np.ndarray:
    return np.median(to_lab(image).reshape(-1, 3), 0)


def test_nine_numbers_are_median_and_covariance(transfer):
    picture = skin_of()
    found = transfer.estimate(picture, EVERYWHERE)
    assert found.shape == (9,)
    assert found.dtype == np.float32
    mean, covariance = moments(picture)
    assert found[:3] == pytest.approx(middle(picture), abs=1e-3)
    assert found[:3] == pytest.approx(mean, abs=0.3)
    # The tails, beyond two and a half times the middle spread, are taken for hair and trimmed.
    assert found[3:] == pytest.approx(covariance[np.triu_indices(3)], rel=0.25, abs=1)


@pytest.mark.parametrize("cast", [(10, 6, -8), (-12, -5, 9), (0, 0, 15), (5, 4, -6), (-8, 3, 4)])
def test_a_cast_is_undone_to_within_what_one_sees(transfer, cast):
    original, generated = skin_of(), skin_of(SKIN_COLOR + cast, seed=1)
    corrected = transfer(generated, EVERYWHERE, EVERYWHERE, transfer.estimate(original, EVERYWHERE))
    assert moments(corrected)[0] == pytest.approx(moments(original)[0], abs=0.5)
    assert deltaE_ciede2000(middle(original), middle(generated)) > 6
    assert deltaE_ciede2000(middle(original), middle(corrected)) < 0.3


@pytest.mark.parametrize("lightness", [20, 30, 45])
def test_strong_darkening_leaves_no_black_blotches(transfer, lightness):
    original = skin_of([30, 14, 18])
    lab = to_lab(skin_of([70, 14, 18], seed=1))
    lab[:8, :8] = [lightness, 2, 2]  # a brow, a nostril or a beard
    corrected = transfer(from_lab(lab), EVERYWHERE, EVERYWHERE, transfer.estimate(original, EVERYWHERE))
    assert middle(corrected)[0] == pytest.approx(30, abs=0.5)
    assert (corrected == 0).all(2).sum() <= 4


def test_eyes_and_teeth_keep_their_colour_under_strong_darkening(transfer):
    picture, original = skin_of([70, 14, 18], seed=1), transfer.estimate(skin_of([30, 14, 18]), EVERYWHERE)
    picture[20:24, 10:20] = [235, 240, 238]
    picture[40:44, 20:40] = [250, 244, 225]
    region = EVERYWHERE.copy()
    region[18:26, 8:22] = region[38:46, 18:42] = 0
    changed = transfer(picture, EVERYWHERE, region, original)
    assert np.array_equal(changed[region == 0], picture[region == 0])
    assert middle(changed[region == 1][:, None])[0] == pytest.approx(30, abs=2)


def test_contrast_within_the_limit_is_matched(transfer):
    original, generated = skin_of(), skin_of(covariance=SPREAD * 1.7, seed=1)
    corrected = transfer(generated, EVERYWHERE, EVERYWHERE, transfer.estimate(original, EVERYWHERE))
    wanted, got = (np.sqrt(np.linalg.eigvalsh(moments(picture)[1])) for picture in (original, corrected))
    assert got == pytest.approx(wanted, rel=0.12)


@pytest.mark.parametrize(("factor", "change"), [(1 / 16, 1.25), (16, 1 / 1.25)])
def test_contrast_beyond_the_limit_is_changed_by_the_limit(transfer, factor, change):
    original, generated = skin_of(covariance=np.eye(3) * 20), skin_of(covariance=np.eye(3) * 20 * factor, seed=1)
    corrected = transfer(generated, EVERYWHERE, EVERYWHERE, transfer.estimate(original, EVERYWHERE))
    before, after = (np.sqrt(np.diag(moments(picture)[1])) for picture in (generated, corrected))
    assert after / before == pytest.approx(np.full(3, change), rel=0.1)  # by as much as 8 bits allow


def test_skin_with_the_original_colours_stays_as_it_is(transfer):
    picture = skin_of()
    again = transfer(picture, EVERYWHERE, EVERYWHERE, transfer.estimate(picture, EVERYWHERE))
    assert np.abs(again.astype(int) - picture).max() <= 1


@pytest.mark.parametrize("change", [8, -8])
def test_strength_goes_from_nothing_to_all(transfer, change):
    picture, wanted = skin_of(SKIN_COLOR + [change, 0, 0]), transfer.estimate(skin_of(), EVERYWHERE)
    results = [transfer(picture, EVERYWHERE, EVERYWHERE, wanted, strength) for strength in (0, 0.5, 1)]
    assert np.array_equal(results[0], picture)
    done = [(moments(picture)[0][0] - moments(result)[0][0]) / change for result in results]
    assert 0.45 < done[1] < (0.56 if change > 0 else 0.8)
    assert done[2] == pytest.approx(1, abs=0.04)
    assert np.array_equal(results[1], SkinColorTransfer(strength=0.5)(picture, EVERYWHERE, EVERYWHERE, wanted))
    assert np.array_equal(picture, skin_of(SKIN_COLOR + [change, 0, 0]))  # as it was


def test_outside_the_region_nothing_changes(transfer):
    # Any colours, not only skin: what goes to CIELAB and back must come back as it was.
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    region = np.zeros((SIZE, SIZE), np.float32)
    region[20:40, 10:50] = 1
    region[24:28, 20:28] = 0  # an eye
    changed = transfer(picture, EVERYWHERE, region, transfer.estimate(skin_of(), EVERYWHERE))
    assert np.array_equal(changed[region == 0], picture[region == 0])
    assert not np.array_equal(changed[region == 1], picture[region == 1])


@pytest.mark.parametrize("change", [8, -8])
def test_a_soft_border_is_acted_on_in_part(transfer, change):
    picture, wanted = skin_of(SKIN_COLOR + [change, 0, 0]), transfer.estimate(skin_of(), EVERYWHERE)
    region = EVERYWHERE.copy()
    region[:, :8] = 0.25
    changed = transfer(picture, EVERYWHERE, region, wanted)
    moved = (to_lab(picture) - to_lab(changed))[:, :8, 0].mean()
    assert moved == pytest.approx(change / 4, abs=0.5)


@pytest.mark.parametrize("which", ["original", "generated"])
def test_too_little_skin_changes_nothing(transfer, which):
    few = np.zeros((SIZE, SIZE), np.uint8)
    few[30:37, 30:37] = 1
    picture, original = skin_of(SKIN_COLOR + [8, 0, 0]), skin_of()
    assert not transfer.estimate(original, few).any()
    seen, skin = (few, EVERYWHERE) if which == "original" else (EVERYWHERE, few)
    assert np.array_equal(transfer(picture, skin, EVERYWHERE, transfer.estimate(original, seen)), picture)


def test_only_skin_is_measured(transfer):
    skin = np.zeros((SIZE, SIZE), np.uint8)
    skin[:, :32] = 1
    picture = skin_of()
    other = picture.copy()
    other[:, 32:] = [0, 255, 0]
    assert np.array_equal(transfer.estimate(picture, skin), transfer.estimate(other, skin))


def test_two_originals_with_equal_numbers_give_equal_faces(transfer):
    original, generated = skin_of(), skin_of(SKIN_COLOR + [5, 3, -6], SPREAD * 0.7, seed=1)
    # Turned upside down: each pixel is another one, the sums over all of them nearly the same.
    turned = np.ascontiguousarray(original[::-1, ::-1])
    numbers = transfer.estimate(original, EVERYWHERE)
    assert transfer.estimate(turned, EVERYWHERE) == pytest.approx(numbers, rel=1e-4)
    results = [
        transfer(generated, EVERYWHERE, EVERYWHERE, transfer.estimate(picture, EVERYWHERE).round(2))
        for picture in (original, turned)
    ]
    assert np.array_equal(*results)


def test_the_numbers_are_all_that_is_taken(transfer):
    # Where no skin is expected the originals differ: their numbers and so the faces are equal to the bit.
    generated = skin_of(SKIN_COLOR + [5, 3, -6], SPREAD * 0.7, seed=1)
    skin = EVERYWHERE.copy()
    skin[:, 40:] = 0
    originals = [skin_of(), skin_of()]
    originals[1][:, 40:] = 255 - originals[1][:, 40:]
    numbers = [transfer.estimate(original, skin) for original in originals]
    assert numbers[0].shape == (9,)
    assert np.array_equal(*numbers)
    assert np.array_equal(*(transfer(generated, EVERYWHERE, EVERYWHERE, number) for number in numbers))


def test_hair_over_the_skin_barely_counts(transfer):
    picture = skin_of()
    wanted = transfer.estimate(picture, EVERYWHERE)
    picture[: int(0.15 * SIZE)] = np.random.default_rng(1).integers(15, 40, (int(0.15 * SIZE), SIZE, 3))
    found = transfer.estimate(picture, EVERYWHERE)
    assert found[:3] == pytest.approx(wanted[:3], abs=1.2)
    assert found[3:] == pytest.approx(wanted[3:], rel=0.4, abs=2)


@pytest.mark.parametrize("level", [8, 128, 255])
def test_flat_colours_are_not_stretched(transfer, level):
    picture = np.full((SIZE, SIZE, 3), level, np.uint8)
    picture[0, 0] = 255 - level
    changed = transfer(picture, EVERYWHERE, EVERYWHERE, transfer.estimate(skin_of(), EVERYWHERE))
    assert len(np.unique(changed[1:].reshape(-1, 3), axis=0)) == 1
    assert to_lab(changed)[5, 5] == pytest.approx(SKIN_COLOR, abs=1)


def test_skin_in_three_colours_has_finite_numbers(transfer):
    # Paint, a tattoo or a flag: each third differs from the middle in another channel, so that none is "usual" in all.
    lab = np.full((SIZE, SIZE, 3), SKIN_COLOR)
    for channel, rows in enumerate(np.array_split(np.arange(SIZE), 3)):
        lab[rows, :, channel] += 25
    found = transfer.estimate(from_lab(lab), EVERYWHERE)
    assert np.isfinite(found).all()


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_any_two_pictures_give_a_picture(transfer, one, other):
    def anything(seed: int) -> np.ndarray:
        random = np.random.default_rng(seed)
        center, reach = random.integers(0, 256, 3), random.integers(1, 128)
        return (center + random.integers(-reach, reach, (SIZE, SIZE, 3))).clip(0, 255).astype(np.uint8)

    numbers = transfer.estimate(anything(one), EVERYWHERE)
    assert np.isfinite(numbers).all()
    changed = transfer(anything(other), EVERYWHERE, EVERYWHERE, numbers)
    assert changed.shape == (SIZE, SIZE, 3)
    assert changed.dtype == np.uint8
    # Where the colours can be had at all, the skin comes nearer to them.
    before, after = (
        np.linalg.norm(transfer.estimate(p, EVERYWHERE)[:3] - numbers[:3]) for p in (anything(other), changed)
    )
    assert after < before + 1


def test_lab_is_that_of_the_standard_and_every_colour_survives_the_way_there_and_back():
    levels = np.linspace(0, 255, 18).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(18, -1, 3)
    np.testing.assert_array_equal(from_lab(to_lab(cube)), cube)
    colors = np.array([[[255, 0, 0], [255, 255, 255], [200, 160, 140], [70, 50, 40], [3, 2, 1]]], np.uint8)
    np.testing.assert_allclose(to_lab(colors), rgb2lab(colors), atol=0.02)
    assert to_lab(colors)[0, 0] == pytest.approx([53.24, 80.09, 67.2], abs=0.02)


@pytest.mark.parametrize(
    "lightness, hue, tint",
    [
        (35, (9, 12), (0, 0)),
        (80, (14, 18), (0, 0)),
        (80, (10, 21), (0, 0)),
        (80, (14, 48), (0, 25)),
        (80, (-6, 18), (-15, 0)),
    ],
)
def test_eyes_get_the_brightness_and_a_tint_in_colored_light_only(transfer, lightness, hue, tint):
    picture, neutral = skin_of([60, 14, 18], seed=1), np.zeros((SIZE, SIZE), np.float32)
    picture[20:30, 10:30], neutral[20:30, 10:30] = 150, 1
    corrected = transfer(
        picture, EVERYWHERE * (1 - neutral), EVERYWHERE, transfer.estimate(skin_of([lightness, *hue]), EVERYWHERE),
        neutral=neutral,
    )[22:28, 12:28]  # fmt: skip
    assert np.abs(to_lab(corrected)[..., 1:] - tint).max() < (3 if any(tint) else 0.8)
    assert (corrected.max() < 120) if lightness < 60 else (corrected.mean() > 180)


@pytest.mark.parametrize("hue", [(1.0, 1.0, 1.0), (1.0, 0.85, 0.65), (0.6, 0.8, 1.0)])
@pytest.mark.parametrize("noise", [0, 2])
def test_a_photo_of_one_tone_gives_its_hues_to_a_face_in_color(portrait, hue, noise):
    grey = portrait.astype(float).mean(2, keepdims=True) * hue
    photo = (grey + np.random.default_rng(0).normal(0, noise, portrait.shape)).round().clip(0, 255).astype(np.uint8)
    curve = toning(photo)
    assert curve is not None and curve.shape == (9, 2)
    toned = tone(portrait, curve)
    lightness = (to_lab(portrait) - to_lab(toned))[..., 0]
    assert np.abs(lightness).mean() < 1.5
    wanted = to_lab((toned.astype(float).mean(2, keepdims=True) * hue / np.mean(hue)).clip(0, 255).astype(np.uint8))
    assert np.percentile(np.abs(to_lab(toned) - wanted)[..., 1:], 95) < 3
    if not noise and hue == (1.0, 1.0, 1.0):
        assert np.ptp(toned, axis=2).max() == 0


def test_a_photo_in_color_has_no_tone(portrait):
    assert toning(portrait) is None and toning(portrait[60:180, 160:290]) is None  # all of it, and the face alone
