"""Frozen features of pictures that discriminator, perceptual and diversity terms look at."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..metrics.realism import load_efficientnet

SMALLEST_SIDE = 160  # pictures under it are enlarged: the coarsest features would be a handful of cells

CONVOLUTIONS = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))  # of a block


class FrozenFeatures(nn.Module):
    """Maps of EfficientNet-Lite0, trained on ImageNet (arXiv 1905.11946), where its resolution halves.

    Its batch normalizations are folded into the convolutions before them. Gradients reach the picture, and change
    nothing in here.

    Raises:
        MissingDependencyError: the extra `train` is not installed.
    """

    channels = (16, 24, 40, 112, 320)  # at strides 2, 4, 8, 16 and 32

    def __init__(self) -> None:
        super().__init__()
        network = load_efficientnet("faceanon-hub[train]").eval()
        self.stem = fuse_conv_bn_eval(network._conv_stem, network._bn0)  # noqa: SLF001 - it names its parts so
        self.blocks = network._blocks  # noqa: SLF001
        for block in self.blocks:
            for convolution, norm in CONVOLUTIONS:
                if hasattr(block, convolution):
                    fused = fuse_conv_bn_eval(getattr(block, convolution), getattr(block, norm))
                    setattr(block, convolution, fused)
                    setattr(block, norm, nn.Identity())
        self.requires_grad_(False)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Describes pictures `(B, 3, S, S)`, RGB in [-1, 1].

        Returns:
            `list[torch.Tensor]`: maps with [`channels`] channels, from fine to coarse, in the dtype of the weights.
        """
        if image.shape[-1] < SMALLEST_SIDE:
            image = F.interpolate(image, size=SMALLEST_SIDE, mode="bilinear", align_corners=False)
        x = image.to(self.stem.weight.dtype).contiguous(memory_format=torch.channels_last)
        x = F.relu6(self.stem(x))
        maps = []
        for block in self.blocks:
            refined = block(x)
            if refined.shape[-1] != x.shape[-1]:
                maps.append(x)
            x = refined
        return [*maps, x]
