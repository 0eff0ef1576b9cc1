"""Landmarks of a face to those of somebody else who does the same: the identity of the shape is replaced."""

from __future__ import annotations

import functools
import os
from typing import Any, NamedTuple, Self

import numpy as np
import torch

from . import landmarks as lm
from .component import loading
from .diffusion import ConfigMixin, ModelMixin, register_to_config
from .ranges import check_number

POINTS = 478
COMPONENTS = 60  # main components of the points' variation; the rest stays as it is
PATTERNS = 20  # of them, turned to the directions that tell people apart
RIDGE = 1e-3  # of the mean variance within a person, added to each
ROUNDS = 4  # of the generalised Procrustes analysis
STEPS = 3  # because another shape lies on the mean face in another way
# How much of the old coordinates is taken off the new ones: hair and head, which stay, lead the network back to them.
# On new faces they are found all the same, more weakly.
REPULSION = 1.3
# Mean distance, in distances of the eyes, that an outline moves at most: it has to fit hair and neck, which stay.
REACH = 0.15
FORESHORTENING = 1.05  # by which the eyes' distance in the picture grows more or less than that in space, at most
LIMIT = 2.0  # standard deviations that no drawn coordinate exceeds

X, Y = 0, 1
EYES = lm.IRIS_CENTERS
IRISES = [*lm.LEFT_IRIS, EYES[0]], [*lm.RIGHT_IRIS, EYES[1]]
# What a face does, as numbers: by how much the middle of the first points lies to the right of or below that of the
# second, along which axis, in lengths of a third pair. Left and right are those of the picture.
MEASURES: list[tuple[list[int], list[int], int, list[int]]] = []
for _corners, _upper, _lower, _iris, _brow, _outer, _inner in (
    (lm.LEFT_CORNERS, lm.LEFT_UPPER_LID, lm.LEFT_LOWER_LID, IRISES[0], lm.LEFT_BROW, [46, 70], [55, 107]),
    (lm.RIGHT_CORNERS, lm.RIGHT_UPPER_LID, lm.RIGHT_LOWER_LID, IRISES[1], lm.RIGHT_BROW, [276, 300], [285, 336]),
):
    MEASURES += [
        (_lower, _upper, Y, _corners),  # opening of the lids
        (_iris, _corners, X, _corners),  # gaze
        (_iris, _corners, Y, _corners),
        (_brow, _corners, Y, EYES),  # height and slant of the brow
        (_inner, _outer, Y, EYES),
    ]
MEASURES += [
    *(([below], [above], Y, EYES) for above, below in ((81, 178), lm.LIP_MIDDLES, (311, 402))),  # opening of the lips
    ([291], [61], X, EYES),  # width of the mouth
    ([291], [61], Y, EYES),  # its slant
    (lm.LIP_MIDDLES, lm.MOUTH_CORNERS, Y, EYES),  # smile
]
# Eyes with brows, and lips, each with the points it is held by: they move and grow as a whole, so that what they do is
# what they did. Eyes are held by the irises' centres, whose distance is what all growth is measured in.
FEATURES = [
    ([*lm.LEFT_EYE, *IRISES[0], *lm.LEFT_BROW], EYES[:1]),
    ([*lm.RIGHT_EYE, *IRISES[1], *lm.RIGHT_BROW], EYES[1:]),
    ([*lm.INNER_LIPS, *lm.OUTER_LIPS], [*lm.INNER_LIPS, *lm.OUTER_LIPS]),
]


class FaceRetargeter(ModelMixin, ConfigMixin):
    r"""Gives 478 landmarks the shape of a person who does not exist, and leaves pose and expression.

    Landmarks alone tell people apart. Laid onto a mean face by a similarity in space (Goodall 1991), which takes the
    pose off, they vary within a person from photo to photo, which is expression, and between people, which is
    identity. In the coordinates of probabilistic LDA (Ioffe 2006) the first has variance 1 along each, and the second
    lies along as few as can be. A new shape draws these few as people are distributed, and a part of the old ones is
    taken off, see `REPULSION`. All others move by the least that lets the face do what it did: 16 numbers, `MEASURES`.
    An outline that would move by more than `REACH` gets less of a new shape.
    The skull stays turned as it was, and eyes, brows and lips, `FEATURES`, take a new place and size but keep their
    form, and what that tells.

    Args:
        patterns (`int`, *optional*, defaults to `20`):
            Number of coordinates that are identity, 1 to 60.
        strength (`float`, *optional*, defaults to `1.0`):
            0 (the points as they are) to 1 (a new shape), unless a call says otherwise.

    Raises:
        ValueError: a value is out of its range.

    Example:
        ```py
        >>> from faceanon_hub import FaceAnonPipeline

        >>> pipe = FaceAnonPipeline.from_pretrained()
        >>> points = pipe.retargeter(landmarks, seed=0)
        ```
    """

    mean: torch.Tensor
    components: torch.Tensor
    mixing: torch.Tensor
    deviations: torch.Tensor

    @register_to_config
    def __init__(self, patterns: int = PATTERNS, strength: float = 1.0) -> None:
        super().__init__()
        check_number("patterns", patterns, 1, COMPONENTS, whole=True)
        check_number("strength", strength, 0, 1)
        self._known: tuple[Any, _Model] | None = None
        self.register_buffer("mean", torch.zeros(POINTS, 3))  # in distances of the eyes
        self.register_buffer("components", torch.zeros(COMPONENTS, POINTS * 3))  # orthonormal
        self.register_buffer("mixing", torch.zeros(COMPONENTS, COMPONENTS))  # coordinates to components
        self.register_buffer("deviations", torch.zeros(patterns))  # between people

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], subfolder: str | None = None, **kwargs: Any
    ) -> Any:
        """Loads like [`~diffusers.ModelMixin.from_pretrained`].

        Raises:
            CheckpointError: a file is missing or damaged, or holds a value that is out of its range.
        """
        with loading(pretrained_model_name_or_path, subfolder):
            return super().from_pretrained(pretrained_model_name_or_path, subfolder=subfolder, **kwargs)

    def forward(self, points: np.ndarray, seed: int, strength: float | None = None) -> np.ndarray:
        """Replaces the identity of a shape.

        Args:
            points (`np.ndarray` of shape `(478, 3)`, float32):
                Mesh in pixels, depth in the same unit.
            seed (`int`):
                Picks the new shape, the same for every mesh.
            strength (`float`, *optional*):
                In place of the configured one.

        Returns:
            `np.ndarray` of shape `(478, 3)`, float32: mesh in pixels, at the same place and turned the same way.
        """
        strength = self.config.strength if strength is None else strength
        if not strength:
            return points
        new = self._reshaped(points, seed, strength)
        eyes = np.linalg.norm(np.subtract(*points[EYES]))
        moved = float(np.linalg.norm(new[lm.OVAL] - points[lm.OVAL], axis=1).mean() / eyes)
        return new if moved <= REACH else self._reshaped(points, seed, strength * REACH / moved)

    def _reshaped(self, points: np.ndarray, seed: int, strength: float) -> np.ndarray:
        model = self._model()
        old, (scale, turn, shift) = self._lay(points)
        found = _dot(model.projection, (old - model.mean).ravel())
        wanted = (1 - strength) * found + strength * (self.draw(seed) - REPULSION * found)
        values, lengths = _measures()
        doing = _dot(values, old.ravel()) / _dot(lengths, old.ravel())
        answers = model.answers - doing[:, None] * model.stretches
        mesh = points.astype(float)
        for _ in range(STEPS):
            laid = self._lay(mesh)[0]
            missing = wanted - _dot(model.projection, (laid - model.mean).ravel())
            new = laid.ravel() + _dot(model.patterns.T, missing)
            # Of all movements along the other coordinates that let the face do what it did, the least.
            amiss = _dot(values, new) - doing * _dot(lengths, new)
            new -= _dot(model.others.T, np.linalg.lstsq(answers, amiss, rcond=None)[0])
            new = new.reshape(POINTS, 3)
            # Another shape of the skull is no turn of the head.
            middle = new[lm.RIGID].mean(0)
            new = (new - middle) @ _pose(new[lm.RIGID], old[lm.RIGID])[1] + middle
            growth = _growth(*(np.subtract(*face[EYES]) @ turn.T for face in (new, old)))
            for feature, held in FEATURES:
                new[feature] = new[held].mean(0) + growth * (old[feature] - old[held].mean(0))
            mesh = (new - shift) @ turn.T / scale
        return mesh.astype(np.float32)

    def identity(self, points: np.ndarray) -> np.ndarray:
        """Coordinates that tell people apart, in units of what one person's photos vary by.

        Args:
            points (`np.ndarray` of shape `(478, 3)`):
                Mesh in any unit.

        Returns:
            `np.ndarray` of shape `(patterns,)`, float64.
        """
        model = self._model()
        return _dot(model.projection, (self._lay(points)[0] - model.mean).ravel())

    def draw(self, seed: int) -> np.ndarray:
        """Identity coordinates of a new person: normally distributed, up to two standard deviations.

        Args:
            seed (`int`):
                Picks the person.

        Returns:
            `np.ndarray` of shape `(patterns,)`, float64.
        """
        drawn = np.random.default_rng(seed).standard_normal(self.config.patterns).clip(-LIMIT, LIMIT)
        return drawn * self.deviations.double().cpu().numpy()

    @classmethod
    def fit(cls, points: np.ndarray, identities: np.ndarray, patterns: int = PATTERNS) -> Self:
        """Learns how shapes vary within a person and between people.

        Args:
            points (`np.ndarray` of shape `(N, 478, 3)`):
                Meshes in pixels; new shapes are as askew as these, see [`evened`].
            identities (`np.ndarray` of shape `(N,)`):
                The person in each, of any type that can be sorted.
            patterns (`int`, *optional*, defaults to `20`):
                Number of coordinates that are identity.

        Raises:
            ValueError: there are too few photos, or too few people with several.
        """
        _, person, counts = np.unique(identities, return_inverse=True, return_counts=True)
        several = counts[person] > 1
        if len(points) <= COMPONENTS or (counts > 1).sum() <= patterns:
            raise ValueError(
                f"{len(points)} photos of {len(counts)} people, {(counts > 1).sum()} of them on several; needed are "
                f"more than {COMPONENTS} photos, and more than {patterns} people on several"
            )
        mean, laid = _procrustes_mean(points.astype(float))
        varied = (laid - mean).reshape(len(points), -1)
        components = np.linalg.svd(varied, full_matrices=False)[2][:COMPONENTS]
        weights = varied @ components.T
        centers = np.zeros((len(counts), COMPONENTS))
        np.add.at(centers, person, weights)
        own = (weights - (centers / counts[:, None])[person])[several]
        within = own.T @ own / (several.sum() - (counts > 1).sum())
        between = weights.T @ weights / len(points) - within
        within += RIDGE * np.trace(within) / COMPONENTS * np.eye(COMPONENTS)
        root = np.linalg.cholesky(within)
        whitened = np.linalg.solve(root, np.linalg.solve(root, between).T)
        values, vectors = np.linalg.eigh((whitened + whitened.T) / 2)
        values, vectors = values[::-1], vectors[:, ::-1]
        if values[patterns - 1] <= 0:
            raise ValueError(f"people differ in fewer than {patterns} patterns")
        model = cls(patterns)
        model.mean.copy_(torch.from_numpy(mean))
        model.components.copy_(torch.from_numpy(components))
        model.mixing.copy_(torch.from_numpy(root @ vectors))
        model.deviations.copy_(torch.from_numpy(np.sqrt(values[:patterns])))
        return model

    def _lay(self, points: np.ndarray) -> tuple[np.ndarray, tuple[float, np.ndarray, np.ndarray]]:
        """The points on the mean face, and how they came there."""
        scale, turn, shift = pose = _pose(points.astype(float), self._model().mean)
        return scale * points @ turn + shift, pose

    def _model(self) -> _Model:
        """The buffers multiplied out, once for as long as they stay as they are."""
        state = tuple((buffer.data_ptr(), buffer._version) for buffer in self.buffers())  # noqa: SLF001 - torch's count of changes
        if self._known is None or self._known[0] != state:
            mean, components, mixing = (b.double().cpu() for b in (self.mean, self.components, self.mixing))
            self._known = state, _Model.of(mean, components, mixing, self.config.patterns)
        return self._known[1]


class _Model(NamedTuple):
    """What a mesh is multiplied with."""

    mean: np.ndarray  # (478, 3)
    projection: np.ndarray  # (patterns, 1434): points to identity coordinates
    patterns: np.ndarray  # (patterns, 1434): and back
    others: np.ndarray  # (60 - patterns, 1434): what the other coordinates move
    answers: np.ndarray  # (16, 60 - patterns): how `MEASURES` answer to them
    stretches: np.ndarray  # (16, 60 - patterns): and the lengths they are measured in

    @classmethod
    def of(cls, mean: torch.Tensor, components: torch.Tensor, mixing: torch.Tensor, count: int) -> _Model:
        values, lengths = (torch.from_numpy(rows) for rows in _measures())
        others = mixing[:, count:].T @ components
        projection = torch.linalg.solve(mixing, components)[:count]
        patterns = mixing[:, :count].T @ components
        tensors = mean, projection, patterns, others, values @ others.T, lengths @ others.T
        return cls(*(tensor.contiguous().numpy() for tensor in tensors))


def evened(points: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """A face without what is askew in it.

    Args:
        points (`np.ndarray` of shape `(478, 3)`):
            Mesh.
        mirrored (`np.ndarray` of shape `(478, 3)`):
            Mesh of the mirror image.

    Returns:
        `np.ndarray` of shape `(478, 3)`, float64: the mean of both, in the place of the first.
    """
    scale, turn, shift = _pose(mirrored.astype(float), points.astype(float))
    return (points + scale * mirrored @ turn + shift) / 2


def _dot(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """A product without BLAS: OpenBLAS with threads of its own, called from several threads, can hang."""
    return np.einsum("ij,j->i", matrix, vector)


def _growth(new: np.ndarray, old: np.ndarray) -> float:
    """How much longer the line between the eyes is, as the picture shows it; of a profile it shows next to nothing."""
    seen, whole = (np.linalg.norm(new[:axes]) / np.linalg.norm(old[:axes]) for axes in (2, 3))
    return float(np.clip(seen, whole / FORESHORTENING, whole * FORESHORTENING))


@functools.cache
def _measures() -> tuple[np.ndarray, np.ndarray]:
    """`MEASURES` as weights of all points, and the lengths that they are measured in, each of shape (16, 1434)."""
    values, lengths = np.zeros((2, len(MEASURES), POINTS, 3))
    for row, (first, second, axis, (left, right)) in enumerate(MEASURES):
        values[row, first, axis] += 1 / len(first)
        values[row, second, axis] -= 1 / len(second)
        lengths[row, [left, right], X] = -1, 1
    return values.reshape(len(MEASURES), -1), lengths.reshape(len(MEASURES), -1)


def _pose(points: np.ndarray, mean: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation and shift that lay points onto the mean by least squares (Umeyama 1991)."""
    middle, target = points.mean(0), mean.mean(0)
    centered = points - middle
    left, stretch, right = np.linalg.svd(centered.T @ (mean - target))
    sign = np.array([1, 1, np.sign(np.linalg.det(left @ right))])  # no reflection
    turn = left * sign @ right
    scale = float((stretch * sign).sum() / (centered**2).sum())
    return scale, turn, target - scale * middle @ turn


def _procrustes_mean(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean face, its eyes a unit apart, and all points laid onto it (generalised Procrustes analysis)."""
    mean = points[0]
    for _ in range(ROUNDS):
        mean = (mean - mean.mean(0)) / np.linalg.norm(np.subtract(*mean[EYES]))
        poses = [_pose(mesh, mean) for mesh in points]
        laid = np.stack([s * mesh @ turn + shift for mesh, (s, turn, shift) in zip(points, poses, strict=True)])
        mean = laid.mean(0)
    return mean, laid
