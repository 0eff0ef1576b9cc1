"""The plane that nobody looks at: what a photo's transparency shows, and how that is hidden."""

from collections.abc import Iterator, Sequence
from types import EllipsisType

import cv2
import numpy as np
import PIL.Image

Area = tuple[int, int, int, int]  # left, top, right, bottom in pixels


def views(pixels: np.ndarray, alpha: np.ndarray | None) -> Iterator[np.ndarray]:
    """What can be seen of a photo besides its colours: its transparency, and the photo on black and on white.

    Args:
        pixels (`np.ndarray` of shape `(H, W, 3)`, uint8):
            Upright RGB photo.
        alpha (`np.ndarray` of shape `(H, W)`, uint8, *optional*):
            Its opacity. Where it is the same everywhere, nothing can be seen in it.

    Yields:
        `np.ndarray` of shape `(H, W, 3)`, uint8.
    """
    if alpha is None or alpha.min() == alpha.max():
        return
    for plane in (alpha, cv2.equalizeHist(alpha)):  # faint as it may be
        yield np.repeat(plane[..., None], 3, 2)
    photo, mask = PIL.Image.fromarray(pixels), PIL.Image.fromarray(alpha)
    for ground in ("black", "white"):
        yield np.asarray(PIL.Image.composite(photo, PIL.Image.new("RGB", photo.size, ground), mask))


def closed(alpha: np.ndarray | None, areas: Sequence[tuple[Area, np.ndarray | EllipsisType]]) -> np.ndarray | None:
    """A copy of a photo's transparency that is opaque, and so shows nothing, in some places.

    Args:
        alpha (`np.ndarray` of shape `(H, W)`, uint8, *optional*):
            Opacity of the photo; None stays None.
        areas (`list`):
            Windows (left, top, right, bottom), and of each a boolean array of its shape, or `...` for all of it.
    """
    if alpha is None:
        return None
    alpha = alpha.copy()
    for (left, top, right, bottom), inside in areas:
        alpha[top:bottom, left:right][inside] = 255
    return alpha
