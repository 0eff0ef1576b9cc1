"""Photo and box to 478 dense landmarks, and the named groups of their indices."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np

from .alignment import CROP_SCALE, align, invert, placement, similarity, transform, warp_in
from .component import Component, component_file
from .diffusion import register_to_config
from .faces import Face
from .networks.landmarker import BUNDLED_TASK, DETECTOR_SIZE, MESH_SIZE, TASK, FaceLandmarker, landmarker_pool
from .ranges import check_number

# Indices of MediaPipe's face mesh (468 points and two irises of 5). Left and right are those of the picture.
OVAL = [
    10,
    338,
    297,
    332,
    284,
    251,
    389,
    356,
    454,
    323,
    361,
    288,
    397,
    365,
    379,
    378,
    400,
    377,
    152,
    148,
    176,
    149,
    150,
]
OVAL += [136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]
LEFT_EYE = [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246]
RIGHT_EYE = [362, 382, 381, 380, 374, 373, 390, 249, 263, 466, 388, 387, 386, 385, 384, 398]
LEFT_BROW = [70, 63, 105, 66, 107, 55, 65, 52, 53, 46]
RIGHT_BROW = [300, 293, 334, 296, 336, 285, 295, 282, 283, 276]
LEFT_IRIS = [469, 470, 471, 472]
RIGHT_IRIS = [474, 475, 476, 477]
OUTER_LIPS = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185]
INNER_LIPS = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191]
NOSE_BRIDGE = [168, 6, 197, 195, 5, 4, 1, 19, 94, 2]
NOSE_BASE = [98, 97, 2, 326, 327, 294, 278, 344, 440, 275, 4, 45, 220, 115, 48, 64, 98]
# Corners from left to right; of the lids the points above and below the iris; upper and lower of the inner lips.
LEFT_CORNERS, RIGHT_CORNERS = [33, 133], [362, 263]
LEFT_UPPER_LID, LEFT_LOWER_LID = [160, 159, 158], [144, 145, 153]
RIGHT_UPPER_LID, RIGHT_LOWER_LID = [387, 386, 385], [373, 374, 380]
IRIS_CENTERS = [468, 473]
MOUTH_CORNERS = [61, 291]
LIP_MIDDLES = [13, 14]
# What sits on the skull and stays where it is when the face speaks, blinks or frowns: forehead, temples, bridge of the
# nose, outer corners of the eyes, cheek bones.
RIGID = [10, 151, 109, 338, 67, 297, 103, 332, 54, 284, 21, 251, 162, 389, 127, 356, 139, 368, 143, 372]
RIGID += [*NOSE_BRIDGE[:5], 33, 263, 234, 454, 227, 447, 116, 345]
# The mesh's counterparts of a detector's five keypoints: eyes, nose tip, mouth corners.
FIVE = [*IRIS_CENTERS, 4, *MOUTH_CORNERS]

# Names of the blendshapes in the order of the network; but for the first they are ARKit's. Left is the person's own.
BLENDSHAPES = ["_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"]
BLENDSHAPES += ["cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft"]
BLENDSHAPES += ["eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight"]
BLENDSHAPES += ["eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight"]
BLENDSHAPES += ["jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight"]
BLENDSHAPES += ["mouthFrownLeft", "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft"]
BLENDSHAPES += ["mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight"]
BLENDSHAPES += ["mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft"]
BLENDSHAPES += ["mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight"]
BLENDSHAPES += ["noseSneerLeft", "noseSneerRight"]

OUTVOTES = 1 - 1e-4  # presence from which on a mesh counts that disagrees with the detector's keypoints
NEAR = 0.15  # of its size, by which a followed mesh may lie off where it is expected, grow or turn, for one look
LEAST_SPREAD = 0.3  # of a face's size, over which its five keypoints are spread at least
CERTAIN = 1 - 1e-7  # presence of a clear face that is rightly turned; a wrong tilt stays below


@dataclass(frozen=True, eq=False)
class FaceMesh:
    """What is read off a picture of one face.

    Args:
        points (`np.ndarray` of shape `(478, 3)`, float32):
            Landmarks in pixels of the picture, z in the same unit, towards the camera negative.
        presence (`float`):
            Confidence that there is a face, 0 to 1.
        pose (`np.ndarray` of shape `(3, 3)`, float32):
            Rotation of the head, from one that looks into the camera: x right, y up, z towards the camera.
        blendshapes (`np.ndarray` of shape `(52,)`, float32):
            Expression, 0 to 1 each, by the names of `BLENDSHAPES`.
    """

    points: np.ndarray
    presence: float
    pose: np.ndarray
    blendshapes: np.ndarray


class LandmarkExtractor(Component):
    r"""Finds 478 dense landmarks, irises included, head pose and blendshapes, at any tilt of the head.

    The networks are those of MediaPipe's face landmarker, version 2. The mesh is run on an upright crop round the
    detector's box and once more round its own result. Where it is not certain, other tilts are tried, and the most
    certain one is taken.

    Args:
        min_presence (`float`, *optional*, defaults to `0.5`):
            Confidence, 0.1 to 1, under which there is no face for the mesh.
        max_deviation (`float`, *optional*, defaults to `0.25`):
            Largest distance between the mesh and the detector's keypoints, in sides of the box, that still counts as
            the same face; 0.01 to 0.5. A mesh that is not certain must keep it in the mean of the five keypoints,
            one that is certain with their middle.
        task_path (`str`, *optional*, defaults to `"face_landmarker.task"`):
            Name of the networks' file in the folder that the component is loaded from; nothing outside of it is ever
            opened. Made without a folder, or with None, it takes the file that comes with the package.

    Raises:
        ValueError: a value is out of its range, or `task_path` is no plain name.
        CheckpointError: the folder lacks the file, or it is not MediaPipe's.

    Example:
        ```py
        >>> import skimage.data
        >>> from faceanon_hub import FaceDetector, LandmarkExtractor

        >>> photo = skimage.data.astronaut()
        >>> faces = LandmarkExtractor()(photo, FaceDetector()(photo))
        >>> faces[0].landmarks.shape, faces[0].presence, faces[0].blendshapes["mouthSmileLeft"]
        ```
    """

    @register_to_config
    def __init__(self, min_presence: float = 0.5, max_deviation: float = 0.25, task_path: str | None = TASK) -> None:
        check_number("min_presence", min_presence, 0.1, 1)
        check_number("max_deviation", max_deviation, 0.01, 0.5)
        if task_path is not None and not re.fullmatch(r"[\w-][\w.-]*\.task", task_path):
            raise ValueError(f"`task_path` must name a .task file of the component's own folder, not {task_path!r}")
        self.task = BUNDLED_TASK

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], subfolder: str | None = None, **kwargs: Any
    ) -> Self:
        """Loads the component and its networks from a local folder or a Hub repository, see [`Component`]."""
        extractor = super().from_pretrained(pretrained_model_name_or_path, subfolder, **kwargs)
        name = extractor.config.task_path
        if name is not None:
            extractor.task = component_file(pretrained_model_name_or_path, subfolder, name, **kwargs)
        landmarker_pool(extractor.task)
        return extractor

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """Writes `config.json` and the networks' file into `save_directory`; `push_to_hub` uploads both."""
        target = Path(save_directory, self.config.task_path or TASK)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.resolve() != self.task.resolve():
            shutil.copyfile(self.task, target)
        self.register_to_config(task_path=target.name)
        super().save_pretrained(save_directory, push_to_hub, **kwargs)

    def __call__(self, image: np.ndarray, faces: list[Face]) -> list[Face]:
        """Fills in `landmarks`, `presence`, `pose` and `blendshapes`.

        Args:
            image (`np.ndarray` of shape `(H, W, 3)`, uint8):
                Upright RGB photo.
            faces (`list[Face]`):
                Faces with `box` and, where known, `keypoints`.

        Returns:
            `list[Face]`: the same faces; where no mesh fits, `landmarks`, `pose` and `blendshapes` are None and
            `presence` is the best one seen.
        """
        with landmarker_pool(self.task).lend() as networks:
            for face in faces:
                points, face.presence = self._locate(networks, image, face)
                mesh = None if points is None else self._described(networks, points, face.presence)
                face.landmarks = None if mesh is None else mesh.points
                face.pose = None if mesh is None else mesh.pose
                face.blendshapes = (
                    None if mesh is None else dict(zip(BLENDSHAPES, mesh.blendshapes.tolist(), strict=True))
                )
        return faces

    def read(self, image: np.ndarray) -> FaceMesh | None:
        """Reads a picture of one face, with no detector's box to start from: about 12 ms on one thread.

        Args:
            image (`np.ndarray` of shape `(H, W, 3)`, uint8):
                RGB crop of a face that is tilted by less than a quarter turn.

        Returns:
            [`FaceMesh`] of the likeliest face, or None where the mesh is not certain of it.
        """
        with landmarker_pool(self.task).lend() as networks:
            center, side, roll = _likeliest(networks, image)
            points, presence = _twice(networks, image, center, side, roll)
            return self._described(networks, points, presence) if presence >= self.config.min_presence else None

    def follow(self, image: np.ndarray, landmarks: np.ndarray) -> FaceMesh | None:
        """Reads a face of a video where it should be by its landmarks of a frame near by: one look, not two.

        Args:
            image (`np.ndarray` of shape `(H, W, 3)`, uint8):
                Upright RGB frame.
            landmarks (`np.ndarray` of shape `(478, 3)`):
                Where the mesh is expected, in pixels.

        Returns:
            [`FaceMesh`], or None where a second look is needed: the mesh is not certain, or it lies elsewhere.
        """
        middle, extent, roll = placement(landmarks)
        with landmarker_pool(self.task).lend() as networks:
            points, presence = _mesh(networks, image, middle, CROP_SCALE * extent, roll)
            moved, own, turn = placement(points)
            away = np.linalg.norm(moved - middle) / extent + abs(np.log(own / extent))
            away += 2 * abs(np.sin((turn - roll) / 2))  # a mesh that stands on its head is as far as can be
            if presence < OUTVOTES or away > NEAR:
                return None
            return self._described(networks, points, presence)

    def _described(self, networks: FaceLandmarker, points: np.ndarray, presence: float) -> FaceMesh:
        upright = transform(points, align(points, MESH_SIZE))
        canonical = landmarker_pool(self.task).canonical
        return FaceMesh(points, presence, canonical.pose(points), networks.blendshapes(upright))

    def _locate(self, networks: FaceLandmarker, image: np.ndarray, face: Face) -> tuple[np.ndarray | None, float]:
        center = (face.box[:2] + face.box[2:]) / 2
        side = 1.4 * face.size
        first = 0.0 if face.keypoints is None else _roll_of_five(face.keypoints)
        best, best_presence, agrees = None, 0.0, False
        # Keypoints on one spot, as the detector gives for some heads that are upside down, agree with any mesh.
        spot = face.keypoints is not None and np.ptp(face.keypoints, axis=0).max() < LEAST_SPREAD * face.size
        for turn in (0.0, np.pi / 2, -np.pi / 2, np.pi):
            points, presence = _twice(networks, image, center, side, first + turn)
            apart, middles_apart = self._deviations(points, face)
            # A mesh can lie upside down on a face, and be certain. Then it disagrees with the keypoints. But these are
            # often wrong where a face is tilted.
            near = apart <= self.config.max_deviation and not spot
            if not near and (middles_apart > self.config.max_deviation or presence < OUTVOTES):
                continue
            # The mesh of a face that is wrongly turned looks plausible, but is mostly the less certain one.
            near = near and presence >= self.config.min_presence
            if (near, presence) > (agrees, best_presence):
                best, best_presence, agrees = points, presence, near
            if agrees and best_presence >= CERTAIN:
                break
        return (best if best_presence >= self.config.min_presence else None), best_presence

    @staticmethod
    def _deviations(points: np.ndarray, face: Face) -> tuple[float, float]:
        """Distances in sides of the box: of the mesh from the detector's keypoints in the mean, and of their middles.

        Without keypoints both are that from the middle of the box.
        """
        found, wanted = points[FIVE, :2], face.keypoints
        if wanted is None:
            found, wanted = points[:, :2].mean(0, keepdims=True), (face.box[:2] + face.box[2:])[None] / 2
        each = np.linalg.norm(found - wanted, axis=1).mean()
        return float(each / face.size), float(np.linalg.norm(found.mean(0) - wanted.mean(0)) / face.size)


def _roll_of_five(keypoints: np.ndarray) -> float:
    """In-plane rotation in radians from eyes, nose and mouth, like `alignment.roll_of`."""
    across = keypoints[1] - keypoints[0]
    down = (keypoints[3] + keypoints[4]) / 2 - (keypoints[0] + keypoints[1]) / 2
    x, y = across + [down[1], -down[0]]
    return float(np.arctan2(y, x))


def _likeliest(networks: FaceLandmarker, image: np.ndarray) -> tuple[np.ndarray, float, float]:
    """The square round the likeliest face of a picture: centre and side in pixels, and roll."""
    size = np.array(image.shape[1::-1], float)
    matrix = similarity(size / 2, float(size.max()), 0.0, DETECTOR_SIZE)
    rows = networks.face(warp_in(image, matrix, DETECTOR_SIZE))
    places = transform(rows, invert(matrix))
    x, y = places[3] - places[2]
    return places[0], CROP_SCALE * float(rows[1].max() / np.hypot(*matrix[0, :2])), float(np.arctan2(y, x))


def _twice(
    networks: FaceLandmarker, image: np.ndarray, center: np.ndarray, side: float, roll: float
) -> tuple[np.ndarray, float]:
    """The mesh of a turned square, or that of the square round this mesh, whichever is more certain.

    The second look knows better where the face is, but of a face that the photo cuts the first one can see more.
    """
    first = _mesh(networks, image, center, side, roll)
    middle, extent, roll = placement(first[0])
    second = _mesh(networks, image, middle, CROP_SCALE * extent, roll)
    return max(second, first, key=lambda mesh: min(mesh[1], CERTAIN))


def _mesh(
    networks: FaceLandmarker, image: np.ndarray, center: np.ndarray, side: float, roll: float
) -> tuple[np.ndarray, float]:
    """Runs the mesh on a turned square of the photo. Returns points (478, 3) in photo pixels and the presence."""
    matrix = similarity(np.asarray(center, float), side, roll, MESH_SIZE)
    # Of faces that fill a photo, fewer are lost beside a mirror image than beside a border that goes on.
    points, presence = networks.mesh(warp_in(image, matrix, MESH_SIZE, cv2.BORDER_REFLECT_101))
    # MediaPipe counts from the edge of a pixel, a matrix from its centre.
    points = transform(points - np.array([0.5, 0.5, 0], np.float32), invert(matrix))
    return points + np.array([0.5, 0.5, 0], np.float32), float(1 / (1 + np.exp(-presence)))
