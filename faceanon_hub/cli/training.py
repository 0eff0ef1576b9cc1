"""`faceanon fit`, `convert`, `prepare` and `train`: from photos or a generator to a checkpoint."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import CheckpointError
from ..files import replacing_folder
from . import console, flags
from .extras import check_extra

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
    checkpoint: flags.Checkpoint = None,
    device: flags.Device = "cpu",
    force: Force = False,
    quiet: flags.Quiet = False,
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
    console.check_apart(paths)
    console.check_folder(out, "model_index.json", force)
    from ..training.fits import fit_pipeline, follow_photos, save_half
    from ..training.following import look_at_photos

    summary = []
    with console.progress_bar(quiet) as progress:
        stage = console.staged(progress)
        pipe = console.load(checkpoint, device)
        if generator is not None:
            with console.as_usage("--generator"):
                pipe.register_modules(generator=_read_generator(generator).to(device))
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
        for line in (*summary, f"{out}: load it with FaceAnonPipeline.from_pretrained"):
            console.say(line)


def convert(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="StyleGAN2 weights: .pt, .pth or .safetensors.")],
    out: Annotated[Path, typer.Argument(help="Folder for the generator; give it to `fit --generator`.")],
    force: Force = False,
) -> None:
    """Read the weights of a StyleGAN2 generator; no code of the file is run.

    Known are the layouts of stylegan2-pytorch (`g_ema`) and of stylegan2-ada-pytorch (`G_ema.state_dict()`).
    """
    console.check_apart({"FILE": source, "OUT": out})
    console.check_folder(out, "config.json", force)
    from ..generators.stylegan2 import read_stylegan2

    generator = read_stylegan2(source)
    with replacing_folder(out) as partial:
        generator.half().save_pretrained(partial)
    console.say(f"{out}: draws pictures of {generator.config.sizes[-1]} px; next: faceanon fit --bank")


def prepare(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Folders or tars of photos.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the crops.")],
    licence: Annotated[
        list[str],
        typer.Option(help="What a source may be used for; once for each SOURCE, in order. Ends on the card."),
    ],
    size: Annotated[int, typer.Option(min=64, max=1024, help="Pixels at which a generator will be trained.")] = 256,
    pairs: flags.Pairs = "none",
    validation: Annotated[float, typer.Option(min=0, max=0.5, help="Share of people, or photos, held out.")] = 0.02,
    workers: flags.Workers = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest to standard output.")] = False,
    quiet: flags.Quiet = False,
) -> None:
    """Cut the faces out of photos, for training, as the pipeline aligns them.

    Stopped half-way, the same command goes on where it was; other sources can be added to OUT. Needs the extra train.
    """
    console.check_apart({**console.numbered("SOURCE", sources), "OUT": target})
    check_extra("train")
    from ..training.preparation import prepare_faces

    with console.counted("photos", quiet) as on_progress:
        manifest = prepare_faces(
            sources,
            target,
            licence,
            size=size,
            identities=pairs == "identities",
            validation=validation,
            workers=workers or os.cpu_count() or 1,
            on_progress=on_progress,
        )
    if as_json:
        typer.echo(json.dumps(manifest, indent=2))
    if not quiet:
        for name, source in manifest["sources"].items():
            counts = source["samples"]
            cut = f"{counts['train']} faces to train on, {counts['validation']} held out"
            dropped = "".join(f"; {count} {reason}" for reason, count in source["dropped"].items())
            console.say(f"{name}: {source['photos']} photos, {cut}{dropped}; licence: {source['licence']}")


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file with the settings of the run.")],
    target: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="Folder for checkpoints; runs/NAME-OF-CONFIG unless given.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="Folder of a checkpoint to go on from, in place of the bundled one.")
    ] = None,
    quiet: flags.Quiet = False,
) -> None:
    """Fine-tune the generator on photos that `faceanon prepare` made crops of.

    Each checkpoint is a pipeline with averaged weights and a sampler fitted to them. Stopped half-way, the same
    command goes on where it was. Needs the extra train.

    On several GPUs: accelerate launch -m faceanon_hub train CONFIG OUT
    """
    console.check_apart({"CONFIG": config, "OUT": target, "--from": start})
    quiet = quiet or os.environ.get("RANK", "0") != "0"
    check_extra("train")
    from ..diffusion import logging
    from ..training.config import read_config
    from ..training.trainer import train as run

    logging.disable_progress_bar()
    settings = read_config(config)
    if start is not None:
        settings = settings.model_copy(update={"start": str(start.resolve())})
    with console.progress_bar(quiet) as progress:
        task = progress.add_task("loading", total=settings.steps)

        def on_progress(step: int, steps: int, speed: float) -> None:
            progress.update(task, description=f"step {step}, {speed:.1f} photos/s", completed=step)

        checkpoint = run(settings, target or Path("runs") / config.stem, on_progress, console.staged(progress))
    if not quiet:
        console.say(f"{checkpoint}: trained")


def _read_generator(folder: Path) -> Any:
    from .. import FaceAnonGenerator, StyleGAN2Generator
    from ..files import read_json

    kinds = {kind.__name__: kind for kind in (FaceAnonGenerator, StyleGAN2Generator)}
    named = read_json(folder / "config.json")
    kind = kinds.get(named.get("_class_name", "") if isinstance(named, dict) else "")
    if kind is None:
        raise CheckpointError(folder, f"is none of: {', '.join(kinds)}")
    return kind.from_pretrained(folder).float()
