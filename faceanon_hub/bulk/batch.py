"""Rows of a dataset, batch by batch: what 🤗 Datasets' `map` and Ray's `map_batches` call."""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

from ..errors import UnreadableError, UnreadableImageError, cause_of
from ..faces import Face
from ..hub import DEFAULT_CHECKPOINT
from ..io.photos import MAX_PIXELS, Photo, encode_photo, photo_kind, read_photo
from ..loading import check_dtype, load
from ..options import Options
from ..processes import start_work
from ..ranges import check_number
from .cells import is_photo, mapped, refusal
from .storage import is_below, read_file, system_of
from .tree import matches

if TYPE_CHECKING:
    from ..pipeline import FaceAnonPipeline


class AnonymizeBatch:
    r"""Anonymizes the photos of rows, batch by batch: what `datasets.Dataset.map` and `map_batches` call.

    A row's new identity depends on the seed and on the photo alone, so that batches, shards, order and retries change
    nothing. A photo that fails is None afterwards, never the original, and its row says why.

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
            text or few numbers, see [`harmless.why_not`], is None afterwards, and the row says why.
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

        In the column `named` everything is a photo; in the others, text and few numbers pass. Paths in the values must
        not lead out of `source`, the folder of the dataset.
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
        return {**batch, **columns}, ["; ".join(causes) or None for causes in errors], faces

    def rows(self, values: Sequence[Any], source: str | None = None) -> list[tuple[Any, str | None, list[Face]]]:
        """New values, errors and faces of a few photos; what fails does so alone. `source` is as of [`columns`]."""
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
        return read_file(*system_of(path if source is None else _inside(source, path)))
    if source is not None and isinstance(value, str):
        raise UnreadableImageError("a row", "holds text, not a photo")
    return bytes(value) if isinstance(value, bytearray | memoryview) else value


def _inside(source: str, path: str) -> str:
    """A path that a dataset names; relative ones are those of its folder."""
    relative = "://" not in path and not PurePosixPath(path).is_absolute()
    place = f"{source}/{path}" if relative else path
    # Schemes first: another file system is not even set up.
    elsewhere = _scheme(place) != _scheme(source) or "::" in path or ".." in PurePosixPath(path).parts
    if elsewhere or not is_below(place, source):
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
