"""The generator: surroundings, landmark maps and a latent to a new face."""

from __future__ import annotations

import functools
import os
import reprlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from .component import loading
from .diffusion import ConfigMixin, ModelMixin, register_to_config
from .errors import CheckpointError
from .ranges import check_number

GAIN = 1.414  # keeps the variance through a leaky ReLU
WIDTHS = (32, 64, 128, 256, 384, 384, 384)  # channels of each resolution from 256 down to 4
MEAN_LATENTS = 64  # latents that stand for all of them where their mean style is needed


class FaceAnonGenerator(ModelMixin, ConfigMixin):
    r"""A U-Net that paints a face into a hidden region, in the spirit of DeepPrivacy (arXiv 1909.04538).

    Its decoder is modulated by a style as in StyleGAN2 (arXiv 1912.04958). The style comes from a latent, which picks
    the identity, and from the surroundings.

    Args:
        sample_size (`int`, *optional*, defaults to `128`):
            Side of the crop in pixels, a power of two.
        latent_size (`int`, *optional*, defaults to `64`):
            Length of the latent.
        style_size (`int`, *optional*, defaults to `256`):
            Length of the style.
        condition_channels (`int`, *optional*, defaults to `11`):
            Landmark maps and hint, see [`conditioning.condition`].
        channels (`tuple[int]`, *optional*):
            Width of each resolution, from `sample_size` down to 4; the last of `WIDTHS` unless given.
        lid_emphasis, brow_emphasis (`float`, *optional*, defaults to `1.0`):
            How far these weights have to be told that lids and brows move, see [`conditioning.emphasize`].
    """

    @register_to_config
    def __init__(
        self,
        sample_size: int = 128,
        latent_size: int = 64,
        style_size: int = 256,
        condition_channels: int = 11,
        channels: Sequence[int] | None = None,
        lid_emphasis: float = 1.0,
        brow_emphasis: float = 1.0,
    ) -> None:
        super().__init__()
        check_number("sample_size", sample_size, 8, 1024, whole=True)
        sizes = {"latent_size": latent_size, "style_size": style_size, "condition_channels": condition_channels}
        for name, size in sizes.items():
            check_number(name, size, 1, 1024, whole=True)
        for name, factor in {"lid_emphasis": lid_emphasis, "brow_emphasis": brow_emphasis}.items():
            check_number(name, factor, 0, 4)
        if channels is not None:
            if not isinstance(channels, list | tuple) or not 2 <= len(channels) <= 9:
                raise ValueError(f"`channels` must hold 2 to 9 numbers, not {reprlib.repr(channels)}")
            for width in channels:
                check_number("channels", width, 1, 1024, whole=True)
        if channels is None:
            channels = WIDTHS[-(sample_size.bit_length() - 2) :]
            self.register_to_config(channels=channels)
        if sample_size != 4 * 2 ** (len(channels) - 1):
            raise ValueError(f"{len(channels)} resolutions from 4 upwards do not end at `sample_size={sample_size}`")
        self.stem = nn.Conv2d(3 + 1 + condition_channels, channels[0], 1)
        steps = list(zip(channels, channels[1:], strict=False))
        self.encoder = nn.ModuleList(EncoderBlock(wide, narrow) for wide, narrow in steps)
        self.context = nn.Linear(channels[-1] * 16, style_size)
        self.mapping = nn.Sequential(
            nn.Linear(latent_size + style_size, style_size),
            nn.LeakyReLU(0.2),
            nn.Linear(style_size, style_size),
            nn.LeakyReLU(0.2),
            nn.Linear(style_size, style_size),
            nn.LeakyReLU(0.2),
        )
        self.bottleneck = ModulatedConv(channels[-1], channels[-1], style_size)
        self.decoder = nn.ModuleList(
            DecoderBlock(narrow, wide, 1 + condition_channels, style_size) for wide, narrow in reversed(steps)
        )

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], subfolder: str | None = None, **kwargs: Any
    ) -> Any:
        """Loads like [`~diffusers.ModelMixin.from_pretrained`], but refuses a file that lacks weights.

        Raises:
            CheckpointError: weights are missing, which diffusers would leave random; a file is missing or damaged, or
                holds a value that is out of its range.
        """
        wanted = kwargs.pop("output_loading_info", False)
        with loading(pretrained_model_name_or_path, subfolder):
            model, info = super().from_pretrained(
                pretrained_model_name_or_path, subfolder=subfolder, output_loading_info=True, **kwargs
            )
        if info["missing_keys"]:
            missing = ", ".join(info["missing_keys"])
            raise CheckpointError(str(pretrained_model_name_or_path), f"weights lack {missing}")
        # Weights mapped from a file lie at any address, and the last bit of a product depends on its alignment.
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.data = tensor.data.clone()
        return (model, info) if wanted else model

    @property
    def noise_shapes(self) -> list[tuple[int, int, int]]:
        """Shape `(1, R, R)` of each noise input of [`forward`], in order."""
        sizes = [4] + [4 * 2 ** (i // 2 + 1) for i in range(2 * len(self.decoder))]
        return [(1, size, size) for size in sizes]

    def draw(self, seed: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Latent `(64,)` and noise of one face; always on the CPU, so that a seed means the same face everywhere."""
        source = torch.Generator().manual_seed(seed)
        latent = torch.randn(self.config.latent_size, generator=source)
        return latent, [torch.randn(shape, generator=source) for shape in self.noise_shapes]

    def forward(
        self,
        image: torch.Tensor,
        mask: torch.Tensor,
        condition: torch.Tensor,
        latent: torch.Tensor,
        noise: Sequence[torch.Tensor] | None = None,
        truncation: float = 1.0,
        context: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Paints faces.

        Args:
            image (`torch.Tensor` of shape `(B, 3, S, S)`):
                Crops, RGB in [-1, 1]; what lies under the mask is not looked at.
            mask (`torch.Tensor` of shape `(B, 1, S, S)`):
                Hidden region, 0 or 1.
            condition (`torch.Tensor` of shape `(B, 11, S, S)`):
                Landmark maps and hint, see [`conditioning.condition`].
            latent (`torch.Tensor` of shape `(B, 64)`):
                Standard normal; only its direction counts.
            noise (`list[torch.Tensor]`, *optional*):
                Standard normal of shapes `(B, *shape)` for each of [`noise_shapes`]: fine texture. None is no noise.
            truncation (`float`, *optional*, defaults to `1.0`):
                Distance of the style from its mean over all latents, 0 (one average face) to 1 (full variety).
            context (`torch.Tensor` of shape `(B, 256)`, *optional*):
                What the style takes from the surroundings, as [`summarize`] gives it, in place of these crops' own.

        Returns:
            `torch.Tensor` of shape `(B, 3, S, S)`: the crops with new faces under the mask.
        """
        if image.device.type == "cpu" and len(image) > 1 and not torch.is_grad_enabled():
            # One at a time is faster here, by its use of the caches, and makes a face independent of its batch.
            singles = zip(image.split(1), mask.split(1), condition.split(1), latent.split(1), strict=True)
            return torch.cat(
                [
                    self(
                        *single,
                        None if noise is None else [n[i : i + 1] for n in noise],
                        truncation,
                        None if context is None else context[i : i + 1],
                    )
                    for i, single in enumerate(singles)
                ]
            )

        visible = image * (1 - mask)
        told = torch.cat([mask, condition], 1).contiguous(memory_format=torch.channels_last)
        skips, hidden = self._encode(visible, told)
        context = self.context(hidden.contiguous().flatten(1)) if context is None else context
        style = self._style(latent, context, truncation)
        noises: Iterator[torch.Tensor | None] = iter(noise if noise is not None else [None] * len(self.noise_shapes))
        hidden = self.bottleneck([hidden], style, next(noises))

        pyramid = [told]
        for _ in skips[1:]:
            pyramid.append(F.avg_pool2d(pyramid[-1], 2))
        painted = hidden.new_zeros(len(hidden), 3, *hidden.shape[2:])
        area = Area(0, hidden.shape[-2], 0, hidden.shape[-1])
        for block, skip, level, needed in zip(
            self.decoder, reversed(skips), reversed(pyramid), needed_areas(mask, len(skips)), strict=True
        ):
            part = needed.within(area.doubled())
            area = needed
            noise_pair = [n if n is None else n[needed.slices] for n in (next(noises), next(noises))]
            hidden, rgb = block(upsample(hidden)[part], skip[needed.slices], level[needed.slices], style, noise_pair)
            painted = upsample(painted)[part] + rgb
        visible[area.slices] += painted * mask[area.slices]
        return visible

    def summarize(self, image: torch.Tensor, mask: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """What the style takes from the surroundings; its mean over the frames of a video keeps a face the same.

        Args:
            image, mask, condition (`torch.Tensor`):
                As for [`forward`].

        Returns:
            `torch.Tensor` of shape `(B, 256)`.
        """
        told = torch.cat([mask, condition], 1).contiguous(memory_format=torch.channels_last)
        return self.context(self._encode(image * (1 - mask), told)[1].contiguous().flatten(1))

    def _encode(self, visible: torch.Tensor, told: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        hidden = torch.cat([visible, told], 1).contiguous(memory_format=torch.channels_last)
        hidden = F.leaky_relu(self.stem(hidden), 0.2, inplace=True)
        skips = []
        for block in self.encoder:
            skip, hidden = block(hidden)
            skips.append(skip)
        return skips, hidden

    def _style(self, latent: torch.Tensor, context: torch.Tensor, truncation: float) -> torch.Tensor:
        def style_of(latent: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
            direction = F.normalize(latent, dim=1) * latent.shape[1] ** 0.5
            return self.mapping(torch.cat([direction, context], 1))

        style = style_of(latent, context)
        if truncation == 1:
            return style
        # The latent lies on a sphere, so only the style has a mean to be pulled to, another one for each surroundings.
        probes = torch.randn(MEAN_LATENTS, latent.shape[1], generator=torch.Generator().manual_seed(0)).to(latent)
        many = style_of(probes.repeat(len(latent), 1), context.repeat_interleave(MEAN_LATENTS, 0))
        return many.view(len(latent), MEAN_LATENTS, -1).mean(1).lerp(style, truncation)


class Area(NamedTuple):
    """A rectangle of a feature map."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def slices(self) -> tuple[slice, ...]:
        """Indexes a (B, C, H, W) tensor."""
        return slice(None), slice(None), slice(self.top, self.bottom), slice(self.left, self.right)

    def doubled(self) -> Area:
        """The same area at twice the resolution."""
        return Area(*(2 * edge for edge in self))

    def within(self, outer: Area) -> tuple[slice, ...]:
        """Indexes a tensor that holds only `outer`."""
        top, left = outer.top, outer.left
        return Area(self.top - top, self.bottom - top, self.left - left, self.right - left).slices


def needed_areas(mask: torch.Tensor, levels: int) -> list[Area]:
    """The part of each decoder level, coarse to fine, that the pixels under the mask depend on.

    Args:
        mask (`torch.Tensor` of shape `(B, 1, S, S)`):
            Hidden region.
        levels (`int`):
            Number of decoder levels; the finest has resolution S.
    """
    size = mask.shape[-1]
    edges: list[int] = []
    for axis in (3, 2):
        hit = mask.amax((0, 1, axis)).nonzero()
        edges += [int(hit.min()), int(hit.max()) + 1] if len(hit) else [0, 0]
    areas: list[Area] = []
    reach, scale = 2, 1
    for _ in range(levels):
        low = [max(0, edge // scale - reach) for edge in edges[::2]]
        high = [min(size // scale, -(-edge // scale) + reach) for edge in edges[1::2]]
        areas.insert(0, Area(low[0], high[0], low[1], high[1]))
        # Two convolutions look two pixels further, interpolation from the coarser level one more.
        reach, scale = (reach + 1) // 2 + 3, scale * 2
    return areas


class EncoderBlock(nn.Module):
    """Two convolutions; the second halves the resolution. Returns both results."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.down = nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, C, R, R) to itself, refined, and (B, C2, R / 2, R / 2)."""
        skip = F.leaky_relu(self.conv(x), 0.2, inplace=True)
        return skip, F.leaky_relu(self.down(F.avg_pool2d(skip, 2)), 0.2, inplace=True)


class DecoderBlock(nn.Module):
    """Sees the upsampled features, the encoder's and the conditioning, and adds to the picture."""

    def __init__(self, channels: int, out_channels: int, told_channels: int, style_size: int) -> None:
        super().__init__()
        self.merge = ModulatedConv(channels + out_channels + told_channels, out_channels, style_size)
        self.conv = ModulatedConv(out_channels, out_channels, style_size)
        self.to_rgb = nn.Conv2d(out_channels, 3, 1)

    def forward(
        self,
        x: torch.Tensor,
        skip: torch.Tensor,
        told: torch.Tensor,
        style: torch.Tensor,
        noise: Sequence[torch.Tensor | None],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Upsampled features, the encoder's, the conditioning, style and two noises to features and RGB."""
        parts = [x, skip, told]
        # In training, sums of convolutions save the copies that a concatenation makes on the way back, too.
        x = self.merge(parts if torch.is_grad_enabled() else [torch.cat(parts, 1)], style, noise[0])
        x = self.conv([x], style, noise[1])
        return x, self.to_rgb(x)


class ModulatedConv(nn.Module):
    """A 3 x 3 convolution whose input is scaled by the style, and its output normalised for it (StyleGAN2)."""

    def __init__(self, channels: int, out_channels: int, style_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(1))
        self.scale = nn.Linear(style_size, channels)

    def forward(self, parts: Sequence[torch.Tensor], style: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        """Parts of the input's channels, (B, ..., R, R), and (B, W) to (B, C2, R, R)."""
        scale = self.scale(style)
        # A processor's caches hold the squares of a few kernels at a time.
        kernels = self.weight.split(64 if self.weight.is_cpu else len(self.weight))
        energy = torch.cat([few.float().square().sum((2, 3)) for few in kernels])
        norm = (GAIN * torch.rsqrt(scale.float().square() @ energy.t() + 1e-8)).to(scale.dtype)
        widths = [part.shape[1] for part in parts]
        terms = [
            F.conv2d(part * factor[:, :, None, None], weight, padding=1)
            for part, factor, weight in zip(parts, scale.split(widths, 1), self.weight.split(widths, 1), strict=True)
        ]
        x = functools.reduce(torch.add, terms)
        x = torch.addcmul(GAIN * self.bias[:, None, None], x, norm[:, :, None, None])
        if noise is not None:
            x = x.add_(GAIN * self.noise_strength * noise)
        return F.leaky_relu(x, 0.2, inplace=True)


def upsample(x: torch.Tensor) -> torch.Tensor:
    """Doubles the resolution, bilinearly."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
