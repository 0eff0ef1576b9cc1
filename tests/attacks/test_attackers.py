"""Each attacker finds a trace of the person where there is one, and none where there is none."""

import numpy as np
import pytest

from faceanon_hub import metrics
from faceanon_hub.attacks import (
    Parrot,
    Perceptron,
    Plain,
    Ridge,
    compare_seeds,
    cross_examine,
    identify_numbers,
    link,
    recognize,
)


def covers_chance(figure: dict[str, float]) -> bool:
    return figure["low"] <= figure["chance"] <= figure["high"] and abs(figure["value"] - figure["chance"]) < 0.07


def test_the_recognizer_finds_what_a_distance_shows(noise, people):
    originals, nothing = noise
    found = recognize(originals, originals + 0.1, people)
    assert found["auc"]["value"] > 0.999 and found["rank1"]["value"] == 1 and found["accepted"]["0.01"] > 0.99
    assert found["in_folds"]["enrolled"] < found["enrolled"]
    blind = recognize(originals, nothing, people)
    assert covers_chance(blind["auc"]) and blind["accepted"] == {
        f"{rate:g}": share for rate, share in metrics.verify(originals, nothing, people).tar_at_far.items()
    }


def test_the_parrot_hears_through_what_deafens_the_recognizer(planted, people):
    originals, probes = planted
    deaf = cross_examine(Plain(), probes, originals, people).summary()
    heard = cross_examine(Parrot(), probes, originals, people).summary()
    assert deaf["auc"]["value"] < 0.65
    assert heard["auc"]["low"] > 0.97 and heard["rank1"]["low"] > 0.6


@pytest.mark.parametrize("attacker", [Ridge(), Perceptron()], ids=["ridge", "perceptron"])
def test_the_way_back_is_found(attacker, turned_away, people):
    originals, probes = turned_away
    assert cross_examine(Plain(), probes, originals, people).auc() < 0.7
    assert cross_examine(attacker, probes, originals, people).summary()["auc"]["low"] > 0.95


@pytest.mark.parametrize("attacker", [Parrot(), Ridge(), Perceptron()], ids=["parrot", "ridge", "perceptron"])
def test_nothing_is_found_in_noise(attacker, noise, people):
    originals, probes = noise
    found = cross_examine(attacker, probes, originals, people).summary()
    assert covers_chance(found["auc"])


@pytest.mark.parametrize("attacker", [Parrot, Ridge, Perceptron])
def test_the_same_data_gives_the_same_distances(attacker, planted, people):
    originals, probes = planted
    first, second = (cross_examine(attacker(), probes, originals, people, seed=5).distances for _ in range(2))
    assert np.array_equal(first, second)


def test_the_parrot_can_be_no_worse_than_the_recognizer(noise, people):
    originals, _ = noise
    assert cross_examine(Parrot(), originals, None, people).auc() > 0.999


def test_two_photos_of_one_person_are_linked(planted, noise, people):
    _, probes = planted
    assert link(probes, people, Parrot())["auc"]["low"] > 0.97
    assert link(noise[0], people)["auc"]["low"] > 0.99
    for attacker in (None, Parrot()):
        assert covers_chance(link(noise[1], people, attacker)["auc"])


def test_numbers_are_judged_each_for_itself_and_together(planted, noise, people):
    # The same trace once in small and once in large units.
    _, trace = planted
    numbers = {"trace": 1e-3 * trace, "nothing": 1e3 * noise[1]}
    found = identify_numbers(numbers, people)
    assert list(found) == ["trace", "nothing", "all together"]
    assert found["trace"]["auc"]["low"] > 0.97 and covers_chance(found["nothing"]["auc"])
    assert found["all together"]["auc"]["value"] > 0.9


def test_one_seed_that_leaves_its_mark_is_seen(noise, people):
    originals, each = noise
    mark = np.zeros(24)
    mark[:4] = 4
    found = compare_seeds(originals, 0.4 * each + mark, each, people)
    assert found["detected"]["low"] > 0.99 and found["calibrated"]["low"] > 0.1
    assert found["one"]["value"] > 5 * found["each"]["value"]


def test_one_seed_without_a_mark_is_not_seen(noise, people):
    originals, each = noise
    found = compare_seeds(originals, np.random.default_rng(9).normal(size=each.shape), each, people)
    assert covers_chance(found["detected"]) and 0.003 < found["calibrated"]["value"] < 0.03
