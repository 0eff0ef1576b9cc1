"""The light's direction on the original face, brought to the generated one."""

import functools

import cv2
import numpy as np

from . import landmarks as lm
from .component import Component
from .diffusion import register_to_config
from .networks.landmarker import BUNDLED_TASK, landmarker_pool
from .ranges import check_number

# Real spherical harmonics of second order; what a Lambertian surface keeps of each order (Ramamoorthi and Hanrahan
# 2001), so that a lamp's shading is `harmonics(normal) @ (KEPT * harmonics(lamp))`.
KEPT = np.repeat(np.array([np.pi, 2 * np.pi / 3, np.pi / 4], np.float32), [1, 3, 5])
FLAT = float(np.sqrt(4 * np.pi))  # the coefficient of a shading that is 1 everywhere
RIDGE = 0.03  # keeps what skin's own pattern adds to the light out of the second order
DARKEST = 0.1  # of the mean: a shading below it is noise
ROUNDS = 4
STEP = 1.25  # what is spread out is weaker than what was asked for: rounds that go too far end nearer
FEATURES = np.unique(lm.LEFT_EYE + lm.RIGHT_EYE + lm.LEFT_BROW + lm.RIGHT_BROW + lm.OUTER_LIPS + lm.INNER_LIPS)
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


class LightingTransfer(Component):
    r"""Multiplies a generated face by the ratio of two shadings: that of the original and its own.

    A shading is nine coefficients of second-order spherical harmonics (Basri and Jacobs 2003) of the linear luminance
    at the vertices of the face mesh on visible skin. They are divided by the mean, so brightness stays and only the
    distribution of the light moves; colour is the task of [`SkinColorTransfer`].

    Args:
        strength (`float`, *optional*, defaults to `1.0`):
            0 leaves the face as generated, 1 applies the whole ratio.
        limit (`float`, *optional*, defaults to `2.5`):
            Largest factor by which a pixel is made brighter or darker, in linear light, 1 to 10.

    Raises:
        ValueError: a value is out of its range.
    """

    @register_to_config
    def __init__(self, strength: float = 1.0, limit: float = 2.5) -> None:
        check_number("strength", strength, 0, 1)
        check_number("limit", limit, 1, 10)

    def estimate(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Fits the shading of a face: all that this component takes from an original.

        Args:
            image (`np.ndarray` of shape `(S, S, 3)`, uint8):
                RGB crop.
            points (`np.ndarray` of shape `(478, 3)`, float32):
                Mesh in pixels of the crop.

        Returns:
            `np.ndarray` of shape `(9,)`, float32: coefficients of [`harmonics`], the shading's mean over the seen skin
            1; an even shading where too few vertices are seen.
        """
        normal = vertex_normals(points)
        seen, luminance = skin_luminance(image, points, normal)
        return fit_shading(normal[seen], luminance)

    def __call__(
        self,
        image: np.ndarray,
        points: np.ndarray,
        region: np.ndarray,
        original: np.ndarray,
        strength: float | None = None,
        drawn: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> np.ndarray:
        """Relights a generated face.

        Args:
            image (`np.ndarray` of shape `(S, S, 3)`, uint8):
                Generated RGB crop.
            points (`np.ndarray` of shape `(478, 3)`, float32):
                Mesh in pixels of the crop.
            region (`np.ndarray` of shape `(S, S)`, float32):
                Where to act, 0 to 1, soft at its border.
            original (`np.ndarray` of shape `(9,)`):
                [`estimate`] of the original face.
            strength (`float`, *optional*):
                In place of the configured one.
            drawn (`tuple`, *optional*):
                [`skin_luminance`] of the picture that the face was drawn as, where that is moved through a video: read
                off each frame anew, light would flicker.

        Returns:
            `np.ndarray` of shape `(S, S, 3)`, uint8.
        """
        strength = self.config.strength if strength is None else strength
        if strength == 0:
            return image
        normal = vertex_normals(points)
        basis = harmonics(normal)
        wanted = np.maximum(basis @ original, DARKEST)
        seen, luminance = skin_luminance(image, points, normal) if drawn is None else drawn
        at, share = _pixels(points[:468], image.shape[0])
        log_limit = np.log(self.config.limit)
        change = np.zeros(len(normal), np.float32)
        gain = np.ones(image.shape[:2], np.float32)
        # The fit is not linear: what one round leaves, the next one sees.
        for _ in range(ROUNDS):
            present = fit_shading(normal[seen], luminance * (gain.ravel()[at] * share).sum(0)[seen])
            change += STEP * np.log(wanted / np.maximum(basis @ present, DARKEST))
            change = change.clip(-log_limit, log_limit)
            gain = np.exp(_spread(change, at, share, normal[:, 2], image.shape[0]) * region)
        return to_srgb(to_linear(image) * (gain**strength)[..., None])


def skin_luminance(image: np.ndarray, points: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear luminance at the mesh's vertices on visible skin.

    Args:
        image (`np.ndarray` of shape `(S, S, 3)`, uint8):
            RGB crop.
        points (`np.ndarray` of shape `(478, 3)`):
            Mesh in pixels of the crop.
        normal (`np.ndarray` of shape `(468, 3)`):
            [`vertex_normals`] of the mesh.

    Returns:
        `tuple`: which vertices `(N,)`, int64, and their luminance `(N,)`, float32; without eyes, brows and lips, what
        is turned away, outside the crop, black or saturated.
    """
    seen = normal[:, 2] > 0.15
    seen[FEATURES] = False
    column, row = np.round(points[:468, :2].T).astype(int)
    seen &= (column >= 0) & (row >= 0) & (column < image.shape[1]) & (row < image.shape[0])
    index = np.nonzero(seen)[0]
    colors = cv2.GaussianBlur(image, (0, 0), image.shape[0] / 128)[row[index], column[index]]
    valid = (colors.max(1) > 3) & (colors.min(1) < 250)
    return index[valid], to_linear(colors[valid]) @ LUMINANCE


def fit_lamp(normal: np.ndarray, luminance: np.ndarray) -> np.ndarray:
    """Fits light from all around and one lamp, whose side of the face alone it reaches: `a + max(0, n b)`.

    Unlike a linear fit it reads a lamp from far aside without bias. Robust: what fits badly weighs less (Huber).

    Args:
        normal (`np.ndarray` of shape `(N, 3)`):
            Unit normals.
        luminance (`np.ndarray` of shape `(N,)`):
            Linear light, see [`skin_luminance`].

    Returns:
        `np.ndarray` of shape `(4,)`: the light from all around, and the lamp as a vector (x right, y down, z towards
        the camera), in units of the mean luminance; `(1, 0, 0, 0)` for fewer than 40 vertices or no light.
    """
    if len(luminance) < 40 or luminance.mean() < 1e-4:
        return np.array([1, 0, 0, 0], np.float32)
    light = luminance / luminance.mean()
    reached, weight = np.ones(len(light), np.float32), np.ones(len(light), np.float32)
    for _ in range(6):
        basis = np.concatenate([np.ones((len(light), 1), np.float32), normal * reached[:, None]], 1)
        weighted = basis * weight[:, None]
        lamp = np.linalg.solve(weighted.T @ basis + 1e-5 * len(light) * np.eye(4), weighted.T @ light)
        reached = (normal @ lamp[1:] > 0).astype(np.float32)
        weight = _trust(light - basis @ lamp)
    return lamp.astype(np.float32)


def fit_shading(normal: np.ndarray, luminance: np.ndarray) -> np.ndarray:
    """Fits spherical harmonics, near those of the lamp that fits best: alone they are not determined by half a sphere.

    Args:
        normal (`np.ndarray` of shape `(N, 3)`):
            Unit normals.
        luminance (`np.ndarray` of shape `(N,)`):
            Linear light, see [`skin_luminance`].

    Returns:
        `np.ndarray` of shape `(9,)`, float32: coefficients of [`harmonics`], the shading's mean 1.
    """
    lamp = fit_lamp(normal, luminance)
    strength = float(np.linalg.norm(lamp[1:]))
    direction = lamp[1:] / max(strength, 1e-6)
    near = strength * KEPT * harmonics(direction[None])[0]
    near[0] += lamp[0] * FLAT
    if not lamp[1:].any():
        return near.astype(np.float32)
    light = luminance / luminance.mean()
    basis = harmonics(normal)
    weight = _trust(light - basis @ near)
    weighted = basis * weight[:, None]
    rest = np.linalg.solve(
        weighted.T @ basis + RIDGE * len(light) * np.eye(len(near)), weighted.T @ (light - basis @ near)
    )
    coefficients = near + rest
    return (coefficients / np.average(basis @ coefficients, weights=weight)).astype(np.float32)


def _trust(error: np.ndarray) -> np.ndarray:
    """Huber's weights."""
    size = np.abs(error)
    return 1 / np.maximum(1, size / (1.5 * np.median(size) + 1e-6))


def harmonics(normal: np.ndarray) -> np.ndarray:
    """The nine real spherical harmonics of orders 0, 1 and 2.

    Args:
        normal (`np.ndarray` of shape `(N, 3)`):
            Unit vectors.

    Returns:
        `np.ndarray` of shape `(N, 9)`: 1; x, y, z; xy, xz, yz, x2 - y2, 3 z2 - 1, each orthonormal on the sphere.
    """
    x, y, z = normal.T
    first = [np.full(len(normal), 0.282095, normal.dtype), 0.488603 * x, 0.488603 * y, 0.488603 * z]
    second = [1.092548 * x * y, 1.092548 * x * z, 1.092548 * y * z]
    return np.stack([*first, *second, 0.546274 * (x * x - y * y), 0.315392 * (3 * z * z - 1)], 1)


def _pixels(points: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The four pixels round each of N vertices, and its share of them, (4, N); outside the crop, those at its border.

    Nothing jumps where a vertex goes from pixel to pixel.
    """
    places = points[:, :2].clip(0, size - 1)
    low = places.astype(int).clip(0, size - 2)
    (right, down), (column, row) = (places - low).T.astype(np.float32), low.T
    corner = row * size + column
    share = np.stack([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down])
    return np.stack([corner, corner + 1, corner + size, corner + size + 1]), share


def _spread(values: np.ndarray, at: np.ndarray, share: np.ndarray, facing: np.ndarray, size: int) -> np.ndarray:
    """A smooth picture (S, S) of values given at mesh vertices, by normalised convolution; 0 far from the mesh."""
    weight = share * facing.clip(0.02)
    both = [
        np.bincount(at.ravel(), v.ravel(), size * size).reshape(size, size).astype(np.float32)
        for v in (weight * values, weight)
    ]
    blur = [cv2.GaussianBlur(v, (0, 0), size / 48, borderType=cv2.BORDER_REPLICATE) for v in both]
    return blur[0] / (blur[1] + 1e-3)


def vertex_normals(points: np.ndarray) -> np.ndarray:
    """Normals of the face mesh.

    Args:
        points (`np.ndarray` of shape `(478, 3)`):
            Mesh in pixels.

    Returns:
        `np.ndarray` of shape `(468, 3)`, float32, unit length: x right, y down, z towards the camera.
    """
    triangles = mesh_triangles()
    a, b, c = (points[triangles[:, i]] for i in range(3))
    facing = np.cross(b - a, c - a) * np.array([1, 1, -1], np.float32)  # the mesh's depth grows away from the camera
    normal = np.stack([np.bincount(triangles.ravel(), facing[:, i].repeat(3), 468) for i in range(3)], 1)
    normal = normal.astype(np.float32)
    return normal / np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-6)


@functools.cache
def mesh_triangles() -> np.ndarray:
    """The 852 triangles of the mesh as (852, 3) vertex indices, all turned the same way; eyes and mouth are open."""
    canonical = landmarker_pool(BUNDLED_TASK).canonical
    holes = [np.isin(canonical.triangles, loop).all(1) for loop in (lm.LEFT_EYE, lm.RIGHT_EYE, lm.INNER_LIPS)]
    return canonical.triangles[~np.any(holes, 0)]


def to_linear(image: np.ndarray) -> np.ndarray:
    """SRGB uint8 to linear light, float32 in [0, 1] (IEC 61966-2-1)."""
    return _LINEAR[image]


def to_srgb(light: np.ndarray) -> np.ndarray:
    """Linear light to sRGB uint8, clipped."""
    return _ENCODED[(light.clip(0, 1) * 65535 + 0.5).astype(np.uint16)]


_CODE = np.arange(256, dtype=np.float32) / 255
_LINEAR = np.where(_CODE <= 0.04045, _CODE / 12.92, ((_CODE + 0.055) / 1.055) ** 2.4).astype(np.float32)
_LIGHT = np.arange(65536, dtype=np.float32) / 65535
_ENCODED = np.round(
    255 * np.where(_LIGHT <= 0.0031308, _LIGHT * 12.92, 1.055 * np.power(_LIGHT, 1 / 2.4) - 0.055)
).astype(np.uint8)
