"""How well skin colour is kept."""

import numpy as np

from ..color import to_lab
from ..errors import MissingDependencyError

# Boundaries of the individual typology angle, in degrees, after Del Bino and Bernerd 2013: brown and dark; tan and
# intermediate; light and very light.
TONES = {"dark": (-90.0, 10.0), "medium": (10.0, 41.0), "light": (41.0, 90.1)}


def median_skin(image: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """The middle of a face's skin colours.

    Args:
        image (`np.ndarray` of shape `(S, S, 3)`, uint8):
            RGB crop.
        skin (`np.ndarray` of shape `(S, S)`):
            Where skin is, non-zero, see [`~faceanon_hub.blending.regions.skin_region`].

    Returns:
        `np.ndarray` of shape `(3,)`, float64: CIELAB (D65), each channel's median; NaN without skin.
    """
    colors = to_lab(image)[skin > 0]
    return np.median(colors, 0).astype(float) if len(colors) else np.full(3, np.nan)


def typology_angle(lab: np.ndarray) -> float:
    """Individual typology angle of a colour (Chardon 1991): about -60 (dark) to 80 (very light) degrees.

    Args:
        lab (`np.ndarray` of shape `(3,)`):
            CIELAB, see [`median_skin`].
    """
    return float(np.degrees(np.arctan2(lab[0] - 50, max(lab[2], 1e-6))))


def skin_tone(lab: np.ndarray) -> str:
    """Which of `TONES` a skin colour belongs to: `"dark"`, `"medium"` or `"light"`.

    Raises:
        ValueError: the colour is NaN: no skin was seen.
    """
    angle = typology_angle(lab)
    if np.isnan(angle):
        raise ValueError("no skin, no tone")
    return next(name for name, (low, high) in TONES.items() if low <= angle < high)


def color_errors(
    image: np.ndarray, reference: np.ndarray, skin: np.ndarray, reference_skin: np.ndarray | None = None
) -> dict[str, float]:
    """Distances between the median skin colours of two crops.

    Args:
        image, reference (`np.ndarray` of shape `(S, S, 3)`, uint8):
            RGB crops of the anonymized and the original face.
        skin (`np.ndarray` of shape `(S, S)`):
            Where skin is, non-zero.
        reference_skin (`np.ndarray` of shape `(S, S)`, *optional*):
            Where it is in the reference, if that has another shape.

    Returns:
        `dict[str, float]`: `"ciede2000"` (Sharma 2005; 1 is about the smallest difference one sees), `"chroma"`
        (distance of a* and b* alone) and `"ita"` (difference of typology angles in degrees). 0 is perfect.

    Raises:
        MissingDependencyError: scikit-image is not installed.

    Example:
        ```py
        >>> import numpy as np
        >>> from faceanon_hub.metrics import color_errors

        >>> skin = np.full((8, 8, 3), (220, 180, 160), np.uint8)
        >>> errors = color_errors(skin - 20, skin, np.ones((8, 8)))
        >>> {name: round(error, 1) for name, error in errors.items()}
        {'ciede2000': 5.5, 'chroma': 0.5, 'ita': 9.5}
        ```
    """
    try:
        from skimage.color import deltaE_ciede2000
    except ImportError as error:
        raise MissingDependencyError("scikit-image", "faceanon-hub[eval]") from error
    new = median_skin(image, skin)
    old = median_skin(reference, skin if reference_skin is None else reference_skin)
    return {
        "ciede2000": float(deltaE_ciede2000(old, new)),
        "chroma": float(np.linalg.norm(new[1:] - old[1:])),
        "ita": abs(typology_angle(new) - typology_angle(old)),
    }
