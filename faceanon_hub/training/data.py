"""Shards to batches: random access to the samples of tars, weighted draws, jitter."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from ..alignment import align, similarity, transform, warp_in
from ..errors import FaceAnonError, UnreadableError
from ..files import open_regular
from . import conditioning
from .config import TrainingConfig
from .preparation import read_manifest, warp_valid

# From where on a face counts as one of those that are rare: degrees, percent of the eye's width, percent of the
# distance of the eyes, degrees (the boundary of dark skin in `metrics.color.TONES`).
PROFILE, CLOSED_EYES, OPEN_MOUTH, DARK_SKIN = 30.0, 15.0, 25.0, 10.0


@dataclass(frozen=True)
class Jitter:
    """Standard deviations of a crop's rotation in degrees, of its size as a factor, and of its place in sides."""

    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0

    def draw(self, size: int, seed: int) -> np.ndarray:
        """A matrix of shape `(2, 3)` that moves a crop of `size` pixels in itself, by two deviations at most."""
        rotation, scale, right, down = np.random.default_rng(seed).standard_normal(4).clip(-2, 2)
        center = size / 2 + size * self.shift * np.array([right, down])
        return similarity(center, size * np.exp(self.scale * scale), np.radians(self.rotation * rotation), size)


class FaceShards(Dataset):
    r"""The samples of folders that [`prepare_faces`] made, by random access.

    An item is asked for by its number, or by number and seed, and is a dictionary of tensors: `"image"` `(3, S, S)`,
    `"valid"` `(1, S, S)` and `"maps"` `(8, S, S)`, uint8, and `"points"` `(478, 2)`, float32, in pixels.

    Args:
        folders (`Sequence[str]`):
            The folders. A photo that is in two of them counts once.
        split (`str`):
            `"train"` or `"validation"`.
        size (`int`):
            Side of the crops in pixels.
        jitter ([`Jitter`], *optional*):
            What the seed moves the crop by; none unless given.

    Raises:
        UnreadableImageError: a folder holds no manifest.
        UnreadableError: a shard is damaged.
        FaceAnonError: there is no sample, or crops were made for a network of less than half this size.
    """

    def __init__(self, folders: Sequence[str], split: str, size: int, jitter: Jitter | None = None) -> None:
        self.size, self.jitter = size, jitter or Jitter()
        self.facts: list[dict[str, Any]] = []
        self._places: list[tuple[str, dict[str, tuple[int, int]]]] = []
        seen: set[str] = set()
        for folder in folders:
            manifest = read_manifest(folder)
            if 2 * manifest["size"] < size:
                raise FaceAnonError(f"{folder}: holds crops of {manifest['size']} px, too small for {size} px")
            for shard in sorted(Path(folder).glob(f"{split}-*.tar")):
                for key, places, facts in _index(shard):
                    if key not in seen:
                        seen.add(key)
                        self.facts.append(facts)
                        self._places.append((str(shard), places))
        if not self._places:
            raise FaceAnonError(f"{', '.join(map(str, folders))}: no sample for {split}")

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, item: int | tuple[int, int]) -> dict[str, torch.Tensor]:
        number, seed = item if isinstance(item, tuple) else (item, None)
        shard, places = self._places[number]
        with open_regular(shard) as file:
            contents = {}
            for suffix, (start, length) in places.items():
                file.seek(start)
                contents[suffix] = np.frombuffer(file.read(length), np.uint8)
        image = cv2.cvtColor(cv2.imdecode(contents["jpg"], cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        valid = (cv2.imdecode(contents["valid.png"], cv2.IMREAD_GRAYSCALE) > 127).astype(np.uint8)
        points = np.load(io.BytesIO(contents["npy"].tobytes()))
        matrix = align(points, self.size)
        if seed is not None:
            matrix = _after(self.jitter.draw(self.size, seed), matrix)
        placed = transform(points, matrix)
        return {
            "image": torch.from_numpy(warp_in(image, matrix, self.size)).permute(2, 0, 1).contiguous(),
            "maps": torch.from_numpy(conditioning.draw_maps(placed, self.size)),
            "valid": torch.from_numpy(warp_valid(valid, matrix, self.size))[None],
            "points": torch.from_numpy(placed[:, :2].copy()),
        }


class Draws:
    """The batches of a run, as lists of what [`FaceShards`] is asked for: each follows from its step alone.

    Args:
        weights (`np.ndarray` of shape `(N,)`):
            How often each sample is drawn, relative to the others.
        count (`int`):
            Samples in a batch.
        steps (`range`):
            Numbers of the steps.
        seed, process (`int`):
            Of the run, and of this process among those that train.
    """

    def __init__(self, weights: np.ndarray, count: int, steps: range, seed: int, process: int = 0) -> None:
        self._sums = np.cumsum(weights / weights.sum())
        self.count, self.steps, self.seed, self.process = count, steps, seed, process

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in self.steps:
            random = np.random.default_rng([self.seed, self.process, step])
            numbers = np.searchsorted(self._sums, random.random(self.count), side="right").clip(0, len(self._sums) - 1)
            seeds = random.integers(2**31, size=self.count)
            yield list(zip(numbers.tolist(), seeds.tolist(), strict=True))


def draw_weights(facts: Sequence[dict[str, Any]], config: TrainingConfig) -> np.ndarray:
    """How often each sample is drawn: rare poses, expressions and skin tones more often than others.

    Args:
        facts (`list[dict]`):
            Of the samples, see [`training.preparation.describe`].
        config ([`TrainingConfig`]):
            With the factors.
    """
    weights = np.ones(len(facts))
    for number, fact in enumerate(facts):
        for rare, factor in (
            (abs(fact["yaw"]) > PROFILE, config.profile_weight),
            (fact["eyes"] < CLOSED_EYES, config.closed_eyes_weight),
            (fact["mouth"] > OPEN_MOUTH, config.open_mouth_weight),
            (fact.get("ita", 90.0) < DARK_SKIN, config.dark_skin_weight),
        ):
            if rare:
                weights[number] *= factor
    return weights


def _index(shard: Path) -> Iterator[tuple[str, dict[str, tuple[int, int]], dict[str, Any]]]:
    """Key, places of the files, and facts of each sample."""
    try:
        with open_regular(shard) as shut, tarfile.open(fileobj=shut) as tar:
            places: dict[str, tuple[int, int]] = {}
            for member in tar:
                key, _, suffix = member.name.partition(".")
                if suffix == "json":  # the last of a sample
                    file = tar.extractfile(member)
                    assert file is not None
                    yield key, places, json.loads(file.read())
                    places = {}
                else:
                    places[suffix] = member.offset_data, member.size
    except (OSError, tarfile.TarError, ValueError) as error:
        raise UnreadableError(shard, f"a damaged shard: {error}") from error


def _after(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The matrix that does `first`, then `second`."""
    return np.concatenate([second[:, :2] @ first[:, :2], (second[:, :2] @ first[:, 2] + second[:, 2])[:, None]], 1)
