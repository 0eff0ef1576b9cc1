"""Output folders that a run claims, so that the same call goes on where it was stopped."""

import json
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from .errors import FaceAnonError, UnwritableError
from .files import naming, read_json, write_text


def claim_folder(
    folder: Path, settings: Mapping[str, Any], mark: str = "settings.json", free: Collection[str] = ()
) -> None:
    """Marks a folder as that of a run with these settings; it is made where it is not there.

    Args:
        folder (`Path`):
            Where the run writes.
        settings (`dict`):
            All that changes its results, ready for JSON.
        mark (`str`, *optional*, defaults to `"settings.json"`):
            Name of the file that holds them.
        free (`list[str]`, *optional*):
            Settings that may change between calls.

    Raises:
        FaceAnonError: the folder holds a run with other settings, or files of somebody else.
        UnreadableError: the mark is no JSON.
        UnwritableError: the folder cannot be written.
    """
    if (folder / mark).is_file():
        check_settings(folder, read_json(folder / mark), settings, free)
    else:
        check_empty(folder)
    make_folder(folder)
    write_text(folder / mark, json.dumps(settings, indent=2) + "\n")


def check_settings(
    folder: Any,
    before: Mapping[str, Any],
    settings: Mapping[str, Any],
    free: Collection[str] = (),
    advice: str = "choose another folder",
) -> None:
    """Refuses to go on with other settings than a run had before.

    Raises:
        FaceAnonError: settings differ; the message names them.
    """
    other = [name for name, value in settings.items() if name not in free and before.get(name) != value]
    if other:
        raise FaceAnonError(f"{folder}: holds a run with another {', '.join(other)}; {advice}")


def check_empty(folder: Path) -> None:
    """Refuses a folder with files in it that no mark claims.

    Raises:
        FaceAnonError: there are some.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise FaceAnonError(f"{folder}: holds files that were not made here; choose another folder")


def make_folder(folder: Path) -> None:
    """Makes a folder, and those above it.

    Raises:
        UnwritableError: it cannot be made.
    """
    with naming(folder, UnwritableError):
        folder.mkdir(parents=True, exist_ok=True)


def settle_seed(before: Mapping[str, Any] | None, seed: int | None) -> tuple[int, bool]:
    """The seed of a run: the one that is given, else that of the run which was stopped, else a new one; and whether it
    was drawn.

    `before` are the settings of the run that the folder holds: `"seed"`, None once a run with a drawn seed is
    complete, and `"drawn"`.
    """
    if seed is not None:
        return seed, False
    if before is not None and before["seed"] is not None:
        return before["seed"], before["drawn"]
    return secrets.randbits(63), True
