"""What a call can ask for is checked in one place."""

import functools
import math

import numpy as np
import pytest

from faceanon_hub import FaceDetector, Options, PhotoEditor

NUMBERS = ["mask_margin", "context_blur", "threshold", "lighting_strength", "color_strength", "privacy"]


@pytest.mark.parametrize("name", [*NUMBERS, "truncation", "batch_size"])
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, -1, 0.301j, "1", True, [0.1]])
def test_numbers_are_finite_in_range_and_numbers(name, wrong):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        Options(**{name: wrong})


@pytest.mark.parametrize(
    "wrong",
    [
        *({"fallback": "none"}, {"attributes": "hair"}, {"glasses": "sun"}, {"glasses": None}),
        *({"batch_size": 1.5}, {"threshold": 2}),
    ],
)
def test_words_and_whole_numbers(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        Options(**wrong)


def test_numbers_of_numpy_count():
    assert Options(threshold=np.float32(0.5), batch_size=np.int64(3)).batch_size == 3


def test_what_is_not_given_is_as_configured(pipe):
    options = pipe.resolve(threshold=0.4)
    assert options.threshold == 0.4 and options.truncation == 0.6
    assert options.mask_margin == pipe.config.mask_margin == 0 and options.fallback == pipe.config.fallback
    assert options.privacy == pipe.config.privacy and options.attributes == pipe.config.attributes
    assert pipe.resolve(privacy=0, attributes="none").privacy == 0
    assert options.lighting_strength == pipe.lighting_transfer.config.strength
    with pytest.raises(TypeError, match="surprise"):
        pipe.resolve(surprise=1)


@pytest.mark.parametrize("wrong", [2, 1, 0.95, math.nan, math.inf, "0.2"])
def test_no_call_switches_detection_off(pipe, portrait, wrong):
    for call in (pipe, pipe.find_faces, functools.partial(PhotoEditor, pipe)):
        with pytest.raises(ValueError, match="threshold"):
            call(portrait, threshold=wrong)
    if wrong not in (1, 0.95):
        with pytest.raises(ValueError, match="threshold"):
            FaceDetector()(portrait, wrong)
