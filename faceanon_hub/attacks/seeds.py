"""An attacker who knows that all photos were anonymized with one seed."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from ..metrics.identity import auc_of_histograms, pairwise_distances
from .scores import figure, folds

RATE = 0.01  # of false matches, at which a recognizer works
SHRINKAGE = 0.3


def compare_seeds(
    originals: np.ndarray, one: np.ndarray, each: np.ndarray, people: np.ndarray, seed: int = 0
) -> dict[str, Any]:
    """Whether one seed makes strangers alike, and whether a face gives it away.

    Args:
        originals (`np.ndarray` of shape `(N, D)`):
            Embeddings of the original faces, for the threshold.
        one, each (`np.ndarray` of shape `(N, D)`):
            Embeddings of the same faces, anonymized with one seed, and with a seed each.
        people (`np.ndarray` of shape `(N,)`):
            Who is on each photo.
        seed (`int`, *optional*, defaults to `0`):
            Decides who is in which fold, and the intervals' resamples.

    Returns:
        `dict`: `"one"` and `"each"`, share of strangers that match where 1 % of strangers' originals do;
        `"calibrated"`, share of strangers with one seed that match where 1 % of those with a seed each do;
        `"detected"`, AUC of a linear discriminant that learned, from other people, to tell photos with the one seed
        from those with others. Each with `"value"`, `"low"`, `"high"` and `"chance"`.
    """
    numbers = np.unique(people, return_inverse=True)[1]
    apart = numbers[:, None] != numbers
    distances = {
        "originals": pairwise_distances(originals, originals),
        "one": pairwise_distances(one, one),
        "each": pairwise_distances(each, each),
    }
    limits = {name: np.sort(distances[name][apart])[int(RATE * apart.sum())] for name in ("originals", "each")}
    matches = {
        "one": distances["one"] < limits["originals"],
        "each": distances["each"] < limits["originals"],
        "calibrated": distances["one"] < limits["each"],
    }
    pairs = _by_person(apart, numbers)
    guesses = _guess(one, each, people, seed)

    def share(match: np.ndarray) -> Callable[[np.ndarray], float]:
        sums = _by_person(match & apart, numbers)
        return lambda drawn: float(drawn @ sums @ drawn / (drawn @ pairs @ drawn))

    return {
        **{name: figure(share(match), numbers, RATE, seed) for name, match in matches.items()},
        "detected": figure(lambda drawn: _detected(*guesses, drawn[numbers]), numbers, 0.5, seed),
    }


def _by_person(pairs: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """How many pairs of photos there are for each pair of people."""
    member = (numbers == np.arange(numbers.max() + 1)[:, None]).astype(np.float64)
    return member @ pairs @ member.T


def _guess(one: np.ndarray, each: np.ndarray, people: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How much each photo looks like one with the one seed: Fisher's discriminant, in deviations of a fold."""
    guesses = np.empty((2, len(people)))
    for known, attacked in folds(people, seed=seed):
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE)
        model.fit(np.concatenate([each[known], one[known]]), np.repeat([0, 1], len(known)))
        scale = np.sqrt(model.coef_[0] @ model.covariance_ @ model.coef_[0]) + 1e-12
        guesses[:, attacked] = [model.decision_function(faces[attacked]) / scale for faces in (one, each)]
    return guesses[0], guesses[1]


def _detected(one: np.ndarray, each: np.ndarray, weights: np.ndarray) -> float:
    """Probability that a photo with the one seed looks more like it than one with another, ties half."""
    places = np.unique(-np.concatenate([one, each]), return_inverse=True)[1]
    first, second = np.split(places, 2)
    size = places.max() + 1
    return auc_of_histograms(np.bincount(first, weights, size), np.bincount(second, weights, size))
