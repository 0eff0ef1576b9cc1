"""Decides what is painted into a frame of a video, from what is known of the frames around."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..faces import Face, FaceStatus, derived_seed
from ..io.photos import Photo
from ..look import angles_of
from ..options import Options
from ..placing import crop_size
from ..scene import share_inside
from .container import Frame
from .reenactment import Person
from .searching import LOOKAHEAD, Search
from .smoothing import average, steady
from .tracking import EDGE, Sighting, Track, between, carried

if TYPE_CHECKING:
    from ..pipeline import FaceAnonPipeline

logger = logging.getLogger(__name__)

SURE = 3  # detections after which a face is painted, not obfuscated, just before and after it was seen
ROUND = 0.15  # sides of a box round a face that a zone must hide, too, before the face is left to it
GRAIN_EVERY = 15  # one in so many frames is measured for the grain of a track's new face
# Sides of the crop in which a face is worked on, in pixels.
SIDES = (128, 192, 256, 320, 384, 512, 640, 768, 1024)
MOST_TRIES = 6  # at drawing a person; one in so many frames as are known before one is painted
REMEMBERED = 8  # drawn people who may come back
TURN = 10.0  # degrees that make a frame as unsuited to draw a person for as an expression shown in full


@dataclass(eq=False)
class Planned:
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


class Planner:
    """Faces about to be painted, steady over time, and the people who play them."""

    def __init__(
        self, pipe: FaceAnonPipeline, options: Options, seed: int, search: Search, hide: list[np.ndarray]
    ) -> None:
        self.pipe, self.options, self.seed, self.search, self.hide = pipe, options, seed, search, hide
        self._people: dict[int, Person | None] = {}  # the most recent ones who were drawn, or could not be
        self._tried: dict[int, list[int]] = {}  # frames in which it was tried to draw a person
        self._keys: dict[int, int] = {}  # of each track the frame in which its grain is measured

    def plan(self, frame: Frame) -> list[Planned]:
        """Decides what is painted into a frame, from what is known of the frames around."""
        planned = []
        for track in self.search.tracker.tracks:
            sighting = track.sightings.get(frame.number) or self._beyond(track, frame)
            if sighting is not None and not self._is_hidden(frame, sighting.face):
                entry = self._smoothed(track, sighting)
                entry.face.seed = derived_seed(self.seed, self.search.tracker.identify(track))
                if entry.size is not None:
                    entry.person = self.cast(track, entry, frame.number)
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

    def cast(self, track: Track, entry: Planned, number: int) -> Person | None:
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

    def _drawn(self, track: Track, entry: Planned) -> Person | None:
        seen = [
            (unrest(sighting.face), frame.number, frame, sighting.face)
            for frame in self.search.frames
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
        return None if self.search.is_taken(track, frame, face) else Sighting(frame.number, frame.time, face, "beyond")

    def _smoothed(self, track: Track, sighting: Sighting) -> Planned:
        """A face with its landmarks, crop and coefficients smoothed over the frames around."""
        face = dataclasses.replace(sighting.face)
        entry = Planned(face, track, sighting.how, doubtful=sighting.how not in ("detected", "followed"))
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
