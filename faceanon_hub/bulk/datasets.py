"""Datasets of photos: image folders, WebDataset tars and Parquet, in a loop or on Ray; and 🤗 Datasets' `map`."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import math
import os
import secrets
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import fsspec
import numpy as np
import PIL.Image

from .. import __version__
from ..errors import (
    FaceAnonError,
    MissingDependencyError,
    UnreadableError,
    UnreadableImageError,
    UnwritableImageError,
    cause_of,
)
from ..faces import Face, FaceStatus, crowd_note
from ..files import APPLE_DOUBLE, SPECIAL, check_name, open_regular
from ..hub import DEFAULT_CHECKPOINT, weights_digest
from ..io.harmless import why_not
from ..io.photos import MAX_PIXELS, PHOTO_SUFFIXES, Photo, encode_photo, is_media, photo_kind, read_photo
from ..options import Options
from ..ranges import check_number
from ..runs import check_settings, settle_seed
from ..threads import start_work
from ..workers import check_dtype, load
from .cells import can_hold_photos, is_photo, is_plain, mapped, refusal
from .folders import COUNTED
from .tree import matches

if TYPE_CHECKING:
    from ..pipeline import FaceAnonPipeline

Engine = Literal["local", "ray"]
PARTIAL = "partial-"  # names of files in SIDE that are being written
FULL = (errno.ENOSPC, errno.EDQUOT)
SIDE = "_faceanon"  # readers of Parquet and of image folders pass over names that begin so
# What 🤗 Datasets takes from an image folder beside the photos, and can be copied row by row.
METADATA = ("metadata.jsonl", "metadata.csv")
FOLDER_SHARD = 64  # photos of an image folder that one actor takes at a time


class AnonymizeBatch:
    r"""Anonymizes the photos of rows, batch by batch: what `datasets.Dataset.map` and `map_batches` call.

    A row's new identity depends on the seed and on the photo alone, so that batches, shards, order and retries change
    nothing. A photo that fails is None afterwards, never the original, and its row tells why.

    Args:
        column (`str`, *optional*, defaults to `"image"`):
            The column. Values are PIL images, encoded photos (`bytes`), dictionaries with `"bytes"` and perhaps
            `"path"` as 🤗 Datasets stores them, arrays of shape `(H, W, C)`, or None; they go back as what they were,
            encoded ones in their own format. So do photos in other columns, in lists and dictionaries, too.
        errors (`str`, *optional*, defaults to `"anonymization_error"`):
            A column that is added: empty, or why the row's photo is None.
        seed (`int`, *optional*):
            Picks the new identities; drawn once unless given.
        checkpoint (`str`, *optional*):
            Folder or Hub id, in place of the bundled one. Loaded when the first batch comes.
        device (`str`, *optional*, defaults to `"cpu"`):
            Where the network runs.
        dtype (`str`, *optional*, defaults to `"float32"`):
            What it computes in: `"bfloat16"` is faster on processors made for it, `"float16"` on GPUs.
        quality (`int`, *optional*, defaults to `95`):
            Of photos encoded in lossy formats, 1 to 100.
        threads (`int`, *optional*):
            Threads of the process, left as they are unless given: 1 is best where several processes share a machine,
            as with `num_proc`.
        trust (`list[str]`, *optional*):
            Patterns of columns that pass unlooked-at. **They may show faces.** Without, what is neither a photo nor
            text or few numbers, see [`harmless.why_not`], is None afterwards, and the row tells why.
        max_pixels (`int`, *optional*, defaults to `100_000_000`):
            Photos of more pixels fail before they are decoded.
        options (*optional*):
            Fields of [`Options`] by name: `fallback`, `truncation`, `threshold`, ...

    Example:
        ```py
        >>> import PIL.Image, skimage.data
        >>> from faceanon_hub import AnonymizeBatch

        >>> anonymize = AnonymizeBatch(seed=0)
        >>> batch = anonymize({"image": [PIL.Image.fromarray(skimage.data.astronaut())], "label": [3]})
        >>> batch["label"], batch["anonymization_error"]
        ```

        With 🤗 Datasets: `dataset.map(AnonymizeBatch(), batched=True, batch_size=8)`. Photos are taken as they are
        stored, so that one that cannot be decoded fails alone. `num_proc` forks this process, which fails once a
        pipeline ran in it: before that, call `multiprocess.set_start_method("spawn")`.
    """

    def __init__(
        self,
        column: str = "image",
        errors: str = "anonymization_error",
        seed: int | None = None,
        checkpoint: str | None = None,
        device: str = "cpu",
        dtype: str = "float32",
        quality: int = 95,
        threads: int | None = None,
        trust: Sequence[str] = (),
        max_pixels: int = MAX_PIXELS,
        **options: Any,
    ) -> None:
        check_number("quality", quality, 1, 100, whole=True)
        check_number("max_pixels", max_pixels, 1, math.inf, whole=True)
        check_dtype(dtype)
        Options(**options)  # says what is wrong with them
        self.column, self.errors, self.checkpoint, self.device, self.dtype = column, errors, checkpoint, device, dtype
        self.quality, self.threads, self.trust, self.options = quality, threads, list(trust), options
        self.max_pixels = max_pixels
        self.seed = secrets.randbits(63) if seed is None else seed

    def __getstate__(self) -> dict[str, Any]:
        # Without the network: it is loaded where it is needed, and 🤗 Datasets hashes this for its cache.
        return {name: value for name, value in vars(self).items() if name != "pipe"}

    @cached_property
    def pipe(self) -> FaceAnonPipeline:
        """The pipeline."""
        start_work()  # first: in a fork already the number of threads cannot be set
        return load(self.checkpoint or str(DEFAULT_CHECKPOINT), self.device, self.threads, self.dtype)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Anonymizes a batch.

        Args:
            batch (`dict[str, list]`):
                Columns of one length.

        Returns:
            `dict[str, list]`: the same columns, all but the photos as they were, and the one for errors. Of a batch of
            🤗 Datasets, those that changed: `map` keeps the others.

        Raises:
            UnreadableError: there is no such column.
            FaceAnonError: this process is a fork of one in which a pipeline ran.
        """
        if self.column not in batch:
            raise UnreadableError("the batch", f"has no column {self.column!r}, but {', '.join(batch)}")
        _ = self.pipe  # what is wrong with all rows is raised here
        stored = getattr(batch, "pa_table", None)
        old = batch if stored is None else self._stored(batch, stored)
        new, errors, _ = self.columns(old, self.column)
        if stored is not None:
            new = {name: values for name, values in new.items() if name == self.column or values != old[name]}
        # Not None: 🤗 Datasets takes a column's type from its first batch, in which there may be no error.
        return {**new, self.errors: [error or "" for error in errors]}

    def _stored(self, batch: Mapping[str, Any], table: Any) -> dict[str, Any]:
        """Columns as 🤗 Datasets stores them. Looked at, they are decoded: all photos of a batch, or none."""
        kind = str(table.schema.field(self.column).type)
        encoded = kind.startswith("struct<") or kind.endswith("binary")
        return {
            name: table[name].to_pylist() if encoded or name != self.column else list(batch[name]) for name in batch
        }

    def columns(
        self, batch: Mapping[str, Any], named: str | None, source: str | None = None
    ) -> tuple[dict[str, Any], list[str | None], list[list[Face]]]:
        """New columns, and an error, if any, and the faces of each row; what fails is None, and does so alone.

        Args:
            batch (`dict[str, list]`):
                Columns of one length.
            named (`str`, *optional*):
                The one in which everything is a photo; in the others, text and few numbers pass.
            source (`str`, *optional*):
                Folder of the dataset, which paths in the values must not lead out of.
        """
        looked = [name for name in batch if name == named or not any(matches(name, pattern) for pattern in self.trust)]
        old = {name: list(batch[name]) for name in looked}
        found: list[tuple[int, str, Any]] = []
        for name, values in old.items():
            for row, value in enumerate(values):
                mapped(value, partial(_note_part, found, row, name))
        photos = [part for _, name, part in found if name == named or is_photo(part)]
        made = iter(self.rows(photos, source))
        errors: list[list[str]] = [[] for _ in next(iter(old.values()), [])]
        faces: list[list[Face]] = [[] for _ in errors]
        answers = []
        for row, name, part in found:
            if name == named or is_photo(part):
                new, error, seen = next(made)
                faces[row] += seen
            else:
                error = refusal(part)
                new = part if error is None else None
            if error is not None:
                errors[row].append(error if name == named else f"{name}: {error}")
            answers.append(new)
        following = iter(answers)
        columns = {name: [mapped(value, lambda _: next(following)) for value in old[name]] for name in looked}
        return {**batch, **columns}, ["; ".join(told) or None for told in errors], faces

    def rows(self, values: Sequence[Any], source: str | None = None) -> list[tuple[Any, str | None, list[Face]]]:
        """New values, errors and faces of a few photos; what fails does so alone.

        Args:
            values (`list`):
                As in the column.
            source (`str`, *optional*):
                Folder of the dataset, which paths in the values must not lead out of.
        """
        results: list[tuple[Any, str | None, list[Face]]] = [(None, None, []) for _ in values]
        ready: list[tuple[int, Photo, int]] = []
        for number, value in enumerate(values):
            if value is None:
                continue
            try:
                content = _content(value, source)
                photo = read_photo(content, max_pixels=self.max_pixels)
                ready.append((number, photo, self._seed_of(photo)))
            except Exception as error:
                results[number] = None, cause_of(error), []
        for number, image, faces, failure in self._anonymized(ready):
            if image is None:
                results[number] = None, failure, []
                continue
            try:
                results[number] = _like(values[number], image, self.quality, source), None, faces
            except Exception as error:
                results[number] = None, cause_of(error), []
        return results

    def _anonymized(
        self, ready: list[tuple[int, Photo, int]]
    ) -> Iterator[tuple[int, PIL.Image.Image | None, list[Face], str | None]]:
        if not ready:
            return
        numbers, photos, seeds = zip(*ready, strict=True)
        try:
            result = self.pipe(list(photos), seed=list(seeds), **self.options)
        except Exception as error:
            if len(ready) == 1:
                yield numbers[0], None, [], cause_of(error)
            else:  # one of them is bad: the others come out the same without it
                for one in ready:
                    yield from self._anonymized([one])
            return
        for number, image, faces in zip(numbers, result.images, result.faces, strict=True):
            yield number, image, faces, None

    def _seed_of(self, photo: Photo) -> int:
        digest = hashlib.sha256(f"{self.seed} {photo.pixels.shape}".encode() + photo.pixels.tobytes()).digest()
        return int.from_bytes(digest[:8], "big") >> 1


def _note_part(found: list[tuple[int, str, Any]], row: int, name: str, part: Any) -> Any:
    found.append((row, name, part))
    return part


def _content(value: Any, source: str | None = None) -> Any:
    if isinstance(value, dict):
        if value.get("bytes") is not None:
            return value["bytes"]
        if value.get("path") is None:
            raise UnreadableImageError("a row", "holds neither bytes nor a path")
        path = value["path"]
        return _read(*_system(path if source is None else _inside(source, path)))
    if source is not None and isinstance(value, str):
        raise UnreadableImageError("a row", "holds text, not a photo")
    return bytes(value) if isinstance(value, bytearray | memoryview) else value


def _inside(source: str, path: str) -> str:
    """A path that a dataset names; relative ones are those of its folder."""
    relative = "://" not in path and not PurePosixPath(path).is_absolute()
    place = f"{source}/{path}" if relative else path
    # Schemes first: another file system is not even set up.
    elsewhere = _scheme(place) != _scheme(source) or "::" in path or ".." in PurePosixPath(path).parts
    if elsewhere or not _below(place, source):
        raise UnreadableImageError(path, "lies outside of the dataset")
    return place


def _scheme(place: str) -> str:
    return place.partition("://")[0] if "://" in place else "file"


def _like(value: Any, image: PIL.Image.Image, quality: int, source: str | None = None) -> Any:
    """An anonymized photo as what its original came as."""
    if isinstance(value, dict):
        content = _content(value, source)
        # A path to the original would lead back to it.
        path = value.get("path")
        named = {"path": PurePosixPath(path).name} if path is not None else {}
        return {**value, **named, "bytes": encode_photo(image, photo_kind(content), quality=quality)}
    if isinstance(value, bytes | bytearray | memoryview):
        return encode_photo(image, photo_kind(bytes(value)), quality=quality)
    if isinstance(value, np.ndarray):
        array = np.asarray(image)
        if value.dtype.kind == "f":
            return (array / 255).astype(value.dtype).reshape(value.shape)
        return (array.astype(np.uint16) * 257 if value.dtype == np.uint16 else array).reshape(value.shape)
    return image


@dataclass
class DatasetReport:
    """What became of a dataset.

    Args:
        rows (`int`):
            Rows in the target: as many as in the source.
        shards (`int`):
            Files of the target, or parts of an image folder.
        anonymized, obfuscated, kept, small (`int`):
            Faces; of these, those below the detector's `min_face_size`: `small`.
        failures (`list[dict]`):
            `"shard"`, `"row"` and `"error"` of each row whose photo is null, and of each shard that cannot be read,
            with `None` for the row. They are also in the target's `_faceanon/failures.jsonl`.
        crowds (`list[dict]`):
            `"shard"` and `"row"` of each row that shows a crowd, and what [`faces.crowd_note`] says of it: `"note"`.
        left_out (`dict[str, str]`):
            Reasons by path below the source: files that are no part of a shard, and are not in the target. They are
            also in the target's `_faceanon/left_out.json`.
    """

    rows: int = 0
    shards: int = 0
    anonymized: int = 0
    obfuscated: int = 0
    kept: int = 0
    small: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)
    crowds: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Number of rows whose photo is null, and of shards that cannot be read."""
        return len(self.failures)

    def to_dict(self) -> dict[str, Any]:
        """All counts and failures, ready for JSON."""
        return {**asdict(self), "failed": self.failed}


Sample = list[tuple[tarfile.TarInfo, bytes | None]]  # files of a row; None where one cannot be read


@dataclass(frozen=True)
class _Shard:
    """A part of a dataset that is read, anonymized and written by one actor, whole or not at all."""

    name: str
    kind: str  # "folder", "tar" or "parquet"
    paths: tuple[str, ...]  # below the source


def anonymize_dataset(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    engine: Engine = "local",
    column: str | None = None,
    seed: int | None = None,
    checkpoint: str | None = None,
    actors: int = 1,
    cpus: float = 1,
    gpus: float = 0,
    dtype: str = "float32",
    retries: int = 3,
    batch_rows: int = 8,
    trust: Sequence[str] = (),
    quality: int = 95,
    max_pixels: int = MAX_PIXELS,
    on_progress: Callable[[int, int, str], None] | None = None,
    **options: Any,
) -> DatasetReport:
    r"""Anonymizes the photos of a dataset: every row comes out once, and all but the photo as it was.

    The source is a folder, here or where fsspec reaches (`"s3://..."`, `"hf://..."`), that holds Parquet files, else
    WebDataset tars, else photos. Each file, or 64 photos, is a shard: one actor reads it, anonymizes it in batches,
    and puts the result in its place when it is complete. So an actor that dies leaves nothing half done, its shard is
    done again by another, and a shard done twice is the same file. Called again, it does the shards that are missing.

    A photo that fails is null in Parquet; in a tar and a folder it is missing, and the tar has `KEY.error` for it.
    `target/_faceanon` holds the failures, a mark for each shard and, until all is done, the seed, or that of the
    caller. Every column of Parquet is looked at, at any depth, and every file in tars, whatever its name: photos are
    anonymized, text and few numbers pass, see [`harmless.why_not`], and what is neither makes its row fail.

    Args:
        source, target (`str` or `os.PathLike`):
            Folders.
        engine (`str`, *optional*, defaults to `"local"`):
            `"local"`, a loop in this process, or `"ray"`: Ray Data, on the cluster of `ray.init` or a local one.
        column (`str`, *optional*):
            Column of Parquet in which everything is a photo, and that must be there.
        seed (`int`, *optional*):
            Picks the new identities, together with each photo's content; drawn once unless given.
        checkpoint (`str`, *optional*):
            Folder or Hub id, in place of the bundled one. It must be there on every machine.
        actors (`int`, *optional*, defaults to `1`):
            With Ray, processes that hold a pipeline.
        cpus, gpus (`float`, *optional*, defaults to `1` and `0`):
            With Ray, what each of them takes. With GPUs the network runs on CUDA.
        dtype (`str`, *optional*, defaults to `"float32"`):
            What it computes in: `"bfloat16"` is faster on processors made for it, `"float16"` on GPUs.
        retries (`int`, *optional*, defaults to `3`):
            How often a shard is read and written again after an error of the file system.
        batch_rows (`int`, *optional*, defaults to `8`):
            Rows that go through the pipeline together. Changes speed and memory, never the result.
        trust (`list[str]`, *optional*):
            Patterns of columns, or of files in tars, that pass unlooked-at. **They may show faces.**
        quality (`int`, *optional*, defaults to `95`):
            Of photos encoded in lossy formats, 1 to 100.
        max_pixels (`int`, *optional*, defaults to `100_000_000`):
            Photos of more pixels fail before they are decoded.
        on_progress (`Callable`, *optional*):
            Called as `on_progress(done, total, shard)`.
        options (*optional*):
            Fields of [`Options`] by name: `fallback`, `truncation`, `threshold`, ...

    Returns:
        [`DatasetReport`].

    Raises:
        UnreadableImageError: the source holds no dataset.
        UnwritableImageError: the target cannot be written, or no space is left.
        FaceAnonError: the target holds a run with other settings, or files of somebody else.
        MissingDependencyError: Ray or PyArrow is not installed.
        ValueError: an argument is out of its range.
    """
    if engine not in ("local", "ray"):
        raise ValueError(f"`engine` must be 'local' or 'ray', not {engine!r}")
    for name, number, least in (("actors", actors, 1), ("batch_rows", batch_rows, 1), ("retries", retries, 0)):
        check_number(name, number, least, math.inf, whole=True)
    for name, share in (("cpus", cpus), ("gpus", gpus)):
        check_number(name, share, 0, math.inf)
    check_number("quality", quality, 1, 100, whole=True)
    check_number("max_pixels", max_pixels, 1, math.inf, whole=True)
    check_dtype(dtype)
    Options(**options)  # says what is wrong with them before a worker does
    places = os.fspath(source), os.fspath(target)
    check_name(Path(places[1]))
    if _below(places[1], places[0]) or _below(places[0], places[1]):
        raise ValueError(f"{target} and {source} lie in one another")
    shards, others = _find_shards(places[0])
    promised = {
        "version": __version__,
        "weights": weights_digest(checkpoint or str(DEFAULT_CHECKPOINT)),
        "dtype": dtype,
        "column": column,
        "quality": quality,
        "trust": list(trust),
        "max_pixels": max_pixels,
        "options": json.loads(json.dumps(options)),
        "shards": hashlib.sha256(repr(shards).encode()).hexdigest(),
    }
    seed, drawn = _claim(places[1], promised, seed)
    marks = _read_marks(places[1], shards)
    opened = [shard for shard in shards if shard.name not in marks]
    network = {"checkpoint": checkpoint, "device": "cuda" if gpus else "cpu", "dtype": dtype}
    work = _Work(places, column, seed, network, retries, batch_rows, quality, list(trust), max_pixels, options)
    done = len(marks)
    if on_progress is not None:
        on_progress(done, len(shards), "")
    results = map(work, opened) if engine == "local" else _on_ray(work, opened, actors, cpus, gpus)
    for mark in results:
        marks[mark["shard"]] = mark
        done += 1
        if on_progress is not None:
            on_progress(done, len(shards), mark["shard"])
    report = DatasetReport(shards=len(shards))
    faces: Counter[str] = Counter()
    for shard in shards:
        mark = marks[shard.name]
        if "error" in mark:
            report.failures.append({"shard": shard.name, "row": None, "error": mark["error"]})
            continue
        report.rows += mark["rows"]
        faces.update(mark["faces"])
        report.failures += [{"shard": shard.name, **failure} for failure in mark["failures"]]
        report.crowds += [{"shard": shard.name, **crowd} for crowd in mark["crowds"]]
    report.anonymized, report.obfuscated, report.kept, report.small = (faces[name] for name in COUNTED)
    done_paths = {path for shard in shards if "error" not in marks[shard.name] for path in shard.paths}
    done_paths -= {failure["row"] for failure in report.failures}
    for path in others:
        if shards[0].kind == "folder" and PurePosixPath(path).name in METADATA:
            reason = _copy_metadata(places, path, done_paths)
        else:
            reason = "no photo" if shards[0].kind == "folder" else f"the dataset is of {shards[0].kind} files"
        if reason is not None:
            report.left_out[path] = reason
    system, root = _system(places[1])
    for path in system.glob(f"{root}/{SIDE}/{PARTIAL}*"):  # of actors that were killed
        system.rm(path)
    lines = "".join(json.dumps(failure) + "\n" for failure in report.failures)
    _put(places[1], f"{SIDE}/failures.jsonl", lines.encode())
    _put_json(places[1], f"{SIDE}/left_out.json", report.left_out)
    _put_json(places[1], f"{SIDE}/run.json", {**promised, "seed": None if drawn else seed, "drawn": drawn})
    return report


def _below(place: str, other: str) -> bool:
    """Whether a folder is another one, or lies in it."""
    (system, path), (owner, folder) = _system(place), _system(other)
    if _is_local(system) and _is_local(owner):
        return Path(path).resolve().is_relative_to(Path(folder).resolve())
    inside = PurePosixPath(path).is_relative_to(PurePosixPath(folder))
    return inside and type(system) is type(owner)


def _find_shards(source: str) -> tuple[list[_Shard], list[str]]:
    """The parts of a dataset, and the files that are in none."""
    system, root = _system(source)
    try:
        found = system.isdir(root)
    except Exception as error:  # of a kind of its own for each file system
        raise UnreadableImageError(source, f"cannot be reached: {' '.join(str(error).split())}") from error
    if not found:
        raise UnreadableImageError(source, "no such folder")
    files = sorted(PurePosixPath(path).relative_to(PurePosixPath(root)).as_posix() for path in system.find(root))
    special = [path for path in files if _is_local(system) and not Path(root, path).is_file()]
    beside = [path for path in files if PurePosixPath(path).name.startswith("._") and path not in special]
    files = sorted({*files}.difference(p for p in beside if _is_apple_double(p, _read(system, f"{root}/{p}"))))
    photos = [path for path in files if PurePosixPath(path).suffix.lower() in PHOTO_SUFFIXES]
    for kind in ("parquet", "tar"):
        found = [path for path in files if path.lower().endswith(f".{kind}")]
        if photos and all(PurePosixPath(path).name == "metadata.parquet" for path in found):
            continue  # what is told of photos, which are the rows
        if found:
            _refuse(source, set(special).intersection(found))
            return [_Shard(path, kind, (path,)) for path in found], sorted(set(files) - set(found))
    if not photos:
        raise UnreadableImageError(source, "holds neither Parquet files, WebDataset tars nor photos")
    _refuse(source, set(special).intersection(photos))
    shards = [
        _Shard(f"part-{start // FOLDER_SHARD:06d}", "folder", tuple(photos[start : start + FOLDER_SHARD]))
        for start in range(0, len(photos), FOLDER_SHARD)
    ]
    return shards, sorted(set(files) - set(photos))


def _copy_metadata(places: tuple[str, str], path: str, done: set[str]) -> str | None:
    """Copies what an image folder tells of photos, without the rows of those that failed; or says why not."""
    system, root = _system(places[0])
    content = _read(system, f"{root}/{path}")
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
    _put(places[1], path, made.getvalue().encode())
    return None


def _refuse(source: str, special: set[str]) -> None:
    if special:
        raise UnreadableImageError(f"{source}/{min(special)}", f"a link to nothing, or {SPECIAL}")


def _claim(target: str, promised: dict[str, Any], seed: int | None) -> tuple[int, bool]:
    """Marks the folder as that of a run. Returns its seed, and whether it was drawn."""
    system, root = _system(target)
    place = f"{root}/{SIDE}/run.json"
    before = _read_json(system, place) if system.exists(place) else None
    if before is not None:
        check_settings(target, before, promised if seed is None else {**promised, "seed": seed})
    elif system.exists(root) and not all(_is_partial(path, root) for path in system.find(root)):
        raise FaceAnonError(f"{target}: holds files that were not made here; choose another folder")
    seed, drawn = settle_seed(before, seed)
    _put_json(target, f"{SIDE}/run.json", {**promised, "seed": seed, "drawn": drawn})
    return seed, drawn


def _read_marks(target: str, shards: list[_Shard]) -> dict[str, dict[str, Any]]:
    system, root = _system(target)
    names = {shard.name: f"{root}/{_mark(shard)}" for shard in shards}
    return {name: _read_json(system, path) for name, path in names.items() if system.exists(path)}


def _mark(shard: _Shard) -> str:
    return f"{SIDE}/shards/{shard.name}.json"


@dataclass
class _Work:
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

    def __call__(self, shard: _Shard) -> dict[str, Any]:
        """Anonymizes a shard. Returns its mark: rows, faces and failures; or the error, where it cannot be read."""
        do = {"parquet": self._parquet, "tar": self._tar, "folder": self._folder}[shard.kind]
        _ = self.batch.pipe  # here, so that a missing checkpoint is not taken for rows that fail
        for attempt in range(self.retries + 1):
            mark: dict[str, Any] = {"shard": shard.name, "rows": 0, "faces": Counter(), "failures": [], "crowds": []}
            try:
                do(shard, mark)
                mark["faces"] = {name: mark["faces"][name] for name in COUNTED}
                _put_json(self.places[1], _mark(shard), mark)
                break
            except UnreadableImageError as error:
                return {"shard": shard.name, "error": error.cause}
            except UnwritableImageError:
                if attempt == self.retries:
                    raise
            except OSError as error:
                if error.errno in FULL:
                    told = f"{error.strerror} in the folder for temporary files"
                    raise UnwritableImageError(f"{self.places[1]}/{shard.paths[0]}", told) from error
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

    def _folder(self, shard: _Shard, mark: dict[str, Any]) -> None:
        system, root = _system(self.places[0])
        for start in range(0, len(shard.paths), self.batch_rows):
            paths = shard.paths[start : start + self.batch_rows]
            values = [_read(system, f"{root}/{path}") for path in paths]
            for path, (content, error, faces) in zip(paths, self.batch.rows(values), strict=True):
                self._note(mark, path, error, faces)
                if content is not None:
                    _put(self.places[1], path, content)

    def _tar(self, shard: _Shard, mark: dict[str, Any]) -> None:
        system, root = _system(self.places[0])
        with tempfile.TemporaryFile() as made:
            try:
                with (
                    _open(system, f"{root}/{shard.paths[0]}") as file,
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
            _put(self.places[1], shard.paths[0], made)

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

    def _parquet(self, shard: _Shard, mark: dict[str, Any]) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise _missing("pyarrow", error) from error
        system, root = _system(self.places[0])
        try:
            with _open(system, f"{root}/{shard.paths[0]}") as file, tempfile.TemporaryFile() as made:
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
                _put(self.places[1], shard.paths[0], made)
        except pa.ArrowException as error:
            raise UnreadableImageError(shard.name, f"no Parquet, or damaged: {error}") from error


def _missing(package: str, error: ImportError) -> FaceAnonError:
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


def _system(place: str) -> tuple[Any, str]:
    """File system and path of a folder."""
    try:
        system, root = fsspec.core.url_to_fs(place)
    except ImportError as failure:
        scheme = place.partition("://")[0]
        package = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs", "http": "aiohttp", "https": "aiohttp"}.get(
            scheme, scheme
        )
        raise MissingDependencyError(package, package) from failure
    except ValueError as failure:
        raise UnreadableImageError(place, str(failure)) from failure
    return system, root.rstrip("/")


def _is_local(system: Any) -> bool:
    return isinstance(system, fsspec.implementations.local.LocalFileSystem)


def _open(system: Any, path: str) -> Any:
    """A file to read; here, a regular one."""
    return open_regular(path) if _is_local(system) else system.open(path, "rb")


def _read(system: Any, path: str) -> bytes:
    with _open(system, path) as file:
        return file.read()


def _read_json(system: Any, path: str) -> Any:
    try:
        return json.loads(_read(system, path))
    except ValueError as error:
        raise UnreadableError(path, f"no JSON: {error}") from error


def _is_partial(path: str, root: str) -> bool:
    """Whether a file is one that [`_put`] was writing when its process was killed."""
    return PurePosixPath(path).is_relative_to(f"{root}/{SIDE}") and PurePosixPath(path).name.startswith(PARTIAL)


def _put(target: str, name: str, content: Any) -> None:
    """Puts a file in its place once it is complete: renamed here, uploaded whole elsewhere."""
    system, root = _system(target)
    path = f"{root}/{name}"
    local = _is_local(system)
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


def _put_json(target: str, name: str, values: dict[str, Any]) -> None:
    _put(target, name, (json.dumps(values, indent=2) + "\n").encode())


class _Actor:
    """Holds a pipeline on a machine of the cluster."""

    def __init__(self, work: _Work) -> None:
        self.work = work
        work.batch.threads = 1

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"mark": [json.dumps(self._mark(json.loads(text))) for text in batch["shard"]]}

    def _mark(self, shard: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.work(_Shard(shard["name"], shard["kind"], tuple(shard["paths"])))
        except (FaceAnonError, ValueError, TypeError) as error:  # raised here, Ray would bury it under its own
            return {"shard": shard["name"], "stop": str(error)}


def _on_ray(work: _Work, shards: list[_Shard], actors: int, cpus: float, gpus: float) -> Iterator[dict[str, Any]]:
    """Marks of shards, as actors finish them. Ray starts an actor that died anew and gives its shard out again."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise _missing("ray", error) from error
    if not shards:
        return
    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False)
    try:
        rows = [{"shard": json.dumps(asdict(shard))} for shard in shards]
        marks = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _Actor,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(rows))),
            fn_constructor_args=(work,),
            num_cpus=cpus,
            num_gpus=gpus,
        )
        for row in marks.iter_rows():
            mark = json.loads(row["mark"])
            if "stop" in mark:
                raise FaceAnonError(mark["stop"])
            yield mark
    finally:
        if started:
            ray.shutdown()
