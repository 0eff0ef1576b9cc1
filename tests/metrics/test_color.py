"""Skin colour: casts that are known are read back."""

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000

from faceanon_hub.color import from_lab, to_lab
from faceanon_hub.metrics.color import TONES, color_errors, median_skin, skin_tone, typology_angle

SIZE = 64
SKIN_COLOR = np.array([62, 14, 18], np.float32)  # CIELAB
EVERYWHERE = np.ones((SIZE, SIZE), np.uint8)


def skin_of(color=SKIN_COLOR, seed: int = 0) -> np.ndarray:
    """A picture of skin whose colours lie around this one, (SIZE, SIZE, 3) uint8."""
    noise = np.random.default_rng(seed).normal(0, [4, 2, 2], (SIZE, SIZE, 3))
    return from_lab((color + noise).astype(np.float32))


def color_at(degrees: float, yellow: float = 15) -> np.ndarray:
    return np.array([50 + yellow * np.tan(np.radians(degrees)), 12, yellow])


def test_the_original_has_no_error():
    assert color_errors(skin_of(), skin_of(), EVERYWHERE) == {"ciede2000": 0, "chroma": 0, "ita": 0}


@pytest.mark.parametrize("color", [(62, 14, 18), (30, 12, 14), (78, 9, 14)])
def test_the_middle_is_that_of_the_skin(color):
    found = median_skin(skin_of(np.array(color)), EVERYWHERE)
    assert found.shape == (3,)
    assert found.dtype == np.float64
    assert found == pytest.approx(np.array(color, float), abs=0.3)


@pytest.mark.parametrize("cast", [(5, 4, -6), (-10, 0, 0), (0, 0, 12), (0, -8, 0), (1, 0.5, -1)])
def test_a_known_cast_is_read_back(cast):
    color = SKIN_COLOR + cast
    errors = color_errors(skin_of(color, seed=1), skin_of(), EVERYWHERE)
    assert errors["ciede2000"] == pytest.approx(float(deltaE_ciede2000(SKIN_COLOR, color)), abs=0.3)
    assert errors["chroma"] == pytest.approx(np.hypot(*cast[1:]), abs=0.3)
    assert errors["ita"] == pytest.approx(abs(typology_angle(color) - typology_angle(SKIN_COLOR)), abs=1)


def test_a_cast_of_plain_colours_is_exact():
    one, other = (np.full((SIZE, SIZE, 3), color, np.uint8) for color in ([200, 150, 130], [180, 150, 140]))
    wanted = float(deltaE_ciede2000(to_lab(one)[0, 0], to_lab(other)[0, 0]))
    assert color_errors(one, other, EVERYWHERE)["ciede2000"] == pytest.approx(wanted, abs=0.01)


def test_brightness_is_not_chroma():
    errors = color_errors(skin_of(SKIN_COLOR - [15, 0, 0]), skin_of(), EVERYWHERE)
    assert errors["chroma"] < 0.4
    assert errors["ciede2000"] > 10


def test_only_skin_is_measured():
    skin = EVERYWHERE.copy()
    skin[:, 30:] = 0
    one, other = skin_of(), skin_of()
    other[:, 30:] = [0, 255, 0]
    assert np.array_equal(median_skin(one, skin), median_skin(other, skin))
    assert color_errors(other, one, skin)["ciede2000"] == 0
    soft = 0.2 * skin.astype(np.float32)  # counts where it is not zero
    assert np.array_equal(median_skin(one, soft), median_skin(one, skin))


def test_less_than_half_of_other_colours_barely_counts():
    picture = skin_of()
    picture[:20] = [20, 15, 10]
    assert color_errors(picture, skin_of(), EVERYWHERE)["ciede2000"] < 3


def test_no_skin_has_neither_colour_nor_tone():
    nowhere = np.zeros((SIZE, SIZE), np.uint8)
    assert np.isnan(median_skin(skin_of(), nowhere)).all()
    assert np.isnan(list(color_errors(skin_of(), skin_of(), nowhere).values())).all()
    with pytest.raises(ValueError, match="no skin"):
        skin_tone(np.full(3, np.nan))


@pytest.mark.parametrize("degrees", [-60, -20, 0, 10, 28, 41, 55, 80])
def test_the_typology_angle_is_that_of_its_definition(degrees):
    assert typology_angle(color_at(degrees)) == pytest.approx(degrees, abs=1e-6)


@pytest.mark.parametrize("yellow", [0, -5])
@pytest.mark.parametrize(("light", "degrees"), [(0, -90), (50, 0), (100, 90)])
def test_colours_without_yellow_have_an_angle(yellow, light, degrees):
    assert typology_angle(np.array([light, 0, yellow])) == pytest.approx(degrees, abs=1e-3)


@pytest.mark.parametrize(
    ("degrees", "tone"),
    [(-60, "dark"), (9.99, "dark"), (10.01, "medium"), (40.99, "medium"), (41.01, "light"), (80, "light")],
)
def test_tones_change_at_their_boundaries(degrees, tone):
    assert skin_tone(color_at(degrees)) == tone


def test_tones_leave_no_gap():
    bounds = list(TONES.values())
    assert [high for _, high in bounds[:-1]] == [low for low, _ in bounds[1:]]
    for light, yellow in ((0, 0), (100, 0), (0, 60), (100, 60), (50, -20)):
        assert skin_tone(np.array([light, 10, yellow])) in TONES
