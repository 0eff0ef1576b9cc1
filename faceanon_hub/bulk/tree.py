"""The files of a folder tree: which of them are done, where their results go, and the zones for each."""

import hashlib
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..errors import UnreadableError, UnreadableImageError
from ..files import APPLE_DOUBLE, NAME_MAX, PARTIAL, open_regular, read_json
from ..io.photos import PHOTO_SUFFIXES
from ..video.container import VIDEO_SUFFIXES

STATE = ".faceanon"  # folder of a run's state, in its target


def check_apart(source: Path, others: list[Path]) -> None:
    """Refuses results inside the originals, and originals inside the results.

    Raises:
        ValueError: one folder lies in the other.
    """
    inside = source.resolve()
    for other in others:
        place = other.resolve()
        if place == inside or place.is_relative_to(inside):
            raise ValueError(f"{other} lies in {source}: its files would be taken for originals the next time")
    if inside.is_relative_to(others[0].resolve()):
        raise ValueError(f"{source} lies in {others[0]}: its originals could be overwritten")


def walk(source: Path) -> tuple[list[str], int, dict[str, str]]:
    """Files below a folder by path, sorted; how many links and special files are left out; folders it cannot open."""
    root, files, links = source.resolve(), [], 0
    closed: dict[str, str] = {}

    def refuse(error: OSError) -> None:
        closed[Path(error.filename).relative_to(source).as_posix()] = f"cannot be opened: {error.strerror}"

    for folder, folders, names in os.walk(source, onerror=refuse):
        folders[:] = [name for name in folders if name != STATE]  # of an earlier run into what is now the source
        links += sum(Path(folder, name).is_symlink() for name in folders)
        for name in names:
            path = Path(folder, name)
            if name.startswith(PARTIAL):  # what a killed run was writing
                continue
            if name.startswith("._") and _head(path) == APPLE_DOUBLE:
                links += 1
            elif path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(root)):
                files.append(path.relative_to(source).as_posix())
            else:
                links += 1
    return sorted(files), links, closed


def _head(path: Path) -> bytes:
    """The first bytes of a file; none of what cannot be read."""
    with suppress(OSError), open_regular(path) as file:
        return file.read(len(APPLE_DOUBLE))
    return b""


def matches(path: str, pattern: str) -> bool:
    """Whether a path, or its name where the pattern has no slash, fits a shell pattern; case does not matter."""
    path, pattern = path.lower(), pattern.lower()
    return fnmatchcase(path, pattern) or ("/" not in pattern and fnmatchcase(PurePosixPath(path).name, pattern))


def is_chosen(path: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether a path fits a pattern to include, where there are any, and none to exclude."""
    wanted = not include or any(matches(path, pattern) for pattern in include)
    return wanted and not any(matches(path, pattern) for pattern in exclude)


def kind_of(path: str) -> str:
    """What a path is by its name: "photo", "video" or "other"."""
    suffix = PurePosixPath(path).suffix.lower()
    return "photo" if suffix in PHOTO_SUFFIXES else "video" if suffix in VIDEO_SUFFIXES else "other"


def output_of(path: str, kind: str, suffix: str, photo_format: str | None) -> str:
    """Where the result of a path lies, below the target; the format begins with a dot."""
    if kind == "other":
        return path
    old = PurePosixPath(path)
    ending = photo_format if kind == "photo" and photo_format else old.suffix
    return str(old.with_name(f"{old.stem}{suffix}{ending}"))


def report_of(path: str) -> str:
    """Where a file's report lies, below the folder of reports; a name that would be too long ends with its hash."""
    whole = PurePosixPath(f"{path}.json")
    name = os.fsencode(whole.name)
    if len(name) <= NAME_MAX - len("..partial"):  # as it is called while it is written
        return str(whole)
    head = os.fsdecode(name[: NAME_MAX // 2]).encode(errors="ignore").decode()
    return str(whole.with_name(f"{head}-{hashlib.sha256(name).hexdigest()[:16]}.json"))


def plain(entries: Sequence[Any]) -> list[Any]:
    """Numbers and boxes as JSON gives them back, so that records can be compared."""
    return [int(entry) if np.ndim(entry) == 0 else [float(v) for v in entry] for entry in entries]


def read_zones(path: Path, files: list[str]) -> dict[str, dict[str, Any]]:
    """The boxes to keep and to hide, by pattern of paths, of a JSON file `{pattern: {"keep": [...], "hide": [...]}}`.

    Raises:
        UnreadableImageError: the file is missing or says something else, or a pattern matches none of the paths.
    """
    try:
        zones = read_json(path)
    except UnreadableError as error:
        raise UnreadableImageError(path, error.cause) from error
    if not isinstance(zones, dict):
        raise UnreadableImageError(path, 'expected {pattern: {"keep": [...], "hide": [...]}}')
    for pattern, entry in zones.items():
        if not isinstance(entry, dict) or not set(entry) <= {"keep", "hide"}:
            raise UnreadableImageError(path, f'{pattern!r}: expected {{"keep": [...], "hide": [...]}}')
        for key, boxes in entry.items():
            if not isinstance(boxes, list) or not all(
                _is_box(box) or (key == "keep" and _is_number(box)) for box in boxes
            ):
                raise UnreadableImageError(path, f"{pattern!r}: `{key}` takes boxes [left, top, right, bottom]")
        # A slip of the pen would leave visible what was to be hidden.
        if not any(matches(file, pattern) for file in files):
            raise UnreadableImageError(path, f"{pattern!r} matches no file")
    return zones


def _is_box(entry: Any) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 4
        and all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < math.inf for v in entry)
    )


def _is_number(entry: Any) -> bool:
    return isinstance(entry, int) and not isinstance(entry, bool)
