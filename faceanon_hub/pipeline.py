"""The whole way of a photo: every face found is replaced, or hidden, or kept because the caller says so."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np
import PIL.Image
import torch
from huggingface_hub import create_repo, file_exists

from . import blending, conditioning
from . import landmarks as lm
from .alignment import align, transform, warp_in
from .color import SkinColorTransfer
from .component import loading
from .detection import FaceDetector
from .diffusion import BaseOutput, DiffusionPipeline, FrozenDict
from .faces import Face, FaceStatus
from .files import read_json
from .generator import FaceAnonGenerator
from .hub import DEFAULT_CHECKPOINT, PIPELINE_FILE, SHEET, make_card, write_record
from .io import Photo, read_photo
from .landmarks import LandmarkExtractor
from .lighting import LightingTransfer
from .options import Fallback, Options
from .retargeting import FaceRetargeter
from .scene import FaceJob, Scene, Zone, check_zones, cover_zones, deal_seeds, faces_cut, mark_kept
from .threads import each
from .video import VideoReport, anonymize_video

if TYPE_CHECKING:
    from .metrics import Recognizer

logger = logging.getLogger(__name__)

CONFIGURED = ("batch_size", "fallback", "mask_margin", "context_blur")  # options of which a pipeline has its own
GREY = 2  # largest difference between the channels of a photo without colour

Callback = Callable[..., dict[str, Any] | None]


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
        configured: dict[str, Any] = {
            "batch_size": batch_size,
            "fallback": fallback,
            "mask_margin": mask_margin,
            "context_blur": context_blur,
        }
        Options(**configured)  # says what is wrong with them
        self.register_modules(
            detector=detector,
            landmark_extractor=landmark_extractor,
            generator=generator.to(memory_format=torch.channels_last),
            lighting_transfer=lighting_transfer,
            skin_color_transfer=skin_color_transfer,
            retargeter=retargeter,
        )
        self.register_to_config(**configured)

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
            use_hint, lighting_strength, color_strength, identity_shape, truncation, threshold, fallback, mask_margin,
            context_blur, batch_size (*optional*):
                See [`Options`].
            candidates (`int`, *optional*, defaults to `1`):
                How many new identities are tried for each face; that which `recognizer` finds least like the original
                is kept, see [`selection.choose_seeds`]. Takes `candidates` + 1 runs of the network.
            recognizer (`Callable`, *optional*):
                Where `candidates` is more than 1: describes a face, see [`metrics.Recognizer`], as
                [`metrics.DlibRecognizer`] of the extra `eval` does.
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
        # 1. Check what was asked for
        images = _as_list(image)
        options = self.resolve(
            fallback=fallback,
            mask_margin=mask_margin,
            context_blur=context_blur,
            threshold=threshold,
            batch_size=batch_size,
            truncation=truncation,
            use_hint=use_hint,
            lighting_strength=lighting_strength,
            color_strength=color_strength,
            identity_shape=identity_shape,
        )
        self.check_inputs(images, faces, candidates, recognizer, output_type, callback_on_step_end_tensor_inputs)
        keeps, hides = _lists("keep", keep, image, len(images)), _lists("hide", hide, image, len(images))
        seeds = _seeds(seed, generator, len(images))

        # 2. Read the photos
        photos = [read_photo(source) for source in images]
        zones = [check_zones(entries, photo.pixels.shape) for entries, photo in zip(hides, photos, strict=True)]

        # 3. Find the faces
        if faces is None:
            faces = [
                self.find_faces(photo.pixels, options.threshold, hidden, options.fallback)
                for photo, hidden in zip(photos, zones, strict=True)
            ]
        else:  # what an earlier call did to them says nothing about this one
            faces = [[replace(face, status=FaceStatus.FOUND) for face in found] for found in faces]

        # 4. Decide which of them stay, and who the new ones are
        for found, kept, base in zip(faces, keeps, seeds, strict=True):
            mark_kept(found, kept)
            deal_seeds(found, base)
        if recognizer is not None and candidates > 1:
            for photo, found, hidden in zip(photos, faces, zones, strict=True):
                self.choose_seeds(photo, found, hidden, options, candidates, recognizer)

        # 5. Take their coefficients, and erase them
        scenes = [
            self.prepare_scene(photo, found, options, hidden)
            for photo, found, hidden in zip(photos, faces, zones, strict=True)
        ]

        # 6. Generate new faces
        jobs = [job for scene in scenes for job in scene.jobs]
        with self.progress_bar(total=len(jobs)) as progress:
            crops = self.generate_all(
                jobs, options, callback_on_step_end, callback_on_step_end_tensor_inputs, progress.update
            )
        self.maybe_free_model_hooks()

        # 7. Give them light and colour, and lay them into the photos
        remaining = iter(crops)
        scenes = [self.compose(scene, [next(remaining) for _ in scene.jobs], options) for scene in scenes]

        # 8. Give back what was asked for
        failed = sum(face.status is FaceStatus.OBFUSCATED for found in faces for face in found)
        if failed:
            total = sum(map(len, faces))
            logger.warning("%d of %d faces could not be replaced and are obfuscated instead", failed, total)
        results = [_output(scene, output_type) for scene in scenes]
        return FaceAnonPipelineOutput(results, faces) if return_dict else (results, faces)

    def resolve(self, **options: Any) -> Options:
        """Options of a call, those that are not given as they are configured.

        Args:
            options (*optional*):
                Fields of [`Options`] by name.

        Raises:
            ValueError: one is out of its range.
            TypeError: there is no such option.
        """
        given = Options(**options)
        configured = {
            **{name: self.config[name] for name in CONFIGURED},
            "lighting_strength": _strength(self.lighting_transfer),
            "color_strength": _strength(self.skin_color_transfer),
            "identity_shape": _strength(self.retargeter),
        }
        return replace(given, **{name: value for name, value in configured.items() if getattr(given, name) is None})

    def check_inputs(
        self,
        images: Sequence[Any],
        faces: Sequence[Any] | None,
        candidates: int,
        recognizer: Recognizer | None,
        output_type: str,
        callback_tensors: Sequence[str],
    ) -> None:
        """Raises `ValueError` for arguments of a call, see [`__call__`], that do not go together or do not exist."""
        if faces is not None and len(faces) != len(images):
            raise ValueError(f"`faces` holds lists for {len(faces)} photos, but there are {len(images)}")
        if candidates < 1 or (candidates > 1 and recognizer is None):
            raise ValueError(f"`candidates` must be at least 1, and needs a `recognizer` above; not {candidates}")
        if output_type not in ("pil", "np", "pt"):
            raise ValueError(f"`output_type` must be 'pil', 'np' or 'pt', not {output_type!r}")
        unknown = sorted(set(callback_tensors) - set(self._callback_tensor_inputs))
        if unknown:
            raise ValueError(f"callbacks get {self._callback_tensor_inputs}, not {unknown}")

    def choose_seeds(
        self,
        photo: Photo,
        faces: list[Face],
        zones: Sequence[Zone],
        options: Options,
        candidates: int,
        recognizer: Recognizer,
    ) -> None:
        """Gives faces the seeds, of several, that lead farthest away, see [`selection.choose_seeds`]."""
        from .selection import choose_seeds  # measures, with libraries that only some extras bring

        seen = replace(photo, pixels=cover_zones(photo.pixels, zones, options.fallback))

        def replaced(trial: list[Face]) -> Scene:
            scene = self.prepare_scene(photo, trial, options, zones)
            return self.compose(scene, self.generate_all(scene.jobs, options), options)

        choose_seeds(seen, faces, replaced, self.find_landmarks, candidates, recognizer)

    @property
    def execution_device(self) -> torch.device:
        """Where the network runs, which a hook of accelerate can move it to."""
        return self._execution_device

    def with_generator(self, generator: FaceAnonGenerator) -> Self:
        """A pipeline of the same components and configuration, but with another network."""
        components = {**self.components, "generator": generator}
        return type(self)(**components, **{name: self.config[name] for name in CONFIGURED})

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
            ValueError: a zone is empty or outside the photo, or the threshold is out of its range.
        """
        Options(threshold=threshold)  # says what is wrong with it
        zones = check_zones(hide, image.shape)
        covered = cover_zones(image, zones, fallback or self.config.fallback)
        faces = self.detector(covered, threshold)
        each(lambda face: self.find_landmarks(covered, face), faces)
        if zones:
            faces += faces_cut(self.detector(image, threshold), faces, zones)
        return faces

    def find_landmarks(self, image: np.ndarray, face: Face) -> None:
        """Fills in `landmarks` and `presence` of a face; where there are none, `reason` says why.

        Args:
            image (`np.ndarray` of shape `(H, W, 3)`, uint8):
                Upright RGB photo.
            face ([`Face`]):
                With its box.
        """
        try:
            self.landmark_extractor(image, [face])
            if face.landmarks is None:
                face.reason = f"no landmarks fit the face (presence {face.presence:.2f})"
        except Exception as error:
            logger.exception("landmarks failed; the face will be obfuscated")
            face.landmarks, face.reason = None, f"landmarks failed: {error}"

    def prepare_scene(
        self, photo: Photo, faces: Sequence[Face], options: Options, zones: Sequence[Zone] = ()
    ) -> Scene:
        """Takes the coefficients of every face, then erases or obfuscates all of them in a copy of the photo.

        Args:
            photo ([`Photo`]):
                The original.
            faces (`list[Face]`):
                From [`find_faces`], with seeds. Those whose status is `kept` are left alone.
            options ([`Options`]):
                From [`resolve`].
            zones (`list`, *optional*):
                From [`~scene.check_zones`].
        """
        photo = replace(photo, pixels=cover_zones(photo.pixels, zones, options.fallback))
        hidden = [face for face in faces if face.status is not FaceStatus.KEPT]
        jobs = each(lambda face: self.prepare_job(photo.pixels, face, options), hidden)
        kept = [face.box for face in faces if face.status is FaceStatus.KEPT]
        return self.erase_faces(photo, hidden, jobs, options, zones, kept)

    def prepare_job(self, pixels: np.ndarray, face: Face, options: Options) -> FaceJob | None:
        """The last look at an original face. None, and the face's reason, where it cannot be replaced.

        Args:
            pixels (`np.ndarray` of shape `(H, W, 3)`, uint8):
                The original photo.
            face ([`Face`]):
                With landmarks and a seed.
            options ([`Options`]):
                From [`resolve`].
        """
        if face.landmarks is None:
            return None
        try:
            job = self.place_face(pixels.shape, face, options)
            self.measure_face(pixels, job, options)
            self.reshape_face(pixels.shape, job, options)
            return job
        except Exception as error:
            logger.exception("measuring a face failed; it is obfuscated")
            face.reason = f"measuring failed: {error}"
            return None

    def place_face(
        self, shape: tuple[int, ...], face: Face, options: Options, matrix: np.ndarray | None = None
    ) -> FaceJob:
        """A face's geometry, in the crop of its own landmarks where no other is given.

        Args:
            shape (`tuple[int, int, int]`):
                Of the photo.
            face ([`Face`]):
                With landmarks.
            options ([`Options`]):
                From [`resolve`].
            matrix (`np.ndarray` of shape `(2, 3)`, *optional*):
                Photo to crop.

        Raises:
            ValueError: the landmarks do not lie on the face, or it is too small.
        """
        landmarks = face.landmarks
        if landmarks is None or not _lie_on(landmarks, face.box):
            raise ValueError("the landmarks do not lie on the face")
        size = self.generator.config.sample_size
        matrix = align(landmarks, size) if matrix is None else matrix
        points = transform(landmarks, matrix)
        maps = conditioning.draw_maps(points, size, options.mask_margin)
        core = blending.core(maps[0], matrix, shape)
        if not core[1].any():
            raise ValueError("the face is too small to be erased")
        return FaceJob(face, matrix, points, maps, conditioning.skin_mask(maps), core)

    def measure_face(self, pixels: np.ndarray, job: FaceJob, options: Options) -> None:
        """Takes a handful of coefficients from an original face, into the job."""
        original = warp_in(pixels, job.matrix, len(job.mask))
        if options.use_hint:
            crop = torch.from_numpy(original)[None].permute(0, 3, 1, 2).float() / 127.5 - 1
            maps, skin = torch.from_numpy(job.maps)[None].float(), torch.from_numpy(job.skin)[None, None]
            job.hint = conditioning.hint_coefficients(crop, maps, skin)
        if self.lighting_transfer is not None and options.lighting_strength:
            job.lighting = self.lighting_transfer.estimate(original, job.points)
        if self.skin_color_transfer is not None and options.color_strength:
            job.color = self.skin_color_transfer.estimate(original, job.skin)

    def reshape_face(self, shape: tuple[int, ...], job: FaceJob, options: Options) -> None:
        """Gives the new face a shape of its own, and draws lids and brows as strongly as the network needs it.

        What the old outline hid stays hidden, beside the new one.
        """
        if self.retargeter is not None and options.identity_shape:
            assert job.face.landmarks is not None
            landmarks = self.retargeter(job.face.landmarks, job.face.seed, options.identity_shape)
            job.points, hidden = transform(landmarks, job.matrix), job.maps[0]
            job.maps = conditioning.draw_maps(job.points, len(hidden), options.mask_margin)
            job.maps[0] |= hidden
            job.skin = conditioning.skin_mask(job.maps)
            area, inside = blending.core(job.maps[0], job.matrix, shape)
            job.core = area, inside | job.core[1]  # resampled, the larger region can miss a pixel of the smaller
        config = self.generator.config
        job.maps = conditioning.emphasized(job.maps, job.points, config.lid_emphasis, config.brow_emphasis)

    def erase_faces(
        self,
        photo: Photo,
        hidden: Sequence[Face],
        jobs: Sequence[FaceJob | None],
        options: Options,
        zones: Sequence[Zone],
        kept: Sequence[np.ndarray],
    ) -> Scene:
        """Erases, in a copy of the photo, the faces that have a job, and obfuscates those that have none.

        Args:
            photo ([`Photo`]):
                With its zones hidden.
            hidden (`list[Face]`):
                Faces that do not stay.
            jobs (`list[FaceJob]`):
                For each of them, from [`prepare_job`].
            options ([`Options`]):
                From [`resolve`].
            zones (`list`):
                What is hidden in the photo.
            kept (`list[np.ndarray]`):
                Boxes of faces that stay.
        """
        canvas = photo.pixels.copy()
        scene = Scene(photo, canvas, [job for job in jobs if job is not None], list(zones))
        for face, job in zip(hidden, jobs, strict=True):
            if job is None:
                blending.obfuscate(canvas, face.box, options.fallback)
                face.status = FaceStatus.OBFUSCATED
        blending.erase(canvas, [job.core for job in scene.jobs])
        if options.context_blur:
            for job in scene.jobs:
                height = float(np.ptp(job.points[lm.OVAL, 1]))
                blending.soften(canvas, job.mask, job.matrix, *job.core, height, options.context_blur, kept)
        crops = each(lambda job: warp_in(canvas, job.matrix, len(job.mask)), scene.jobs)
        for job, crop in zip(scene.jobs, crops, strict=True):
            job.surroundings = crop
        return scene

    def generate_all(
        self,
        jobs: Sequence[FaceJob],
        options: Options,
        callback: Callback | None = None,
        callback_tensors: Sequence[str] = (),
        advance: Callable[[int], Any] = lambda count: None,
    ) -> list[np.ndarray | None]:
        """Runs the network on any number of faces, batch by batch; what fails is None, and the face's reason says why.

        Args:
            jobs (`list[FaceJob]`):
                Faces that are erased in their photos.
            options ([`Options`]):
                From [`resolve`].
            callback, callback_tensors (*optional*):
                As of [`__call__`].
            advance (`Callable`, *optional*):
                Called with the size of each batch that is done.
        """
        crops: list[np.ndarray | None] = []
        for step, start in enumerate(range(0, len(jobs), options.batch_size)):
            batch = jobs[start : start + options.batch_size]
            tensors: dict[str, torch.Tensor] = {}
            try:
                tensors = self.generate(batch, options)
            except Exception as error:  # the originals are erased already, so what failed stays hidden
                logger.exception("generating %d faces failed; they are obfuscated", len(batch))
                for job in batch:
                    job.face.reason = f"generation failed: {error}"
            if tensors and callback is not None:
                chosen = {name: tensors[name] for name in callback_tensors}
                tensors |= callback(self, step, start + len(batch), chosen) or {}
            crops += decode_crops(tensors["crops"]) if tensors else [None] * len(batch)
            advance(len(batch))
        return crops

    @torch.no_grad()
    def generate(self, jobs: Sequence[FaceJob], options: Options) -> dict[str, torch.Tensor]:
        """Runs the network on a batch.

        Returns:
            `dict[str, torch.Tensor]`: `"latents"` of shape `(B, 64)` and `"crops"` of shape `(B, 3, S, S)` in [-1, 1],
            float32.

        Raises:
            FloatingPointError: the network returned NaN or infinity.
        """
        device, dtype = self._execution_device, self.generator.dtype
        surroundings, mask, condition = (tensor.to(device, dtype) for tensor in self.prepare_condition(jobs))
        contexts = [job.context.to(device, dtype) for job in jobs if job.context is not None]
        drawn = [self.generator.draw(job.face.seed or 0) for job in jobs]
        latents = torch.stack([latent for latent, _ in drawn])
        noise = [torch.stack(level) for level in zip(*(levels for _, levels in drawn), strict=True)]
        crops = self.generator(
            surroundings,
            mask,
            condition,
            latents.to(device, dtype),
            [level.to(device, dtype) for level in noise],
            options.truncation,
            torch.cat(contexts) if contexts else None,
        ).float()
        if not torch.isfinite(crops).all():
            raise FloatingPointError("the network returned no finite picture")
        return {"latents": latents, "crops": crops.cpu()}  # a GPU that is only lent keeps nothing

    def summarize(self, jobs: Sequence[FaceJob]) -> torch.Tensor:
        """What the style takes from the surroundings of a batch, `(B, 256)`, see [`FaceAnonGenerator.summarize`]."""
        tensors = (tensor.to(self._execution_device, self.generator.dtype) for tensor in self.prepare_condition(jobs))
        return self.generator.summarize(*tensors).float().cpu()

    @staticmethod
    def prepare_condition(jobs: Sequence[FaceJob]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Surroundings, mask and condition of a batch, as the network takes them."""
        surroundings = torch.from_numpy(np.stack([job.surroundings for job in jobs])).permute(0, 3, 1, 2).float()
        maps = torch.from_numpy(np.stack([job.maps for job in jobs])).float()
        mask = maps[:, :1]
        hints = [job.hint for job in jobs if job.hint is not None]
        condition = conditioning.condition(maps, conditioning.render_hint(torch.cat(hints), mask) if hints else None)
        return surroundings / 127.5 - 1, mask, condition

    def compose(self, scene: Scene, crops: Sequence[np.ndarray | None], options: Options) -> Scene:
        """Gives new faces the light and colour of the old ones, and lays them into the erased photo.

        Args:
            scene ([`Scene`]):
                From [`prepare_scene`]; it stays as it is.
            crops (`list[np.ndarray]`):
                For each of its jobs a new face `(S, S, 3)`, uint8; None where it failed.
            options ([`Options`]):
                From [`resolve`]. A post-processor of strength 0 is left out.

        Returns:
            [`Scene`]: a copy whose canvas shows the new faces; those that failed are obfuscated.
        """

        def corrected(pair: tuple[FaceJob, np.ndarray | None]) -> FaceJob:
            job, crop = pair
            try:
                return replace(job, generated=None if crop is None else self.correct(job, crop, options))
            except Exception as error:
                logger.exception("correcting a face failed; it is obfuscated")
                job.face.reason = f"correcting failed: {error}"
                return replace(job, generated=None)

        jobs = each(corrected, zip(scene.jobs, crops, strict=True))
        canvas = scene.canvas.copy()
        for job in sorted(jobs, key=lambda job: job.face.size):  # small ones, which are far away, first
            if job.generated is None:
                blending.obfuscate(canvas, job.face.box, options.fallback)
                job.face.status = FaceStatus.OBFUSCATED
            else:
                blending.paste(canvas, job.generated, job.mask, job.matrix, *job.core)
                job.face.status = FaceStatus.ANONYMIZED
        for left, top, right, bottom in scene.zones:  # where a new face reaches into one
            canvas[top:bottom, left:right] = scene.photo.pixels[top:bottom, left:right]
        return replace(scene, canvas=canvas, jobs=jobs)

    def correct(self, job: FaceJob, crop: np.ndarray, options: Options) -> np.ndarray:
        """Runs the photometric post-processors on a new face `(S, S, 3)`, uint8; returns the same shape."""
        grey = np.ptp(job.surroundings, axis=2).max() <= GREY
        if grey:
            crop = _without_color(crop)
        inside = blending.depth(job.mask)
        region = ((inside - 2) / (0.06 * len(inside))).clip(0, 1).astype(np.float32)
        if self.lighting_transfer is not None and job.lighting is not None and options.lighting_strength:
            crop = self.lighting_transfer(crop, job.points, region, job.lighting, options.lighting_strength)
        if self.skin_color_transfer is not None and job.color is not None and options.color_strength:
            neutral = job.maps[[conditioning.MAPS.index("eyes"), conditioning.MAPS.index("mouth")]].max(0)
            neutral = cv2.GaussianBlur(cv2.dilate(neutral, np.ones((3, 3))).astype(np.float32), (0, 0), 1)
            crop = self.skin_color_transfer(crop, job.skin, region, job.color, options.color_strength, neutral)
        return _without_color(crop) if grey else crop

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
            CheckpointError: there is no such folder or repository, or a file of it is missing, damaged, no regular
                file, or holds a value that is out of its range.
        """
        with loading(pretrained_model_name_or_path):
            return super().from_pretrained(str(pretrained_model_name_or_path), **kwargs)

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *args: Any, push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """Saves like [`~diffusers.DiffusionPipeline.save_pretrained`], without the paths it was loaded from."""
        names = ("repo_id", "commit_message", "private", "create_pr", "token")
        hub = {name: kwargs.pop(name) for name in names if name in kwargs}
        # diffusers writes where a component came from, which is a folder of the user's machine.
        parts: list[Any] = [self, self.generator, self.retargeter]
        for part in filter(None, parts):
            kept = {name: value for name, value in part.config.items() if name != "_name_or_path"}
            part._internal_dict = FrozenDict(kept)  # noqa: SLF001 - diffusers has no public way to drop a value
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
                summary = None if evaluation is None else read_json(evaluation)
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


def _lists(name: str, given: Sequence[Any] | None, images: Any, count: int) -> list[list[Any]]:
    """One list of numbers and boxes a photo."""
    if given is None:
        return [[] for _ in range(count)]
    if not isinstance(images, list | tuple) and getattr(images, "ndim", 0) != 4:
        return [list(given)]
    if len(given) != count:
        raise ValueError(f"`{name}` must hold a list for each of the {count} photos, not {len(given)}")
    return [list(entries) for entries in given]


def _lie_on(landmarks: np.ndarray, box: np.ndarray) -> bool:
    """Whether landmarks are numbers, spread out, and centred in the box: else another place is hidden."""
    if not np.isfinite(landmarks).all() or np.ptp(landmarks[:, :2], axis=0).min() < 1:
        return False
    middle = (landmarks[:, :2].min(0) + landmarks[:, :2].max(0)) / 2
    return bool((middle > box[:2]).all() and (middle < box[2:]).all())


def _without_color(crop: np.ndarray) -> np.ndarray:
    return np.repeat(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)


def _strength(component: LightingTransfer | SkinColorTransfer | FaceRetargeter | None) -> float:
    return 0.0 if component is None else component.config.strength


def decode_crops(crops: torch.Tensor) -> list[np.ndarray]:
    """Pictures of shape `(B, 3, S, S)` in [-1, 1] as arrays of shape `(S, S, 3)`, uint8."""
    pictures = ((crops.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return list(pictures.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def _output(scene: Scene, output_type: str) -> Any:
    if output_type == "pil":
        return scene.photo.with_pixels(scene.canvas)
    alpha = scene.photo.alpha
    floats = (scene.canvas if alpha is None else np.dstack([scene.canvas, alpha])).astype(np.float32) / 255
    return floats if output_type == "np" else torch.from_numpy(floats).permute(2, 0, 1).contiguous()
