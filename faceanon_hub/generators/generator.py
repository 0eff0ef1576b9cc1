"""Generators: a latent to a style, a style to a photograph of nobody."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..component import Network
from ..diffusion import register_to_config
from ..networks.synthesis import OnnxRuntime
from ..ranges import check_number, check_widths

SMALLEST = 4  # side of the constant that synthesis starts from
WIDEST, LARGEST = 1024, 2048  # more numbers, and pixels, are no network of this kind, and would fill the memory
MAPPING_LAYERS = 8
MEAN_SEED, MEAN_LATENTS = 7, 65536  # of the mean style

_building = threading.Lock()


class Prior(Network):
    """What all generators share: seeds to latents, latents to styles. Subclasses draw pictures of styles."""

    mean_style: torch.Tensor
    mapping: Any  # a linear layer each
    levels: Any  # one each resolution

    def make_mapping(self, latent_size: int, style_size: int, layers: int) -> None:
        """Makes the layers of [`style`], and the mean style: for `__init__`."""
        check_number("latent_size", latent_size, 1, WIDEST, whole=True)
        check_number("style_size", style_size, 1, WIDEST, whole=True)
        widths = [latent_size] + [style_size] * layers
        self.mapping = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.register_buffer("mean_style", torch.zeros(style_size))

    @property
    def style_layers(self) -> int:
        """How many styles one picture takes."""
        raise NotImplementedError

    def render(self, style: torch.Tensor, size: int | None = None) -> np.ndarray:
        """Draws faces `(B, size, size, 3)`, uint8, as fast as the device can."""
        raise NotImplementedError

    def shaping(self, size: int) -> list[nn.Parameter]:
        """The parameters that shape pictures reduced to a size in pixels: all but those of finer levels."""
        finer = [level for level in self.levels if level.first.noise.shape[-1] > size]
        left = {id(parameter) for level in finer for parameter in level.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in left]

    def check_size(self, size: int) -> None:
        """Makes sure that pictures have this size.

        Raises:
            ValueError: none has.
        """
        if size not in self.config.sizes:
            raise ValueError(f"pictures have the sizes {list(self.config.sizes)}, not {size}")

    def latents(self, seeds: Sequence[int]) -> torch.Tensor:
        """Draws latents, on the CPU, so that a seed is the same person on every device and at any batch size.

        Returns:
            `torch.Tensor` of shape `(B, latent_size)`, standard normal, on the device and of the type of the weights.
        """
        length = self.config.latent_size
        drawn = [torch.randn(length, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(drawn).to(self.mean_style)

    def style(self, latent: torch.Tensor, truncation: float = 1.0) -> torch.Tensor:
        """The mapping.

        Args:
            latent (`torch.Tensor` of shape `(B, latent_size)`):
                Standard normal; only its direction counts.
            truncation (`float`, *optional*, defaults to `1.0`):
                Distance from the mean style, 0 (one average face) to 1 (full variety).

        Returns:
            `torch.Tensor` of shape `(B, style_size)`.
        """
        if latent.device.type == "cpu" and len(latent) > 1 and not torch.is_grad_enabled():
            # One at a time: the last bit of a product depends on the number of rows.
            return torch.cat([self.style(row, truncation) for row in latent.split(1)])
        x = latent * torch.rsqrt(latent.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.mapping:
            x = F.leaky_relu(layer(x), 0.2)
        return x if truncation == 1 else torch.lerp(self.mean_style.expand_as(x), x, truncation)

    @torch.no_grad()
    def measure_mean_style(self) -> None:
        """Sets the mean style to that of many latents."""
        source = torch.Generator().manual_seed(MEAN_SEED)
        latents = torch.randn(MEAN_LATENTS, self.config.latent_size, generator=source).to(self.mean_style)
        with torch.enable_grad():  # in large batches, unlike single faces
            styles = [self.style(part).detach() for part in latents.split(4096)]
        self.mean_style.copy_(torch.cat(styles).mean(0))

    def layered(self, style: torch.Tensor) -> torch.Tensor:
        """One style for each layer, `(B, style_layers, style_size)`, of such or of one for all, `(B, style_size)`."""
        return style[:, None].expand(-1, self.style_layers, -1) if style.ndim == 2 else style


class FaceAnonGenerator(Prior):
    r"""Draws faces of nobody: MobileStyleGAN (arXiv 2104.04767), distilled from StyleGAN2 on FFHQ.

    A mapping makes a style of a latent, synthesis makes a picture of the style. Each level doubles the resolution by
    an inverse Haar transform of its channels. Small pictures cost less: their heads read them off inner features.

    Args:
        latent_size, style_size (`int`, *optional*, defaults to `512`):
            Lengths of latent and style.
        channels (`tuple[int]`, *optional*):
            Width of each level's features, from 4 px upwards, each level twice the resolution of the one before.
        sizes (`tuple[int]`, *optional*, defaults to `(128, 256, 512, 1024)`):
            Sides of the pictures in pixels, rising.
        resolutions (`tuple[int]`, *optional*, defaults to `(128, 256, 256, 512)`):
            Those of the features that each size is read off: its own or half of it; for the last size, half of it,
            which is the last level's.
        record (`dict`, *optional*):
            The record of a training run, see [`training.trainer`]; None of weights that were not trained here.

    Raises:
        ValueError: sizes, resolutions and levels do not fit together, or a value is out of range.
    """

    levels: Any  # a Level each
    heads: Any  # a Head each, by size

    @register_to_config
    def __init__(
        self,
        latent_size: int = 512,
        style_size: int = 512,
        channels: Sequence[int] = (512, 512, 512, 512, 512, 256, 128, 64),
        sizes: Sequence[int] = (128, 256, 512, 1024),
        resolutions: Sequence[int] = (128, 256, 256, 512),
        record: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.make_mapping(latent_size, style_size, MAPPING_LAYERS)
        check_widths("channels", channels, 9, WIDEST)
        if any(width % 4 for width in channels):
            raise ValueError(f"`channels` holds multiples of 4, not {channels}")
        for name, sides in {"sizes": sizes, "resolutions": resolutions}.items():
            if not isinstance(sides, list | tuple) or len(sides) != len(sizes):
                raise ValueError(f"`sizes` and `resolutions` must be lists of one length, not {sizes}, {resolutions}")
            for side in sides:
                check_number(name, side, 1, LARGEST, whole=True)
        reached = [SMALLEST * 2**level for level in range(len(channels))]
        last = (2 * reached[-1], reached[-1])
        pairs = list(zip(sizes, resolutions, strict=True))
        if pairs != sorted(set(pairs)) or pairs[-1:] != [last] or any(s not in (r, 2 * r) for s, r in pairs):
            raise ValueError(f"sizes {sizes} are not read off the resolutions {resolutions}, or end below {last[0]}")
        if not set(resolutions) <= set(reached[1:]):
            raise ValueError(f"features have the resolutions {reached}, not {resolutions}")
        self.constant = nn.Parameter(torch.randn(1, channels[0], SMALLEST, SMALLEST))
        self.stem = StyledConv(channels[0], channels[0], SMALLEST, style_size, separable=False)
        self.levels = nn.ModuleList(
            Level(narrow, wide, 2 * SMALLEST * 2**i, style_size)
            for i, (narrow, wide) in enumerate(zip(channels, channels[1:], strict=False))
        )
        self.scale = nn.Linear(style_size, channels[-1])
        self.heads = nn.ModuleDict(
            {str(size): Head(channels[reached.index(resolution) :], size // resolution) for size, resolution in pairs}
        )
        self._runtime: OnnxRuntime | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_runtime": None}  # built again from the weights where it is needed

    @property
    def style_layers(self) -> int:
        """How many styles one picture takes: one for the stem, two for each level."""
        return 1 + 2 * len(self.levels)

    def shaping(self, size: int) -> list[nn.Parameter]:
        """As [`Prior.shaping`]; without the heads of small pictures, which are fitted to the large ones."""
        *small, largest = self.config.sizes
        read_off = [self.heads[str(side)] for side in small]
        if self.config.resolutions[-1] > size:
            read_off += [self.heads[str(largest)], self.scale]
        left = {id(parameter) for part in read_off for parameter in part.parameters()}
        return [parameter for parameter in super().shaping(size) if id(parameter) not in left]

    def forward(self, style: torch.Tensor, size: int | None = None) -> torch.Tensor:
        """Draws faces, in torch, with gradients where they are wanted.

        Args:
            style (`torch.Tensor` of shape `(B, style_size)` or `(B, style_layers, style_size)`):
                One style for all layers, or one for each, from coarse to fine.
            size (`int`, *optional*):
                Side of the pictures in pixels, one of the configuration's `sizes`; the largest unless given.

        Returns:
            `torch.Tensor` of shape `(B, 3, size, size)`: RGB, about -1 to 1.
        """
        size = self.config.sizes[-1] if size is None else size
        resolution = self.resolution(size)
        features = self.features(style, resolution)[resolution]
        return self.heads[str(size)](features, self.factors(style, resolution))

    def resolution(self, size: int) -> int:
        """That of the features that a size is read off.

        Raises:
            ValueError: no picture has this size.
        """
        self.check_size(size)
        return self.config.resolutions[list(self.config.sizes).index(size)]

    def features(self, style: torch.Tensor, resolution: int) -> dict[int, torch.Tensor]:
        """Features of all resolutions R from 8 up to this one, `(B, C, R, R)`; `style` as for [`forward`]."""
        styles, found = self.layered(style), {}
        x = self.constant.expand(len(styles), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        x = self.stem(x, styles[:, 0])
        for number, level in enumerate(self.levels):
            if x.shape[-1] < resolution:
                x = level(x, styles[:, 1 + 2 * number], styles[:, 2 + 2 * number])
                found[x.shape[-1]] = x
        return found

    def factors(self, style: torch.Tensor, resolution: int) -> list[torch.Tensor]:
        """Factors `(B, C)` by which the layers that follow a resolution scale their channels: what a head takes."""
        styles = self.layered(style)
        found: list[torch.Tensor] = []
        for number, level in enumerate(self.levels):
            if SMALLEST * 2**number >= resolution:
                own = styles[:, 1 + 2 * number]
                inner = level.first.scale(own)
                bands = level.scale(own) * inner.repeat_interleave(4, 1)
                # Behind its first layer, a head has the low band alone.
                found += [bands[:, ::4] if found else bands]
                found += [level.second.scale(styles[:, 2 + 2 * number])]
        return [*found, self.scale(styles[:, -1])]

    @torch.no_grad()
    def render(self, style: torch.Tensor, size: int | None = None) -> np.ndarray:
        """Draws faces as fast as the device can: by ONNX Runtime on a CPU, one at a time, in single precision.

        On a CPU a face is the same bit for bit at any batch size and with any number of threads.

        Args:
            style, size:
                As for [`forward`].

        Returns:
            `np.ndarray` of shape `(B, size, size, 3)`, uint8: RGB.
        """
        size = self.config.sizes[-1] if size is None else size
        if self.device.type == "cpu":
            return self.runtime(self.layered(style).float().numpy(), size)
        levels = (self(style.to(self.device, self.dtype), size).float().clamp(-1, 1) + 1) * 127.5
        return levels.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    @property
    def runtime(self) -> OnnxRuntime:
        """What [`render`] draws by on a CPU, with the weights of the time when it was first needed."""
        with _building:
            if self._runtime is None:
                self._runtime = OnnxRuntime(self)
            return self._runtime


class StyledConv(nn.Module):
    """Scales channels by the style, filters and mixes them, adds constant noise and a bias, and a leaky ReLU.

    StyleGAN2's demodulation is part of the weights, as the distilled network holds it.
    """

    noise: torch.Tensor

    def __init__(self, channels: int, out_channels: int, size: int, style_size: int, separable: bool = True) -> None:
        super().__init__()
        self.scale = nn.Linear(style_size, channels)
        self.filter = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False) if separable else None
        self.mix = (
            nn.Conv2d(channels, out_channels, 1) if separable else nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.register_buffer("noise", torch.zeros(1, 1, size, size))

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """(B, C, R, R) and (B, S) to (B, C2, R, R)."""
        x = x * self.scale(style)[:, :, None, None]
        if self.filter is not None:
            x = self.filter(x)
        return F.leaky_relu(self.mix(x) + self.noise, 0.2)


class Level(nn.Module):
    """Doubles the resolution and refines twice."""

    def __init__(self, channels: int, out_channels: int, size: int, style_size: int) -> None:
        super().__init__()
        self.scale = nn.Linear(style_size, channels)
        self.first = StyledConv(channels // 4, out_channels, size, style_size)
        self.second = StyledConv(out_channels, out_channels, size, style_size)

    def forward(self, x: torch.Tensor, style: torch.Tensor, next_style: torch.Tensor) -> torch.Tensor:
        """(B, C, R, R) and two styles (B, S) to (B, C2, 2 R, 2 R)."""
        x = inverse_haar(x * self.scale(style)[:, :, None, None])
        return self.second(self.first(x, style), next_style)


class Head(nn.Module):
    """Reads pictures off features.

    Stands for all layers that would have followed, without their filters and at the resolution of the features: there
    a picture reduced to its size differs little from what these layers make of features reduced to theirs. The style
    comes in by the same factors. What the first layer sees is added to the picture once more.

    Args:
        channels (`Sequence[int]`):
            Widths of the features and of those of the levels that would have followed.
        zoom (`int`):
            Side of the picture in that of the features, 1 or 2.
    """

    layers: Any  # a convolution each

    def __init__(self, channels: Sequence[int], zoom: int) -> None:
        super().__init__()
        layers = []
        for number, (narrow, wide) in enumerate(zip(channels, channels[1:], strict=False)):
            last = number == len(channels) - 2
            layers.append(nn.Conv2d(narrow // 4 if number else narrow, wide, 1))
            layers.append(nn.Conv2d(wide, wide if last else wide // 4, 1))
        self.layers = nn.ModuleList(layers)
        self.skip = nn.Conv2d(channels[0], 3 * zoom**2, 1, bias=False) if layers else None
        self.mix = nn.Conv2d(channels[-1], 3 * zoom**2, 1)
        self.zoom = zoom

    def forward(self, x: torch.Tensor, factors: Sequence[torch.Tensor]) -> torch.Tensor:
        """(B, C, R, R) and the factors of [`FaceAnonGenerator.factors`] to (B, 3, R zoom, R zoom)."""
        seen, last = self.inner(x, factors)
        mixed = self.mix(last) if self.skip is None else self.mix(last) + self.skip(seen)
        return F.pixel_shuffle(mixed, self.zoom)

    def inner(self, x: torch.Tensor, factors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """What the first layer sees, and what the last one does."""
        seen = x = x * factors[0][:, :, None, None]
        for layer, factor in zip(self.layers, factors[1:], strict=True):
            x = F.leaky_relu(layer(x), 0.2) * factor[:, :, None, None]
        return seen, x


def inverse_haar(x: torch.Tensor) -> torch.Tensor:
    """The four bands of each channel, side by side, (B, 4 C, R, R), to their sums (B, C, 2 R, 2 R)."""
    low, rows, columns, both = x.permute(0, 2, 3, 1).unflatten(3, (-1, 4)).unbind(4)
    top, bottom, over, under = low + rows, low - rows, columns + both, columns - both
    pairs = torch.stack((top + over, top - over), 3), torch.stack((bottom + under, bottom - under), 3)
    return torch.stack(pairs, 2).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
