"""Whether every face that another detector sees was replaced."""

import cv2
import numpy as np

from ..errors import MissingDependencyError

LONGEST_SIDE = 800  # pixels
MIN_IOU = 0.3
MIN_SHARE = 0.5  # of the smaller box: detectors differ in how much of the head they take in


class DlibFaces:
    """Finds faces with dlib's frontal detector: oriented gradients and a linear classifier (Dalal and Triggs 2005).

    No network, so that it shares nothing with the detector and the mesh of the pipeline.

    It finds faces of 40 pixels and more in a photo whose longer side is brought to at most 800.

    Args:
        threshold (`float`, *optional*, defaults to `0.2`):
            Lowest score of a face, without bound: faces have up to 3, and what is none seldom more than 0.2.
    """

    def __init__(self, threshold: float = 0.2) -> None:
        try:
            import dlib
        except ImportError as error:
            raise MissingDependencyError("dlib", "faceanon-hub[eval]") from error
        self._detector, self._threshold = dlib.get_frontal_face_detector(), threshold

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Finds the faces of a photo.

        Args:
            image (`np.ndarray` of shape `(H, W, 3)`, uint8):
                Upright RGB photo.

        Returns:
            `np.ndarray` of shape `(N, 4)`, float32: left, top, right, bottom in pixels.
        """
        scale = min(1.0, LONGEST_SIDE / max(image.shape[:2]))
        photo = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        found, _, _ = self._detector.run(np.ascontiguousarray(photo), 1, self._threshold)
        boxes = [[box.left(), box.top(), box.right() + 1, box.bottom() + 1] for box in found]
        return np.array(boxes, np.float32).reshape(-1, 4) / np.float32(scale)


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

    Example:
        ```py
        >>> import numpy as np
        >>> from faceanon_hub.metrics import covered

        >>> boxes = np.array([[0, 0, 10, 10], [50, 50, 60, 60]])
        >>> covered(boxes, replaced=np.array([[2, 2, 12, 12]])).tolist()
        [True, False]
        ```
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
