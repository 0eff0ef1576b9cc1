"""The whole way of a photo: every face found is replaced, or hidden, or kept because the caller says so."""

from __future__ import annotations

import functools
import json
import logging
import math
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

from . import landmarks as lm
from . import placing
from .alignment import align, transform, warp_in
from .attributes import SURE_GLASSES, AttributeEstimator
from .blending import compositing as blending
from .blending import grain, patches, regions, seam, tones
from .color import SkinColorTransfer, tone, toning
from .component import component_file, loading
from .detection import SMALLEST, FaceDetector
from .diffusion import BaseOutput, DiffusionPipeline, FrozenDict, is_accelerate_available
from .errors import CheckpointError, FaceAnonError
from .faces import Face, FaceStatus, crowd_note, derived_seed
from .files import read_json
from .generators.generator import Prior
from .hub import DEFAULT_CHECKPOINT, PIPELINE_CODE, PIPELINE_FILE, SHEET, check_measured, describe, make_card
from .io import transparency
from .io.photos import Photo, read_photo
from .landmarks import FaceMesh, LandmarkExtractor
from .lighting import LightingTransfer
from .look import AT, at_rest, goal_of, grown_up, is_child, look, opened, strangeness
from .options import Attributes, Fallback, Glasses, Options
from .parsing import FaceParser, teeth_shown
from .processes import each, start_work
from .recognition import FaceRecognizer
from .sampling import EMBEDDING, Drawn, StyleSampler
from .scene import FaceJob, NewFace, Scene, Zone, check_zones, cover_zones, deal_seeds, faces_cut, mark_kept
from .surroundings import SurroundingsEncoder
from .video import reenactment
from .video.anonymize import VideoReport, anonymize_video
from .video.reenactment import Person, Picture
from .video.tracking import overlap

if TYPE_CHECKING:
    from .metrics import Recognizer

logger = logging.getLogger(__name__)

# Options that a pipeline is configured with.
CONFIGURED = ("batch_size", "fallback", "mask_margin", "context_blur", "privacy", "attributes")
# Of the weights that a variant holds.
PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16}
LOOK_SIZE = 512  # pixels of the crop in which an original is looked at
SMALL = 256  # pixels of the crop in which light and colour are worked out
DRAFT = 512  # pixels that people are drawn in at most until one is chosen
# Attempts at a face without faults, and at one whose faults are not grave: which sum of them is.
ATTEMPTS, MOST_ATTEMPTS, GRAVE = 3, 6, 0.5
# What does not fit: pose and expression off by more standard deviations, skin stretched by more, or more of the face
# behind hair, hat or hand.
MAX_ERROR, MAX_DISTORTION, MAX_COVERED = 1.6, 0.35, 0.22
# What fits, but calls for another try: the best one is taken.
GOOD_ERROR, GOOD_COVERED = 1.2, 0.08
# The same of the inner face, of eyes, nose and mouth: hands before it, hair, half a pair of glasses.
MAX_TORN, GOOD_TORN = 0.06, 0.018
# The same of how far a placed face is seen from its mesh; and of a composed one.
MAX_BENT, GOOD_BENT, BROKEN = 0.018, 0.012, 0.018
MOST_MOVED = 0.6  # distortion of a face that is moved
EXPRESSIVE = [*lm.OUTER_LIPS, *lm.INNER_LIPS, *lm.LEFT_EYE, *lm.RIGHT_EYE]
# People who are tried for a video at most; how far lips and lids may be off, in parts of the mesh's longer side.
AUDITIONS, GOOD_STIFF, MAX_STIFF = 3, 0.016, 0.04
BARE = 0.25  # of the lips' area, from which on teeth that are seen at rest call for another person
CALM = 1.0  # standard deviations of expression that a person who is to be moved is drawn with at most
EXPRESSIVE_LAYERS = 1, 6  # styles that hold pose and expression: of 8 to 32 px; what follows is texture and colour
MAX_LIKENESS = 0.45  # cosine of embeddings from which on the recognizer may take a face for the original
SURE = 0.35  # from this confidence of the detector on, a face is replaced; below, it is obfuscated
ENLARGED = 1.3  # a new face that is enlarged more than this says so
TURNED = 35.0  # degrees of yaw from which on they grow
OLD_KIND = "of an earlier kind, whose generator is a U-Net that paints into the photo: this version cannot use it"
SAME = 0.7  # overlap of boxes from which on what the transparency shows is a face that is known

Callback = Callable[..., Any]


@dataclass(frozen=True)
class Trial:
    """One of the faces that are drawn for a job: laid into its crop, as drawn, and which attempt it was."""

    face: NewFace | None = None  # None where none fits
    drawn: Drawn | None = None
    attempt: int = 0


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
    2603.17567): nothing but numbers is taken from the face, which is erased before anything is drawn; dense landmarks,
    photometric post-processors.

    Args:
        detector ([`FaceDetector`]):
            Photo to boxes.
        landmark_extractor ([`LandmarkExtractor`]):
            Boxes to 478 landmarks.
        generator ([`FaceAnonGenerator`] or [`StyleGAN2Generator`]):
            A style to a photograph of nobody.
        sampler ([`StyleSampler`]):
            What the original shows, in numbers, to a style.
        parser ([`FaceParser`]):
            A face to its parts: what is hidden of an original, and what of a drawn face is skin.
        attribute_estimator ([`AttributeEstimator`], *optional*):
            A face to apparent sex and age.
        surroundings_encoder ([`SurroundingsEncoder`], *optional*):
            Hair, neck and clothes to apparent sex, age and origin.
        recognizer ([`FaceRecognizer`], *optional*):
            A face to an embedding, from which the new face is pushed away.
        lighting_transfer ([`LightingTransfer`], *optional*):
            Brings the original's light direction to the new face.
        skin_color_transfer ([`SkinColorTransfer`], *optional*):
            Brings the original's skin colour to the new face.
        batch_size (`int`, *optional*, defaults to `8`):
            Faces that are drawn at a time. Changes speed and memory, never the result.
        fallback (`str`, *optional*, defaults to `"blur"`):
            `"blur"`, `"mosaic"` or `"solid"`: how a face is hidden that cannot be replaced.
        mask_margin (`float`, *optional*, defaults to `0.0`):
            How far the hidden region reaches beyond a face's outline, in heights of the face.
        privacy (`float`, *optional*, defaults to `0.75`):
            0 (expression above all) to 1 (as far from the original's identity as possible).
        attributes (`str`, *optional*, defaults to `"face"`):
            `"face"`, `"surroundings"` or `"none"`: what apparent age and sex of the new face follow.
        context_blur (`float`, *optional*, defaults to `0.0`):
            How strongly hair, ears and neck round a new face are blurred: standard deviation in heights of the face.
    """

    model_cpu_offload_seq = "generator"
    _optional_components = [
        "lighting_transfer",
        "skin_color_transfer",
        "attribute_estimator",
        "surroundings_encoder",
        "recognizer",
    ]
    _callback_tensor_inputs = ["styles"]

    detector: FaceDetector
    landmark_extractor: LandmarkExtractor
    generator: Prior
    lighting_transfer: LightingTransfer | None
    skin_color_transfer: SkinColorTransfer | None
    sampler: StyleSampler
    parser: FaceParser
    attribute_estimator: AttributeEstimator | None
    surroundings_encoder: SurroundingsEncoder | None
    recognizer: FaceRecognizer | None

    def __init__(
        self,
        detector: FaceDetector,
        landmark_extractor: LandmarkExtractor,
        generator: Prior,
        sampler: StyleSampler,
        parser: FaceParser,
        lighting_transfer: LightingTransfer | None = None,
        skin_color_transfer: SkinColorTransfer | None = None,
        attribute_estimator: AttributeEstimator | None = None,
        surroundings_encoder: SurroundingsEncoder | None = None,
        recognizer: FaceRecognizer | None = None,
        batch_size: int = 8,
        fallback: str = "blur",
        mask_margin: float = 0.0,
        context_blur: float = 0.0,
        privacy: float = 0.75,
        attributes: str = "face",
    ) -> None:
        super().__init__()
        configured: dict[str, Any] = {
            "batch_size": batch_size,
            "fallback": fallback,
            "mask_margin": mask_margin,
            "context_blur": context_blur,
            "privacy": privacy,
            "attributes": attributes,
        }
        Options(**configured)  # says what is wrong with them
        if generator.config.style_size != sampler.config.style_size:
            raise ValueError("generator and sampler have styles of different length")
        self.register_modules(
            detector=detector,
            landmark_extractor=landmark_extractor,
            generator=generator,
            sampler=sampler,
            parser=parser,
            lighting_transfer=lighting_transfer,
            skin_color_transfer=skin_color_transfer,
            attribute_estimator=attribute_estimator,
            surroundings_encoder=surroundings_encoder,
            recognizer=recognizer,
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
        lighting_strength: float | None = None,
        color_strength: float | None = None,
        privacy: float | None = None,
        attributes: Attributes | None = None,
        glasses: Glasses = "original",
        truncation: float = 0.6,
        hide_small: bool = False,
        candidates: int = 1,
        recognizer: Recognizer | None = None,
        threshold: float | None = None,
        fallback: Fallback | None = None,
        mask_margin: float | None = None,
        context_blur: float | None = None,
        batch_size: int | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("styles",),
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
                Draws the seed, in the manner of diffusers, in place of `seed`.
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
            lighting_strength, color_strength, privacy, attributes, glasses, truncation, hide_small, threshold,
            fallback, mask_margin, context_blur, batch_size (*optional*):
                See [`Options`].
            candidates (`int`, *optional*, defaults to `1`):
                How many new identities are tried for each face; that which `recognizer` finds least like the original
                is kept, see [`selection.choose_seeds`]. Takes `candidates` + 1 times as long.
            recognizer (`Callable`, *optional*):
                Where `candidates` is more than 1: describes a face, see [`metrics.Recognizer`], as
                [`metrics.DlibRecognizer`] of the extra `eval` does.
            output_type (`str`, *optional*, defaults to `"pil"`):
                `"pil"`, `"np"` or `"pt"`, see [`FaceAnonPipelineOutput`].
            return_dict (`bool`, *optional*, defaults to `True`):
                False returns the tuple `(images, faces)`.
            callback_on_step_end (`Callable`, *optional*):
                Called after each batch of faces as `callback(pipe, step, faces_done, tensors)`, to look on; what it
                returns changes nothing.
            callback_on_step_end_tensor_inputs (`list[str]`, *optional*, defaults to `("styles",)`):
                Which tensors it gets: `"styles"` of shape `(B, 512)`, what faces were drawn from; 0 where none was.

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
        start_work()
        if seed is not None and generator is not None:
            raise ValueError("`seed` and `generator` both pick the new identities: give one of them")
        images = _as_list(image)
        options = self.resolve(
            fallback=fallback,
            mask_margin=mask_margin,
            context_blur=context_blur,
            threshold=threshold,
            batch_size=batch_size,
            truncation=truncation,
            lighting_strength=lighting_strength,
            color_strength=color_strength,
            privacy=privacy,
            attributes=attributes,
            glasses=glasses,
            hide_small=hide_small,
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
                self.find_faces(photo.pixels, options.threshold, hidden, options.fallback, photo.alpha, hide_small)
                for photo, hidden in zip(photos, zones, strict=True)
            ]
        else:  # what an earlier call did to them says nothing about this one
            faces = [[replace(face, status=FaceStatus.FOUND) for face in found] for found in faces]
            for found in faces:
                self.mark_small(found, hide_small)

        # 4. Decide which of them stay, and who the new ones are
        for found, kept, base in zip(faces, keeps, seeds, strict=True):
            mark_kept(found, kept)
            deal_seeds(found, base)
        if recognizer is not None and candidates > 1:
            for photo, found, hidden in zip(photos, faces, zones, strict=True):
                self.choose_seeds(photo, found, hidden, options, candidates, recognizer)

        # 5. Take their numbers, and erase them
        scenes = [
            self.prepare_scene(photo, found, options, hidden)
            for photo, found, hidden in zip(photos, faces, zones, strict=True)
        ]

        # 6. Draw new faces
        jobs = [job for scene in scenes for job in scene.jobs]
        with self.progress_bar(total=len(jobs)) as progress:
            drawn = self.draw_faces(
                jobs, options, callback_on_step_end, callback_on_step_end_tensor_inputs, progress.update
            )
        self.maybe_free_model_hooks()

        # 7. Give them light and colour, and lay them into the photos
        remaining = iter(drawn)
        scenes = [self.compose(scene, [next(remaining) for _ in scene.jobs], options) for scene in scenes]

        # 8. Give back what was asked for
        failed = sum(face.status is FaceStatus.OBFUSCATED for found in faces for face in found)
        if failed:
            total = sum(map(len, faces))
            logger.warning("%d of %d faces could not be replaced and are obfuscated instead", failed, total)
        for number, found in enumerate(faces):
            if note := crowd_note(found, hide_small):
                logger.warning("photo %d: %s", number, note)
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
        configured: dict[str, Any] = {
            **{name: self.config[name] for name in CONFIGURED},
            "lighting_strength": _strength(self.lighting_transfer),
            "color_strength": _strength(self.skin_color_transfer),
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
            return self.compose(scene, self.draw_faces(scene.jobs, options), options)

        choose_seeds(seen, faces, replaced, self.find_landmarks, candidates, recognizer)

    @property
    def execution_device(self) -> torch.device:
        """Where the network runs, which a hook of accelerate can move it to."""
        return self._execution_device

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
        alpha: np.ndarray | None = None,
        hide_small: bool = False,
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
            alpha (`np.ndarray` of shape `(H, W)`, uint8, *optional*):
                Opacity of the photo. Faces that only it shows, or only the photo on black or on white, are found too.
            hide_small (`bool`, *optional*, defaults to `False`):
                Look for faces down to 6 pixels, too; what is below the detector's `min_face_size` gets no landmarks.

        Returns:
            `list[Face]`: from left to right, then those that only the transparency shows, then those cut by zones.
            Without `landmarks`, `reason` says why; such a face will be obfuscated.

        Raises:
            ValueError: a zone is empty or outside the photo, or an option is out of its range.
        """
        start_work()
        Options(threshold=threshold, hide_small=hide_small)  # says what is wrong with them
        detect = functools.partial(self.detector, smallest=SMALLEST) if hide_small else self.detector

        def look(view: np.ndarray) -> list[Face]:
            found = detect(view, threshold)
            self.mark_small(found, hide_small)
            return found

        zones = check_zones(hide, image.shape)
        covered = cover_zones(image, zones, fallback or self.config.fallback)
        faces = look(covered)
        each(lambda face: self.find_landmarks(covered, face), [face for face in faces if not face.reason])
        for face in faces:
            if face.score < SURE and face.landmarks is not None:  # the mesh fits to palms and signs, too
                face.landmarks = face.pose = face.blendshapes = None
                face.reason = f"it may be no face (confidence {face.score:.2f})"
        opaque = transparency.closed(alpha, [(zone, ...) for zone in zones])
        faces += self._seen_through(covered, opaque, faces, look)
        if zones:
            seen = look(image)
            faces += faces_cut(seen + self._seen_through(image, alpha, seen, look), faces, zones)
        return faces

    def mark_small(self, faces: Sequence[Face], hide: bool) -> None:
        """Marks faces that are narrower than the detector's `min_face_size`.

        Args:
            faces (`list[Face]`):
                Their `small` is set.
            hide (`bool`):
                Whether those will be obfuscated: they lose what they could be replaced by, and `reason` says why.
        """
        least = self.detector.config.min_face_size
        for face in faces:
            face.small = face.width < least
            if face.small and hide:
                face.landmarks = face.pose = face.blendshapes = None
                face.reason = f"smaller than {least:g} px"

    def _seen_through(
        self,
        image: np.ndarray,
        alpha: np.ndarray | None,
        known: Sequence[Face],
        look: Callable[[np.ndarray], list[Face]],
    ) -> list[Face]:
        """Faces that a photo shows by its transparency, and that are not known from its colours."""
        found: list[Face] = []
        for view in transparency.views(image, alpha):
            for face in look(view):
                if all(overlap(face.box, other.box) <= SAME for other in (*known, *found)):
                    face.reason = "seen by the transparency alone"
                    found.append(face)
        return found

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
        alpha = transparency.closed(photo.alpha, [(zone, ...) for zone in zones])
        photo = replace(photo, pixels=cover_zones(photo.pixels, zones, options.fallback), alpha=alpha)
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
            job = self.place_face(face)
            parts = self.hide_face(pixels, job, options)
            self.measure_face(pixels, job, options, parts)
            return job
        except Exception as error:
            logger.exception("measuring a face failed; it is obfuscated")
            face.reason = f"measuring failed: {error}"
            return None

    def place_face(self, face: Face, size: int | None = None, matrix: np.ndarray | None = None) -> FaceJob:
        """A face's geometry, in the crop of its own landmarks where no other is given.

        Args:
            face ([`Face`]):
                With landmarks and pose.
            size (`int`, *optional*):
                Side of the crop; by the size of the face unless given.
            matrix (`np.ndarray` of shape `(2, 3)`, *optional*):
                Photo to crop.

        Raises:
            ValueError: the landmarks do not lie on the face.
        """
        landmarks = face.landmarks
        if landmarks is None or face.pose is None or not _lie_on(landmarks, face.box):
            raise ValueError("the landmarks do not lie on the face")
        size = placing.crop_size(landmarks) if size is None else size
        matrix = align(landmarks, size) if matrix is None else matrix
        return FaceJob(face, matrix, size, transform(landmarks, matrix), _upright(face.pose, matrix))

    def hide_face(self, pixels: np.ndarray, job: FaceJob, options: Options) -> np.ndarray:
        """Decides, into the job, what of the photo is erased: the face, but not what hangs in front of it.

        Returns:
            `np.ndarray` of shape `(s, s, 7)`: the parts of the face, see [`FaceParser.parse`].

        Raises:
            ValueError: the face is too small.
        """
        crop = warp_in(pixels, job.matrix, job.size)
        seen = self.parser.parse(crop)
        if job.glasses is None:
            job.glasses = self.wears_glasses(crop, job.points)
        parts = seam.frames_as_skin(seen, job.points, job.size) if job.glasses else seen
        job.hidden = seam.hidden(job.points, seam.in_front(crop, job.points, parts), options.mask_margin)
        job.skin = seam.skin_left(parts, job.hidden)
        if not job.glasses:  # a dark lens at the rim of a turned face is taken for hair
            job.over = seam.overhang(job.points, parts, job.size)
        job.cloth = seam.cloth(crop, job.points, parts)
        job.core = blending.core(job.hidden, job.matrix, pixels.shape)
        if not job.core[1].any():
            raise ValueError("the face is too small to be erased")
        return seen

    def wears_glasses(self, pixels: np.ndarray, points: np.ndarray) -> bool:
        """Whether a face of a picture `(H, W, 3)`, uint8, with a mesh `(478, 3)` may wear glasses; no if unknown."""
        estimator = self.attribute_estimator
        return estimator is not None and estimator.read_glasses(pixels, points) > 0

    def measure_face(
        self, pixels: np.ndarray, job: FaceJob, options: Options, parts: np.ndarray | None = None
    ) -> None:
        """Takes from an original face the numbers that the new one follows, into the job.

        Args:
            pixels (`np.ndarray` of shape `(H, W, 3)`, uint8):
                The original photo.
            job ([`FaceJob`]):
                From [`place_face`].
            options ([`Options`]):
                From [`resolve`].
            parts (`np.ndarray` of shape `(s, s, 7)`, *optional*):
                From [`hide_face`]; without them, brows, irises and lips are left as they are drawn.
        """
        face = job.face
        assert face.landmarks is not None and face.blendshapes is not None
        matrix = align(face.landmarks, LOOK_SIZE)
        crop, points = warp_in(pixels, matrix, LOOK_SIZE), transform(face.landmarks, matrix)
        if job.cloth is not None:
            crop = job.cloth.off(crop)
        mesh = FaceMesh(points, face.presence or 0.0, job.pose, np.array(list(face.blendshapes.values()), np.float32))
        network = self.attribute_estimator
        estimator = network and (network.coarse if options.attributes == "face" else network.coarse_glasses)
        job.goal = goal_of(look(crop, mesh, estimator))
        if options.glasses != "original":
            job.goal[AT["glasses"]] = SURE_GLASSES if options.glasses == "keep" else -SURE_GLASSES
        if parts is not None:
            job.tones = tones.measure(crop, points, parts)
            job.patches = patches.measure(crop, points, parts)
            if job.glasses:  # a frame would be measured in place of the lashes
                job.tones[tones.LASHES] = np.nan
        if self.recognizer is not None and options.privacy:
            job.identity = self.recognizer.describe(crop, points)
            if not np.isfinite(job.identity).all():  # the sampler would push away from nobody
                raise ValueError("the recognizer gives no numbers")
        small = cv2.resize(crop, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
        self._measure_light(small, points * (SMALL / LOOK_SIZE), job, options)
        if job.toning is not None:  # the photo does not show the hue of the skin
            job.goal[[AT["skinA"], AT["skinB"]]] = np.nan

    def measure_light(self, pixels: np.ndarray, job: FaceJob, options: Options, size: int = SMALL) -> None:
        """Takes from an original face its light and skin colour alone, in a crop of a size; see [`measure_face`]."""
        assert job.face.landmarks is not None
        matrix = align(job.face.landmarks, size)
        self._measure_light(warp_in(pixels, matrix, size), transform(job.face.landmarks, matrix), job, options)

    def _measure_light(self, small: np.ndarray, points: np.ndarray, job: FaceJob, options: Options) -> None:
        job.toning = toning(small)
        if self.lighting_transfer is not None and options.lighting_strength:
            job.lighting = self.lighting_transfer.estimate(small, points)
        if self.skin_color_transfer is not None and options.color_strength:
            job.color = self.skin_color_transfer.estimate(small, regions.skin_region(points, len(small)))

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
        covers = [
            blending.ellipse(face.box, canvas.shape) if job is None else job.core
            for face, job in zip(hidden, jobs, strict=True)
        ]
        photo = replace(photo, alpha=transparency.closed(photo.alpha, covers))
        scene = Scene(photo, canvas, [job for job in jobs if job is not None], list(zones))
        for face, job in zip(hidden, jobs, strict=True):
            if job is None:
                blending.obfuscate(canvas, face.box, options.fallback)
                face.status = FaceStatus.OBFUSCATED
        if len(scene.jobs) < len(jobs):  # what is blurred later must not bring back what is hidden here
            scene.photo = replace(photo, pixels=canvas.copy())
        blending.erase(canvas, [job.core for job in scene.jobs])
        if options.context_blur:
            for job in scene.jobs:
                height = float(np.ptp(job.points[lm.OVAL, 1]))
                blending.soften(canvas, job.hidden, job.matrix, *job.core, height, options.context_blur, kept)
        crops = each(lambda job: warp_in(canvas, job.matrix, job.size), scene.jobs)
        for job, crop in zip(scene.jobs, crops, strict=True):
            job.surroundings = crop
        if options.attributes == "surroundings" and self.surroundings_encoder is not None:
            failed = [job for job in scene.jobs if not self._read_surroundings(self.surroundings_encoder, job)]
            for job in sorted(failed, key=lambda job: job.face.size):  # a small one in a large one first
                blending.obfuscate(canvas, job.face.box, options.fallback, scene.photo.pixels)
                job.face.status = FaceStatus.OBFUSCATED
            _close_transparency(scene, failed)
            scene.jobs = [job for job in scene.jobs if job.face.status is not FaceStatus.OBFUSCATED]
        return scene

    @staticmethod
    def _read_surroundings(encoder: SurroundingsEncoder, job: FaceJob) -> bool:
        """Completes a job's goal by what is left of the photo; False, and the face's reason, where that fails."""
        try:
            encoder.complete(job.goal, job.surroundings, job.points, job.hidden)
            return True
        except Exception as error:
            logger.exception("reading the surroundings of a face failed; it is obfuscated")
            job.face.reason = f"reading the surroundings failed: {error}"
            return False

    @torch.no_grad()
    def draw_faces(
        self,
        jobs: Sequence[FaceJob],
        options: Options,
        callback: Callback | None = None,
        callback_tensors: Sequence[str] = (),
        advance: Callable[[int], Any] = lambda count: None,
    ) -> list[NewFace | None]:
        """Draws any number of faces, batch by batch; what fails is None, and the face's reason says why.

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
        faces: list[NewFace | None] = []
        for step, start in enumerate(range(0, len(jobs), options.batch_size)):
            batch = jobs[start : start + options.batch_size]
            trials = self._draw_or_fail(batch, options)
            faces += [trial.face for trial in trials]
            if callback is not None:
                none = torch.zeros(self.generator.config.style_size)
                styles = torch.stack([none if trial.drawn is None else trial.drawn.style for trial in trials])
                tensors = {"styles": styles}
                callback(self, step, start + len(batch), {name: tensors[name] for name in callback_tensors})
            advance(len(batch))
        return faces

    def _draw_or_fail(self, jobs: Sequence[FaceJob], options: Options) -> list[Trial]:
        """As [`draw_batch`]; the originals are erased already, so a face whose drawing fails stays hidden."""
        try:
            trials = self.draw_batch(jobs, options)
            each(lambda pair: self._bring_tones(*pair), zip(jobs, trials, strict=True))
            return trials
        except Exception as error:
            if len(jobs) > 1:  # a face that fails takes no other along
                return [one for job in jobs for one in self._draw_or_fail([job], options)]
            logger.exception("drawing a face failed; it is obfuscated")
            jobs[0].face.reason = f"generation failed: {error}"
            return [Trial()]

    @staticmethod
    def _bring_tones(job: FaceJob, trial: Trial) -> None:
        """Brings brows, irises, lips and haze of the original to the face that was chosen for it, in place."""
        if (face := trial.face) is not None and job.tones is not None:
            face.picture = tones.match(face.picture, face.points, face.parts, job.tones)

    def draw_batch(self, jobs: Sequence[FaceJob], options: Options) -> list[Trial]:
        """Draws a batch, and again with other seeds what has faults, up to `ATTEMPTS` times in all.

        What does not fit at all, or has `GRAVE` faults, is drawn up to `MOST_ATTEMPTS` times.

        Returns:
            `list[Trial]`: for each job the best one.
        """
        best = [Trial() for _ in jobs]
        unsettled = list(range(len(jobs)))
        for attempt in range(MOST_ATTEMPTS):
            waiting = [jobs[number] for number in unsettled]
            drawn = self.sample(waiting, [job.seed(attempt) for job in waiting], options, attempt)
            faces = each(lambda pair: self.fit_face(*pair), zip(waiting, drawn, strict=True))
            for number, face, one in zip(unsettled, faces, drawn, strict=True):
                held = best[number].face
                if face is not None and (held is None or face.faults < held.faults):
                    best[number] = Trial(face, one, attempt)
            borne = 0.0 if attempt + 1 < ATTEMPTS else GRAVE
            unsettled = [n for n in unsettled if (face := best[n].face) is None or face.faults > borne]
            if not unsettled:
                break
        for number in unsettled:
            if best[number].face is None:
                jobs[number].face.reason = f"no drawn face fits in {MOST_ATTEMPTS} attempts"
        return each(lambda pair: self._in_full(*pair), zip(jobs, best, strict=True))

    def _in_full(self, job: FaceJob, trial: Trial) -> Trial:
        """Draws a trial's person again, as large as the crop, if it was drawn smaller."""
        face, drawn = trial.face, trial.drawn
        if face is None or drawn is None or face.aim is None or len(drawn.picture) == job.size:
            return trial
        mesh = replace(drawn.mesh, points=drawn.mesh.points * np.float32(job.size / len(drawn.picture)))
        picture = self.generator.render(drawn.style[None], job.size)[0]
        placed = placing.warp(picture, mesh.points, face.aim, job.size)
        return replace(trial, face=replace(face, picture=placed), drawn=replace(drawn, picture=picture, mesh=mesh))

    def sample(
        self, jobs: Sequence[FaceJob], seeds: Sequence[int], options: Options, attempt: int = 0
    ) -> list[Drawn | None]:
        """Draws persons of given seeds who show what the originals do, in `DRAFT` pixels at most.

        See [`StyleSampler.sample`].

        A push makes children older: with each attempt they are pushed less. So are all from the `ATTEMPTS`-th on, as
        what they were drawn with before looked strange.
        """
        people = self.sampler.people(self.generator, seeds)
        nobody = np.full(EMBEDDING, np.nan)
        estimator = self.attribute_estimator
        drawn: list[Drawn | None] = [None] * len(jobs)
        softer = options.privacy * (1 - min(attempt / ATTEMPTS, 2 / 3))
        pushed = options.privacy if attempt < ATTEMPTS else options.privacy / 2
        kinds = [(min(job.size, DRAFT), softer if is_child(job.goal) else pushed) for job in jobs]
        for size, privacy in sorted(set(kinds)):
            numbers = [number for number, kind in enumerate(kinds) if kind == (size, privacy)]
            found = self.sampler.sample(
                np.array([jobs[n].goal for n in numbers]),
                np.array([nobody if (own := jobs[n].identity) is None else own for n in numbers]),
                people[numbers],
                functools.partial(self.generator.render, size=size),
                self.landmark_extractor.read,
                privacy,
                None if estimator is None else estimator.read,
                options.truncation,
                None if self.recognizer is None else self.recognizer.describe,
            )
            for number, one in zip(numbers, found, strict=True):
                drawn[number] = one
        return drawn

    def draw_people(self, seeds: Sequence[int]) -> torch.Tensor:
        """Styles `(B, style_size)` of people whom nothing is asked of, truncated as configured: for sheets."""
        mean = self.sampler.mean.to(self.generator.mean_style)
        return torch.lerp(mean, self.sampler.people(self.generator, seeds), self.sampler.config.truncation)

    def fit_face(self, job: FaceJob, drawn: Drawn | None) -> NewFace | None:
        """Lays a drawn face where the original's is; None where it does not fit."""
        if drawn is None or drawn.error > MAX_ERROR or drawn.likeness > MAX_LIKENESS or grown_up(job.goal, drawn.look):
            return None
        placed = placing.place(drawn.mesh.points, drawn.mesh.pose, job.points, job.pose)
        if placing.distortion(drawn.mesh.points, placed) > MAX_DISTORTION:
            return None
        picture = placing.warp(drawn.picture, drawn.mesh.points, placed, job.size)
        seen = self.landmark_extractor.read(picture)
        parts = self.parser.parse(picture)
        if drawn.look[AT["glasses"]] > 0:
            parts = seam.frames_as_skin(parts, placed, job.size)
        (covered, torn), bent = seam.covered(parts, placed, job.size), _bent(seen, placed, job.pose)
        if seen is None or covered > MAX_COVERED or torn > MAX_TORN or bent > MAX_BENT:
            return None
        aim = placing.aim(placed, seen.points)
        picture = placing.warp(drawn.picture, drawn.mesh.points, aim, job.size)
        faults = strangeness(job.goal, drawn.look)
        faults += max(0.0, drawn.error / GOOD_ERROR - 1) + max(0.0, covered / GOOD_COVERED - 1) / 4
        faults += max(0.0, torn / GOOD_TORN - 1) / 2
        return NewFace(picture, placed, parts, faults + max(0.0, bent / GOOD_BENT - 1), aim)

    def draw_person(self, job: FaceJob, options: Options) -> Person | None:
        """Draws a person who is to move as an original does, see [`reenactment`]; None, and a reason, where none fits.

        Args:
            job (`FaceJob`):
                From [`prepare_scene`]: the frame in which the original is calmest.
            options ([`Options`]):
                From [`resolve`].
        """
        goal, seed = at_rest(self.sampler.tempered(job.goal, CALM)), job.seed(0)
        best, least = None, math.inf
        for number in range(AUDITIONS):
            face = replace(job.face, seed=derived_seed(seed, MOST_ATTEMPTS + number) if number else seed)
            (trial,) = self.draw_batch([replace(job, face=face, goal=goal)], options)
            person = None if trial.drawn is None else self._person(trial.drawn, job)
            if person is None:
                job.face.reason = face.reason
                continue
            stiff = self._stiffness(person) + min(GOOD_STIFF, max(0.0, teeth_shown(person.parts) - BARE) / 10)
            if stiff < least:
                best, least = person, stiff
            if least < GOOD_STIFF:
                break
        return best if least < MAX_STIFF else None

    def _person(self, drawn: Drawn, job: FaceJob) -> Person:
        read, estimator = self.landmark_extractor.read, self.attribute_estimator
        layers = (*EXPRESSIVE_LAYERS, self.generator.style_layers)
        render = functools.partial(self.generator.render, size=job.size)
        varied = self.sampler.vary(drawn, opened(drawn.look), layers, render, read, estimator and estimator.read)
        styles = drawn.style.expand(self.generator.style_layers, -1)
        face, parts = self._toned(Picture(drawn.picture, drawn.mesh.points, styles), job.tones)
        mouth = None if varied is None else Picture(varied[1], varied[2].points, varied[0])
        mouth = mouth and self._toned(mouth, job.tones)[0]
        return Person(face, drawn.mesh.pose, parts, mouth, job.points, job.pose, job.tones)

    def _toned(self, picture: Picture, wanted: np.ndarray | None) -> tuple[Picture, np.ndarray]:
        """A picture whose brows, irises and lips are as dark as the original's, and its parts."""
        parts = self.parser.parse(picture.pixels)
        if wanted is not None:
            picture = replace(picture, pixels=tones.match(picture.pixels, picture.points, parts, wanted))
        return picture, parts

    def _stiffness(self, person: Person) -> float:
        """How far lips and lids are seen from where they are moved, in parts of the mesh's longer side."""
        errors = []
        for mesh in reenactment.trials(person):
            placed = reenactment.move(person, mesh)
            seen = self.landmark_extractor.read(reenactment.show(person, placed, person.size)[0])
            if seen is None:
                return math.inf
            away = np.linalg.norm(seen.points[:, :2] - placed[:, :2], axis=1)
            errors.append(away[EXPRESSIVE].mean() / np.ptp(placed[:, :2], axis=0).max())
        return float(max(errors))

    def refine_person(self, person: Person, size: int) -> Person:
        """The same person in larger pictures; as they are, where these show no face."""
        read = self.landmark_extractor.read

        def larger(picture: Picture) -> tuple[Picture, np.ndarray, FaceMesh] | None:
            pixels = self.generator.render(picture.styles[None], size)[0]
            mesh = read(pixels)
            if mesh is None:
                return None
            return *self._toned(Picture(pixels, mesh.points, picture.styles), person.tones), mesh

        found = larger(person.face)
        if found is None:
            return person
        face, parts, mesh = found
        mouth = None if person.mouth is None else larger(person.mouth)
        return replace(
            person, face=face, pose=mesh.pose, parts=parts, mouth=person.mouth if mouth is None else mouth[0]
        )

    def show_person(self, job: FaceJob, person: Person | None) -> NewFace | None:
        """A drawn person's face in the place of the original's; None, and a reason, where it would be torn."""
        if person is None:
            job.face.reason = job.face.reason or "no drawn face fits"
            return None
        placed = reenactment.move(person, job.points)
        if placing.distortion(person.face.points, placed) > MOST_MOVED:
            job.face.reason = "the new face would be torn"
            return None
        return NewFace(*reenactment.show(person, placed, job.size), luminance=person.luminance)

    def compose(
        self,
        scene: Scene,
        faces: Sequence[NewFace | None],
        options: Options,
        checked: bool = True,
        small: int = SMALL,
    ) -> Scene:
        """Gives new faces the light and colour of the old ones, and lays them into the erased photo.

        Args:
            scene ([`Scene`]):
                From [`prepare_scene`]; it stays as it is.
            faces (`list[NewFace]`):
                For each of its jobs, from [`draw_faces`]; None where it failed.
            options ([`Options`]):
                From [`resolve`]. A post-processor of strength 0 is left out.
            checked (`bool`, *optional*, defaults to `True`):
                Look at each new face, and obfuscate what did not come out as one.
            small (`int`, *optional*, defaults to `256`):
                Side of the crop at most, in pixels, in which light and colour are worked out.

        Returns:
            [`Scene`]: a copy whose canvas shows the new faces; those that failed are obfuscated.
        """

        def composed(pair: tuple[FaceJob, NewFace | None]) -> tuple[FaceJob, np.ndarray]:
            job, new = pair
            if new is None:
                return replace(job, new=None, composed=None), job.hidden
            try:
                picture = self.correct(job, new, options, small)
                lacks = new.grain or grain.measure(picture, job.surroundings, job.hidden, new.points)
                new, picture = replace(new, grain=lacks), grain.match(picture, lacks)
                crop, opacity = seam.compose(job.surroundings, job.hidden, job.skin, picture, new.parts, new.points)
                if checked and self._is_broken(job, crop, opacity, new):
                    job.face.reason = "the new face did not come out as one"
                    return replace(job, new=None, composed=None), job.hidden
                if job.over.any():
                    crop = seam.draw_overhang(crop, job.over, job.surroundings, job.hidden, job.skin)
                if job.cloth is not None:
                    crop = job.cloth.over(crop)
                if job.toning is not None:
                    crop = tone(crop, job.toning)
                return replace(job, new=new, composed=crop), opacity
            except Exception as error:
                logger.exception("composing a face failed; it is obfuscated")
                job.face.reason = f"composing failed: {error}"
                return replace(job, new=None, composed=None), job.hidden

        results = each(composed, zip(scene.jobs, faces, strict=True))
        canvas = scene.canvas.copy()
        for job, opacity in sorted(results, key=lambda result: result[0].face.size):  # far away ones first
            if job.composed is None:
                blending.obfuscate(canvas, job.face.box, options.fallback, scene.photo.pixels)
                job.face.status = FaceStatus.OBFUSCATED
            else:
                blending.paste(canvas, job.composed, opacity, job.matrix, *job.core)
                job.face.status = FaceStatus.ANONYMIZED
                enlarged = 1 / np.hypot(*job.matrix[0, :2])
                if enlarged > ENLARGED:
                    job.face.reason = f"enlarged {enlarged:.1f} times: it is larger than what is drawn"
        for left, top, right, bottom in scene.zones:  # where a new face reaches into one
            canvas[top:bottom, left:right] = scene.photo.pixels[top:bottom, left:right]
        done = replace(scene, canvas=canvas, jobs=[job for job, _ in results])
        _close_transparency(done, [job for job in done.jobs if job.composed is None])
        return done

    def _is_broken(self, job: FaceJob, crop: np.ndarray, opacity: np.ndarray, new: NewFace) -> bool:
        seen = job.surroundings + opacity[..., None] * (crop.astype(np.float32) - job.surroundings)
        mesh = self.landmark_extractor.read(seen.round().astype(np.uint8))
        return _bent(mesh, new.points, job.pose) > BROKEN

    def correct(self, job: FaceJob, new: NewFace, options: Options, small: int = SMALL) -> np.ndarray:
        """Runs the photometric post-processors on a new face; returns its picture `(S, S, 3)`, uint8."""
        size = min(job.size, small)
        before = cv2.resize(new.picture, (size, size), interpolation=cv2.INTER_AREA)
        points, changed = new.points * (size / job.size), before
        region = cv2.GaussianBlur(regions.face_region(points, size).astype(np.float32), (0, 0), 0.012 * size)
        if self.lighting_transfer is not None and job.lighting is not None and options.lighting_strength:
            changed = self.lighting_transfer(
                changed, points, region, job.lighting, options.lighting_strength, new.luminance
            )
        if self.skin_color_transfer is not None and job.color is not None and options.color_strength:
            skin, neutral = regions.skin_region(points, size), regions.eyes_and_mouth(points, size)
            changed = self.skin_color_transfer(changed, skin, region, job.color, options.color_strength, neutral)
        if job.patches is not None and new.luminance is None:  # read off each frame of a video, they would flicker
            strengths = options.lighting_strength, options.color_strength
            changed = patches.match(changed, points, new.parts, region, job.patches, *strengths)
        return seam.carry(new.picture, before, changed)

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
            CheckpointError: there is no such folder or repository; a file of it is missing, damaged, no regular file,
                or holds a value that is out of its range; or it is of an earlier kind, whose generator was a U-Net.
        """
        start_work()
        kwargs.setdefault("low_cpu_mem_usage", is_accelerate_available())  # asked for without it, diffusers complains
        checkpoint = str(pretrained_model_name_or_path)
        try:
            with loading(checkpoint):
                return super().from_pretrained(checkpoint, **kwargs)
        except CheckpointError as error:
            if _of_old_kind(checkpoint, kwargs):
                raise CheckpointError(checkpoint, OLD_KIND) from error
            raise

    @classmethod
    def _dict_from_json_file(cls, json_file: str | os.PathLike[str]) -> dict[str, Any]:
        """Reads a folder's index. Diffusers would run its `pipeline.py` even where the class is given: this one."""
        config = super()._dict_from_json_file(json_file)
        if isinstance(config.get("_class_name"), list):
            config["_class_name"] = config["_class_name"][-1]
        return config

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *args: Any, push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """Saves like [`~diffusers.DiffusionPipeline.save_pretrained`], without the paths it was loaded from.

        `variant="fp16"` or `"bf16"` writes weights in that precision, whatever they are in. The folder names the class
        in the manner of diffusers' community pipelines: `DiffusionPipeline.from_pretrained` finds it with
        `trust_remote_code=True`, where faceanon-hub is installed.
        """
        names = ("repo_id", "commit_message", "private", "create_pr", "token")
        hub = {name: kwargs.pop(name) for name in names if name in kwargs}
        # diffusers writes where a component came from, which is a folder of the user's machine.
        parts = [(part, part.config) for part in (self, *self.components.values()) if part is not None]
        networks = [part for part in self.components.values() if isinstance(part, torch.nn.Module)]
        tensors = [tensor for part in networks for tensor in (*part.parameters(), *part.buffers())]
        values = [tensor.data for tensor in tensors]
        try:
            if (dtype := PRECISIONS.get(str(kwargs.get("variant")))) is not None:
                for tensor in tensors:
                    tensor.data = tensor.data.to(dtype) if tensor.is_floating_point() else tensor.data
            for part, config in parts:
                kept = {name: value for name, value in config.items() if name != "_name_or_path"}
                part._internal_dict = FrozenDict(kept)  # noqa: SLF001 - diffusers has no public way to drop a value
            super().save_pretrained(save_directory, *args, **kwargs)
        finally:
            for part, config in parts:
                part._internal_dict = config  # noqa: SLF001
            for tensor, value in zip(tensors, values, strict=True):
                tensor.data = value
        index = Path(save_directory, self.config_name)
        content = {**read_json(index), "_class_name": [Path(PIPELINE_FILE).stem, type(self).__name__]}
        index.write_text(json.dumps(content, indent=2) + "\n")
        Path(save_directory, PIPELINE_FILE).write_text(PIPELINE_CODE)
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
            licence (`str`, *optional*):
                Of the weights, see [`hub.make_card`].
            sheet (`PIL.Image.Image`, *optional*):
                Uploaded and shown on the card: of nobody who has not agreed to it.

        Returns:
            `str`: address of the commit.

        Raises:
            UnmeasuredError: the generator was trained, and how near its people come to the training photos is unknown.
        """
        check_measured(self, repo_id)
        repo_id = create_repo(repo_id, private=private, token=token, exist_ok=True).repo_id
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, safe_serialization=safe_serialization, variant=variant)
            if sheet is not None:
                sheet.save(Path(folder, SHEET))
            if not file_exists(repo_id, "README.md", token=token):
                summary = None if evaluation is None else read_json(evaluation)
                card = make_card(repo_id, summary, licence, sheet is not None, describe(self))
                card.save(Path(folder, "README.md"))
            return self._upload_folder(
                folder, repo_id, token=token, commit_message=commit_message, create_pr=create_pr
            )


def _of_old_kind(checkpoint: str, options: dict[str, Any]) -> bool:
    """Whether a checkpoint that cannot be loaded has a generator, but no sampler for it."""
    try:  # what there is of it has been downloaded
        index = component_file(checkpoint, None, "model_index.json", **{**options, "local_files_only": True})
        parts = read_json(index)
    except (FaceAnonError, OSError, ValueError):
        return False
    return "generator" in parts and "sampler" not in parts


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


def _bent(mesh: FaceMesh | None, points: np.ndarray, pose: np.ndarray) -> float:
    """How far from its place a face is seen, in parts of the mesh's longer side; infinite where none is seen.

    Meshes of a head that is turned far are less sure, so there it counts less.
    """
    if mesh is None:
        return math.inf
    away = np.linalg.norm(mesh.points[:, :2] - points[:, :2], axis=1).mean()
    yaw = abs(math.degrees(math.atan2(pose[0, 2], pose[2, 2])))
    unsure = 1 + 0.7 * min(1.0, max(0.0, (yaw - TURNED) / 20))
    return float(away / np.ptp(points[:, :2], axis=0).max() / unsure)


def _close_transparency(scene: Scene, failed: Sequence[FaceJob]) -> None:
    """Makes a scene opaque where faces are obfuscated."""
    covers = [blending.ellipse(job.face.box, scene.canvas.shape) for job in failed]
    scene.photo = replace(scene.photo, alpha=transparency.closed(scene.photo.alpha, covers))


def _strength(component: LightingTransfer | SkinColorTransfer | None) -> float:
    return 0.0 if component is None else component.config.strength


def _upright(pose: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A rotation (3, 3) in the photo, y up, as it is seen in a crop."""
    cosine, sine = matrix[0, :2] / np.hypot(*matrix[0, :2])
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    return (turn @ pose).astype(np.float32)


def _output(scene: Scene, output_type: str) -> Any:
    if output_type == "pil":
        return scene.photo.with_pixels(scene.canvas)
    alpha = scene.photo.alpha
    floats = (scene.canvas if alpha is None else np.dstack([scene.canvas, alpha])).astype(np.float32) / 255
    return floats if output_type == "np" else torch.from_numpy(floats).permute(2, 0, 1).contiguous()
