"""The light's direction on the original face, brought to the generated one."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from diffusers.configuration_utils import register_to_config

from . import landmarks as lm
from .component import Component

# First-order real spherical harmonics of a Lambertian surface (Ramamoorthi and Hanrahan 2001): ambient, x, y, z.
ORDER_ONE = 4
FEATURES = np.unique(lm.LEFT_EYE + lm.RIGHT_EYE + lm.LEFT_BROW + lm.RIGHT_BROW + lm.OUTER_LIPS + lm.INNER_LIPS)


class LightingTransfer(Component):
    r"""Multiplies a generated face by the ratio of two shadings: that of the original and its own.

    A shading is four coefficients of first-order spherical harmonics, fitted robustly to the linear luminance at the
    vertices of the face mesh on visible skin. They are divided by their ambient term, so brightness stays and only the
    direction of the light moves; colour is the task of [`SkinColorTransfer`].

    Args:
        strength (`float`, *optional*, defaults to `1.0`):
            0 leaves the face as generated, 1 applies the whole ratio.
        limit (`float`, *optional*, defaults to `1.6`):
            Largest factor by which a pixel is made brighter or darker, in linear light.
    """

    @register_to_config
    def __init__(self, strength: float = 1.0, limit: float = 1.6) -> None:
        pass

    def estimate(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Fits the shading of a face: all that this component takes from an original.

        Args:
            image (`np.ndarray` of shape `(S, S, 3)`, uint8):
                RGB crop.
            points (`np.ndarray` of shape `(478, 3)`, float32):
                Mesh in pixels of the crop.

        Returns:
            `np.ndarray` of shape `(4,)`, float32: ambient, x (right), y (down), z (towards the camera), the ambient
            term 1 where there is any light; all zero but it where the fit has too few vertices.
        """
        normal = vertex_normals(points)
        seen = normal[:, 2] > 0.15
        seen[FEATURES] = False
        column, row = np.round(points[:468, :2].T).astype(int)
        seen &= (column >= 0) & (row >= 0) & (column < image.shape[1]) & (row < image.shape[0])
        flat = np.array([1, 0, 0, 0], np.float32)
        if seen.sum() < 40:
            return flat
        smooth = cv2.GaussianBlur(image, (0, 0), image.shape[0] / 128)
        luminance = to_linear(smooth[row[seen], column[seen]]) @ np.array([0.2126, 0.7152, 0.0722], np.float32)
        basis = np.concatenate([np.ones((seen.sum(), 1), np.float32), normal[seen]], 1)
        weight = np.ones(len(luminance), np.float32)
        # A ridge on the directions keeps a profile, which shows few of them, from inventing light.
        ridge = np.diag([0, 1, 1, 1]).astype(np.float32) * 0.001 * len(luminance)
        for _ in range(5):
            weighted = basis * weight[:, None]
            coefficients = np.linalg.solve(weighted.T @ basis + ridge, weighted.T @ luminance)
            error = np.abs(luminance - basis @ coefficients)
            weight = 1 / np.maximum(1, error / (1.5 * np.median(error) + 1e-6))
        mean = float(np.average(basis @ coefficients, weights=weight))
        return (coefficients / mean).astype(np.float32) if mean > 1e-3 else flat

    def __call__(
        self,
        image: np.ndarray,
        points: np.ndarray,
        region: np.ndarray,
        original: np.ndarray,
        strength: float | None = None,
    ) -> np.ndarray:
        """Relights a generated face.

        Args:
            image (`np.ndarray` of shape `(S, S, 3)`, uint8):
                Generated RGB crop.
            points (`np.ndarray` of shape `(478, 3)`, float32):
                Mesh in pixels of the crop.
            region (`np.ndarray` of shape `(S, S)`, float32):
                Where to act, 0 to 1, soft at its border.
            original (`np.ndarray` of shape `(4,)`):
                [`estimate`] of the original face.
            strength (`float`, *optional*):
                In place of the configured one.

        Returns:
            `np.ndarray` of shape `(S, S, 3)`, uint8.
        """
        strength = self.config.strength if strength is None else strength
        if strength == 0:
            return image
        normal = vertex_normals(points)
        basis = np.concatenate([np.ones((len(normal), 1), np.float32), normal], 1)
        wanted, present = (np.maximum(basis @ c, 0.2) for c in (original, self.estimate(image, points)))
        ratio = (wanted / present).clip(1 / self.config.limit, self.config.limit) ** strength
        gain = 1 + (_spread(np.log(ratio), points, normal, image.shape[0]) - 1) * region[..., None]
        return to_srgb(to_linear(image) * gain)


def _spread(values: np.ndarray, points: np.ndarray, normal: np.ndarray, size: int) -> np.ndarray:
    """A smooth picture (S, S, 1) of the exponentials of values given at mesh vertices, by normalised convolution."""
    column, row = np.round(points[:468, :2].T).astype(int).clip(0, size - 1)
    facing = normal[:, 2].clip(0.02)
    both = [np.bincount(row * size + column, v, size * size).reshape(size, size) for v in (facing * values, facing)]
    blur = [cv2.GaussianBlur(v.astype(np.float32), (0, 0), size / 48, borderType=cv2.BORDER_REPLICATE) for v in both]
    return np.exp(blur[0] / (blur[1] + 1e-6))[..., None]


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
    """The 852 triangles of MediaPipe's mesh as (852, 3) vertex indices, all turned the same way."""
    from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarksConnections

    edges = FaceLandmarksConnections.FACE_LANDMARKS_TESSELATION
    return np.array([edge.start for edge in edges]).reshape(-1, 3)


def to_linear(image: np.ndarray) -> np.ndarray:
    """SRGB uint8 to linear light, float32 in [0, 1] (IEC 61966-2-1)."""
    return _LINEAR[image]


def to_srgb(light: np.ndarray) -> np.ndarray:
    """Linear light to sRGB uint8, clipped."""
    light = light.clip(0, 1)
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * np.power(light, 1 / 2.4) - 0.055)
    return np.round(encoded * 255).astype(np.uint8)


_CODE = np.arange(256, dtype=np.float32) / 255
_LINEAR = np.where(_CODE <= 0.04045, _CODE / 12.92, ((_CODE + 0.055) / 1.055) ** 2.4).astype(np.float32)
