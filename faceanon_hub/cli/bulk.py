"""`faceanon folder` and `dataset`: many photos and videos."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from . import console, flags

if TYPE_CHECKING:
    from ..bulk.datasets import DatasetReport
    from ..bulk.folders import FolderReport


@flags.takes_options
def folder(
    source: Annotated[str, typer.Argument(metavar="IN", help="Folder of photos and videos, in any depth.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the results, under the same names.")],
    checkpoint: flags.Checkpoint = None,
    seed: Annotated[
        int | None, typer.Option(help="Picks the new identities, with the files' paths; else drawn once.")
    ] = None,
    include: Annotated[list[str] | None, typer.Option(help="Pattern of paths or names to do. Repeatable.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Pattern of those to leave out. Repeatable.")] = None,
    suffix: Annotated[str, typer.Option(help="Put behind the names of results, such as _anonymized.")] = "",
    photo_format: Annotated[
        str | None, typer.Option("--format", help="Of all photos, such as png, in place of their own.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="LEFT,TOP,RIGHT,BOTTOM: faces in it stay. Repeatable.")
    ] = None,
    hide: Annotated[
        list[str] | None, typer.Option(help="Zone LEFT,TOP,RIGHT,BOTTOM to obfuscate in every file. Repeatable.")
    ] = None,
    zones: Annotated[
        Path | None, typer.Option(help='JSON file {PATTERN: {"keep": [...], "hide": [...]}}, file by file.')
    ] = None,
    options: flags.CallOptions = None,
    workers: flags.Workers = None,
    device: flags.Device = "cpu",
    dtype: flags.Dtype = "float32",
    quality: flags.Quality = 95,
    keep_metadata: flags.KeepMetadata = False,
    max_pixels: flags.MaxPixels = None,
    voice: flags.Voice = "keep",
    copy_others: Annotated[
        bool, typer.Option(help="Copy other files that are checked to be harmless: text and few numbers.")
    ] = False,
    trust: Annotated[
        list[str] | None, typer.Option(help="Pattern of other files to copy unlooked-at. They may show faces.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for one JSON report per file.")] = None,
    report_seeds: Annotated[bool, typer.Option(help="Put the seeds into the reports.")] = False,
    redo: Annotated[bool, typer.Option(help="Do everything again, over what is in OUT.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Write nothing; print the files that would be done.")] = False,
    as_json: flags.AsSummary = False,
    quiet: flags.Quiet = False,
) -> None:
    """Anonymize a folder of photos and videos.

    Stopped half-way, the same command goes on where it was; done again, it does what is new. Its state is in
    OUT/.faceanon: leave that out of what you publish.
    """
    console.check_apart(
        {"IN": source, "OUT": target, "--report": report, "--zones": zones, "--checkpoint": checkpoint}
    )
    kept, hidden = console.parse_zones(keep, "--keep"), console.parse_zones(hide, "--hide")
    from ..bulk.folders import anonymize_folder
    from ..io.photos import MAX_PIXELS

    which = {"include": include or (), "exclude": exclude or (), "trust": trust or (), "copy_others": copy_others}
    names = {"suffix": suffix, "photo_format": photo_format, "reports": report, "report_seeds": report_seeds}
    coding = {"quality": quality, "keep_metadata": keep_metadata, "max_pixels": max_pixels or MAX_PIXELS}
    run = {"checkpoint": checkpoint, "workers": workers or os.cpu_count() or 1, "device": device, "dtype": dtype}
    zoned = {"keep": kept, "hide": hidden, "zones": zones}
    call: dict[str, Any] = {**which, **names, **coding, **run, **zoned, **options, "voice": voice}
    with console.counted("files", quiet) as on_progress, console.as_usage():
        summary = anonymize_folder(
            source, target, seed=seed, redo=redo, dry_run=dry_run, on_progress=on_progress, **call
        )
    if as_json:
        typer.echo(json.dumps(summary.to_dict(), indent=2))
    elif dry_run:
        for path in summary.planned:
            typer.echo(path)
    if not quiet:
        _sum_up_folder(target, summary, dry_run)
    if summary.failures:
        raise typer.Exit(console.PARTLY)
    if summary.obfuscated:
        raise typer.Exit(console.OBFUSCATED)


def _sum_up_folder(target: Path, summary: FolderReport, dry_run: bool) -> None:
    counts = {
        "photos": summary.photos, "videos": summary.videos, "other files copied": summary.copied,
        "skipped": summary.skipped, "failed": summary.failed,
    }  # fmt: skip
    faces = {name: getattr(summary, name) for name in ("anonymized", "obfuscated", "kept")}
    done, seen = console.listed(counts, "nothing to do"), console.listed(faces, "none")
    if dry_run:
        done, seen = f"{len(summary.planned)} files to do, {summary.skipped} to be skipped", "not looked for"
    console.say(f"{target}: {done}; faces: {seen}{console.below_limit(summary.small)}")
    for path, note in list(summary.crowds.items())[: console.MOST_LINES]:
        console.warn(f"  {path}: {note}")
    for path, reason in list(summary.failures.items())[: console.MOST_LINES]:
        console.warn(f"  failed: {path}: {reason}")


@flags.takes_options
def dataset(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Folder of Parquet files, WebDataset tars or photos.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="Folder for the result; both may be s3://...")],
    engine: Annotated[Literal["local", "ray"], typer.Option(help="A loop, or actors on a cluster.")] = "local",
    column: Annotated[str | None, typer.Option(help="Column of the photos in Parquet, if several could be.")] = None,
    checkpoint: flags.Checkpoint = None,
    seed: Annotated[int | None, typer.Option(help="Picks the new identities; else drawn once.")] = None,
    actors: Annotated[int, typer.Option(min=1, help="With ray, processes that hold a pipeline.")] = 1,
    cpus: Annotated[float, typer.Option(min=0, help="With ray, what each of them takes.")] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="With ray, what each of them takes.")] = 0,
    retries: Annotated[int, typer.Option(min=0, help="After an error of the file system.")] = 3,
    batch_rows: Annotated[int, typer.Option(min=1, help="Rows that go through the pipeline together.")] = 8,
    trust: Annotated[
        list[str] | None,
        typer.Option(help="Pattern of columns, or of files in tars, that pass unlooked-at. They may show faces."),
    ] = None,
    dtype: flags.Dtype = "float32",
    options: flags.CallOptions = None,
    quality: flags.Quality = 95,
    max_pixels: flags.MaxPixels = None,
    as_json: flags.AsSummary = False,
    quiet: flags.Quiet = False,
) -> None:
    """Anonymize the photos of a dataset; labels and other columns stay.

    Stopped half-way, the same command goes on where it was. DST/_faceanon holds the rows that failed.
    """
    console.check_apart({"SRC": source, "DST": target, "--checkpoint": checkpoint})
    from ..bulk.datasets import anonymize_dataset
    from ..io.photos import MAX_PIXELS

    run: dict[str, Any] = {"engine": engine, "actors": actors, "cpus": cpus, "gpus": gpus, "retries": retries}
    rows = {"column": column, "trust": trust or (), "quality": quality, "max_pixels": max_pixels or MAX_PIXELS}
    call: dict[str, Any] = {**run, **rows, "batch_rows": batch_rows, "checkpoint": checkpoint, "dtype": dtype}
    with console.counted("shards", quiet) as on_progress, console.as_usage():
        summary = anonymize_dataset(source, target, seed=seed, on_progress=on_progress, **call, **options)
    if as_json:
        typer.echo(json.dumps(summary.to_dict(), indent=2))
    if not quiet:
        _sum_up_dataset(target, summary)
    if summary.failures:
        raise typer.Exit(console.PARTLY)
    if summary.obfuscated:
        raise typer.Exit(console.OBFUSCATED)


def _sum_up_dataset(target: str, summary: DatasetReport) -> None:
    seen = f"{summary.anonymized} anonymized" + (f", {summary.obfuscated} obfuscated" if summary.obfuscated else "")
    console.say(
        f"{target}: {summary.rows} rows, {summary.failed} failed; faces: {seen}{console.below_limit(summary.small)}"
    )
    for crowd in summary.crowds[: console.MOST_LINES]:
        console.warn(f"  {crowd['shard']}, row {crowd['row']}: {crowd['note']}")
    for failure in summary.failures[: console.MOST_LINES]:
        row = "" if failure["row"] is None else f", row {failure['row']}"
        console.warn(f"  failed: {failure['shard']}{row}: {failure['error']}")
    for path, reason in list(summary.left_out.items())[: console.MOST_LINES]:
        console.warn(f"  left out: {path}: {reason}")
