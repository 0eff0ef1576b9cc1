"""Photo to face boxes."""

import math
from collections.abc import Iterator

import cv2
import numpy as np

from .component import Component
from .diffusion import register_to_config
from .faces import Face
from .networks.centerface import load_centerface
from .ranges import THRESHOLD, check_number

# Width, in pixels of the network's input, from which faces are found as reliably as large ones (benchmarks/recall.py).
SMALLEST_RELIABLE = 10.0
SMALLEST = 6.0  # width in pixels of the photo: half of the faces that small are found (benchmarks/crowds.py)
STRIDE = 32
STEP = 4.0  # from level to level, or a little more to the last
OVERLAP = math.ceil(1.5 * 1.25 * STEP * SMALLEST_RELIABLE)  # the tallest face too small for the next level
COARSEST = 0.4  # of the overview, the last level: large faces that are hidden in part are seen best from far away
LEAST_SIDE = 100  # pixels of the last level
GLANCE = 0.1  # of the pixels of the upright search, for a look at the photo in each of three other positions
LEAST_GLANCE = 64  # side in pixels of the smallest such look
CERTAIN = 0.5  # from this confidence on, an upright face says that the photo is upright
LIKELY = 0.35  # from this confidence on, a turned face says that it may be turned
CLEARER = 0.15  # by which a turned face must be more confident than the upright one in its place
SMALL = 3.0  # times the smallest wanted face; smaller ones are found less often where they are tilted
TILTED, TILT = 10.0, 30.0  # degrees: from which on a face is tilted, and by how much it then is taken to be
MOST_TILTS = 2
QUARTERS, DIAGONALS = (90.0, 180.0, 270.0), (45.0, 135.0, 225.0, 315.0)
LONGEST = 20000  # pixels of a photo that OpenCV can turn by any angle


class FaceDetector(Component):
    r"""Finds faces with CenterFace (arXiv 1911.03599), whose weights come with the package.

    The photo is looked at on several scales: first that at which the smallest wanted face is just large enough to be
    found, then each time a quarter of it, until the whole photo is small enough for a face that fills it. Each level
    is looked at in overlapping tiles, so memory is that of the resized photo and one tile: under 2 GB in all for 50
    megapixels.

    Args:
        threshold (`float`, *optional*, defaults to `0.2`):
            Lowest confidence of a face, 0.01 to 0.9. Low on purpose: a missed face is worse than a blurred tree.
        min_face_size (`float`, *optional*, defaults to `12`):
            Width in pixels of the smallest face to be found, 6 to 256. Time grows with its inverse square.
        overview_size (`int`, *optional*, defaults to `512`):
            Longer side, in pixels, of the coarsest level, 64 to `tile_size`: in several tiles, large faces were cut.
        tile_size (`int`, *optional*, defaults to `576`):
            Longest side of a tile in pixels, 256 to 2048.

    Raises:
        ValueError: a value is out of its range.

    Example:
        ```py
        >>> import skimage.data
        >>> from faceanon_hub import FaceDetector

        >>> faces = FaceDetector()(skimage.data.astronaut())
        >>> len(faces), faces[0].box.round()
        ```
    """

    @register_to_config
    def __init__(
        self,
        threshold: float = 0.2,
        min_face_size: float = 12.0,
        overview_size: int = 512,
        tile_size: int = 576,
    ) -> None:
        check_number("threshold", threshold, *THRESHOLD)
        check_number("min_face_size", min_face_size, SMALLEST, 256)
        check_number("tile_size", tile_size, 256, 2048, whole=True)
        check_number("overview_size", overview_size, 64, tile_size, whole=True)
        self._network = load_centerface()

    def __call__(self, image: np.ndarray, threshold: float | None = None, smallest: float | None = None) -> list[Face]:
        """Finds the faces of a photo.

        Args:
            image (`np.ndarray` of shape `(H, W, 3)`, uint8):
                Upright RGB photo of any size.
            threshold (`float`, *optional*):
                Lowest confidence, 0 to 1, in place of the configured one.
            smallest (`float`, *optional*):
                Width in pixels, 6 to 256, from which faces are found that are smaller than `min_face_size`, by a
                second search. What the first one finds is the same as without.

        Returns:
            `list[Face]`: from left to right, with `box`, `score` and `keypoints`.

        Raises:
            ValueError: a number is out of its range.
        """
        threshold = self.config.threshold if threshold is None else threshold
        check_number("threshold", threshold, 0, 1)
        smallest = self.config.min_face_size if smallest is None else smallest
        check_number("smallest", smallest, SMALLEST, 256)
        rows = self._find(image, threshold)
        rows[:, :4] = rows[:, :4].clip(0, [image.shape[1], image.shape[0]] * 2)
        faces = [Face(box=r[:4], score=float(r[14]), keypoints=r[4:14].reshape(5, 2)) for r in rows]
        if smallest < self.config.min_face_size:
            sizes = {"overview_size": self.config.overview_size, "tile_size": self.config.tile_size}
            finer = FaceDetector(min_face_size=smallest, **sizes)(image, threshold)
            known = _same(np.array([face.box for face in finer]).reshape(-1, 4), rows)
            faces += [face for face, same in zip(finer, known, strict=True) if not same.any()]
        return sorted(faces, key=lambda face: float(face.box[0] + face.box[2]))

    def _find(self, image: np.ndarray, threshold: float) -> np.ndarray:
        """Rows, as of [`_look`], of the photo as it stands, and turned where that shows more."""
        upright, spent = self._search(image, threshold)
        rows = upright
        for turn in self._angles(image, upright, threshold, max(GLANCE * spent, LEAST_GLANCE**2)):
            rows = _joined(rows, self._search_turned(image, turn, threshold, upright))
        angle = self._tilt(rows) if max(image.shape) < LONGEST else None
        for _ in range(MOST_TILTS):
            if angle is not None:
                seen = self._search_turned(image, angle, threshold, upright)
                rows = _joined(rows, seen)
                angle = self._tilt(seen, angle)
        return _suppress(rows)

    def _search(self, image: np.ndarray, threshold: float) -> tuple[np.ndarray, int]:
        """Looks at every level. Returns rows as of [`_look`], and how many pixels were looked at."""
        found, spent = [], 0
        for scale in self._levels(max(image.shape[:2])):
            photo = _resized(image, scale)
            for top, bottom, left, right in _tiles(photo.shape[0], photo.shape[1], self.config.tile_size, OVERLAP):
                seen = self._look(photo[top:bottom, left:right], threshold)
                spent += (bottom - top) * (right - left)
                # A face that a tile cuts is whole in its neighbour or, if larger than the overlap, on a coarser level.
                cut = _touches(seen, (top, bottom, left, right), photo.shape)
                ratio = image.shape[1] / photo.shape[1], image.shape[0] / photo.shape[0]
                found.append(_moved(seen[~cut], (left, top), ratio))
        return _suppress(np.concatenate(found)), spent

    def _levels(self, side: int) -> Iterator[float]:
        """Scales at which a photo of this longer side is looked at, from fine to coarse."""
        whole = min(1.0, self.config.overview_size / side)
        scale = max(SMALLEST_RELIABLE / self.config.min_face_size, whole)
        while scale > whole:
            yield scale
            scale = scale / STEP if scale > 1.25 * STEP * whole else whole
        yield whole
        if COARSEST * whole * side >= LEAST_SIDE:
            yield COARSEST * whole

    def _angles(self, image: np.ndarray, upright: np.ndarray, threshold: float, budget: float) -> list[float]:
        """Turns to the left, in degrees, that may show a face better than the upright photo, by a glance at each."""
        if not (upright[:, 14] >= CERTAIN).any():
            # Small faces that lie between two quarter turns are not sure in either.
            between = len(self._little(upright)) and max(image.shape) < LONGEST
            return [*QUARTERS, *DIAGONALS] if between else [*QUARTERS]
        scale = min(1.0, math.sqrt(budget / (image.shape[0] * image.shape[1])))
        small = _resized(image, scale)
        angles: list[float] = []
        ratio = image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]
        for angle in QUARTERS:
            matrix, turned = _turned(small, angle)
            seen = _moved(_turned_back(self._look(turned, max(threshold, LIKELY)), matrix), (0, 0), ratio)
            shared = _shared(seen, upright) > 0.3 * _area(seen)[:, None]
            known = np.where(shared, upright[None, :, 14], 0).max(1, initial=0)
            if (seen[:, 14] > known + CLEARER).any():
                angles.append(angle)
        return angles

    def _tilt(self, rows: np.ndarray, angle: float | None = None) -> float | None:
        """By how many degrees to the left small faces are tilted, where most are against `angle` or a quarter turn.

        The keypoints of a tilted face are nearer to upright than it is, so they only give the side.
        """
        little = self._little(rows)
        if not len(little):
            return None
        tilt = float(np.median(_rolls(little)))
        angle = 90.0 * round(tilt / 90) if angle is None else angle
        rest = (tilt - angle + 180) % 360 - 180
        return None if abs(rest) < TILTED else angle + math.copysign(TILT, rest)

    def _little(self, rows: np.ndarray) -> np.ndarray:
        return rows[(rows[:, 2:4] - rows[:, :2]).max(1) < SMALL * self.config.min_face_size]

    def _search_turned(self, image: np.ndarray, angle: float, threshold: float, upright: np.ndarray) -> np.ndarray:
        """Rows of a turned look: sure ones alone, but where it shows many more faces than the upright one."""
        matrix, turned = _turned(image, angle)
        rows = _turned_back(self._search(turned, threshold)[0], matrix)
        sure, before = ((seen[:, 14] >= CERTAIN).sum() for seen in (rows, upright))
        return rows if sure > 2 * before else rows[rows[:, 14] > threshold + CLEARER]

    def _look(self, image: np.ndarray, threshold: float) -> np.ndarray:
        """Runs CenterFace. Returns (N, 15) float32: box (4), keypoints (5 x 2), score."""
        height, width = image.shape[:2]
        padded = cv2.copyMakeBorder(image, 0, -height % STRIDE, 0, -width % STRIDE, cv2.BORDER_CONSTANT)
        heat, log_size, offset, points = self._network(padded.transpose(2, 0, 1)[None].astype(np.float32, order="C"))
        row, col = np.nonzero(heat[0, 0] > threshold)
        size = np.exp(log_size[0, ::-1, row, col]) * 4
        start = (np.stack([col, row], 1) + offset[0, ::-1, row, col] + 0.5) * 4 - size / 2
        # Keypoints come as (y, x) fractions of the box.
        keypoints = points[0, :, row, col].reshape(-1, 5, 2)[..., ::-1] * size[:, None] + start[:, None]
        score = heat[0, 0, row, col][:, None]
        found = np.concatenate([start, start + size, keypoints.reshape(-1, 10), score], 1).astype(np.float32)
        return _suppress(found)


def _resized(image: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return image
    size = max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0]))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _moved(rows: np.ndarray, origin: tuple[int, int], ratio: tuple[float, float]) -> np.ndarray:
    """Rows moved from a tile at `origin` to its picture, and scaled to the photo; scores stay."""
    moved = rows.copy()
    moved[:, :14] = (rows[:, :14] + np.tile(origin, 7)) * np.tile(ratio, 7)
    return moved


def _turned(image: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """A photo turned by degrees to the left, and the matrix (2, 3) that takes it there; its corners are filled."""
    height, width = image.shape[:2]
    cos, sin = (round(value, 9) for value in (math.cos(math.radians(angle)), math.sin(math.radians(angle))))
    size = math.ceil(abs(width * cos) + abs(height * sin)), math.ceil(abs(width * sin) + abs(height * cos))
    turn = np.array([[cos, sin], [-sin, cos]])
    matrix = np.c_[turn, (np.array(size) - 1) / 2 - turn @ [(width - 1) / 2, (height - 1) / 2]]
    if angle % 90 == 0:
        return matrix, np.rot90(image, round(angle / 90))
    return matrix, cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE)


def _turned_back(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Rows of a photo, from those of the turned one; a box bounds the ellipse that filled the turned box."""
    turn = matrix[:, :2].T
    points = (rows[:, :14].reshape(-1, 7, 2) - matrix[:, 2] - 0.5) @ turn.T + 0.5
    middle, half = points[:, :2].mean(1), (rows[:, 2:4] - rows[:, :2]) / 2
    reach = np.sqrt(half**2 @ (turn**2).T)
    moved = np.concatenate([middle - reach, middle + reach, points[:, 2:].reshape(-1, 10), rows[:, 14:]], 1)
    return moved.astype(np.float32)


def _joined(known: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of earlier looks and of a turned one, which counts where it is clearly more confident of the same face."""
    same, clearer = _same(rows, known), rows[:, 14, None] > known[None, :, 14] + CLEARER
    new = np.logical_not((same & ~clearer).any(1))
    # A small face is not given up for a large guess round it.
    near = _area(rows)[:, None] < 4 * _area(known)[None]
    return np.concatenate([known[~(same & clearer & near & new[:, None]).any(0)], rows[new]])


def _same(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which rows mean the same faces as others: they share more than half of the smaller box."""
    return _shared(rows, others) > 0.5 * np.minimum(_area(rows)[:, None], _area(others)[None])


def _area(rows: np.ndarray) -> np.ndarray:
    return (rows[:, 2:4] - rows[:, :2]).prod(1)


def _rolls(rows: np.ndarray) -> np.ndarray:
    """Tilt of faces in degrees, by eyes and mouth."""
    points = rows[:, 4:14].reshape(-1, 5, 2)
    down = points[:, 3:].mean(1) - points[:, :2].mean(1)
    return np.degrees(np.arctan2(-down[:, 0], down[:, 1]))


def _shared(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Area that each box has in common with each other one."""
    start = np.maximum(rows[:, None, :2], others[None, :, :2])
    end = np.minimum(rows[:, None, 2:4], others[None, :, 2:4])
    return (end - start).clip(0).prod(2)


def _tiles(height: int, width: int, size: int, overlap: int) -> Iterator[tuple[int, int, int, int]]:
    """Tiles (top, bottom, left, right) of equal size that cover the picture, neighbours overlapping."""

    def spans(length: int) -> list[tuple[int, int]]:
        count = max(1, math.ceil((length - overlap) / max(size - overlap, 1)))
        # Multiples of the network's stride, or it would be padding that is looked at.
        extent = min(length, math.ceil((length + (count - 1) * overlap) / count / STRIDE) * STRIDE)
        starts = [round(i * (length - extent) / max(count - 1, 1)) for i in range(count)]
        return [(start, start + extent) for start in starts]

    for top, bottom in spans(height):
        for left, right in spans(width):
            yield top, bottom, left, right


def _touches(rows: np.ndarray, tile: tuple[int, int, int, int], shape: tuple[int, ...]) -> np.ndarray:
    """Which boxes are cut off by a border of the tile that is no border of the picture."""
    top, bottom, left, right = tile
    x0, y0, x1, y1 = rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3]
    return (
        ((x0 < 1) & (left > 0))
        | ((y0 < 1) & (top > 0))
        | ((x1 > right - left - 1) & (right < shape[1]))
        | ((y1 > bottom - top - 1) & (bottom < shape[0]))
    )


def _suppress(rows: np.ndarray) -> np.ndarray:
    """Keeps the best of boxes that mean the same face: overlapping ones, and fragments inside a larger one."""
    if not len(rows):
        return rows
    corners = np.concatenate([rows[:, :2], rows[:, 2:4] - rows[:, :2]], 1)
    best = cv2.dnn.NMSBoxes(corners.tolist(), rows[:, 14].tolist(), 0.0, 0.3)
    rows = rows[np.asarray(best, dtype=int).reshape(-1)]
    shared = _shared(rows, rows)
    area = _area(rows)
    fragment = (
        (shared > 0.7 * area[:, None]) & (area[None] > 1.5 * area[:, None]) & (rows[None, :, 14] > rows[:, None, 14])
    )
    return rows[~fragment.any(1)]
