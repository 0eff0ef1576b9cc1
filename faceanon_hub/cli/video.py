"""`faceanon video`: one video."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from .. import __version__
from ..errors import UnwritableVideoError
from ..files import check_target, write_text
from . import console, flags
from .extras import check_extra

if TYPE_CHECKING:
    from pathlib import Path

    from ..video.anonymize import VideoReport


@flags.takes_options
def video(
    source: Annotated[str, typer.Argument(metavar="IN", help="Video to anonymize.")],
    target: flags.Output,
    checkpoint: flags.Checkpoint = None,
    seed: flags.Seed = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="LEFT,TOP,RIGHT,BOTTOM: faces in it are left. Repeatable.")
    ] = None,
    hide: Annotated[
        list[str] | None, typer.Option(help="LEFT,TOP,RIGHT,BOTTOM: obfuscated in every frame. Repeatable.")
    ] = None,
    start: Annotated[float | None, typer.Option(min=0, help="Second at which to begin.")] = None,
    end: Annotated[float | None, typer.Option(min=0, help="Second at which to stop.")] = None,
    voice: flags.Voice = "keep",
    codec: Annotated[str | None, typer.Option(help="FFmpeg's name of an encoder, as libx265.")] = None,
    quality: Annotated[int | None, typer.Option(min=1, max=100, help="Of lossy codecs; 65 unless given.")] = None,
    options: flags.CallOptions = None,
    device: flags.Device = "cpu",
    dtype: flags.Dtype = "float32",
    strict: flags.Strict = False,
    force: flags.Force = False,
    report: flags.Report = None,
    report_seeds: flags.ReportSeeds = False,
    as_json: flags.AsReport = False,
    quiet: flags.Quiet = False,
) -> None:
    """Anonymize one video: one person stays one new person."""
    if str(console.PIPED) in (source, str(target)):
        raise typer.BadParameter("a video is read and written as a file: its parts are looked up in any order")
    target = console.place(source, target, force)
    console.check_apart({"IN": source, "OUT": target, "--report": report, "--checkpoint": checkpoint}, ("IN", "OUT"))
    console.check_kind(source, "video")
    kept, hidden = console.parse_zones(keep, "--keep"), console.parse_zones(hide, "--hide")
    if end is not None and end <= (start or 0):
        raise typer.BadParameter(f"{end:g} is not after the start", param_hint="--end")
    check_extra("voice" if voice == "disguise" else "video")
    check_target(target, UnwritableVideoError)
    console.check_new([report], force)
    call = {**options, "seed": seed, "start": start, "end": end, "voice": voice, "codec": codec, "quality": quality}
    with console.progress_bar(quiet) as progress, console.as_usage():
        task = progress.add_task("loading", total=None)
        pipe = console.load(checkpoint, device, dtype)
        progress.update(task, description="replacing faces", total=1.0, completed=0)
        result = pipe.video(
            source,
            target,
            keep=kept,
            hide=hidden,
            **call,
            on_progress=lambda share: progress.update(task, completed=share),
        )
    known = {"input": source, "output": str(target), "version": __version__, "checkpoint": checkpoint or "bundled"}
    record = json.dumps(known | result.to_dict(seed=report_seeds), indent=2)
    if report is not None:
        write_text(report, record + "\n")
    if as_json:
        typer.echo(record)
    if not quiet:
        _sum_up(target, result)
    if result.counts.get("obfuscated"):
        raise typer.Exit(console.OBFUSCATED)
    if strict and not result.tracks:
        raise typer.Exit(console.NO_FACE)


def _sum_up(target: Path, result: VideoReport) -> None:
    people = len({track["person"] for track in result.tracks})
    counts = console.listed(result.counts, "no face found")
    console.say(
        f"{target}: {result.frames} frames, faces of {people} in them: {counts}{console.below_limit(result.small)}"
    )
    for note in (result.crowd, *result.notes):
        if note:
            console.warn(f"  {note}")
    for track in result.tracks:
        if frames := track["frames"].get("obfuscated"):
            console.warn(
                f"  track {track['number']}, {track['first']:g} to {track['last']:g} s, is obfuscated in "
                f"{frames} frames: {'; '.join(track['reasons'])}"
            )
