"""`faceanon info`, `push`, `app` and `space`: checkpoints and the web demo."""

import json
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .. import __version__
from ..errors import FaceAnonError, MissingDependencyError, UnreadableError
from . import console, flags
from .extras import check_extra

space = typer.Typer(no_args_is_help=True, help="The demo as a Hugging Face Space.")


def info(
    checkpoint: Annotated[
        str | None, typer.Argument(metavar="CHECKPOINT", help="Folder or Hub id; the bundled one unless given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print versions, and the card of a checkpoint: prior, data, draws, nearest photos, evaluation."""
    import torch

    from .. import DEFAULT_CHECKPOINT
    from ..hub import card_facts, describe

    pipe = console.load(checkpoint)
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


def push(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Folder of a pipeline.")],
    repo_id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository, made if it does not exist.")],
    licence: Annotated[str, typer.Option(help="Of the weights: the Hub's name of one, or other:NAME.")],
    evaluation: Annotated[Path | None, typer.Option(help="report.json of `faceanon evaluate`, for the card.")] = None,
    sheet: Annotated[bool, typer.Option(help="Show people that it draws.")] = True,
    private: Annotated[bool, typer.Option("--private/--public", help="Who may see a new repository.")] = True,
) -> None:
    """Upload a pipeline with a card of its figures, with the token of `hf auth login`."""
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
    with _uploading(repo_id):
        pipe = console.load(str(checkpoint))
        check_measured(pipe, str(checkpoint))
        picture = people_sheet(pipe.generator, pipe.draw_people(range(SHEET_PEOPLE))) if sheet else None
        pipe = FaceAnonPipeline.from_pretrained(checkpoint, dtype=torch.float16)
        address = pipe.push_to_hub(repo_id, private=private, evaluation=evaluation, licence=licence, sheet=picture)
    typer.echo(address)


def demo(
    checkpoint: flags.Checkpoint = None,
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
        raise MissingDependencyError(error.name or "gradio", "faceanon-hub[demo]") from error
    launch(checkpoint or DEFAULT_CHECKPOINT, mcp=mcp, server_name=host, server_port=port)


@space.command("build")
def build_space(folder: Annotated[Path, typer.Argument(help="Folder to make; it must not exist.")]) -> None:
    """Write the folder that a Space runs."""
    from ..demo.space import assemble

    assemble(folder)
    console.say(f"{folder}: run it with `python app.py` inside it")


@space.command("push")
def push_space(
    repo_id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The Space, made if it does not exist.")],
    private: Annotated[bool, typer.Option(help="Make it private.")] = False,
) -> None:
    """Upload the demo as a Space, with the token of `hf auth login`."""
    from ..demo import space as demo_space

    with _uploading(repo_id), tempfile.TemporaryDirectory() as folder:
        address = demo_space.push(repo_id, demo_space.assemble(Path(folder) / "space"), private or None)
    typer.echo(address)


@contextmanager
def _uploading(repo_id: str) -> Iterator[None]:
    """Errors of the Hub name the repository."""
    from huggingface_hub.errors import HTTPError

    try:
        yield
    except FaceAnonError:
        raise
    except (HTTPError, OSError, ValueError) as error:
        raise FaceAnonError(f"{repo_id}: {error}") from error


def _version(package: str) -> str:
    try:
        return installed(package)
    except PackageNotFoundError:
        return "missing"
