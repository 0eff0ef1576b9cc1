"""What a network starts from, the rates at which each part learns, and the folders that weights are saved in."""

from __future__ import annotations

import json
import os
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..files import read_json
from ..io import write_text
from .unet import GAIN, ModulatedConv, UNetGenerator

RECORD = "training.json"  # beside the weights: what a run tells of itself


@torch.no_grad()
def initialize(generator: UNetGenerator) -> None:
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


def parameter_groups(generator: UNetGenerator, learning_rate: float) -> list[dict[str, Any]]:
    """Groups for an optimizer whose steps do not depend on the size of the gradient, as Adam's do not.

    A layer's rate is in proportion to the size of its weights: the equalized learning rate of arXiv 1710.10196, which
    scales the weights themselves instead.

    Args:
        generator ([`UNetGenerator`]):
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


def save_half(generator: UNetGenerator, folder: Path, record: dict[str, Any]) -> None:
    """Saves a network in half precision with the record of its run, whole or not at all; it stays as it is."""
    half = deepcopy(generator).half().to("cpu", memory_format=torch.contiguous_format)
    half.register_to_config(_name_or_path=None)  # a place on this machine
    with Replacing(folder) as partial:
        half.save_pretrained(partial)
        write_text(partial / RECORD, json.dumps(record, indent=2) + "\n")


def describe(checkpoint: str | os.PathLike[str]) -> dict[str, Any]:
    """What a record tells of the checkpoint that a run began with: its name, never its place, and its own record."""
    path = Path(checkpoint, RECORD)
    record = read_json(path) if path.exists() else None
    return {"checkpoint": Path(checkpoint).resolve().name, "training": record}


def _deviation(convolution: nn.Conv2d) -> float:
    """Standard deviation of fresh weights; a convolution to a picture has no leaky ReLU behind it."""
    gain = 1.0 if convolution.out_channels == 3 else GAIN
    return gain / convolution.weight[0].numel() ** 0.5
