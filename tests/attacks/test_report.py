"""Figures, words and plots, from faces made by hand."""

import json
import sys
from unittest.mock import Mock

import numpy as np
import PIL.Image
import pytest
from matplotlib.axes import Axes

from faceanon_hub import MissingDependencyError, UnwritableImageError
from faceanon_hub.attacks import (
    Observations,
    attack,
    count_steps,
    in_words,
    plot,
    prepare,
    save_embeddings,
    to_markdown,
)
from faceanon_hub.attacks.report import ATTACKERS, FIGURES, NUMBERS, SEEDS


@pytest.fixture(scope="module")
def seen() -> Observations:
    """Twelve people on three photos each; under the default setting half of the person shows, under one seed none."""
    random = np.random.default_rng(0)
    people = np.repeat(np.arange(12), 3)
    person = random.normal(size=(12, 8))[people]

    def faces(strength: float) -> dict[str, np.ndarray]:
        return {view: strength * person + 0.2 * random.normal(size=person.shape) for view in ("whole", "alone")}

    errors = {"points": random.uniform(2, 3, 36), "ratios": np.full(36, np.nan)}
    return Observations(
        people=people,
        faces={"original": faces(1), "default": faces(0.5), "one seed": faces(0)},
        numbers={"light": person, "color": random.normal(size=(36, 9))},
        expression={name: errors for name in ("original", "default", "one seed")},
        left_out={"no face": 2},
    )


@pytest.fixture(scope="module")
def summary(seen) -> dict:
    steps: list[int] = []
    found = attack(seen, seed=1, on_step=lambda: steps.append(1))
    assert len(steps) == count_steps(seen)
    return found


def test_a_report_is_json_and_the_same_each_time(seen, summary):
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary == attack(seen, seed=1)
    assert summary["photos"] == 36 and summary["people"] == 12 and summary["left_out"] == {"no face": 2}


def test_what_was_planted_is_what_is_reported(summary):
    for view in ("whole", "alone"):
        shown, hidden = (summary["attacks"][name][view] for name in ("default", "one seed"))
        assert list(shown) == list(ATTACKERS)
        for attacker in ATTACKERS:
            assert shown[attacker]["auc"]["value"] > 0.75 > 0.65 > hidden[attacker]["auc"]["value"], attacker
    assert summary["numbers"]["light"]["auc"]["value"] == 1 and summary["numbers"]["color"]["auc"]["low"] < 0.5
    assert set(summary["seeds"]["whole"]) == set(SEEDS)
    assert summary["expression"]["default"]["ratios"]["value"] is None


def test_tables_and_words_hold_every_attacker(summary):
    text, lines = to_markdown(summary), in_words(summary)
    for name in ("original", "default", "one seed"):
        assert text.count(f"\n| {name} |") == 2 * len(FIGURES) + 2
    assert all(told in text for told in (*SEEDS.values(), NUMBERS["light"], "2 left out"))
    assert "nan" not in text.lower() and "None" not in text
    assert [line.split(":")[0] for line in lines[1 : 1 + len(ATTACKERS)]] == list(ATTACKERS)
    assert "well above chance" in lines[1] and "not shown to be better than chance" in "".join(lines)


def test_plots_are_drawn_and_settings_that_draw_faces_are_points_of_the_trade_off(summary, tmp_path, monkeypatch):
    errorbar = Mock(side_effect=Axes.errorbar)
    monkeypatch.setattr(Axes, "errorbar", lambda *given, **named: errorbar(*given, **named))
    plot(summary, tmp_path / "plots")
    assert {call.kwargs["label"] for call in errorbar.call_args_list} == {"default", "one seed"}
    for name in ("roc", "cmc", "trade-off"):
        assert np.asarray(PIL.Image.open(tmp_path / "plots" / f"{name}.png")).std() > 10


def test_embeddings_are_written_only_on_request_and_whole(seen, tmp_path):
    save_embeddings(seen, tmp_path / "embeddings.npz")
    with np.load(tmp_path / "embeddings.npz") as file:
        assert np.array_equal(file["faces/default/alone"], seen.faces["default"]["alone"])
        assert np.array_equal(file["people"], seen.people) and "numbers/light" in file.files
    assert [path.name for path in tmp_path.iterdir()] == ["embeddings.npz"]
    with pytest.raises(UnwritableImageError, match="nowhere"):
        save_embeddings(seen, tmp_path / "nowhere" / "embeddings.npz")


def test_what_is_missing_is_said_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableImageError, match="file"):
        prepare(tmp_path / "file")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match="faceanon-hub.eval"):
        prepare(tmp_path / "out")
    assert not (tmp_path / "out").exists()
