"""A bank of drawn faces: pictures of nobody, and what they show. No real photo is involved."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from ..errors import UnreadableImageError, UnwritableError
from ..files import write_arrays, write_whole
from ..look import ROWS, Estimator, look
from ..recognition import FaceRecognizer
from ..runs import claim_folder, make_folder
from ..sampling import Read

if TYPE_CHECKING:
    from ..generators.generator import Prior

SIZE, QUALITY = 512, 94  # pixels, at most, and JPEG quality of the pictures
SHARD = 100  # faces whose looks are kept in one file
LEAST_TRUNCATION = 0.6
POPULATION = 16384  # other latents, whose mean and covariance stand for all
OnFace = Callable[[int, int], None]


@dataclass(frozen=True)
class DrawnFaces:
    """What N drawn faces are and show.

    Args:
        styles (`np.ndarray` of shape `(N, style_size)`):
            Less the mean of all styles.
        looks (`np.ndarray` of shape `(N, R)`):
            See [`~faceanon_hub.look.look`].
        identities (`np.ndarray` of shape `(N, 256)`):
            Embeddings by [`FaceRecognizer`].
    """

    styles: np.ndarray
    looks: np.ndarray
    identities: np.ndarray


@torch.no_grad()
def bank_style(generator: Prior, index: int) -> torch.Tensor:
    """The style `(style_size,)` of a face of the bank: of the latent that its number gives, truncated by 0.6 to 1."""
    random = torch.Generator().manual_seed(index)
    latent = torch.randn(1, generator.config.latent_size, generator=random)
    truncation = LEAST_TRUNCATION + (1 - LEAST_TRUNCATION) * torch.rand(1, generator=random)
    mean = generator.mean_style
    return mean + truncation.to(mean) * (generator.style(latent.to(mean))[0] - mean)


@torch.no_grad()
def population(generator: Prior) -> np.ndarray:
    """Styles `(POPULATION, style_size)`, float64, of latents that no face of a bank has."""
    latents = torch.randn(POPULATION, generator.config.latent_size, generator=torch.Generator().manual_seed(2**32))
    styles = [generator.style(few.to(generator.mean_style)) for few in latents.split(1024)]
    return torch.cat(styles).double().cpu().numpy()


def picture_path(folder: str | os.PathLike[str], index: int) -> Path:
    """Where the picture of a face lies."""
    return Path(folder, f"{index:06d}.jpg")


def claim_bank(generator: Prior, folder: str | os.PathLike[str]) -> None:
    """Marks a folder as the bank of a generator.

    Raises:
        FaceAnonError: it is that of another one.
        UnwritableError: it cannot be written.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(generator.state_dict().items()):
        digest.update(name.encode() + tensor.float().cpu().contiguous().numpy().tobytes())
    claim_folder(Path(folder), {"generator": digest.hexdigest()}, "bank.json")


def draw_bank(
    generator: Prior,
    folder: str | os.PathLike[str],
    count: int,
    on_face: OnFace = lambda done, total: None,
) -> None:
    """Draws the faces, numbered from 0, that a bank still lacks. Cut off, it goes on where it was.

    Raises:
        UnwritableError: a picture cannot be written.
    """
    make_folder(Path(folder))
    size = max((side for side in generator.config.sizes if side <= SIZE), default=generator.config.sizes[0])
    for index in range(count):
        path = picture_path(folder, index)
        if not path.exists():
            (picture,) = generator.render(bank_style(generator, index)[None], size)
            encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
            write_whole(path, encoded.tobytes(), UnwritableError)
        on_face(index + 1, count)


def look_at_bank(
    generator: Prior,
    folder: str | os.PathLike[str],
    count: int,
    read: Read,
    recognizer: FaceRecognizer,
    estimator: Estimator,
    on_face: OnFace = lambda done, total: None,
) -> DrawnFaces:
    """Looks at the pictures of a bank; what was seen is kept beside them, and looked at again when the rows change.

    Faces without a mesh are left out. `on_face` is called with the number of faces so far and in all.

    Raises:
        UnreadableImageError: a picture is missing or damaged.
        UnwritableError: what was seen cannot be written.
    """
    shards = []
    for first in range(0, count, SHARD):
        indices = range(first, min(first + SHARD, count))
        path = Path(folder, f"looks-{first:06d}.npz")
        shard = _read_shard(path, len(indices))
        if shard is None:
            seen = []
            for index in indices:
                picture = _read_picture(picture_path(folder, index))
                mesh = read(picture)
                if mesh is not None:
                    seen.append((index, look(picture, mesh, estimator), recognizer.describe(picture, mesh.points)))
                on_face(index + 1, count)
            shard = {
                "faces": np.array([index for index, _, _ in seen], int),
                "looks": np.array([shown for _, shown, _ in seen], float).reshape(-1, len(ROWS)),
                "identities": np.array([identity for _, _, identity in seen], np.float32).reshape(len(seen), -1),
            }
            _save_shard(path, shard, len(indices))
        shards.append(shard)
        on_face(indices.stop, count)
    faces, looks, identities = (
        np.concatenate([shard[name] for shard in shards if len(shard["faces"])])
        for name in ("faces", "looks", "identities")
    )
    mean = generator.mean_style.double().cpu()
    styles = [(bank_style(generator, int(index)).double().cpu() - mean).numpy() for index in faces]
    return DrawnFaces(np.array(styles), looks, identities.astype(float))


def _read_picture(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path))
    if picture is None:
        raise UnreadableImageError(path, "missing or damaged: draw the bank first")
    return np.ascontiguousarray(picture[..., ::-1])


def _read_shard(path: Path, count: int) -> dict[str, np.ndarray] | None:
    """None where there is none, or one of other rows or another number of pictures."""
    if not path.exists():
        return None
    with np.load(path) as found:
        shard = dict(found)
    same = shard.pop("rows").tolist() == list(ROWS) and int(shard.pop("pictures")) == count
    return shard if same else None


def _save_shard(path: Path, shard: dict[str, np.ndarray], count: int) -> None:
    write_arrays(path, UnwritableError, rows=np.array(ROWS), pictures=np.array(count), **shard)
