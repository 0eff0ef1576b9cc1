"""A report: sums, tables, plots and a card's results, from records made by hand."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from huggingface_hub import ModelCard

from faceanon_hub import CheckpointError, FaceAnonError
from faceanon_hub.evaluation.evaluator import DEFAULT, Task
from faceanon_hub.evaluation.report import VALUES, plot, summarize, to_markdown, worst_sheet
from faceanon_hub.hub import DEFAULT_ROW, TABLE_END, TABLE_START, eval_results, make_card, renew_card
from faceanon_hub.metrics import frechet_distance

ROOT = Path(__file__).parents[2]
METHODS = ["original", "blur", DEFAULT]
PEOPLE, PHOTOS = 6, 4


def record_of(random: np.random.Generator, person: np.ndarray, tone: str) -> dict:
    embedding = (person + 0.02 * random.normal(size=16)).astype(np.float32)
    feature = random.normal(size=8).astype(np.float32)
    rows = {}
    for number, name in enumerate(METHODS):
        values = {key: number + random.uniform(0, 0.5) for key in VALUES}
        values |= {"same_sex": float(number < 2), "replaced": 1.0} | ({"grown_up": 1.0} if tone == "dark" else {})
        rows[name] = {"values": {**values, "redetected": 1.0, "redetected_independent": float("nan")}}
        rows[name]["feature"] = feature + number
    rows["blur"]["values"].pop("expression")
    rows["blur"]["embedding"] = random.normal(size=16).astype(np.float32)
    rows[DEFAULT]["embedding"] = embedding
    photo = {"tone": tone, "independent": 2, "covered": 1, "hidden": 1}
    return {"photo": photo, "methods": rows, "embedding": embedding, "feature": feature, "second": embedding + 1}


@pytest.fixture(scope="module")
def measured() -> tuple[list[Task], list[dict]]:
    random = np.random.default_rng(0)
    tasks, records = [], []
    for person in range(PEOPLE):
        face = random.normal(size=16)
        for _ in range(PHOTOS):
            tasks.append(Task(len(tasks), Path(f"{person}/{len(tasks)}.png"), str(person), True, Path("x")))
            records.append(record_of(random, face, ["dark", "medium", "light"][person % 3]))
    tasks.append(Task(len(tasks), Path("broken.png"), "x", False, Path("x")))
    records.append({"failed": "unreadable: no image"})
    return tasks, records


@pytest.fixture(scope="module")
def summary(measured) -> dict:
    return {**summarize(*measured, METHODS), "dataset": "test", "checkpoint": "bundled"}


def test_photos_and_what_was_left_out_are_counted_as_json(summary):
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["photos"] == PEOPLE * PHOTOS
    assert summary["left_out"] == {"broken.png": "unreadable: no image"}
    assert summary["coverage"] == {"independent": 48, "covered": 0.5, "hidden": 24}
    assert summary["tones"] == {"dark": 8, "medium": 8, "light": 8}


def test_every_row_states_n_failures_median_and_interval(summary):
    assert list(summary["methods"]) == METHODS
    blur, ours = summary["methods"]["blur"], summary["methods"][DEFAULT]
    assert (blur["n"], blur["failures"]) == (24, 24)
    assert (ours["n"], ours["failures"]) == (24, 0)
    assert "expression" not in blur["values"]
    for value in ours["values"].values():
        assert 2 <= value["low"] <= value["median"] <= value["high"] <= 2.5
        assert value["n"] == 24
    assert ours["rates"] == {"redetected": 1.0, "replaced": 1.0, "same_sex": 0.0, "grown_up": 1.0}
    assert ours["children"] == 8
    assert ours["tones"]["dark"]["n"] == 8


def test_realism_beside_photos_of_other_people_does_not_reward_copies(measured, summary):
    copied = summary["methods"]["original"]["realism"]
    seen = [(int(task.identity), one["feature"]) for task, one in zip(*measured, strict=True) if "failed" not in one]
    halves = [np.stack([feature for person, feature in seen if person % 2 == half]) for half in (0, 1)]
    assert copied["others"] == pytest.approx(frechet_distance(*halves), rel=1e-6) and copied["others"] > 1
    assert copied["frechet"] < 1e-3
    one = summarize(measured[0][:PHOTOS], measured[1][:PHOTOS], METHODS)["methods"]["original"]["realism"]
    assert "others" not in one and "frechet" in one


def test_identity_and_realism_are_those_of_the_records(summary):
    methods = summary["methods"]
    assert methods["original"]["identity"]["auc"] == methods[DEFAULT]["identity"]["auc"] == 1
    assert 0.3 < methods["blur"]["identity"]["auc"] < 0.7
    assert methods["original"]["realism"]["frechet"] == pytest.approx(0, abs=1e-3)
    assert methods[DEFAULT]["realism"]["frechet"] == pytest.approx(8 * 2**2, rel=1e-3)  # moved by 2 in 8 directions
    assert summary["diversity"] == {"n": 24, "distance": pytest.approx(4)}


def test_nothing_measured_is_an_error(measured):
    tasks, records = measured
    with pytest.raises(FaceAnonError, match="none of 1 photos could be measured: unreadable"):
        summarize(tasks[-1:], records[-1:], METHODS)


def test_tables_hold_every_row_and_metric(summary):
    text = to_markdown(summary)
    for name in METHODS:
        assert len(re.findall(rf"^\| {re.escape(name)} \|", text, re.M)) == 7
    for title, _ in VALUES.values():
        assert f" {title} |" in text
    widths = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert len(set(widths)) <= 8  # rows as wide as their heads
    assert "not FID" in text
    assert not re.search(r"\bnan\b", text.lower())


def test_fid_and_kid_stand_where_they_were_measured(measured, summary):
    assert "FID |" not in to_markdown(summary) and "fid" not in summary["methods"][DEFAULT]["realism"]
    tasks, records = copy.deepcopy(measured)
    for record in records[:-1]:
        for entry in (record, *record["methods"].values()):
            entry["inception"] = 2 * entry["feature"]
    fuller = summarize(tasks, records, METHODS)
    assert fuller["methods"][DEFAULT]["realism"]["fid"] == pytest.approx(4 * 8 * 2**2, rel=1e-3)
    assert fuller["methods"]["original"]["realism"]["kid"] < 0 < fuller["methods"][DEFAULT]["realism"]["kid"]
    assert "| FID | KID x 1000 |" in to_markdown(fuller)


def test_a_metric_that_no_face_has_takes_no_column(measured, summary):
    assert "| Blendshapes |" in to_markdown(summary)
    tasks, records = copy.deepcopy(measured)
    for record in records[:-1]:
        for row in record["methods"].values():
            del row["values"]["blendshapes_all"]
    assert "Blendshapes" not in to_markdown(summarize(tasks, records, METHODS))


def test_every_metric_is_drawn(summary, tmp_path):
    plot(summary, tmp_path / "plots")
    assert {path.stem for path in (tmp_path / "plots").iterdir()} == set(VALUES)
    assert PIL.Image.open(tmp_path / "plots" / "light.png").size[0] > 500


def test_the_sheet_shows_the_worst_first(measured, pipe):
    class Painter:
        """Stands for the evaluator: paints a photo's number."""

        def __init__(self) -> None:
            self.pipe = pipe

        def anonymized(self, task: Task, name: str) -> tuple[np.ndarray, np.ndarray]:
            level = 10 * int(task.path.stem)
            return np.full((128, 128, 3), level, np.uint8), np.full((128, 128, 3), level, np.uint8)

    tasks, records = measured
    sheet = np.asarray(worst_sheet(Painter(), tasks, records))
    errors = [
        record["methods"][DEFAULT]["values"][next(iter(VALUES))] if "methods" in record else 0 for record in records
    ]
    assert sheet[100, 64, 0] == 10 * int(np.argmax(errors))


def test_a_card_is_made_of_the_row_of_the_defaults(summary):
    card = make_card("somebody/faces", summary)
    found = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert len(found) == 10
    assert found["Mated-pair AUC (dlib; 0.5 is hidden)"] == 1
    for name, value in found.items():
        assert f"| {name} | {value} |" in card.text
    assert "Not measured" in make_card("somebody/faces").text
    assert DEFAULT_ROW == DEFAULT
    (first, *_) = eval_results(summary)
    assert first.metric_name.startswith("Expression error (52 blendshapes")
    assert first.metric_value == round(summary["methods"][DEFAULT]["values"]["blendshapes_all"]["median"], 3)


def test_a_card_is_renewed_between_its_marks(summary, tmp_path):
    path = tmp_path / "card.md"
    path.write_text(f"---\nlicense: other\n---\n\n# Mine\n\n{TABLE_START}\nold\n{TABLE_END}\n\nEnd\n")
    for _ in range(2):
        renew_card(path, summary)
        card = ModelCard.load(path)
        assert card.text.count("| measure | value |") == 1
        assert "old" not in card.text and "# Mine" in card.text and "End" in card.text
        assert len(card.data.eval_results) == 10 and card.data.license == "other"
    path.write_text("# no marks\n")
    with pytest.raises(CheckpointError, match="marks"):
        renew_card(path, summary)


def test_the_figures_of_our_card_are_those_measured():
    """And there are none where nothing was."""
    report, card = ROOT / "benchmarks" / "evaluation.json", ModelCard.load(ROOT / "model_card.md")
    results = eval_results(json.loads(report.read_text())) if report.is_file() else []
    wanted = {result.metric_name: result.metric_value for result in results}
    assert {result.metric_name: result.metric_value for result in card.data.eval_results or []} == wanted
    table = card.text.split(TABLE_START)[1].split(TABLE_END)[0]
    assert table.count("\n| ") == (len(wanted) + 1 if wanted else 0)
    for name, value in wanted.items():
        assert f"| {name} | {value} |" in table
