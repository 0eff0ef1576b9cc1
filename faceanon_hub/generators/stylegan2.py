"""StyleGAN2 as a prior: any generator of this kind whose weights somebody has, and the reading of such weights."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from ..diffusion import register_to_config
from ..errors import CheckpointError
from ..files import open_regular
from ..ranges import check_number, check_widths
from .generator import LARGEST, MAPPING_LAYERS, SMALLEST, WIDEST, Prior

GAIN = 2**0.5  # keeps the variance through a leaky ReLU
RATE = 0.01  # of the mapping's equalized layers
BLUR = (1.0, 3.0, 3.0, 1.0)
# What files hold beside the weights: filters that are always the same.
FIXED = re.compile(r"(\.kernel|\.resample_filter)$")


class StyleGAN2Generator(Prior):
    r"""Draws pictures by StyleGAN2 (arXiv 1912.04958): residual pictures are summed, weights demodulated.

    Draws in PyTorch. Small pictures are large ones reduced, and cost as much. Weights come from [`read_stylegan2`].

    Args:
        latent_size, style_size (`int`, *optional*, defaults to `512`):
            Lengths of latent and style.
        channels (`tuple[int]`, *optional*):
            Width of each resolution's features, from 4 px upwards to the largest picture.
        sizes (`tuple[int]`, *optional*, defaults to `(128, 256, 512, 1024)`):
            Sides of the pictures in pixels, rising; the last is that of the last features, the others divide it.
        mapping_layers (`int`, *optional*, defaults to `8`):
            Depth of the mapping.
        record (`dict`, *optional*):
            As of [`FaceAnonGenerator`].

    Raises:
        ValueError: sizes and channels do not fit together, or a value is out of range.

    Example:
        ```py
        >>> generator = read_stylegan2("g_ema.pt")
        >>> pictures = generator.render(generator.style(generator.latents([0, 1]), truncation=0.7))
        ```
    """

    kernel: torch.Tensor
    levels: Any  # a Level each

    @register_to_config
    def __init__(
        self,
        latent_size: int = 512,
        style_size: int = 512,
        channels: Sequence[int] = (512, 512, 512, 512, 512, 256, 128, 64, 32),
        sizes: Sequence[int] = (128, 256, 512, 1024),
        mapping_layers: int = MAPPING_LAYERS,
        record: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_number("mapping_layers", mapping_layers, 1, 16, whole=True)
        check_widths("channels", channels, 10, WIDEST)
        if not isinstance(sizes, list | tuple) or not sizes:
            raise ValueError(f"`sizes` must be a list of sizes, not {sizes!r}")
        for side in sizes:
            check_number("sizes", side, SMALLEST, LARGEST, whole=True)
        largest = SMALLEST * 2 ** (len(channels) - 1)
        if list(sizes) != sorted(set(sizes)) or sizes[-1] != largest or any(largest % side for side in sizes):
            raise ValueError(f"sizes {sizes} do not end at the {largest} px that {len(channels)} channels give")
        self.make_mapping(latent_size, style_size, mapping_layers)
        self.constant = nn.Parameter(torch.randn(1, channels[0], SMALLEST, SMALLEST))
        self.stem = StyledConv(channels[0], channels[0], SMALLEST, style_size)
        self.stem_picture = ToPicture(channels[0], style_size)
        self.levels = nn.ModuleList(
            Level(narrow, wide, 2 * SMALLEST * 2**number, style_size)
            for number, (narrow, wide) in enumerate(zip(channels, channels[1:], strict=False))
        )
        row = torch.tensor(BLUR)
        # Sums to 4: three zeros come with each pixel that is enlarged.
        self.register_buffer("kernel", 4 * torch.outer(row, row) / row.sum() ** 2, persistent=False)

    @property
    def style_layers(self) -> int:
        """How many styles one picture takes: two for the stem, two more for each level."""
        return 2 + 2 * len(self.levels)

    def forward(self, style: torch.Tensor, size: int | None = None) -> torch.Tensor:
        """Draws faces; arguments and result as of [`FaceAnonGenerator.forward`]."""
        size = self.config.sizes[-1] if size is None else size
        self.check_size(size)
        styles = self.layered(style)
        x = self.constant.expand(len(styles), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        x = self.stem(x, styles[:, 0])
        picture = self.stem_picture(x, styles[:, 1])
        for number, level in enumerate(self.levels):
            x = level.first(x, styles[:, 1 + 2 * number], self.kernel)
            x = level.second(x, styles[:, 2 + 2 * number])
            larger = F.conv_transpose2d(picture, self.kernel.expand(3, 1, -1, -1), stride=2, padding=1, groups=3)
            picture = larger + level.picture(x, styles[:, 3 + 2 * number])
        return F.avg_pool2d(picture, picture.shape[-1] // size)

    @torch.no_grad()
    def render(self, style: torch.Tensor, size: int | None = None) -> np.ndarray:
        """Draws faces; arguments and result as of [`FaceAnonGenerator.render`].

        On a CPU a face is the same at any batch size; another number of threads may change a level by one.
        """
        if self.device.type == "cpu" and len(style) > 1:  # the last bit of a sum depends on the batch
            return np.concatenate([self.render(row, size) for row in style.split(1)])
        levels = (self(style.to(self.device, self.dtype), size).float().clamp(-1, 1) + 1) * 127.5
        return levels.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


class StyledConv(nn.Module):
    """A convolution whose input the style scales and whose output is normalized for it; constant noise; leaky ReLU."""

    noise: torch.Tensor

    def __init__(self, channels: int, out_channels: int, size: int, style_size: int) -> None:
        super().__init__()
        self.scale = nn.Linear(style_size, channels)
        self.weight = nn.Parameter(torch.randn(out_channels, channels, 3, 3) / (3 * channels**0.5))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("noise", torch.zeros(1, 1, size, size))

    def forward(self, x: torch.Tensor, style: torch.Tensor, kernel: torch.Tensor | None = None) -> torch.Tensor:
        """(B, C, R, R) and (B, S) to (B, C2, R, R), or, with the kernel of the blur, to (B, C2, 2 R, 2 R)."""
        scale = self.scale(style)
        energy = self.weight.float().square().sum((2, 3))
        norm = torch.rsqrt(scale.float().square() @ energy.t() + 1e-8).to(scale.dtype)
        x = x * scale[:, :, None, None]
        if kernel is None:
            x = F.conv2d(x, self.weight, padding=1)
        else:
            x = F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
            x = F.conv2d(x, kernel.expand(x.shape[1], 1, -1, -1), padding=1, groups=x.shape[1])
        return F.leaky_relu(x * norm[:, :, None, None] + self.noise + self.bias[:, None, None], 0.2) * GAIN


class ToPicture(nn.Module):
    """Features to what they add to the picture; not normalized."""

    def __init__(self, channels: int, style_size: int) -> None:
        super().__init__()
        self.scale = nn.Linear(style_size, channels)
        self.mix = nn.Conv2d(channels, 3, 1)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """(B, C, R, R) and (B, S) to (B, 3, R, R)."""
        return self.mix(x * self.scale(style)[:, :, None, None])


class Level(nn.Module):
    """The layers of one resolution; [`StyleGAN2Generator.forward`] runs them."""

    def __init__(self, channels: int, out_channels: int, size: int, style_size: int) -> None:
        super().__init__()
        self.first = StyledConv(channels, out_channels, size, style_size)
        self.second = StyledConv(out_channels, out_channels, size, style_size)
        self.picture = ToPicture(out_channels, style_size)


def read_stylegan2(path: str | Path) -> StyleGAN2Generator:
    """Reads the weights of a StyleGAN2 generator: numbers alone, no code of the file is run.

    Known are the names of rosinality's stylegan2-pytorch (a checkpoint with `g_ema`, or that alone) and those of
    NVIDIA's stylegan2-ada-pytorch (the `state_dict()` of `G_ema`; its pickles hold code and are refused). Only
    generators without classes whose pictures are sums of residual ones (`skip`) are taken.

    Args:
        path (`str` or `Path`):
            A `.safetensors` file, or one of [`torch.save`].

    Returns:
        [`StyleGAN2Generator`]: float32, on the CPU. Its mean style is the file's, or that of many latents.

    Raises:
        CheckpointError: the file is missing, damaged, holds code, or no such generator.
    """
    try:
        found = _load(Path(path))
        weights, mean = _rosinality(found) if "input.input" in found else _nvidia(found)
        generator = StyleGAN2Generator(**_shape(weights)).eval()
        generator.load_state_dict({**weights, "mean_style": generator.mean_style if mean is None else mean})
    except OSError as error:
        raise CheckpointError(path, error.strerror or str(error)) from error
    except KeyError as error:
        raise CheckpointError(path, f"no StyleGAN2 generator of a known layout: {error} is missing") from error
    except Exception as error:  # of a damaged file, torch raises many kinds
        raise CheckpointError(path, f"no StyleGAN2 generator: {' '.join(str(error).split())[:200]}") from error
    if mean is None:
        generator.measure_mean_style()
    return generator


def _load(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a file, in single precision, by name; those of `g_ema` where it holds several networks."""
    with open_regular(path) as file:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    mean = found.get("latent_avg")
    found = next((found[name] for name in ("g_ema", "G_ema") if name in found), found)
    tensors = {name: value.float() for name, value in found.items() if not FIXED.search(name)}
    return tensors if mean is None else {**tensors, "latent_avg": mean.float()}


def _shape(weights: dict[str, torch.Tensor]) -> dict[str, Any]:
    """The configuration that weights fit."""
    count = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("levels."))
    outs = [weights[f"levels.{number}.first.weight"].shape[0] for number in range(count)]
    channels = [weights["constant"].shape[1], *outs]
    largest = SMALLEST * 2**count
    layers = sum(name.startswith("mapping.") and name.endswith(".weight") for name in weights)
    style_size, latent_size = weights["mapping.0.weight"].shape
    return {
        "latent_size": latent_size,
        "style_size": style_size,
        "channels": channels,
        "sizes": [side for side in (128, 256, 512, 1024, 2048) if side < largest] + [largest],
        "mapping_layers": layers,
    }


class _Taken:
    """Tensors of a file, each taken once, to those of the module."""

    def __init__(self, found: dict[str, torch.Tensor]) -> None:
        self.found, self.weights = dict(found), dict[str, torch.Tensor]()

    def linear(self, target: str, source: str, rate: float, gain: float = 1.0) -> None:
        """A layer of equalized learning rate (arXiv 1710.10196): its weights are stored without their scale."""
        weight = self.found.pop(source + ".weight")
        self.weights[target + ".weight"] = weight * (gain * rate / weight.shape[1] ** 0.5)
        self.weights[target + ".bias"] = self.found.pop(source + ".bias") * (gain * rate)

    def end(self) -> dict[str, torch.Tensor]:
        """All weights, if nothing is left."""
        if self.found:
            raise ValueError(f"it holds more than is known: {', '.join(sorted(self.found)[:4])}")
        return self.weights


def _rosinality(found: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
    mean = found.pop("latent_avg", None)
    taken = _Taken(found)
    rest, weights = taken.found, taken.weights
    weights["constant"] = rest.pop("input.input")
    layers = sorted(int(name.split(".")[1]) for name in rest if re.fullmatch(r"style\.\d+\.weight", name))
    for number, layer in enumerate(layers):
        taken.linear(f"mapping.{number}", f"style.{layer}", RATE, GAIN)

    def styled(target: str, source: str, noise: int) -> None:
        taken.linear(f"{target}.scale", f"{source}.conv.modulation", 1.0)
        kernel = rest.pop(f"{source}.conv.weight")[0]
        weights[f"{target}.weight"] = kernel / (3 * kernel.shape[1] ** 0.5)
        weights[f"{target}.noise"] = rest.pop(f"noises.noise_{noise}") * rest.pop(f"{source}.noise.weight")
        weights[f"{target}.bias"] = rest.pop(f"{source}.activate.bias")

    def picture(target: str, source: str) -> None:
        taken.linear(f"{target}.scale", f"{source}.conv.modulation", 1.0)
        kernel = rest.pop(f"{source}.conv.weight")[0]
        weights[f"{target}.mix.weight"] = kernel / kernel.shape[1] ** 0.5
        weights[f"{target}.mix.bias"] = rest.pop(f"{source}.bias").flatten()

    styled("stem", "conv1", 0)
    picture("stem_picture", "to_rgb1")
    for number in range(_count(found, r"to_rgbs\.\d+\.bias")):
        styled(f"levels.{number}.first", f"convs.{2 * number}", 2 * number + 1)
        styled(f"levels.{number}.second", f"convs.{2 * number + 1}", 2 * number + 2)
        picture(f"levels.{number}.picture", f"to_rgbs.{number}")
    return taken.end(), mean


def _nvidia(found: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
    mean = found.pop("mapping.w_avg", None)
    taken = _Taken(found)
    rest, weights = taken.found, taken.weights
    weights["constant"] = rest.pop("synthesis.b4.const")[None]
    for number in range(_count(found, r"mapping\.fc\d+\.weight")):
        taken.linear(f"mapping.{number}", f"mapping.fc{number}", RATE, GAIN)

    def styled(target: str, source: str) -> None:
        taken.linear(f"{target}.scale", f"{source}.affine", 1.0)
        kernel = rest.pop(f"{source}.weight")
        weights[f"{target}.weight"] = kernel / (3 * kernel.shape[1] ** 0.5)
        noise = rest.pop(f"{source}.noise_const") * rest.pop(f"{source}.noise_strength")
        weights[f"{target}.noise"] = noise[None, None]
        weights[f"{target}.bias"] = rest.pop(f"{source}.bias")

    def picture(target: str, source: str) -> None:
        kernel = rest.pop(f"{source}.weight")
        taken.linear(f"{target}.scale", f"{source}.affine", 1 / kernel.shape[1] ** 0.5)
        weights[f"{target}.mix.weight"] = kernel
        weights[f"{target}.mix.bias"] = rest.pop(f"{source}.bias")

    styled("stem", "synthesis.b4.conv1")
    picture("stem_picture", "synthesis.b4.torgb")
    for number in range(_count(found, r"synthesis\.b\d+\.conv0\.weight")):
        source = f"synthesis.b{2 * SMALLEST * 2**number}"
        styled(f"levels.{number}.first", f"{source}.conv0")
        styled(f"levels.{number}.second", f"{source}.conv1")
        picture(f"levels.{number}.picture", f"{source}.torgb")
    return taken.end(), mean


def _count(found: dict[str, torch.Tensor], name: str) -> int:
    return sum(bool(re.fullmatch(name, each)) for each in found)
