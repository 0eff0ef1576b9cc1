"""What an attacker sees: embeddings of original and anonymized faces, and the numbers taken from the originals."""

import inspect
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from .. import metrics
from ..alignment import warp_out, window
from ..blending import compositing as blending
from ..errors import FaceAnonError, UnreadableImageError
from ..evaluation.evaluator import STRENGTHS, Geometry, Task, find_photos
from ..faces import Face, largest_face
from ..io.photos import read_photo
from ..loading import load
from ..pipeline import FaceAnonPipeline
from ..processes import process_pool, run_task
from ..scene import FaceJob, deal_seeds

GREY = 128  # of what is hidden round a new face alone
PEOPLE = 6  # with two photos each: fewer cannot be divided into attacked, learned from, and held back
EXPRESSION = {
    "points": "478 points, % of the distance of the eyes",
    "ratios": "eyes, mouth and brows, percentage points",
}
VIEWS = {"whole": "whole picture", "alone": "new face alone"}


@dataclass(frozen=True)
class Setting:
    """One way to anonymize.

    Args:
        kind (`str`):
            `"pipeline"` draws new faces, `"blur"` blurs, `"original"` does nothing.
        options (`dict`):
            Arguments of the pipeline's call.
        one_seed (`bool`):
            Whether all photos have one seed, in place of one each.
    """

    kind: Literal["pipeline", "blur", "original"] = "pipeline"
    options: Mapping[str, Any] = field(default_factory=dict)
    one_seed: bool = False


SETTINGS: dict[str, Setting] = {
    "original": Setting("original"),
    "blur": Setting("blur"),
    "default": Setting(),
    "no post-processors": Setting(options={"lighting_strength": 0.0, "color_strength": 0.0}),
    "one seed": Setting(one_seed=True),
    "wider mask": Setting(options={"mask_margin": 0.06}),
    "soft context": Setting(options={"context_blur": 0.05}),
    "privacy 0": Setting(options={"privacy": 0.0}),
    "privacy 1": Setting(options={"privacy": 1.0}),
    "attributes from surroundings": Setting(options={"attributes": "surroundings"}),
    "attributes free": Setting(options={"attributes": "none"}),
}


@dataclass(frozen=True, eq=False)
class Observations:
    """What is known of N photos. Embeddings and numbers are biometric: they stay in memory.

    Args:
        people (`np.ndarray` of shape `(N,)`, int):
            Who is on each photo, by number.
        faces (`dict`):
            Embeddings of shape `(N, D)` by setting and view; `"original"` is always among the settings.
        numbers (`dict`):
            What the pipeline takes from an original face, of shape `(N, K)`, by name.
        expression (`dict`):
            By setting, errors of the mesh found again, `(N,)`, NaN where none was: `"points"`, see
            [`metrics.procrustes_error`], which a new shape of the face raises, too; and `"ratios"`, the mean of
            [`metrics.ratio_errors`], what eyes, mouth and brows do.
        left_out (`dict`):
            Reasons why photos were left out, and how many.
    """

    people: np.ndarray
    faces: dict[str, dict[str, np.ndarray]]
    numbers: dict[str, np.ndarray]
    expression: dict[str, dict[str, np.ndarray]]
    left_out: dict[str, int]


def known_settings(pipe: type[FaceAnonPipeline] = FaceAnonPipeline) -> list[str]:
    """Names in `SETTINGS` whose options a pipeline's call has."""
    arguments = set(inspect.signature(pipe.__call__).parameters)
    return [name for name, setting in SETTINGS.items() if set(setting.options) <= arguments]


def find_people(folder: Path, limit: int | None = None) -> list[Task]:
    """Lists the photos of people who have two or more, one folder a person.

    Args:
        folder (`Path`):
            Where to look.
        limit (`int`, *optional*):
            Take at most so many: two of as many people as that gives, drawn at random, then a third of each, and so
            on.

    Raises:
        UnreadableImageError: the folder does not exist or holds fewer than six such people.
    """
    people: dict[str, list[Task]] = {}
    for task in find_photos([folder], pairs=True):
        if task.mated:
            people.setdefault(task.identity, []).append(task)
    names = sorted(people)
    if limit is not None:
        random.Random(0).shuffle(names)
        names = names[: limit // 2]
    if len(names) < PEOPLE:
        raise UnreadableImageError(
            folder,
            f"attackers need {PEOPLE} people, a folder with two or more photos for each; there are {len(names)}",
        )
    # The first two of everybody, then the third of everybody, and so on.
    order = sorted(
        (max(place, 1), turn, place) for turn, name in enumerate(names) for place in range(len(people[name]))
    )
    chosen = sorted(people[names[turn]][place].number for _, turn, place in order[:limit])
    tasks = {task.number: task for name in names for task in people[name]}
    return [replace(tasks[number], number=i) for i, number in enumerate(chosen)]


class Capture:
    """Anonymizes the largest face of a photo under every one of `SETTINGS` and describes each result, by dlib's
    recognizer unless another is given.
    """

    def __init__(
        self, pipe: FaceAnonPipeline, settings: list[str], seed: int = 0, recognizer: metrics.Recognizer | None = None
    ) -> None:
        self.pipe, self.settings, self.seed = pipe, settings, seed
        self.recognizer = recognizer or metrics.DlibRecognizer()

    def __call__(self, task: Task) -> dict[str, Any]:
        """Looks at a photo.

        Returns:
            `dict`: `"numbers"`, and for each setting `"whole"`, `"alone"` and `"expression"`, as in [`Observations`];
            or `"failed"`, a reason.
        """
        try:
            photo = read_photo(task.path)
        except UnreadableImageError as error:
            return {"failed": f"unreadable: {error.cause}"}
        face = largest_face(self.pipe.find_faces(photo.pixels))
        if face is None or face.landmarks is None:
            return {"failed": "no face with landmarks was found"}
        geometry = Geometry(photo, face, face.landmarks)
        measured = replace(face)
        job = self.pipe.prepare_job(photo.pixels, measured, self.pipe.resolve())
        if job is None:
            return {"failed": measured.reason}
        record: dict[str, Any] = {"numbers": self._numbers(job, geometry), "settings": {}}
        for name, pixels, mask, matrix in self._results(geometry, task.number):
            inside = _inside(mask, matrix, pixels.shape)
            record["settings"][name] = {
                "whole": self.recognizer(pixels, geometry.landmarks),
                "alone": self.recognizer(np.where(inside[..., None], pixels, np.uint8(GREY)), geometry.landmarks),
                "expression": self._expression(pixels, face),
            }
        return record

    @staticmethod
    def _numbers(job: FaceJob, geometry: Geometry) -> dict[str, np.ndarray]:
        """All that is taken from the original for the new face, each for itself."""
        assert job.tones is not None and job.patches is not None
        # Unknown values are the same for all.
        numbers = {
            "look": np.nan_to_num(job.goal),
            "light": job.lighting,
            "color": job.color,
            "tones": np.nan_to_num(np.r_[job.tones, job.patches.ravel()]),
            "shape": geometry.points[:, :2].ravel(),
        }
        return {name: value for name, value in numbers.items() if value is not None}

    def _results(self, geometry: Geometry, number: int) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
        """Photos as the settings leave them, with the new face's mask and crop. Each face is drawn once."""
        pixels = geometry.photo.pixels
        drawn: dict[tuple[Any, ...], list[str]] = {}
        for name in self.settings:
            setting = SETTINGS[name]
            if setting.kind == "pipeline":
                others = tuple(sorted((k, v) for k, v in setting.options.items() if k not in STRENGTHS))
                drawn.setdefault((others, setting.one_seed), []).append(name)
                continue
            canvas = pixels.copy()
            if setting.kind == "blur":
                blending.obfuscate(canvas, geometry.face.box, "blur")
            yield name, canvas, geometry.region, geometry.matrix
        for (others, one_seed), names in drawn.items():
            face = replace(geometry.face, seed=None)
            deal_seeds([face], self.seed if one_seed else self.seed + 1 + number)
            options = self.pipe.resolve(**dict(others))
            scene = self.pipe.prepare_scene(geometry.photo, [face], options)
            faces = self.pipe.draw_faces(scene.jobs, options)
            for name in names:
                result = self.pipe.compose(scene, faces, self.pipe.resolve(**SETTINGS[name].options))
                if result.jobs and result.jobs[0].composed is not None:
                    (job,) = result.jobs
                    yield name, result.canvas, (job.hidden > 0.5).astype(np.uint8), job.matrix
                else:  # hidden by the fallback, as it would be
                    yield name, result.canvas, geometry.region, geometry.matrix

    def _expression(self, pixels: np.ndarray, face: Face) -> dict[str, float]:
        again = Face(face.box, face.score, face.keypoints)
        self.pipe.find_landmarks(pixels, again)
        assert face.landmarks is not None
        if again.landmarks is None:
            return {"points": np.nan, "ratios": np.nan}
        ratios = metrics.ratio_errors(again.landmarks, face.landmarks)
        points = metrics.procrustes_error(again.landmarks, face.landmarks)
        return {"points": points, "ratios": float(np.mean(list(ratios.values())))}


def _inside(mask: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Where in the photo a crop's hidden region lies, (H, W) bool."""
    left, top, right, bottom = area = window(matrix, len(mask), shape)
    inside = np.zeros(shape[:2], bool)
    if right > left and bottom > top:
        inside[top:bottom, left:right] = warp_out(mask.astype(np.float32), matrix, area, cv2.BORDER_CONSTANT) > 0.5
    return inside


def _capture(checkpoint: str, settings: list[str], seed: int, recognizer: metrics.Recognizer | None) -> Capture:
    return Capture(load(checkpoint), settings, seed, recognizer)


def observe(
    tasks: list[Task],
    checkpoint: str,
    settings: list[str],
    seed: int = 0,
    workers: int = 1,
    recognizer: metrics.Recognizer | None = None,
    on_photo: Callable[[], None] = lambda: None,
) -> Observations:
    """Looks at photos in several processes; nothing of it is written.

    Args:
        tasks (`list[Task]`):
            From [`find_people`].
        checkpoint (`str`):
            Folder or Hub id of a pipeline.
        settings (`list[str]`):
            Names from [`known_settings`].
        seed (`int`, *optional*, defaults to `0`):
            Seed of the new identities.
        workers (`int`, *optional*, defaults to `1`):
            Number of processes, of one thread each.
        recognizer (`Callable`, *optional*):
            See [`metrics.Recognizer`]; dlib's unless given. Processes must be able to pass it on.
        on_photo (`Callable`, *optional*):
            Called after each photo.

    Raises:
        CheckpointError: there is no such checkpoint.
        MissingDependencyError: dlib is not installed.
        FaceAnonError: too few faces were found, or a process died.
    """
    chosen = list(dict.fromkeys(["original", *settings]))
    records = []
    with process_pool(workers, _capture, checkpoint, chosen, seed, recognizer) as pool:
        for record in pool.map(run_task, tasks):
            records.append(record)
            on_photo()
    return gather(tasks, records)


def gather(tasks: list[Task], records: list[dict[str, Any]]) -> Observations:
    """Puts the records of [`Capture`] side by side.

    Raises:
        FaceAnonError: fewer than six people have two photos with a face.
    """
    left_out = Counter(record["failed"] for record in records if "failed" in record)
    seen = [(task, record) for task, record in zip(tasks, records, strict=True) if "failed" not in record]
    counts = Counter(task.identity for task, _ in seen)
    mated = sum(count > 1 for count in counts.values())
    if mated < PEOPLE:
        reasons = "; ".join(f"{count} left out: {reason}" for reason, count in left_out.items()) or "none left out"
        raise FaceAnonError(f"attackers need {PEOPLE} people with a face on two photos; there are {mated} ({reasons})")
    seen = [(task, record) for task, record in seen if counts[task.identity] > 1]
    left_out |= Counter({"no second photo of the person is left": len(tasks) - len(seen) - left_out.total()})
    settings = {name: [record["settings"][name] for _, record in seen] for name in seen[0][1]["settings"]}
    return Observations(
        people=np.unique([task.identity for task, _ in seen], return_inverse=True)[1],
        faces={
            name: {view: np.stack([row[view] for row in rows]).astype(np.float64) for view in VIEWS}
            for name, rows in settings.items()
        },
        numbers={
            kind: np.stack([record["numbers"][kind] for _, record in seen]).astype(np.float64)
            for kind in seen[0][1]["numbers"]
        },
        expression={
            name: {kind: np.array([row["expression"][kind] for row in rows]) for kind in EXPRESSION}
            for name, rows in settings.items()
        },
        left_out={reason: count for reason, count in left_out.items() if count},
    )
