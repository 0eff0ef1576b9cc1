"""Faces of plain matte grey, drawn from a mesh under known light."""

import numpy as np

from faceanon_hub.lighting import mesh_triangles, to_srgb, vertex_normals

SIZE = 128
LIGHTS = {  # directions: right, down, towards the camera
    "front": (0, 0, 1),
    "left": (-0.6, 0, 0.8),
    "right": (0.6, 0, 0.8),
    "above": (0, -0.6, 0.8),
    "above left": (-0.5, -0.4, 0.77),
    "below right": (0.4, 0.3, 0.87),
    "far left": (-0.9, 0, 0.4),
    "far right": (0.9, 0, 0.4),
}
MESHES: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}  # drawing the triangles takes longest, so each mesh is kept


def corners_and_parts(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel the vertices of the nearest triangle and what each one contributes, all zero beside the mesh."""
    corners, parts = np.zeros((SIZE, SIZE, 3), int), np.zeros((SIZE, SIZE, 3))
    depth = np.full((SIZE, SIZE), np.inf)
    for triangle in mesh_triangles():
        at = points[triangle].astype(float)
        (left, top), (right, bottom) = np.floor(at[:, :2].min(0)).astype(int), np.ceil(at[:, :2].max(0)).astype(int)
        y, x = np.mgrid[max(top, 0) : min(bottom + 1, SIZE), max(left, 0) : min(right + 1, SIZE)]
        matrix = np.vstack([at[:, :2].T, np.ones(3)])
        if abs(np.linalg.det(matrix)) < 1e-9 or not x.size:
            continue
        part = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(matrix).T
        z = part @ at[:, 2]
        nearer = (part > -1e-6).all(-1) & (z < depth[y, x])
        row, column = y[nearer], x[nearer]
        depth[row, column], corners[row, column], parts[row, column] = z[nearer], triangle, part[nearer]
    return corners, parts


def drawn(points: np.ndarray, values: np.ndarray, background: float = 0.4) -> np.ndarray:
    """A picture of the mesh, grey, its vertices of given linear light, nearer triangles over farther ones."""
    key = points.tobytes()
    if key not in MESHES:
        MESHES[key] = corners_and_parts(points)
    corners, parts = MESHES[key]
    light = np.where(parts.any(2), (values[corners] * parts).sum(2), background)
    return np.repeat(to_srgb(light)[..., None], 3, 2)


def lit(points: np.ndarray, light: tuple[float, ...], ambient: float = 0.3, lamp: float = 0.4) -> np.ndarray:
    """A face of plain matte grey under a lamp and some light from all around."""
    return drawn(points, shaded(points, light, ambient, lamp))


def shaded(points: np.ndarray, light: tuple[float, ...], ambient: float, lamp: float) -> np.ndarray:
    return ambient + lamp * (vertex_normals(points) @ unit(light)).clip(0)


def unit(vector: tuple[float, ...]) -> np.ndarray:
    return np.array(vector, np.float32) / np.linalg.norm(vector)


def degrees_between(one: np.ndarray, other: np.ndarray) -> float:
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
