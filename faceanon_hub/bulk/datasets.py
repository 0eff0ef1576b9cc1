"""Datasets of photos: image folders, WebDataset tars and Parquet, in a loop or on Ray."""

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from .. import __version__
from ..errors import FaceAnonError
from ..files import check_name
from ..hub import DEFAULT_CHECKPOINT, weights_digest
from ..io.photos import MAX_PIXELS
from ..loading import check_dtype
from ..options import Options
from ..ranges import check_number
from ..runs import check_settings, settle_seed
from .folders import COUNTED
from .shards import METADATA, Shard, ShardWork, copy_metadata, find_shards, mark_of, missing
from .storage import PARTIAL, SIDE, is_below, is_partial, put, put_json, read_json, system_of

Engine = Literal["local", "ray"]


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
    _check_arguments(engine, actors, batch_rows, retries, cpus, gpus)
    check_number("quality", quality, 1, 100, whole=True)
    check_number("max_pixels", max_pixels, 1, math.inf, whole=True)
    check_dtype(dtype)
    Options(**options)  # says what is wrong with them before a worker does
    places = os.fspath(source), os.fspath(target)
    check_name(Path(places[1]))
    if is_below(places[1], places[0]) or is_below(places[0], places[1]):
        raise ValueError(f"{target} and {source} lie in one another")
    shards, others = find_shards(places[0])
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
    work = ShardWork(places, column, seed, network, retries, batch_rows, quality, list(trust), max_pixels, options)
    done = len(marks)
    if on_progress is not None:
        on_progress(done, len(shards), "")
    results = map(work, opened) if engine == "local" else _on_ray(work, opened, actors, cpus, gpus)
    for mark in results:
        marks[mark["shard"]] = mark
        done += 1
        if on_progress is not None:
            on_progress(done, len(shards), mark["shard"])
    report = _sum_up(shards, marks)
    report.left_out = _pass_others(places, shards, others, marks, report)
    system, root = system_of(places[1])
    for path in system.glob(f"{root}/{SIDE}/{PARTIAL}*"):  # of actors that were killed
        system.rm(path)
    lines = "".join(json.dumps(failure) + "\n" for failure in report.failures)
    put(places[1], f"{SIDE}/failures.jsonl", lines.encode())
    put_json(places[1], f"{SIDE}/left_out.json", report.left_out)
    put_json(places[1], f"{SIDE}/run.json", {**promised, "seed": None if drawn else seed, "drawn": drawn})
    return report


def _check_arguments(engine: str, actors: int, batch_rows: int, retries: int, cpus: float, gpus: float) -> None:
    if engine not in ("local", "ray"):
        raise ValueError(f"`engine` must be 'local' or 'ray', not {engine!r}")
    for name, number, least in (("actors", actors, 1), ("batch_rows", batch_rows, 1), ("retries", retries, 0)):
        check_number(name, number, least, math.inf, whole=True)
    for name, share in (("cpus", cpus), ("gpus", gpus)):
        check_number(name, share, 0, math.inf)


def _sum_up(shards: list[Shard], marks: dict[str, dict[str, Any]]) -> DatasetReport:
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
    return report


def _pass_others(
    places: tuple[str, str],
    shards: list[Shard],
    others: list[str],
    marks: dict[str, dict[str, Any]],
    report: DatasetReport,
) -> dict[str, str]:
    """Copies the metadata of what is done; returns, by path, why each of the rest is left out."""
    done_paths = {path for shard in shards if "error" not in marks[shard.name] for path in shard.paths}
    done_paths -= {failure["row"] for failure in report.failures}
    left_out = {}
    for path in others:
        if shards[0].kind == "folder" and PurePosixPath(path).name in METADATA:
            reason = copy_metadata(places, path, done_paths)
        else:
            reason = "no photo" if shards[0].kind == "folder" else f"the dataset is of {shards[0].kind} files"
        if reason is not None:
            left_out[path] = reason
    return left_out


def _claim(target: str, promised: dict[str, Any], seed: int | None) -> tuple[int, bool]:
    """Marks the folder as that of a run. Returns its seed, and whether it was drawn."""
    system, root = system_of(target)
    place = f"{root}/{SIDE}/run.json"
    before = read_json(system, place) if system.exists(place) else None
    if before is not None:
        check_settings(target, before, promised if seed is None else {**promised, "seed": seed})
    elif system.exists(root) and not all(is_partial(path, root) for path in system.find(root)):
        raise FaceAnonError(f"{target}: holds files that were not made here; choose another folder")
    seed, drawn = settle_seed(before, seed)
    put_json(target, f"{SIDE}/run.json", {**promised, "seed": seed, "drawn": drawn})
    return seed, drawn


def _read_marks(target: str, shards: list[Shard]) -> dict[str, dict[str, Any]]:
    system, root = system_of(target)
    names = {shard.name: f"{root}/{mark_of(shard)}" for shard in shards}
    return {name: read_json(system, path) for name, path in names.items() if system.exists(path)}


class _Actor:
    """Holds a pipeline on a machine of the cluster."""

    def __init__(self, work: ShardWork) -> None:
        self.work = work
        work.batch.threads = 1

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"mark": [json.dumps(self._mark(json.loads(text))) for text in batch["shard"]]}

    def _mark(self, shard: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.work(Shard(shard["name"], shard["kind"], tuple(shard["paths"])))
        except (FaceAnonError, ValueError, TypeError) as error:  # raised here, Ray would bury it under its own
            return {"shard": shard["name"], "stop": str(error)}


def _on_ray(work: ShardWork, shards: list[Shard], actors: int, cpus: float, gpus: float) -> Iterator[dict[str, Any]]:
    """Marks of shards, as actors finish them. Ray starts an actor that died anew and gives its shard out again."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise missing("ray", error) from error
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
