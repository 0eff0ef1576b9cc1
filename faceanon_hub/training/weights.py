"""What a network starts from: fresh weights, or those of a smaller one; and the rates at which each learns."""

from __future__ import annotations

import os
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import FaceAnonError, UnwritableError
from ..generator import GAIN, FaceAnonGenerator, ModulatedConv
from ..hub import DEFAULT_CHECKPOINT, read_record, write_record
from ..pipeline import FaceAnonPipeline

LARGEST = 256
NARROWEST = 32  # channels of a level that is added: it carries the 15 input channels, each with both signs


@torch.no_grad()
def initialize(generator: FaceAnonGenerator) -> None:
    """Draws fresh weights, by which every layer keeps the variance of what goes through it (arXiv 1502.01852)."""
    for module in generator.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=_deviation(module))
            assert module.bias is not None
            nn.init.zeros_(module.bias)
        elif isinstance(module, ModulatedConv):  # normalized by its own size, whatever that is
            nn.init.normal_(module.weight)
            nn.init.zeros_(module.scale.weight)
            nn.init.ones_(module.scale.bias)


def parameter_groups(generator: FaceAnonGenerator, learning_rate: float) -> list[dict[str, Any]]:
    """Groups for an optimizer whose steps do not depend on the size of the gradient, as Adam's do not.

    A layer's rate is in proportion to the size of its weights: the equalized learning rate of arXiv 1710.10196, which
    scales the weights themselves instead.

    Args:
        generator ([`FaceAnonGenerator`]):
            Whose parameters.
        learning_rate (`float`):
            Of weights of unit variance.

    Returns:
        `list[dict]`: every parameter that is to learn once, in `"params"`, with its `"lr"`.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    sizes = {id(m.weight): _deviation(m) for m in generator.modules() if isinstance(m, nn.Conv2d)}
    for parameter in generator.parameters():
        if parameter.requires_grad:
            groups.setdefault(learning_rate * sizes.get(id(parameter), 1.0), []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


@torch.no_grad()
def grow(generator: FaceAnonGenerator) -> FaceAnonGenerator:
    """Adds a resolution that at first changes nothing.

    The new encoder level hands down the mean of each four pixels, the new decoder level adds nothing to the picture,
    enlarged bilinearly. On an input that is enlarged by repeating pixels the grown network so paints, but for
    rounding, what the small one paints, enlarged.

    Args:
        generator ([`FaceAnonGenerator`]):
            The small network, which is left as it is.

    Returns:
        [`FaceAnonGenerator`] of twice the `sample_size`, float32, on the CPU.
    """
    small = {name: weight.float().cpu() for name, weight in generator.state_dict().items()}
    config = generator.config
    width = max(NARROWEST, config.channels[0] // 2)
    grown = FaceAnonGenerator(
        sample_size=2 * config.sample_size,
        latent_size=config.latent_size,
        style_size=config.style_size,
        condition_channels=config.condition_channels,
        channels=(width, *config.channels),
        lid_emphasis=config.lid_emphasis,
        brow_emphasis=config.brow_emphasis,
    ).eval()
    initialize(grown)
    weights = grown.state_dict()
    for name, weight in small.items():
        part, _, rest = name.partition(".")
        if part == "encoder":
            number, _, rest = rest.partition(".")
            weights[f"encoder.{int(number) + 1}.{rest}"] = weight
        elif part != "stem":
            weights[name] = weight
    grown.load_state_dict(weights)
    _hand_down(grown, small["stem.weight"], small["stem.bias"])
    last: Any = grown.decoder[-1]
    for parameter in last.to_rgb.parameters():
        nn.init.zeros_(parameter)
    return grown


def _hand_down(grown: FaceAnonGenerator, weight: torch.Tensor, bias: torch.Tensor) -> None:
    """Makes the finest level apply the small network's stem, of which these are weight and bias, to pooled inputs.

    A leaky ReLU of x less that of -x is x again, times a constant: in two channels an input goes through it unharmed.
    """
    inputs = weight.shape[1]
    whole = 1 / (1 + 0.2)
    level: Any = grown.encoder[0]
    both = torch.cat([torch.eye(inputs), -torch.eye(inputs)])
    # What carries nothing yet is drawn at random, and reads what is carried, but is not read.
    grown.stem.weight[: 2 * inputs] = both[:, :, None, None]
    level.conv.weight[: 2 * inputs] = 0
    level.conv.weight[: 2 * inputs, : 2 * inputs, 1, 1] = whole * (both @ both.t())
    level.down.weight.zero_()
    level.down.weight[:, : 2 * inputs, 1, 1] = whole * (weight[:, :, 0, 0] @ both.t())
    level.down.bias.copy_(bias)  # the other biases are fresh, and so zero


class Replacing:
    """A folder that is written under another name and takes its place once it is complete."""

    def __init__(self, path: Path) -> None:
        self.path, self.partial = path, path.with_name(f".partial-{path.name}")

    def __enter__(self) -> Path:
        shutil.rmtree(self.partial, ignore_errors=True)
        return self.partial

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            shutil.rmtree(self.partial, ignore_errors=True)
            return
        if self.path.exists():  # of a run that was killed between its two folders
            shutil.rmtree(self.path)
        self.partial.replace(self.path)


def save_half(
    pipe: FaceAnonPipeline, generator: FaceAnonGenerator, folder: str | os.PathLike[str], record: dict[str, Any]
) -> None:
    """Saves a pipeline with this network in half precision, whole or not at all; both stay as they are.

    Raises:
        UnwritableError: the folder cannot be written.
    """
    target = Path(folder)
    half = deepcopy(generator).half().to("cpu", memory_format=torch.contiguous_format)
    saved = pipe.with_generator(half)
    try:
        with Replacing(target) as partial:
            saved.save_pretrained(partial)
            write_record(partial, record)
    except OSError as error:
        raise UnwritableError(target, error.strerror or str(error)) from error


def grow_checkpoint(
    checkpoint: str | os.PathLike[str] | None, sample_size: int, folder: str | os.PathLike[str]
) -> FaceAnonPipeline:
    """Saves a checkpoint with a network that is grown to a larger resolution, see [`grow`], for training to go on.

    Args:
        checkpoint (`str`, *optional*):
            Folder or Hub id; None is the bundled one.
        sample_size (`int`):
            Side of the crop in pixels, 128 or 256.
        folder (`str`):
            Where the pipeline is saved, in half precision; it must not exist.

    Returns:
        [`FaceAnonPipeline`]: with the grown network, float32.

    Raises:
        CheckpointError: there is no such checkpoint.
        FaceAnonError: the network is not half as large, or the folder exists.
    """
    target = Path(folder)
    if target.exists():
        raise FaceAnonError(f"{target}: exists already")
    source = DEFAULT_CHECKPOINT if checkpoint is None else checkpoint
    pipe = FaceAnonPipeline.from_pretrained(source)
    now = pipe.generator.config.sample_size
    if sample_size > LARGEST or sample_size != 2 * now:
        raise FaceAnonError(f"{source}: paints {now} px and grows to {2 * now} px, up to {LARGEST}, not {sample_size}")
    grown = grow(pipe.generator)
    record = read_record(source)
    save_half(pipe, grown, target, {**record, "grown_from": now} if record else {"started_from": describe(source)})
    return pipe.with_generator(grown)


def describe(checkpoint: str | os.PathLike[str]) -> dict[str, Any]:
    """What a record tells of the checkpoint that a run began with: its name, never its place, and its own record."""
    if Path(checkpoint) == DEFAULT_CHECKPOINT:
        return {"checkpoint": "bundled"}
    name = Path(checkpoint).resolve().name if Path(checkpoint).is_dir() else str(checkpoint)
    return {"checkpoint": name, "training": read_record(checkpoint)}


def _deviation(convolution: nn.Conv2d) -> float:
    """Standard deviation of fresh weights; a convolution to a picture has no leaky ReLU behind it."""
    gain = 1.0 if convolution.out_channels == 3 else GAIN
    return gain / convolution.weight[0].numel() ** 0.5
