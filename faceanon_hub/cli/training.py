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
    out: Annotated[Path, typer.Argument(help="Folder for the checkpoint.")],
    photos: Annotated[
        Path | None, typer.Option(help="Folder of photos whose ages, tones and light the drawn people follow.")
    ] = None,
    bank: Annotated[
        Path | None,
        typer.Option(help="Fit the sampler anew, on faces drawn into this folder; what is there is not drawn again."),
    ] = None,
    generator: Annotated[
        Path | None, typer.Option(help="Folder of a generator, in place of the checkpoint's; needs --bank.")
    ] = None,
    count: Annotated[int, typer.Option(min=1000, help="Faces that are drawn into the bank.")] = 20000,
    checkpoint: Annotated[str | None, typer.Option(help="Folder or Hub id, in place of the bundled one.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, ...")] = "cpu",
    force: Force = False,
    quiet: Annotated[bool, typer.Option(help="No progress, no summary.")] = False,
) -> None:
    """Make a checkpoint whose people are like those of your photos, or one for another generator.

    `--photos` alone takes minutes. `--bank` draws 20,000 faces first: an hour or two on a CPU. Stopped half-way, the
    same command goes on where it was.
    """
    paths = {"OUT": out, "--photos": photos, "--bank": bank, "--generator": generator, "--checkpoint": checkpoint}
    if photos is None and bank is None:
        raise typer.BadParameter("--photos or --bank is needed")
    if generator is not None and bank is None:
        raise typer.BadParameter("another generator needs a fit of its own: --bank names a folder for it")
    _check(paths, out, "model_index.json", force)
    from .. import DEFAULT_CHECKPOINT
    from ..training.fits import fit_pipeline, follow_photos, save_half
    from ..training.following import look_at_photos
    from ..workers import load_quietly

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    try:
        pipe = load_quietly(checkpoint or str(DEFAULT_CHECKPOINT), device, "float32")
        if generator is not None:
            pipe.register_modules(generator=_read_generator(generator).to(device))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    summary = []
    with Progress(*columns, transient=True, disable=quiet) as progress:

        def stage(name: str) -> Callable[[int, int], None]:
            task = progress.add_task(name, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        looks = None if photos is None else look_at_photos(photos, pipe, stage("looking at photos"))
        if bank is not None:
            explained = fit_pipeline(pipe, bank, count, stage)
            shares = ", ".join(f"{name} {share:.2f}" for name, share in explained.items())
            summary.append(f"{count} faces; share of each row that a style explains: {shares}")
        if looks is not None:
            share = follow_photos(pipe, looks)
            summary.append(f"{len(looks)} faces of photos; {share:.1%} of the generator's are like them")
    with replacing_folder(out) as partial:
        save_half(pipe, partial)
    if not quiet:
        typer.echo("\n".join([*summary, f"{out}: load it with FaceAnonPipeline.from_pretrained"]), err=True)


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
