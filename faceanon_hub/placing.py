"""The drawn person's mesh into the original's pose and outline, and the drawn picture onto it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch

from . import landmarks as lm
from .alignment import CROP_SCALE, placement, transform
from .lighting import mesh_triangles, vertex_normals

SIZES = (128, 256, 512, 1024)  # sides of a crop in pixels
COARSEST = 0.8  # sides of the crop in the photo up to which it is enlarged by no more than this
FLIP = np.diag([1.0, -1.0, -1.0])  # pose: y up, z to the camera; mesh: y down, z away from it
# What changes least with the expression: corners of the eyes, bridge and tip of the nose, corners of the mouth, chin,
# forehead, cheek bones.
BONE = [33, 133, 362, 263, 168, 6, 1, 4, 61, 291, 152, 10, 234, 454, 127, 356]
NOSE = sorted({*lm.NOSE_BRIDGE, *lm.NOSE_BASE})
# Of each eye: upper lid and lower lid from one corner to the other, those at their middles, corners, iris.
Eye = tuple[list[int], list[int], int, int, list[int], list[int]]
EYES: tuple[Eye, ...] = (
    ([246, 161, 160, 159, 158, 157, 173], [7, 163, 144, 145, 153, 154, 155], 159, 145, [33, 133], [*range(468, 473)]),
    (
        [466, 388, 387, 386, 385, 384, 398],
        [249, 390, 373, 374, 380, 381, 382],
        386,
        374,
        [362, 263],
        [*range(473, 478)],
    ),
)
LIDS = np.sin(np.pi * np.arange(1, 8) / 8)[:, None]  # how far each point of a lid goes along with its middle
UPPER_SHARE = 0.7  # of what an eye opens wider, that of the upper lid
# Inner and outer lips from corner to corner, and how far each point goes along with the middle.
UPPER_LIPS = [191, 80, 81, 82, 13, 312, 311, 310, 415, 185, 40, 39, 37, 0, 267, 269, 270, 409]
LOWER_LIPS = [95, 88, 178, 87, 14, 317, 402, 318, 324, 146, 91, 181, 84, 17, 314, 405, 321, 375]
LIPS = np.tile([0.4, 0.7, 0.9, 1, 1, 1, 0.9, 0.7, 0.4], 2)[:, None]
FEATURES = sorted({*lm.LEFT_BROW, *lm.RIGHT_BROW, *lm.LEFT_EYE, *lm.RIGHT_EYE, *NOSE, *lm.OUTER_LIPS, *lm.INNER_LIPS})
KNOTS = sorted({*FEATURES, *lm.OVAL, *range(0, 468, 3)})  # enough for the spline, and half as slow as all
IRISES = [*range(468, 473), *range(473, 478)]

FACING = 0.12  # of a normal towards the camera, below which a vertex says nothing of where its skin is seen
INSET = 0.04  # of the way to the middle of the face, by which the outline is taken from inside: skin, no background
SMOOTHING = 2e-4  # of the spline; more where the skin is turned away
RING = 24  # points round the face at which the spline ends
REACH = 0.85  # radius of their circle, in longer sides of the face
CELL, NODES = 4, 64  # pixels between nodes of the coarse grid at which the spline is evaluated, and most on a side
FOLD = 4.0  # stretch that stands for skin folded over
GAIN, MOST_ERROR = 0.8, 0.03  # of what is corrected; what is farther off, in longer sides of the face, is a misreading
SHARP = 1.5  # the picture is averaged before it is shrunk by more than this


def crop_size(points: np.ndarray, sizes: Sequence[int] = SIZES) -> int:
    """The side of the crop in which a face is worked on: as fine as the photo, up to 1024 pixels.

    Args:
        points (`np.ndarray` of shape `(478, >= 2)`):
            Mesh in photo pixels.
        sizes (`list[int]`, *optional*, defaults to `SIZES`):
            Sides to choose from, rising: those of drawn pictures, unless given.
    """
    side = COARSEST * CROP_SCALE * placement(points)[1]
    return next((size for size in sizes if size >= side), sizes[-1])


def place(mesh: np.ndarray, pose: np.ndarray, original: np.ndarray, original_pose: np.ndarray) -> np.ndarray:
    """Lays the drawn person's own mesh where the original's is.

    It is turned from its own pose to the original's and scaled by what sits on the skull. Then the outline goes to the
    original's, lids, lips and irises open and look as the original's do, brows go along unbent and the nose stays as
    it is. Everything between follows smoothly, by a biharmonic spline in three dimensions, so that what lies behind
    one another in the picture is not mixed up.

    Args:
        mesh (`np.ndarray` of shape `(478, 3)`, float32):
            Of the drawn face, in pixels of its picture.
        pose (`np.ndarray` of shape `(3, 3)`):
            Rotation of the drawn head, y up and z towards the camera, as MediaPipe's FaceLandmarker gives it.
        original (`np.ndarray` of shape `(478, 3)`, float32):
            Mesh of the original, in pixels of the crop.
        original_pose (`np.ndarray` of shape `(3, 3)`):
            Rotation of the original head.

    Returns:
        `np.ndarray` of shape `(478, 3)`, float32: in pixels of the crop.
    """
    turn = FLIP @ original_pose @ pose.T @ FLIP
    turned = (mesh - mesh.mean(0)) @ turn.T
    turned = transform(turned, similarity(turned[BONE, :2], original[BONE, :2]))
    opened = turned.copy()
    _open_eyes(opened, original)
    _open_mouth(opened, original)
    edge = _edge(original)
    opened[edge, :2] = original[edge, :2]

    def followed(held: list[int], group: list[int] | slice) -> np.ndarray:
        return turned[group, :2] + follow(turned, held, (opened - turned)[held, :2], group)

    # A brow goes along with what is round it, but whole: it is not bent. A lid that shuts takes none along.
    lids = {vertex for uppers, lowers, *_ in EYES for vertex in (*uppers, *lowers)}
    free = sorted({*FEATURES, *edge} - {*lm.LEFT_BROW, *lm.RIGHT_BROW} - lids)
    for brow in (lm.LEFT_BROW, lm.RIGHT_BROW):
        near = similarity(turned[brow, :2], followed(free, brow))
        opened[brow, :2] = transform(turned[brow, :2], near)
    placed = turned.copy()
    placed[:, :2] = followed(sorted({*FEATURES, *edge}), slice(None))
    # An iris goes where it was put; lids do not determine it.
    placed[IRISES, :2] = opened[IRISES, :2]
    return placed.astype(np.float32)


def follow(
    points: np.ndarray, held: list[int], moves: np.ndarray, group: list[int] | slice = slice(None)
) -> np.ndarray:
    """How vertices move that go along with others: a biharmonic spline in three dimensions.

    Args:
        points (`np.ndarray` of shape `(478, 3)`):
            Mesh.
        held (`list[int]`):
            Vertices whose moves are known.
        moves (`np.ndarray` of shape `(N, 2)`):
            Those.
        group (`list[int]`, *optional*):
            Vertices that are asked for; all unless given.

    Returns:
        `np.ndarray` of shape `(M, 2)`.
    """
    size = np.ptp(points[lm.OVAL, 1])
    return _spline(points[held] / size, moves, points[group] / size, _biharmonic)


def distortion(mesh: np.ndarray, placed: np.ndarray) -> float:
    """How much the skin of a drawn face is stretched, squeezed and folded by its placing.

    Args:
        mesh (`np.ndarray` of shape `(478, 3)`):
            Of the drawn face, in pixels of its picture.
        placed (`np.ndarray` of shape `(478, 3)`):
            From [`place`].

    Returns:
        `float`: root mean square, over the visible skin of the placed face, of the logarithm of the stretch along its
        two axes, apart from a common scale; what is folded over counts as stretched `FOLD` times. 0 where the mesh was
        only moved, turned in the plane and scaled; 0.1 where it is stretched by a tenth everywhere.
    """
    triangles = mesh_triangles()
    before, after = _sides(mesh, triangles), _sides(placed, triangles)
    area = np.linalg.det(after)
    sign = np.sign(np.median(area))
    seen = sign * area > 0.02 * np.abs(area).mean()
    was_seen = sign * np.linalg.det(before) > 0.02 * np.abs(np.linalg.det(before)).mean()
    stretch = np.full((len(triangles), 2), np.log(FOLD))
    both = seen & was_seen
    values = np.log(np.linalg.svd(np.linalg.solve(before[both], after[both]), compute_uv=False).clip(1e-3))
    weight = np.abs(area) * seen
    values -= np.average(values.mean(1), weights=weight[both])
    stretch[both] = values.clip(-np.log(FOLD), np.log(FOLD))
    return float(np.sqrt(np.average((stretch**2).mean(1), weights=weight)))


def aim(placed: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Where to lay a drawn face so that its features are seen where they belong.

    Args:
        placed (`np.ndarray` of shape `(478, 3)`):
            From [`place`].
        seen (`np.ndarray` of shape `(478, 3)`):
            Mesh that is read off the picture laid there, in the same pixels.

    Returns:
        `np.ndarray` of shape `(478, 3)`, float32: eyes, brows, nose, mouth and irises moved against their error.
    """
    rows = [*FEATURES, *IRISES]
    error = placed[rows, :2] - seen[rows, :2]
    most = MOST_ERROR * np.ptp(placed[:, :2], axis=0).max()
    error *= np.minimum(1, most / np.linalg.norm(error, axis=1, keepdims=True).clip(1e-6))
    aimed = placed.copy()
    aimed[rows, :2] += GAIN * error
    return aimed


def warp(picture: np.ndarray, mesh: np.ndarray, placed: np.ndarray, size: int) -> np.ndarray:
    """Lays a drawn picture so that its mesh comes to lie on the placed one.

    Args:
        picture (`np.ndarray` of shape `(P, P, 3)`, uint8):
            Drawn picture.
        mesh (`np.ndarray` of shape `(478, 3)`):
            Of the drawn face, in pixels of the picture.
        placed (`np.ndarray` of shape `(478, 3)`):
            From [`place`], in pixels of the crop.
        size (`int`):
            Side of the crop.

    Returns:
        `np.ndarray` of shape `(size, size, 3)`, uint8.
    """
    return taken(picture, flow(mesh, placed, size))


def flow(
    mesh: np.ndarray, placed: np.ndarray, size: int, irises: bool = True, smoothing: float = SMOOTHING
) -> np.ndarray:
    """Where in a drawn picture each pixel of the crop comes from: a thin-plate spline.

    Only what is seen in both meshes says where skin goes; beyond the face the spline runs out into their similarity.

    Args:
        mesh, placed, size:
            As for [`warp`].
        irises (`bool`, *optional*, defaults to `True`):
            Whether irises go where they are placed, or along with the lids.
        smoothing (`float`, *optional*, defaults to `0.0002`):
            How much smoother the spline is than the meshes say; less where a face moves.

    Returns:
        `np.ndarray` of shape `(size, size, 2)`, float32: in pixels of the picture, counted from its edge.
    """
    low, high = placed[:, :2].min(0), placed[:, :2].max(0)
    center, extent = (low + high) / 2, float((high - low).max())
    matrix = similarity(placed[BONE, :2], mesh[BONE, :2])
    targets, sources, trust = _controls(mesh, placed, matrix, IRISES if irises else [])
    angle = np.linspace(0, 2 * np.pi, RING, endpoint=False)
    ring = center + REACH * extent * np.c_[np.cos(angle), np.sin(angle)]
    rest = np.r_[sources - transform(targets, matrix), np.zeros((RING, 2))]
    count = min(size // CELL + 1, NODES)
    steps = np.linspace(0, size, count)
    nodes = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    away = nodes - center
    away *= np.minimum(1, REACH * extent / np.linalg.norm(away, axis=1).clip(1e-9))[:, None]
    held, slack = (np.r_[targets, ring] - center) / extent, np.r_[smoothing / trust**2, np.zeros(RING)]
    coarse = _spline(held, rest, away / extent, _thin_plate, slack).reshape(count, count, 2).astype(np.float32)
    # Pixels are looked at in their middles; a mesh counts from the edge of a pixel, a picture from its middle.
    pixel = np.arange(size, dtype=np.float32) + 0.5
    at = pixel * np.float32((count - 1) / size)
    where = cv2.remap(
        coarse, at[None].repeat(size, 0), at[:, None].repeat(size, 1), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    x = (matrix[0, 0] * pixel + matrix[0, 2])[None] + (matrix[0, 1] * pixel)[:, None]
    y = (matrix[1, 0] * pixel + matrix[1, 2])[None] + (matrix[1, 1] * pixel)[:, None]
    where[..., 0] += x
    where[..., 1] += y
    return where


def taken(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
    """A picture as a flow takes its pixels, averaged before it is shrunk.

    Args:
        picture (`np.ndarray` of shape `(P, P, C)`):
            Drawn picture.
        where (`np.ndarray` of shape `(size, size, 2)`, float32):
            From [`flow`].

    Returns:
        `np.ndarray` of shape `(size, size, C)`, of the picture's type.
    """
    corners = where[:: len(where) - 1, :: len(where) - 1]
    shrunk = float(np.linalg.norm(corners[1, 1] - corners[0, 0])) / (np.sqrt(2) * len(where))
    factor = 1
    while shrunk / factor > SHARP and len(picture) // factor > 128:
        factor *= 2
    if factor > 1:
        picture = cv2.resize(picture, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    return cv2.remap(picture, where / factor - 0.5, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


class Opening(NamedTuple):
    """How far apart two lids are, how wide the eye is, in pixels, and its direction downwards `(2,)`."""

    gap: float
    width: float
    down: np.ndarray


def opening(points: np.ndarray, upper: int, lower: int, corners: list[int]) -> Opening:
    """Measures an eye of a mesh `(478, >= 2)` by the middles of its lids and its corners."""
    across = points[corners[1], :2] - points[corners[0], :2]
    width = max(float(np.linalg.norm(across)), 1e-3)
    down = np.array([-across[1], across[0]]) / width
    return Opening(float((points[lower, :2] - points[upper, :2]) @ down), width, down)


def similarity(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The matrix (2, 3) of the turn, scale and shift that takes points (N, 2) nearest to their targets (N, 2)."""
    a, b = points - points.mean(0), targets - targets.mean(0)
    x, y = (a * b).sum(), (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()
    turn = np.array([[x, -y], [y, x]]) / (a**2).sum()
    return np.c_[turn, targets.mean(0) - turn @ points.mean(0)]


def _open_eyes(points: np.ndarray, original: np.ndarray) -> None:
    """Opens lids, in widths of the eye, and puts irises as in the original; in place."""
    for uppers, lowers, upper, lower, corners, iris in EYES:
        own, wanted = (opening(mesh, upper, lower, corners) for mesh in (points, original))
        more = wanted.gap / wanted.width * own.width - own.gap
        points[uppers, :2] -= UPPER_SHARE * more * LIDS * own.down
        points[lowers, :2] += (1 - UPPER_SHARE) * more * LIDS * own.down
        center = _carried(original[iris[0], :2], original[corners, :2], points[corners, :2])
        points[iris, :2] += center - points[iris[0], :2]


def _open_mouth(points: np.ndarray, original: np.ndarray) -> None:
    """Puts the middles of the lips where the original's are, seen from its corners of the mouth; in place."""
    corners = points[lm.MOUTH_CORNERS, :2].copy()
    for group, middle in ((UPPER_LIPS, lm.LIP_MIDDLES[0]), (LOWER_LIPS, lm.LIP_MIDDLES[1])):
        move = _carried(original[middle, :2], original[lm.MOUTH_CORNERS, :2], corners) - points[middle, :2]
        points[group, :2] += LIPS * move


def _carried(point: np.ndarray, ends: np.ndarray, new_ends: np.ndarray) -> np.ndarray:
    """Where a point beside a line of two ends comes to lie beside another line."""
    x, y = (p[1] - p[0] for p in (ends, new_ends))
    away = point - ends[0]
    along, across = away @ x / max(x @ x, 1e-6), away @ [-x[1], x[0]] / max(x @ x, 1e-6)
    return new_ends[0] + along * y + across * np.array([-y[1], y[0]])


def _edge(points: np.ndarray) -> list[int]:
    """The vertices of a mesh at the edge of the face: its outline, and where the head is turned, the far cheek's."""
    return sorted({*lm.OVAL, *(set(_hull(points)) - set(FEATURES))})


def _controls(
    mesh: np.ndarray, placed: np.ndarray, matrix: np.ndarray, irises: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of the crop (N, 2), those of the picture that come to lie there (N, 2), and their trust (N,)."""
    facing = np.minimum(vertex_normals(mesh)[:, 2], vertex_normals(placed)[:, 2])
    source = mesh[:, :2].astype(float)
    source[lm.OVAL] += INSET * (source[:468].mean(0) - source[lm.OVAL])
    seen = [i for i in KNOTS if facing[i] > FACING]
    # The edge of a far cheek is no fixed line on the skin: it comes from where the drawn cheek has its own.
    far = [i for i in _hull(placed) if facing[i] <= FACING]
    edge = mesh[_hull(mesh), :2].astype(float)
    expected = transform(placed[far], matrix)[:, :2]
    nearest = np.array([_nearest_on(edge, point) for point in expected]).reshape(-1, 2)
    nearest += INSET * (source[:468].mean(0) - nearest)
    rows = [*seen, *irises]
    return (
        np.r_[placed[rows, :2], placed[far, :2]].astype(float),
        np.r_[source[rows], nearest],
        np.r_[facing[seen].clip(0, 1), np.ones(len(irises)), np.full(len(far), 0.3)],
    )


def _hull(points: np.ndarray) -> list[int]:
    """The vertices round a mesh, as it is seen."""
    return [int(i) for i in cv2.convexHull(points[:468, :2].astype(np.float32), returnPoints=False)[:, 0]]


def _nearest_on(polygon: np.ndarray, point: np.ndarray) -> np.ndarray:
    """The point of a polygon's edge (N, 2) that is nearest to another."""
    start, side = polygon, np.roll(polygon, -1, 0) - polygon
    along = (((point - start) * side).sum(1) / (side**2).sum(1).clip(1e-9)).clip(0, 1)
    on = start + along[:, None] * side
    return on[np.linalg.norm(on - point, axis=1).argmin()]


def _spline(
    points: np.ndarray,
    values: np.ndarray,
    at: np.ndarray,
    kernel: Callable[[torch.Tensor], torch.Tensor],
    smoothing: np.ndarray | float = 0.0,
) -> np.ndarray:
    """The smoothest field with given values (N, 2) at points (N, D), linear far away, evaluated at (M, D).

    By PyTorch: it can be kept from taking threads of its own, where several faces are worked on side by side.
    """
    count, dimensions = points.shape
    held, wanted, places = (torch.from_numpy(np.ascontiguousarray(v, float)) for v in (points, values, at))
    system = torch.zeros((count + dimensions + 1,) * 2, dtype=torch.float64)
    system[:count, :count] = kernel(_squares(held, held))
    system.diagonal()[:count] += torch.as_tensor(smoothing)
    system[:count, count] = system[count, :count] = 1
    system[:count, count + 1 :] = held
    system[count + 1 :, :count] = held.T
    right = torch.zeros((len(system), 2), dtype=torch.float64)
    right[:count] = wanted
    weights = torch.linalg.solve(system, right)
    # A thousandth of a pixel is enough where it is evaluated many times.
    near = kernel(_squares(places, held).float()) @ weights[:count].float()
    return (near + weights[count] + places @ weights[count + 1 :]).numpy()


def _squares(points: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Squared distances (M, N), at least a little: kernels take their logarithm and root."""
    squares = (-2 * points) @ others.T
    squares += (points**2).sum(1, keepdim=True)
    squares += (others**2).sum(1)
    return squares.clamp_(min=1e-10)


def _thin_plate(squares: torch.Tensor) -> torch.Tensor:
    return squares.log().mul_(squares).mul_(0.5)


def _biharmonic(squares: torch.Tensor) -> torch.Tensor:
    return squares.sqrt().neg_()


def _sides(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Two sides of each triangle, in the plane, (N, 2, 2)."""
    a, b, c = (points[triangles[:, i], :2].astype(float) for i in range(3))
    return np.stack([b - a, c - a], 1)
