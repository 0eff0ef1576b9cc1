"""What README and docs/ say: links lead somewhere, files exist, examples run, figures were measured."""

import doctest
import importlib
import inspect
import re
import tomllib
import types
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from faceanon_hub import FaceAnonPipeline
from faceanon_hub.attacks import cross_examine
from faceanon_hub.component import Component

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FOLDERS = ("", "faceanon_hub", "faceanon_hub/demo", "tests", "docs")  # that a page may leave out before a file's name
NEW = ("/sharpness.py", "/test_sharpness.py", "/cosine.py", "/contrast.py")  # of docs/extending.md
pages = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.name if page.parent == ROOT else f"docs/{page.name}"
)


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pages
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.S)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pages
def test_files_that_are_named_exist(page):
    names = set(re.findall(r"`([\w/]+\.py)`", page.read_text()))
    if page.name in ("CONTRIBUTING.md", "how-it-works.md"):  # elsewhere folders may be those of a user
        names |= set(re.findall(r"`([\w/]+/)`", page.read_text()))
    for name in names:
        assert name.endswith(NEW) or any((ROOT / folder / name).exists() for folder in FOLDERS), name


@pages
def test_tests_that_are_cited_exist(page):
    cited = set(re.findall(r"`(test_\w+)`", page.read_text()))
    source = "".join(path.read_text() for path in ROOT.glob("tests/**/test_*.py"))
    assert cited <= set(re.findall(r"^def (test_\w+)", source, re.M))


def test_the_index_lists_every_page():
    index = (ROOT / "docs" / "README.md").read_text()
    assert {page.name for page in PAGES if page.parent != ROOT} - {"README.md"} <= set(re.findall(r"\((\S+)\)", index))


def test_every_argument_and_every_extra_has_its_row():
    rows = " ".join(re.findall(r"^\| (`[^|]+) \|", (ROOT / "docs" / "options.md").read_text(), re.M))
    arguments = set(inspect.signature(FaceAnonPipeline.__call__).parameters)
    arguments = {name for name in arguments if "callback" not in name} - {"self", "image", "return_dict"}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert arguments | set(extras) - {"dev"} <= set(re.findall(r"`(\w+)`", rows))


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_figures_of_the_readme_are_those_of_the_evaluation():
    section = (ROOT / "README.md").read_text().split("## How well it does")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    evaluation = (ROOT / "benchmarks" / "evaluation.md").read_text()
    assert len(rows) > 10
    for column, method in enumerate(("original", "blur", "default", "privacy 0"), 1):
        lines = re.findall(rf"^\| {method} \|(.*)\|$", evaluation, re.M)
        known = {re.split(r"[ ,(]", cell.strip())[0] for line in lines for cell in line.split("|")}
        assert {row[column].removesuffix(" %") for row in rows[2:]} <= known, method


def test_the_first_example_of_the_readme_runs(portrait, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PIL.Image.fromarray(portrait[20:240, 130:300]).save("photo.jpg", quality=95)
    (code, *_) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    exec(code, {})
    assert PIL.Image.open("anonymized.jpg").size == (170, 220)


def test_the_example_of_the_editor_runs(pipe, portrait, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(FaceAnonPipeline, "from_pretrained", lambda: pipe)
    PIL.Image.fromarray(portrait).save("photo.jpg", quality=95)
    (*_, code) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "page.md").read_text(), re.S)
    exec(code, {})
    before, after = (np.asarray(PIL.Image.open(name)).astype(int) for name in ("photo.jpg", "new.jpg"))
    changed = np.abs(before - after).mean(2)
    assert changed[300:500, :400].mean() > 10 > 4 > changed[60:180, 180:270].mean()  # the zone; the face


@pytest.mark.parametrize("name", ["bootstrap", "color", "coverage", "expression", "identity", "pose", "realism"])
def test_the_examples_of_a_metric_give_what_they_say(name):
    module = importlib.import_module(f"faceanon_hub.metrics.{name}")
    codes = [
        code for part in vars(module).values() for code in re.findall(r"```py\n(.*?)```", str(part.__doc__), re.S)
    ]
    assert codes
    for code in codes:
        example = doctest.DocTestParser().get_doctest(inspect.cleandoc(code), {}, name, None, None)
        assert doctest.DocTestRunner().run(example).failed == 0


@pytest.fixture(scope="module")
def examples() -> list[types.SimpleNamespace]:
    """The modules that docs/extending.md shows: a metric, an attacker and a stage."""
    codes = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(), re.S)
    made = []
    for code in codes:
        names = {"__name__": "faceanon_hub.example", "__package__": "faceanon_hub"}
        exec(code, names)
        made.append(types.SimpleNamespace(**names))
    assert len(made) == 3
    return made


def test_the_metric_of_the_docs_measures(examples, portrait):
    crop, region = portrait[40:168, 160:288], np.ones((128, 128), np.uint8)
    soft = [examples[0].sharpness_ratio(cv2.GaussianBlur(crop, (0, 0), s), crop, region) for s in (1, 2)]
    assert examples[0].sharpness_ratio(crop, crop, region) == pytest.approx(1) and 0.7 > soft[0] > soft[1] > 0


def test_the_attacker_of_the_docs_attacks(examples):
    random, people = np.random.default_rng(0), np.repeat(np.arange(20), 3)
    originals = random.normal(size=(20, 8))[people] + 0.1 * random.normal(size=(60, 8))
    found = cross_examine(examples[1].Cosine(), originals + random.normal(0, 30, 8), originals, people)
    nothing = cross_examine(examples[1].Cosine(), random.normal(size=(60, 8)), originals, people)
    assert found.auc() > 0.99 and abs(nothing.auc() - 0.5) < 0.1


def test_the_stage_of_the_docs_is_a_component(examples, tmp_path):
    kind = examples[2].ContrastTransfer
    assert issubclass(kind, Component)
    kind(strength=0.5).save_pretrained(tmp_path)
    assert kind.from_pretrained(tmp_path).config.strength == 0.5
    with pytest.raises(ValueError, match="strength"):
        kind(strength=2)
    random, whole = np.random.default_rng(0), np.ones((64, 64), np.float32)
    old, new = (random.normal(128, s, (64, 64, 1)).repeat(3, 2).clip(0, 255).astype(np.uint8) for s in (20, 24))
    wanted = kind().estimate(old, whole)
    assert kind().estimate(kind()(new, whole, whole, wanted, 1.0), whole) == pytest.approx(wanted, abs=0.5)
    assert np.array_equal(kind()(new, whole, whole, wanted, 0.0), new)
