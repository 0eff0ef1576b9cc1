"""A video: every face in every frame replaced, one person by one new person from beginning to end."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from ..errors import UnwritableVideoError
from ..faces import derived_seed
from ..files import replacing
from ..processes import WORKERS
from .container import VIDEO_SUFFIXES, Frame, VideoReader, VideoWriter, load_av
from .painting import Painter
from .planning import Planner
from .searching import Search
from .voice import VOICES, Voice, load_world

if TYPE_CHECKING:
    from ..pipeline import FaceAnonPipeline

__all__ = ["VIDEO_SUFFIXES", "VideoReport", "anonymize_video"]

logger = logging.getLogger(__name__)

AHEAD = 4  # frames per core that are tracked while others are painted
VOICE = 1 << 20  # the number, beyond those of people, by which the voices' seed is derived


@dataclass(frozen=True)
class VideoReport:
    """What was done to a video.

    Args:
        frames (`int`):
            Number of frames written.
        seconds (`float`):
            Time of the last frame, from the first.
        size (`tuple[int, int]`):
            Width and height of the upright frames, in pixels.
        codec (`str`):
            Encoder of the new video.
        tracks (`list[dict]`):
            Of each track: `number`, `person` (tracks of the same one got the same new face), `first` and `last` in
            seconds, `frames` by status, `status` in most of them, `found` (frames in which it was detected, followed
            or filled in), `reasons` of what is not anonymized, with their frames, `small` (frames in which the face
            is narrower than the detector's `min_face_size`), and `seed`.
        keep, hide (`list[list[float]]`):
            The boxes that were asked for.
        cuts (`list[float]`):
            Times at which another scene begins, in seconds.
        notes (`list[str]`):
            What of the original file the new one lacks, in words.
        crowd (`str`):
            That some frame shows a crowd, see [`faces.crowd_note`]; empty where none does.
    """

    frames: int
    seconds: float
    size: tuple[int, int]
    codec: str
    tracks: list[dict[str, Any]]
    keep: list[list[float]]
    hide: list[list[float]]
    cuts: list[float]
    notes: list[str]
    crowd: str = ""

    @property
    def small(self) -> int:
        """Faces over all frames that are narrower than the detector's `min_face_size`."""
        return sum(track["small"] for track in self.tracks)

    @property
    def counts(self) -> dict[str, int]:
        """Faces over all frames, by status."""
        counts: Counter[str] = Counter()
        for track in self.tracks:
            counts.update(track["frames"])
        return dict(counts)

    def to_dict(self, seed: bool = False) -> dict[str, Any]:
        """A record for reports, ready for JSON; with the seeds, which repeat the new faces, only where asked for."""
        record = dataclasses.asdict(self) | {"size": list(self.size), "small": self.small}
        if not seed:
            record["tracks"] = [{k: v for k, v in track.items() if k != "seed"} for track in record["tracks"]]
        return record


def anonymize_video(
    pipe: FaceAnonPipeline,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    seed: int | None = None,
    start: float | None = None,
    end: float | None = None,
    voice: Voice = "keep",
    codec: str | None = None,
    quality: int | None = None,
    keep: Sequence[Sequence[float]] | None = None,
    hide: Sequence[Sequence[float]] | None = None,
    on_progress: Callable[[float], None] | None = None,
    **options: Any,
) -> VideoReport:
    """Anonymizes a video, frame by frame; memory does not grow with its length.

    Every third frame is searched, and every one in which a face is lost. A face is tracked by overlap and motion, and
    through frames in which it is not detected it is followed by its landmarks or filled in. One seed makes one new
    person of a track, and of a later track whose landmarks are shaped alike: drawn once, at rest and with the mouth
    open, the person is moved in each frame as the original's mesh moves. Landmarks and coefficients are smoothed over
    the frames around.

    Sound and subtitles are copied, chapters kept; metadata, covers, attachments and data streams, which may tell the
    place, are not. Frames come out upright, with 8 bits and, where they were odd, a side one pixel longer.

    Args:
        pipe ([`FaceAnonPipeline`]):
            Finds and paints the faces.
        source (`str` or `os.PathLike`):
            Video in one of the containers of `container.DEMUXERS` and any codec that PyAV reads, but HDR. Playlists,
            which name other files, are refused.
        target (`str` or `os.PathLike`):
            Video to write; the suffix gives the container. It appears only once it is complete.
        seed (`int`, *optional*):
            Picks the new people: the same video, seed and version give the same frames, at any batch size, and by
            x264 the same file. How other encoders repeat themselves is up to them.
        start, end (`float`, *optional*):
            Seconds between which the video is taken.
        voice (`str`, *optional*, defaults to `"keep"`):
            A voice identifies, too: `"keep"` copies the sound, `"drop"` leaves it out, `"disguise"` moves pitch and
            formants (extra `voice`), see [`voice.VoiceDisguise`], which is no proof against a listener who tries.
        codec (`str`, *optional*):
            FFmpeg's name of an encoder; `"libx264"` where the container holds it.
        quality (`int`, *optional*):
            1 to 100, of lossy codecs; 65 unless given, which is 18 of x264's constant rate factor.
        keep (`list`, *optional*):
            Boxes (left, top, right, bottom) in pixels of the upright frame: a face with more than half of its box in
            one of them stays in that frame.
        hide (`list`, *optional*):
            Boxes that are obfuscated in every frame, whatever is in them.
        on_progress (`Callable`, *optional*):
            Called with the share that is done, 0 to 1.
        options (*optional*):
            Fields of [`Options`] by name.

    Returns:
        [`VideoReport`].

    Raises:
        MissingDependencyError: PyAV is not installed.
        UnreadableVideoError: no video, damaged, cut short, or HDR. Nothing is written.
        UnwritableVideoError: unknown suffix or codec, sound that the container does not hold, no space left.
        ValueError: an argument is out of its range.
    """
    # 1. Check the arguments.
    asked = pipe.resolve(**options)
    kept, hidden = _boxes("keep", keep), _boxes("hide", hide)
    _check_arguments(start, end, voice)
    base = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
    load_av()
    if voice == "disguise":
        load_world()
    target, done = Path(target), on_progress or (lambda share: None)
    reader = VideoReader(source, start, end)
    writer: VideoWriter | None = None
    search = Search(pipe, asked)
    planner, painter = Planner(pipe, asked, base, search, hidden), Painter(pipe, asked, kept, hidden)
    try:
        with replacing(target, UnwritableVideoError) as temporary, _one_thread_each(), torch.no_grad():
            # 2. Read as far as the first frame, with which the size is known.
            events = iter(reader.read(reader.beside(voice != "drop")[0]))
            before = []
            while not isinstance(event := next(events), Frame):  # the reader gives a frame or an error
                before.append(event)
            own = derived_seed(base, VOICE)
            writer = VideoWriter(temporary, target, reader, event, voice, codec, quality, own)
            size = max(asked.batch_size, AHEAD * WORKERS)
            batches = _batches(itertools.chain(before, [event], events), writer, size)
            with ThreadPoolExecutor(1) as beside:
                painting: Future[list[Frame]] | None = None
                for batch, last in batches:
                    # 3. Find and follow the faces, and plan what is painted, while the batch before is painted.
                    plans = [(frame, planner.plan(frame)) for frame in search.advance(batch, last)]
                    # 4. Write the batch before, and paint this one.
                    finished = painting.result() if painting else []
                    painting = beside.submit(painter.paint, plans)
                    _write(writer, finished, reader.length, done)
                _write(writer, painting.result() if painting else [], reader.length, done)
            writer.finish()
    finally:
        if writer is not None:
            writer.abandon()
        reader.close()
    done(1.0)
    pipe.maybe_free_model_hooks()
    # 5. Report.
    return _report(search, painter, writer)


def _batches(events: Iterable[Any], writer: VideoWriter, size: int) -> Iterator[tuple[list[Frame], bool]]:
    """Frames in batches, and whether one is the last; what is between them goes to the writer at once."""
    batch: list[Frame] = []
    for event in events:
        if not isinstance(event, Frame):
            writer.copy(event)
            continue
        batch.append(event)
        if len(batch) == size:
            yield batch, False
            batch = []
    yield batch, True


def _check_arguments(start: float | None, end: float | None, voice: str) -> None:
    if not 0 <= (start or 0) < (math.inf if end is None else end):
        raise ValueError(f"`start` and `end` must be a span of time, not {start} to {end}")
    if voice not in VOICES:
        raise ValueError(f"`voice` must be one of {', '.join(VOICES)}, not {voice!r}")


def _report(search: Search, painter: Painter, writer: VideoWriter) -> VideoReport:
    report = VideoReport(
        frames=painter.frames,
        seconds=round(painter.time, 3),
        size=(writer.stream.width, writer.stream.height),
        codec=writer.stream.codec_context.name,
        tracks=painter.records,
        keep=[list(map(float, box)) for box in painter.keep],
        hide=[list(map(float, box)) for box in painter.hide],
        cuts=search.cuts,
        notes=writer.notes,
        crowd=painter.crowd,
    )
    if report.counts.get("obfuscated"):
        total = sum(report.counts.values())
        logger.warning(
            "%d of %d faces in frames are obfuscated instead of replaced", report.counts["obfuscated"], total
        )
    if report.crowd:
        logger.warning("%s", report.crowd)
    return report


def _write(writer: VideoWriter, frames: list[Frame], length: float, done: Callable[[float], None]) -> None:
    for frame in frames:
        writer.write(frame)
    if frames and length:
        done(min(1.0, frames[-1].time / length))


def _boxes(name: str, boxes: Sequence[Sequence[float]] | None) -> list[np.ndarray]:
    """Checked boxes."""
    checked = [np.asarray(box, float) for box in boxes or []]
    for box in checked:
        if box.shape != (4,) or not np.isfinite(box).all() or (box[2:] <= box[:2]).any():
            raise ValueError(f"`{name}` holds boxes (left, top, right, bottom), not {box.tolist()}")
    return checked


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """PyTorch and OpenCV on one thread: frames that are worked on side by side share the cores already."""
    threads, others = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(others)
