"""An anonymized photo that can still be changed, without painting again what stays."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import PIL.Image

from . import blending, conditioning, metrics
from .alignment import transform, warp_in
from .faces import Face, FaceStatus
from .io import Photo, read_photo
from .pipeline import FaceAnonPipeline, _deal_seeds, _give_up, _Job, _Options, _Scene

FIXED = "asked for by the caller"


class Draft:
    r"""A photo, its faces, and what became of them, for tools in which somebody decides face by face.

    Holds the original photo and the new faces in memory; nothing is written. A new face stays as long as what the
    network is told does: another strength of light or colour, or another face that is kept, does not paint it again.

    Args:
        pipe ([`FaceAnonPipeline`]):
            Paints the faces.
        photo (`str`, `Path`, `PIL.Image.Image`, `np.ndarray` or `torch.Tensor`):
            As for the pipeline.
        seed (`int`, *optional*, defaults to `0`):
            Picks the new identities.
        threshold (`float`, *optional*):
            Lowest confidence of the detector, in place of its configured one.

    Attributes:
        faces (`list[Face]`):
            From left to right. Their `seed` and, by [`keep`], their status may be changed between two renderings.
        pixels (`np.ndarray` of shape `(H, W, 3)`, uint8):
            The last rendering; before the first one the original.

    Raises:
        UnreadableImageError: the input is no image.

    Example:
        ```py
        >>> import skimage.data
        >>> from faceanon_hub import Draft, FaceAnonPipeline

        >>> draft = Draft(FaceAnonPipeline.from_pretrained(), skimage.data.astronaut())
        >>> first = draft.render()
        >>> draft.faces[0].seed = 7
        >>> second = draft.render(lighting_strength=0.5)
        ```
    """

    def __init__(self, pipe: FaceAnonPipeline, photo: Any, seed: int = 0, threshold: float | None = None) -> None:
        self.pipe = pipe
        self.photo: Photo = read_photo(photo)
        self.faces = pipe.find_faces(self.photo.pixels, threshold)
        self._reasons = [face.reason for face in self.faces]
        self._kept: set[int] = set()
        self._hidden: tuple[Any, _Scene] | None = None  # what it depends on, and the photo with its faces erased
        self._painted: dict[bytes, np.ndarray] = {}
        self._jobs: dict[int, tuple[_Job, np.ndarray]] = {}  # and the face before the post-processors
        self.pixels = self.photo.pixels
        _deal_seeds(self.faces, seed)

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
        (self._kept.add if kept else self._kept.discard)(number)

    def render(
        self,
        lighting_strength: float | None = None,
        color_strength: float | None = None,
        use_hint: bool = True,
        truncation: float = 0.85,
        fallback: blending.Fallback | None = None,
        mask_margin: float | None = None,
        identity_shape: float | None = None,
        context_blur: float | None = None,
    ) -> PIL.Image.Image:
        """Makes the photo; the arguments are those of [`FaceAnonPipeline.__call__`].

        Returns:
            `PIL.Image.Image`: like the pipeline's; `faces` then say what was done to each.

        Raises:
            ValueError: an argument is out of its range.
        """
        options = self.pipe._options(
            fallback=fallback,
            mask_margin=mask_margin,
            context_blur=context_blur,
            truncation=truncation,
            use_hint=use_hint,
            lighting_strength=lighting_strength,
            color_strength=color_strength,
            identity_shape=identity_shape,
        )
        scene = self._hide(options)
        keys = [_key(job, options) for job in scene.jobs]
        missing = [(job, key) for job, key in zip(scene.jobs, keys, strict=True) if key not in self._painted]
        try:
            for start in range(0, len(missing), options.batch_size):
                jobs, told = zip(*missing[start : start + options.batch_size], strict=True)
                self._painted |= zip(told, self.pipe._generate(list(jobs), 0, options), strict=True)
            crops = [self._painted[key] for key in keys]
            self.pipe._correct(scene.jobs, crops, options)
        except Exception as error:
            _give_up(scene.jobs, error)
            crops, self._hidden = [], None
        self.pipe._compose(scene, options)
        numbers = {id(face): number for number, face in enumerate(self.faces)}
        self._jobs = {numbers[id(job.face)]: (job, crop) for job, crop in zip(scene.jobs, crops, strict=False)}
        self.pixels = scene.canvas
        return scene.photo.with_pixels(scene.canvas)

    def _hide(self, options: _Options) -> _Scene:
        """The photo with its faces erased, as before where nothing of that changes: half of a slider's time."""
        told = replace(
            options,
            lighting_strength=float(options.lighting_strength > 0),
            color_strength=float(options.color_strength > 0),
            truncation=1,
        )
        key = told, frozenset(self._kept), tuple(face.seed for face in self.faces)
        if self._hidden is None or self._hidden[0] != key:
            for number, face in enumerate(self.faces):
                kept = number in self._kept
                face.status = FaceStatus.KEPT if kept else FaceStatus.FOUND
                face.reason = FIXED if kept else self._reasons[number]
            self._hidden = key, self.pipe._hide(self.photo, self.faces, options)
        scene = self._hidden[1]
        return replace(scene, canvas=scene.canvas.copy())

    def stages(self, number: int) -> dict[str, np.ndarray]:
        """A face on its way through the last rendering.

        Args:
            number (`int`):
                Which one, 0 is the leftmost.

        Returns:
            `dict[str, np.ndarray]`: crops of shape `(S, S, 3)`, uint8: `"hidden"` (what the network sees),
            `"landmarks"`, `"generated"` and `"corrected"`; empty for a face that was not painted.
        """
        if number not in self._jobs:
            return {}
        job, crop = self._jobs[number]
        assert job.generated is not None
        drawn = job.surroundings.copy()
        drawn[job.maps[0] > 0] = 40
        for x, y in job.points[:, :2]:
            cv2.circle(drawn, (round(float(x)), round(float(y))), 0, (90, 220, 130), -1)
        return {"hidden": job.surroundings, "landmarks": drawn, "generated": crop, "corrected": job.generated}

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
            embeddings, in their unit); empty for a face that was not painted.
        """
        if number not in self._jobs:
            return {}
        (job, _), face = self._jobs[number], self.faces[number]
        photos = self.photo.pixels, self.pixels
        before, after = (warp_in(pixels, job.matrix, len(job.mask)) for pixels in photos)
        again = Face(face.box, face.score, face.keypoints)
        self.pipe.landmark_extractor(self.pixels, [again])
        assert face.landmarks is not None
        points = transform(face.landmarks, job.matrix)
        skin = conditioning.drawn_skin(conditioning.draw_maps(points, len(job.mask)))
        values = {
            "light": metrics.light_angle(after, before, job.points, points),
            "ciede2000": metrics.color_errors(after, before, job.skin, skin)["ciede2000"],
        }
        if again.landmarks is not None:
            values["expression"] = metrics.procrustes_error(again.landmarks, face.landmarks)
        if recognizer is not None:
            original, new = (recognizer(pixels, face.landmarks) for pixels in photos)
            values["distance"] = float(np.linalg.norm(new - original))
        return values


def _key(job: _Job, options: _Options) -> bytes:
    """What the network is told, in short."""
    told = hashlib.sha256(job.surroundings.tobytes())
    told.update(job.maps.tobytes())
    told.update(b"" if job.hint is None else job.hint.numpy().tobytes())
    told.update(f"{job.face.seed} {options.truncation}".encode())
    return told.digest()
