"""Every photo and video of a folder tree: several processes, one record a file, resumable after any stop."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import multiprocessing
import os
import secrets
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from .. import __version__
from ..errors import (
    FaceAnonError,
    UnreadableError,
    UnreadableImageError,
    UnwritableError,
    UnwritableImageError,
    cause_of,
)
from ..faces import crowd_note
from ..files import APPLE_DOUBLE, NAME_MAX, PARTIAL, check_name, open_regular, read_json, read_regular
from ..hub import DEFAULT_CHECKPOINT
from ..io.harmless import why_not
from ..io.photos import (
    MAX_PIXELS,
    PHOTO_SUFFIXES,
    WRITABLE,
    Photo,
    is_media,
    read_photo,
    writable_kind,
    write_photo,
    write_text,
)
from ..options import Options
from ..ranges import check_number
from ..video.container import VIDEO_SUFFIXES
from ..video.voice import Voice
from ..workers import check_device, check_dtype, load, start, work

if TYPE_CHECKING:
    from ..pipeline import FaceAnonPipeline

STATE = ".faceanon"
BATCH_FILES = 8  # photos whose faces go through the network together
BATCH_PIXELS = 24_000_000  # of them all, for memory
COUNTED = ("anonymized", "obfuscated", "kept", "small")
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # every other file would fail as well


@dataclass
class FolderReport:
    """What became of a folder.

    Args:
        photos, videos (`int`):
            Files whose result is in the target.
        unchanged (`int`):
            How many of these an earlier run had done.
        copied, skipped (`int`):
            Other files: copied as they are because the caller asked for it, or left out, as are links out of the tree.
        anonymized, obfuscated, kept, small (`int`):
            Faces, over all photos and videos; of these, those below the detector's `min_face_size` (in a video, in
            any frame): `small`.
        failures (`dict[str, str]`):
            Reasons by path below the source. These files have no result.
        crowds (`dict[str, str]`):
            Photos and videos that show a crowd, by path, and what [`faces.crowd_note`] says of each.
        planned (`list[str]`):
            With `dry_run`, the files that would be done.
    """

    photos: int = 0
    videos: int = 0
    unchanged: int = 0
    copied: int = 0
    skipped: int = 0
    anonymized: int = 0
    obfuscated: int = 0
    kept: int = 0
    small: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    crowds: dict[str, str] = field(default_factory=dict)
    planned: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Number of files without a result."""
        return len(self.failures)

    def to_dict(self) -> dict[str, Any]:
        """All counts and failures, ready for JSON."""
        return {**asdict(self), "failed": self.failed}


@dataclass(frozen=True)
class _Settings:
    """What holds for all files."""

    options: dict[str, Any]  # of the pipeline's call
    batch_size: int | None
    quality: int
    keep_metadata: bool
    max_pixels: int
    voice: Voice
    report_seeds: bool
    checkpoint: str


@dataclass(frozen=True)
class _Job:
    """One file. All that goes on a record is relative to source and target, so that trees can be compared."""

    kind: str  # "photo", "video" or "other"
    path: str
    source: Path
    target: Path
    output: str
    partial: Path
    report: Path | None
    seed: int
    keep: list[Any]
    hide: list[Any]
    trusted: bool = False  # copied unlooked-at

    @property
    def asked(self) -> dict[str, Any]:
        return {"output": self.output, "keep": self.keep, "hide": self.hide, "trusted": self.trusted}


def anonymize_folder(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    pipe: FaceAnonPipeline | None = None,
    checkpoint: str | None = None,
    seed: int | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    suffix: str = "",
    photo_format: str | None = None,
    keep: Sequence[Any] = (),
    hide: Sequence[Any] = (),
    zones: str | os.PathLike[str] | None = None,
    workers: int = 1,
    device: str = "cpu",
    dtype: str = "float32",
    quality: int = 95,
    keep_metadata: bool = False,
    max_pixels: int = MAX_PIXELS,
    voice: Voice = "keep",
    copy_others: bool = False,
    trust: Sequence[str] = (),
    reports: str | os.PathLike[str] | None = None,
    report_seeds: bool = False,
    redo: bool = False,
    dry_run: bool = False,
    on_progress: Callable[[int, int, str], None] | None = None,
    **options: Any,
) -> FolderReport:
    r"""Anonymizes every photo and video below a folder into another folder, under the same names.

    Stopped at any moment, killed included, the same call goes on and ends with the same files, byte for byte. Done
    again, it does what is new: files whose content or zones changed, whose result is gone, or that failed. Results
    edited by hand stay as they are. Nothing is deleted but results whose input no longer gives one.

    The state is in `target/.faceanon`, readable by its owner alone: hashes of the originals and, while a run is
    unfinished, its seed. Whoever knows the seed can draw the same latents again, so one that was drawn is forgotten
    once every file is done; one the caller gave stays, to notice another. Leave this folder out of what you publish.

    Args:
        source, target (`str` or `os.PathLike`):
            Folders; neither may lie in the other.
        pipe ([`FaceAnonPipeline`], *optional*):
            Does the work in this process. Unless given, `workers` processes are started; a script that does so needs
            `if __name__ == "__main__":`.
        checkpoint (`str`, *optional*):
            Folder or Hub id, in place of the bundled one.
        seed (`int`, *optional*):
            Picks the new identities. Each file has a seed of its own, made of this one and its path. Without it one
            is drawn, once for the run however often it is stopped.
        include, exclude (`list[str]`, *optional*):
            Shell patterns of paths below the source, or of names where they hold no slash; case does not matter. So
            are those of `trust`.
        suffix (`str`, *optional*):
            Put behind the names of results: `"_anonymized"` makes `a_anonymized.jpg` of `a.jpg`.
        photo_format (`str`, *optional*):
            Suffix of all photos in the target, such as `"png"`, in place of their own.
        keep, hide (`list`, *optional*):
            As for the pipeline, for every file.
        zones (`str` or `os.PathLike`, *optional*):
            JSON file `{pattern: {"keep": [...], "hide": [...]}}`: what is kept and hidden in the files that match.
            What several patterns and the arguments say of a file is added up.
        workers (`int`, *optional*, defaults to `1`):
            Number of processes, of one thread each.
        device (`str`, *optional*, defaults to `"cpu"`):
            Where their networks run.
        dtype (`str`, *optional*, defaults to `"float32"`):
            What these compute in: `"bfloat16"` is faster on processors made for it, `"float16"` on GPUs.
        quality (`int`, *optional*, defaults to `95`):
            Of photos in lossy formats, 1 to 100.
        keep_metadata (`bool`, *optional*, defaults to `False`):
            Keep cleaned EXIF of photos.
        max_pixels (`int`, *optional*, defaults to `100_000_000`):
            Photos of more pixels fail before they are decoded.
        voice (`str`, *optional*, defaults to `"keep"`):
            Of videos, see [`anonymize_video`].
        copy_others (`bool`, *optional*, defaults to `False`):
            Copy files that are neither and whose content is checked to be harmless, see [`harmless.why_not`]: text
            and few numbers. The rest are failures, and named.
        trust (`list[str]`, *optional*):
            Patterns of other files to copy unlooked-at, unless their content is a photo or video after all. **They
            may show faces**: documents and archives do.
        reports (`str` or `os.PathLike`, *optional*):
            Folder for one JSON file per file, with a record of every face.
        report_seeds (`bool`, *optional*, defaults to `False`):
            Put the seeds of the faces into these. Published, they let others repeat the faces.
        redo (`bool`, *optional*, defaults to `False`):
            Do everything again, over what is there.
        dry_run (`bool`, *optional*, defaults to `False`):
            Write nothing, and say what would be done.
        on_progress (`Callable`, *optional*):
            Called as `on_progress(done, total, path)`, in any order of the paths.
        options (*optional*):
            Fields of [`Options`] by name.

    Returns:
        [`FolderReport`]. A file that fails stops no other; look at its `failures`.

    Raises:
        UnreadableImageError: the source is no folder, or `zones` is no such file.
        UnwritableImageError: the target cannot be written, or no space is left. The same call goes on later.
        CheckpointError: there is no such checkpoint.
        FaceAnonError: the target holds a run with other settings, or files of somebody else; two files would have one
            name; another run is at work there.
        ValueError: an argument is out of its range.

    Example:
        ```py
        >>> from faceanon_hub.bulk.folders import anonymize_folder

        >>> report = anonymize_folder("photos", "anonymized", workers=4, hide=[(0, 0, 200, 80)])
        >>> report.anonymized, report.failures
        ```
    """
    named, source, target = os.fspath(source), Path(source), Path(target)
    reports = None if reports is None else Path(reports)
    check_name(source, UnreadableImageError)
    if not source.is_dir():
        raise UnreadableImageError(named, "is no folder" if source.exists() else "no such folder")
    for written in (target, reports):
        if written is not None:
            check_name(written)
    _keep_apart(source, [target] if reports is None else [target, reports])
    check_number("max_pixels", max_pixels, 1, math.inf, whole=True)
    check_number("workers", workers, 1, math.inf, whole=True)
    if photo_format is not None:
        photo_format = f".{photo_format.lower().lstrip('.')}"
        if photo_format not in WRITABLE:
            raise ValueError(f"`photo_format` must be one of {', '.join(WRITABLE)}, not {photo_format!r}")
        writable_kind(target / f"photo{photo_format}")
    check_number("quality", quality, 1, 100, whole=True)
    if os.sep in suffix or "/" in suffix:
        raise ValueError(f"`suffix` goes into names and holds no slash, unlike {suffix!r}")

    place = checkpoint or str(DEFAULT_CHECKPOINT)
    if pipe is not None:
        place = str(pipe.config.get("_name_or_path") or "of the caller")
        dtype = str(pipe.generator.dtype).removeprefix("torch.")
    check_dtype(dtype)
    asked = asdict(Options(**options))
    batch_size = asked.pop("batch_size")  # changes speed, not results
    name = "bundled" if place == str(DEFAULT_CHECKPOINT) else place
    settings = _Settings(asked, batch_size, quality, keep_metadata, max_pixels, voice, report_seeds, name)
    # What changes results. Zones do too, but file by file: they are on the records.
    promised = {
        "version": __version__,
        "weights": weights_digest(place),
        "dtype": dtype,
        **asked,
        "suffix": suffix,
        "photo_format": photo_format,
        "quality": quality,
        "keep_metadata": keep_metadata,
        "voice": voice,
        "report_seeds": report_seeds,
    }

    if pipe is None:
        check_device(device)
    files, links, closed = walk(source)
    given = {} if zones is None else _read_zones(Path(zones), files)
    report = FolderReport(skipped=links, failures=closed)
    jobs = []
    for number, path in enumerate(files):
        if not _chosen(path, include, exclude):
            continue
        kind = kind_of(path)
        trusted = any(matches(path, pattern) for pattern in trust)
        if kind == "other" and not (copy_others or trusted):
            report.skipped += 1
            continue
        entries = [entry for pattern, entry in given.items() if matches(path, pattern)]
        output = output_of(path, kind, suffix, photo_format)
        if len(os.fsencode(PurePosixPath(output).name)) > NAME_MAX:
            report.failures[path] = f"the name of its result would be longer than {NAME_MAX} bytes"
            continue
        jobs.append(
            _Job(
                kind=kind,
                path=path,
                source=source / path,
                target=target / output,
                output=output,
                partial=target / STATE / "partial" / f"{number}{PurePosixPath(output).suffix}",
                report=None if reports is None or kind == "other" else reports / _report_name(path),
                seed=0,
                keep=_plain([*keep, *(box for entry in entries for box in entry.get("keep", []))]),
                hide=_plain([*hide, *(box for entry in entries for box in entry.get("hide", []))]),
                trusted=trusted,
            )
        )
    _keep_distinct(jobs, source, None if zones is None else Path(zones))

    state = target / STATE
    before = _read_settings(state)
    if before is None:
        _keep_foreign(target, jobs, redo)
    else:
        _keep_promise(target, before, promised, seed, redo)
    records = {} if redo else _read_records(state)
    if dry_run:
        report.planned = [job.path for job in jobs if not _is_done(job, records.get(job.path))]
        return report

    lock = _lock(state)
    try:
        if redo:
            _forget(state)
        if seed is None:
            seed, drawn = (before["seed"], before["drawn"]) if before and before["seed"] is not None else (None, True)
        else:
            drawn = False
        seed = secrets.randbits(63) if seed is None else seed
        partial = state / "partial"
        _write(state / "run.json", {**promised, "seed": seed, "drawn": drawn})
        jobs = [_with_seed(job, seed) for job in jobs]
        records = _read_records(state)
        _write_manifest(state, records)

        opened = [job for job in jobs if not _is_done(job, records.get(job.path))]
        done = len(jobs) - len(opened)
        report.unchanged = done
        if on_progress is not None:
            on_progress(done, len(jobs), "")
        if opened:
            with _open_journal(state) as journal:
                for record in _results(opened, settings, pipe, (place, device, dtype), workers):
                    records[record["path"]] = record
                    _append(journal, record)
                    done += 1
                    if on_progress is not None:
                        on_progress(done, len(jobs), record["path"])
        _write_manifest(state, records)
        _sum_up(report, [records[job.path] for job in jobs])
        if drawn and not report.failures:
            _write(state / "run.json", {**promised, "seed": None, "drawn": True})
        shutil.rmtree(partial, ignore_errors=True)
    finally:
        lock.release()
        (state / "lock").unlink(missing_ok=True)
    return report


def _keep_apart(source: Path, others: list[Path]) -> None:
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


def _chosen(path: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
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


def _report_name(path: str) -> str:
    """Where a file's report lies, below the folder of reports; a name that would be too long ends with its hash."""
    whole = PurePosixPath(f"{path}.json")
    name = os.fsencode(whole.name)
    if len(name) <= NAME_MAX - len("..partial"):  # as it is called while it is written
        return str(whole)
    head = os.fsdecode(name[: NAME_MAX // 2]).encode(errors="ignore").decode()
    return str(whole.with_name(f"{head}-{hashlib.sha256(name).hexdigest()[:16]}.json"))


def _plain(entries: Sequence[Any]) -> list[Any]:
    """Numbers and boxes as JSON gives them back, so that records can be compared."""
    return [int(entry) if np.ndim(entry) == 0 else [float(v) for v in entry] for entry in entries]


def _read_zones(path: Path, files: list[str]) -> dict[str, dict[str, Any]]:
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


def _keep_distinct(jobs: list[_Job], source: Path, zones: Path | None) -> None:
    """Makes sure that each result has a place of its own, which is none of what is read, links followed."""
    originals = source.resolve()
    taken: dict[Path, str] = {} if zones is None else {zones.resolve(): "the zones"}
    for job in jobs:
        for place in (job.target, job.report):
            if place is None:
                continue
            path = place.parent.resolve() / place.name
            if path.is_relative_to(originals):
                raise FaceAnonError(f"{place} leads into {source}: an original would be overwritten")
            if path in taken:
                raise FaceAnonError(f"{taken[path]} and {job.path} would both be written to {path}")
            taken[path] = job.path


def _keep_foreign(target: Path, jobs: list[_Job], redo: bool) -> None:
    if target.exists() and not target.is_dir():
        raise UnwritableImageError(target, "is no folder")
    there = next((job.target for job in jobs if job.target.exists()), None)
    if there is not None and not redo:
        raise FaceAnonError(f"{there} exists and was not made here; choose another folder, or overwrite with --redo")


def _read_settings(state: Path) -> dict[str, Any] | None:
    path = state / "run.json"
    return read_json(path) if path.is_file() else None


def _keep_promise(
    target: Path, before: dict[str, Any], promised: dict[str, Any], seed: int | None, redo: bool
) -> None:
    other = [name for name, value in promised.items() if before.get(name) != value]
    if seed is not None and before["seed"] != seed:
        other.append("seed")
    if other and not redo:
        raise FaceAnonError(
            f"{target}: holds a run with another {', '.join(other)}; give the same, choose another folder, or do "
            "everything again with --redo"
        )


def _lock(state: Path) -> FileLock:
    """Makes the folder of the state, for this run alone, and clears away what a killed run was writing."""
    lock = FileLock(state / "lock", timeout=0)
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
        shutil.rmtree(state / "partial", ignore_errors=True)
        (state / "partial").mkdir(exist_ok=True)
    except Timeout:
        raise FaceAnonError(f"{state.parent}: another run is at work there") from None
    except OSError as error:
        raise UnwritableImageError(state, error.strerror or str(error)) from error
    return lock


def _forget(state: Path) -> None:
    for name in ("manifest.jsonl", "journal.jsonl"):
        (state / name).unlink(missing_ok=True)


def _write(path: Path, values: dict[str, Any]) -> None:
    write_text(path, json.dumps(values, indent=2) + "\n", path.parent / "partial" / path.name)


def _read_records(state: Path) -> dict[str, dict[str, Any]]:
    """Records by path: the manifest's, and over them those that a stopped run had appended to its journal."""
    records = {}
    for name in ("manifest.jsonl", "journal.jsonl"):
        path = state / name
        for line in path.read_text().splitlines(keepends=True) if path.is_file() else ():
            if line.endswith("\n"):  # else it was cut short by the kill
                record = json.loads(line)
                records[record["path"]] = record
    return records


def _write_manifest(state: Path, records: dict[str, dict[str, Any]]) -> None:
    text = "".join(json.dumps(records[path]) + "\n" for path in sorted(records))
    write_text(state / "manifest.jsonl", text, state / "partial" / "manifest.jsonl")
    (state / "journal.jsonl").unlink(missing_ok=True)


def _open_journal(state: Path) -> Any:
    try:
        return (state / "journal.jsonl").open("w")
    except OSError as error:
        raise UnwritableImageError(state / "journal.jsonl", error.strerror or str(error)) from error


def _append(journal: Any, record: dict[str, Any]) -> None:
    try:
        journal.write(json.dumps(record) + "\n")
        journal.flush()
    except OSError as error:
        raise UnwritableImageError(journal.name, error.strerror or str(error)) from error


def _with_seed(job: _Job, seed: int) -> _Job:
    digest = hashlib.sha256(f"{seed}:".encode() + os.fsencode(job.path)).digest()
    return _Job(**{**vars(job), "seed": int.from_bytes(digest[:8], "big") >> 1})


def _is_done(job: _Job, record: dict[str, Any] | None) -> bool:
    """Whether a record says so, the result is there, and the file is still what it was."""
    if record is None or "error" in record or record["asked"] != job.asked:
        return False
    if not job.target.is_file() or (job.report is not None and not job.report.is_file()):
        return False
    try:
        return job.source.stat().st_size == record["size"] and _digest(job.source) == record["sha256"]
    except OSError:
        return False


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def weights_digest(checkpoint: str) -> str:
    """What tells a checkpoint from another: the hash of its files, or its Hub id."""
    folder = Path(checkpoint)
    if not folder.is_dir():
        return checkpoint
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors", ".bin"))
    return hashlib.sha256("".join(_digest(path) for path in files).encode()).hexdigest()


def _sum_up(report: FolderReport, records: list[dict[str, Any]]) -> None:
    faces: Counter[str] = Counter()
    for record in records:
        if "error" in record:
            report.failures[record["path"]] = record["error"]
            continue
        faces.update(record["faces"])
        if record["crowd"]:
            report.crowds[record["path"]] = record["crowd"]
        report.photos += record["kind"] == "photo"
        report.videos += record["kind"] == "video"
        report.copied += record["kind"] == "other"
    report.anonymized, report.obfuscated, report.kept, report.small = (faces[name] for name in COUNTED)


def _results(
    jobs: list[_Job],
    settings: _Settings,
    pipe: FaceAnonPipeline | None,
    loaded: tuple[str, str, str],
    workers: int,
) -> Iterator[dict[str, Any]]:
    """A record of every job, as they are done."""
    if pipe is not None:
        for chunk in _chunks(jobs, 1):
            yield from _work(pipe, settings, chunk)
    else:
        yield from _spread(_chunks(jobs, workers), workers, (settings, *loaded))


def _chunks(jobs: list[_Job], workers: int) -> deque[list[_Job]]:
    """Photos that go through a pipeline together; videos, which take longest, first and alone."""
    photos = [job for job in jobs if job.kind != "video"]
    size = max(1, min(BATCH_FILES, len(photos) // (4 * workers)))
    chunks = [[job] for job in jobs if job.kind == "video"]
    return deque([*chunks, *(photos[start : start + size] for start in range(0, len(photos), size))])


def _spread(
    chunks: deque[list[_Job]], workers: int, given: tuple[_Settings, str, str, str], alone: bool = False
) -> Iterator[dict[str, Any]]:
    """Hands chunks to processes. One that dies takes its pool along: what was at work is then tried file by file."""
    ahead = 1 if alone else 2 * workers
    while chunks:
        running: dict[Future[list[dict[str, Any]]], list[_Job]] = {}
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), start, (_worker, *given))
        try:
            while chunks or running:
                while chunks and len(running) < ahead:
                    running[pool.submit(work, chunks[0])] = chunks[0]
                    chunks.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    records = future.result()
                    del running[future]
                    yield from records
        except BrokenProcessPool:
            suspects = deque([job] for chunk in running.values() for job in chunk)
            if alone:
                yield from (_failed(job, "the process that worked on it died; out of memory?") for [job] in suspects)
            else:
                yield from _spread(suspects, 1, given, alone=True)
        finally:
            pool.shutdown(cancel_futures=True)


def _worker(settings: _Settings, place: str, device: str, dtype: str) -> Callable[[list[_Job]], list[dict[str, Any]]]:
    pipe = load(place, device, dtype=dtype)
    return lambda jobs: list(_work(pipe, settings, jobs))


def _work(pipe: FaceAnonPipeline, settings: _Settings, jobs: list[_Job]) -> Iterator[dict[str, Any]]:
    """Does files one by one, photos together as far as memory allows."""
    ready: list[tuple[_Job, Photo, dict[str, Any]]] = []
    for job in jobs:
        try:
            if job.kind == "video":
                yield _video(pipe, settings, job)
            elif job.kind == "other":
                yield _copy(job)
            else:
                content = _read(job.source)
                photo = read_photo(content, keep_metadata=settings.keep_metadata, max_pixels=settings.max_pixels)
                if ready and sum(p.pixels.size for _, p, _ in ready) + photo.pixels.size > 3 * BATCH_PIXELS:
                    yield from _photos(pipe, settings, ready)
                    ready = []
                ready.append((job, photo, _record(job, len(content), hashlib.sha256(content).hexdigest())))
        except Exception as error:
            yield _failed(job, error)
    yield from _photos(pipe, settings, ready)


def _photos(
    pipe: FaceAnonPipeline, settings: _Settings, ready: list[tuple[_Job, Photo, dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    if not ready:
        return
    jobs = [job for job, _, _ in ready]
    try:
        result = pipe(
            [photo for _, photo, _ in ready],
            seed=[job.seed for job in jobs],
            keep=[job.keep for job in jobs],
            hide=[job.hide for job in jobs],
            batch_size=settings.batch_size,
            **settings.options,
        )
    except Exception as error:
        if len(ready) == 1:
            yield _failed(jobs[0], error)
        else:  # one of them is bad: the others come out the same without it
            for one in ready:
                yield from _photos(pipe, settings, [one])
        return
    for (job, _, record), image, faces in zip(ready, result.images, result.faces, strict=True):
        try:
            entries = [{"number": n, **face.to_dict(seed=settings.report_seeds)} for n, face in enumerate(faces)]
            note = crowd_note(faces, settings.options["hide_small"])
            told = {"faces": entries, "small": sum(face.small for face in faces), "crowd": note}
            write_photo(image, job.partial, quality=settings.quality)
            yield _finish(job, record, told, settings)
        except Exception as error:
            yield _failed(job, error)


def _video(pipe: FaceAnonPipeline, settings: _Settings, job: _Job) -> dict[str, Any]:
    record = _record(job, job.source.stat().st_size, _digest(job.source))
    told = pipe.video(
        job.source,
        job.partial,
        seed=job.seed,
        keep=job.keep or None,
        hide=job.hide or None,
        voice=settings.voice,
        batch_size=settings.batch_size,
        **settings.options,
    )
    return _finish(job, record, told.to_dict(seed=settings.report_seeds), settings)


def _copy(job: _Job) -> dict[str, Any]:
    content = _read(job.source)
    if is_media(content):
        raise FaceAnonError("a photo or video under the name of something else; not copied")
    why = None if job.trusted else why_not(content)
    if why is not None:
        raise FaceAnonError(f"{why}; not copied unless a pattern of `trust` names it")
    try:
        job.partial.write_bytes(content)
    except OSError as error:
        raise UnwritableImageError(job.target, error.strerror or str(error)) from error
    return _finish(job, _record(job, len(content), hashlib.sha256(content).hexdigest()), {}, None)


def _read(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        raise UnreadableImageError(path, f"cannot be opened: {error.strerror}") from error


def _record(job: _Job, size: int, digest: str) -> dict[str, Any]:
    return {"path": job.path, "kind": job.kind, "size": size, "sha256": digest, "asked": job.asked}


def _finish(job: _Job, record: dict[str, Any], told: dict[str, Any], settings: _Settings | None) -> dict[str, Any]:
    """Moves the result to its place, and its report beside it."""
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        job.partial.replace(job.target)
        if job.report is not None:
            job.report.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableImageError(job.target, error.strerror or str(error)) from error
    if job.report is not None and settings is not None:
        head = {"input": job.path, "output": job.output, "version": __version__, "checkpoint": settings.checkpoint}
        text = json.dumps({**told, **head, "keep": job.keep, "hide": job.hide}, indent=2)
        # Always the same name: what a killed run leaves of it is written over.
        write_text(job.report, text + "\n", job.report.with_name(f".{job.report.name}.partial"))
    entries = [entry for value in told.values() if isinstance(value, list) for entry in value]
    seen = [entry for entry in entries if isinstance(entry, dict) and "status" in entry]
    faces = Counter(entry["status"] for entry in seen)
    faces["small"] = sum(bool(entry["small"]) for entry in seen)
    return {**record, "faces": {name: faces[name] for name in COUNTED}, "crowd": told.get("crowd", "")}


def _failed(job: _Job, error: Exception | str) -> dict[str, Any]:
    """The record of a file without a result, also without an older one: that may show what is now to be hidden."""
    if isinstance(error, UnwritableError) and getattr(error.__cause__, "errno", None) in _DISK:
        raise type(error)(job.target, error.cause) from error.__cause__
    for path in (job.target, job.report):
        if path is not None:
            path.unlink(missing_ok=True)
    cause = error if isinstance(error, str) else cause_of(error)
    for path in (job.source, job.partial, job.target):
        cause = cause.replace(str(path), job.path)
    return {"path": job.path, "kind": job.kind, "asked": job.asked, "error": cause}
