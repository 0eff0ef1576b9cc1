"""One face of a photo: where it is, what was done to it, and why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np


class FaceStatus(str, Enum):
    """What became of a face."""

    FOUND = "found"  # seen, nothing done yet
    ANONYMIZED = "anonymized"  # replaced by a generated face
    OBFUSCATED = "obfuscated"  # hidden by blur, mosaic or a solid colour, because it could not be replaced
    KEPT = "kept"  # left as it was, because the caller asked for it


@dataclass(eq=False)
class Face:
    """A face found in a photo.

    Args:
        box (`np.ndarray` of shape `(4,)`, float32):
            Left, top, right, bottom in pixels of the upright photo.
        score (`float`):
            Confidence of the detector, 0 to 1.
        keypoints (`np.ndarray` of shape `(5, 2)`, float32, *optional*):
            Eyes, nose tip and mouth corners in pixels, left before right on an upright face.
        landmarks (`np.ndarray` of shape `(478, 3)`, float32, *optional*):
            Dense landmarks in pixels (z in the same unit, towards the camera negative), where a mesh was found.
        presence (`float`, *optional*):
            Confidence of the mesh that there is a face, 0 to 1.
        status (`FaceStatus`):
            What was done.
        reason (`str`):
            Why, where the status is not `anonymized`; of a new face, that it is enlarged, where it is.
        seed (`int`, *optional*):
            Seed of the new identity. Set before a call, it decides the identity; read after it, it repeats it.
        pose (`np.ndarray` of shape `(3, 3)`, float32, *optional*):
            Rotation of the head, from one that looks into the camera: x right, y up, z towards the camera.
        blendshapes (`dict[str, float]`, *optional*):
            52 scores of expression, 0 to 1, by the names of [`landmarks.BLENDSHAPES`]; left is the person's own.
        small (`bool`):
            Whether it is narrower than the detector's `min_face_size`: such faces are found by chance, unless they
            are looked for, see `hide_small` of [`Options`].
    """

    box: np.ndarray
    score: float
    keypoints: np.ndarray | None = None
    landmarks: np.ndarray | None = field(default=None, repr=False)
    presence: float | None = None
    status: FaceStatus = FaceStatus.FOUND
    reason: str = ""
    seed: int | None = None
    pose: np.ndarray | None = field(default=None, repr=False)
    blendshapes: dict[str, float] | None = field(default=None, repr=False)
    small: bool = False

    @property
    def size(self) -> float:
        """Longer side of the box in pixels."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))

    @property
    def width(self) -> float:
        """Shorter side of the box in pixels: the face's width, also where it lies on its side."""
        return float(min(self.box[2] - self.box[0], self.box[3] - self.box[1]))

    def to_dict(self, seed: bool = False) -> dict[str, Any]:
        """A record for reports, ready for JSON.

        Args:
            seed (`bool`, *optional*, defaults to `False`):
                Include the seed, which repeats the new face. Landmarks, keypoints, pose and blendshapes, which are
                biometric, never are.
        """
        record = {
            "box": [round(float(v), 1) for v in self.box],
            "score": round(float(self.score), 4),
            "presence": None if self.presence is None else round(float(self.presence), 4),
            "status": self.status.value,
            "reason": self.reason,
            "small": self.small,
        }
        return {**record, "seed": self.seed} if seed else record


def largest_face(faces: Iterable[Face]) -> Face | None:
    """The largest face that has landmarks; None where there is none."""
    return max((face for face in faces if face.landmarks is not None), key=lambda face: face.size, default=None)


def obfuscated(faces: Iterable[Face]) -> dict[str, list[int]]:
    """The numbers of faces that are obfuscated, by reason."""
    reasons: dict[str, list[int]] = {}
    for number, face in enumerate(faces):
        if face.status is FaceStatus.OBFUSCATED:
            reasons.setdefault(face.reason, []).append(number)
    return reasons


def derived_seed(base: int, number: int) -> int:
    """A seed of its own for one of several that share a seed: faces of a photo, people of a video, candidates.

    Args:
        base (`int`):
            The shared seed, of any size and sign.
        number (`int`):
            Which of them, 0 or more.

    Returns:
        `int`: 0 to 2**32 - 1.
    """
    return int(np.random.SeedSequence([base % 2**64, number]).generate_state(1)[0])


# From so many faces on, half of them narrower than so many pixels, a photo shows a crowd (benchmarks/crowds.py).
MANY, FAR = 20, 24.0


def crowd_note(faces: Sequence[Face], hide_small: bool = False) -> str:
    """What to say of a photo that shows a crowd, whose smallest faces may be missed.

    Args:
        faces (`list[Face]`):
            All that were found.
        hide_small (`bool`, *optional*, defaults to `False`):
            Whether small ones were looked for.

    Returns:
        `str`: one line; empty where the photo shows no crowd.
    """
    if len(faces) < MANY or (middle := float(np.median([face.width for face in faces]))) >= FAR:
        return ""
    text = f"a crowd of {len(faces)} faces, half of them narrower than {middle:.0f} px"
    if hide_small:
        return f"{text}: some of the smallest may be missed"
    return f"{text}: smaller ones may be missed; hide_small (--hide-small) looks for them, and hides them"
