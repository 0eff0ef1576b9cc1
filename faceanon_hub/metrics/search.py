"""Every face that dlib sees in a photo: small ones and turned ones, too, and who they show."""

from dataclasses import dataclass

import cv2
import numpy as np

from ..alignment import similarity, warp_in
from ..errors import MissingDependencyError
from .coverage import covered

ENLARGED = 2.0  # times, where that is not too large; four times found no more, in 30 photos
NETWORK_SIDE, GRADIENT_SIDE = 1000, 2400  # pixels of the longer side, at most: the network is forty times slower
NETWORK_SCORE, GRADIENT_SCORE = 0.3, 0.2  # lowest of a face: up to 1.1, and up to 3
LEAST_SIDE = 8  # pixels of what is seen of a face
CROP_SIZE, CROP_BOXES = 300, 2.0  # of the crop that is described, in pixels and in boxes


@dataclass(frozen=True, eq=False)
class Sighting:
    """A face that was seen.

    Args:
        box (`np.ndarray` of shape `(4,)`, float32):
            Left, top, right, bottom in pixels of the photo, inside it.
        turn (`int`):
            Quarter turns to the left after which the face is upright, 0 to 3.
    """

    box: np.ndarray
    turn: int = 0


class DlibSearch:
    """Finds faces with both detectors of dlib, which share nothing with that of the pipeline.

    Both look at the photo twice as large, but with a longer side of at most so many pixels: 1000 for the network
    (`mmod_human_face_detector`, max-margin object detection, arXiv 1502.00046), 2400 for the gradients (see
    [`DlibFaces`]): faces from about 40 pixels on. The gradients look at it in all four positions; the network looks at
    the three turned ones where nothing else is found.

    Raises:
        MissingDependencyError: the extra `eval` is not installed.
    """

    def __init__(self) -> None:
        try:
            import dlib
            import face_recognition_models as models
        except ImportError as error:
            raise MissingDependencyError("dlib-bin", "faceanon-hub[eval]") from error
        self._dlib = dlib
        self._gradients = dlib.get_frontal_face_detector()
        self._network = dlib.cnn_face_detection_model_v1(models.cnn_face_detector_model_location())
        self._predictor = dlib.shape_predictor(models.pose_predictor_model_location())
        self._recognizer = dlib.face_recognition_model_v1(models.face_recognition_model_location())

    def __call__(self, image: np.ndarray, network: bool = True) -> list[Sighting]:
        """Finds the faces of a photo.

        Args:
            image (`np.ndarray` of shape `(H, W, 3)`, uint8):
                RGB photo.
            network (`bool`, *optional*, defaults to `True`):
                Whether the network looks, too: it finds more faces that look aside or wear a mask, in three times
                the time.

        Returns:
            `list[Sighting]`: each face once.
        """
        found: list[Sighting] = []
        for turn in range(4):  # first: the network sees some turned faces as they are, without saying how they lie
            found += _unseen(self._by_gradients(image, turn), found)
        if network:
            found += _unseen(self._by_network(image, 0), found)
        for turn in (1, 2, 3) if network and not found else ():
            found += _unseen(self._by_network(image, turn), found)
        return found

    def describe(self, image: np.ndarray, face: Sighting) -> np.ndarray:
        """The embedding of dlib's ResNet; two nearer than 0.6 are taken for one person.

        Args:
            image (`np.ndarray` of shape `(H, W, 3)`, uint8):
                RGB photo.
            face ([`Sighting`]):
                One of its faces.

        Returns:
            `np.ndarray` of shape `(128,)`, float32.
        """
        side = float(max(face.box[2:] - face.box[:2]))
        matrix = similarity((face.box[:2] + face.box[2:]) / 2, CROP_BOXES * side, np.pi / 2 * face.turn, CROP_SIZE)
        low, high = (round(CROP_SIZE / 2 * (1 + sign / CROP_BOXES)) for sign in (-1, 1))
        crop = warp_in(image, matrix, CROP_SIZE)
        shape = self._predictor(crop, self._dlib.rectangle(low, low, high, high))
        return np.array(self._recognizer.compute_face_descriptor(crop, shape), np.float32)

    def _by_network(self, image: np.ndarray, turn: int) -> list[Sighting]:
        photo = _prepared(image, NETWORK_SIDE, turn)
        boxes = [found.rect for found in self._network(photo, 0) if found.confidence > NETWORK_SCORE]
        return _sightings(boxes, photo, image, turn)

    def _by_gradients(self, image: np.ndarray, turn: int) -> list[Sighting]:
        photo = _prepared(image, GRADIENT_SIDE, turn)
        return _sightings(self._gradients.run(photo, 0, GRADIENT_SCORE)[0], photo, image, turn)


def _prepared(image: np.ndarray, longest: int, turn: int) -> np.ndarray:
    """The photo, enlarged as far as that goes, and turned to the left by so many quarters."""
    scale = min(ENLARGED, longest / max(image.shape[:2]))
    size = max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0]))
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return np.ascontiguousarray(np.rot90(resized, turn))


def _sightings(boxes: list, photo: np.ndarray, image: np.ndarray, turn: int) -> list[Sighting]:
    """Sightings in an image from dlib's rectangles in what was prepared of it."""
    height, width = photo.shape[:2] if turn % 2 == 0 else photo.shape[1::-1]
    ratio = np.tile([image.shape[1] / width, image.shape[0] / height], 2)
    found = []
    for box in boxes:
        left, top, right, bottom = box.left(), box.top(), box.right() + 1, box.bottom() + 1
        back = {
            0: (left, top, right, bottom),
            1: (width - bottom, left, width - top, right),
            2: (width - right, height - bottom, width - left, height - top),
            3: (top, height - right, bottom, height - left),
        }[turn]
        whole = (np.array(back) * ratio).clip(0, [image.shape[1], image.shape[0]] * 2).astype(np.float32)
        if min(whole[2:] - whole[:2]) >= LEAST_SIDE:
            found.append(Sighting(whole, turn))
    return found


def _unseen(faces: list[Sighting], known: list[Sighting]) -> list[Sighting]:
    """Those that lie on none that is known."""
    boxes, others = (np.array([face.box for face in some], np.float32).reshape(-1, 4) for some in (faces, known))
    return [face for face, seen in zip(faces, covered(boxes, others), strict=True) if not seen]
