"""Every photo and video of a folder tree: several processes, one record a file, resumable after any stop."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import FaceAnonError, UnreadableImageError, UnwritableError, UnwritableImageError, cause_of
from ..faces import crowd_note
from ..files import NAME_MAX, check_name, digest_of, naming, read_regular, write_text
from ..hub import DEFAULT_CHECKPOINT, weights_digest
from ..io.harmless import why_not
from ..io.photos import MAX_PIXELS, WRITABLE, Photo, is_media, read_photo, writable_kind, write_photo
from ..loading import check_device, check_dtype, load
from ..options import Options
from ..processes import process_pool, run_task
from ..ranges import check_number
from ..runs import check_settings, settle_seed
from ..video.voice import Voice
from .ledger import Ledger
from .tree import STATE, check_apart, is_chosen, kind_of, matches, output_of, plain, read_zones, report_of, walk

if TYPE_CHECKING:
    from ..pipeline import FaceAnonPipeline

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


@dataclass(frozen=True)
class _Plan:
    """Which files are done, and where the result of each goes."""

    source: Path
    target: Path
    reports: Path | None
    suffix: str
    photo_format: str | None
    include: Sequence[str]
    exclude: Sequence[str]
    copy_others: bool
    trust: Sequence[str]
    zones: list[tuple[str, dict[str, Any]]]  # patterns, and boxes; those of all that match are joined

    def jobs(self, files: list[str], report: FolderReport) -> list[_Job]:
        """The work on each file; what is left out is counted on the report. Seeds are set when the run is claimed."""
        jobs = []
        for number, path in enumerate(files):
            if not is_chosen(path, self.include, self.exclude):
                continue
            kind = kind_of(path)
            trusted = any(matches(path, pattern) for pattern in self.trust)
            if kind == "other" and not (self.copy_others or trusted):
                report.skipped += 1
                continue
            output = output_of(path, kind, self.suffix, self.photo_format)
            if len(os.fsencode(PurePosixPath(output).name)) > NAME_MAX:
                report.failures[path] = f"the name of its result would be longer than {NAME_MAX} bytes"
                continue
            jobs.append(
                _Job(
                    kind=kind,
                    path=path,
                    source=self.source / path,
                    target=self.target / output,
                    output=output,
                    partial=self.target / STATE / "partial" / f"{number}{PurePosixPath(output).suffix}",
                    report=None if self.reports is None or kind == "other" else self.reports / report_of(path),
                    seed=0,
                    keep=self._boxes(path, "keep"),
                    hide=self._boxes(path, "hide"),
                    trusted=trusted,
                )
            )
        return jobs

    def _boxes(self, path: str, name: str) -> list[Any]:
        entries = [entry for pattern, entry in self.zones if matches(path, pattern)]
        return plain([box for entry in entries for box in entry.get(name, [])])


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
    # 1. Check what was asked for
    _check_places(source, named, [target] if reports is None else [target, reports])
    check_number("max_pixels", max_pixels, 1, math.inf, whole=True)
    check_number("workers", workers, 1, math.inf, whole=True)
    check_number("quality", quality, 1, 100, whole=True)
    photo_format = _format(photo_format, target)
    if os.sep in suffix or "/" in suffix:
        raise ValueError(f"`suffix` goes into names and holds no slash, unlike {suffix!r}")
    place, dtype = _network(pipe, checkpoint, dtype)
    asked = asdict(Options(**options))
    batch_size = asked.pop("batch_size")  # changes speed, not results
    name = "bundled" if place == str(DEFAULT_CHECKPOINT) else place
    settings = _Settings(asked, batch_size, quality, keep_metadata, max_pixels, voice, report_seeds, name)
    claim = _claim(settings, weights_digest(place), dtype, suffix, photo_format)
    if pipe is None:
        check_device(device)

    # 2. Find the files, and the place of each result
    files, links, closed = walk(source)
    report = FolderReport(skipped=links, failures=closed)
    given = {} if zones is None else read_zones(Path(zones), files)
    boxes = [("*", {"keep": keep, "hide": hide}), *given.items()]
    plan = _Plan(source, target, reports, suffix, photo_format, include, exclude, copy_others, trust, boxes)
    jobs = plan.jobs(files, report)
    _check_distinct(jobs, source, None if zones is None else Path(zones))

    # 3. Compare with the run that the target holds
    ledger = Ledger(target / STATE)
    before = ledger.settings()
    if before is None:
        _check_foreign(target, jobs, redo)
    elif not redo:
        advice = "give the same, choose another folder, or do everything again with --redo"
        check_settings(target, before, claim if seed is None else {**claim, "seed": seed}, advice=advice)
    if dry_run:
        records = {} if redo else ledger.read()
        report.planned = [job.path for job in jobs if not _is_done(job, records.get(job.path))]
        return report

    # 4. Do what is not done
    with ledger.claimed():
        if redo:
            ledger.forget()
        seed, drawn = settle_seed(before, seed)
        ledger.write_settings({**claim, "seed": seed, "drawn": drawn})
        jobs = [_with_seed(job, seed) for job in jobs]
        records = ledger.read()
        ledger.write(records)
        waiting = [job for job in jobs if not _is_done(job, records.get(job.path))]
        report.unchanged = len(jobs) - len(waiting)
        results = _results(waiting, settings, pipe, (place, device, dtype), workers)
        _collect(results, records, ledger, (report.unchanged, len(jobs)), on_progress or (lambda *given: None))
        _sum_up(report, [records[job.path] for job in jobs])
        if drawn and not report.failures:
            ledger.write_settings({**claim, "seed": None, "drawn": True})
    return report


def _check_places(source: Path, named: str, written: list[Path]) -> None:
    check_name(source, UnreadableImageError)
    if not source.is_dir():
        raise UnreadableImageError(named, "is no folder" if source.exists() else "no such folder")
    for folder in written:
        check_name(folder)
    check_apart(source, written)


def _network(pipe: FaceAnonPipeline | None, checkpoint: str | None, dtype: str) -> tuple[str, str]:
    """Where the checkpoint lies, and the type it computes in."""
    place = checkpoint or str(DEFAULT_CHECKPOINT)
    if pipe is not None:
        place = str(pipe.config.get("_name_or_path") or "of the caller")
        dtype = str(pipe.generator.dtype).removeprefix("torch.")
    check_dtype(dtype)
    return place, dtype


def _collect(
    results: Iterator[dict[str, Any]],
    records: dict[str, dict[str, Any]],
    ledger: Ledger,
    progress: tuple[int, int],
    on_progress: Callable[[int, int, str], None],
) -> None:
    """Writes down each record as it comes, and all of them at the end."""
    done, total = progress
    on_progress(done, total, "")
    with ledger.journal() as append:
        for more, record in enumerate(results, 1):
            records[record["path"]] = record
            append(record)
            on_progress(done + more, total, record["path"])
    ledger.write(records)


def _claim(settings: _Settings, weights: str, dtype: str, suffix: str, photo_format: str | None) -> dict[str, Any]:
    """All that changes results. Zones do too, but file by file: they are on the records."""
    return {
        "version": __version__,
        "weights": weights,
        "dtype": dtype,
        **settings.options,
        "suffix": suffix,
        "photo_format": photo_format,
        "quality": settings.quality,
        "keep_metadata": settings.keep_metadata,
        "voice": settings.voice,
        "report_seeds": settings.report_seeds,
    }


def _format(photo_format: str | None, target: Path) -> str | None:
    """The format of all photos, as a suffix."""
    if photo_format is None:
        return None
    suffix = f".{photo_format.lower().lstrip('.')}"
    if suffix not in WRITABLE:
        raise ValueError(f"`photo_format` must be one of {', '.join(WRITABLE)}, not {suffix!r}")
    writable_kind(target / f"photo{suffix}")
    return suffix


def _check_distinct(jobs: list[_Job], source: Path, zones: Path | None) -> None:
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


def _check_foreign(target: Path, jobs: list[_Job], redo: bool) -> None:
    """Refuses to write over files that no run made."""
    if target.exists() and not target.is_dir():
        raise UnwritableImageError(target, "is no folder")
    there = next((job.target for job in jobs if job.target.exists()), None)
    if there is not None and not redo:
        raise FaceAnonError(f"{there} exists and was not made here; choose another folder, or overwrite with --redo")


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
        return job.source.stat().st_size == record["size"] and digest_of(job.source) == record["sha256"]
    except OSError:
        return False


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
        with process_pool(workers, _worker, *given) as pool:
            try:
                while chunks or running:
                    while chunks and len(running) < ahead:
                        running[pool.submit(run_task, chunks[0])] = chunks[0]
                        chunks.popleft()
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        records = future.result()
                        del running[future]
                        yield from records
            except BrokenProcessPool:
                suspects = deque([job] for chunk in running.values() for job in chunk)
                if alone:
                    died = "the process that worked on it died; out of memory?"
                    yield from (_failed(job, died) for [job] in suspects)
                else:
                    yield from _spread(suspects, 1, given, alone=True)


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
            outcome = {"faces": entries, "small": sum(face.small for face in faces), "crowd": note}
            write_photo(image, job.partial, quality=settings.quality)
            yield _finish(job, record, outcome, settings)
        except Exception as error:
            yield _failed(job, error)


def _video(pipe: FaceAnonPipeline, settings: _Settings, job: _Job) -> dict[str, Any]:
    record = _record(job, job.source.stat().st_size, digest_of(job.source))
    outcome = pipe.video(
        job.source,
        job.partial,
        seed=job.seed,
        keep=job.keep or None,
        hide=job.hide or None,
        voice=settings.voice,
        batch_size=settings.batch_size,
        **settings.options,
    )
    return _finish(job, record, outcome.to_dict(seed=settings.report_seeds), settings)


def _copy(job: _Job) -> dict[str, Any]:
    content = _read(job.source)
    if is_media(content):
        raise FaceAnonError("a photo or video under the name of something else; not copied")
    why = None if job.trusted else why_not(content)
    if why is not None:
        raise FaceAnonError(f"{why}; not copied unless a pattern of `trust` names it")
    with naming(job.target):
        job.partial.write_bytes(content)
    return _finish(job, _record(job, len(content), hashlib.sha256(content).hexdigest()), {}, None)


def _read(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        raise UnreadableImageError(path, f"cannot be opened: {error.strerror}") from error


def _record(job: _Job, size: int, digest: str) -> dict[str, Any]:
    return {"path": job.path, "kind": job.kind, "size": size, "sha256": digest, "asked": job.asked}


def _finish(job: _Job, record: dict[str, Any], outcome: dict[str, Any], settings: _Settings | None) -> dict[str, Any]:
    """Moves the result to its place, and its report beside it."""
    with naming(job.target):
        job.target.parent.mkdir(parents=True, exist_ok=True)
        job.partial.replace(job.target)
        if job.report is not None:
            job.report.parent.mkdir(parents=True, exist_ok=True)
    if job.report is not None and settings is not None:
        head = {"input": job.path, "output": job.output, "version": __version__, "checkpoint": settings.checkpoint}
        text = json.dumps({**outcome, **head, "keep": job.keep, "hide": job.hide}, indent=2)
        # Always the same name: what a killed run leaves of it is written over.
        write_text(job.report, text + "\n", job.report.with_name(f".{job.report.name}.partial"))
    entries = [entry for value in outcome.values() if isinstance(value, list) for entry in value]
    seen = [entry for entry in entries if isinstance(entry, dict) and "status" in entry]
    faces = Counter(entry["status"] for entry in seen)
    faces["small"] = sum(bool(entry["small"]) for entry in seen)
    return {**record, "faces": {name: faces[name] for name in COUNTED}, "crowd": outcome.get("crowd", "")}


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
