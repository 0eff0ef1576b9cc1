"""The state of a run over a folder: its settings, one record a file, and a lock, so that a stopped run goes on."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import FaceAnonError, UnwritableImageError
from ..files import naming, read_json, write_text

Record = dict[str, Any]


class Ledger:
    """What is known of the files of a run, in its folder.

    A manifest holds the records of runs that ended; a journal takes those of the run at work, one line a file, so that
    a process that is killed loses at most the file it was at.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.partial = folder / "partial"  # results that are being written

    def settings(self) -> Record | None:
        """Settings of the run that the folder holds, with its `"seed"`; None where there was none.

        Raises:
            UnreadableError: they are damaged.
        """
        path = self.folder / "run.json"
        return read_json(path) if path.is_file() else None

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Replaces the settings.

        Raises:
            UnwritableImageError: they cannot be written.
        """
        write_text(self.folder / "run.json", json.dumps(settings, indent=2) + "\n", self.partial / "run.json")

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Makes the folder, and keeps other runs away while the block lasts; what a killed run was writing goes.

        Raises:
            FaceAnonError: another run is at work there.
            UnwritableImageError: the folder cannot be written.
        """
        lock = FileLock(self.folder / "lock", timeout=0)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock.acquire()
            shutil.rmtree(self.partial, ignore_errors=True)
            self.partial.mkdir(exist_ok=True)
        except Timeout:
            raise FaceAnonError(f"{self.folder.parent}: another run is at work there") from None
        except OSError as error:
            raise UnwritableImageError(self.folder, error.strerror or str(error)) from error
        try:
            yield
            shutil.rmtree(self.partial, ignore_errors=True)
        finally:
            lock.release()
            (self.folder / "lock").unlink(missing_ok=True)

    def read(self) -> dict[str, Record]:
        """Records by path: the manifest's, and over them those of the journal that a stopped run left."""
        records = {}
        for name in ("manifest.jsonl", "journal.jsonl"):
            path = self.folder / name
            for line in path.read_text().splitlines(keepends=True) if path.is_file() else ():
                if line.endswith("\n"):  # else it was cut short by the kill
                    record = json.loads(line)
                    records[record["path"]] = record
        return records

    def write(self, records: Mapping[str, Record]) -> None:
        """Replaces the manifest; the journal goes.

        Raises:
            UnwritableImageError: it cannot be written.
        """
        text = "".join(json.dumps(records[path]) + "\n" for path in sorted(records))
        write_text(self.folder / "manifest.jsonl", text, self.partial / "manifest.jsonl")
        (self.folder / "journal.jsonl").unlink(missing_ok=True)

    def forget(self) -> None:
        """Deletes all records."""
        for name in ("manifest.jsonl", "journal.jsonl"):
            (self.folder / name).unlink(missing_ok=True)

    @contextmanager
    def journal(self) -> Iterator[Callable[[Record], None]]:
        """A new journal; yields the function that appends a record to it.

        Raises:
            UnwritableImageError: it cannot be written.
        """
        path = self.folder / "journal.jsonl"
        with naming(path):
            file = path.open("w")

        def append(record: Record) -> None:
            with naming(path):
                file.write(json.dumps(record) + "\n")
                file.flush()

        with file:
            yield append
