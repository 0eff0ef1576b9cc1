"""Flags that several commands have, and one flag for each field of `Options`."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from ..options import Options

Checkpoint = Annotated[str | None, typer.Option(help="Folder or Hub id, in place of the bundled one.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps, ...")]
Dtype = Annotated[
    Literal["float32", "bfloat16", "float16"],
    typer.Option(help="Of the networks. On a GPU, float16 and bfloat16 are faster, and colours differ slightly."),
]
Voice = Annotated[
    Literal["keep", "drop", "disguise"],
    typer.Option(help="A voice identifies, too. disguise: pitch and formants moved; no proof against who tries."),
]
Pairs = Annotated[
    Literal["none", "identities"], typer.Option(help="identities: the photos of one subfolder show one person.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; one for each core unless given.")]
Report = Annotated[Path | None, typer.Option(help="Write one record per face, or per track, as JSON.")]
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
Quality = Annotated[int, typer.Option(min=1, max=100, help="Of photos in lossy formats.")]
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
