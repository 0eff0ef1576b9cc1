"""Measures how well methods anonymize the photos of a folder, photo by photo; `report` makes tables of it."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from .. import metrics
from ..alignment import align, invert, transform, warp_in
from ..blending import compositing as blending
from ..blending import regions
from ..errors import FaceAnonError, UnreadableImageError
from ..faces import Face, derived_seed, largest_face
from ..files import write_arrays
from ..hub import DEFAULT_ROW
from ..io.photos import PHOTO_SUFFIXES, Photo, read_photo
from ..loading import load
from ..pipeline import FaceAnonPipeline
from ..processes import process_pool, run_task
from ..runs import claim_folder
from ..scene import deal_seeds

UPSIDE_DOWN = 90.0  # degrees: a mesh turned further is none of this face, and counts as a failure
CROP = 128  # pixels of the crop in which light and colour are measured
CHILD, ADULT = 14, 18  # years: younger than the one, at least the other
QUALITY = 90  # of the JPEG through which the row "original" goes


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Args:
        kind (`str`):
            `"original"` re-encodes the photo and shifts it by a pixel: what the estimators themselves scatter;
            `"shuffled"` takes the face of another photo: what chance gives; `"blur"` and `"mosaic"` hide the face in
            its box; `"pipeline"` replaces it.
        options (`dict`, *optional*):
            For `"pipeline"`: fields of [`Options`] by name, where they are not the defaults.
    """

    kind: Literal["original", "shuffled", "blur", "mosaic", "pipeline"]
    options: dict[str, Any] = field(default_factory=dict, hash=False)


DEFAULT = DEFAULT_ROW  # the pipeline's default settings
METHODS: dict[str, Method] = {
    "original": Method("original"),
    "shuffled pairs": Method("shuffled"),
    "blur": Method("blur"),
    "mosaic": Method("mosaic"),
    DEFAULT: Method("pipeline"),
    "no light": Method("pipeline", {"lighting_strength": 0.0}),
    "no colour": Method("pipeline", {"color_strength": 0.0}),
    "no post-processors": Method("pipeline", {"lighting_strength": 0.0, "color_strength": 0.0}),
    "privacy 0": Method("pipeline", {"privacy": 0.0}),
    "privacy 0.5": Method("pipeline", {"privacy": 0.5}),
    "privacy 1": Method("pipeline", {"privacy": 1.0}),
    "attributes from surroundings": Method("pipeline", {"attributes": "surroundings"}),
    "attributes free": Method("pipeline", {"attributes": "none"}),
}
STRENGTHS = ("lighting_strength", "color_strength")  # act on a drawn face, without drawing it again
DIVERSITY_STEP = 5  # every fifth photo is anonymized with a second seed


@dataclass(frozen=True)
class Task:
    """A photo to measure: where it is, who is on it, and a photo of somebody else."""

    number: int
    path: Path
    identity: str
    mated: bool
    partner: Path


def find_photos(folders: Iterable[Path], pairs: bool, limit: int | None = None) -> list[Task]:
    """Lists the photos below folders, sorted.

    Args:
        folders (`list[Path]`):
            Where to look.
        pairs (`bool`):
            Whether the photos of one subfolder show one person.
        limit (`int`, *optional*):
            Take so many, people whole and spread over all.

    Raises:
        UnreadableImageError: a folder does not exist or holds no photo.
    """
    people: dict[str, list[Path]] = {}
    for folder in folders:
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
        if not found:
            raise UnreadableImageError(folder, "holds no photo" if folder.is_dir() else "is no folder")
        for path in found:
            alone = not pairs or path.parent == folder
            people.setdefault(str(path if alone else path.parent), []).append(path)
    names = list(people)
    if limit is not None:
        random.Random(0).shuffle(names)
        counts = np.cumsum([len(people[name]) for name in names])
        names = sorted(names[: int((counts < limit).sum()) + 1])
    chosen = [(name, path) for name in names for path in people[name]]
    half = len(chosen) // 2
    return [
        Task(i, path, name, len(people[name]) > 1, chosen[(i + half) % len(chosen)][1])
        for i, (name, path) in enumerate(chosen)
    ]


class Evaluator:
    """Anonymizes one face by every method and measures it.

    Args:
        pipe ([`FaceAnonPipeline`]):
            What is evaluated.
        methods (`list[str]`):
            Names in `METHODS`.
        seed (`int`, *optional*, defaults to `0`):
            With the number of a photo, the seed of its new identity.
        recognizer (`Callable`, *optional*):
            See [`metrics.Recognizer`]; dlib's unless given.
        inception (`str`, *optional*):
            File of the network for FID and KID, see [`metrics.InceptionFeatures`].
        judge (`str`, *optional*):
            File of the network that estimates apparent sex and age, see [`metrics.FaceResJudge`].
    """

    def __init__(
        self,
        pipe: FaceAnonPipeline,
        methods: list[str],
        seed: int = 0,
        recognizer: metrics.Recognizer | None = None,
        inception: str | None = None,
        judge: str | None = None,
    ) -> None:
        self.pipe, self.methods, self.seed = pipe, methods, seed
        self.recognizer = recognizer or metrics.DlibRecognizer()
        self._judge = None if judge is None else metrics.FaceResJudge(judge)
        self._inception = None if inception is None else metrics.InceptionFeatures(inception)

    @cached_property
    def _features(self) -> metrics.EfficientNetFeatures:
        return metrics.EfficientNetFeatures()

    @cached_property
    def _independent(self) -> metrics.DlibFaces:
        return metrics.DlibFaces()

    def __call__(self, task: Task) -> dict[str, Any]:
        """Measures the largest face of a photo.

        Returns:
            `dict`: `"photo"` with what holds for all methods; for each method `"values"`, numbers by metric, and
            arrays `"embedding"`, `"feature"` and `"inception"`; or `"failed"`, a reason.
        """
        try:
            return self._record(task)
        except UnreadableImageError as error:
            return {"failed": f"unreadable: {error.cause}"}
        except FaceAnonError as error:
            return {"failed": str(error)}

    def _record(self, task: Task) -> dict[str, Any]:
        photo = read_photo(task.path)
        faces = self.pipe.find_faces(photo.pixels)
        face = largest_face(faces)
        if face is None or face.landmarks is None:
            return {"failed": "no face with landmarks was found"}
        points = face.landmarks
        geometry = Geometry(photo, face, points)
        if not geometry.skin.any():
            return {"failed": "no skin is seen on the face"}
        others = self._independent(photo.pixels)
        seen = metrics.covered(others, np.array([f.box for f in faces])) if len(others) else np.empty(0)
        record: dict[str, Any] = {
            "photo": {
                "tone": metrics.skin_tone(metrics.median_skin(geometry.crop, geometry.skin)),
                "independent": len(others),
                "covered": int(seen.sum()),
                "hidden": len(faces),
            },
            "methods": {},
        }
        apparent = None if self._judge is None else self._judge(photo.pixels, points)
        embed = self.recognizer if task.mated else None
        if embed is not None:
            record["embedding"] = embed(photo.pixels, points)
        results = {result[0]: result[1:] for result in self._results(geometry, self._seed(task))}
        crops = [geometry.crop]
        for name in self.methods:
            method = METHODS[name]
            if method.kind == "shuffled":
                measured = self._shuffled(task, geometry, apparent)
                if measured is None:
                    continue
            else:
                pixels, mesh, skin, replaced = results[method]
                measured = self._measured(geometry, pixels, mesh, skin, others)
                if method.kind == "pipeline":
                    measured[0]["replaced"] = float(replaced)
                if self._judge is not None and apparent is not None:
                    measured[0].update(attribute_values(self._judge(pixels, points), apparent))
            row: dict[str, Any] = {"values": measured[0]}
            if embed is not None and method.kind not in ("original", "shuffled"):
                row["embedding"] = embed(results[method][0], points)
            crops.append(measured[1])
            record["methods"][name] = row
        self._describe(record, crops)
        if embed is not None and DEFAULT in self.methods and task.number % DIVERSITY_STEP == 0:
            ((_, second, *_),) = self._results(geometry, self._seed(task) + 1, only=METHODS[DEFAULT])
            record["second"] = embed(second, points)
        return record

    def _describe(self, record: dict[str, Any], crops: list[np.ndarray]) -> None:
        """Adds the features of the original's crop and of those of the methods to a record."""
        for key, describe in (("feature", self._features), ("inception", self._inception)):
            if describe is not None:
                features = describe(crops)
                record[key] = features[0]
                for name, feature in zip(record["methods"], features[1:], strict=True):
                    record["methods"][name][key] = feature

    def _measured(
        self, geometry: Geometry, pixels: np.ndarray, points: np.ndarray, skin: np.ndarray, others: np.ndarray
    ) -> tuple[dict[str, float], np.ndarray]:
        """Numbers of a result with its mesh and skin, and its crop; an independent detector saw `others` before."""
        crop = warp_in(pixels, geometry.matrix, geometry.size)
        found = self._again(pixels, geometry.face)
        seen = metrics.dlib_landmarks(pixels, transform(points, invert(geometry.matrix)))
        values = {
            "redetected": float(found is not None),
            "redetected_independent": _seen_again(others, self._independent(pixels), geometry.face),
            "border": metrics.border_gradient_ratio(crop, geometry.crop, geometry.region),
            "expression_dlib": metrics.procrustes_error(seen, geometry.independent),
            **geometry.color_and_light(crop, skin, geometry.in_crop(seen)),
        }
        if found is not None and found.landmarks is not None:
            shape = _shape_values(found, geometry.face)
            if shape["pose"] < UPSIDE_DOWN:
                values |= shape
        return values, crop

    def _shuffled(
        self, task: Task, geometry: Geometry, apparent: np.ndarray | None
    ) -> tuple[dict[str, float], np.ndarray] | None:
        """Numbers of another photo's face in place of this one, and its crop; None where it shows no face."""
        try:
            photo = read_photo(task.partner)
        except UnreadableImageError:
            return None
        face = largest_face(self.pipe.find_faces(photo.pixels))
        if face is None or face.landmarks is None:
            return None
        other = Geometry(photo, face, face.landmarks)
        values = {
            **_shape_values(face, geometry.face),
            "expression_dlib": metrics.procrustes_error(other.independent, geometry.independent),
            **geometry.color_and_light(other.crop, other.skin, other.in_crop(other.independent)),
        }
        if self._judge is not None and apparent is not None:
            values |= attribute_values(self._judge(photo.pixels, face.landmarks), apparent)
        return values, other.crop

    def anonymized(self, task: Task, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Crops (S, S, 3) of the original and of what a method made of it, for looking at."""
        photo = read_photo(task.path)
        face = largest_face(self.pipe.find_faces(photo.pixels))
        assert face is not None and face.landmarks is not None
        geometry = Geometry(photo, face, face.landmarks)
        ((_, pixels, *_),) = self._results(geometry, self._seed(task), only=METHODS[name])
        return geometry.crop, warp_in(pixels, geometry.matrix, geometry.size)

    def _seed(self, task: Task) -> int:
        """One for each photo: the same for all would draw the same person everywhere."""
        return derived_seed(self.seed, task.number)

    def _again(self, pixels: np.ndarray, face: Face) -> Face | None:
        """The face as it is found in the result."""
        found = self.pipe.find_faces(pixels)
        again = [f for f in found if metrics.redetected(face.box[None], f.box[None])[0]]
        return max(again, key=lambda f: f.score, default=None)

    def _results(
        self, geometry: Geometry, seed: int, only: Method | None = None
    ) -> Iterator[tuple[Method, np.ndarray, np.ndarray, np.ndarray, bool]]:
        """Photos as the methods leave them, mesh and skin in the crop, and whether the face is a new one.

        The network runs once for several.
        """
        wanted = [METHODS[name] for name in self.methods] if only is None else [only]
        pixels = geometry.photo.pixels
        for method in wanted:
            if method.kind == "original":
                ok, code = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
                again = cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1]
                yield method, np.concatenate([again[:, :1], again[:, :-1]], 1), geometry.points, geometry.skin, False
            elif method.kind in ("blur", "mosaic"):
                canvas = pixels.copy()
                blending.obfuscate(canvas, geometry.face.box, method.kind)
                yield method, canvas, geometry.points, geometry.skin, False
        drawn: dict[tuple[Any, ...], list[Method]] = {}
        for method in wanted:
            if method.kind == "pipeline":
                key = tuple(sorted((k, v) for k, v in method.options.items() if k not in STRENGTHS))
                drawn.setdefault(key, []).append(method)
        for key, methods in drawn.items():
            options = self.pipe.resolve(**dict(key))
            face = replace(geometry.face, seed=None)
            deal_seeds([face], seed)
            scene = self.pipe.prepare_scene(geometry.photo, [face], options)
            faces = self.pipe.draw_faces(scene.jobs, options)
            for method in methods:
                result = self.pipe.compose(scene, faces, self.pipe.resolve(**method.options))
                if not result.jobs or result.jobs[0].new is None:  # hidden by the fallback, as it would be
                    yield method, result.canvas, geometry.points, geometry.skin, False
                    continue
                points = transform(
                    transform(result.jobs[0].new.points, invert(result.jobs[0].matrix)), geometry.matrix
                )
                yield method, result.canvas, points, regions.skin_region(points, geometry.size), True


@dataclass
class Geometry:
    """An original face, and where the skin in its crop is."""

    photo: Photo
    face: Face
    landmarks: np.ndarray
    size: int = CROP

    def __post_init__(self) -> None:
        self.matrix = align(self.landmarks, self.size)
        self.points = transform(self.landmarks, self.matrix)
        self.crop = warp_in(self.photo.pixels, self.matrix, self.size)
        self.region = regions.face_region(self.points, self.size)
        self.skin = regions.skin_region(self.points, self.size)

    @cached_property
    def independent(self) -> np.ndarray:
        """Landmarks by dlib, (68, 2), in the photo."""
        return metrics.dlib_landmarks(self.photo.pixels, self.landmarks)

    def in_crop(self, points: np.ndarray) -> np.ndarray:
        """Points of the photo, in pixels of the crop."""
        return transform(points, self.matrix)

    def color_and_light(self, crop: np.ndarray, skin: np.ndarray, independent: np.ndarray) -> dict[str, float]:
        """Errors of skin colour and light in a result's crop, with its skin and dlib's landmarks in it."""
        both = crop, self.crop, independent, self.in_crop(self.independent)
        return {
            **metrics.color_errors(crop, self.crop, skin, self.skin),
            "light": metrics.light_angle(*both),
            "light_distance": metrics.light_distance(*both),
            "side": metrics.side_ratio_error(*both),
        }


def attribute_values(new: np.ndarray, old: np.ndarray) -> dict[str, float]:
    """What became of a face's apparent sex and age, from two of [`metrics.FaceResJudge`].

    Returns:
        `dict[str, float]`: `age`, difference in years; `same_sex`, 0 or 1; and of children, `grown_up`, 0 or 1.
    """
    values = {"age": float(abs(new[1] - old[1])), "same_sex": float((new[0] > 0) == (old[0] > 0))}
    return values | ({"grown_up": float(new[1] >= ADULT)} if old[1] < CHILD else {})


def _shape_values(face: Face, original: Face) -> dict[str, float]:
    """Expression, pose and gaze, from two faces with a mesh."""
    points, reference = face.landmarks, original.landmarks
    assert points is not None and reference is not None
    assert face.blendshapes is not None and original.blendshapes is not None
    ratios = metrics.ratio_errors(points, reference)
    blendshapes = metrics.blendshape_errors(face.blendshapes, original.blendshapes)
    return {
        **{f"blendshapes_{part}": error for part, error in blendshapes.items()},
        "expression": metrics.procrustes_error(points, reference),
        "eyes": (ratios["eye_left"] + ratios["eye_right"]) / 2,
        "mouth": ratios["mouth_open"],
        "smile": ratios["smile"],
        "brows": (ratios["brow_left"] + ratios["brow_right"]) / 2,
        "pose": metrics.pose_error(points, reference),
        "gaze": metrics.gaze_error(points, reference),
    }


def _seen_again(before: np.ndarray, after: np.ndarray, face: Face) -> float:
    """Whether the independent detector, which saw the face, still does; NaN if it did not."""
    if not len(before) or not metrics.covered(before, face.box[None]).any():
        return float("nan")
    mine = before[metrics.covered(before, face.box[None])]
    return float(len(after) > 0 and metrics.redetected(mine, after).any())


def _evaluator(checkpoint: str, methods: list[str], seed: int, inception: str | None, judge: str | None) -> Evaluator:
    return Evaluator(load(checkpoint), methods, seed, inception=inception, judge=judge)


def evaluate(
    tasks: list[Task],
    checkpoint: str,
    methods: list[str],
    state: Path,
    seed: int = 0,
    workers: int = 1,
    on_photo: Callable[[], None] = lambda: None,
    inception: str | None = None,
    judge: str | None = None,
) -> list[dict[str, Any]]:
    """Measures photos in several processes, resuming where an earlier run stopped.

    Args:
        tasks (`list[Task]`):
            From [`find_photos`].
        checkpoint (`str`):
            Folder or Hub id of a pipeline.
        methods (`list[str]`):
            Names in `METHODS`.
        state (`Path`):
            Folder for the records of finished photos. They hold face embeddings, which are biometric: delete it when
            the report is written.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the new identities.
        workers (`int`, *optional*, defaults to `1`):
            Number of processes, of one thread each.
        on_photo (`Callable`, *optional*):
            Called after each photo.
        inception, judge (`str`, *optional*):
            As of [`Evaluator`].

    Returns:
        `list[dict]`: the records of [`Evaluator`], in the order of the tasks.

    Raises:
        CheckpointError: there is no such checkpoint or network.
        FaceAnonError: the folder holds records of a run with other settings, or cannot be made, or a process died.
    """
    settings = {
        "checkpoint": checkpoint,
        "methods": methods,
        "seed": seed,
        "inception": inception,
        "judge": judge,
        "photos": hashlib.sha256("\n".join(str(task.path.resolve()) for task in tasks).encode()).hexdigest(),
    }
    claim_folder(state, settings)
    open_tasks = []
    for task in tasks:
        if _file(state, task).is_file():
            on_photo()
        else:
            open_tasks.append(task)
    if open_tasks:
        with process_pool(workers, _evaluator, checkpoint, methods, seed, inception, judge) as pool:
            waiting = {pool.submit(run_task, task): task for task in open_tasks}
            for done in as_completed(waiting):
                _save(_file(state, waiting[done]), done.result())
                on_photo()
    return [_load(_file(state, task)) for task in tasks]


def _file(state: Path, task: Task) -> Path:
    return state / f"{task.number:06d}.npz"


def _save(path: Path, record: dict[str, Any]) -> None:
    """Writes a record whole or not at all: numbers as JSON, arrays beside it."""
    arrays: dict[str, Any] = {}

    def plain(value: Any, place: str) -> Any:
        if isinstance(value, dict):
            return {key: plain(entry, f"{place}/{key}") for key, entry in value.items()}
        if isinstance(value, np.ndarray):
            arrays[place] = value
            return None
        return value

    text = json.dumps(plain(record, ""))
    write_arrays(path, record=np.array(text), **arrays)


def _load(path: Path) -> dict[str, Any]:
    with np.load(path) as file:
        record = json.loads(str(file["record"]))
        for place in file.files:
            if place != "record":
                *parents, last = place.strip("/").split("/")
                target = record
                for key in parents:
                    target = target[key]
                target[last] = file[place]
    return record
