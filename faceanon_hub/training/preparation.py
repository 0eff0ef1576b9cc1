"""Photos to shards of aligned crops with their landmarks: what training reads."""

import hashlib
import io
import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import PIL.Image
import torch

from ..alignment import align, transform, warp_in
from ..blending import regions
from ..detection import FaceDetector
from ..errors import FaceAnonError, UnreadableError, UnreadableImageError, UnwritableError, cause_of
from ..faces import Face
from ..files import read_json, read_regular, write_text, write_whole
from ..io.photos import PHOTO_SUFFIXES, encode_photo, read_photo
from ..landmarks import LandmarkExtractor
from ..processes import process_pool, run_task
from ..runs import check_empty, check_settings, make_folder

BORDER = 0.15  # kept beyond each side of the pipeline's crop, in sides: drawn pictures reach higher
SHARD_PHOTOS = 256  # photos of which one process makes one shard
QUALITY = 95
SMALLEST = 0.5  # side of the crop in the photo over that of the stored one, under which a face is enlarged too much
UNCERTAIN = 0.9  # presence under which the mesh may lie beside the face
CUT_OFF = 0.25  # share of the face that may lie beyond the photo
BLACK = 12  # largest value of a corner that was filled when the photo was turned
BLACK_SHARE = 0.01  # of the photo, from which such corners count
SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Settings:
    """What decides the content of shards: shards in one folder share it."""

    size: int
    identities: bool
    validation: float


@dataclass(frozen=True)
class _Chunk:
    """Some photos of a source: they become one shard a split, whole or not at all."""

    source: str
    number: int
    place: str  # a folder or a tar
    photos: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.source}-{self.number:05d}"


def prepare_faces(
    sources: Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    licences: Sequence[str],
    *,
    size: int = 256,
    identities: bool = False,
    validation: float = 0.02,
    workers: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    r"""Detects, meshes and aligns the faces of photos, and writes crops for training.

    Crops are those in which the pipeline looks at a face, with a border of 15 % on each side. Each sample of a shard,
    a WebDataset tar, is `KEY.jpg`, the crop; `KEY.npy`, its mesh, `(478, 3)` float32 in pixels of the crop; and
    `KEY.valid.png`, 0 where the crop reaches beyond the photo or into its black corners. No name of a file or a
    person is kept.

    Stopped half-way, the same call goes on where it was; another source can be added to the folder later.

    Args:
        sources (`list[str]`):
            Folders, in any depth, or tars of photos.
        target (`str`):
            Folder for the shards and `manifest.json`.
        licences (`list[str]`):
            What each source may be used for, one for each. It ends up on the card of what is trained.
        size (`int`, *optional*, defaults to `256`):
            Side, in pixels, at which a generator will be trained. Faces that would have to be enlarged more than
            twice are left out.
        identities (`bool`, *optional*, defaults to `False`):
            The photos of one folder show one person: only the largest face of each is taken, and a person is either
            in the training or in the validation set. Otherwise that holds for each photo.
        validation (`float`, *optional*, defaults to `0.02`):
            Share of the people, or photos, that is held out, by their hash.
        workers (`int`, *optional*, defaults to `1`):
            Processes.
        on_progress (`Callable`, *optional*):
            Called with the number of photos done and in all.

    Returns:
        `dict`: the manifest, with the counts of samples and of what was dropped, by reason, for each source.

    Raises:
        UnreadableImageError: a source is neither folder nor tar, or holds no photo.
        FaceAnonError: a licence is missing, or the folder holds shards that were made otherwise.
    """
    if len(licences) != len(sources) or not all(licence.strip() for licence in licences):
        raise FaceAnonError(f"{len(sources)} sources need a licence each, and {len(licences)} are given")
    if not 0 <= validation < 1:
        raise ValueError(f"`validation` must lie between 0 and 1, not {validation}")
    settings = Settings(size, identities, validation)
    folder = Path(target)
    chunks = [chunk for source in sources for chunk in _chunks(Path(source))]
    names = [chunk.source for chunk in chunks if chunk.number == 0]
    if len(set(names)) < len(names):
        raise FaceAnonError(f"two sources have one name: {', '.join(sorted(names))}; rename one")
    entries = {
        name: {"licence": licence.strip(), "listing": _listing([chunk for chunk in chunks if chunk.source == name])}
        for name, licence in zip(names, licences, strict=True)
    }
    manifest = _claim(folder, settings, entries)

    total, done = sum(len(chunk.photos) for chunk in chunks), 0
    missing = []
    for chunk in chunks:
        if _mark(folder, chunk).is_file():
            done += len(chunk.photos)
        else:
            missing.append(chunk)
    progress = on_progress or (lambda done, total: None)
    progress(done, total)
    for chunk in _each(missing, workers, folder, settings):
        done += len(chunk.photos)
        progress(done, total)

    for name in names:
        marks = [read_json(_mark(folder, chunk)) for chunk in chunks if chunk.source == name]
        entry = manifest["sources"][name]
        entry["photos"] = sum(mark["photos"] for mark in marks)
        entry["samples"] = {split: sum(mark["samples"][split] for mark in marks) for split in SPLITS}
        entry["dropped"] = dict(sorted(sum((Counter(mark["dropped"]) for mark in marks), Counter()).items()))
    _write_manifest(folder, manifest)
    return manifest


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of a folder that [`prepare_faces`] made.

    Raises:
        UnreadableImageError: there is none.
    """
    try:
        return read_json(Path(folder, "manifest.json"))
    except UnreadableError as error:
        raise UnreadableImageError(str(folder), "holds no manifest.json: `faceanon prepare` makes it") from error


class FaceCropper:
    """Photo to training samples."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._detector, self._extractor = FaceDetector(), LandmarkExtractor()

    def __call__(self, pixels: np.ndarray) -> Iterator[dict[str, Any] | str]:
        """Yields, for every face of a photo `(H, W, 3)` uint8, its sample, or the reason why there is none.

        A sample holds `"image"` and `"valid"`, `(T, T, 3)` and `(T, T)` uint8, with `T` [`stored_size`]; and
        `"points"`, `(478, 3)` float32.
        """
        faces = self._detector(pixels)
        if not faces:
            yield "no face found"
            return
        if self.settings.identities:
            faces = [max(faces, key=lambda face: face.size)]
        known = _known(pixels)
        for face in self._extractor(pixels, faces):
            yield self._sample(pixels, known, face)

    def _sample(self, pixels: np.ndarray, known: np.ndarray, face: Face) -> dict[str, Any] | str:
        points = face.landmarks
        if points is None:
            return "no landmarks fit"
        if (face.presence or 0) < UNCERTAIN:
            return "landmarks uncertain"
        size = self.settings.size
        core = align(points, size)
        if np.hypot(*core[0, :2]) > 1 / SMALLEST:
            return "too small"
        face_region = regions.face_region(transform(points, core), size)
        if (face_region & (1 - warp_valid(known, core, size))).sum() > CUT_OFF * face_region.sum():
            return "cut off"
        stored = stored_size(size)
        matrix = core + [[0, 0, (stored - size) / 2]] * 2
        image, placed = warp_in(pixels, matrix, stored), transform(points, matrix)
        return {
            "image": image,
            "valid": warp_valid(known, matrix, stored),
            "points": placed,
        }


def stored_size(size: int) -> int:
    """Side of a stored crop, its border included, for crops of this side."""
    return size + 2 * round(BORDER * size)


def warp_valid(known: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Where a crop shows what a photo does: a mask `(H, W)` of the photo to `(size, size)`, uint8, 0 or 1."""
    return cv2.warpAffine(known, matrix, (size, size), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)


def _known(pixels: np.ndarray) -> np.ndarray:
    """Where a photo shows something, (H, W) uint8: not in corners that were filled with black as it was turned."""
    height, width = pixels.shape[:2]
    dark = (pixels.max(2) <= BLACK).astype(np.uint8)
    filled = np.zeros((height + 2, width + 2), np.uint8)
    for corner in ((0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)):
        if dark[corner[1], corner[0]]:
            cv2.floodFill(dark, filled, corner, 1, flags=4 | cv2.FLOODFILL_MASK_ONLY | (1 << 8))
    filled = filled[1:-1, 1:-1]
    return 1 - filled if filled.mean() >= BLACK_SHARE else np.ones((height, width), np.uint8)


class _Work:
    """Makes the shards of chunks."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings

    @cached_property
    def cropper(self) -> FaceCropper:
        return FaceCropper(self.settings)

    def __call__(self, chunk: _Chunk) -> _Chunk:
        mark: dict[str, Any] = {"photos": 0, "samples": Counter(dict.fromkeys(SPLITS, 0)), "dropped": Counter()}
        shards = {split: io.BytesIO() for split in SPLITS}
        tars = {split: tarfile.open(fileobj=file, mode="w") for split, file in shards.items()}  # noqa: SIM115
        for path, content in _contents(chunk):
            mark["photos"] += 1
            try:
                pixels = read_photo(content).pixels
            except UnreadableImageError:
                mark["dropped"]["unreadable"] += 1
                continue
            digest = hashlib.sha256(content).hexdigest()
            person = PurePosixPath(path).parent.name if self.settings.identities else None
            identity = digest if person is None else hashlib.sha256(person.encode()).hexdigest()
            split = SPLITS[int(identity[:8], 16) / 16**8 < self.settings.validation]
            try:
                samples = list(self.cropper(pixels))
            except Exception as error:  # one photo stops no other
                samples = [f"failed: {cause_of(error)}"]
            for number, sample in enumerate(samples):
                if isinstance(sample, str):
                    mark["dropped"][sample] += 1
                    continue
                mark["samples"][split] += 1
                _add(tars[split], f"{digest[:16]}-{number:02d}", sample)
        for split, tar in tars.items():
            tar.close()
            if mark["samples"][split]:
                write_whole(self.folder / f"{split}-{chunk.name}.tar", shards[split].getvalue(), UnwritableError)
        write_text(_mark(self.folder, chunk), json.dumps(mark) + "\n")
        return chunk


def _add(tar: tarfile.TarFile, key: str, sample: dict[str, Any]) -> None:
    """Writes a sample whose bytes depend on nothing but itself."""
    points = io.BytesIO()
    np.save(points, sample["points"])
    image = encode_photo(PIL.Image.fromarray(sample["image"]), "JPEG", quality=QUALITY)
    valid = cv2.imencode(".png", 255 * sample["valid"])[1].tobytes()
    contents = {"jpg": image, "npy": points.getvalue(), "valid.png": valid}
    for suffix, content in contents.items():
        info = tarfile.TarInfo(f"{key}.{suffix}")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


def _each(chunks: list[_Chunk], workers: int, folder: Path, settings: Settings) -> Iterator[_Chunk]:
    if workers == 1 or len(chunks) < 2:
        yield from map(_Work(folder, settings), chunks)
        return
    with process_pool(min(workers, len(chunks)), _worker, folder, settings) as pool:
        for future in as_completed([pool.submit(run_task, chunk) for chunk in chunks]):
            yield future.result()


def _worker(folder: Path, settings: Settings) -> _Work:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return _Work(folder, settings)


def _chunks(place: Path) -> list[_Chunk]:
    """The photos of a source, in the order of their names."""
    if place.is_dir():
        found = [path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()]
    elif place.is_file() and tarfile.is_tarfile(place):
        with tarfile.open(place) as tar:
            found = [member.name for member in tar if member.isfile()]
    else:
        raise UnreadableImageError(place, "neither a folder nor a tar of photos")
    photos = sorted(name for name in found if PurePosixPath(name).suffix.lower() in PHOTO_SUFFIXES)
    if not photos:
        raise UnreadableImageError(place, "holds no photo")
    name = re.sub(r"[^A-Za-z0-9]+", "-", place.resolve().name.removesuffix(".tar")).strip("-") or "photos"
    starts = range(0, len(photos), SHARD_PHOTOS)
    return [
        _Chunk(name, number, str(place), tuple(photos[start : start + SHARD_PHOTOS]))
        for number, start in enumerate(starts)
    ]


def _contents(chunk: _Chunk) -> Iterator[tuple[str, bytes]]:
    place = Path(chunk.place)
    if place.is_dir():
        for name in chunk.photos:
            yield f"{place.name}/{name}", read_regular(place / name)
        return
    with tarfile.open(place) as tar:
        for name in chunk.photos:
            file = tar.extractfile(name)
            assert file is not None
            yield name, file.read()


def _mark(folder: Path, chunk: _Chunk) -> Path:
    return folder / "marks" / f"{chunk.name}.json"


def _listing(chunks: list[_Chunk]) -> str:
    """Hash of the names of a source's photos: shards are made of a fixed list of them."""
    return hashlib.sha256("\n".join(name for chunk in chunks for name in chunk.photos).encode()).hexdigest()[:16]


def _claim(folder: Path, settings: Settings, entries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The manifest of the folder, with these sources in it."""
    manifest: dict[str, Any] = {**asdict(settings), "border": BORDER, "sources": {}}
    if (folder / "manifest.json").is_file():
        before = read_manifest(folder)
        check_settings(folder, before, manifest, free=["sources"])
        for name, entry in entries.items():
            check_settings(f"{folder}, {name}", before["sources"].get(name, entry), entry)
        manifest = before
    else:
        check_empty(folder)
    for name, entry in entries.items():
        manifest["sources"].setdefault(name, entry)
    make_folder(folder / "marks")
    _write_manifest(folder, manifest)
    return manifest


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    write_text(folder / "manifest.json", json.dumps(manifest, indent=2) + "\n")
