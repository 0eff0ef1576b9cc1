"""Reading and writing files: only regular files are opened, and a new file replaces its target once it is complete."""

import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import combinations
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

from .errors import CheckpointError, FaceAnonError, UnreadableError, UnwritableError, UnwritableImageError

if sys.platform != "win32":
    import fcntl

PARTIAL = ".faceanon-"  # how the names of files begin that are being written
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # as of https://; one letter alone is a drive
# How files begin, named `._` and as the one beside them, in which macOS keeps what a disk has no place for.
APPLE_DOUBLE = b"\0\5\x16\7"
NAME_MAX = 255  # bytes of a name, on all usual file systems
SPECIAL = "a device, a pipe or a socket, not a file"


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a regular file for reading, links followed. A pipe would block for ever, and opening a device can have
    side effects.

    Raises:
        OSError: there is none, or it is something else; `strerror` says so in words.
        ValueError: it is no path, as with a zero byte in it.
    """
    try:
        _check_kind(Path(path).stat())  # first: opening alone can make a device act
    except FileNotFoundError:
        if ADDRESS.match(os.fspath(path)):
            raise OSError(errno.EINVAL, "an address, not a file: download it first") from None
        raise
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check_kind(os.fstat(number))  # and again: the name may stand for another file by now
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def _check_kind(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, SPECIAL)


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """The content of a regular file; errors as of [`open_regular`]."""
    with open_regular(path) as file:
        return file.read()


def digest_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a regular file; errors as of [`open_regular`]."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds.

    Raises:
        UnreadableError: it is missing, no regular file, or no JSON.
    """
    try:
        return json.loads(read_regular(path))
    except OSError as error:
        raise UnreadableError(os.fspath(path), error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise UnreadableError(os.fspath(path), f"no JSON: {error}") from error


def inside(folder: Path, name: str) -> Path:
    """The path of a file that another file, in this folder, names; it may only be there or below.

    Raises:
        ValueError: the name is no relative path, or leads out of the folder.
    """
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if not parts or "\0" in name or "\\" in name or PureWindowsPath(name).drive or {"/", ".."} & set(parts):
        raise ValueError(f"{name!r} leads out of the folder, or is no path")
    return folder / name


def check_name(path: Path, kind: Callable[[Path, str], FaceAnonError] = UnwritableImageError) -> None:
    """Makes sure that file systems take each name of a path: asked about a longer one, `pathlib` raises or says no.

    Raises:
        FaceAnonError: of the given kind: a name is longer than `NAME_MAX` bytes.
    """
    if any(len(os.fsencode(part)) > NAME_MAX for part in path.parts):
        raise kind(path, f"a name in it is longer than {NAME_MAX} bytes")


def check_target(target: Path, kind: type[UnwritableError] = UnwritableImageError) -> None:
    """Makes sure, before the work, that a file can be written: tries it under another name.

    Raises:
        UnwritableError: of the given kind, as of [`replacing`].
    """
    check_name(target, kind)
    with naming(target, kind):
        path, held = _hold(target)
        held.close()
        path.unlink()


def keep_apart(paths: Mapping[str, str | os.PathLike[str] | None], allowed: tuple[str, ...] = ()) -> None:
    """Makes sure that no two paths of a command are the same file or folder: one would be written over the other.

    Args:
        paths (`dict[str, str]`):
            All that it reads or writes, by what it calls them; None for what is not asked for.
        allowed (`tuple[str, ...]`, *optional*):
            Two names that may be the same.

    Raises:
        ValueError: two of them are, links followed; the message names both.
    """
    given = [(name, Path(path)) for name, path in paths.items() if path is not None]
    for (name, path), (other, place) in combinations(given, 2):
        if {name, other} != set(allowed) and _is_same(path, place):
            raise ValueError(f"{name} and {other} are the same: {path}")


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.resolve() == other.resolve() or path.samefile(other)  # by another name, as a hard link is
    except (OSError, ValueError, RuntimeError):  # one is not there, is no path, or is a loop of links
        return False


def check_checkpoint(folder: Path) -> None:
    """Makes sure that a checkpoint's folder, and those of its components, hold regular files only.

    Raises:
        CheckpointError: there is a device, a pipe or a socket in it.
    """
    for path in (*folder.glob("*"), *folder.glob("*/*")):
        with suppress(FileNotFoundError):  # a link to nothing
            if not (stat.S_ISREG(mode := path.stat().st_mode) or stat.S_ISDIR(mode)):
                raise CheckpointError(folder, f"{path.relative_to(folder)} is {SPECIAL}")


@contextmanager
def replacing(target: Path, kind: type[UnwritableError] = UnwritableImageError) -> Iterator[Path]:
    """A temporary file that replaces the target when the block ends, and is deleted when the block fails.

    It lies beside the target and is locked while it is written. Temporary files that killed processes left are not
    locked; they are deleted when the next file is written into the folder.

    Raises:
        UnwritableError: of the given kind: no such folder, no permission, no space left.
    """
    with naming(target, kind):
        _sweep(target.parent)
        temporary, held = _hold(target)
    try:
        yield temporary
        with naming(target, kind):
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, temporary)
            temporary.replace(target)
    finally:
        held.close()
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, kind: type[UnwritableError] = UnwritableImageError) -> None:
    """Writes a file whole or not at all; errors are those of [`replacing`]."""
    with replacing(path, kind) as temporary, naming(path, kind):
        temporary.write_bytes(content)


def write_text(path: Path, text: str, temporary: Path | None = None) -> None:
    """Writes a text file as [`write_whole`] does; first under the name `temporary`, where one is given."""
    if temporary is None:
        write_whole(path, text.encode())
        return
    try:
        with naming(path, UnwritableImageError):
            temporary.write_text(text)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_arrays(path: Path, kind: type[UnwritableError] = UnwritableImageError, **arrays: Any) -> None:
    """Writes an `.npz` file of NumPy's as [`write_whole`] does."""
    import numpy as np  # not needed by commands that only check paths

    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_whole(path, content.getvalue(), kind)


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """A new folder that takes the place of the target and what is in it when the block ends, and is deleted when the
    block fails.

    Raises:
        UnwritableError: no permission, no space left.
    """
    partial = target.with_name(f"{PARTIAL}{target.name}")
    with naming(target, UnwritableError):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    try:
        yield partial
        with naming(target, UnwritableError):
            if target.exists():
                shutil.rmtree(target)
            partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def naming(target: Path, kind: type[UnwritableError] = UnwritableImageError) -> Iterator[None]:
    """Turns errors of the file system inside the block into one that names the target.

    Raises:
        UnwritableError: of the given kind.
    """
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise kind(target, getattr(error, "strerror", None) or str(error)) from error


def _hold(target: Path) -> tuple[Path, BinaryIO]:
    """A new empty file beside the target, and the open handle that keeps it locked."""
    while True:
        path = target.with_name(f"{PARTIAL}{secrets.token_hex(8)}{target.suffix}")
        file = path.open("xb")
        if sys.platform == "win32":  # no lock, but no file that is open can be deleted or renamed, either
            file.close()
            return path, file
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:  # else it was swept before it was locked
            return path, file
        file.close()


def _sweep(folder: Path) -> None:
    """Deletes temporary files that killed processes left in a folder."""
    if sys.platform == "win32":
        return
    for path in folder.glob(f"{PARTIAL}*"):
        with suppress(OSError), open_regular(path) as file:  # in use, or gone already
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
