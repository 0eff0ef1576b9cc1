"""Medians and how sure they are."""

import numpy as np
import pytest

from faceanon_hub.metrics import median_interval


def sample(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(5, 2, count)


def test_the_interval_has_the_width_that_theory_gives():
    median, low, high = median_interval(sample(1000))
    assert median == np.median(sample(1000))
    assert low < median < high
    # A normal sample's median has a standard error of sqrt(pi / 2) sigma / sqrt(n).
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(np.pi / 2) * 2 / np.sqrt(1000), rel=0.25)


def test_the_same_seed_gives_the_same_interval():
    assert median_interval(sample(50), seed=1) == median_interval(sample(50), seed=1)
    # Of continuous numbers, so that two draws rarely agree.
    assert median_interval(sample(50), seed=1) != median_interval(sample(50), seed=2)


def test_missing_values_are_left_out():
    holes = np.insert(sample(50), [0, 20, 50], np.nan)
    assert median_interval(holes) == median_interval(sample(50))


def test_of_nothing_nothing_is_known_and_one_value_is_its_own_interval():
    for values in ([], [np.nan, np.nan]):
        assert np.isnan(median_interval(np.array(values))).all()
    assert median_interval(np.array([np.nan, 3])) == (3, 3, 3)
