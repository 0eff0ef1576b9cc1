"""Pairs and how well they are told apart; nothing is learned from the people who are attacked."""

import numpy as np
import pytest

from faceanon_hub import metrics
from faceanon_hub.attacks import Plain, Scores, cross_examine, folds
from faceanon_hub.attacks.scores import FALSE_ACCEPTS


class Memory:
    """Knows again the very faces it learned from, and no others."""

    def fit(self, probes, gallery, people):
        sides = (probes, probes if gallery is None else gallery)
        self.known = {face.tobytes(): who for side in sides for face, who in zip(side, people, strict=True)}

    def __call__(self, probes, gallery):
        sides = (probes, probes if gallery is None else gallery)
        rows, columns = ([self.known.get(face.tobytes(), -n) for n, face in enumerate(side, 1)] for side in sides)
        return np.array([[float(row != column) for column in columns] for row in rows])


def test_every_person_is_attacked_once_and_never_learned_from_then(people):
    attacked = []
    for known, part in folds(people):
        assert not set(people[known]) & set(people[part])
        assert sorted([*known, *part]) == list(range(len(people)))
        attacked += list(part)
    assert sorted(attacked) == list(range(len(people)))
    assert len(list(folds(np.arange(4)))) == 2


def test_what_is_only_remembered_is_worth_nothing(noise, people):
    originals, probes = noise
    memory = Memory()
    memory.fit(probes, originals, people)
    assert Scores(memory(probes, originals), people).auc() == 1
    scores = cross_examine(memory, probes, originals, people)
    assert 0.45 < scores.auc() < 0.55 and scores.curve()[1] < 0.05


def test_figures_and_interval_are_those_of_the_metrics(planted, people):
    originals, probes = planted
    found = Scores(Plain()(probes, originals), people).summary(seed=3)
    auc, low, high = metrics.auc_interval(originals, probes, people, seed=3)
    assert (found["auc"]["value"], found["auc"]["low"], found["auc"]["high"]) == (auc, low, high)
    verified = metrics.verify(originals, probes, people)
    assert found["rank1"]["value"] == verified.rank1 and found["pairs"] == verified.pairs == 240
    assert found["people"] == 40 and found["enrolled"] == 119


def test_ranks_and_chance_by_hand():
    people = np.array([0, 0, 1, 1])
    distances = np.array([[0, 2, 1, 3], [9, 0, 1, 2], [5, 6, 0, 4], [1, 2, 2, 0]], float)
    scores = Scores(distances, people)
    assert scores.ranks.tolist() == [2, 3, 1, 3]  # a tie counts against it
    assert scores.found_within().tolist() == [0.25, 0.5, 1]
    assert scores.chance_within() == pytest.approx([1 / 3, 2 / 3, 1])


def test_chance_is_what_noise_finds():
    random = np.random.default_rng(0)
    scores = Scores(random.normal(size=(400, 400)), np.repeat(np.arange(100), 4))
    assert np.abs(scores.found_within() - scores.chance_within()).max() < 0.06
    assert np.abs(scores.curve() - FALSE_ACCEPTS).max() < 0.03
    found = scores.summary()
    for figure in ("auc", "rank1", "tar"):
        assert found[figure]["low"] <= found[figure]["chance"] <= found[figure]["high"]


def test_pairs_of_two_folds_do_not_count(people):
    random = np.random.default_rng(0)
    distances, groups = random.normal(size=(len(people), len(people))), people % 2
    scores = Scores(distances, people, groups)
    other = distances.copy()
    other[groups[:, None] != groups] = -9
    assert Scores(other, people, groups).summary() == scores.summary()
    assert not np.array_equal(Scores(distances, people).apart, scores.apart)


def test_without_pairs_there_is_nothing_to_judge():
    for people in ([0, 1, 2], [0, 0, 0]):
        with pytest.raises(ValueError, match="no pair"):
            Scores(np.zeros((3, 3)), np.array(people))
