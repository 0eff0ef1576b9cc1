"""What an evaluation found, as JSON, Markdown, plots and a sheet of the worst faces."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from PIL import ImageDraw, ImageFont

from .. import metrics
from ..errors import FaceAnonError
from .evaluator import CROP, DEFAULT, Evaluator, Task

# Name in the records: heading and unit. Less is better; of the border, nearer to 1.
VALUES = {
    "blendshapes_all": ("Blendshapes", "mean error of the 52, percentage points"),
    "blendshapes_eyes": ("of the eyes", "mean error of their 14, lids and gaze, percentage points"),
    "blendshapes_brows": ("of the brows", "mean error of their 5, percentage points"),
    "blendshapes_mouth": ("of the mouth", "mean error of its 23, percentage points"),
    "blendshapes_jaw": ("of the jaw", "mean error of its 4, percentage points"),
    "expression": ("Expression", "% of the inter-ocular distance, 478 points"),
    "expression_dlib": ("Expression, dlib", "% of the inter-ocular distance, 68 points of dlib"),
    "eyes": ("Eyes", "opening, % of the eye's width"),
    "mouth": ("Mouth", "opening, % of the inter-ocular distance"),
    "smile": ("Smile", "mouth corners' height, % of the inter-ocular distance"),
    "brows": ("Brows", "height, % of the inter-ocular distance"),
    "pose": ("Pose", "degrees"),
    "gaze": ("Gaze", "% of the eye's width"),
    "light": ("Light", "degrees between light vectors"),
    "light_distance": ("Light's strength, too", "difference of light vectors, % of the mean luminance"),
    "side": ("Left/right", "stops"),
    "ciede2000": ("Skin ΔE00", "CIEDE2000 of the median skin"),
    "chroma": ("Chroma", "a*b* distance"),
    "ita": ("ITA", "degrees of the typology angle"),
    "age": ("Age", "years of apparent age"),
    "border": ("Border", "gradient at the border, ratio to the original"),
}
# Name in the records: heading. What is found again, what the fallback need not hide, and what becomes of a person.
FOUND = {
    "redetected": "found again",
    "redetected_independent": "by an independent detector",
    "replaced": "replaced, not hidden",
}
ATTRIBUTES = {"same_sex": "same apparent sex", "grown_up": "children under 14 who became adults"}
RATES = (*FOUND, *ATTRIBUTES)
TABLES = {
    "Expression, pose and gaze": (
        "blendshapes_all",
        "blendshapes_eyes",
        "blendshapes_brows",
        "blendshapes_mouth",
        "blendshapes_jaw",
        "expression",
        "expression_dlib",
        "eyes",
        "mouth",
        "smile",
        "brows",
        "pose",
        "gaze",
    ),
    "Apparent sex and age": ("age",),
    "Light and colour": ("light", "light_distance", "side", "ciede2000", "chroma", "ita", "border"),
}
# Name in the records: heading, digits and factor. The last two need a network, see [`metrics.InceptionFeatures`].
DISTANCES = {
    "frechet": ("Fréchet", 1, 1.0),
    "others": ("to other people", 1, 1.0),
    "kernel": ("kernel x 1000", 2, 1000.0),
    "fid": ("FID", 1, 1.0),
    "kid": ("KID x 1000", 2, 1000.0),
}
WORST = 10


def summarize(tasks: Sequence[Task], records: Sequence[dict[str, Any]], methods: Sequence[str]) -> dict[str, Any]:
    """Sums up an evaluation.

    Args:
        tasks (`list[Task]`), records (`list[dict]`):
            The photos and what was measured of each, see [`~faceanon_hub.evaluation.evaluator.evaluate`].
        methods (`list[str]`):
            The rows.

    Returns:
        `dict`: ready for JSON: number of photos, those left out and why, coverage, and for each method `"n"`,
        `"failures"` (no mesh of the face in the result), `"values"` with mean, median and its 95 % bootstrap
        interval, `"rates"`, `"tones"` (mean skin colour error by tone), `"realism"` and `"identity"`.

    Raises:
        FaceAnonError: no photo could be measured.
    """
    measured = [(task, record) for task, record in zip(tasks, records, strict=True) if "failed" not in record]
    failed = {
        str(task.path): record["failed"] for task, record in zip(tasks, records, strict=True) if "failed" in record
    }
    if not measured:
        raise FaceAnonError(f"none of {len(tasks)} photos could be measured: {next(iter(failed.values()))}")
    photos = [record["photo"] for _, record in measured]
    independent = sum(photo["independent"] for photo in photos)
    summary: dict[str, Any] = {
        "photos": len(measured),
        "left_out": failed,
        "tones": dict(Counter(photo["tone"] for photo in photos)),
        "coverage": {
            "independent": independent,
            "covered": _ratio(sum(photo["covered"] for photo in photos), independent),
            "hidden": sum(photo["hidden"] for photo in photos),
        },
        "methods": {},
    }
    reference = np.stack([record["feature"] for _, record in measured]).astype(np.float64)
    identities = sorted({task.identity for task, _ in measured})
    side = {identity: number % 2 for number, identity in enumerate(identities)}
    apart = np.array([side[task.identity] for task, _ in measured])
    halves = reference[apart == 0], reference[apart == 1]
    for name in methods:
        rows = [(task, record, record["methods"][name]) for task, record in measured if name in record["methods"]]
        if rows:
            summary["methods"][name] = _method(name, rows, reference, side, halves)
    seconds = [
        (record["methods"][DEFAULT]["embedding"], record["second"]) for _, record in measured if "second" in record
    ]
    if seconds:
        first, second = (np.stack(side) for side in zip(*seconds, strict=True))
        summary["diversity"] = {"n": len(first), "distance": metrics.diversity(first, second)}
    return plain(summary)


def _method(
    name: str,
    rows: list[tuple[Task, dict[str, Any], dict[str, Any]]],
    reference: np.ndarray,
    side: dict[str, int],
    halves: tuple[np.ndarray, np.ndarray],
) -> dict[str, Any]:
    columns = {
        key: np.array([row["values"].get(key, np.nan) for _, _, row in rows], float) for key in (*VALUES, *RATES)
    }
    result: dict[str, Any] = {
        "n": len(rows),
        "failures": int(np.isnan(columns["expression"]).sum()),
        "children": int(np.isfinite(columns["grown_up"]).sum()),
        "values": {},
        "rates": {key: float(np.nanmean(columns[key])) for key in RATES if not np.isnan(columns[key]).all()},
        "tones": {},
    }
    for key in VALUES:
        known = columns[key][~np.isnan(columns[key])]
        if len(known):
            median, low, high = metrics.median_interval(known)
            result["values"][key] = {
                "n": len(known), "mean": float(known.mean()), "median": median, "low": low, "high": high,
            }  # fmt: skip
    for tone in sorted({record["photo"]["tone"] for _, record, _ in rows}):
        chosen = np.array([record["photo"]["tone"] == tone for _, record, _ in rows])
        values = {key: float(np.nanmean(columns[key][chosen])) for key in ("ciede2000", "ita")}
        result["tones"][tone] = {"n": int(chosen.sum()), **values}
    features = np.stack([row["feature"] for _, _, row in rows]).astype(np.float64)
    if len(features) > 1:
        result["realism"] = {
            "frechet": metrics.frechet_distance(features, reference),
            "kernel": metrics.kernel_distance(features, reference),
        }
    if "inception" in rows[0][2] and len(rows) > 1:
        old = np.stack([record["inception"] for _, record, _ in rows])
        new = np.stack([row["inception"] for _, _, row in rows])
        result["realism"]["fid"] = metrics.frechet_distance(new, old)
        result["realism"]["kid"] = metrics.kernel_distance(new, old)
    # Against photos of other people, to copy a photo's layout is no merit: each half of them against the other.
    own = np.array([side[task.identity] for task, _, _ in rows])
    crosswise = [(features[own == 0], halves[1]), (features[own == 1], halves[0])]
    if min(len(half) for pair in crosswise for half in pair) > 1:
        result["realism"]["others"] = float(np.mean([metrics.frechet_distance(*pair) for pair in crosswise]))
    people = [(task, record, row) for task, record, row in rows if "embedding" in record]
    if name == "original":
        result["identity"] = _identity(
            [(task, record["embedding"], record["embedding"]) for task, record, _ in people]
        )
    elif people and "embedding" in people[0][2]:
        result["identity"] = _identity([(task, record["embedding"], row["embedding"]) for task, record, row in people])
    return result


def _identity(people: list[tuple[Task, np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """What a recognizer still knows; empty where no two photos of one person are at hand."""
    if not people:
        return {}
    originals, probes = np.stack([p[1] for p in people]), np.stack([p[2] for p in people])
    identities = np.array([p[0].identity for p in people])
    try:
        found = metrics.verify(originals, probes, identities)
        _, low, high = metrics.auc_interval(originals, probes, identities)
    except ValueError:
        return {}
    return {
        "pairs": found.pairs,
        "auc": found.auc,
        "low": low,
        "high": high,
        **{f"tar_at_far_{rate:g}": value for rate, value in found.tar_at_far.items()},
        "rank1": found.rank1,
        "mean_distance": found.mean_distance,
        "protection_rate": metrics.protection_rate(originals, probes),
    }


def to_markdown(summary: dict[str, Any]) -> str:
    """The tables of a report of [`summarize`]."""
    sections = (_measures, _sex_and_age, _tones, _realism, _recognition)
    lines = _introduction(summary)
    for section in sections:
        lines += section(summary)
    if "diversity" in summary:
        entry = summary["diversity"]
        lines += ["", f"Mean distance between two seeds of one face: {entry['distance']:.2f} (n = {entry['n']})."]
    return "\n".join(lines) + "\n"


def _introduction(summary: dict[str, Any]) -> list[str]:
    covered = summary["coverage"]
    return [
        "# Evaluation",
        "",
        f"{summary['photos']} photos, the largest face of each; {len(summary['left_out'])} left out. An independent",
        f"detector finds {covered['independent']} faces in them; {_percent(covered['covered'])} are hidden.",
        "",
        "*original* is the photo re-encoded and shifted by a pixel: the noise of the estimators. *shuffled pairs* "
        "compares with another photo: chance. Medians with their 95 % bootstrap interval, then the mean. Failures: "
        "no mesh of the face in the result.",
    ]


def _measures(summary: dict[str, Any]) -> list[str]:
    rows, lines = summary["methods"], []
    for title, columns in TABLES.items():
        keys = [key for key in columns if any(key in row["values"] for row in rows.values())]
        if keys:
            lines += ["", f"## {title}", "", *(f"- {VALUES[key][0]}: {VALUES[key][1]}" for key in keys), ""]
            cells = [
                [name, row["n"], row["failures"], *(_cell(row["values"].get(key)) for key in keys)]
                for name, row in rows.items()
            ]
            lines += table(["", "n", "failures", *(VALUES[key][0] for key in keys)], cells)
    return lines


def _sex_and_age(summary: dict[str, Any]) -> list[str]:
    rows = summary["methods"]
    if not any(key in row["rates"] for row in rows.values() for key in ATTRIBUTES):
        return []
    children = max(row["children"] for row in rows.values())
    cells = [[name, *(_percent(row["rates"].get(rate)) for rate in ATTRIBUTES)] for name, row in rows.items()]
    title = f"## What becomes of sex and age, {children} children among them"
    return ["", title, "", *table(["", *ATTRIBUTES.values()], cells)]


def _tones(summary: dict[str, Any]) -> list[str]:
    tones = sorted(summary["tones"], key=list(metrics.color.TONES).index)

    def cell(row: dict[str, Any], tone: str) -> str:
        errors = row["tones"].get(tone)
        return f"{errors['ciede2000']:.2f}, {errors['ita']:.1f}°" if errors else "-"

    heading = ["", "## Skin colour error by tone of the original", ""]
    heading += ["Mean CIEDE2000, and mean error of the typology angle.", ""]
    columns = ["", *(f"{tone} (n = {summary['tones'][tone]})" for tone in tones)]
    rows = summary["methods"].items()
    return heading + table(columns, [[name, *(cell(row, tone) for tone in tones)] for name, row in rows])


def _realism(summary: dict[str, Any]) -> list[str]:
    rows = summary["methods"]
    known = [key for key in DISTANCES if any(key in row.get("realism", {}) for row in rows.values())]
    cells = [
        [
            name,
            *(_number(row.get("realism", {}).get(key), *DISTANCES[key][1:]) for key in known),
            *(_percent(row["rates"].get(rate)) for rate in FOUND),
        ]
        for name, row in rows.items()
    ]
    return [
        "",
        "## Realism and redetection",
        "",
        "Distances on EfficientNet-Lite0 features: not FID, not KID. To the same photos, which rewards whoever copies "
        "them, and to photos of other people: each half of the people to the other, from fewer photos.",
        "",
        *table(["", *(DISTANCES[key][0] for key in known), *FOUND.values()], cells),
    ]


def _recognition(summary: dict[str, Any]) -> list[str]:
    recognized = {name: row["identity"] for name, row in summary["methods"].items() if row.get("identity")}
    if not recognized:
        return []
    cells = [
        [
            name, row["pairs"], f"{row['auc']:.3f} ({row['low']:.3f}–{row['high']:.3f})",
            _percent(row["tar_at_far_0.01"]), _percent(row["tar_at_far_0.001"]), _percent(row["rank1"]),
            f"{row['mean_distance']:.2f}", "-" if name == "original" else _percent(row["protection_rate"]),
        ]
        for name, row in recognized.items()
    ]  # fmt: skip
    heading = ["", "## Identity", ""]
    heading += ["dlib's recognizer, other photos of the same people enrolled; lower is better hidden.", ""]
    columns = ["", "pairs", "AUC", "TAR at FAR 1e-2", "at 1e-3", "rank 1", "distance", "protected"]
    return heading + table(columns, cells)


def plot(summary: dict[str, Any], folder: Path) -> None:
    """Draws a chart of every metric: medians and their intervals, a PNG each.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        from ..errors import MissingDependencyError

        raise MissingDependencyError("matplotlib", "faceanon-hub[eval]") from error
    folder.mkdir(parents=True, exist_ok=True)
    for key, (title, unit) in VALUES.items():
        rows = {name: row["values"][key] for name, row in summary["methods"].items() if key in row["values"]}
        if not rows:
            continue
        figure = Figure(figsize=(8, 0.35 * len(rows) + 1.2), layout="constrained")
        axes = figure.subplots()
        middle = np.array([row["median"] for row in rows.values()])
        reach = np.abs(np.array([[row["low"], row["high"]] for row in rows.values()]).T - middle)
        colors = ["#1f6feb" if name == DEFAULT else "#8b949e" for name in rows]
        axes.barh(list(rows), middle, xerr=reach, color=colors, error_kw={"ecolor": "#24292f", "capsize": 2})
        axes.invert_yaxis()
        axes.set_title(title)
        axes.set_xlabel(unit)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(folder / f"{key}.png", dpi=120)


def worst_sheet(evaluator: Evaluator, tasks: Sequence[Task], records: Sequence[dict[str, Any]]) -> PIL.Image.Image:
    """The ten worst faces of every metric, original above result, made again by the evaluator at its defaults: for
    looking at, not for publication.

    `tasks` and `records` are as in [`summarize`].
    """
    pairs: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    found = [record.get("methods", {}).get(DEFAULT, {}).get("values", {}) for record in records]
    shown = [key for key in VALUES if any(key in values for values in found)]
    sheet = PIL.Image.new("RGB", (WORST * CROP, len(shown) * (2 * CROP + 20)), (255, 255, 255))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for line, key in enumerate(shown):
        values = np.array([row.get(key, math.nan) for row in found])
        order = [i for i in np.argsort(np.nan_to_num(values, nan=-1))[::-1][:WORST] if not math.isnan(values[i])]
        top = line * (2 * CROP + 20)
        draw.text((4, top + 2), VALUES[key][0], fill=(0, 0, 0), font=font)
        for place, index in enumerate(order):
            if index not in pairs:
                pairs[index] = evaluator.anonymized(tasks[index], DEFAULT)
            for row, crop in enumerate(pairs[index]):
                sheet.paste(PIL.Image.fromarray(crop), (place * CROP, top + 20 + row * CROP))
            draw.text((place * CROP + 3, top + 21), f"{values[index]:.2f}", fill=(255, 220, 0), font=font)
    return sheet


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows)]


def _cell(value: dict[str, float] | None) -> str:
    if value is None:
        return "-"
    return f"{value['median']:.2f} ({value['low']:.2f}–{value['high']:.2f}), {value['mean']:.2f}"


def _number(value: float | None, digits: int, factor: float = 1) -> str:
    return "-" if value is None else f"{factor * value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def plain(value: Any) -> Any:
    """JSON knows no NaN: None stands for it."""
    return json.loads(json.dumps(value), parse_constant=lambda name: None)
