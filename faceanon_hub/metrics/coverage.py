"""Whether every face that another detector sees was replaced."""

from __future__ import annotations

import numpy as np

MIN_IOU = 0.3
MIN_SHARE = 0.5  # of the smaller box: detectors differ in how much of the head they take in


class MediaPipeFaces:
    """Finds faces with MediaPipe's full-range detector (BlazeFace, arXiv 1907.05047).

    It looks at the whole photo at 192 pixels and so misses faces that are small in it. It is independent of
    CenterFace, but not of a [`FaceDetector`] with `second="mediapipe"`.

    Args:
        min_confidence (`float`, *optional*, defaults to `0.5`):
            Lowest confidence of a face, 0 to 1.
    """

    def __init__(self, min_confidence: float = 0.5) -> None:
        from mediapipe.python.solutions.face_detection import FaceDetection

        self._detector = FaceDetection(min_detection_confidence=min_confidence, model_selection=1)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Finds the faces of a photo.

        Args:
            image (`np.ndarray` of shape `(H, W, 3)`, uint8):
                Upright RGB photo.

        Returns:
            `np.ndarray` of shape `(N, 4)`, float32: left, top, right, bottom in pixels.
        """
        height, width = image.shape[:2]
        found = self._detector.process(np.ascontiguousarray(image)).detections or []
        parts = [detection.location_data.relative_bounding_box for detection in found]
        boxes = [[part.xmin, part.ymin, part.xmin + part.width, part.ymin + part.height] for part in parts]
        return np.array(boxes, np.float32).reshape(-1, 4) * np.array([width, height, width, height], np.float32)


def covered(boxes: np.ndarray, replaced: np.ndarray) -> np.ndarray:
    """Which faces of the independent detector are among the replaced ones.

    A box is covered if half of the smaller box lies in the other one, or if intersection over union is above 0.3. Its
    mean, 0 to 1, is the coverage; 1 is perfect.

    Args:
        boxes (`np.ndarray` of shape `(N, 4)`, float32):
            Left, top, right, bottom of the independent detector's faces, in pixels.
        replaced (`np.ndarray` of shape `(M, 4)`, float32):
            The same of the replaced faces.

    Returns:
        `np.ndarray` of shape `(N,)`, bool.
    """
    common, first, second = _areas(boxes, replaced)
    share = common / np.minimum(first, second)
    return ((share > MIN_SHARE) | (common / (first + second - common) > MIN_IOU)).any(1)


def redetected(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Which faces of the original photo the same detector finds again in the anonymized one.

    There must be a face with an intersection over union above 0.3. Its mean, 0 to 1, is the rate of redetection; 1 is
    perfect, as the photo stays usable for whatever counts or follows faces.

    Args:
        before (`np.ndarray` of shape `(N, 4)`, float32):
            Left, top, right, bottom of the faces in the original photo, in pixels.
        after (`np.ndarray` of shape `(M, 4)`, float32):
            The same in the anonymized photo.

    Returns:
        `np.ndarray` of shape `(N,)`, bool.
    """
    common, first, second = _areas(before, after)
    return (common / (first + second - common) > MIN_IOU).any(1)


def _areas(boxes: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Areas common to boxes (N, 4) and others (M, 4), (N, M), of the boxes, (N, 1), and of the others, (M,)."""
    low = np.maximum(boxes[:, None, :2], others[:, :2])
    high = np.minimum(boxes[:, None, 2:], others[:, 2:])
    first, second = (np.prod(each[:, 2:] - each[:, :2], 1) for each in (boxes, others))
    return np.prod((high - low).clip(0), 2), first[:, None], second
