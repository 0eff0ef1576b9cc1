"""An attacker who anonymizes photos of people he knows and trains a recognizer on them."""

from itertools import product

import numpy as np

from .scores import held_out

SHRINKAGES = (0.03, 0.1, 0.3, 0.6, 1.0)
DIRECTIONS = (40, 120)  # of the features that are kept, at most
VARIANCE = 0.9999  # what is beyond is rounding


class Parrot:
    """Parrot recognition (Newton, Sweeney and Malin 2005) by probabilistic linear discriminant analysis.

    The two-covariance model (Brümmer and de Villiers 2010): what differs between people and what differs between
    photos of one person are two Gaussians, and the distance of two faces is minus the logarithm of how much more
    likely they are of one person than of two. Enrolled and anonymized faces are centred each on their own mean.
    Whether features are whitened, how many principal axes are kept, and how far both covariances are drawn to spheres,
    is chosen on known people held back; without whitening and with spheres alone it is the recognizer as it comes.
    """

    def __init__(self) -> None:
        self.seen: np.ndarray | None = None

    def fit(self, probes: np.ndarray, gallery: np.ndarray | None, people: np.ndarray) -> None:
        """See [`Attacker`]."""
        self.choice = held_out(self, list(product((False, True), DIRECTIONS, SHRINKAGES)), probes, gallery, people)
        self.fit_as(self.choice, probes, gallery, people)

    def __call__(self, probes: np.ndarray, gallery: np.ndarray | None) -> np.ndarray:
        """See [`Attacker`]."""
        first = (probes - self.centers[0]) @ self.directions
        second = first if gallery is None else (gallery - self.centers[1]) @ self.directions
        # Along each direction photos of one person scatter by 1 and people by `between`.
        total = 1 + self.between
        determinant = total**2 - self.between**2
        square = (total / determinant - 1 / total) / 2
        return (first**2 @ square)[:, None] + second**2 @ square - (first * self.between / determinant) @ second.T

    def fit_as(
        self, choice: tuple[bool, int, float], probes: np.ndarray, gallery: np.ndarray | None, people: np.ndarray
    ) -> None:
        """Learns with given whitening, number of directions and shrinkage."""
        whiten, most, shrinkage = choice
        if probes is not self.seen:  # many choices are tried on the same photos
            self._decompose([probes] if gallery is None else [probes, gallery])
            self.seen = probes
        names = np.unique(np.tile(people, len(self.centers)), return_inverse=True)[1]
        share = np.cumsum(self.deviations**2) / max((self.deviations**2).sum(), 1e-12)
        kept = min(int((share < VARIANCE).sum()) + 1, most, len(share))
        scale = self.deviations[:kept].clip(1e-9) if whiten else np.ones(kept)
        directions, reduced = self.axes[:, :kept] / scale, self.features[:, :kept] / scale

        counts = np.bincount(names)
        means = np.stack([np.bincount(names, column) for column in reduced.T], 1) / counts[:, None]
        rest = reduced - means[names]
        within = rest.T @ rest / max(1, len(reduced) - len(counts))
        # Of the means' covariance, a part is the scatter of the photos they are made of.
        between = np.cov(means.T, bias=True).reshape(kept, kept) - within * (1 / counts).mean()
        within, between = (_rounder(matrix, shrinkage) for matrix in (within, between))
        values, vectors = np.linalg.eigh(within)
        spherical = vectors / np.sqrt(values)
        self.between, turned = np.linalg.eigh(spherical.T @ between @ spherical)
        self.between = self.between.clip(0)
        self.directions = directions @ spherical @ turned

    def _decompose(self, domains: list[np.ndarray]) -> None:
        """Principal axes of all faces, centred."""
        self.centers = [domain.mean(0) for domain in domains]
        features = np.concatenate([d - c for d, c in zip(domains, self.centers, strict=True)]).astype(np.float64)
        _, self.deviations, axes = np.linalg.svd(features / np.sqrt(len(features)), full_matrices=False)
        self.axes = axes.T
        self.features = features @ self.axes


def _rounder(matrix: np.ndarray, shrinkage: float) -> np.ndarray:
    """A covariance drawn to the sphere of its own mean variance."""
    sphere = max(np.trace(matrix) / len(matrix), 1e-12) * np.eye(len(matrix))
    return (1 - shrinkage) * matrix + shrinkage * sphere
