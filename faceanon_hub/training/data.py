"""Shards to batches: random access to the samples of tars, draws that follow from the step."""

import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from ..alignment import align, warp_in
from ..errors import FaceAnonError, UnreadableError
from ..files import open_regular
from .preparation import read_manifest, warp_valid

# How far a drawn picture's middle lies above that of the mesh, in sides: the mean of 60 drawn faces. Their pictures
# are 1.51 times as wide as the mesh, as the pipeline's crops are.
DRAWN_LIFT = 0.096


class FaceShards(Dataset):
    r"""The samples of folders that [`prepare_faces`] made, by random access.

    An item is asked for by its number, or by number and whether it is mirrored, and is a dictionary of tensors:
    `"image"` `(3, S, S)` and `"valid"` `(1, S, S)`, uint8, 1 where the photo goes on, framed as a generator draws.

    Args:
        folders (`Sequence[str]`):
            The folders. A photo that is in two of them counts once.
        split (`str`):
            `"train"` or `"validation"`.
        size (`int`):
            Side of the crops in pixels.

    Raises:
        UnreadableImageError: a folder holds no manifest.
        UnreadableError: a shard is damaged.
        FaceAnonError: there is no sample for training, or crops are smaller.
    """

    def __init__(self, folders: Sequence[str], split: str, size: int) -> None:
        self.size = size
        self._places: list[tuple[str, dict[str, tuple[int, int]]]] = []
        seen: set[str] = set()
        for folder in folders:
            manifest = read_manifest(folder)
            if manifest["size"] < size:
                raise FaceAnonError(f"{folder}: holds crops of {manifest['size']} px, too small for {size} px")
            for shard in sorted(Path(folder).glob(f"{split}-*.tar")):
                for key, places in _index(shard):
                    if key not in seen:
                        seen.add(key)
                        self._places.append((str(shard), places))
        if not self._places and split == "train":
            raise FaceAnonError(f"{', '.join(map(str, folders))}: no sample for {split}")

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, item: int | tuple[int, bool]) -> dict[str, torch.Tensor]:
        number, mirrored = item if isinstance(item, tuple) else (item, False)
        image, valid, points = self._read(number)
        matrix = align(points, self.size, DRAWN_LIFT)
        crops = {
            "image": warp_in(image, matrix, self.size),
            "valid": warp_valid(valid, matrix, self.size)[..., None],
        }
        tensors = {name: torch.from_numpy(crop).permute(2, 0, 1) for name, crop in crops.items()}
        return {name: (crop.flip(2) if mirrored else crop).contiguous() for name, crop in tensors.items()}

    def face(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The stored crop of a sample, `(T, T, 3)`, uint8, and its mesh, `(478, 3)`, in pixels of it."""
        image, _, points = self._read(number)
        return image, points

    def _read(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        shard, places = self._places[number]
        with open_regular(shard) as file:
            contents = {}
            for suffix, (start, length) in places.items():
                file.seek(start)
                contents[suffix] = np.frombuffer(file.read(length), np.uint8)
        image = cv2.cvtColor(cv2.imdecode(contents["jpg"], cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        valid = (cv2.imdecode(contents["valid.png"], cv2.IMREAD_GRAYSCALE) > 127).astype(np.uint8)
        return image, valid, np.load(io.BytesIO(contents["npy"].tobytes()))


class Draws:
    """The batches of a run, as lists of what [`FaceShards`] is asked for: each follows from its step alone.

    Args:
        total (`int`):
            Samples there are.
        count (`int`):
            Samples in a batch.
        steps (`range`):
            Numbers of the steps.
        seed, process (`int`):
            Of the run, and of this process among those that train.
    """

    def __init__(self, total: int, count: int, steps: range, seed: int, process: int = 0) -> None:
        self.total, self.count, self.steps, self.seed, self.process = total, count, steps, seed, process

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[tuple[int, bool]]]:
        for step in self.steps:
            random = np.random.default_rng([self.seed, self.process, step])
            numbers, mirrored = random.integers(self.total, size=self.count), random.random(self.count) < 0.5
            yield list(zip(numbers.tolist(), mirrored.tolist(), strict=True))


def _index(shard: Path) -> Iterator[tuple[str, dict[str, tuple[int, int]]]]:
    """Key and places of the files of each sample."""
    try:
        with open_regular(shard) as shut, tarfile.open(fileobj=shut) as tar:
            places: dict[str, tuple[int, int]] = {}
            for member in tar:
                key, _, suffix = member.name.partition(".")
                places[suffix] = member.offset_data, member.size
                if suffix == "valid.png":  # the last of a sample
                    yield key, places
                    places = {}
    except (OSError, tarfile.TarError, ValueError) as error:
        raise UnreadableError(shard, f"a damaged shard: {error}") from error
