"""Paints the planned faces into the frames of a video, and keeps the record of what was done."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from ..blending.grain import Grain
from ..faces import FaceStatus, crowd_note
from ..io.photos import Photo
from ..options import Options
from ..processes import each
from ..scene import FaceJob, NewFace, Scene, check_zones, cover_zones, mark_kept
from .container import Frame
from .planning import Planned
from .searching import LOOKAHEAD, SMALL

if TYPE_CHECKING:
    from ..pipeline import FaceAnonPipeline

logger = logging.getLogger(__name__)

DOUBTFUL = 0.1  # heights of the face by which more is hidden round a face that was not seen
MAX_MARGIN = 0.3


class Painter:
    """Erases the faces of frames, lays new ones in their place, and counts them."""

    def __init__(
        self, pipe: FaceAnonPipeline, options: Options, keep: list[np.ndarray], hide: list[np.ndarray]
    ) -> None:
        self.pipe, self.options, self.keep, self.hide = pipe, options, keep, hide
        wide = min(MAX_MARGIN, options.mask_margin + DOUBTFUL)
        self.doubtful = dataclasses.replace(options, mask_margin=wide)
        self.frames, self.time = 0, 0.0
        self.crowd = ""  # what there is to say of the first frame that shows one
        self._records: dict[int, dict[str, Any]] = {}
        self._grains: dict[tuple[int, int], Grain] = {}  # by track and frame

    @property
    def records(self) -> list[dict[str, Any]]:
        """The tracks' part of the report."""
        records = [self._records[number] for number in sorted(self._records)]
        return [{**record, "status": max(record["frames"], key=record["frames"].get)} for record in records]

    def paint(self, plans: list[tuple[Frame, list[Planned]]]) -> list[Frame]:
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

    def _finish(self, frame: Frame, planned: list[Planned]) -> Scene:
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

    def _shown(self, job: FaceJob, entry: Planned) -> NewFace | None:
        try:
            new = self.pipe.show_person(job, entry.person)
            if new is not None:
                new.grain = self._grains.get((entry.track.number, entry.key))
            return new
        except Exception as error:
            logger.exception("moving a face failed; it is obfuscated")
            job.face.reason = f"moving failed: {error}"
            return None

    def _job(self, frame: Frame, entry: Planned) -> FaceJob | None:
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

    def _record(self, entry: Planned, time: float) -> None:
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
