"""`faceanon fit` and `faceanon convert`: from a generator to a pipeline that draws with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..errors import CheckpointError
from ..files import check_name, keep_apart, replacing_folder

Force = Annotated[bool, typer.Option(help="Overwrite the folder OUT that is there.")]


def fit(
    bank: Annotated[Path, typer.Argument(help="Folder for drawn faces; what is there already is not drawn again.")],
    out: Annotated[Path, typer.Argument(help="Folder for the checkpoint.")],
    generator: Annotated[
        Path | None, typer.Option(help="Folder of a generator, in place of the checkpoint's.")
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of photos whose ages, tones and light the drawn people follow.")
    ] = None,
    count: Annotated[int, typer.Option(min=1000, help="Faces that are drawn.")] = 20000,
    checkpoint: Annotated[str | None, typer.Option(help="Folder or Hub id, in place of the bundled one.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, ...")] = "cpu",
    force: Force = False,
    quiet: Annotated[bool, typer.Option(help="No progress, no summary.")] = False,
) -> None:
    """Draw faces, look at them, learn which style shows what: makes a checkpoint for any generator.

    About an hour for 20,000 faces on two free cores. Stopped half-way, the same command goes on where it was.
    """
    paths = {"BANK": bank, "OUT": out, "--generator": generator, "--photos": photos, "--checkpoint": checkpoint}
    _check(paths, out, "model_index.json", force)
    from .. import DEFAULT_CHECKPOINT
    from ..training.fits import fit_pipeline, save_half
    from ..workers import load_quietly

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    try:
        pipe = load_quietly(checkpoint or str(DEFAULT_CHECKPOINT), device, "float32")
        if generator is not None:
            pipe.register_modules(generator=_read_generator(generator).to(device))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with Progress(*columns, transient=True, disable=quiet) as progress:

        def stage(name: str) -> Callable[[int, int], None]:
            task = progress.add_task(name, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        explained = fit_pipeline(pipe, bank, count, photos, stage)
    with replacing_folder(out) as partial:
        save_half(pipe, partial)
    if not quiet:
        followed = explained.pop("followed", None)
        told = ", ".join(f"{name} {share:.2f}" for name, share in explained.items())
        typer.echo(f"{pipe.sampler.config.bank} faces; share of each row that a style tells: {told}", err=True)
        if followed is not None:
            faces = pipe.sampler.config.photos
            typer.echo(
                f"{faces} faces of photos are followed; {followed:.1%} of the generator's are like them", err=True
            )
        typer.echo(f"{out}: load it with FaceAnonPipeline.from_pretrained", err=True)


def convert(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="StyleGAN2 weights: .pt, .pth or .safetensors.")],
    out: Annotated[Path, typer.Argument(help="Folder for the generator; give it to `fit --generator`.")],
    force: Force = False,
) -> None:
    """Read the weights of a StyleGAN2 generator; no code of the file is run.

    Known are the layouts of stylegan2-pytorch (`g_ema`) and of stylegan2-ada-pytorch (`G_ema.state_dict()`).
    """
    _check({"FILE": source, "OUT": out}, out, "config.json", force)
    from ..generators.stylegan2 import read_stylegan2

    generator = read_stylegan2(source)
    with replacing_folder(out) as partial:
        generator.half().save_pretrained(partial)
    typer.echo(f"{out}: draws pictures of {generator.config.sizes[-1]} px; next: faceanon fit", err=True)


def _read_generator(folder: Path) -> Any:
    from .. import FaceAnonGenerator, StyleGAN2Generator
    from ..files import read_json

    kinds = {kind.__name__: kind for kind in (FaceAnonGenerator, StyleGAN2Generator)}
    named = read_json(folder / "config.json")
    kind = kinds.get(named.get("_class_name", "") if isinstance(named, dict) else "")
    if kind is None:
        raise CheckpointError(folder, f"is none of: {', '.join(kinds)}")
    return kind.from_pretrained(folder).float()


def _check(paths: dict[str, Any], out: Path, mark: str, force: bool) -> None:
    """Refuses paths that meet, and to overwrite what is there unasked, or what is of no such kind."""
    try:
        keep_apart(paths)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    check_name(out)
    if out.exists() and not force:
        raise typer.BadParameter(f"{out} exists; --force overwrites it", param_hint="OUT")
    if out.exists() and not (out / mark).is_file():
        raise typer.BadParameter(f"{out} holds no {mark}: it is not overwritten", param_hint="OUT")
