"""An attacker who has no original at all: are two anonymized photos of one person?"""

from typing import Any

import numpy as np

from .recognizer import Plain
from .scores import Attacker, Scores, cross_examine


def link(probes: np.ndarray, people: np.ndarray, attacker: Attacker | None = None, seed: int = 0) -> dict[str, Any]:
    """Compares anonymized photos with one another.

    Args:
        probes (`np.ndarray` of shape `(N, D)`):
            Embeddings of the anonymized faces.
        people (`np.ndarray` of shape `(N,)`):
            Who is on each photo.
        attacker ([`Attacker`], *optional*):
            Learns from anonymized photos of other people first; a plain recognizer unless given.
        seed (`int`, *optional*, defaults to `0`):
            Decides who is in which fold, and the intervals' resamples.

    Returns:
        `dict`: that of [`Scores.summary`]; of the plain recognizer also `"in_folds"`, see [`recognize`].
    """
    if attacker is None:
        in_folds = cross_examine(Plain(), probes, None, people, seed).summary(seed)
        return {**Scores(Plain()(probes, None), people).summary(seed), "in_folds": in_folds}
    return cross_examine(attacker, probes, None, people, seed).summary(seed)
