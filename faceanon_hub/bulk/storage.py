"""Files of datasets, on this machine or elsewhere: read, and put in their place once they are complete."""

import json
import secrets
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from ..errors import MissingDependencyError, UnreadableError, UnreadableImageError, UnwritableImageError
from ..files import open_regular

PARTIAL = "partial-"  # names of files in SIDE that are being written
SIDE = "_faceanon"  # readers of Parquet and of image folders pass over names that begin so


def system_of(place: str) -> tuple[Any, str]:
    """File system and path of a folder."""
    try:
        system, root = fsspec.core.url_to_fs(place)
    except ImportError as failure:
        scheme = place.partition("://")[0]
        packages = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs", "http": "aiohttp", "https": "aiohttp"}
        package = packages.get(scheme, scheme)
        raise MissingDependencyError(package, package) from failure
    except ValueError as failure:
        raise UnreadableImageError(place, str(failure)) from failure
    return system, root.rstrip("/")


def is_local(system: Any) -> bool:
    """Whether a file system is that of this machine."""
    return isinstance(system, fsspec.implementations.local.LocalFileSystem)


def open_file(system: Any, path: str) -> Any:
    """A file to read; here, a regular one."""
    return open_regular(path) if is_local(system) else system.open(path, "rb")


def read_file(system: Any, path: str) -> bytes:
    """The content of a file."""
    with open_file(system, path) as file:
        return file.read()


def read_json(system: Any, path: str) -> Any:
    """The values of a JSON file.

    Raises:
        UnreadableError: it is damaged.
    """
    try:
        return json.loads(read_file(system, path))
    except ValueError as error:
        raise UnreadableError(path, f"no JSON: {error}") from error


def is_partial(path: str, root: str) -> bool:
    """Whether a file is one that [`put`] was writing when its process was killed."""
    return PurePosixPath(path).is_relative_to(f"{root}/{SIDE}") and PurePosixPath(path).name.startswith(PARTIAL)


def put(target: str, name: str, content: Any) -> None:
    """Puts a file in its place once it is complete: renamed here, uploaded whole elsewhere."""
    system, root = system_of(target)
    path = f"{root}/{name}"
    local = is_local(system)
    partial = f"{root}/{SIDE}/{PARTIAL}{secrets.token_hex(8)}" if local else path
    try:
        system.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        if local and not Path(path).parent.resolve().is_relative_to(Path(root).resolve()):
            raise UnwritableImageError(path, "a link leads out of the folder")
        system.makedirs(f"{root}/{SIDE}", exist_ok=True)
        with system.open(partial, "wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                while block := content.read(2**22):
                    file.write(block)
        if local:
            Path(partial).replace(path)
    except OSError as error:
        if local:
            with suppress(OSError):
                Path(partial).unlink(missing_ok=True)
        raise UnwritableImageError(path, error.strerror or str(error)) from error


def put_json(target: str, name: str, values: dict[str, Any]) -> None:
    """Puts a JSON file in its place, as [`put`] does."""
    put(target, name, (json.dumps(values, indent=2) + "\n").encode())


def is_below(place: str, other: str) -> bool:
    """Whether a folder is another one, or lies in it."""
    (system, path), (owner, folder) = system_of(place), system_of(other)
    if is_local(system) and is_local(owner):
        return Path(path).resolve().is_relative_to(Path(folder).resolve())
    inside = PurePosixPath(path).is_relative_to(PurePosixPath(folder))
    return inside and type(system) is type(owner)
