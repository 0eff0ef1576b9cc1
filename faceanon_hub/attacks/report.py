"""How far each attacker came, as figures, tables in plain words, and plots."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import metrics
from ..errors import MissingDependencyError
from ..evaluation.report import plain, table
from ..files import naming, write_arrays
from .capture import EXPRESSION, SETTINGS, VIEWS, Observations
from .coefficients import identify_numbers
from .linkage import link
from .parrot import Parrot
from .recognizer import recognize
from .reconstruction import Perceptron, Ridge
from .scores import FALSE_ACCEPTS, cross_examine
from .seeds import compare_seeds

# Name in the report: what the attacker does.
ATTACKERS = {
    "recognizer": "takes a recognizer as it comes and looks among the originals of everybody",
    "parrot": "trained the recognizer's last step again, on originals and anonymized photos of other people",
    "reconstruction": "learned, from other people, the linear way back from anonymized to original embeddings",
    "reconstruction, network": "learned the way back with a small network",
    "linkage": "has no originals and compares anonymized photos with one another",
    "linkage, trained": "has trained that, too, on anonymized photos of other people",
}
FIGURES = {
    "auc": ("How much more alike two photos of one person look (AUC)", "50 % is chance, 100 % is always."),
    "rank1": (
        "How often the nearest of the enrolled is the person",
        "One part of the people is enrolled, that from which trained attackers did not learn; chance in brackets.",
    ),
    "tar": ("Pairs of one person that are recognized where 1 % of strangers are mistaken", "1 % is chance."),
}
NUMBERS = {
    "look": "what the face shows: pose, expression, colour, light, hair on the forehead, glasses, beard, sex and age",
    "light": "the light coefficients",
    "color": "the skin colour coefficients",
    "tones": "the tones of brows, irises, lips and lashes, unevenness and patches of the skin",
    "shape": "the landmarks, upright and of one size",
    "all together": "all of them",
}
SEEDS = {
    "one": "strangers with one seed taken for one person, at the recognizer's own 1 % threshold",
    "each": "strangers with a seed each, at the same threshold",
    "calibrated": "strangers with one seed, where 1 % of those with a seed each are",
    "detected": "detecting the one seed (AUC)",
}
DIGITS = 4  # of every figure in the JSON
TRADE_OFF = ("recognizer", "parrot")  # drawn against expression


def count_steps(seen: Observations) -> int:
    """How often [`attack`] reports progress."""
    return len(VIEWS) * (1 + (len(seen.faces) - 1) * len(ATTACKERS) + _seeds_known(seen)) + 1


def attack(seen: Observations, seed: int = 0, on_step: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Lets every attacker try.

    Args:
        seen (`Observations`):
            What they see.
        seed (`int`, *optional*, defaults to `0`):
            Decides folds, weights of networks and resamples.
        on_step (`Callable`, *optional*):
            Called after each attack, [`count_steps`] times.

    Returns:
        `dict`: ready for JSON, figures only. `"attacks"` by setting, view and attacker and `"numbers"` by kind hold
        those of [`Scores.summary`], `"seeds"` by view those of [`compare_seeds`]; `"expression"` by setting the
        median errors and their intervals, and the share of faces found again.
    """
    people = seen.people
    summary: dict[str, Any] = {
        "photos": len(people),
        "people": len(np.unique(people)),
        "left_out": seen.left_out,
        "false_accepts": FALSE_ACCEPTS.tolist(),
        "attacks": {},
        "expression": {},
    }
    originals = seen.faces["original"]["whole"]
    for name, views in seen.faces.items():
        summary["attacks"][name] = {}
        for view, probes in views.items():
            found = {"recognizer": recognize(originals, probes, people, seed)}
            on_step()
            if SETTINGS[name].kind != "original":
                for attacker, learner in _learners(seed).items():
                    found[attacker] = cross_examine(learner, probes, originals, people, seed).summary(seed)
                    on_step()
                for attacker, trained in {"linkage": None, "linkage, trained": Parrot()}.items():
                    found[attacker] = link(probes, people, trained, seed)
                    on_step()
            summary["attacks"][name][view] = found
        summary["expression"][name] = {
            kind: dict(zip(("value", "low", "high"), metrics.median_interval(errors), strict=True))
            for kind, errors in seen.expression[name].items()
        }
        summary["expression"][name]["found_again"] = float(np.isfinite(seen.expression[name]["points"]).mean())
    summary["numbers"] = identify_numbers(seen.numbers, people, seed)
    on_step()
    if _seeds_known(seen):
        summary["seeds"] = {}
        for view in VIEWS:
            original, one, each = (seen.faces[name][view] for name in ("original", "one seed", "default"))
            summary["seeds"][view] = compare_seeds(original, one, each, people, seed)
            on_step()
    return json.loads(json.dumps(plain(summary)), parse_float=lambda text: round(float(text), DIGITS))


def _learners(seed: int) -> dict[str, Any]:
    return {"parrot": Parrot(), "reconstruction": Ridge(), "reconstruction, network": Perceptron(seed)}


def _seeds_known(seen: Observations) -> bool:
    return {"one seed", "default"} <= set(seen.faces)


def in_words(summary: dict[str, Any]) -> list[str]:
    """A line for each attacker, on the pipeline's default or, without it, the first setting that hides anything."""
    name = _main(summary)
    lines = [f"{name}, whole picture, {summary['photos']} photos of {summary['people']} people:"]
    for attacker, found in summary["attacks"][name]["whole"].items():
        first = found["rank1"]
        lines.append(
            f"{attacker}: {_verdict(found['auc'])}, AUC {_range(found['auc'])}; the nearest of "
            f"{found['enrolled']:.0f} is the person in {_share(first)}, by chance in {100 * first['chance']:.1f} %"
        )
    for kind, found in summary["numbers"].items():
        lines.append(f"{NUMBERS[kind]}: {_verdict(found['auc'])}, AUC {_range(found['auc'])}")
    if "seeds" in summary:
        found = summary["seeds"]["whole"]
        lines.append(
            f"one seed for all: {_share(found['one'])} of strangers look like one person, with a seed each "
            f"{_share(found['each'])}; detecting the seed: {_verdict(found['detected'])}, "
            f"AUC {_range(found['detected'])}"
        )
    return lines


def to_markdown(summary: dict[str, Any], recognizer: str = "dlib") -> str:
    """The tables of a report of [`attack`]; `recognizer` is the one whose embeddings all attackers see."""
    lines = _introduction(summary, recognizer)
    for section in (_figures, _enrolled, _numbers, _seeds, _expression):
        lines += section(summary)
    return "\n".join(lines) + "\n"


def _introduction(summary: dict[str, Any], recognizer: str) -> list[str]:
    return [
        "# Attacks",
        "",
        f"{summary['photos']} photos of {summary['people']} people, the largest face of each; "
        f"{sum(summary['left_out'].values())} left out. Every figure with its 95 % interval over people, resampled. "
        "Attackers that are trained are trained on other people. A photo is never compared with itself. "
        f"All use the embeddings of {recognizer}.",
        "",
        *(f"- **{name}** {words}." for name, words in ATTACKERS.items()),
        "",
        "*New face alone*: all but the new face is grey, so that hair, clothes and place give nothing away.",
    ]


def _figures(summary: dict[str, Any]) -> list[str]:
    lines = []
    for key, (title, words) in FIGURES.items():
        for view, name_of_view in VIEWS.items():
            rows = []
            for name, views in summary["attacks"].items():
                found = [views[view].get(attacker) for attacker in ATTACKERS]
                if key == "rank1":
                    found = [None if row is None else _alike(row) for row in found]
                rows.append([name, *("-" if row is None else _cell(row[key], key == "rank1") for row in found)])
            lines += ["", f"## {title}, {name_of_view}", "", words, "", *table(["", *ATTACKERS], rows)]
    return lines


def _enrolled(summary: dict[str, Any]) -> list[str]:
    rows = [
        [
            name,
            *(_cell(views[view]["recognizer"]["rank1"], True) for view in VIEWS),
            f"{views['whole']['recognizer']['enrolled']:.0f}",
        ]
        for name, views in summary["attacks"].items()
    ]
    columns = ["", *(f"nearest is the person, {name}" for name in VIEWS.values()), "enrolled"]
    return ["", "## The recognizer with everybody enrolled", "", *table(columns, rows)]


def _numbers(summary: dict[str, Any]) -> list[str]:
    rows = [
        [
            NUMBERS[kind],
            _range(row["auc"], 100, 1, " %"),
            _range(row["rank1"], 100, 1, " %"),
            f"{100 * row['rank1']['chance']:.1f} %",
            _range(row["tar"], 100, 1, " %"),
        ]
        for kind, row in summary["numbers"].items()
    ]
    heading = ["", "## The numbers that are taken from an original face", ""]
    heading += ["The attacker has no picture, only these numbers, and is trained on other people.", ""]
    return heading + table(["", "AUC", "first place", "by chance", "accepted"], rows)


def _seeds(summary: dict[str, Any]) -> list[str]:
    if "seeds" not in summary:
        return []
    rows = [
        [
            words,
            *(_range(summary["seeds"][view][key], 100, 1, " %") for view in VIEWS),
            f"{100 * summary['seeds']['whole'][key]['chance']:.0f} %",
        ]
        for key, words in SEEDS.items()
    ]
    return ["", "## One seed for all photos", "", *table(["", *VIEWS.values(), "without effect"], rows)]


def _expression(summary: dict[str, Any]) -> list[str]:
    rows = [
        [
            name,
            *("-" if row[kind]["value"] is None else _range(row[kind]) for kind in EXPRESSION),
            f"{row['found_again']:.0%}",
        ]
        for name, row in summary["expression"].items()
    ]
    heading = ["", "## Expression", "", "Median errors of the mesh found again in the anonymized photo.", ""]
    return heading + table(["", *EXPRESSION.values(), "found again"], rows)


def prepare(folder: Path) -> None:
    """Makes sure, before hours of work, that a report can be drawn and written.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        UnwritableImageError: the folder cannot be made.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "faceanon-hub[eval]") from error
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)


def plot(summary: dict[str, Any], folder: Path) -> None:
    """Draws `roc.png`, `cmc.png` and `trade-off.png` of a report of [`attack`] into a folder, made if missing."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    attacks, main = summary["attacks"], _main(summary)
    for stem, draw in {"roc": _draw_roc, "cmc": _draw_cmc}.items():
        figure = Figure(figsize=(11, 9), layout="constrained")
        for line, (view, title) in zip(figure.subplots(2, 2), VIEWS.items(), strict=True):
            draw(line[0], {name: views[view]["recognizer"] for name, views in attacks.items()}, summary)
            line[0].set_title(f"recognizer, {title}")
            draw(line[1], {name: _alike(row) for name, row in attacks[main][view].items()}, summary)
            line[1].set_title(f"{main}, {title}")
        figure.savefig(folder / f"{stem}.png", dpi=120)
    figure = Figure(figsize=(11, 9), layout="constrained")
    for line, kind in zip(figure.subplots(2, 2, sharey=True), EXPRESSION, strict=True):
        for axes, attacker in zip(line, TRADE_OFF, strict=True):
            _draw_trade_off(axes, summary, attacker, kind)
            axes.set_title(f"{attacker}, {VIEWS['whole']}")
    figure.savefig(folder / "trade-off.png", dpi=120)


def _draw_roc(axes: Any, rows: dict[str, dict[str, Any]], summary: dict[str, Any]) -> None:
    rates = np.array(summary["false_accepts"])
    for name, row in rows.items():
        axes.plot(rates[1:], row["curve"][1:], label=f"{name} ({row['auc']['value']:.2f})")
    axes.plot(rates[1:], rates[1:], color="#8b949e", linestyle="--", label="chance (0.50)")
    axes.set(xscale="log", xlabel="strangers taken for one person", ylabel="pairs of one person recognized")
    axes.set(xlim=(1e-3, 1), ylim=(0, 1))
    _finish(axes)


def _draw_cmc(axes: Any, rows: dict[str, dict[str, Any]], summary: dict[str, Any]) -> None:
    for name, row in rows.items():
        ranks = np.arange(1, len(row["found_within"]) + 1)
        axes.plot(ranks, row["found_within"], label=name)
    axes.plot(ranks, row["chance_within"], color="#8b949e", linestyle="--", label="chance")
    axes.set(xlabel=f"among the first, of {row['enrolled']:.0f} enrolled", ylabel="people found", ylim=(0, 1))
    _finish(axes)


def _draw_trade_off(axes: Any, summary: dict[str, Any], attacker: str, kind: str) -> None:
    references = {"chance": 0.5}
    for number, (name, views) in enumerate(summary["attacks"].items()):
        expression, row = summary["expression"][name][kind], views["whole"].get(attacker)
        if row is None:
            continue
        x, y = expression["value"], row["auc"]["value"]
        if SETTINGS[name].kind != "pipeline" or x is None:  # has no expression, or the original's
            references[name] = y
            continue
        across = [[x - expression["low"]], [expression["high"] - x]]
        upright = [[y - row["auc"]["low"]], [row["auc"]["high"] - y]]
        axes.errorbar(x, y, upright, across, fmt="o", color=f"C{number}", capsize=2, label=name)
    for name, y in references.items():
        axes.axhline(y, color="#8b949e", linestyle="--")
        axes.annotate(name, (0.01, y), xycoords=("axes fraction", "data"), va="bottom", fontsize=8)
    axes.set(xlabel=f"expression error: {EXPRESSION[kind]}", ylim=(0.45, 1.05))
    axes.set_xlim(left=0)
    axes.set_ylabel("AUC (less is better hidden)")
    _finish(axes)


def _finish(axes: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)


def save_embeddings(seen: Observations, path: Path) -> None:
    """Writes what attackers see, whole or not at all. It is biometric: whoever has it can find the people.

    The `.npz` file holds `people`, `faces/SETTING/VIEW`, `numbers/KIND` and `expression/SETTING/KIND`.

    Raises:
        UnwritableImageError: it cannot be written.
    """
    arrays: dict[str, Any] = {
        f"faces/{name}/{view}": a for name, views in seen.faces.items() for view, a in views.items()
    }
    arrays |= {f"numbers/{kind}": a for kind, a in seen.numbers.items()}
    arrays |= {f"expression/{name}/{kind}": a for name, kinds in seen.expression.items() for kind, a in kinds.items()}
    write_arrays(path, people=seen.people, **arrays)


def _main(summary: dict[str, Any]) -> str:
    hiding = [name for name in summary["attacks"] if SETTINGS[name].kind != "original"] or ["original"]
    return "default" if "default" in hiding else hiding[0]


def _verdict(auc: dict[str, float]) -> str:
    """What an interval says, in words."""
    if auc["low"] <= 0.5:
        return "not shown to be better than chance"
    return "a little better than chance" if auc["value"] < 0.65 else "well above chance"


def _range(figure: dict[str, float], factor: float = 1, digits: int = 2, unit: str = "") -> str:
    value, low, high = (f"{factor * figure[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value}{unit} ({low}–{high})"


def _alike(found: dict[str, Any]) -> dict[str, Any]:
    """Of an attacker who learns nothing, the figures in the galleries of those who do."""
    return found.get("in_folds", found)


def _cell(figure: dict[str, float], chance: bool) -> str:
    return _share(figure) + (f" [{100 * figure['chance']:.1f} %]" if chance else "")


def _share(figure: dict[str, float]) -> str:
    return _range(figure, 100, 1, " %")
