"""Checkpoints: the bundled one, and what is uploaded beside the weights."""

from __future__ import annotations

import hashlib
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from .component import component_file
from .errors import CheckpointError, UnmeasuredError
from .files import digest_of, open_regular

if TYPE_CHECKING:
    from .pipeline import FaceAnonPipeline

# The checkpoint that comes with the package: what `FaceAnonPipeline.from_pretrained()` loads.
DEFAULT_CHECKPOINT = Path(__file__).parent / "checkpoints" / "base"

DEFAULT_ROW = "default"  # of an evaluation: the pipeline's default settings

# Lets `DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)` find our class. For a Hub id diffusers
# checks the components' library before it reads this: there, import FaceAnonPipeline.
PIPELINE_FILE = "pipeline.py"
PIPELINE_CODE = (
    '"""What diffusers imports to find the class."""\n\nfrom faceanon_hub import FaceAnonPipeline  # noqa: F401\n'
)

CARD_TEMPLATE = Path(__file__).parent / "card_template.md"
SHEET = "samples.png"  # beside the weights
SHEET_PEOPLE = 16
FEWEST_DRAWS = 1000  # drawn people whose nearest training photo is known, of a checkpoint that may be shared
LONGEST = 200  # letters of a fact
# The table of a card, in which the front matter's results are written out.
TABLE_START, TABLE_END = "<!-- evaluation: made by `faceanon evaluate --card` -->", "<!-- end of evaluation -->"
PROJECT = "https://arxiv.org/abs/2603.17567"
BASE_LICENCE_NOTE = (
    "Derived from the bundled base checkpoint, whose generator, MobileStyleGAN, was distilled from a StyleGAN2\n"
    "trained on FFHQ (CC BY-NC-SA 4.0): for non-commercial research only."
)

# Of the nearest training photos, see [`training.memorization.nearest_photos`].
NEAREST = ("asked", "draws", "photos", "median", "p99", "most")
STRANGERS = ("strangers", "strangers_median", "strangers_p99", "strangers_most", "nearer")

# What a card names, and where it stands in a method's summary.
MEASURES = {
    "Expression error (52 blendshapes, percentage points, median)": ("values", "blendshapes_all", "median"),
    "Expression error (478 points, % of the inter-ocular distance, median)": ("values", "expression", "median"),
    "Head pose error (degrees, median)": ("values", "pose", "median"),
    "Same apparent sex": ("rates", "same_sex"),
    "Apparent age error (years, mean)": ("values", "age", "mean"),
    "Light vector error (degrees, median)": ("values", "light", "median"),
    "Skin colour error (CIEDE2000, median)": ("values", "ciede2000", "median"),
    "Faces found again": ("rates", "redetected"),
    "Mated-pair AUC (dlib; 0.5 is hidden)": ("identity", "auc"),
    "Fréchet distance on EfficientNet-Lite0 features (not FID)": ("realism", "frechet"),
}


def make_card(
    repo_id: str,
    summary: dict[str, Any] | None = None,
    licence: str | None = None,
    sheet: bool = False,
    facts: dict[str, str] | None = None,
) -> ModelCard:
    """The card that is uploaded with a checkpoint.

    Args:
        repo_id (`str`):
            Hub id of the checkpoint.
        summary (`dict`, *optional*):
            What [`~faceanon_hub.evaluation.report.summarize`] found of this checkpoint, for the card's results.
        licence (`str`, *optional*):
            Of the weights: the Hub's name of one, or `"other:NAME"`. None is that of the bundled checkpoint.
        sheet (`bool`, *optional*, defaults to `False`):
            Whether a sample sheet is uploaded beside it.
        facts (`dict`, *optional*):
            From [`describe`].

    Returns:
        `huggingface_hub.ModelCard`: with front matter that the Hub validates.
    """
    results = [] if summary is None else eval_results(summary)
    kind, _, name = (licence or "other:non-commercial-research").partition(":")
    note = BASE_LICENCE_NOTE if licence is None else f"{name or kind}, as stated by those who uploaded it."
    data = ModelCardData(
        library_name="diffusers",
        pipeline_tag="image-to-image",
        license=kind,
        license_name=name or None,
        tags=["faceanon-hub", "face-anonymization", "privacy"],
        model_name=repo_id if results else None,
        eval_results=results or None,
    )
    table = results_table(results) if results else "Not measured: `faceanon evaluate` does."
    return ModelCard.from_template(
        data,
        template_path=str(CARD_TEMPLATE),
        repo_id=repo_id,
        project=PROJECT,
        sheet=SHEET if sheet else None,
        facts=facts or {},
        table=table,
        licence_note=note,
    )


def describe(pipe: FaceAnonPipeline) -> dict[str, str]:
    """A pipeline in words: prior, data, training, draws, nearest photos.

    Records come from whoever made the checkpoint: only known entries are read, as numbers or as short plain text.
    """
    generator, sampler = pipe.generator, pipe.sampler.config
    weights = sum(parameter.numel() for parameter in generator.parameters()) / 1e6
    facts = {"prior": f"{type(generator).__name__}, up to {generator.config.sizes[-1]} px, {weights:.1f} M weights"}
    record = _dict(generator.config.record)
    if record:
        facts["started from"] = _plain(record.get("started_from"))
        sources = [
            f"{_plain(name)}: {_number(_dict(entry).get('samples'))} faces, {_plain(_dict(entry).get('licence'))}"
            for name, entry in _dict(record.get("sources")).items()
        ]
        facts["data"] = "; ".join(sources[:20]) or "unknown"
        facts["training"] = f"{_number(record.get('steps'))} steps, {_number(record.get('images'))} photos shown"
        measured = _dict(record.get("validation"))
        if "frechet" in measured:
            distance = _number(measured["frechet"])
            facts["held-out photos"] = f"Fréchet distance {distance} on EfficientNet-Lite0 features (not FID)"
    drawn = f"sampler fitted to {sampler.bank or 'an unknown number of'} drawn faces"
    followed = f"; ages, tones and light follow {sampler.photos} faces of photos" if sampler.photos else ""
    facts["draws"] = f"{drawn}{followed}; truncation {sampler.truncation:g}"
    if record:
        facts["nearest training photo"] = _nearest(_dict(record.get("nearest")))
    return facts


def card_facts(checkpoint: str | os.PathLike[str]) -> dict[str, str]:
    """Licence and evaluation of a checkpoint, as its card gives them; empty where it has none."""
    try:
        path = component_file(checkpoint, None, "README.md")
        open_regular(path).close()
        data = ModelCard.load(path, ignore_metadata_errors=True).data
    except (OSError, ValueError):
        return {}
    named = data.get("license_name") or data.get("license")
    facts = {"licence": _plain(named)} if named else {}
    for result in (data.get("eval_results") or [])[:20]:
        facts[_plain(result.metric_name)] = _plain(result.metric_value)
    return facts


def check_measured(pipe: FaceAnonPipeline, checkpoint: str) -> None:
    """Makes sure that of a trained generator it is known how near its people come to those it learned from.

    Raises:
        UnmeasuredError: it is not, or of fewer than `FEWEST_DRAWS` drawn people; the message names `checkpoint`.
    """
    if pipe.generator.config.record is None:
        return
    nearest = _dict(_dict(pipe.generator.config.record).get("nearest"))
    lacking = [name for name in NEAREST if not _is_number(nearest.get(name))]
    if lacking:
        raise UnmeasuredError(checkpoint, f"its record lacks the nearest training photos: {', '.join(lacking)}")
    if nearest["asked"] < FEWEST_DRAWS:
        text = f"the nearest photo of {nearest['asked']} drawn people is known, {FEWEST_DRAWS} are needed"
        raise UnmeasuredError(checkpoint, f"{text}: train it with `draws: {FEWEST_DRAWS}` or more")


def _nearest(nearest: dict[str, Any]) -> str:
    if not all(_is_number(nearest.get(name)) for name in NEAREST):
        return "not measured"
    text = (
        "of {draws} drawn people, the cosine of embeddings to the nearest of {photos} training photos has the median "
    )
    text += "{median}, 99 % lie below {p99}, the most is {most}"
    if all(_is_number(nearest.get(name)) for name in STRANGERS):
        text += (
            "; of {strangers} held-out photos {strangers_median}, {strangers_p99} and {strangers_most}; {nearer:.1%} "
        )
        text += "of the drawn are nearer than 99 % of these (chance is 1 %)"
    return text.format_map({name: nearest[name] for name in (*NEAREST, *STRANGERS) if _is_number(nearest.get(name))})


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: Any) -> str:
    return f"{value:,}" if _is_number(value) else "unknown"


def _plain(value: Any) -> str:
    """Text of a stranger as one line of letters, digits and harmless marks."""
    return re.sub(r"[^\w .,:;()+/-]", " ", str(value))[:LONGEST].strip() or "unknown"


def renew_card(path: Path, summary: dict[str, Any]) -> None:
    """Writes an evaluation, from [`~faceanon_hub.evaluation.report.summarize`], into a card: its front matter, and the
    table between the two marks.

    Raises:
        CheckpointError: the file is no card with the two marks.
    """
    try:
        open_regular(path).close()
        card = ModelCard.load(path, ignore_metadata_errors=True)
        before, rest = card.text.split(TABLE_START)
        after = rest.split(TABLE_END)[1]
    except (OSError, ValueError, IndexError) as error:
        raise CheckpointError(path, f"no model card with the marks of an evaluation: {error}") from error
    card.data.model_name = card.data.model_name or "faceanon_hub base"
    card.data.eval_results = eval_results(summary)
    card.text = f"{before}{TABLE_START}\n\n{results_table(card.data.eval_results)}\n\n{TABLE_END}{after}"
    card.save(path)


def eval_results(summary: dict[str, Any]) -> list[EvalResult]:
    """Results of the pipeline's defaults for the front matter of a card, from
    [`~faceanon_hub.evaluation.report.summarize`].
    """
    results = []
    for title, path in MEASURES.items():
        value: Any = summary["methods"][DEFAULT_ROW]
        for key in path:
            value = value.get(key) if value else None
        if value is not None:
            results.append(
                EvalResult(
                    task_type="image-to-image",
                    task_name="Face anonymization",
                    dataset_type="custom",
                    dataset_name=f"{summary['dataset']}, {summary['photos']} photos",
                    metric_type="_".join(path),
                    metric_name=title,
                    metric_value=round(value, 3),
                )
            )
    return results


def results_table(results: list[EvalResult]) -> str:
    """Results as Markdown."""
    lines = [f"Measured on {results[0].dataset_name}.", "", "| measure | value |", "|---|---|"]
    return "\n".join([*lines, *(f"| {result.metric_name} | {result.metric_value} |" for result in results)])


def weights_digest(checkpoint: str) -> str:
    """The identity of a checkpoint: the hash of its files, or its Hub id."""
    folder = Path(checkpoint)
    if not folder.is_dir():
        return checkpoint
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors", ".bin"))
    return hashlib.sha256("".join(digest_of(path) for path in files).encode()).hexdigest()
