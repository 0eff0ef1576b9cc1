"""The photo's sharpness and noise for the new face, measured on what is round it, not on the original face."""

import functools
from typing import NamedTuple

import cv2
import numpy as np

from .seam import silhouette

RING = 0.07  # sides of the crop beyond the face's outline where photo and drawn picture are compared
BLURS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)  # standard deviations in pixels that are tried
LENIENCE = 0.5  # share by which a new face may be sharper than a photo that is nearly as sharp
LEAST = 0.2  # below, nothing is seen of a blur
FINE, MIDDLE = 1.0, 3.0  # of the two bands whose ratio measures sharpness
FEWEST = 200  # pixels of a measurement
FLAT = 25  # percent of the ring's pixels that are taken for flat: what is left there is noise
MOST_NOISE = 8.0  # levels


class Grain(NamedTuple):
    """What a new face needs to look as soft and as noisy as the photo.

    Args:
        blur (`float`):
            Standard deviation in pixels of the crop, 0 for none.
        noise (`float`):
            Standard deviation in levels, 0 for none.
    """

    blur: float
    noise: float


def match(face: np.ndarray, grain: Grain) -> np.ndarray:
    """Blurs a new face and adds noise.

    Args:
        face (`np.ndarray` of shape `(S, S, 3)`, uint8):
            Drawn picture as placed in the crop.
        grain ([`Grain`]):
            From [`measure`].

    Returns:
        `np.ndarray` of shape `(S, S, 3)`, uint8.
    """
    if grain.blur > LEAST:
        face = cv2.GaussianBlur(face, (0, 0), grain.blur)
    if grain.noise <= 0:
        return face
    return (face + np.float32(grain.noise) * _pattern(len(face))).round().clip(0, 255).astype(np.uint8)


@functools.lru_cache(4)
def _pattern(size: int) -> np.ndarray:
    """The same noise for every face of a size, so that it does not flicker in a video."""
    return np.random.default_rng(0).normal(0, 1, (size, size, 1)).astype(np.float32)


def measure(face: np.ndarray, surroundings: np.ndarray, hidden: np.ndarray, placed: np.ndarray) -> Grain:
    """How much softer and noisier the photo is than a new face.

    Hair, ears and neck of the drawn person are compared with the original's, in the same ring round the face.

    Args:
        face (`np.ndarray` of shape `(S, S, 3)`, uint8):
            Drawn picture as placed in the crop.
        surroundings (`np.ndarray` of shape `(S, S, 3)`, uint8):
            RGB crop of the photo, the old face erased.
        hidden (`np.ndarray` of shape `(S, S)`, float32):
            What was erased of it, see [`seam.hidden`].
        placed (`np.ndarray` of shape `(478, >= 2)`):
            Mesh of the drawn face, in pixels of the crop.

    Returns:
        [`Grain`].
    """
    size = len(face)
    reach = np.ones((2 * round(RING * size) + 1,) * 2, np.uint8)
    seen = 1 - cv2.dilate((hidden > 0).astype(np.float32), np.ones((5, 5), np.uint8))
    ring = (cv2.dilate(silhouette(placed, size), reach) > 0) & (seen > 0)
    if ring.sum() < FEWEST:
        return Grain(0, 0)
    around = _Surroundings(seen, ring)
    photo, drawn = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) for picture in (surroundings, face))
    wanted, shown, blur = around.sharpness(photo), around.sharpness(drawn), 0.0
    wanted *= 1 + LENIENCE * min(1.0, wanted / max(shown, 1e-6))
    for tried in BLURS if shown > wanted else ():
        before, shown = shown, around.sharpness(cv2.GaussianBlur(drawn, (0, 0), tried))
        if shown <= wanted:
            # Between two of those that are tried, so that frames of a video differ by as little as they do.
            blur += (tried - blur) * (before - wanted) / (before - shown)
            break
        blur = tried
    if blur > LEAST:
        drawn = cv2.GaussianBlur(drawn, (0, 0), blur)
    missing = around.noise(photo) ** 2 - around.noise(drawn) ** 2
    return Grain(blur, min(MOST_NOISE, max(0.0, missing) ** 0.5))


class _Surroundings:
    """Measures grey pictures (S, S), float32, in a ring; pixels that are not seen do not count."""

    def __init__(self, seen: np.ndarray, ring: np.ndarray) -> None:
        self.seen, self.ring = seen, ring
        self.weights: dict[float, np.ndarray] = {}  # by width of the blur, which all pictures share

    def smooth(self, gray: np.ndarray, width: float) -> np.ndarray:
        if width not in self.weights:
            self.weights[width] = cv2.GaussianBlur(self.seen, (0, 0), width).clip(1e-3)
        return cv2.GaussianBlur(gray * self.seen, (0, 0), width) / self.weights[width]

    def sharpness(self, gray: np.ndarray) -> float:
        """Energy of the finest details over that of larger ones."""
        fine, middle = self.smooth(gray, FINE), self.smooth(gray, MIDDLE)
        return float(np.abs(gray - fine)[self.ring].mean() / max(1e-3, np.abs(fine - middle)[self.ring].mean()))

    def noise(self, gray: np.ndarray) -> float:
        """Standard deviation, in levels, of what is left where the picture is flat."""
        rest = np.abs(gray - self.smooth(gray, FINE))
        uneven = self.smooth(np.abs(self.smooth(gray, 1.5) - self.smooth(gray, 4)), 3)
        flat = self.ring & (uneven <= np.percentile(uneven[self.ring], FLAT))
        return 1.48 * float(np.median(rest[flat]))
