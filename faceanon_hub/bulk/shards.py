"""The parts of a dataset: image folders, WebDataset tars and Parquet files, each done whole or not at all."""

import csv
import errno
import io
import json
import os
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import FaceAnonError, MissingDependencyError, UnreadableImageError, UnwritableImageError
from ..faces import Face, FaceStatus, crowd_note
from ..files import APPLE_DOUBLE, SPECIAL
from ..io.harmless import why_not
from ..io.photos import PHOTO_SUFFIXES, is_media
from .batch import AnonymizeBatch
from .cells import can_hold_photos, is_plain
from .folders import COUNTED
from .storage import SIDE, is_local, open_file, put, put_json, read_file, system_of
from .tree import matches

# What 🤗 Datasets takes from an image folder beside the photos, and can be copied row by row.
METADATA = ("metadata.jsonl", "metadata.csv")
FULL = (errno.ENOSPC, errno.EDQUOT)
FOLDER_SHARD = 64  # photos of an image folder that one actor takes at a time
Sample = list[tuple[tarfile.TarInfo, bytes | None]]  # files of a row; None where one cannot be read


@dataclass(frozen=True)
class Shard:
    """A part of a dataset that is read, anonymized and written by one actor, whole or not at all."""

    name: str
    kind: str  # "folder", "tar" or "parquet"
    paths: tuple[str, ...]  # below the source


def find_shards(source: str) -> tuple[list[Shard], list[str]]:
    """The parts of a dataset, and the files that are in none."""
    system, root = system_of(source)
    try:
        found = system.isdir(root)
    except Exception as error:  # of a kind of its own for each file system
        raise UnreadableImageError(source, f"cannot be reached: {' '.join(str(error).split())}") from error
    if not found:
        raise UnreadableImageError(source, "no such folder")
    files = sorted(PurePosixPath(path).relative_to(PurePosixPath(root)).as_posix() for path in system.find(root))
    special = [path for path in files if is_local(system) and not Path(root, path).is_file()]
    beside = [path for path in files if PurePosixPath(path).name.startswith("._") and path not in special]
    files = sorted({*files}.difference(p for p in beside if _is_apple_double(p, read_file(system, f"{root}/{p}"))))
    photos = [path for path in files if PurePosixPath(path).suffix.lower() in PHOTO_SUFFIXES]
    for kind in ("parquet", "tar"):
        found = [path for path in files if path.lower().endswith(f".{kind}")]
        if photos and all(PurePosixPath(path).name == "metadata.parquet" for path in found):
            continue  # metadata of photos, which are the rows
        if found:
            _refuse(source, set(special).intersection(found))
            return [Shard(path, kind, (path,)) for path in found], sorted(set(files) - set(found))
    if not photos:
        raise UnreadableImageError(source, "holds neither Parquet files, WebDataset tars nor photos")
    _refuse(source, set(special).intersection(photos))
    shards = [
        Shard(f"part-{start // FOLDER_SHARD:06d}", "folder", tuple(photos[start : start + FOLDER_SHARD]))
        for start in range(0, len(photos), FOLDER_SHARD)
    ]
    return shards, sorted(set(files) - set(photos))


def _refuse(source: str, special: set[str]) -> None:
    if special:
        raise UnreadableImageError(f"{source}/{min(special)}", f"a link to nothing, or {SPECIAL}")


def copy_metadata(places: tuple[str, str], path: str, done: set[str]) -> str | None:
    """Copies the metadata of an image folder's photos, without the rows of those that failed; or says why not."""
    system, root = system_of(places[0])
    content = read_file(system, f"{root}/{path}")
    why = why_not(content)
    if why is not None:
        return why
    folder, text, made = PurePosixPath(path).parent, content.decode("utf-8-sig"), io.StringIO(newline="")

    def is_done(row: dict[str, Any]) -> bool:
        names = [value for key, value in row.items() if str(key).endswith("file_name")]
        return all(os.path.normpath(folder / str(name)) in done for name in names)

    try:
        if path.endswith(".jsonl"):
            lines = (line for line in text.splitlines() if line.strip())
            made.writelines(f"{line}\n" for line in lines if is_done(json.loads(line)))
        else:
            rows = csv.DictReader(io.StringIO(text, newline=""))
            writer = csv.DictWriter(made, rows.fieldnames or [], lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for row in rows if is_done(row))
    except (ValueError, AttributeError, csv.Error) as error:  # AttributeError: a line that holds no object
        return f"damaged: {error}"
    put(places[1], path, made.getvalue().encode())
    return None


def mark_of(shard: Shard) -> str:
    """Where the mark of a shard that is done lies, below the target."""
    return f"{SIDE}/shards/{shard.name}.json"


@dataclass
class ShardWork:
    """Does shards. It travels to the actors as it is; each loads its own pipeline."""

    places: tuple[str, str]
    column: str | None
    seed: int
    network: dict[str, Any]
    retries: int
    batch_rows: int
    quality: int
    trust: list[str]
    max_pixels: int
    options: dict[str, Any]

    def __post_init__(self) -> None:
        given = {**self.network, "max_pixels": self.max_pixels, **self.options}
        self.batch = AnonymizeBatch(seed=self.seed, quality=self.quality, trust=self.trust, **given)

    def __call__(self, shard: Shard) -> dict[str, Any]:
        """Anonymizes a shard. Returns its mark: rows, faces and failures; or the error, where it cannot be read."""
        do = {"parquet": self._parquet, "tar": self._tar, "folder": self._folder}[shard.kind]
        _ = self.batch.pipe  # here, so that a missing checkpoint is not taken for rows that fail
        for attempt in range(self.retries + 1):
            mark: dict[str, Any] = {"shard": shard.name, "rows": 0, "faces": Counter(), "failures": [], "crowds": []}
            try:
                do(shard, mark)
                mark["faces"] = {name: mark["faces"][name] for name in COUNTED}
                put_json(self.places[1], mark_of(shard), mark)
                break
            except UnreadableImageError as error:
                return {"shard": shard.name, "error": error.cause}
            except UnwritableImageError:
                if attempt == self.retries:
                    raise
            except OSError as error:
                if error.errno in FULL:
                    cause = f"{error.strerror} in the folder for temporary files"
                    raise UnwritableImageError(f"{self.places[1]}/{shard.paths[0]}", cause) from error
                if attempt == self.retries:
                    return {"shard": shard.name, "error": error.strerror or str(error)}
        return mark

    def _note(self, mark: dict[str, Any], row: Any, error: str | None, faces: list[Face]) -> None:
        mark["rows"] += 1
        mark["faces"].update(face.status.value for face in faces if face.status is not FaceStatus.FOUND)
        mark["faces"]["small"] += sum(face.small for face in faces)
        if note := crowd_note(faces, self.options.get("hide_small", False)):
            mark["crowds"].append({"row": row, "note": note})
        if error is not None:
            mark["failures"].append({"row": row, "error": error})

    def _folder(self, shard: Shard, mark: dict[str, Any]) -> None:
        system, root = system_of(self.places[0])
        for start in range(0, len(shard.paths), self.batch_rows):
            paths = shard.paths[start : start + self.batch_rows]
            values = [read_file(system, f"{root}/{path}") for path in paths]
            for path, (content, error, faces) in zip(paths, self.batch.rows(values), strict=True):
                self._note(mark, path, error, faces)
                if content is not None:
                    put(self.places[1], path, content)

    def _tar(self, shard: Shard, mark: dict[str, Any]) -> None:
        system, root = system_of(self.places[0])
        with tempfile.TemporaryFile() as made:
            try:
                with (
                    open_file(system, f"{root}/{shard.paths[0]}") as file,
                    tarfile.open(fileobj=file, mode="r:") as old,  # not a stream: links lead back
                    tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as new,
                ):
                    waiting: list[Sample] = []
                    for sample in _samples(old):
                        waiting.append(sample)
                        if len(waiting) == self.batch_rows:
                            self._write_samples(waiting, new, mark)
                            waiting = []
                    self._write_samples(waiting, new, mark)
            except tarfile.TarError as error:
                raise UnreadableImageError(shard.name, f"no tar, or cut short: {error}") from error
            made.seek(0)
            put(self.places[1], shard.paths[0], made)

    def _write_samples(self, samples: list[Sample], new: tarfile.TarFile, mark: dict[str, Any]) -> None:
        photos = [content for sample in samples for info, content in sample if _is_photo(info, content)]
        made = iter(self.batch.rows(photos))
        for sample in samples:
            key, errors, seen = _key(sample[0][0].name), [], []
            for info, content in sample:
                if content is None:
                    errors.append(f"{PurePosixPath(info.name).name}: a link to nothing, or {SPECIAL}")
                    continue
                if _is_photo(info, content):
                    result, error, faces = next(made)
                    seen += faces
                    if result is None:
                        errors.append(f"{PurePosixPath(info.name).name}: {error}")
                        continue
                    content = result
                elif not any(matches(info.name, pattern) for pattern in self.trust):
                    why = why_not(content)
                    if why is not None:
                        errors.append(f"{PurePosixPath(info.name).name}: {why}")
                        continue
                _add(new, info.name, content)
            if errors:
                _add(new, f"{key}.error", "; ".join(errors).encode())
            self._note(mark, key, "; ".join(errors) or None, seen)

    def _parquet(self, shard: Shard, mark: dict[str, Any]) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise missing("pyarrow", error) from error
        system, root = system_of(self.places[0])
        try:
            with open_file(system, f"{root}/{shard.paths[0]}") as file, tempfile.TemporaryFile() as made:
                table = pq.ParquetFile(file)
                schema = _harmless_schema(table.schema_arrow, shard.name)
                names = schema.names
                if self.column is not None and self.column not in names:
                    raise UnreadableImageError(shard.name, f"has no column {self.column!r}, but {', '.join(names)}")
                holders = [entry.name for entry in schema if can_hold_photos(entry.type)]
                if self.column is None and not holders:
                    raise UnreadableImageError(shard.name, "no column can be photos; say which with `column`")
                # The only bytes there are must be photos, text or not.
                alone = len(holders) == 1 and not schema.field(holders[0]).type.num_fields
                named = holders[0] if self.column is None and alone else self.column
                with pq.ParquetWriter(made, schema) as writer:
                    for group in range(table.num_row_groups):
                        made_rows = []
                        for rows in table.iter_batches(self.batch_rows, row_groups=[group]):
                            columns = dict(zip(names, rows.columns, strict=True))
                            old = {n: c.to_pylist() for n, c in columns.items() if not is_plain(c.type)}
                            new, errors, faces = self.batch.columns(old, named, self.places[0])
                            for cause, seen in zip(errors, faces, strict=True):
                                self._note(mark, mark["rows"], cause, seen)
                            columns |= {n: _array(new[n], columns[n].type) for n in old if new[n] != old[n]}
                            made_rows.append(pa.RecordBatch.from_arrays(list(columns.values()), schema=schema))
                        writer.write_table(pa.Table.from_batches(made_rows, schema))
                made.seek(0)
                put(self.places[1], shard.paths[0], made)
        except pa.ArrowException as error:
            raise UnreadableImageError(shard.name, f"no Parquet, or damaged: {error}") from error


def missing(package: str, error: ImportError) -> FaceAnonError:
    """The error of a package of the extra `scale` that cannot be imported."""
    if isinstance(error, ModuleNotFoundError):
        return MissingDependencyError(package, "faceanon-hub[scale]")
    return FaceAnonError(f"{package} is installed but cannot be imported: {error}")


def _harmless_schema(schema: Any, name: str) -> Any:
    """A schema without metadata that may hold a picture."""
    import pyarrow as pa

    if len(set(schema.names)) < len(schema.names):
        raise UnreadableImageError(name, "has two columns of one name")
    for entry in schema:
        inner = [part for part in _fields(entry.type) if part.metadata and _harmless(part.metadata) != part.metadata]
        if inner:
            raise UnreadableImageError(name, f"column {entry.name!r} has metadata that may hold a picture")
    fields = [entry.with_metadata(_harmless(entry.metadata)) for entry in schema]
    return pa.schema(fields, _harmless(schema.metadata))


def _harmless(metadata: dict[bytes, bytes] | None) -> dict[bytes, bytes] | None:
    return metadata and {key: value for key, value in metadata.items() if why_not(key + b": " + value) is None}


def _fields(kind: Any) -> Iterator[Any]:
    """The fields of a type of Arrow, at any depth."""
    for number in range(kind.num_fields):
        yield kind.field(number)
        yield from _fields(kind.field(number).type)


def _array(values: list[Any], kind: Any) -> Any:
    """Values as an array of a type of Arrow, also of those for which there is no direct way."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, _array(values, kind.storage_type))
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    return pa.array(values, kind)


def _is_photo(info: tarfile.TarInfo, content: bytes | None) -> bool:
    """Whether a file is to be anonymized: by name, or by content, videos included, which then fail."""
    if content is None:
        return False
    return PurePosixPath(info.name).suffix.lower() in PHOTO_SUFFIXES or is_media(content)


def _is_apple_double(path: str, content: bytes) -> bool:
    return PurePosixPath(path).name.startswith("._") and content.startswith(APPLE_DOUBLE)


def _key(name: str) -> str:
    """What WebDataset groups by: the path up to the first dot of the name."""
    path = PurePosixPath(name)
    return str(path.with_name(path.name.split(".")[0])) if path.name.split(".")[0] else name


def _samples(tar: tarfile.TarFile) -> Iterator[Sample]:
    sample: Sample = []
    for info in tar:
        if info.isdir():
            continue
        content = _member(tar, info)
        if content is not None and _is_apple_double(info.name, content):
            continue
        if sample and _key(sample[0][0].name) != _key(info.name):
            yield sample
            sample = []
        sample.append((info, content))
    if sample:
        yield sample


def _member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes | None:
    """The content of a file, or of what a link leads to; None where there is none."""
    try:
        file = tar.extractfile(info)
    except (KeyError, RecursionError):  # a link to nothing, or to itself
        return None
    return None if file is None else file.read()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)  # a new one: the old one names the owner, and may hold anything as pax headers
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
