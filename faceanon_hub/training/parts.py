"""Drawn faces that label themselves: which pixels are skin, hair, eyes and so on.

    python -m faceanon_hub.training.parts FOLDER --faces 2200

The generator's features separate the parts of a picture, and a linear map reads them (Labels4Free, arXiv 2103.14968;
DatasetGAN, arXiv 2104.06490). The map in `parts.safetensors` was fitted to 160 drawn faces: their features at 64 px
fell into 48 clusters, a person said of each cluster whether it shows skin, hair, something else or a border, and a
logistic regression learnt from all but the borders. Brows, eyes and mouth are where the mesh has them. About 0.8 s a
face on one core. A run that was broken off goes on.
"""

import argparse
import functools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from .. import landmarks as lm
from ..blending.regions import filled
from ..errors import FaceAnonError, UnwritableError
from ..files import write_arrays
from ..generators.generator import FaceAnonGenerator
from ..hub import DEFAULT_CHECKPOINT
from ..landmarks import FaceMesh, LandmarkExtractor
from ..parsing import HAIR, PARTS, SKIN
from .bank import bank_style

SIZE, LABEL_SIZE = 320, 128  # pixels of a stored picture and of its labels
RENDERED = 512  # pixels of the picture before it is shrunk
SHARD = 100
RESOLUTIONS = (64, 128)  # of the features that are read
NOSE_TIP, EYE_CORNERS = 4, (33, 263)  # of the mesh; the outer corners
FEATURES = {  # a later one lies over those before it
    "brows": (lm.LEFT_BROW, lm.RIGHT_BROW),
    "eyes": (lm.LEFT_EYE, lm.RIGHT_EYE),
    "lips": (lm.OUTER_LIPS,),
    "mouth": (lm.INNER_LIPS,),
}


@dataclass(frozen=True)
class LabelledFaces:
    """N drawn faces.

    Args:
        pixels (`np.ndarray` of shape `(N, SIZE, SIZE, 3)`, uint8):
            RGB.
        labels (`np.ndarray` of shape `(N, LABEL_SIZE, LABEL_SIZE)`, uint8):
            Numbers of `PARTS`.
        points (`np.ndarray` of shape `(N, 478, 2)`, float32):
            Mesh in pixels of the picture.
    """

    pixels: np.ndarray
    labels: np.ndarray
    points: np.ndarray

    def __len__(self) -> int:
        return len(self.points)


@functools.cache
def _map() -> dict[str, torch.Tensor]:
    return {name: value.float() for name, value in load_file(Path(__file__).with_name("parts.safetensors")).items()}


@torch.inference_mode()
def label(generator: FaceAnonGenerator, style: torch.Tensor) -> np.ndarray:
    """Labels of the picture that a style `(512,)` gives, but for brows, eyes and mouth, by the bundled generator:
    others have other features.

    Returns:
        `np.ndarray` of shape `(LABEL_SIZE, LABEL_SIZE)`, uint8: `OTHER`, `SKIN` or `HAIR`.
    """
    known, found = _map(), generator.features(style[None], RESOLUTIONS[-1])
    coarse, fine = (found[side] / known[f"scale{side}"][:, None, None] for side in RESOLUTIONS)
    coarse = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    odds = torch.einsum("bchw,ck->bkhw", torch.cat([coarse, fine], 1), known["weight"])
    return (odds + known["bias"][:, None, None]).argmax(1)[0].byte().numpy()


def add_features(labels: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Labels with brows, eyes, lips and mouth where the mesh, in pixels of the labels, has them and skin is seen.

    A beard, of which the map says now skin, now hair, becomes skin.
    """
    labels, size = labels.copy(), len(labels)
    chin = cv2.dilate(filled(points, size, lm.OVAL), np.ones((5, 5), np.uint8))
    chin[: max(0, int(points[NOSE_TIP, 1]))] = 0
    left, right = (int(points[corner, 0]) for corner in EYE_CORNERS)
    chin[:, : max(0, left)], chin[:, max(0, right + 1) :] = 0, 0
    labels[(chin > 0) & (labels == HAIR)] = SKIN
    skin = labels == SKIN
    for name, groups in FEATURES.items():
        labels[(filled(points, size, *groups) > 0) & skin] = PARTS.index(name)
    return labels


def draw_faces(
    generator: FaceAnonGenerator,
    folder: str | os.PathLike[str],
    shards: Iterable[int],
    read: Callable[[np.ndarray], FaceMesh | None],
    on_shard: Callable[[int], None] = lambda number: None,
) -> None:
    """Draws and labels faces, `SHARD` of a [`bank`] in a file; files that are there already are left as they are.

    The generator is the bundled one, in float32 on the CPU; faces without a mesh are left out.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    for number in shards:
        path = Path(folder, f"{number:05d}.npz")
        if not path.exists():
            rows = []
            for index in range(number * SHARD, (number + 1) * SHARD):
                style = bank_style(generator, index)
                picture = generator.render(style[None], RENDERED)[0]
                mesh = read(picture)
                if mesh is not None:
                    points = (mesh.points[:, :2] + 0.5) / RENDERED
                    labels = add_features(label(generator, style), points * LABEL_SIZE - 0.5)
                    small = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
                    rows.append((small, labels, points * SIZE - 0.5))
            pixels, labels, points = (np.stack(column) for column in zip(*rows, strict=True))
            write_arrays(path, UnwritableError, pixels=pixels, labels=labels, points=points.astype(np.float32))
        on_shard(number)


def load_faces(folders: Iterable[str | os.PathLike[str]]) -> LabelledFaces:
    """All shards of some folders.

    Raises:
        FaceAnonError: there is none.
    """
    shards = [dict(np.load(path)) for folder in folders for path in sorted(Path(folder).glob("*.npz"))]
    if not shards:
        raise FaceAnonError(f"{', '.join(map(str, folders))}: no labelled faces, draw them first")
    return LabelledFaces(
        *(np.concatenate([shard[name] for shard in shards]) for name in ("pixels", "labels", "points"))
    )


def main() -> None:
    """Draws and labels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="where the faces go")
    parser.add_argument("--faces", type=int, default=2200, help=f"a multiple of {SHARD}")
    given = parser.parse_args()
    generator = FaceAnonGenerator.from_pretrained(DEFAULT_CHECKPOINT, subfolder="generator").float()
    extractor = LandmarkExtractor.from_pretrained(DEFAULT_CHECKPOINT, subfolder="landmark_extractor")
    shards = range(given.faces // SHARD)
    draw_faces(
        generator,
        given.folder,
        shards,
        extractor.read,
        lambda number: print(f"{number + 1}/{len(shards)}", flush=True),
    )


if __name__ == "__main__":
    main()
