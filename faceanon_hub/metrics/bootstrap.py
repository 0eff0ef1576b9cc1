"""Confidence intervals by resampling."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

CHUNK = 2**22  # numbers drawn at once: 32 MB


def median_interval(
    values: np.ndarray, confidence: float = 0.95, repeats: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Median with its percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13).

    Args:
        values (`np.ndarray` of shape `(N,)`, float):
            One number for each face, in any unit; NaN, where there is none, is left out.
        confidence (`float`, *optional*, defaults to `0.95`):
            Share of such intervals that hold the true median, 0 to 1.
        repeats (`int`, *optional*, defaults to `1000`):
            Number of resamples.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the resamples: equal seeds give equal intervals.

    Returns:
        `tuple[float, float, float]`: median, low and high end, in the unit of the values; NaN where there are none.
    """
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if not known.size:
        return np.nan, np.nan, np.nan
    random = np.random.default_rng(seed)
    step = max(1, CHUNK // known.size)
    medians = np.concatenate(
        [
            np.median(known[random.integers(0, known.size, (min(step, repeats - start), known.size))], 1)
            for start in range(0, repeats, step)
        ]
    )
    low, high = np.quantile(medians, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(np.median(known)), float(low), float(high)


def drawn_people(count: int, repeats: int = 200, seed: int = 0) -> Iterator[np.ndarray]:
    """Resamples people, not their pairs, which hang together: who is drawn twice counts twice.

    Args:
        count (`int`):
            Number of people.
        repeats (`int`, *optional*, defaults to `200`):
            Number of resamples.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the resamples: equal seeds give equal ones.

    Yields:
        `np.ndarray` of shape `(count,)`, float64: how often each is drawn.
    """
    random = np.random.default_rng(seed)
    for _ in range(repeats):
        yield np.bincount(random.integers(0, count, count), minlength=count).astype(np.float64)
