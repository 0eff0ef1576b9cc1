"""The whole way of a photo: every face found is replaced, or hidden, or kept because the caller says so."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import cv2
import numpy as np
import PIL.Image
import torch
from huggingface_hub import create_repo, file_exists
from huggingface_hub.errors import HTTPError

from . import blending, conditioning
from . import landmarks as lm
from .alignment import align, transform, warp_in
from .blending import FALLBACKS, Fallback
from .color import SkinColorTransfer
from .detection import FaceDetector
from .diffusion import BaseOutput, DiffusionPipeline, FrozenDict
from .errors import CheckpointError
from .faces import Face, FaceStatus, derived_seed
from .generator import FaceAnonGenerator
from .hub import DEFAULT_CHECKPOINT, PIPELINE_FILE, SHEET, make_card, write_record
from .io import Photo, read_photo
from .landmarks import LandmarkExtractor
from .lighting import LightingTransfer
from .retargeting import FaceRetargeter

if TYPE_CHECKING:
    from .metrics import Recognizer
    from .video import VideoReport

logger = logging.getLogger(__name__)

Zone: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom in pixels, inside the photo

GREY = 2  # largest difference between the channels of a photo without colour
WORKERS = min(8, os.cpu_count() or 1)  # threads over the faces of a photo


@dataclass
class FaceAnonPipelineOutput(BaseOutput):
    """Result of [`FaceAnonPipeline`].

    Args:
        images (`list[PIL.Image.Image]`, `list[np.ndarray]` or `list[torch.Tensor]`):
            The anonymized photos, in the order given: PIL images as they came (greyscale, alpha, colour profile);
            float32 arrays of shape `(H, W, C)` or tensors of shape `(C, H, W)`, in [0, 1], C 3 or, with alpha, 4.
        faces (`list[list[Face]]`):
            The faces of each photo from left to right, and what was done to each.
    """

    images: list[PIL.Image.Image] | list[np.ndarray] | list[torch.Tensor]
    faces: list[list[Face]]


@dataclass(frozen=True)
class _Options:
    """What a call asked for, checked."""

    fallback: Fallback
    margin: float
    context_blur: float
    batch_size: int
    truncation: float
    use_hint: bool
    lighting_strength: float
    color_strength: float
    identity_shape: float
    callback: Callable[..., dict[str, Any] | None] | None
    callback_tensors: Sequence[str]


@dataclass
class _Job:
    """One face on its way through the network. Of the original face it holds coefficients, never pixels."""

    face: Face
    matrix: np.ndarray  # photo to crop
    points: np.ndarray  # (478, 3) in the crop
    maps: np.ndarray  # (8, S, S)
    skin: np.ndarray  # (S, S), 0 or 1
    core: tuple[tuple[int, int, int, int], np.ndarray]  # what is erased of the photo
    hint: torch.Tensor | None = None  # (1, 4, S / 8, S / 8)
    lighting: np.ndarray | None = None  # (9,)
    color: np.ndarray | None = None  # (9,)
    surroundings: np.ndarray = field(default_factory=lambda: np.empty(0))  # (S, S, 3) uint8, of the erased photo
    context: torch.Tensor | None = None  # (1, 256), where it is not this crop's own
    generated: np.ndarray | None = None  # (S, S, 3) uint8

    @property
    def mask(self) -> np.ndarray:
        return self.maps[0]


@dataclass
class _Scene:
    """One photo on its way: from the moment `canvas` is erased no face to be hidden exists in it."""

    photo: Photo
    canvas: np.ndarray
    jobs: list[_Job]
    zones: list[Zone] = field(default_factory=list)  # hidden in `photo` already


class FaceAnonPipeline(DiffusionPipeline):
    r"""Replaces every face of a photo by a realistic face of nobody.

    Expression, gaze, head pose, light and skin colour are kept.

    Implements the method of "Face anonymization preserving facial expressions and photometric realism" (arXiv
    2603.17567): DeepPrivacy's inpainting, dense landmarks, photometric post-processors.

    Args:
        detector ([`FaceDetector`]):
            Photo to boxes.
        landmark_extractor ([`LandmarkExtractor`]):
            Boxes to 478 landmarks.
        generator ([`FaceAnonGenerator`]):
            Surroundings, landmarks and a latent to a face.
        lighting_transfer ([`LightingTransfer`], *optional*):
            Brings the original's light direction to the new face.
        skin_color_transfer ([`SkinColorTransfer`], *optional*):
            Brings the original's skin colour to the new face.
        retargeter ([`FaceRetargeter`], *optional*):
            Gives the landmarks the shape of somebody else.
        batch_size (`int`, *optional*, defaults to `8`):
            Faces that go through the network at a time. Changes speed and memory, never the result.
        fallback (`str`, *optional*, defaults to `"blur"`):
            `"blur"`, `"mosaic"` or `"solid"`: how a face is hidden that cannot be replaced.
        mask_margin (`float`, *optional*, defaults to `0.1`):
            How far the hidden region reaches beyond a face's outline, in heights of the face.
        context_blur (`float`, *optional*, defaults to `0.0`):
            How strongly hair, ears and neck round a new face are blurred: standard deviation in heights of the face.
    """

    model_cpu_offload_seq = "generator"
    _optional_components = ["lighting_transfer", "skin_color_transfer", "retargeter"]
    _callback_tensor_inputs = ["latents", "crops"]

    detector: FaceDetector
    landmark_extractor: LandmarkExtractor
    generator: FaceAnonGenerator
    lighting_transfer: LightingTransfer | None
    skin_color_transfer: SkinColorTransfer | None
    retargeter: FaceRetargeter | None

    def __init__(
        self,
        detector: FaceDetector,
        landmark_extractor: LandmarkExtractor,
        generator: FaceAnonGenerator,
        lighting_transfer: LightingTransfer | None = None,
        skin_color_transfer: SkinColorTransfer | None = None,
        retargeter: FaceRetargeter | None = None,
        batch_size: int = 8,
        fallback: str = "blur",
        mask_margin: float = conditioning.MASK_MARGIN,
        context_blur: float = 0.0,
    ) -> None:
        super().__init__()
        if fallback not in FALLBACKS:
            raise ValueError(f"`fallback` must be one of {', '.join(FALLBACKS)}, not {fallback!r}")
        self.register_modules(
            detector=detector,
            landmark_extractor=landmark_extractor,
            generator=generator.to(memory_format=torch.channels_last),
            lighting_transfer=lighting_transfer,
            skin_color_transfer=skin_color_transfer,
            retargeter=retargeter,
        )
        self.register_to_config(
            batch_size=batch_size, fallback=fallback, mask_margin=mask_margin, context_blur=context_blur
        )

    @torch.no_grad()
    def __call__(
        self,
        image: Any,
        seed: int | Sequence[int] | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        faces: list[list[Face]] | None = None,
        keep: Sequence[Any] | None = None,
        hide: Sequence[Any] | None = None,
        use_hint: bool = True,
        lighting_strength: float | None = None,
        color_strength: float | None = None,
        identity_shape: float | None = None,
        truncation: float = 0.85,
        candidates: int = 1,
        recognizer: Recognizer | None = None,
        threshold: float | None = None,
        fallback: Fallback | None = None,
        mask_margin: float | None = None,
        context_blur: float | None = None,
        batch_size: int | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[..., dict[str, Any]] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> Any:
        r"""Anonymizes photos.

        Args:
            image (`str`, `Path`, `PIL.Image.Image`, `np.ndarray`, `torch.Tensor` or a list of these):
                Photos of any size. Arrays `(H, W, C)`, tensors `(C, H, W)`, uint8 or float in [0, 1]; with a fourth
                dimension in front, several.
            seed (`int` or `list[int]`, *optional*):
                Picks the new identities: the same photo, seed and version give the same result, whatever is anonymized
                beside it. A list holds one seed for each photo. Without a seed each call makes new people.
            generator (`torch.Generator` or `list[torch.Generator]`, *optional*):
                Draws the seed, in the manner of diffusers, where `seed` is not given.
            faces (`list[list[Face]]`, *optional*):
                Faces of each photo as [`find_faces`] or an earlier result gives them, in place of looking for them. A
                face whose `seed` is set keeps it.
            keep (`list`, *optional*):
                Faces to leave as they are: numbers (0 is the leftmost) or boxes (left, top, right, bottom). For
                several photos, one such list for each.
            hide (`list`, *optional*):
                Zones (left, top, right, bottom) that are obfuscated whole, faces or not, also where they meet a kept
                face; what reaches beyond the photo is cut off. For several photos, one such list for each. Nothing
                looks into a zone but the detector, so that a face it cuts is hidden too; see [`find_faces`].
            use_hint (`bool`, *optional*, defaults to `True`):
                Tell the network a blurred skin colour of the hidden face, see [`conditioning.hint_coefficients`].
            lighting_strength, color_strength (`float`, *optional*):
                Strength of the post-processors, 0 to 1, in place of their configured ones.
            identity_shape (`float`, *optional*):
                0 (the landmarks' shape as found) to 1 (that of a new person, see [`FaceRetargeter`]), in place of the
                configured one.
            truncation (`float`, *optional*, defaults to `0.85`):
                0 (an average face) to 1 (full variety): less of it follows the landmarks more closely, see
                `benchmarks/truncation.py`.
            candidates (`int`, *optional*, defaults to `1`):
                How many new identities are tried for each face; that which `recognizer` finds least like the original
                is kept, see [`selection.choose_seeds`]. Takes `candidates` + 1 runs of the network.
            recognizer (`Callable`, *optional*):
                Where `candidates` is more than 1: describes a face, see [`metrics.Recognizer`], as
                [`metrics.DlibRecognizer`] of the extra `eval` does.
            threshold (`float`, *optional*):
                Lowest confidence of the detector, in place of its configured one.
            fallback, mask_margin, context_blur, batch_size (*optional*):
                In place of the configured ones.
            output_type (`str`, *optional*, defaults to `"pil"`):
                `"pil"`, `"np"` or `"pt"`, see [`FaceAnonPipelineOutput`].
            return_dict (`bool`, *optional*, defaults to `True`):
                False returns the tuple `(images, faces)`.
            callback_on_step_end (`Callable`, *optional*):
                Called after each batch of faces as `callback(pipe, step, faces_done, tensors)`; the tensors it returns
                replace those of the step.
            callback_on_step_end_tensor_inputs (`list[str]`, *optional*, defaults to `("latents",)`):
                Which tensors it gets: `"latents"` of shape `(B, 64)`, `"crops"` of shape `(B, 3, S, S)` in [-1, 1].

        Returns:
            [`FaceAnonPipelineOutput`] or `tuple`.

        Raises:
            UnreadableImageError: an input is no image, or too large, or animated. Nothing is returned for the others.
            ValueError: an argument is out of its range.

        Example:
            ```py
            >>> from faceanon_hub import FaceAnonPipeline

            >>> pipe = FaceAnonPipeline.from_pretrained()
            >>> result = pipe("photo.jpg", seed=0)
            >>> result.images[0].save("anonymized.jpg")
            >>> [face.status.value for face in result.faces[0]]
            ```
        """
        images = _as_list(image)
        options = self._options(
            fallback=fallback,
            mask_margin=mask_margin,
            context_blur=context_blur,
            batch_size=batch_size,
            truncation=truncation,
            use_hint=use_hint,
            lighting_strength=lighting_strength,
            color_strength=color_strength,
            identity_shape=identity_shape,
            callback=callback_on_step_end,
            callback_tensors=callback_on_step_end_tensor_inputs,
        )
        if faces is not None and len(faces) != len(images):
            raise ValueError(f"`faces` holds lists for {len(faces)} photos, but there are {len(images)}")
        if candidates < 1 or (candidates > 1 and recognizer is None):
            raise ValueError(f"`candidates` must be at least 1, and needs a `recognizer` above; not {candidates}")
        if output_type not in ("pil", "np", "pt"):
            raise ValueError(f"`output_type` must be 'pil', 'np' or 'pt', not {output_type!r}")
        keeps, hides = _lists("keep", keep, image, len(images)), _lists("hide", hide, image, len(images))
        seeds = _seeds(seed, generator, len(images))

        photos = [read_photo(source) for source in images]
        zones = [_zones(entries, photo.pixels) for entries, photo in zip(hides, photos, strict=True)]
        if faces is None:
            faces = [
                self.find_faces(photo.pixels, threshold, hidden, options.fallback)
                for photo, hidden in zip(photos, zones, strict=True)
            ]
        else:  # what an earlier call did to them says nothing about this one
            faces = [[replace(face, status=FaceStatus.FOUND) for face in found] for found in faces]
        for found, kept, base in zip(faces, keeps, seeds, strict=True):
            _mark_kept(found, kept)
            _deal_seeds(found, base)
        if recognizer is not None and candidates > 1:
            for photo, found, hidden in zip(photos, faces, zones, strict=True):
                self._choose(photo, found, hidden, options, candidates, recognizer)
        scenes = self._scenes(photos, faces, zones, options)
        self.maybe_free_model_hooks()

        failed = sum(face.status is FaceStatus.OBFUSCATED for found in faces for face in found)
        if failed:
            total = sum(map(len, faces))
            logger.warning("%d of %d faces could not be replaced and are obfuscated instead", failed, total)
        results = [_output(scene, output_type) for scene in scenes]
        return FaceAnonPipelineOutput(results, faces) if return_dict else (results, faces)

    def _choose(
        self,
        photo: Photo,
        faces: list[Face],
        zones: list[Zone],
        options: _Options,
        candidates: int,
        recognizer: Recognizer,
    ) -> None:
        """Gives faces the seeds, of several, that lead farthest away."""
        from .selection import choose_seeds  # measures, with libraries that only some extras bring

        seen = replace(photo, pixels=_covered(photo.pixels, zones, options.fallback))
        quiet = replace(options, callback=None)

        def paint(trial: list[Face]) -> _Scene:
            return self._scenes([photo], [trial], [zones], quiet)[0]

        choose_seeds(seen, faces, paint, self._find_landmarks, candidates, recognizer)

    def _scenes(
        self, photos: list[Photo], faces: list[list[Face]], zones: list[list[Zone]], options: _Options
    ) -> list[_Scene]:
        """Replaces the faces of photos."""
        scenes = [
            self._hide(photo, found, options, hidden)
            for photo, found, hidden in zip(photos, faces, zones, strict=True)
        ]
        jobs = [job for scene in scenes for job in scene.jobs]
        with self.progress_bar(total=len(jobs)) as progress:
            for start in range(0, len(jobs), options.batch_size):
                batch = jobs[start : start + options.batch_size]
                try:
                    self._correct(batch, self._generate(batch, start, options), options)
                except _CallbackError as error:
                    raise error.cause from None
                except Exception as error:
                    _give_up(batch, error)
                progress.update(len(batch))
        for scene in scenes:
            self._compose(scene, options)
        return scenes

    def video(self, source: str | os.PathLike[str], target: str | os.PathLike[str], **kwargs: Any) -> VideoReport:
        """Anonymizes a video; needs the extra `video`. Arguments, result and errors: [`video.anonymize_video`].

        Example:
            ```py
            >>> from faceanon_hub import FaceAnonPipeline

            >>> pipe = FaceAnonPipeline.from_pretrained()
            >>> report = pipe.video("talk.mp4", "anonymized.mp4", seed=0)
            >>> report.counts
            ```
        """
        from .video import anonymize_video

        return anonymize_video(self, source, target, **kwargs)

    def find_faces(
        self,
        image: np.ndarray,
        threshold: float | None = None,
        hide: Sequence[Any] = (),
        fallback: Fallback | None = None,
    ) -> list[Face]:
        """Detects faces and their landmarks.

        Args:
            image (`np.ndarray` of shape `(H, W, 3)`, uint8):
                Upright RGB photo.
            threshold (`float`, *optional*):
                Lowest confidence of the detector, in place of its configured one.
            hide (`list`, *optional*):
                Zones (left, top, right, bottom) that will be obfuscated; faces are looked for in what is left. A face
                that is seen only together with the pixels of a zone, and is not whole in it, will be obfuscated.
            fallback (`str`, *optional*):
                How the zones will be obfuscated, in place of the configured one.

        Returns:
            `list[Face]`: from left to right, then those cut by zones. Without `landmarks`, `reason` says why; such a
            face will be obfuscated.

        Raises:
            ValueError: a zone is empty or outside the photo.
        """
        zones = _zones(hide, image)
        covered = _covered(image, zones, fallback or self.config.fallback)
        faces = self.detector(covered, threshold)
        _each(lambda face: self._find_landmarks(covered, face), faces)
        if zones:
            faces += _cut(self.detector(image, threshold), faces, zones)
        return faces

    def _find_landmarks(self, image: np.ndarray, face: Face) -> None:
        try:
            self.landmark_extractor(image, [face])
            if face.landmarks is None:
                face.reason = f"no landmarks fit the face (presence {face.presence:.2f})"
        except Exception as error:
            logger.exception("landmarks failed; the face will be obfuscated")
            face.landmarks, face.reason = None, f"landmarks failed: {error}"

    def _hide(self, photo: Photo, faces: list[Face], options: _Options, zones: Sequence[Zone] = ()) -> _Scene:
        """Takes the coefficients of every face, then erases or obfuscates all of them in a copy of the photo."""
        photo = replace(photo, pixels=_covered(photo.pixels, zones, options.fallback))
        hidden = [face for face in faces if face.status is not FaceStatus.KEPT]
        measured = _each(lambda face: self._measure(photo.pixels, face, options), hidden)
        kept = [face.box for face in faces if face.status is FaceStatus.KEPT]
        return self._erase(photo, hidden, measured, options, zones, kept)

    def _erase(
        self,
        photo: Photo,
        hidden: list[Face],
        measured: list[_Job | None],
        options: _Options,
        zones: Sequence[Zone],
        kept: list[np.ndarray],
    ) -> _Scene:
        """Erases, in a copy of the photo, the faces that have a job, and obfuscates those that have none."""
        canvas = photo.pixels.copy()
        jobs = [job for job in measured if job is not None]
        for face, job in zip(hidden, measured, strict=True):
            if job is None:
                blending.obfuscate(canvas, face.box, options.fallback)
                face.status = FaceStatus.OBFUSCATED
        blending.erase(canvas, [job.core for job in jobs])
        if options.context_blur:
            for job in jobs:
                height = float(np.ptp(job.points[lm.OVAL, 1]))
                blending.soften(canvas, job.mask, job.matrix, *job.core, height, options.context_blur, kept)
        for job, crop in zip(jobs, _each(lambda job: warp_in(canvas, job.matrix, len(job.mask)), jobs), strict=True):
            job.surroundings = crop
        return _Scene(photo, canvas, jobs, list(zones))

    def _measure(self, pixels: np.ndarray, face: Face, options: _Options) -> _Job | None:
        """The last look at an original face. None, and the face's reason, where it cannot be replaced."""
        if face.landmarks is None:
            return None
        try:
            job = self._place(pixels.shape, face, face.landmarks, options)
            self._look(pixels, job, options)
            self._reshape(pixels.shape, job, options)
            return job
        except Exception as error:
            logger.exception("measuring a face failed; it is obfuscated")
            face.reason = f"measuring failed: {error}"
            return None

    def _place(
        self,
        shape: tuple[int, ...],
        face: Face,
        landmarks: np.ndarray,
        options: _Options,
        matrix: np.ndarray | None = None,
    ) -> _Job:
        """A face's geometry, in the crop of its own landmarks where no other is given."""
        if not _lie_on(landmarks, face.box):
            raise ValueError("the landmarks do not lie on the face")
        size = self.generator.config.sample_size
        matrix = align(landmarks, size) if matrix is None else matrix
        points = transform(landmarks, matrix)
        maps = conditioning.draw_maps(points, size, options.margin)
        core = blending.core(maps[0], matrix, shape)
        if not core[1].any():
            raise ValueError("the face is too small to be erased")
        return _Job(face, matrix, points, maps, conditioning.drawn_skin(maps), core)

    def _look(self, pixels: np.ndarray, job: _Job, options: _Options) -> None:
        """Takes a handful of coefficients from an original face."""
        original = warp_in(pixels, job.matrix, len(job.mask))
        if options.use_hint:
            crop = torch.from_numpy(original)[None].permute(0, 3, 1, 2).float() / 127.5 - 1
            told, skin = torch.from_numpy(job.maps)[None].float(), torch.from_numpy(job.skin)[None, None]
            job.hint = conditioning.hint_coefficients(crop, told, skin)
        if self.lighting_transfer is not None and options.lighting_strength:
            job.lighting = self.lighting_transfer.estimate(original, job.points)
        if self.skin_color_transfer is not None and options.color_strength:
            job.color = self.skin_color_transfer.estimate(original, job.skin)

    def _reshape(self, shape: tuple[int, ...], job: _Job, options: _Options) -> None:
        """Gives the new face a shape of its own, and tells of lids and brows as strongly as the network needs it.

        What the old outline hid stays hidden, beside the new one.
        """
        if self.retargeter is not None and options.identity_shape:
            assert job.face.landmarks is not None
            landmarks = self.retargeter(job.face.landmarks, job.face.seed, options.identity_shape)
            job.points, hidden = transform(landmarks, job.matrix), job.maps[0]
            job.maps = conditioning.draw_maps(job.points, len(hidden), options.margin)
            job.maps[0] |= hidden
            job.skin = conditioning.drawn_skin(job.maps)
            area, inside = blending.core(job.maps[0], job.matrix, shape)
            job.core = area, inside | job.core[1]  # resampled, the larger region can miss a pixel of the smaller
        config = self.generator.config
        job.maps = conditioning.emphasized(job.maps, job.points, config.lid_emphasis, config.brow_emphasis)

    @torch.no_grad()
    def _generate(self, jobs: list[_Job], done: int, options: _Options) -> list[np.ndarray]:
        """Runs the network on a batch. Returns crops (S, S, 3) uint8."""
        device, dtype = self._execution_device, self.generator.dtype
        surroundings, mask, told = (tensor.to(device, dtype) for tensor in self._tell(jobs))
        contexts = [job.context.to(device, dtype) for job in jobs if job.context is not None]
        drawn = [_draw(job.face.seed, self.generator) for job in jobs]
        latents = torch.stack([latent for latent, _ in drawn])
        noise = [torch.stack(level) for level in zip(*(levels for _, levels in drawn), strict=True)]
        crops = self.generator(
            surroundings,
            mask,
            told,
            latents.to(device, dtype),
            [level.to(device, dtype) for level in noise],
            options.truncation,
            torch.cat(contexts) if contexts else None,
        ).float()
        if not torch.isfinite(crops).all():
            raise FloatingPointError("the network returned no finite picture")
        if options.callback is not None:
            tensors = {"latents": latents, "crops": crops}
            step, total = done // options.batch_size, done + len(jobs)
            try:
                changed = options.callback(
                    self, step, total, {name: tensors[name] for name in options.callback_tensors}
                )
            except Exception as error:
                raise _CallbackError(error) from error
            crops = (changed or {}).get("crops", crops)
        pictures = ((crops.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        return list(pictures.permute(0, 2, 3, 1).contiguous().cpu().numpy())

    @staticmethod
    def _tell(jobs: list[_Job]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Surroundings, mask and condition of a batch, as the network takes them."""
        surroundings = torch.from_numpy(np.stack([job.surroundings for job in jobs])).permute(0, 3, 1, 2).float()
        maps = torch.from_numpy(np.stack([job.maps for job in jobs])).float()
        mask = maps[:, :1]
        hints = [job.hint for job in jobs if job.hint is not None]
        told = conditioning.condition(maps, conditioning.render_hint(torch.cat(hints), mask) if hints else None)
        return surroundings / 127.5 - 1, mask, told

    def _correct(self, jobs: list[_Job], crops: list[np.ndarray], options: _Options) -> None:
        """Runs the photometric post-processors on generated crops."""
        for job, crop in zip(jobs, crops, strict=True):
            job.generated = crop
        for job, crop in zip(jobs, _each(lambda job: self._corrected(job, job.generated, options), jobs), strict=True):
            job.generated = crop

    def _corrected(self, job: _Job, crop: np.ndarray, options: _Options) -> np.ndarray:
        grey = np.ptp(job.surroundings, axis=2).max() <= GREY
        if grey:
            crop = _without_color(crop)
        inside = blending.depth(job.mask)
        region = ((inside - 2) / (0.06 * len(inside))).clip(0, 1).astype(np.float32)
        if self.lighting_transfer is not None and job.lighting is not None:
            crop = self.lighting_transfer(crop, job.points, region, job.lighting, options.lighting_strength)
        if self.skin_color_transfer is not None and job.color is not None:
            neutral = job.maps[[conditioning.MAPS.index("eyes"), conditioning.MAPS.index("mouth")]].max(0)
            neutral = cv2.GaussianBlur(cv2.dilate(neutral, np.ones((3, 3))).astype(np.float32), (0, 0), 1)
            crop = self.skin_color_transfer(crop, job.skin, region, job.color, options.color_strength, neutral)
        return _without_color(crop) if grey else crop

    def _compose(self, scene: _Scene, options: _Options) -> None:
        """Lays the new faces into the erased photo, small ones (far away) first."""
        for job in sorted(scene.jobs, key=lambda job: job.face.size):
            if job.generated is None:
                blending.obfuscate(scene.canvas, job.face.box, options.fallback)
                job.face.status = FaceStatus.OBFUSCATED
            else:
                blending.paste(scene.canvas, job.generated, job.mask, job.matrix, *job.core)
                job.face.status = FaceStatus.ANONYMIZED
        for left, top, right, bottom in scene.zones:  # where a new face reaches into one
            scene.canvas[top:bottom, left:right] = scene.photo.pixels[top:bottom, left:right]

    def _options(
        self,
        *,
        fallback: Fallback | None = None,
        mask_margin: float | None = None,
        context_blur: float | None = None,
        batch_size: int | None = None,
        truncation: float = 0.85,
        use_hint: bool = True,
        lighting_strength: float | None = None,
        color_strength: float | None = None,
        identity_shape: float | None = None,
        callback: Callable[..., dict[str, Any] | None] | None = None,
        callback_tensors: Sequence[str] = (),
    ) -> _Options:
        """Fills in what is configured, and checks all."""
        options = _Options(
            fallback=fallback or self.config.fallback,
            margin=self.config.mask_margin if mask_margin is None else mask_margin,
            context_blur=self.config.context_blur if context_blur is None else context_blur,
            batch_size=self.config.batch_size if batch_size is None else batch_size,
            truncation=truncation,
            use_hint=use_hint,
            lighting_strength=_strength(self.lighting_transfer, lighting_strength),
            color_strength=_strength(self.skin_color_transfer, color_strength),
            identity_shape=_strength(self.retargeter, identity_shape),
            callback=callback,
            callback_tensors=callback_tensors,
        )
        if options.fallback not in FALLBACKS:
            raise ValueError(f"`fallback` must be one of {', '.join(FALLBACKS)}, not {options.fallback!r}")
        if options.batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, not {options.batch_size}")
        if not 0.05 <= options.margin <= 0.3:
            raise ValueError(f"`mask_margin` must lie between 0.05 and 0.3, not {options.margin}")
        if not 0 <= options.context_blur <= 0.3:
            raise ValueError(f"`context_blur` must lie between 0 and 0.3, not {options.context_blur}")
        for name in ("truncation", "lighting_strength", "color_strength", "identity_shape"):
            if not 0 <= getattr(options, name) <= 1:
                raise ValueError(f"`{name}` must lie between 0 and 1, not {getattr(options, name)}")
        unknown = sorted(set(callback_tensors) - set(self._callback_tensor_inputs))
        if unknown:
            raise ValueError(f"callbacks get {self._callback_tensor_inputs}, not {unknown}")
        return options

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str] = DEFAULT_CHECKPOINT, **kwargs: Any
    ) -> Self:
        """Loads a pipeline from the bundled checkpoint (the default), a folder, or the Hub.

        Args:
            pretrained_model_name_or_path (`str` or `os.PathLike`, *optional*, defaults to `DEFAULT_CHECKPOINT`):
                Folder in diffusers' format, or Hub id.
            kwargs (*optional*):
                Those of [`~diffusers.DiffusionPipeline.from_pretrained`]: components by name, `dtype`, `variant`,
                `revision`, `token`, ...

        Raises:
            CheckpointError: there is no such folder or repository, or files are missing from it.
        """
        checkpoint = str(pretrained_model_name_or_path)
        try:
            pipe = super().from_pretrained(checkpoint, **kwargs)
        except (OSError, ValueError, HTTPError) as error:
            # Where the Hub refused, diffusers tells of its cache.
            cause = error.__cause__ if isinstance(error.__cause__, HTTPError) else error
            raise CheckpointError(checkpoint, str(cause)) from error
        return pipe

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *args: Any, push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """Saves like [`~diffusers.DiffusionPipeline.save_pretrained`], without the paths it was loaded from."""
        names = ("repo_id", "commit_message", "private", "create_pr", "token")
        hub = {name: kwargs.pop(name) for name in names if name in kwargs}
        # diffusers writes where a component came from, which is a folder of the user's machine.
        parts: list[Any] = [self, self.generator, self.retargeter]
        for part in filter(None, parts):
            part._internal_dict = FrozenDict({k: v for k, v in part.config.items() if k != "_name_or_path"})
        super().save_pretrained(save_directory, *args, **kwargs)
        Path(save_directory, "pipeline.py").write_text(PIPELINE_FILE)
        if push_to_hub:  # diffusers' own push would leave out what is ours: pipeline.py and the card
            self.push_to_hub(hub.pop("repo_id", Path(save_directory).name), **hub, variant=kwargs.get("variant"))

    def push_to_hub(
        self,
        repo_id: str,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        create_pr: bool = False,
        safe_serialization: bool = True,
        variant: str | None = None,
        evaluation: str | os.PathLike[str] | None = None,
        record: dict[str, Any] | None = None,
        licence: str | None = None,
        sheet: PIL.Image.Image | None = None,
    ) -> str:
        """Uploads the pipeline to the Hub, with a model card where the repository has none.

        Args:
            repo_id (`str`):
                Hub id, created if it does not exist.
            commit_message, private, token, create_pr, safe_serialization, variant (*optional*):
                As in [`~diffusers.utils.PushToHubMixin.push_to_hub`].
            evaluation (`str` or `os.PathLike`, *optional*):
                The `report.json` that `faceanon evaluate` made of this pipeline, for the card's results.
            record, licence (*optional*):
                For the card, see [`hub.make_card`]; the record is uploaded, too.
            sheet (`PIL.Image.Image`, *optional*):
                Uploaded and shown on the card: of nobody who has not agreed to it.

        Returns:
            `str`: address of the commit.
        """
        repo_id = create_repo(repo_id, private=private, token=token, exist_ok=True).repo_id
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, safe_serialization=safe_serialization, variant=variant)
            if record is not None:
                write_record(Path(folder), record)
            if sheet is not None:
                sheet.save(Path(folder, SHEET))
            if not file_exists(repo_id, "README.md", token=token):
                summary = None if evaluation is None else json.loads(Path(evaluation).read_text())
                card = make_card(repo_id, summary, record, licence, sheet is not None)
                card.save(Path(folder, "README.md"))
            return self._upload_folder(
                folder, repo_id, token=token, commit_message=commit_message, create_pr=create_pr
            )


def _as_list(image: Any) -> list[Any]:
    if isinstance(image, list | tuple):
        return list(image)
    if isinstance(image, np.ndarray | torch.Tensor) and image.ndim == 4:
        return list(image)
    return [image]


def _seeds(seed: Any, generator: Any, count: int) -> list[int]:
    """One base seed a photo."""
    if seed is None and generator is None:
        return [int(np.random.SeedSequence().generate_state(1)[0]) for _ in range(count)]
    given = generator if seed is None else seed
    if not isinstance(given, list | tuple):
        # One seed for all photos makes each come out as it would alone; one generator is drawn from in turn.
        given = [given] * count
    if len(given) != count:
        raise ValueError(f"{len(given)} seeds or generators for {count} photos")
    return [
        int(torch.randint(2**31, (1,), generator=g, device=g.device)) if isinstance(g, torch.Generator) else int(g)
        for g in given
    ]


def _deal_seeds(faces: list[Face], base: int) -> None:
    """Gives every face that has none a seed of its own, by its number in the photo."""
    for number, face in enumerate(faces):
        if face.seed is None:
            face.seed = derived_seed(base, number)


def _each(function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    """The function's results for all items, side by side: OpenCV, NumPy and MediaPipe let go of the interpreter."""
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(len(items), WORKERS)) as pool:
        return list(pool.map(function, items))


def _give_up(jobs: Sequence[_Job], error: Exception) -> None:
    """Inside a handler: the originals are erased already, so what failed stays hidden, and the caller is told."""
    logger.exception("generating %d faces failed; they are obfuscated", len(jobs))
    for job in jobs:
        job.generated, job.face.reason = None, f"generation failed: {error}"


def _draw(seed: int | None, generator: FaceAnonGenerator) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Latent and noise of a face. Always drawn on the CPU, so that a seed means the same face on every device."""
    source = torch.Generator().manual_seed(seed or 0)
    latent = torch.randn(generator.config.latent_size, generator=source)
    return latent, [torch.randn(shape, generator=source) for shape in generator.noise_shapes]


def _lists(name: str, given: Sequence[Any] | None, images: Any, count: int) -> list[list[Any]]:
    """One list of numbers and boxes a photo."""
    if given is None:
        return [[] for _ in range(count)]
    if not isinstance(images, list | tuple) and getattr(images, "ndim", 0) != 4:
        return [list(given)]
    if len(given) != count:
        raise ValueError(f"`{name}` must hold a list for each of the {count} photos, not {len(given)}")
    return [list(entries) for entries in given]


def _zones(hide: Sequence[Any], image: np.ndarray) -> list[Zone]:
    """Zones in whole pixels, cut off at the borders of the photo."""
    height, width = image.shape[:2]
    zones = []
    for entry in hide:
        box = np.asarray(entry, float)
        if box.shape != (4,) or not np.isfinite(box).all():
            raise ValueError(f"`hide` takes zones (left, top, right, bottom), not {entry}")
        left, top = (int(v) for v in np.floor(box[:2]).clip(0))
        right, bottom = (int(v) for v in np.minimum(np.ceil(box[2:]), (width, height)))
        if not (box[:2] < box[2:]).all() or left >= right or top >= bottom:
            raise ValueError(f"`hide` names the zone {entry}, of which nothing lies in a photo of {width} x {height}")
        zones.append((left, top, right, bottom))
    return zones


def _covered(pixels: np.ndarray, zones: Sequence[Zone], fallback: Fallback) -> np.ndarray:
    """The photo with its zones hidden; itself where there are none."""
    if zones:
        pixels = pixels.copy()
    for zone in zones:
        blending.cover(pixels, zone, fallback)
    return pixels


def _cut(seen: list[Face], found: list[Face], zones: Sequence[Zone]) -> list[Face]:
    """Faces that reach into and out of a zone and are seen only with its pixels."""
    cut = []
    for face in seen:
        shares = [_overlap(face.box, np.asarray(zone, float)) for zone in zones]
        again = any(_overlap(face.box, other.box) > 0.5 for other in found)
        if 0 < max(shares) < 1 and not again:
            face.reason = "cut by a zone that is hidden"
            cut.append(face)
    return cut


def _mark_kept(faces: list[Face], keep: list[Any]) -> None:
    for entry in keep:
        if np.ndim(entry) == 0:
            if not 0 <= entry < len(faces):
                raise ValueError(f"`keep` names face {entry}, but the photo has {len(faces)}")
            chosen = [faces[int(entry)]]
        else:
            chosen = [face for face in faces if _overlap(face.box, np.asarray(entry, float)) > 0.5]
        for face in chosen:
            face.status, face.reason = FaceStatus.KEPT, "asked for by the caller"


def _overlap(box: np.ndarray, other: np.ndarray) -> float:
    """Shared area over that of the face's box."""
    shared = (np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])).clip(0).prod()
    return float(shared / max((box[2:] - box[:2]).prod(), 1e-6))


def _lie_on(landmarks: np.ndarray, box: np.ndarray) -> bool:
    """Whether landmarks are numbers, spread out, and centred in the box: else another place is hidden."""
    if not np.isfinite(landmarks).all() or np.ptp(landmarks[:, :2], axis=0).min() < 1:
        return False
    middle = (landmarks[:, :2].min(0) + landmarks[:, :2].max(0)) / 2
    return bool((middle > box[:2]).all() and (middle < box[2:]).all())


def _without_color(crop: np.ndarray) -> np.ndarray:
    return np.repeat(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)


def _strength(
    component: LightingTransfer | SkinColorTransfer | FaceRetargeter | None, strength: float | None
) -> float:
    if component is None:
        return 0.0
    return component.config.strength if strength is None else strength


def _output(scene: _Scene, output_type: str) -> Any:
    if output_type == "pil":
        return scene.photo.with_pixels(scene.canvas)
    alpha = scene.photo.alpha
    floats = (scene.canvas if alpha is None else np.dstack([scene.canvas, alpha])).astype(np.float32) / 255
    return floats if output_type == "np" else torch.from_numpy(floats).permute(2, 0, 1).contiguous()


class _CallbackError(Exception):
    """Carries an error of the caller's own callback past the handler that turns ours into obfuscated faces."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause
