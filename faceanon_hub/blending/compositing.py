"""The new face into the photo; and hiding a face that cannot be replaced."""

from collections.abc import Sequence

import cv2
import numpy as np

from ..alignment import transform, warp_in, warp_out, window
from ..options import Fallback

HALF = 0.5  # of a pixel hidden, from which on it is erased
CELLS = 6  # numbers per side that blur and mosaic leave of a face
REACH = 1.25  # of a hidden ellipse, in half sides of the detector's box
# Heights of the face round it within which a softened photo is blurred in full; it is sharp from twice as far on.
CONTEXT = 0.4


def core(
    hidden: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...]
) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """The pixels of the photo of which nothing may remain: those on which the new face is laid with full opacity.

    Args:
        hidden (`np.ndarray` of shape `(S, S)`, float32):
            How much of each pixel of the crop is hidden, 0 to 1.
        matrix (`np.ndarray` of shape `(2, 3)`):
            Photo pixels to crop pixels.
        shape (`tuple[int, ...]`):
            Shape of the photo.

    Returns:
        `tuple`: the window (left, top, right, bottom) in the photo, and a boolean array of its shape.
    """
    area = window(matrix, len(hidden), shape)
    if area[0] == area[2] or area[1] == area[3]:
        return area, np.zeros((area[3] - area[1], area[2] - area[0]), bool)
    return area, warp_out(hidden, matrix, area, cv2.BORDER_CONSTANT) > HALF


def erase(canvas: np.ndarray, cores: list[tuple[tuple[int, int, int, int], np.ndarray]]) -> None:
    """Overwrites the cores of faces, in place, each by the mean colour of what is visible round it.

    Args:
        canvas (`np.ndarray` of shape `(H, W, 3)`, uint8):
            Photo to change.
        cores (`list`):
            Windows and pixels from [`core`].
    """
    hidden = np.zeros(canvas.shape[:2], np.uint8)
    for (left, top, right, bottom), inside in cores:
        hidden[top:bottom, left:right] |= inside
    for (left, top, right, bottom), inside in cores:
        part = canvas[top:bottom, left:right]
        visible = 1 - hidden[top:bottom, left:right]
        part[inside] = np.round(cv2.mean(part, visible)[:3])


def soften(
    canvas: np.ndarray,
    hidden: np.ndarray,
    matrix: np.ndarray,
    area: tuple[int, int, int, int],
    inside: np.ndarray,
    height: float,
    blur: float,
    kept: Sequence[np.ndarray] = (),
) -> None:
    """Blurs what is left of a head round an erased face, in place: hair, ears, neck.

    Args:
        canvas (`np.ndarray` of shape `(H, W, 3)`, uint8):
            Photo to change, its faces erased.
        hidden (`np.ndarray` of shape `(S, S)`, float32):
            How much of each pixel of the crop is hidden, 0 to 1.
        matrix (`np.ndarray` of shape `(2, 3)`):
            Photo pixels to crop pixels.
        area, inside:
            From [`core`]: what was erased, which stays as it is and is not mixed in.
        height (`float`):
            Of the face, in pixels of the crop.
        blur (`float`):
            Standard deviation of the blur, in heights of the face.
        kept (`list[np.ndarray]`, *optional*):
            Boxes, in pixels of the photo, that stay as they are.
    """
    size = 2 * len(hidden)  # the same place, turned and scaled the same way, twice as wide
    wide = matrix + [[0, 0, size / 4]]
    visible = np.pad((hidden <= HALF).astype(np.uint8), size // 4, constant_values=1)
    others = np.ones_like(visible)
    for left, top, right, bottom in kept:
        corners = transform(np.array([[left, top], [right, top], [right, bottom], [left, bottom]]), wide)
        cv2.fillConvexPoly(others, np.round(corners).astype(np.int32), 0)
    near = 2 - cv2.distanceTransform(visible, cv2.DIST_L2, 5) / (CONTEXT * height)
    free = cv2.distanceTransform(others, cv2.DIST_L2, 5) / (CONTEXT * height)
    around = left, top, right, bottom = window(wide, size, canvas.shape)
    alpha = warp_out(_smooth(np.minimum(near, free).clip(0, 1)), wide, around, cv2.BORDER_CONSTANT).clip(0, 1)
    alpha[area[1] - top : area[3] - top, area[0] - left : area[2] - left][inside] = 0
    for box in kept:
        low, high = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
        alpha[max(low[1] - top, 0) : max(high[1] - top, 0), max(low[0] - left, 0) : max(high[0] - left, 0)] = 0
    crop, shown = warp_in(canvas, wide, size).astype(np.float32), visible.astype(np.float32)[..., None]
    parts = cv2.GaussianBlur(np.dstack([crop * shown, shown]), (0, 0), blur * height)
    smooth = warp_out(parts[..., :3] / (parts[..., 3:] + 1e-3), wide, around)
    part = canvas[top:bottom, left:right]
    part[:] = np.rint(part + alpha[..., None] * (smooth - part)).clip(0, 255)


def paste(
    canvas: np.ndarray,
    face: np.ndarray,
    opacity: np.ndarray,
    matrix: np.ndarray,
    area: tuple[int, int, int, int],
    inside: np.ndarray,
) -> None:
    """Lays a new face into the photo, in place and only inside its own window, at the photo's resolution.

    Args:
        canvas (`np.ndarray` of shape `(H, W, 3)`, uint8):
            Photo to change.
        face (`np.ndarray` of shape `(S, S, 3)`, uint8):
            Composed crop.
        opacity (`np.ndarray` of shape `(S, S)`, float32):
            How much of it is laid over the photo, 0 to 1.
        matrix (`np.ndarray` of shape `(2, 3)`):
            Photo pixels to crop pixels.
        area, inside:
            From [`core`]: where no pixel of the old face may remain.
    """
    if not inside.any():
        return
    left, top, right, bottom = area
    alpha = warp_out(opacity, matrix, area, cv2.BORDER_CONSTANT).clip(0, 1)
    alpha[inside] = 1
    x, y, width, height = cv2.boundingRect((alpha > 0).astype(np.uint8))
    left, top = left + x, top + y
    part = canvas[top : top + height, left : left + width]
    new = warp_out(face.astype(np.float32), matrix, (left, top, left + width, top + height))
    alpha = alpha[y : y + height, x : x + width, None]
    new *= alpha
    new += (1 - alpha) * part
    part[:] = np.rint(new, out=new).clip(0, 255, out=new)


def obfuscate(canvas: np.ndarray, box: np.ndarray, method: Fallback, photo: np.ndarray | None = None) -> None:
    """Hides a face, in place, under an ellipse a quarter larger than its box.

    Args:
        canvas (`np.ndarray` of shape `(H, W, 3)`, uint8):
            Photo to change.
        box (`np.ndarray` of shape `(4,)`):
            Left, top, right, bottom in pixels.
        method (`"blur"`, `"mosaic"` or `"solid"`):
            Blur and mosaic leave six by six colours of the face, smoothly or as squares; solid leaves nothing, black.
        photo (`np.ndarray` of shape `(H, W, 3)`, uint8, *optional*):
            Where these colours come from, if the face is erased in the canvas already.
    """
    (left, top, right, bottom), inside = ellipse(box, canvas.shape)
    if inside.size:
        part = canvas[top:bottom, left:right]
        seen = part if photo is None else photo[top:bottom, left:right]
        part[inside] = _coarse(seen, method, (CELLS, CELLS))[inside]


def ellipse(box: np.ndarray, shape: tuple[int, ...]) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """What [`obfuscate`] hides.

    Args:
        box (`np.ndarray` of shape `(4,)`):
            Left, top, right, bottom in pixels.
        shape (`tuple[int, ...]`):
            Shape of the photo.

    Returns:
        `tuple`: the window (left, top, right, bottom) in the photo, and a boolean array of its shape; both are empty
        for a box outside of the photo.
    """
    center, half = (box[:2] + box[2:]) / 2, np.maximum(REACH * (box[2:] - box[:2]) / 2, 0.5)
    left, top = (int(v) for v in np.floor(center - half).clip(0))
    right, bottom = (int(v) for v in np.minimum(np.ceil(center + half) + 1, shape[1::-1]))
    if right <= left or bottom <= top:
        return (0, 0, 0, 0), np.zeros((0, 0), bool)
    y, x = np.ogrid[top:bottom, left:right]
    return (left, top, right, bottom), ((x - center[0]) / half[0]) ** 2 + ((y - center[1]) / half[1]) ** 2 <= 1


def cover(canvas: np.ndarray, zone: tuple[int, int, int, int], method: Fallback) -> None:
    """Hides a zone of the photo whole, in place, whatever it shows.

    Args:
        canvas (`np.ndarray` of shape `(H, W, 3)`, uint8):
            Photo to change.
        zone (`tuple[int, int, int, int]`):
            Left, top, right, bottom in pixels, inside the photo and not empty.
        method (`"blur"`, `"mosaic"` or `"solid"`):
            Blur and mosaic leave at most six by six colours, each the mean of several pixels; solid leaves black, and
            so do all in a zone of less than 16 pixels, whose mean would show too much.
    """
    left, top, right, bottom = zone
    part = canvas[top:bottom, left:right]
    columns, rows = (min(CELLS, max(1, side // 4)) for side in (right - left, bottom - top))
    part[:] = _coarse(part, "solid" if part[..., 0].size < 16 else method, (columns, rows))


def _smooth(step: np.ndarray) -> np.ndarray:
    """From 0 to 1 without a corner at either end."""
    return step * step * (3 - 2 * step)


def _coarse(part: np.ndarray, method: Fallback, cells: tuple[int, int]) -> np.ndarray:
    """What a method leaves of a part of a photo, of the same shape."""
    if method == "solid":
        return np.zeros_like(part)
    few = cv2.resize(part, cells, interpolation=cv2.INTER_AREA)
    smooth = cv2.INTER_CUBIC if method == "blur" else cv2.INTER_NEAREST
    return cv2.resize(few, part.shape[1::-1], interpolation=smooth)
