"""The networks of MediaPipe's face_landmarker.task, run by LiteRT: a face's place, its mesh, its blendshapes."""

import functools
import os
import struct
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..alignment import fit_rotation
from ..errors import CheckpointError
from ..hub import DEFAULT_CHECKPOINT

TASK = "face_landmarker.task"
BUNDLED_TASK = DEFAULT_CHECKPOINT / "landmark_extractor" / TASK
DETECTOR, MESH, BLENDSHAPES = "face_detector.tflite", "face_landmarks_detector.tflite", "face_blendshapes.tflite"
NETWORKS = (DETECTOR, MESH, BLENDSHAPES)
CANONICAL = "geometry_pipeline_metadata_landmarks.binarypb"
DETECTOR_SIZE, MESH_SIZE = 128, 256
# The detector's grids: cells of 8 pixels with two guesses each, then cells of 16 with six.
GRIDS = ((8, 2), (16, 6))
# The points of the blendshape network, in the order in which the network takes them.
EXPRESSIVE = [0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70]
EXPRESSIVE += [78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149]
EXPRESSIVE += [150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195]
EXPRESSIVE += [197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300]
EXPRESSIVE += [308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375]
EXPRESSIVE += [377, 378, 379, 380, 381, 382, 384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454]
EXPRESSIVE += [466, *range(468, 478)]


class FaceLandmarker:
    """Three networks, each for one picture at a time; one thread each.

    MediaPipe's own task of the same name does not return the confidence of the mesh, only finds upright faces, and
    contains usage logging to Google's servers.

    Args:
        models (`dict[str, bytes]`):
            Files of the task by name, see [`read_task`].
    """

    def __init__(self, models: dict[str, bytes]) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with _native_log_hidden():
            self._networks = {name: Interpreter(model_content=models[name], num_threads=1) for name in NETWORKS}
            for network in self._networks.values():
                network.allocate_tensors()
            self.mesh(np.zeros((MESH_SIZE, MESH_SIZE, 3), np.uint8))

    def face(self, picture: np.ndarray) -> np.ndarray:
        """Where a face is, if there is one (BlazeFace, arXiv 1907.05047), in a picture `(128, 128, 3)`, uint8, RGB.

        Returns:
            `np.ndarray` of shape `(8, 2)`, float32: centre, width and height of the likeliest face, then its eyes,
            nose, mouth and ears, left before right; in pixels of the picture.
        """
        rows, scores = self._run(DETECTOR, picture / np.float32(127.5) - 1, "regressors", "classificators")
        best = int(scores[0, :, 0].argmax())
        row = rows[0, best].reshape(8, 2).copy()
        row[[0, *range(2, 8)]] += _cells()[best]
        return row

    def mesh(self, crop: np.ndarray) -> tuple[np.ndarray, float]:
        """The mesh of an upright face (arXiv 1907.06724, with irises), in a crop `(256, 256, 3)`, uint8, RGB, one and
        a half times as large.

        Returns:
            `tuple`: points of shape `(478, 3)`, float32, pixels of the crop from its edge; certainty that it is a
            face, as a logit.
        """
        points, presence = self._run(MESH, crop / np.float32(255), "Identity", "Identity_1")
        return points.reshape(478, 3).copy(), float(presence.item())

    def blendshapes(self, points: np.ndarray) -> np.ndarray:
        """Expression of an upright mesh, of shape `(478, >= 2)`: 52 scores, float32, 0 to 1."""
        (scores,) = self._run(BLENDSHAPES, points[EXPRESSIVE, :2])
        return scores.reshape(52).copy()

    def _run(self, name: str, picture: np.ndarray, *outputs: str) -> list[np.ndarray]:
        network = self._networks[name]
        network.set_tensor(network.get_input_details()[0]["index"], picture[None].astype(np.float32))
        network.invoke()
        found = {entry["name"]: entry["index"] for entry in network.get_output_details()}
        return [network.get_tensor(found[output]) for output in outputs or found]


class LandmarkerPool:
    """Networks of a task file for as many threads as are ever at work at once."""

    def __init__(self, path: Path) -> None:
        self._models, self.canonical = read_task(path)
        self._idle: list[FaceLandmarker] = []
        self._starting = threading.Lock()

    @contextmanager
    def lend(self) -> Iterator[FaceLandmarker]:
        """Lends networks that no other thread uses at the same time."""
        with self._starting:
            networks = self._idle.pop() if self._idle else FaceLandmarker(self._models)
        try:
            yield networks
        finally:
            self._idle.append(networks)


@functools.cache
def landmarker_pool(path: Path) -> LandmarkerPool:
    """The pool of a task file, read once.

    Raises:
        CheckpointError: the file is missing or no face_landmarker.task of version 2.
    """
    return LandmarkerPool(path)


@dataclass(frozen=True)
class Canonical:
    """The face that a mesh is compared with: x right, y up, z towards the camera, in centimetres.

    Args:
        points (`np.ndarray` of shape `(468, 3)`, float64):
            Its vertices; irises are not among them.
        triangles (`np.ndarray` of shape `(898, 3)`, int64):
            Vertex indices, all turned the same way; eyes and mouth are closed.
        weights (`np.ndarray` of shape `(468,)`, float64):
            How far each vertex counts for the pose; 0 for what a face can move.
    """

    points: np.ndarray
    triangles: np.ndarray
    weights: np.ndarray

    def pose(self, points: np.ndarray) -> np.ndarray:
        """Rotation of a mesh `(478, 3)` by weighted least squares, as seen from far away; see
        [`alignment.fit_rotation`].

        Returns:
            `np.ndarray` of shape `(3, 3)`, float32: takes the canonical face to that of the mesh, in its axes.
        """
        mesh = points[:468] * np.array([1.0, -1.0, -1.0])
        return fit_rotation(self.points, mesh, self.weights)[0].astype(np.float32)


def read_task(path: Path) -> tuple[dict[str, bytes], Canonical]:
    """Networks of a task file by name, and its canonical face.

    Raises:
        CheckpointError: the file is missing or no face_landmarker.task of version 2.
    """
    try:
        with zipfile.ZipFile(path) as task:
            return {name: task.read(name) for name in NETWORKS}, _canonical(task.read(CANONICAL))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(path, f"no {TASK} of version 2: {error}") from error


def _canonical(message: bytes) -> Canonical:
    """Reads MediaPipe's GeometryPipelineMetadata: a mesh of x, y, z, u, v, and pairs of index and weight."""
    fields = list(_fields(message))
    mesh = list(_fields(next(value for number, value in fields if number == 1)))
    points = np.array([value for number, value in mesh if number == 3]).reshape(-1, 5)[:, :3]
    triangles = np.array([value for number, value in mesh if number == 4]).reshape(-1, 3)
    weights = np.zeros(len(points))
    for pair in (dict(_fields(value)) for number, value in fields if number == 2):
        weights[pair[1]] = pair[2]
    return Canonical(points, triangles, weights)


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of a protocol buffer's fields: integers, single floats and bytes."""
    place = 0

    def varint() -> int:
        nonlocal place
        value, shift = 0, 0
        while True:
            byte = message[place]
            place, value, shift = place + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while place < len(message):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
            continue
        length = 4 if kind == 5 else varint()
        part, place = message[place : place + length], place + length
        yield key >> 3, struct.unpack("<f", part)[0] if kind == 5 else part


@functools.cache
def _cells() -> np.ndarray:
    """Centres of the cells that the detector's 896 guesses start from, in pixels, of shape (896, 2)."""
    grids = []
    for cell, guesses in GRIDS:
        middles = np.arange(cell / 2, DETECTOR_SIZE, cell, dtype=np.float32)
        grid = np.stack(np.meshgrid(middles, middles), -1).reshape(-1, 2)
        grids.append(grid.repeat(guesses, 0))
    return np.concatenate(grids)


@contextmanager
def _native_log_hidden() -> Iterator[None]:
    """Hides what LiteRT prints to standard error at start-up, which no log level turns off."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
