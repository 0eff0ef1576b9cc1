"""`faceanon fit-sampler`: from a generator to the coefficients of its style sampler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .errors import FaceAnonError, UnwritableError
from .files import keep_apart


def fit_sampler(
    bank: Annotated[Path, typer.Argument(help="Folder for drawn faces; what is there already is not drawn again.")],
    out: Annotated[Path, typer.Argument(help="Folder for the component `sampler`.")],
    count: Annotated[int, typer.Option(min=1000, help="Faces that are drawn.")] = 20000,
    checkpoint: Annotated[str | None, typer.Option(help="Folder or Hub id, in place of the bundled one.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, ...")] = "cpu",
    quiet: Annotated[bool, typer.Option(help="No progress, no summary.")] = False,
) -> None:
    """Draw a bank of faces, look at them and learn which style shows what: hours on two cores; it can be resumed."""
    try:
        keep_apart({"BANK": bank, "OUT": out, "--checkpoint": checkpoint})
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    from . import DEFAULT_CHECKPOINT
    from .training.bank import draw_bank, look_at_bank, population
    from .training.fits import fit_sampler as fit
    from .workers import load_quietly

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    try:
        pipe = load_quietly(checkpoint or str(DEFAULT_CHECKPOINT), device, "float32")
        generator, read, recognizer = pipe.generator, pipe.landmark_extractor.read, pipe.recognizer
        if recognizer is None or pipe.attribute_estimator is None:
            raise FaceAnonError("the checkpoint lacks the recognizer or the attribute estimator")
        estimator = pipe.attribute_estimator.read
        with Progress(*columns, transient=True, disable=quiet) as progress:

            def stage(name: str) -> Callable[[int, int], None]:
                task = progress.add_task(name, total=None)
                return lambda done, total: progress.update(task, completed=done, total=total)

            draw_bank(generator, bank, count, stage("drawing"))
            faces = look_at_bank(generator, bank, count, read, recognizer, estimator, stage("looking"))
            sampler, explained = fit(faces, population(generator), stage("fitting"))
        try:
            sampler.half().save_pretrained(out)
        except OSError as error:
            raise UnwritableError(out, error.strerror or str(error)) from error
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    except FaceAnonError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(1) from error
    if not quiet:
        told = ", ".join(f"{name} {share:.2f}" for name, share in explained.items())
        typer.echo(f"{len(faces.styles)} faces; share of each row that a style tells: {told}", err=True)
        typer.echo(f"{out}: load it with StyleSampler.from_pretrained", err=True)
