"""Several photos of a visitor, and what became of each."""

import json
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import PIL.Image

from . import retention
from .session import Session

NAME = 40  # characters of a file's name in a line


@dataclass(eq=False)
class Item:
    """A file of a batch: its entry in the report, what became of it in words, and, where there is one, its result.

    `hide` holds the zones that are hidden, in pixels; `picture` is as large as a gallery shows it.
    """

    file: str
    record: dict[str, Any]
    line: str
    path: Path | None = None
    picture: PIL.Image.Image | None = None
    hide: list[Any] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of the file, cut to what fits into a line."""
        name = self.record["input"]
        return name if len(name) <= NAME else f"{name[: NAME - 1]}…"

    @property
    def caption(self) -> str:
        """The name, and what became of the file."""
        return f"{self.name}: {self.line}"


@dataclass(eq=False)
class Batch:
    """The files that are done so far, in their order. What one thread adds, another may pack meanwhile."""

    folder: Path
    total: int = 0
    items: list[Item] = field(default_factory=list)
    seed: int = 0  # this, threshold and options are those of the run
    threshold: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)
    closed: bool = False  # nothing is added any more
    cancelled: bool = False
    opened: tuple[Item, Session] | None = None  # the one that is looked at

    def add(self, item: Item) -> None:
        """Takes a file that is done, unless the batch was closed meanwhile."""
        if self.closed:
            _remove(item.path)
        else:
            self.items.append(item)

    def forget(self, item: Item) -> None:
        """Removes the anonymized photo of a file, for which another one comes."""
        _remove(item.path)
        item.path = None

    @property
    def done(self) -> int:
        """Photos in the archive."""
        return sum(item.path is not None for item in self.items)

    @property
    def shown(self) -> list[Item]:
        """Files that could be read."""
        return [item for item in self.items if item.picture is not None]

    def pack(self) -> Path:
        """Writes a new archive of the anonymized photos, with `report.json`.

        Raises:
            OSError: a file was deleted, as all are after a while.
        """
        target = retention.place(self.folder, "anonymized.zip")
        with zipfile.ZipFile(target, "w") as archive:
            for item in self.items:
                if item.path is not None:
                    archive.write(item.path, item.record["output"])
            archive.writestr("report.json", json.dumps([item.record for item in self.items], indent=2))
        return target

    def open(self, item: Item, session: Session) -> None:
        """Looks at one file, and no longer at the one before."""
        self.close()
        self.opened = item, session

    def close(self) -> None:
        """Looks at none."""
        if self.opened is not None:
            self.opened[1].delete()
        self.opened = None

    def delete(self) -> None:
        """Removes the files."""
        self.closed = True
        self.close()
        for item in self.items:
            _remove(item.path)
        self.items = []


def _remove(path: Path | None) -> None:
    if path is not None:
        shutil.rmtree(path.parent, ignore_errors=True)
