"""Faces of successive frames to tracks: who is who, by place, motion and the shape of the landmarks."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import landmarks as lm
from ..alignment import fit_rotation
from ..faces import Face

PATIENCE = 15  # frames without a sighting after which a track ends
EDGE = 3  # frames before its first and after its last sighting in which a face is hidden all the same
SAME_PLACE = 0.3  # overlap, intersection over union, of a face with where its track is expected
NEAR = 0.7  # distance of a face from there, in sides of its box, that is tried where nothing overlaps
FAR = 1.5  # the same for a face of the track's shape
# Procrustes distance of two mean shapes, within which they may be one person's: halves of a clip lie 0.03 to 0.05
# apart, two people 0.05 to 0.08. A weak cue: the worst it does is to give two people one new face.
SAME_SHAPE = 0.05
REMEMBERED = 50  # people who may come back
# Where bone is near, not expression: outline of the upper head, corners of the eyes, nose.
BONE = [10, 338, 297, 332, 284, 251, 389, 356, 454, 127, 234, 162, 21, 54, 103, 67, 109, 33, 133, 362, 263]
BONE += [*lm.NOSE_BRIDGE, 98, 97, 327, 326, 129, 358, 64, 294]


@dataclass(eq=False)
class Sighting:
    """A face in one frame of its track.

    Args:
        frame (`int`):
            Number of the frame.
        time (`float`):
            Of the frame, in seconds.
        face (`Face`):
            Where it is.
        how (`str`):
            `"detected"`; `"followed"`, by the mesh, from a neighbouring frame; or `"filled"`: interpolated.
        coefficients (`Any`, *optional*):
            What was measured on it.
        glasses (`bool`, *optional*):
            Whether it wears any, if that was measured.
    """

    frame: int
    time: float
    face: Face
    how: str
    coefficients: Any = None
    glasses: bool | None = None


@dataclass(eq=False)
class Track:
    """One face through successive frames.

    Attributes:
        number (`int`):
            Tracks are counted from 0 in the order of their start.
        sightings (`dict[int, Sighting]`):
            By frame, the most recent of them.
        start, end (`int`, *optional*):
            First and last frame that a cut leaves to it.
        person (`int`, *optional*):
            Whose track it is; set by [`Tracker.identify`].
        counts (`Counter[str]`):
            Sightings by how they were made, over the whole track.
    """

    number: int
    start: int = 0
    end: int | None = None
    person: int | None = None
    sightings: dict[int, Sighting] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    shape: np.ndarray | None = None
    _shapes: int = 0

    @property
    def first(self) -> Sighting:
        """The earliest sighting at hand."""
        return self.sightings[min(self.sightings)]

    @property
    def last(self) -> Sighting:
        """The latest sighting."""
        return self.sightings[max(self.sightings)]

    def add(self, sighting: Sighting) -> None:
        """Puts a sighting into its place in the track."""
        self.sightings[sighting.frame] = sighting
        self.counts[sighting.how] += 1
        if sighting.how == "detected" and sighting.face.landmarks is not None:
            self._learn(shape_of(sighting.face.landmarks))

    def expected(self, frame: int) -> Face:
        """The face where it should be in a frame beyond the sightings: that of the nearest, moved on as it moved."""
        order = sorted(self.sightings, reverse=frame < min(self.sightings))
        last, before = self.sightings[order[-1]], self.sightings[order[max(-4, -len(order))]]
        steps = last.frame - before.frame
        middles = [(sighting.face.box[:2] + sighting.face.box[2:]) / 2 for sighting in (before, last)]
        speed = (middles[1] - middles[0]) / steps if steps else np.zeros(2)
        # No further than its own size: a speed measured over few frames is no promise.
        move = (speed * (frame - last.frame)).clip(-last.face.size, last.face.size)
        return carried(last.face, last.face.box + np.tile(move, 2).astype(np.float32))

    def _learn(self, shape: np.ndarray) -> None:
        self._shapes = min(self._shapes + 1, 50)
        mean = shape if self.shape is None else self.shape
        self.shape = mean + (_turned(shape, mean) - mean) / self._shapes


class Tracker:
    """Tracking by detection: overlap with where a track is expected, then distance, then distance and shape.

    Nothing of a person is kept but boxes, landmarks and the mean shape of the landmarks, and these in memory alone.

    Attributes:
        tracks (`list[Track]`):
            Those that still have sightings at hand, in the order of their start.
    """

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self._live: list[Track] = []
        self._started = 0
        self._cut = 0
        self._people = 0
        self._known: list[tuple[int, np.ndarray]] = []  # those out of sight, and their shapes

    @property
    def live(self) -> list[Track]:
        """Tracks that may go on."""
        return list(self._live)

    def match(self, frame: int, faces: list[Face]) -> dict[int, Track]:
        """Finds the tracks of the faces detected in the next frame, by the faces' places in the list; newcomers have
        none.
        """
        expected = [track.expected(frame) for track in self._live]
        overlapping = [[overlap(face.box, there.box) - SAME_PLACE for there in expected] for face in faces]
        near = [[NEAR - distance(face.box, there.box) for there in expected] for face in faces]
        alike = [
            [
                FAR - distance(face.box, there.box) if _alike(face, track.shape) else -1.0
                for there, track in zip(expected, self._live, strict=True)
            ]
            for face in faces
        ]
        found: dict[int, Track] = {}
        for merits in (overlapping, near, alike):
            pairs = [(merit, i, j) for i, row in enumerate(merits) for j, merit in enumerate(row) if merit > 0]
            for _, i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
                if i not in found and self._live[j] not in found.values():
                    found[i] = self._live[j]
        return found

    def begin(self) -> Track:
        """A new track; it reaches back to the last cut at most."""
        track = Track(self._started, start=self._cut)
        self._started += 1
        self.tracks.append(track)
        self._live.append(track)
        return track

    def cut(self, frame: int) -> None:
        """Ends all tracks: with this frame another scene begins."""
        self._cut = frame
        for track in self._live:
            track.end = frame - 1
            self._remember(track)
        self._live.clear()

    def prune(self, frame: int, oldest: int) -> None:
        """Ends tracks not seen for long, and forgets sightings of frames before `oldest`."""
        for track in self.live:
            if frame - track.last.frame >= PATIENCE:
                self._live.remove(track)
                self._remember(track)
        for track in self.tracks:
            for number in [number for number in track.sightings if number < oldest and number != track.last.frame]:
                del track.sightings[number]
        self.tracks = [track for track in self.tracks if track in self._live or track.last.frame >= oldest]

    def identify(self, track: Track) -> int:
        """Whose track it is, counted from 0: somebody of its shape, known by now, who is out of sight, or somebody
        new.
        """
        if track.person is None:
            beside = {other.person for other in self.tracks if other.last.frame >= track.first.frame}
            near = [
                (shape_distance(track.shape, shape), -number, person)
                for number, (person, shape) in enumerate(self._known)
                if track.shape is not None and person not in beside
            ]
            if near and min(near)[0] <= SAME_SHAPE:
                track.person = min(near)[2]
            else:
                track.person = self._people
                self._people += 1
            if track not in self._live:  # it ended before it was asked for
                self._remember(track)
        return track.person

    def _remember(self, track: Track) -> None:
        if track.person is not None and track.shape is not None:
            self._known = [entry for entry in self._known if entry[0] != track.person]
            self._known = [*self._known, (track.person, track.shape)][-REMEMBERED:]


def carried(face: Face, box: np.ndarray) -> Face:
    """A face moved and stretched from its own box to another one, landmarks and keypoints with it."""
    scale = (box[2:] - box[:2]) / np.maximum(face.box[2:] - face.box[:2], 1e-3)

    def moved(points: np.ndarray | None) -> np.ndarray | None:
        if points is None:
            return None
        flat = (points[:, :2] - face.box[:2]) * scale + box[:2]
        return np.concatenate([flat, points[:, 2:] * scale.mean()], 1).astype(np.float32)

    return Face(
        np.asarray(box, np.float32),
        face.score,
        moved(face.keypoints),
        moved(face.landmarks),
        face.presence,
        pose=face.pose,
        blendshapes=face.blendshapes,
    )


def between(first: Face, second: Face, share: float) -> Face:
    """A face interpolated between two, at a share of the way, 0 to 1."""

    def mixed(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
        return None if a is None or b is None else ((1 - share) * a + share * b).astype(np.float32)

    return Face(
        np.asarray((1 - share) * first.box + share * second.box, np.float32),
        min(first.score, second.score),
        mixed(first.keypoints, second.keypoints),
        mixed(first.landmarks, second.landmarks),
    )


def overlap(box: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    shared = (np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])).clip(0).prod()
    return float(shared / max((box[2:] - box[:2]).prod() + (other[2:] - other[:2]).prod() - shared, 1e-6))


def distance(box: np.ndarray, other: np.ndarray) -> float:
    """Distance of the middles of two boxes in sides of the larger, infinite where one is twice the other."""
    sizes = sorted((float((box[2:] - box[:2]).max()), float((other[2:] - other[:2]).max())))
    if sizes[1] > 2 * sizes[0]:
        return float("inf")
    return float(np.linalg.norm(box[:2] + box[2:] - other[:2] - other[2:]) / 2 / max(sizes[1], 1e-6))


def shape_of(landmarks: np.ndarray) -> np.ndarray:
    """The rigid part of a mesh, of shape `(40, 3)`, free of place and size."""
    points = landmarks[BONE].astype(np.float64)
    points -= points.mean(0)
    return points / max(float(np.linalg.norm(points)), 1e-6)


def shape_distance(shape: np.ndarray, other: np.ndarray) -> float:
    """Procrustes distance of two shapes: what no rotation explains; 0 for the same, about 0.07 for two people."""
    return float(np.linalg.norm(_turned(shape, other) - other))


def _turned(shape: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """A shape in the rotation that lays it best onto another."""
    return shape @ fit_rotation(shape, onto)[0].T


def _alike(face: Face, shape: np.ndarray | None) -> bool:
    if face.landmarks is None or shape is None:
        return False
    return shape_distance(shape_of(face.landmarks), shape) <= 1.5 * SAME_SHAPE
