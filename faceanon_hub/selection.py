"""Of several new identities for a face, the one that a recognizer finds least like the original."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .alignment import invert, transform
from .faces import Face, FaceStatus, derived_seed
from .io.photos import Photo
from .metrics.expression import procrustes_error
from .scene import Scene

if TYPE_CHECKING:
    from .metrics import Recognizer

BOUND = 1.25  # how much farther a painted mesh may lie from what was asked for than that of the truest candidate


def choose_seeds(
    photo: Photo,
    faces: Sequence[Face],
    replace_faces: Callable[[list[Face]], Scene],
    find_landmarks: Callable[[np.ndarray, Face], None],
    candidates: int,
    recognizer: Recognizer,
) -> None:
    """Gives every face the seed, of several derived from its own, whose new face is farthest from the original.

    A face that looks far away because it is broken is no candidate: the mesh is found on it again, and lies from what
    what the network was to paint no more than `BOUND` times as far as that of the candidate which followed it best.
    The embeddings are dropped at the end.

    Args:
        photo (`Photo`):
            The original.
        faces (`list[Face]`):
            Its faces with seeds; those that are kept, or have no landmarks, are left alone.
        replace_faces, find_landmarks (`Callable`):
            Anonymizes the photo with faces of other seeds; finds the mesh in a photo, at a face's box.
        candidates (`int`):
            How many seeds are tried for each face; each takes a run of the network.
        recognizer (`Callable`):
            See [`metrics.Recognizer`].
    """
    chosen = [face for face in faces if face.status is not FaceStatus.KEPT and face.landmarks is not None]
    originals = [recognizer(photo.pixels, face.landmarks) for face in chosen]  # type: ignore[arg-type]
    errors, distances = np.full((2, candidates, len(chosen)), np.inf)
    own = [face.seed or 0 for face in chosen]
    seeds = np.array([own, *([derived_seed(seed, number) for seed in own] for number in range(1, candidates))])
    for number in range(candidates):
        trial = [replace(face, seed=int(seed)) for face, seed in zip(chosen, seeds[number], strict=True)]
        others = [replace(face) for face in faces if all(face is not one for one in chosen)]
        scene = replace_faces(trial + others)
        asked = {id(job.face): transform(job.points, invert(job.matrix)) for job in scene.jobs}
        for place, (face, original) in enumerate(zip(trial, originals, strict=True)):
            again = Face(face.box, face.score, face.keypoints)
            find_landmarks(scene.canvas, again)
            if face.status is FaceStatus.ANONYMIZED and again.landmarks is not None:
                errors[number, place] = procrustes_error(again.landmarks, asked[id(face)])
                embedding = recognizer(scene.canvas, face.landmarks)  # type: ignore[arg-type]
                distances[number, place] = np.linalg.norm(embedding - original)
    allowed = np.isfinite(errors) & (errors <= BOUND * errors.min(0, initial=np.inf))
    best = np.where(allowed, distances, -1).argmax(0)
    for place, face in enumerate(chosen):
        face.seed = int(seeds[best[place], place])
