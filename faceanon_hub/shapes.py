"""Photos of people to the patterns in which their faces' shapes differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .errors import FaceAnonError
from .evaluation import find_photos
from .faces import largest_face
from .io import read_photo
from .pipeline import FaceAnonPipeline
from .retargeting import PATTERNS, FaceRetargeter, evened


def fit_retargeter(
    pipe: FaceAnonPipeline,
    folders: list[Path],
    patterns: int = PATTERNS,
    on_photo: Callable[[int, int], None] = lambda done, total: None,
) -> FaceRetargeter:
    """Fits a [`FaceRetargeter`] to photos, the largest face of each, evened out by its mirror image.

    What is askew in a mesh is mostly a turn of the head that was not taken off. As a shape it would look wrong.

    Args:
        pipe ([`FaceAnonPipeline`]):
            Finds the faces and their landmarks.
        folders (`list[Path]`):
            Photos in any depth; those of one subfolder show one person.
        patterns (`int`, *optional*, defaults to `20`):
            Number of identity patterns.
        on_photo (`Callable`, *optional*):
            Called after each photo with their number so far and in all.

    Raises:
        UnreadableImageError: a folder does not exist or holds no photo, or a photo cannot be read.
        FaceAnonError: too few faces were found.
    """
    tasks = find_photos(folders, pairs=True)
    meshes, people = [], []
    for number, task in enumerate(tasks, 1):
        pixels = read_photo(task.path).pixels
        faces = [largest_face(pipe.find_faces(picture)) for picture in (pixels, np.ascontiguousarray(pixels[:, ::-1]))]
        found = [face.landmarks for face in faces if face is not None and face.landmarks is not None]
        if len(found) == 2:
            meshes.append(evened(*found))
            people.append(task.identity)
        on_photo(number, len(tasks))
    try:
        return FaceRetargeter.fit(np.reshape(meshes, (-1, 478, 3)), np.array(people), patterns)
    except ValueError as error:
        raise FaceAnonError(f"no shapes can be learnt from these photos: {error}") from error
