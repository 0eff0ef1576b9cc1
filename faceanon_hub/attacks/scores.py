"""What an attacker says of pairs of faces, and how often it is right."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import Any, Protocol

import numpy as np

from ..metrics.bootstrap import people_interval
from ..metrics.identity import auc_of_histograms, rank_histograms, rank_places

FALSE_ACCEPTS = np.concatenate([[0], np.geomspace(1e-3, 1, 31)])  # where a curve is read
RANKS = 50
FOLDS = 5


class Attacker(Protocol):
    """Says how far apart two faces are; what it has learned, it has learned from other people."""

    def fit(self, probes: np.ndarray, gallery: np.ndarray | None, people: np.ndarray) -> None:
        """Learns from known people.

        Args:
            probes (`np.ndarray` of shape `(N, D)`):
                Their anonymized faces.
            gallery (`np.ndarray` of shape `(N, D)`, *optional*):
                Their enrolled faces, of the same photos in the same order; the probes themselves where it is None.
            people (`np.ndarray` of shape `(N,)`):
                Who is on each photo.
        """

    def __call__(self, probes: np.ndarray, gallery: np.ndarray | None) -> np.ndarray:
        """Distances (N, M) from probes to enrolled faces, in any unit; less is more alike."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Distances from probes to enrolled faces, and which of these pairs count.

    A face is never compared with its own photo, whose background and pose would give it away.

    Args:
        distances (`np.ndarray` of shape `(N, N)`, float):
            From the probe of a row to the enrolled face of a column, of the same photos.
        people (`np.ndarray` of shape `(N,)`):
            Who is on each photo.
        groups (`np.ndarray` of shape `(N,)`, *optional*):
            Pairs count inside a group only: the fold in which an attacker had not seen them. All are one group unless
            given.

    Raises:
        ValueError: there is no pair of one person or none of strangers.
    """

    distances: np.ndarray
    people: np.ndarray
    groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not self.mated.any() or not self.apart.any():
            raise ValueError(f"{len(self.people)} faces have no pair of one person or none of strangers")

    @cached_property
    def numbers(self) -> np.ndarray:
        """The people as numbers from 0, (N,)."""
        return np.unique(self.people, return_inverse=True)[1]

    @cached_property
    def mated(self) -> np.ndarray:
        """Pairs of one person, (N, N) bool."""
        return (self.numbers[:, None] == self.numbers) & ~np.eye(len(self.numbers), dtype=bool)

    @cached_property
    def apart(self) -> np.ndarray:
        """Pairs of strangers, (N, N) bool."""
        apart = self.numbers[:, None] != self.numbers
        return apart if self.groups is None else apart & (self.groups[:, None] == self.groups)

    @cached_property
    def ranks(self) -> np.ndarray:
        """Place from 1 at which each probe that has a mate finds it among the enrolled; ties count against it."""
        nearest = np.where(self.mated, self.distances, np.inf).min(1)[self._searching]
        before = self.apart[self._searching] & (self.distances[self._searching] <= nearest[:, None])
        return 1 + before.sum(1)

    @cached_property
    def _searching(self) -> np.ndarray:
        return np.flatnonzero(self.mated.any(1))

    def auc(self) -> float:
        """Probability that a mated pair is nearer than one of strangers, 0 to 1; ties count half."""
        places = rank_places(self.distances, self.mated)
        return auc_of_histograms(*rank_histograms(places, self.mated, self.apart, np.ones(len(self.numbers))))

    def curve(self) -> np.ndarray:
        """Share of mated pairs accepted at each share of `FALSE_ACCEPTS`, (32,)."""
        strangers, mates = np.sort(self.distances[self.apart]), self.distances[self.mated]
        places = (FALSE_ACCEPTS * strangers.size).astype(int)
        limits = np.append(strangers, np.inf)[places]
        return np.array([(mates < limit).mean() for limit in limits])

    def found_within(self) -> np.ndarray:
        """Share of probes that find their person among the first 1, 2, ... `RANKS`."""
        return np.array([(self.ranks <= rank).mean() for rank in range(1, self._reach + 1)])

    def chance_within(self) -> np.ndarray:
        """What [`found_within`] would be by chance."""
        mates, all_enrolled = self.mated[self._searching].sum(1), self._enrolled
        return np.array(
            [
                np.mean([1 - comb(n - m, rank) / comb(n, rank) for n, m in zip(all_enrolled, mates, strict=True)])
                for rank in range(1, self._reach + 1)
            ]
        )

    @cached_property
    def _enrolled(self) -> np.ndarray:
        return (self.mated | self.apart)[self._searching].sum(1)

    @property
    def _reach(self) -> int:
        return int(min(RANKS, self._enrolled.min()))

    def summary(self, seed: int = 0) -> dict[str, Any]:
        """The figures, with 95 % bootstrap intervals over people as in [`~faceanon_hub.metrics.auc_interval`].

        Args:
            seed (`int`, *optional*, defaults to `0`):
                Seed of the resamples.

        Returns:
            `dict`: `"auc"`, `"rank1"` and `"tar"` (at 1 % false accepts), each with `"value"`, `"low"`, `"high"` and
            `"chance"`; `"people"`, `"pairs"`, `"enrolled"` (mean size of the gallery), and the curves.
        """
        places = rank_places(self.distances, self.mated)
        hits, owners = self.ranks == 1, self.numbers[self._searching]
        limit = np.sort(self.distances[self.apart])[int(0.01 * self.apart.sum())]
        accepted = (self.distances < limit)[self.mated]
        probes = self.numbers[np.nonzero(self.mated)[0]]

        def auc(drawn: np.ndarray) -> float:
            return auc_of_histograms(*rank_histograms(places, self.mated, self.apart, drawn[self.numbers]))

        return {
            "auc": figure(auc, self.numbers, 0.5, seed),
            "rank1": figure(lambda drawn: _mean(hits, drawn[owners]), self.numbers, self.chance_within()[0], seed),
            "tar": figure(lambda drawn: _mean(accepted, drawn[probes]), self.numbers, 0.01, seed),
            "people": len(np.unique(owners)),
            "pairs": int(self.mated.sum()),
            "enrolled": float(self._enrolled.mean()),
            "curve": self.curve().tolist(),
            "found_within": self.found_within().tolist(),
            "chance_within": self.chance_within().tolist(),
        }


def folds(people: np.ndarray, count: int = FOLDS, seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Divides photos so that no person is in two parts.

    Args:
        people (`np.ndarray` of shape `(N,)`):
            Who is on each photo.
        count (`int`, *optional*, defaults to `5`):
            Number of parts; fewer where there are not two people for each.
        seed (`int`, *optional*, defaults to `0`):
            Decides who is in which part.

    Yields:
        `tuple`: numbers of the photos to learn from and of those to be attacked; each photo is attacked once.
    """
    names = np.unique(people)
    shuffled = np.random.default_rng(seed).permutation(names)
    for part in np.array_split(shuffled, min(count, len(names) // 2)):
        inside = np.isin(people, part)
        yield np.flatnonzero(~inside), np.flatnonzero(inside)


def cross_examine(
    attacker: Attacker, probes: np.ndarray, gallery: np.ndarray | None, people: np.ndarray, seed: int = 0
) -> Scores:
    """Lets an attacker learn from some people and attack the others, until each was attacked once.

    Distances of every fold are standardised by those of strangers among the people learned from, so that folds can be
    judged together.

    Args:
        attacker ([`Attacker`]):
            Learns anew for each fold.
        probes, gallery, people:
            All people, as in [`Attacker.fit`].
        seed (`int`, *optional*, defaults to `0`):
            Decides who is in which fold.
    """
    distances = np.full((len(people), len(people)), np.inf)
    groups = np.empty(len(people), int)
    for number, (known, attacked) in enumerate(folds(people, seed=seed)):
        learned = None if gallery is None else gallery[known]
        attacker.fit(probes[known], learned, people[known])
        among = attacker(probes[known], learned)[people[known][:, None] != people[known]]
        new = attacker(probes[attacked], None if gallery is None else gallery[attacked])
        distances[np.ix_(attacked, attacked)] = (new - among.mean()) / (among.std() + 1e-12)
        groups[attacked] = number
    return Scores(distances, people, groups)


class Chooser(Attacker, Protocol):
    """An attacker with something to be chosen."""

    def fit_as(self, choice: Any, probes: np.ndarray, gallery: np.ndarray | None, people: np.ndarray) -> None:
        """Learns from known people with a given choice."""


def held_out(
    attacker: Chooser, choices: Sequence[Any], probes: np.ndarray, gallery: np.ndarray | None, people: np.ndarray
) -> Any:
    """The choice with which an attacker best separates people whom he knows and was not trained on.

    Args:
        attacker ([`Chooser`]):
            Learns with each choice in turn.
        choices (`list`):
            What there is to choose from; the first where nobody held back has two photos.
        probes, gallery, people:
            The people learned from, as in [`Attacker.fit`].
    """
    found = np.zeros(len(choices))
    for known, held in folds(people, 4):
        learned, enrolled = probes[known], None if gallery is None else gallery[known]
        asked, among = probes[held], None if gallery is None else gallery[held]
        for number, choice in enumerate(choices):
            attacker.fit_as(choice, learned, enrolled, people[known])
            distances = attacker(asked, among)
            try:
                found[number] += Scores(distances, people[held]).auc()
            except ValueError:
                break
    return choices[int(found.argmax())]


def figure(
    statistic: Callable[[np.ndarray], float], numbers: np.ndarray, chance: float, seed: int
) -> dict[str, float]:
    """Value, interval and chance level of a statistic; see [`~faceanon_hub.metrics.bootstrap.people_interval`].

    `numbers` `(N,)` tell who is on each photo, from 0.
    """
    value, low, high = people_interval(statistic, numbers.max() + 1, seed)
    return {"value": value, "low": low, "high": high, "chance": float(chance)}


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    return float(values @ weights / weights.sum()) if weights.any() else float("nan")
