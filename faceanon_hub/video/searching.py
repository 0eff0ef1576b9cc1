"""Finds the faces of a video's frames, follows them from one to the next, and traces newcomers back."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..faces import Face
from ..landmarks import BLENDSHAPES, FIVE
from ..options import Options
from ..processes import each
from .container import Frame
from .tracking import PATIENCE, Sighting, Track, Tracker, between, overlap

if TYPE_CHECKING:
    from ..pipeline import FaceAnonPipeline

logger = logging.getLogger(__name__)

LOOKAHEAD = PATIENCE  # frames that are known before one is painted
EVERY = 3  # one in so many frames is searched; between them faces are followed, and newcomers are traced back
SMALL = 128  # side of the crop in which light and colour are worked out: seams in it would flicker
# Frames 32 pixels wide that differ by so many levels in the mean, and by so many times the usual, are of two scenes.
CUT_LEVEL, CUT_RATIO = 22.0, 4.0


class Search:
    """Tracks of the faces in a video, and the frames between the one decoded last and the one painted next."""

    def __init__(self, pipe: FaceAnonPipeline, options: Options) -> None:
        self.pipe, self.options = pipe, options
        self.tracker = Tracker()
        self.frames: deque[Frame] = deque()
        self.cuts: list[float] = []
        self._thumbnail: np.ndarray | None = None
        self._usual = CUT_LEVEL / CUT_RATIO

    def advance(self, batch: list[Frame], last: bool = False) -> Iterator[Frame]:
        """Takes the next frames; gives each frame once those that follow it are known, as far as the look-ahead.

        What is known of a frame never depends on the batches it comes in.
        """
        cuts = [self._is_cut(frame) for frame in batch]
        searched = [frame for frame, cut in zip(batch, cuts, strict=True) if cut or frame.number % EVERY == 0]
        found = dict(zip([frame.number for frame in searched], each(self._find, searched), strict=True))
        for frame, cut in zip(batch, cuts, strict=True):
            if cut:
                self.tracker.cut(frame.number)
                self.cuts.append(round(frame.time, 3))
            self.frames.append(frame)
            self._track(frame, found.get(frame.number))
            if len(self.frames) > LOOKAHEAD:
                yield self.frames[0]
                self.frames.popleft()
        if last:
            yield from self.frames

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
        for earlier in reversed([other for other in self.frames if track.start <= other.number < frame.number]):
            followed = self._seek(earlier, track)
            if followed is None:
                break
            track.add(followed)

    def _fill(self, track: Track, sighting: Sighting) -> None:
        """Finds or interpolates the face in the frames between its last sighting and this one."""
        last = track.last
        for frame in self.frames:
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
        return None if self.is_taken(track, frame, face) else self._sighting(frame, face, "followed")

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

    def is_taken(self, track: Track, frame: Frame, face: Face) -> bool:
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
