"""What was kept, in words."""

import pytest

from faceanon_hub import PhotoEditor
from faceanon_hub.demo.panel import describe
from faceanon_hub.demo.words import MESSAGES, status


@pytest.fixture(scope="module")
def editor(pipe, portrait) -> PhotoEditor:
    made = PhotoEditor(pipe, portrait, seed=3)
    made.render()
    return made


@pytest.mark.parametrize("language", MESSAGES)
def test_every_face_is_described_in_words_without_figures(editor, language):
    told, words = describe(editor, MESSAGES[language]), MESSAGES[language]
    assert told.startswith(f"**{words['face'].format(1)}**: ")
    assert told.endswith(f"*{words['no_guarantee']}*")
    assert not {"%", "°", "Δ"} & set(told)
    assert words["color_kept"] in told
    assert words["recognized"] in told or words["not_recognized"] in told


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"expression": 3.9, "light": 9.0, "ciede2000": 0.9, "distance": 0.59}, ["kept"] * 3 + ["recognized"]),
        ({"expression": 4.1, "light": 12.0, "ciede2000": 2.0, "distance": 0.61}, ["roughly"] * 3 + ["not_recognized"]),
        ({"expression": 9.0, "light": 90.0, "ciede2000": 9.0}, ["changed"] * 3 + ["similarity_unknown"]),
        ({"light": float("nan"), "ciede2000": 0.0}, ["unknown", "diffuse", "kept", "similarity_unknown"]),
    ],
)
def test_words_follow_the_figures(editor, monkeypatch, values, expected):
    monkeypatch.setattr(editor, "kept_of", lambda number, recognizer: values)
    words = MESSAGES["en"]
    keys = [f"expression_{expected[0]}", f"light_{expected[1]}", f"color_{expected[2]}", expected[3]]
    told = describe(editor, words)
    assert all(words[key] in told for key in keys)
    for key in ("expression_changed", "light_changed", "color_changed", "recognized", "not_recognized"):
        assert (words[key] in told) == (key in keys)


def test_a_face_that_was_not_painted_says_why(pipe, portrait):
    editor = PhotoEditor(pipe, portrait, seed=3)
    editor.keep(0)
    editor.render()
    assert describe(editor, MESSAGES["en"]).startswith("**Face 1**: as it was (as you asked).")
    editor.keep(0, False)
    editor.faces[0].landmarks = None
    editor.render()
    assert status(editor.faces[0], MESSAGES["de"]) == "verborgen"
