"""An attacker who sees no face, only the numbers that the pipeline takes from the original."""

from typing import Any

import numpy as np

from .parrot import Parrot
from .scores import Scores, cross_examine


def identify_numbers(numbers: dict[str, np.ndarray], people: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """How well people are recognized by numbers taken from their original faces, learning from other people.

    Args:
        numbers (`dict`):
            Arrays of shape `(N, K)` by name.
        people (`np.ndarray` of shape `(N,)`):
            Who is on each photo.
        seed (`int`, *optional*, defaults to `0`):
            Decides who is in which fold, and the intervals' resamples.

    Returns:
        `dict`: by name, and for `"all together"`, the sum of the standardised distances, that of [`Scores.summary`].
    """
    scores = {name: cross_examine(Parrot(), columns, None, people, seed) for name, columns in numbers.items()}
    groups = next(iter(scores.values())).groups
    scores["all together"] = Scores(np.sum([each.distances for each in scores.values()], 0), people, groups)
    return {name: each.summary(seed) for name, each in scores.items()}
