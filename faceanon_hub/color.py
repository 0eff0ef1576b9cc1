"""The original's skin colour, brought to the generated face."""

import cv2
import numpy as np

from .component import Component
from .diffusion import register_to_config
from .lighting import to_linear, to_srgb
from .ranges import check_number

# Photos of one tone: steps of lightness, side of the crop that is measured, CIELAB distance that is noise.
TONES, TONED_SIZE, TONED = 9, 128, 4.5
CAST = 5.0  # CIELAB distance up to which drawn skin is off by chance; what is beyond is the colour of the light
COLORLESS = 0.5  # CIELAB chroma: below, a tone is grey


class SkinColorTransfer(Component):
    r"""Moves generated skin's colours so that their middle and covariance in CIELAB become those of the original skin.

    By the smallest linear move that does so (Pitie and Kokaram 2007, closed form).

    Args:
        strength (`float`, *optional*, defaults to `1.0`):
            0 leaves the colours as generated, 1 applies the whole map.
        limit (`float`, *optional*, defaults to `1.25`):
            Largest factor by which contrast is stretched or compressed along any direction of colour, 1 to 10.

    Raises:
        ValueError: a value is out of its range.
    """

    @register_to_config
    def __init__(self, strength: float = 1.0, limit: float = 1.25) -> None:
        check_number("strength", strength, 0, 1)
        check_number("limit", limit, 1, 10)

    def estimate(self, image: np.ndarray, skin: np.ndarray) -> np.ndarray:
        """Middle and covariance of skin colour: all that this component takes from an original.

        Args:
            image (`np.ndarray` of shape `(S, S, 3)`, uint8):
                RGB crop.
            skin (`np.ndarray` of shape `(S, S)`):
                Where skin is expected, non-zero; hair, beard and glasses in it are trimmed as outliers.

        Returns:
            `np.ndarray` of shape `(9,)`, float32: median (3), then the covariance's upper triangle (6), in CIELAB. All
            zero where too little skin is seen.
        """
        colors = to_lab(image)[skin > 0]
        if len(colors) < 50:
            return np.zeros(9, np.float32)
        middle = np.median(colors, 0)
        spread = 1.4826 * np.median(np.abs(colors - middle), 0) + 1
        colors = colors[(np.abs(colors - middle) < 2.5 * spread).all(1)]
        if len(colors) < 10:
            return np.zeros(9, np.float32)
        covariance = np.cov(colors.T)
        return np.concatenate([middle, covariance[np.triu_indices(3)]]).astype(np.float32)

    def __call__(
        self,
        image: np.ndarray,
        skin: np.ndarray,
        region: np.ndarray,
        original: np.ndarray,
        strength: float | None = None,
        neutral: np.ndarray | None = None,
    ) -> np.ndarray:
        """Recolours a generated face.

        Args:
            image (`np.ndarray` of shape `(S, S, 3)`, uint8):
                Generated RGB crop.
            skin (`np.ndarray` of shape `(S, S)`):
                Where skin is expected, as in [`estimate`].
            region (`np.ndarray` of shape `(S, S)`, float32):
                Where to act, 0 to 1, soft at its border.
            original (`np.ndarray` of shape `(9,)`):
                [`estimate`] of the original face.
            strength (`float`, *optional*):
                In place of the configured one.
            neutral (`np.ndarray` of shape `(S, S)`, float32, *optional*):
                Eyes and teeth, 0 to 1: made as much brighter or darker as the skin, and tinted in strongly coloured
                light only.

        Returns:
            `np.ndarray` of shape `(S, S, 3)`, uint8.
        """
        strength = self.config.strength if strength is None else strength
        present = self.estimate(image, skin)
        if strength == 0 or not original.any() or not present.any():
            return image
        # Darkening is a gain in linear light, which keeps shadows: taking away in CIELAB blackens them.
        wanted, found = (to_linear(from_lab(middle[None, None, :3])).mean() + 0.003 for middle in (original, present))
        lab, light = to_lab(image), to_linear(image)
        if wanted < found:
            exposed = to_srgb(light * (wanted / found))
            present = self.estimate(exposed, skin)
        else:
            exposed = image
        stretch = _monge_kantorovich(_covariance(present), _covariance(original), self.config.limit)
        moved = (to_lab(exposed) - present[:3]) @ stretch.T
        moved += original[:3] - np.median(moved[skin > 0], 0)
        if neutral is not None:
            bare = to_lab(to_srgb(light * (wanted / found)))
            shift = original[1:3] - present[1:3]
            bare[..., 1:] += shift * max(0.0, 1 - CAST / max(float(np.linalg.norm(shift)), CAST))
            moved += neutral[..., None] * (bare - moved)
        return from_lab(lab + (strength * region)[..., None] * (moved - lab))


def _covariance(coefficients: np.ndarray) -> np.ndarray:
    matrix = np.zeros((3, 3))
    matrix[np.triu_indices(3)] = coefficients[3:]
    return matrix + np.triu(matrix, 1).T + np.eye(3)  # the unit keeps flat colours from being stretched


def _monge_kantorovich(source: np.ndarray, target: np.ndarray, limit: float) -> np.ndarray:
    """The symmetric matrix A with A source A = target, its eigenvalues kept within [1 / limit, limit]."""
    root = _power(source, 0.5)
    inverse = _power(source, -0.5)
    values, vectors = np.linalg.eigh(inverse @ _power(root @ target @ root, 0.5) @ inverse)
    return ((vectors * values.clip(1 / limit, limit)) @ vectors.T).astype(np.float32)


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T


def toning(image: np.ndarray) -> np.ndarray | None:
    """Measures the hue at each lightness of a photo of one tone: grey, sepia or infrared.

    Args:
        image (`np.ndarray` of shape `(S, S, 3)`, uint8):
            RGB crop.

    Returns:
        `np.ndarray` of shape `(9, 2)`, float64: a* and b* of CIELAB at nine steps of lightness, 0 to 100. None for a
        photo in colour, in which one lightness has several hues.
    """
    lab = to_lab(cv2.resize(image, (TONED_SIZE,) * 2, interpolation=cv2.INTER_AREA)).reshape(-1, 3).astype(np.float64)
    weights = np.maximum(0, 1 - np.abs(_steps(lab[:, :1]) - np.arange(TONES)))
    steps = np.diff(np.eye(TONES), axis=0)  # a lightness that does not occur takes the hue of its neighbour
    curve = np.linalg.solve(weights.T @ weights + 0.1 * steps.T @ steps, weights.T @ lab[:, 1:])
    off = np.linalg.norm(lab[:, 1:] - weights @ curve, axis=1)
    return curve if np.percentile(off, 95) < TONED else None


def tone(image: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """An RGB crop `(S, S, 3)`, uint8, in the hues of a photo of one tone, from [`toning`]."""
    if np.abs(curve).max() < COLORLESS:
        return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    lab = to_lab(image)
    step = _steps(lab[..., 0])
    return from_lab(np.dstack([lab[..., 0], *(np.interp(step, np.arange(TONES), hue) for hue in curve.T)]))


def _steps(lightness: np.ndarray) -> np.ndarray:
    return (lightness / 100 * (TONES - 1)).clip(0, TONES - 1)


def to_lab(image: np.ndarray) -> np.ndarray:
    """SRGB uint8 to CIELAB (D65), float32."""
    # By way of linear light: OpenCV's own curve of sRGB is off by a fifth of a level, and never back where it was.
    return cv2.cvtColor(to_linear(image), cv2.COLOR_LRGB2LAB)


def from_lab(lab: np.ndarray) -> np.ndarray:
    """CIELAB to sRGB uint8, clipped; what [`to_lab`] gave comes back as it was."""
    return to_srgb(cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2LRGB))
