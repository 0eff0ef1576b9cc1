"""A video: every face in every frame replaced, one person by one new person from beginning to end."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from ..blending.grain import Grain
from ..errors import UnwritableVideoError
from ..faces import Face, FaceStatus, crowd_note, derived_seed
from ..files import replacing
from ..io.photos import Photo
from ..landmarks import BLENDSHAPES, FIVE
from ..look import angles_of
from ..options import Options
from ..placing import crop_size
from ..processes import WORKERS, each
from ..scene import FaceJob, NewFace, Scene, check_zones, cover_zones, mark_kept, share_inside
from .container import VIDEO_SUFFIXES, Frame, VideoReader, VideoWriter, load_av
from .reenactment import Person
from .smoothing import average, steady
from .tracking import EDGE, PATIENCE, Sighting, Track, Tracker, between, carried, overlap
from .voice import VOICES, Voice, load_world

if TYPE_CHECKING:
    from ..pipeline import FaceAnonPipeline

__all__ = ["VIDEO_SUFFIXES", "VideoReport", "anonymize_video"]

logger = logging.getLogger(__name__)

LOOKAHEAD = PATIENCE  # frames that are known before one is painted
DOUBTFUL = 0.1  # heights of the face by which more is hidden round a face that was not seen
MAX_MARGIN = 0.3
SURE = 3  # detections after which a face is painted, not obfuscated, just before and after it was seen
EVERY = 3  # one in so many frames is searched; between them faces are followed, and newcomers are traced back
ROUND = 0.15  # sides of a box round a face that a zone must hide, too, before the face is left to it
AHEAD = 4  # frames per core that are tracked while others are painted
GRAIN_EVERY = 15  # one in so many frames is measured for the grain of a track's new face
SMALL = 128  # side of the crop in which light and colour are worked out: seams in it would flicker
# Sides of the crop in which a face is worked on, in pixels.
SIDES = (128, 192, 256, 320, 384, 512, 640, 768, 1024)
VOICE = 1 << 20  # the number, beyond those of people, by which the voices' seed is derived
MOST_TRIES = 6  # at drawing a person; one in so many frames as are known before one is painted
REMEMBERED = 8  # drawn people who may come back
TURN = 10.0  # degrees that make a frame as unsuited to draw a person for as an expression shown in full
# Frames 32 pixels wide that differ by so many levels in the mean, and by so many times the usual, are of two scenes.
CUT_LEVEL, CUT_RATIO = 22.0, 4.0


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


@dataclass(eq=False)
class _Planned:
    """A face about to be painted, and what the network and the post-processors get of it."""

    face: Face
    track: Track
    how: str
    matrix: np.ndarray | None = None
    size: int | None = None
    coefficients: tuple[Any, ...] = (None, None)
    person: Person | None = None
    doubtful: bool = False
    glasses: bool | None = None
    key: int = 0  # frame in which its grain is measured


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
    asked = pipe.resolve(**options)
    kept, hidden = _boxes("keep", keep), _boxes("hide", hide)
    _check_arguments(start, end, voice)
    base = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
    load_av()
    if voice == "disguise":
        load_world()
    target, done = Path(target), on_progress or (lambda share: None)
    reader = VideoReader(source, start, end)
    window = _Window(pipe, asked, base, kept, hidden)
    writer: VideoWriter | None = None
    try:
        with (
            replacing(target, UnwritableVideoError) as temporary,
            _one_thread_each(),
            torch.no_grad(),
            ThreadPoolExecutor(1) as painter,
        ):
            batch: list[Frame] = []
            painting: Future[list[Frame]] | None = None  # of the batch before: the next one is tracked meanwhile
            waiting: list[Any] = []  # what comes before the first frame, with which the size is known
            size = max(asked.batch_size, AHEAD * WORKERS)
            for event in reader.read(reader.beside(voice != "drop")[0]):
                if not isinstance(event, Frame):
                    waiting.append(event)
                else:
                    batch.append(event)
                    if writer is None:
                        own = derived_seed(base, VOICE)
                        writer = VideoWriter(temporary, target, reader, event, voice, codec, quality, own)
                if writer is not None:
                    for packet in waiting:
                        writer.copy(packet)
                    waiting.clear()
                    if len(batch) == size:
                        plans = window.track(batch)
                        finished = painting.result() if painting else []
                        painting = painter.submit(window.paint, plans)
                        _write(writer, finished, reader.length, done)
                        batch.clear()
            assert writer is not None  # the reader gives a frame or an error
            plans = window.track(batch, last=True)
            _write(writer, painting.result() if painting else [], reader.length, done)
            _write(writer, window.paint(plans), reader.length, done)
            writer.finish()
    finally:
        if writer is not None:
            writer.abandon()
        reader.close()
    done(1.0)
    pipe.maybe_free_model_hooks()
    return _report(window, writer)


def _check_arguments(start: float | None, end: float | None, voice: str) -> None:
    if not 0 <= (start or 0) < (math.inf if end is None else end):
        raise ValueError(f"`start` and `end` must be a span of time, not {start} to {end}")
    if voice not in VOICES:
        raise ValueError(f"`voice` must be one of {', '.join(VOICES)}, not {voice!r}")


def _report(window: _Window, writer: VideoWriter) -> VideoReport:
    report = VideoReport(
        frames=window.frames,
        seconds=round(window.time, 3),
        size=(writer.stream.width, writer.stream.height),
        codec=writer.stream.codec_context.name,
        tracks=window.records,
        keep=[list(map(float, box)) for box in window.keep],
        hide=[list(map(float, box)) for box in window.hide],
        cuts=window.cuts,
        notes=writer.notes,
        crowd=window.crowd,
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


class _Window:
    """The frames between the one that was decoded last and the one that is painted next."""

    def __init__(
        self,
        pipe: FaceAnonPipeline,
        options: Options,
        seed: int,
        keep: list[np.ndarray],
        hide: list[np.ndarray],
    ) -> None:
        self.pipe, self.options, self.seed = pipe, options, seed
        self.keep, self.hide = keep, hide
        wide = min(MAX_MARGIN, options.mask_margin + DOUBTFUL)
        self.doubtful = dataclasses.replace(options, mask_margin=wide)
        self.tracker = Tracker()
        self.frames, self.time = 0, 0.0
        self.cuts: list[float] = []
        self.crowd = ""  # what there is to say of the first frame that shows one
        self._frames: deque[Frame] = deque()
        self._thumbnail: np.ndarray | None = None
        self._usual = CUT_LEVEL / CUT_RATIO
        self._records: dict[int, dict[str, Any]] = {}
        self._people: dict[int, Person | None] = {}  # the most recent ones who were drawn, or could not be
        self._tried: dict[int, list[int]] = {}  # frames in which it was tried to draw a person
        self._keys: dict[int, int] = {}  # of each track the frame in which its grain is measured
        self._grains: dict[tuple[int, int], Grain] = {}  # by track and frame

    @property
    def records(self) -> list[dict[str, Any]]:
        """The tracks' part of the report."""
        records = [self._records[number] for number in sorted(self._records)]
        return [{**record, "status": max(record["frames"], key=record["frames"].get)} for record in records]

    def track(self, batch: list[Frame], last: bool = False) -> list[tuple[Frame, list[_Planned]]]:
        """Takes the next frames, and plans those of which enough is known.

        What is planned for a frame depends on the frames that follow it, as far as the look-ahead, and never on the
        batches they come in.
        """
        cuts = [self._is_cut(frame) for frame in batch]
        searched = [frame for frame, cut in zip(batch, cuts, strict=True) if cut or frame.number % EVERY == 0]
        found = dict(zip([frame.number for frame in searched], each(self._find, searched), strict=True))
        plans: list[tuple[Frame, list[_Planned]]] = []
        for frame, cut in zip(batch, cuts, strict=True):
            if cut:
                self.tracker.cut(frame.number)
                self.cuts.append(round(frame.time, 3))
            self._frames.append(frame)
            self._track(frame, found.get(frame.number))
            if len(self._frames) > LOOKAHEAD:
                plans.append((self._frames[0], self._plan(self._frames[0])))
                self._frames.popleft()
        if last:
            plans += [(frame, self._plan(frame)) for frame in self._frames]
        return plans

    def _find(self, frame: Frame) -> list[Sighting]:
        faces = self.pipe.find_faces(frame.pixels, self.options.threshold, hide_small=self.options.hide_small)
        return [self._sighting(frame, face, "detected") for face in faces]

    def _sighting(self, frame: Frame, face: Face, how: str) -> Sighting:
        """A face with its coefficients; without, where they cannot be measured."""
        sighting = Sighting(frame.number, frame.time, face, how)
        if face.landmarks is not None:
            try:
                job = self.pipe.place_face(face)
                self.pipe.measure_light(frame.pixels, job, self.options, SMALL)
                sighting.coefficients = job.lighting, job.color
                if frame.number % (2 * EVERY) == 0:
                    sighting.glasses = self.pipe.wears_glasses(frame.pixels, face.landmarks)
            except Exception:
                logger.debug("measuring a face failed; placing it will say why", exc_info=True)
        return sighting

    def _track(self, frame: Frame, found: list[Sighting] | None) -> None:
        """Puts the faces of a frame into tracks, and looks for what was missed in it and in the frames before.

        A frame that was not searched is searched after all where the mesh loses a face.
        """
        if found is None and self._follow_all(frame):
            return
        if found is None:
            found = self._find(frame)
        tracks = self.tracker.match(frame.number, [sighting.face for sighting in found])
        newcomers: list[Track] = []
        for number, sighting in enumerate(found):
            if (known := tracks.get(number)) is None:
                track = self.tracker.begin()
                newcomers.append(track)
            else:
                track = known
                if sighting.face.landmarks is None:
                    sighting = self._seek(frame, track) or sighting
                self._fill(track, sighting)
            track.add(sighting)
        for track in self.tracker.live:
            if track.last.frame < frame.number:
                followed = self._seek(frame, track)
                if followed is not None:
                    self._fill(track, followed)
                    track.add(followed)
        for track in newcomers:
            self._trace_back(frame, track)
        self.tracker.prune(frame.number, frame.number - 2 * LOOKAHEAD)

    def _follow_all(self, frame: Frame) -> bool:
        """Adds to each track what the mesh sees of it in a frame; nothing, and False, where it loses one."""
        live = [(track, self._seek(frame, track)) for track in self.tracker.live]
        seen = [(track, sighting) for track, sighting in live if sighting is not None]
        if len(seen) < len(live):
            return False
        for track, sighting in seen:
            self._fill(track, sighting)
            track.add(sighting)
        self.tracker.prune(frame.number, frame.number - 2 * LOOKAHEAD)
        return True

    def _trace_back(self, frame: Frame, track: Track) -> None:
        """Looks for a new face in the frames before, as far as it is seen."""
        for earlier in reversed([other for other in self._frames if track.start <= other.number < frame.number]):
            followed = self._seek(earlier, track)
            if followed is None:
                break
            track.add(followed)

    def _fill(self, track: Track, sighting: Sighting) -> None:
        """Finds or interpolates the face in the frames between its last sighting and this one."""
        last = track.last
        for frame in self._frames:
            if last.frame < frame.number < sighting.frame:
                share = (frame.number - last.frame) / (sighting.frame - last.frame)
                guess = between(last.face, sighting.face, share)
                found = self._seek(frame, track, guess)
                track.add(found or Sighting(frame.number, frame.time, guess, "filled"))

    def _seek(self, frame: Frame, track: Track, guess: Face | None = None) -> Sighting | None:
        """Runs the mesh where a face should be, as MediaPipe follows faces. None where it finds none, or another's."""
        guess = guess or track.expected(frame.number)
        if guess.landmarks is None:
            return None
        face = Face(guess.box, guess.score, guess.landmarks[FIVE, :2])
        if not self._followed(frame, face, guess.landmarks):
            self.pipe.find_landmarks(frame.pixels, face)
        if face.landmarks is None:
            return None
        # The box keeps its place round the landmarks.
        known, seen = (np.concatenate([p[:, :2].min(0), p[:, :2].max(0)]) for p in (guess.landmarks, face.landmarks))
        scale = (seen[2:] - seen[:2]) / (known[2:] - known[:2])
        face.box = ((guess.box.reshape(2, 2) - known[:2]) * scale + seen[:2]).reshape(4)
        return None if self._is_taken(track, frame, face) else self._sighting(frame, face, "followed")

    def _followed(self, frame: Frame, face: Face, landmarks: np.ndarray) -> bool:
        """Fills in a face that one look finds where it is expected."""
        try:
            mesh = self.pipe.landmark_extractor.follow(frame.pixels, landmarks)
        except Exception:
            logger.debug("following a face failed; a second look will say why", exc_info=True)
            return False
        if mesh is None:
            return False
        face.landmarks, face.presence, face.pose = mesh.points, mesh.presence, mesh.pose
        face.blendshapes = dict(zip(BLENDSHAPES, mesh.blendshapes.tolist(), strict=True))
        return True

    def _is_taken(self, track: Track, frame: Frame, face: Face) -> bool:
        """Whether another track has a face in the same place."""
        others = [other.sightings.get(frame.number) for other in self.tracker.tracks if other is not track]
        return any(overlap(face.box, other.face.box) > 0.4 for other in others if other is not None)

    def _is_cut(self, frame: Frame) -> bool:
        """Whether another scene begins: the picture changes by far more than it did from frame to frame."""
        height, width = frame.pixels.shape[:2]
        small = cv2.resize(frame.pixels, (32, max(1, round(32 * height / width))), interpolation=cv2.INTER_AREA)
        before, self._thumbnail = self._thumbnail, small.astype(np.float32)
        if before is None:
            return False
        change = float(np.abs(self._thumbnail - before).mean())
        cut = change > max(CUT_LEVEL, CUT_RATIO * self._usual)
        if not cut:
            self._usual += 0.2 * (change - self._usual)
        return cut

    def _plan(self, frame: Frame) -> list[_Planned]:
        """Decides what is painted into a frame, from what is known of the frames around."""
        planned = []
        for track in self.tracker.tracks:
            sighting = track.sightings.get(frame.number) or self._beyond(track, frame)
            if sighting is not None and not self._is_hidden(frame, sighting.face):
                entry = self._smoothed(track, sighting)
                entry.face.seed = derived_seed(self.seed, self.tracker.identify(track))
                if entry.size is not None:
                    entry.person = self._cast(track, entry, frame.number)
                if frame.number % GRAIN_EVERY == 0 or track.number not in self._keys:
                    self._keys[track.number] = frame.number
                entry.key = self._keys[track.number]
                planned.append(entry)
        return planned

    def _is_hidden(self, frame: Frame, face: Face) -> bool:
        """Whether a face and what is round it lie in a zone that is hidden: nothing is left to be done."""
        low, high = face.box[:2], face.box[2:]
        reach = (ROUND + self.options.mask_margin) * (high - low)
        end = np.array(frame.pixels.shape[1::-1])
        box = np.r_[(low - reach).clip(0, end), (high + reach).clip(0, end)]
        return any(share_inside(box, zone) == 1 for zone in self.hide)

    def _cast(self, track: Track, entry: _Planned, number: int) -> Person | None:
        """Who plays a track's person: drawn once, for the calmest frame at hand, and in finer pictures when needed."""
        assert track.person is not None and entry.size is not None
        person = self._people.pop(track.person, None)
        tried = self._tried.setdefault(track.person, [])
        try:
            if person is None and len(tried) < MOST_TRIES and (not tried or number - tried[-1] >= LOOKAHEAD):
                tried.append(number)
                person = self._drawn(track, entry)
            elif (
                person is not None
                and (landmarks := entry.face.landmarks) is not None
                and person.size < (finer := crop_size(landmarks))
            ):
                person = self.pipe.refine_person(person, finer)
        except Exception as error:
            logger.exception("drawing a face failed; it is obfuscated")
            entry.face.reason = f"generation failed: {error}"
        self._people[track.person] = person
        for forgotten in list(self._people)[:-REMEMBERED]:
            del self._people[forgotten], self._tried[forgotten]
        return person

    def _drawn(self, track: Track, entry: _Planned) -> Person | None:
        seen = [
            (unrest(sighting.face), frame.number, frame, sighting.face)
            for frame in self._frames
            if (sighting := track.sightings.get(frame.number)) is not None and sighting.face.blendshapes is not None
        ]
        if not seen:
            return None
        _, _, frame, face = min(seen, key=lambda one: one[:2])
        face = dataclasses.replace(face, seed=entry.face.seed, status=FaceStatus.FOUND, reason="")
        photo = Photo(frame.pixels, None, False, None, None, f"frame {frame.number}")
        scene = self.pipe.prepare_scene(photo, [face], self.options)
        person = self.pipe.draw_person(scene.jobs[0], self.options) if scene.jobs else None
        entry.face.reason = face.reason
        return person

    def _beyond(self, track: Track, frame: Frame) -> Sighting | None:
        """A face just before its first or after its last sighting, unless a cut lies between or somebody is there."""
        reach = min(abs(frame.number - track.first.frame), abs(frame.number - track.last.frame))
        if reach > EDGE or frame.number < track.start or (track.end is not None and frame.number > track.end):
            return None
        face = track.expected(frame.number)
        return None if self._is_taken(track, frame, face) else Sighting(frame.number, frame.time, face, "beyond")

    def _smoothed(self, track: Track, sighting: Sighting) -> _Planned:
        """A face with its landmarks, crop and coefficients smoothed over the frames around."""
        face = dataclasses.replace(sighting.face)
        entry = _Planned(face, track, sighting.how, doubtful=sighting.how not in ("detected", "followed"))
        near = [other for other in track.sightings.values() if abs(other.frame - sighting.frame) <= LOOKAHEAD]
        self.pipe.mark_small([face], self.options.hide_small)
        if face.small and self.options.hide_small:
            return entry
        if face.landmarks is None:
            entry.doubtful = True
            face.landmarks = _borrowed(sighting, near)
        if sighting.how == "beyond" and track.counts["detected"] < SURE:
            face.landmarks, face.reason = None, "seen for too short a time"
        measured = [other for other in near if other.coefficients is not None]
        if face.landmarks is None or not measured:
            face.landmarks, face.reason = None, face.reason or "no landmarks near by in time"
            return entry
        known = [other for other in near if other.face.pose is not None]
        near = [other for other in near if other.face.landmarks is not None and other.frame != sighting.frame]
        near = sorted([*near, dataclasses.replace(sighting, face=face)], key=lambda other: other.frame)
        index = [other.frame for other in near].index(sighting.frame)
        times = np.array([other.time for other in near])
        meshes = [other.face.landmarks for other in near if other.face.landmarks is not None]
        entry.size = crop_size(face.landmarks, SIDES)
        entry.matrix, face.landmarks = steady(times, meshes, index, entry.size)
        if face.pose is None:
            face.pose = min(known, key=lambda other: abs(other.frame - sighting.frame)).face.pose
        entry.coefficients = _averaged(sighting, measured)
        seen = [other.glasses for other in near if other.glasses is not None]
        entry.glasses = any(seen) if seen else None
        return entry

    def paint(self, plans: list[tuple[Frame, list[_Planned]]]) -> list[Frame]:
        """Erases the faces of the frames that were planned, and lays new ones in their place."""
        # First, one after another, those in which the grain of others is measured.
        keys = [plan for plan in plans if any(entry.key == plan[0].number for entry in plan[1])]
        scenes = {plan[0].number: self._finish(*plan) for plan in keys}
        rest = [plan for plan in plans if plan[0].number not in scenes]
        scenes |= {
            plan[0].number: scene for plan, scene in zip(rest, each(lambda p: self._finish(*p), rest), strict=True)
        }
        finished = []
        for frame, planned in plans:
            scene = scenes[frame.number]
            for known in [known for known in self._grains if known[1] < frame.number - 4 * LOOKAHEAD]:
                del self._grains[known]
            for entry in planned:
                self._record(entry, frame.time)
            self.crowd = self.crowd or crowd_note([entry.face for entry in planned], self.options.hide_small)
            finished.append(dataclasses.replace(frame, pixels=scene.canvas))
            self.frames, self.time = self.frames + 1, frame.time
        return finished

    def _finish(self, frame: Frame, planned: list[_Planned]) -> Scene:
        """Erases the faces of a frame and lays new ones in their place."""
        mark_kept([entry.face for entry in planned], self.keep)
        hidden = [entry for entry in planned if entry.face.status is not FaceStatus.KEPT]
        jobs = [self._job(frame, entry) for entry in hidden]
        zones = check_zones(self.hide, frame.pixels.shape)
        pixels = cover_zones(frame.pixels, zones, self.options.fallback)
        photo = Photo(pixels, None, False, None, None, f"frame {frame.number}")
        kept = [entry.face.box for entry in planned if entry.face.status is FaceStatus.KEPT]
        scene = self.pipe.erase_faces(photo, [entry.face for entry in hidden], jobs, self.options, zones, kept)
        entries = {id(entry.face): entry for entry in hidden}
        faces = [self._shown(job, entries[id(job.face)]) for job in scene.jobs]
        composed = self.pipe.compose(scene, faces, self.options, checked=False, small=SMALL)
        for job in composed.jobs:
            entry = entries[id(job.face)]
            if entry.key == frame.number and job.new is not None and job.new.grain is not None:
                self._grains[entry.track.number, entry.key] = job.new.grain
        return composed

    def _shown(self, job: FaceJob, entry: _Planned) -> NewFace | None:
        try:
            new = self.pipe.show_person(job, entry.person)
            if new is not None:
                new.grain = self._grains.get((entry.track.number, entry.key))
            return new
        except Exception as error:
            logger.exception("moving a face failed; it is obfuscated")
            job.face.reason = f"moving failed: {error}"
            return None

    def _job(self, frame: Frame, entry: _Planned) -> FaceJob | None:
        face = entry.face
        if face.landmarks is None:
            return None
        try:
            options = self.doubtful if entry.doubtful else self.options
            job = self.pipe.place_face(face, entry.size, entry.matrix)
            job.glasses = entry.glasses
            self.pipe.hide_face(frame.pixels, job, options)
        except Exception as error:
            face.reason = f"placing failed: {error}"
            return None
        job.lighting, job.color = entry.coefficients
        return job

    def _record(self, entry: _Planned, time: float) -> None:
        track, face = entry.track, entry.face
        record = self._records.setdefault(
            track.number,
            {
                "number": track.number,
                "person": track.person,
                "first": round(time, 3),
                "last": 0.0,
                "frames": {},
                "found": {},
                "reasons": {},
                "small": 0,
                "seed": face.seed,
            },
        )
        record["last"] = round(time, 3)
        record["small"] += face.small
        reason = "" if face.status is FaceStatus.ANONYMIZED else face.reason
        for name, value in (("frames", face.status.value), ("found", entry.how), ("reasons", reason)):
            if value:
                record[name][value] = record[name].get(value, 0) + 1


def _borrowed(sighting: Sighting, near: list[Sighting]) -> np.ndarray | None:
    """Landmarks for a box that has none, from the frames around; from one side alone only if it is near."""
    known = [other for other in near if other.face.landmarks is not None]
    before = max((s for s in known if s.frame < sighting.frame), key=lambda s: s.frame, default=None)
    after = min((s for s in known if s.frame > sighting.frame), key=lambda s: s.frame, default=None)
    if before is not None and after is not None:
        share = (sighting.frame - before.frame) / (after.frame - before.frame)
        return carried(between(before.face, after.face, share), sighting.face.box).landmarks
    one = before or after
    if one is None or abs(one.frame - sighting.frame) > EDGE:
        return None
    return carried(one.face, sighting.face.box).landmarks


def unrest(face: Face) -> float:
    """How far a face is from one that looks into the camera without expression: a sum over its blendshapes."""
    assert face.blendshapes is not None and face.pose is not None
    turned = np.abs(angles_of(face.pose)[:2]).sum() / TURN
    return float(turned + sum(score for name, score in face.blendshapes.items() if name != "_neutral"))


def _averaged(sighting: Sighting, measured: list[Sighting]) -> tuple[Any, ...]:
    """Light and colour averaged over the frames around of the same light."""
    nearest = min(measured, key=lambda other: abs(other.frame - sighting.frame))
    seen = [other for other in measured if other.coefficients[1] is None or other.coefficients[1].any()]
    seen = seen or measured
    colors = np.array([np.zeros(3) if s.coefficients[1] is None else s.coefficients[1][:3] for s in seen])
    own = nearest.coefficients[1]
    own = np.zeros(3) if own is None else own[:3] if own.any() else colors.mean(0)
    times = np.array([other.time for other in seen])
    light, color = (
        None
        if nearest.coefficients[place] is None
        else average(times, np.array([s.coefficients[place] for s in seen]), sighting.time, colors, own)
        for place in (0, 1)
    )
    return light, color


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
