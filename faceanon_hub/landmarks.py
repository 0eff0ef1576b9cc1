"""Photo and box to 478 dense landmarks, and the named groups of their indices."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from diffusers.configuration_utils import register_to_config

from .alignment import CROP_SCALE, invert, placement, similarity, transform, warp_in
from .component import Component
from .errors import FaceAnonError
from .faces import Face
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

MESH_SIZE = 192
CERTAIN = 1 - 1e-7  # presence of a clear face that is rightly turned; a wrong tilt stays below
# Face mesh with attention on a crop that is already cut out: the graph of mediapipe's face_landmark_cpu without its
# own detector and cropping, which know nothing of tilted heads, and with the presence score it keeps to itself.
GRAPH = """
input_stream: "image" output_stream: "landmarks" output_stream: "presence"
node { calculator: "ConstantSidePacketCalculator" output_side_packet: "PACKET:with_attention"
  options { [mediapipe.ConstantSidePacketCalculatorOptions.ext] { packet { bool_value: true } } } }
node { calculator: "FaceLandmarksModelLoader"
  input_side_packet: "WITH_ATTENTION:with_attention" output_side_packet: "MODEL:model" }
node { calculator: "TfLiteCustomOpResolverCalculator" output_side_packet: "OP_RESOLVER:op_resolver" }
node { calculator: "ImageToTensorCalculator" input_stream: "IMAGE:image" output_stream: "TENSORS:input"
  options { [mediapipe.ImageToTensorCalculatorOptions.ext] { output_tensor_width: 192 output_tensor_height: 192
    output_tensor_float_range { min: 0.0 max: 1.0 } } } }
node { calculator: "InferenceCalculator" input_stream: "TENSORS:input" output_stream: "TENSORS:output"
  input_side_packet: "MODEL:model" input_side_packet: "OP_RESOLVER:op_resolver"
  options { [mediapipe.InferenceCalculatorOptions.ext] { delegate { xnnpack { num_threads: 1 } } } } }
node { calculator: "SplitTensorVectorCalculator" input_stream: "output" output_stream: "points" output_stream: "flag"
  options { [mediapipe.SplitVectorCalculatorOptions.ext] { ranges { begin: 0 end: 6 } ranges { begin: 6 end: 7 } } } }
node { calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:flag" output_stream: "FLOAT:presence"
  options { [mediapipe.TensorsToFloatsCalculatorOptions.ext] { activation: SIGMOID } } }
node { calculator: "TensorsToFaceLandmarksWithAttention" input_stream: "TENSORS:points"
  output_stream: "LANDMARKS:landmarks" }
"""


class LandmarkExtractor(Component):
    r"""Finds 478 dense landmarks, irises included, with MediaPipe's attention mesh (arXiv 2006.10962), at any tilt.

    The mesh is run on an upright crop round the detector's box and once more round its own result. Where it is not
    certain, other tilts are tried, and the most certain one is taken.

    Args:
        min_presence (`float`, *optional*, defaults to `0.5`):
            Confidence, 0.1 to 1, under which there is no face for the mesh.
        max_deviation (`float`, *optional*, defaults to `0.25`):
            Largest distance between the middles of mesh and detector's keypoints, in sides of the box, that still
            counts as the same face; 0.01 to 0.5.
        task_path (`str`, *optional*):
            A `face_landmarker.task` file of MediaPipe, which [`blendshapes`] needs; none is bundled.

    Example:
        ```py
        >>> import skimage.data
        >>> from faceanon_hub import FaceDetector, LandmarkExtractor

        >>> photo = skimage.data.astronaut()
        >>> faces = LandmarkExtractor()(photo, FaceDetector()(photo))
        >>> faces[0].landmarks.shape, faces[0].presence
        ```
    """

    @register_to_config
    def __init__(self, min_presence: float = 0.5, max_deviation: float = 0.25, task_path: str | None = None) -> None:
        check_number("min_presence", min_presence, 0.1, 1)
        check_number("max_deviation", max_deviation, 0.01, 0.5)

    def __call__(self, image: np.ndarray, faces: list[Face]) -> list[Face]:
        """Fills in `landmarks` (float32, shape `(478, 3)`, pixels of the photo) and `presence`.

        Args:
            image (`np.ndarray` of shape `(H, W, 3)`, uint8):
                Upright RGB photo.
            faces (`list[Face]`):
                Faces with `box` and, where known, `keypoints`.

        Returns:
            `list[Face]`: the same faces; `landmarks` is None where no mesh fits, `presence` is then the best one seen.
        """
        for face in faces:
            face.landmarks, face.presence = self._locate(image, face)
        return faces

    def blendshapes(self, image: np.ndarray) -> dict[str, float]:
        """The 52 expression coefficients, 0 to 1, of the only face in a picture.

        Args:
            image (`np.ndarray` of shape `(H, W, 3)`, uint8):
                RGB crop of one face.

        Returns:
            `dict[str, float]`: by name; empty where no face is found.

        Raises:
            FaceAnonError: `task_path` is not set or is no file.
        """
        path = self.config.task_path
        if path is None or not Path(path).is_file():
            raise FaceAnonError(f"blendshapes need MediaPipe's face_landmarker.task as `task_path`, not {path!r}")
        import mediapipe as mp

        options = mp.tasks.vision.FaceLandmarkerOptions(
            base_options=mp.tasks.BaseOptions(model_asset_path=path), output_face_blendshapes=True
        )
        with mp.tasks.vision.FaceLandmarker.create_from_options(options) as landmarker:
            found = landmarker.detect(mp.Image(mp.ImageFormat.SRGB, np.ascontiguousarray(image))).face_blendshapes
        return {shape.category_name: shape.score for shape in found[0]} if found else {}

    def _locate(self, image: np.ndarray, face: Face) -> tuple[np.ndarray | None, float]:
        center = (face.box[:2] + face.box[2:]) / 2
        side = 1.4 * face.size
        first = 0.0 if face.keypoints is None else _roll_of_five(face.keypoints)
        best, best_presence = None, 0.0
        for turn in (0.0, np.pi / 2, -np.pi / 2, np.pi):
            points, presence = _mesh(image, center, side, first + turn)
            if presence >= self.config.min_presence:
                middle, extent, roll = placement(points)
                points, presence = _mesh(image, middle, CROP_SCALE * extent, roll)
            # The mesh of a face that is wrongly turned looks plausible, but is always the less certain one.
            if presence > best_presence and self._deviation(points, face) <= self.config.max_deviation:
                best, best_presence = points, presence
            if best_presence >= CERTAIN:
                break
        return (best if best_presence >= self.config.min_presence else None), best_presence

    @staticmethod
    def _deviation(points: np.ndarray, face: Face) -> float:
        """Distance of the mesh from the middle of the detector's keypoints, or box, in sides of the box."""
        found = points[:, :2].mean(0) if face.keypoints is None else points[FIVE, :2].mean(0)
        wanted = (face.box[:2] + face.box[2:]) / 2 if face.keypoints is None else face.keypoints.mean(0)
        return float(np.linalg.norm(found - wanted) / face.size)


def _roll_of_five(keypoints: np.ndarray) -> float:
    """In-plane rotation in radians from eyes, nose and mouth, like `alignment.roll_of`."""
    across = keypoints[1] - keypoints[0]
    down = (keypoints[3] + keypoints[4]) / 2 - (keypoints[0] + keypoints[1]) / 2
    x, y = across + [down[1], -down[0]]
    return float(np.arctan2(y, x))


def _mesh(image: np.ndarray, center: np.ndarray, side: float, roll: float) -> tuple[np.ndarray, float]:
    """Runs the mesh on a turned square of the photo. Returns points (478, 3) in photo pixels and the presence."""
    matrix = similarity(np.asarray(center, float), side, roll, MESH_SIZE)
    # Of faces that fill a photo, fewer are lost beside a mirror image than beside a border that goes on.
    crop = warp_in(image, matrix, MESH_SIZE, cv2.BORDER_REFLECT_101)
    with _starting:
        graph = _idle.pop() if _idle else _MeshGraph()
    points, presence = graph.run(crop)
    _idle.append(graph)
    # MediaPipe counts from the edge of a pixel, a matrix from its centre.
    points = transform(points * MESH_SIZE - [0.5, 0.5, 0], invert(matrix))
    return points + np.array([0.5, 0.5, 0], np.float32), presence


class _MeshGraph:
    """MediaPipe's graph, kept running; one crop at a time."""

    def __init__(self) -> None:
        os.environ.setdefault("GLOG_minloglevel", "2")
        import mediapipe
        from mediapipe.python import packet_creator, packet_getter
        from mediapipe.python._framework_bindings import calculator_graph, image_frame, resource_util

        resource_util.set_resource_dir(str(Path(mediapipe.__file__).parents[1]))
        self._clock = 0
        self._seen: dict[str, Any] = {}
        self._pack = functools.partial(packet_creator.create_image_frame, image_format=image_frame.ImageFormat.SRGB)
        self._graph = calculator_graph.CalculatorGraph(graph_config=GRAPH)
        for name, unpack in (("landmarks", packet_getter.get_proto), ("presence", packet_getter.get_float)):
            self._graph.observe_output_stream(
                name, lambda stream, packet, unpack=unpack: self._seen.__setitem__(stream, unpack(packet))
            )
        with _native_log_hidden():
            self._graph.start_run({})
            self.run(np.zeros((MESH_SIZE, MESH_SIZE, 3), np.uint8))

    def run(self, crop: np.ndarray) -> tuple[np.ndarray, float]:
        """Crop (192, 192, 3) uint8 to points (478, 3) as fractions of the crop, and the presence, 0 to 1."""
        self._clock += 1
        self._graph.add_packet_to_input_stream("image", self._pack(data=crop).at(self._clock))
        self._graph.wait_until_idle()
        points = [(p.x, p.y, p.z) for p in self._seen["landmarks"].landmark]
        return np.array(points, np.float32), float(self._seen["presence"])


@contextmanager
def _native_log_hidden() -> Iterator[None]:
    """Keeps what TensorFlow Lite tells of itself at its start, past any log level, off the standard error stream."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


_idle: list[_MeshGraph] = []  # waiting for a crop; as many are made as threads are ever at work at once
_starting = threading.Lock()
