"""What commands print, their exit codes, and the checks that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from ..errors import FaceAnonError, UnreadableError, UnwritableError
from ..files import check_name, check_target, keep_apart

if TYPE_CHECKING:
    from ..pipeline import FaceAnonPipeline

FAILED, OBFUSCATED, UNCHANGED, UNREADABLE, UNWRITABLE, PARTLY, NO_FACE, STOPPED = 1, 3, 3, 4, 5, 6, 7, 130
PIPED = Path("-")  # standard input or output
MOST_LINES = 10  # of each list in a summary

console = Console(stderr=True)


def say(text: str, style: str | None = None) -> None:
    """Prints a line to standard error, as it is."""
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """Prints a line in yellow."""
    say(text, "yellow")


def exit_code(error: FaceAnonError) -> int:
    """The exit code of a command that an error ends."""
    if isinstance(error, UnreadableError):
        return UNREADABLE
    return UNWRITABLE if isinstance(error, UnwritableError) else FAILED


@contextmanager
def as_usage(option: str | None = None) -> Iterator[None]:
    """A `ValueError` inside the block is wrong usage, of an option where one is named: exit code 2."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def progress_bar(quiet: bool) -> Progress:
    """A bar on standard error that is gone when the block ends."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True, disable=quiet)


@contextmanager
def counted(things: str, quiet: bool) -> Iterator[Callable[..., None]]:
    """A bar; yields the function to call with how many things are done, and how many there are."""
    with progress_bar(quiet) as progress:
        task = progress.add_task("looking", total=None)

        def on_progress(done: int, total: int, *_: Any) -> None:
            progress.update(task, description=f"{done} of {total} {things}", completed=done, total=total)

        yield on_progress


def staged(progress: Progress) -> Callable[[str], Callable[[int, int], None]]:
    """For work in stages: a bar for each, which goes when the stage is done."""

    def stage(name: str) -> Callable[[int, int], None]:
        task = progress.add_task(name, total=None)
        return lambda done, total: progress.update(task, completed=done, total=total, visible=done < total)

    return stage


def listed(counts: dict[str, int], nothing: str) -> str:
    """Counts in words: `"2 anonymized, 1 kept"`."""
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or nothing


def below_limit(count: int) -> str:
    """How many faces are below the detector's limit, as the end of a summary."""
    return f"; {count} of them smaller than the detector's limit" if count else ""


def load(checkpoint: str | None, device: str = "cpu", dtype: str = "float32") -> FaceAnonPipeline:
    """The bundled pipeline, or another one, on a device."""
    from .. import DEFAULT_CHECKPOINT
    from ..loading import load_quietly

    with as_usage("--device"):
        return load_quietly(checkpoint or str(DEFAULT_CHECKPOINT), device, dtype)


def check_apart(paths: dict[str, Any], allowed: tuple[str, ...] = ()) -> None:
    """Refuses two names for one file, see [`files.keep_apart`]."""
    with as_usage():
        keep_apart(paths, allowed)


def check_new(paths: list[Path | None], force: bool) -> None:
    """Makes sure, before the work, that the files beside the result can be written."""
    for path in paths:
        if path is not None:
            check_target(path)
            if path.exists() and not force:
                raise typer.BadParameter(f"{path} exists; --force overwrites it")


def check_folder(folder: Path, mark: str, force: bool) -> None:
    """Refuses to overwrite a folder unasked, or one that lacks the file which marks its kind."""
    check_name(folder)
    if folder.exists() and not force:
        raise typer.BadParameter(f"{folder} exists; --force overwrites it", param_hint="OUT")
    if folder.exists() and not (folder / mark).is_file():
        raise typer.BadParameter(f"{folder} holds no {mark}: it is not overwritten", param_hint="OUT")


def check_kind(source: str, command: str) -> None:
    """Refuses a file or folder that is for another command, and names that one."""
    from ..io.photos import PHOTO_SUFFIXES
    from ..video.container import VIDEO_SUFFIXES

    other, suffixes = ("image", PHOTO_SUFFIXES) if command == "video" else ("video", VIDEO_SUFFIXES)
    if Path(source).suffix.lower() in suffixes:
        raise typer.BadParameter(f"{source} is for another command: faceanon {other}", param_hint="IN")
    check_name(Path(source), UnreadableError)
    if Path(source).is_dir():
        raise typer.BadParameter(f"{source} is a folder: faceanon folder", param_hint="IN")


def place(source: str, target: Path, force: bool) -> Path:
    """Where the result goes: in a folder, under the original's name."""
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


def numbered(name: str, paths: list[Path]) -> dict[str, Path]:
    """Paths of an argument that takes several, each by a name of its own."""
    return {f"{name} {number}": path for number, path in enumerate(paths, 1)}


def parse_zones(entries: list[str] | None, option: str) -> list[tuple[float, ...]]:
    """`LEFT,TOP,RIGHT,BOTTOM`, several times, to numbers."""
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


def parse_names(names: str, known: list[str], option: str) -> list[str]:
    """Names separated by commas, each one of those that are known."""
    chosen = [name.strip() for name in names.split(",")]
    for name in chosen:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is none of: {', '.join(known)}", param_hint=option)
    return chosen
