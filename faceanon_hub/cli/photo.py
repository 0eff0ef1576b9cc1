"""`faceanon image`: one photo."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import __version__
from ..files import read_regular, write_text
from . import console, flags
from .extras import check_extra

if TYPE_CHECKING:
    from ..faces import Face
    from ..io.photos import Photo
    from ..pipeline import FaceAnonPipelineOutput


@flags.takes_options
def image(
    source: Annotated[str, typer.Argument(metavar="IN", help="Photo to anonymize; - is standard input.")],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="File or folder for the result; - is standard output.")
    ],
    checkpoint: flags.Checkpoint = None,
    seed: flags.Seed = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="Face to leave: its number, or LEFT,TOP,RIGHT,BOTTOM. Repeatable.")
    ] = None,
    hide: Annotated[
        list[str] | None, typer.Option(help="Zone LEFT,TOP,RIGHT,BOTTOM to obfuscate, whatever it shows. Repeatable.")
    ] = None,
    options: flags.CallOptions = None,
    candidates: Annotated[
        int, typer.Option(min=1, help="New faces tried for each; dlib keeps the least alike. Extra `eval`.")
    ] = 1,
    device: flags.Device = "cpu",
    dtype: flags.Dtype = "float32",
    quality: flags.Quality = 95,
    keep_metadata: flags.KeepMetadata = False,
    max_pixels: flags.MaxPixels = None,
    strict: flags.Strict = False,
    force: flags.Force = False,
    report: flags.Report = None,
    report_seeds: flags.ReportSeeds = False,
    preview: Annotated[Path | None, typer.Option(help="Write a before/after sheet. It shows the original.")] = None,
    as_json: flags.AsReport = False,
    quiet: flags.Quiet = False,
) -> None:
    """Anonymize one photo."""
    target = console.place(source, target, force)
    paths = {"IN": source, "OUT": target, "--report": report, "--preview": preview, "--checkpoint": checkpoint}
    console.check_apart(paths, ("IN", "OUT"))
    console.check_kind(source, "image")
    kept, zones = [_parse_keep(entry) for entry in keep or []], console.parse_zones(hide, "--hide")
    if target == console.PIPED and as_json:
        raise typer.BadParameter("standard output holds the photo: write --report instead", param_hint="--json")
    from ..faces import crowd_note
    from ..io.photos import check_photo_target, write_photo
    from ..preview import before_after

    for path in (None if target == console.PIPED else target, preview):
        if path is not None:
            check_photo_target(path)
    console.check_new([report, preview], force)
    if candidates > 1:
        check_extra("eval")
    photo, kind = _read(source, target, keep_metadata, max_pixels)
    call = {**options, "seed": seed, "keep": kept, "hide": zones, "candidates": candidates}
    result = _anonymize(photo, call, checkpoint, device, dtype, quiet)
    anonymized: Any = result.images[0]
    faces = result.faces[0]
    _write(anonymized, target, kind, quality)
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
        write_text(report, json.dumps(record, indent=2) + "\n")
    if preview is not None:
        write_photo(before_after(photo.with_pixels(photo.pixels), anonymized, faces), preview)
    if as_json:
        typer.echo(json.dumps(record, indent=2))
    _finish(target, record, faces, quiet, strict)


def _read(source: str, target: Path, keep_metadata: bool, max_pixels: int | None) -> tuple[Photo, str | None]:
    """The photo; and, where the result goes to standard output, the format that it came in."""
    from ..io.photos import MAX_PIXELS, photo_kind, read_photo

    given: Any = source
    if source == str(console.PIPED):
        given = io.BytesIO(sys.stdin.buffer.read())
        given.name = "standard input"
    photo = read_photo(given, keep_metadata=keep_metadata, max_pixels=max_pixels or MAX_PIXELS)
    if target != console.PIPED:
        return photo, None
    return photo, photo_kind(read_regular(given) if isinstance(given, str) else given.getvalue())


def _anonymize(
    photo: Photo, call: dict[str, Any], checkpoint: str | None, device: str, dtype: str, quiet: bool
) -> FaceAnonPipelineOutput:
    with console.progress_bar(quiet) as progress:
        task = progress.add_task("loading", total=None)
        pipe = console.load(checkpoint, device, dtype)
        progress.update(task, description="finding faces")
        with console.as_usage("--hide"):
            faces = pipe.find_faces(
                photo.pixels, call["threshold"], call["hide"], call["fallback"], photo.alpha, call["hide_small"]
            )
        for entry in call["keep"]:
            if isinstance(entry, int) and entry >= len(faces):
                raise typer.BadParameter(f"face {entry} of {len(faces)}", param_hint="--keep")
        progress.update(task, description="replacing faces", total=len(faces), completed=0)

        def on_step_end(_: Any, step: int, done: int, tensors: dict[str, Any]) -> dict[str, Any]:
            progress.update(task, completed=done)
            return tensors

        recognizer = None
        if call["candidates"] > 1:
            from ..metrics import DlibRecognizer

            recognizer = DlibRecognizer()
        return pipe(photo, faces=[faces], recognizer=recognizer, callback_on_step_end=on_step_end, **call)


def _write(anonymized: Any, target: Path, kind: str | None, quality: int) -> None:
    from ..io.photos import encode_photo, write_photo

    if kind is None:
        write_photo(anonymized, target, quality=quality)
    else:
        sys.stdout.buffer.write(encode_photo(anonymized, kind, quality=quality))


def _finish(target: Path, record: dict[str, Any], faces: list[Face], quiet: bool, strict: bool) -> None:
    """Prints the summary, and exits with the code of the result."""
    from ..faces import obfuscated

    names = ("anonymized", "obfuscated", "kept")
    counts = {name: sum(face["status"] == name for face in record["faces"]) for name in names}
    if not quiet:
        console.say(f"{target}: {console.listed(counts, 'no face found')}{console.below_limit(record['small'])}")
        if record["crowd"]:
            console.warn(f"  {record['crowd']}")
        for reason, numbers in obfuscated(faces).items():
            which = f"face {numbers[0]} is" if len(numbers) == 1 else f"{len(numbers)} faces are"
            console.warn(f"  {which} obfuscated: {reason}")
    if counts["obfuscated"]:
        raise typer.Exit(console.OBFUSCATED)
    if strict and not record["faces"]:
        raise typer.Exit(console.NO_FACE)


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
