"""An anonymized photo that can still be changed, face by face, without drawing again what stays."""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import PIL.Image

from . import metrics
from .alignment import warp_in
from .blending import regions
from .faces import Face, FaceStatus, derived_seed
from .io.photos import Photo, read_photo
from .options import Options
from .pipeline import FaceAnonPipeline
from .scene import FaceJob, NewFace, Scene, Zone, check_zones, cover_zones, deal_seeds, share_inside

SIZE = 256  # pixels of the crops in which light and colour are compared
SAME = 0.6  # share of their boxes that two detections of one face have in common
WHOLE = 0.99  # share of a box from which on it is in a zone
LOOKED = 0.1  # confidence from which on the detector counts where somebody says that there is a face
SIDE = 384  # pixels of the longer side of such a box, enlarged
ROUND = 0.5  # of the box, seen on each side
FILLED = 0.15  # share of the box that a face fills at least: less may be a part of the face that is meant
FIXED = "asked for by the caller"


class PhotoEditor:
    r"""A photo, its faces, and what became of them, for tools in which somebody decides face by face.

    Holds the original photo and the new faces in memory; nothing is written. A new face stays as long as the input of
    the network does: another strength of light or colour, or another face that is kept, does not draw it again.

    Args:
        pipe ([`FaceAnonPipeline`]):
            Replaces the faces.
        photo (`str`, `Path`, `PIL.Image.Image`, `np.ndarray` or `torch.Tensor`):
            As for the pipeline.
        seed (`int`, *optional*, defaults to `0`):
            Picks the new identities.
        threshold (`float`, *optional*):
            Lowest confidence of the detector, in place of its configured one.
        hide_small (`bool`, *optional*, defaults to `False`):
            Look for small faces, too, which are obfuscated: see [`Options`]. It holds for all renderings.

    Attributes:
        faces (`list[Face]`):
            As [`FaceAnonPipeline.find_faces`] orders them. Their `seed` and, by [`keep`], their status may be changed
            between two renderings.
        kept (`set[int]`):
            Numbers of the faces that stay as they are, see [`keep`].
        zones (`list[tuple[int, int, int, int]]`):
            Those that are hidden, see [`hide`].
        looked (`list[tuple[int, int, int, int]]`):
            Those in which a face was found by [`look`].
        pixels (`np.ndarray` of shape `(H, W, 3)`, uint8):
            The last rendering; before the first one the original.

    Raises:
        UnreadableImageError: the input is no image.

    Example:
        ```py
        >>> import skimage.data
        >>> from faceanon_hub import FaceAnonPipeline, PhotoEditor

        >>> editor = PhotoEditor(FaceAnonPipeline.from_pretrained(), skimage.data.astronaut())
        >>> first = editor.render()
        >>> editor.faces[0].seed = 7
        >>> second = editor.render(lighting_strength=0.5)
        ```
    """

    def __init__(
        self,
        pipe: FaceAnonPipeline,
        photo: Any,
        seed: int = 0,
        threshold: float | None = None,
        hide_small: bool = False,
    ) -> None:
        self.pipe = pipe
        self.photo: Photo = read_photo(photo)
        self.zones: list[Zone] = []
        self.looked: list[Zone] = []
        self._asked: dict[str, Any] = {"threshold": threshold, "hide_small": hide_small}
        self.faces = self._find()
        self._reasons = [face.reason for face in self.faces]
        self.kept: set[int] = set()
        self._prepared: tuple[Any, Scene] | None = None  # what it depends on, and the photo with its faces erased
        self._drawn: dict[bytes, NewFace] = {}
        self._jobs: dict[int, FaceJob] = {}
        self.pixels = self.photo.pixels
        self._seed = seed
        deal_seeds(self.faces, seed)

    def keep(self, number: int, kept: bool = True) -> None:
        """Leaves a face as it is, or no longer does.

        Args:
            number (`int`):
                Which one, 0 is the leftmost.
            kept (`bool`, *optional*, defaults to `True`):
                Whether it stays.

        Raises:
            IndexError: there is no such face.
        """
        if not 0 <= number < len(self.faces):
            raise IndexError(f"face {number} of {len(self.faces)}")
        (self.kept.add if kept else self.kept.discard)(number)

    def hide(self, zones: Sequence[Any]) -> None:
        """Obfuscates zones, whatever is in them, and searches what is left, as [`search`] does.

        Args:
            zones (`list`):
                All of them, (left, top, right, bottom) in pixels; those before no longer count.

        Raises:
            ValueError: a zone is empty, or outside of the photo.
        """
        self.zones = check_zones(zones, self.photo.pixels.shape)
        self._find_again()

    def look(self, box: Any) -> int | None:
        """Looks for a face that was missed, inside a box, at a larger scale. Where none is found, the box is hidden.

        Args:
            box (`Sequence[float]`):
                (left, top, right, bottom) in pixels.

        Returns:
            `int`: the number of the face, which will be replaced; `None` where none was found.

        Raises:
            ValueError: the box is empty, or outside of the photo.
        """
        (zone,) = check_zones([box], self.photo.pixels.shape)
        face = self._face_in(zone)
        if face is None:
            self.hide([*self.zones, zone])
            return None
        for known, why in zip(self.faces, self._reasons, strict=True):
            known.reason = why
        before = self.faces
        self.looked.append(zone)
        self._settle(before, self._joined(before, [face]))
        return len(self.faces) - 1

    def search(self, threshold: float | None = None, hide_small: bool = False) -> None:
        """Looks for faces again, otherwise. Those that are found again stay who they are, and kept where they were.

        Args:
            threshold, hide_small (*optional*):
                As for the class.

        Raises:
            ValueError: the threshold is out of its range.
        """
        self._asked = {"threshold": threshold, "hide_small": hide_small}
        self._find_again()

    def render(self, **options: Any) -> PIL.Image.Image:
        """Makes the photo.

        Args:
            options (*optional*):
                Fields of [`Options`] by name.

        Returns:
            `PIL.Image.Image`: like the pipeline's; `faces` then say what was done to each.

        Raises:
            ValueError: an option is out of its range.
        """
        asked = self.pipe.resolve(**options)
        scene = self._prepare(asked)
        keys = [_key(job, asked) for job in scene.jobs]
        missing = [(job, key) for job, key in zip(scene.jobs, keys, strict=True) if key not in self._drawn]
        faces = self.pipe.draw_faces([job for job, _ in missing], asked)
        self._drawn |= {key: face for (_, key), face in zip(missing, faces, strict=True) if face is not None}
        result = self.pipe.compose(scene, [self._drawn.get(key) for key in keys], asked)
        if any(job.composed is None for job in result.jobs):
            self._prepared = None  # whatever failed is tried again the next time
        numbers = {id(face): number for number, face in enumerate(self.faces)}
        self._jobs = {numbers[id(job.face)]: job for job in result.jobs if job.composed is not None}
        self.pixels = result.canvas
        return result.photo.with_pixels(result.canvas)

    def _find(self) -> list[Face]:
        found = self._find_unaided()
        seen = {zone: self._face_in(zone) for zone in self.looked}
        if lost := [zone for zone, face in seen.items() if face is None]:  # another zone lies over it: hidden, too
            self.zones += lost
            self.looked = [zone for zone in self.looked if zone not in lost]
            return self._find()
        return self._joined(found, [face for face in seen.values() if face is not None])

    def _joined(self, found: Sequence[Face], looked: Sequence[Face]) -> list[Face]:
        """Faces, and those that somebody pointed at, which count where both are the same."""
        return [face for face in found if all(_overlap(face, other) < SAME for other in looked)] + list(looked)

    def _face_in(self, zone: Zone) -> Face | None:
        """The face that fills a box, seen enlarged; None where there is none, or none that could be replaced."""
        box = np.asarray(zone, float)
        sides = box[2:] - box[:2]
        height, width = self.photo.pixels.shape[:2]
        start = np.floor(box[:2] - ROUND * sides).clip(0).astype(int)
        end = np.ceil(np.minimum(box[2:] + ROUND * sides, (width, height))).astype(int)
        covered = cover_zones(self.photo.pixels, self.zones, self.pipe.config.fallback)
        part = covered[start[1] : end[1], start[0] : end[0]]
        scale = SIDE / sides.max()
        size = tuple(max(1, round(scale * side)) for side in (part.shape[1], part.shape[0]))
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        for face in sorted(self.pipe.detector(part, LOOKED), key=lambda face: -face.score):
            face.box = (face.box / scale + np.tile(start, 2)).astype(np.float32)
            face.keypoints = (face.keypoints / scale + start).astype(np.float32)
            if share_inside(face.box, box) < SAME or share_inside(box, face.box) < FILLED:
                continue
            self.pipe.mark_small([face], self._asked["hide_small"])
            if not face.reason:
                self.pipe.find_landmarks(covered, face)
            return face if face.landmarks is not None else None
        return None

    def _find_unaided(self) -> list[Face]:
        found = self.pipe.find_faces(self.photo.pixels, hide=self.zones, alpha=self.photo.alpha, **self._asked)
        # A blurred face may be taken for one.
        hidden = [np.asarray(zone, float) for zone in self.zones]
        return [face for face in found if not any(share_inside(face.box, zone) > WHOLE for zone in hidden)]

    def _find_again(self) -> None:
        self._settle(self.faces, self._find())

    def _settle(self, before: Sequence[Face], faces: list[Face]) -> None:
        """Takes other faces, of which those that were there before stay who they are, and kept where they were."""
        kept = self.kept
        self.faces = faces
        self._reasons, self.kept, self._prepared = [face.reason for face in self.faces], set(), None
        others = {face.seed for face in before}
        free = (seed for number in itertools.count() if (seed := derived_seed(self._seed, number)) not in others)
        for number, face in enumerate(self.faces):
            same = max(range(len(before)), key=lambda other: _overlap(face, before[other]), default=None)  # noqa: B023
            if same is None or _overlap(face, before[same]) < SAME:
                face.seed = next(free)
                continue
            face.seed = before[same].seed
            if same in kept and not face.reason:
                self.kept.add(number)

    def _prepare(self, options: Options) -> Scene:
        """The photo with its faces erased, as before where nothing of that changes: half of a slider's time."""
        relevant = replace(
            options,
            lighting_strength=float(options.lighting_strength > 0),
            color_strength=float(options.color_strength > 0),
        )
        key = relevant, frozenset(self.kept), tuple(face.seed for face in self.faces)
        if self._prepared is None or self._prepared[0] != key:
            for number, face in enumerate(self.faces):
                kept = number in self.kept
                face.status = FaceStatus.KEPT if kept else FaceStatus.FOUND
                face.reason = FIXED if kept else self._reasons[number]
            self._prepared = key, self.pipe.prepare_scene(self.photo, self.faces, options, self.zones)
        return self._prepared[1]

    def stages(self, number: int) -> dict[str, np.ndarray]:
        """A face on its way through the last rendering.

        Args:
            number (`int`):
                Which one, 0 is the leftmost.

        Returns:
            `dict[str, np.ndarray]`: crops of shape `(S, S, 3)`, uint8: `"hidden"` (what is left of the photo),
            `"landmarks"` (of the original), `"drawn"` and `"composed"`; empty for a face that was not replaced.
        """
        if number not in self._jobs:
            return {}
        job = self._jobs[number]
        assert job.new is not None and job.composed is not None
        marked = job.surroundings.copy()
        marked[job.hidden > 0] = 40
        for x, y in job.points[:, :2]:
            cv2.circle(marked, (round(float(x)), round(float(y))), job.size // 256, (90, 220, 130), -1)
        return {"hidden": job.surroundings, "landmarks": marked, "drawn": job.new.picture, "composed": job.composed}

    def kept_of(self, number: int, recognizer: metrics.Recognizer | None = None) -> dict[str, float]:
        """How much of a face was kept in the last rendering.

        Args:
            number (`int`):
                Which face, 0 is the leftmost.
            recognizer (`Callable`, *optional*):
                Tells how like the new face is to the original, e.g. [`metrics.DlibRecognizer`].

        Returns:
            `dict[str, float]`: `"expression"` (% of the inter-ocular distance; only where a mesh is found again),
            `"light"` (degrees; NaN for undirected light), `"ciede2000"` and, with a recognizer, `"distance"` (of the
            embeddings, in their unit); empty for a face that was not replaced.
        """
        if number not in self._jobs:
            return {}
        job, face = self._jobs[number], self.faces[number]
        assert job.new is not None
        photos, scale = (self.photo.pixels, self.pixels), SIZE / job.size
        before, after = (warp_in(pixels, scale * job.matrix, SIZE) for pixels in photos)
        again = Face(face.box, face.score, face.keypoints)
        self.pipe.landmark_extractor(self.pixels, [again])
        assert face.landmarks is not None
        old, new = scale * job.points, scale * job.new.points
        skins = [regions.skin_region(points, SIZE) for points in (old, new)]
        values = {
            "light": metrics.light_angle(after, before, new[metrics.AS_DLIB, :2], old[metrics.AS_DLIB, :2]),
            "ciede2000": metrics.color_errors(after, before, skins[1], skins[0])["ciede2000"],
        }
        if again.landmarks is not None:
            values["expression"] = metrics.procrustes_error(again.landmarks, face.landmarks)
        if recognizer is not None:
            original, new = (recognizer(pixels, face.landmarks) for pixels in photos)
            values["distance"] = float(np.linalg.norm(new - original))
        return values


def _overlap(face: Face, other: Face) -> float:
    """The share of its box that either face has in common with the other, the smaller one."""
    return min(share_inside(face.box, other.box), share_inside(other.box, face.box))


def _key(job: FaceJob, options: Options) -> bytes:
    """A hash of what a face is drawn from."""
    value = hashlib.sha256(job.goal.tobytes())
    value.update(b"" if job.identity is None else job.identity.tobytes())
    value.update(job.points.tobytes())
    value.update(job.pose.tobytes())
    value.update(f"{job.size} {job.face.seed} {options.truncation} {options.privacy}".encode())
    return value.digest()
