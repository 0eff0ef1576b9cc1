"""95 % intervals by the percentile bootstrap (Efron and Tibshirani 1993, chapter 13)."""

from collections.abc import Callable

import numpy as np

from ..errors import MissingDependencyError

QUANTILES = (0.025, 0.975)


def median_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Median with its 95 % interval.

    Args:
        values (`np.ndarray` of shape `(N,)`, float):
            One number for each face, in any unit; NaN, where there is none, is left out.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the resamples: equal seeds give equal intervals.

    Returns:
        `tuple[float, float, float]`: median, low and high end, in the unit of the values; NaN where there are none.

    Raises:
        MissingDependencyError: the extra `eval` is not installed.

    Example:
        ```py
        >>> import numpy as np
        >>> from faceanon_hub.metrics import median_interval

        >>> median_interval(np.arange(100.0))
        (49.5, 40.0, 58.5)
        ```
    """
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if known.size < 2:  # nothing to draw from
        return (float(known[0]) if known.size else np.nan,) * 3
    return float(np.median(known)), *_interval(known, np.median, 1000, seed)


def people_interval(statistic: Callable[[np.ndarray], float], count: int, seed: int = 0) -> tuple[float, float, float]:
    """A statistic with its 95 % interval when people are resampled, not their pairs, which hang together.

    Args:
        statistic (`Callable`):
            Called with how often each person is drawn, `(count,)` float64. NaN is left out.
        count (`int`):
            Number of people, 2 and more.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the 200 resamples: equal seeds give equal intervals.

    Returns:
        `tuple[float, float, float]`: value where each is drawn once, low and high end.

    Raises:
        MissingDependencyError: the extra `eval` is not installed.
    """

    def weighted(people: np.ndarray) -> float:
        return statistic(np.bincount(people, minlength=count).astype(np.float64))

    return statistic(np.ones(count)), *_interval(np.arange(count), weighted, 200, seed)


def _interval(values: np.ndarray, statistic: Callable, repeats: int, seed: int) -> tuple[float, float]:
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingDependencyError("scipy", "faceanon-hub[eval]") from error
    found = stats.bootstrap(
        (values,), statistic, n_resamples=repeats, method="percentile", rng=np.random.default_rng(seed)
    )
    low, high = np.nanquantile(found.bootstrap_distribution, QUANTILES)
    return float(low), float(high)
