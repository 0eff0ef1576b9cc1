"""An attacker who takes a recognizer as it comes."""

from typing import Any

import numpy as np

from .. import metrics
from ..metrics.identity import pairwise_distances
from .scores import Scores, cross_examine


class Plain:
    """The Euclidean distance of two embeddings, as their recognizer means it; learns nothing."""

    def fit(self, probes: np.ndarray, gallery: np.ndarray | None, people: np.ndarray) -> None:
        """See [`Attacker`]."""

    def __call__(self, probes: np.ndarray, gallery: np.ndarray | None) -> np.ndarray:
        """See [`Attacker`]."""
        return pairwise_distances(probes, probes if gallery is None else gallery)


def recognize(originals: np.ndarray, probes: np.ndarray, people: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """Looks for the people of anonymized photos among all originals.

    Args:
        originals, probes (`np.ndarray` of shape `(N, D)`):
            Embeddings of the enrolled faces, and of the anonymized ones of the same photos.
        people (`np.ndarray` of shape `(N,)`):
            Who is on each photo.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the intervals' resamples.

    Returns:
        `dict`: that of [`Scores.summary`]; `"in_folds"`, the same in the smaller galleries of attackers that must
        learn first, beside whom it can be judged; and `"accepted"`, the share of mated pairs that a recognizer in use
        takes for one person, whose thresholds are such that it errs on so many strangers' originals; see
        [`metrics.Verification`].
    """
    found = metrics.verify(originals, probes, people)
    return {
        **Scores(Plain()(probes, originals), people).summary(seed),
        "in_folds": cross_examine(Plain(), probes, originals, people, seed).summary(seed),
        "accepted": {f"{rate:g}": share for rate, share in found.tar_at_far.items()},
    }
