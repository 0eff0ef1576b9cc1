"""The page's words, in every language."""

import re
from pathlib import Path

import numpy as np
import pytest

from faceanon_hub import AnimatedImageError, ImageTooLargeError, UnreadableImageError, UnreadableVideoError
from faceanon_hub.demo.endpoints import MAX_SECONDS
from faceanon_hub.demo.intake import MAX_BYTES, MAX_FILES
from faceanon_hub.demo.words import LABELS, MESSAGES, REASONS, reason, summary, time_left, unusable, words
from faceanon_hub.errors import UnwritableImageError
from faceanon_hub.faces import Face, FaceStatus
from faceanon_hub.io.photos import MAX_PIXELS
from faceanon_hub.options import ATTRIBUTES, FALLBACKS, GLASSES

SOURCES = Path(__file__).parents[2] / "faceanon_hub"


def test_every_language_has_every_text():
    for texts in (LABELS, MESSAGES):
        assert set(texts) == {"en", "de", "fr", "es", "it", "ja"}
        for language, labels in texts.items():
            assert labels.keys() == texts["en"].keys()
            assert all(labels.values())
            assert all(text.count("{}") == texts["en"][key].count("{}") for key, text in labels.items())
            same = {key for key, text in labels.items() if text == texts["en"][key]}
            assert language == "en" or len(same) <= 8, same  # some words are alike, as Original
    for name, values in (("fallback", FALLBACKS), ("attributes", ATTRIBUTES), ("glasses", GLASSES)):
        assert {f"{name}_{value}" for value in values} <= set(LABELS["en"])


def test_the_labels_say_the_limits():
    for labels in LABELS.values():
        assert f"{MAX_BYTES // 2**20} M" in labels["photo_limits"]
        assert f"{MAX_FILES}" in labels["files_limits"] and f"{MAX_SECONDS}" in labels["clip_limits"]
    assert f"{MAX_PIXELS // 10**6} million" in LABELS["en"]["photo_limits"]


def test_every_reason_of_the_pipeline_has_words():
    source = "".join((SOURCES / name).read_text() for name in ("pipeline.py", "scene.py", "editor.py"))
    given = re.findall(r'(?:\breason = |FIXED = |KEPT, |reason = None, )f?"([^"]+)"', source)
    assert len(given) >= 12
    errors = [text for text in given if not any(text.startswith(start) for start in REASONS)]
    assert all("failed: {error}" in text for text in errors), errors


@pytest.mark.parametrize("said", MESSAGES.values(), ids=MESSAGES)
def test_a_summary_counts_and_names_what_was_not_replaced(said):
    def face(status: FaceStatus, why: str = "") -> Face:
        return Face(np.zeros(4), 1.0, status=status, reason=why)

    faces = [face(FaceStatus.ANONYMIZED), face(FaceStatus.OBFUSCATED, "smaller than 12 px"), face(FaceStatus.KEPT)]
    told = summary(faces, said, zones=2)
    for part in (said["many_faces"].format(3), said["count_new"].format(1), said["reason_small"],
                 said["number"].format(2), said["number"].format(3), said["zones"].format(2)):  # fmt: skip
        assert part in told
    assert "smaller" not in told or said is MESSAGES["en"]
    assert summary([], said) == said["no_face"]
    assert reason(face(FaceStatus.OBFUSCATED, "composing failed: x"), said) == said["reason_failed"]
    assert said["one_face"] in summary(faces[:1], said)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ImageTooLargeError("a.png", "too many"), "more than 100 million pixels"),
        (AnimatedImageError("a.gif", "more than one"), "one photo at a time"),
        (UnreadableImageError("a.jpg", "text, not an image"), "damaged, or no photo"),
        (UnreadableImageError("a.avif", "HDR (PQ): convert it to SDR first"), "convert it to SDR"),
        (UnreadableVideoError("a.mp4", "damaged at 1 s"), "damaged, or no video"),
        (UnwritableImageError("a.jpg", "no space left"), "could not be read or written"),
    ],
)
def test_an_error_says_what_is_wrong_and_names_no_file(error, cause):
    told = unusable(error, MESSAGES["en"])
    assert cause in told and "a." not in told.split()


def test_time_left_is_told_once_it_is_known():
    said = MESSAGES["en"]
    assert time_left(3, 0, said) == time_left(3, 1, said) == ""
    assert time_left(10, 0.25, said) == "about 30 s left"
    assert time_left(100, 0.25, said) == "about 5 min left"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("de-AT,de;q=0.9,en;q=0.8", "de"), ("nl,fr;q=0.5", "fr"), ("*", "en"), ("", "en"), (None, "en"), ("JA", "ja")],
)
def test_the_language_is_the_first_that_is_known(accepted, language):
    assert words(accepted) is MESSAGES[language]
