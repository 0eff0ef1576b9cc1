"""The generator's weights, out of the PyPI wheel `random-face` 2021.7.21.1 (licence file: Apache-2.0).

The wheel's folder `random_face/data` holds MobileStyleGAN's mapping and synthesis as OpenVINO's intermediate
representation: `MappingNetwork` and `SynthesisNetwork`, an `.xml` and a `.bin` each. To fetch it without what it
depends on: `pip download --no-deps random-face`, and unzip.

    python -m faceanon_hub.training.heads random_face/data generator
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ..errors import CheckpointError
from ..generators.generator import FaceAnonGenerator


@torch.no_grad()
def convert(folder: str | Path) -> FaceAnonGenerator:
    """Reads the wheel's four files.

    Constant factors (gains of the leaky ReLU, of the modulation and of the Haar transform) go into the weights.
    The bands that a Haar transform reads are put side by side. The heads for the smaller sizes are not in
    the wheel: [`training.heads.fit_heads`] makes them.

    Args:
        folder (`str` or `Path`):
            `random_face/data` of the unpacked wheel.

    Returns:
        [`FaceAnonGenerator`]: float32, on the CPU.

    Raises:
        CheckpointError: a file is missing or other than expected.
    """
    generator = FaceAnonGenerator().eval()
    try:
        mapping = [value for _, value in _constants(Path(folder) / "MappingNetwork")]
        weights = _mapping(mapping) | _synthesis(list(_constants(Path(folder) / "SynthesisNetwork")))
        lacking = generator.load_state_dict(weights, strict=False).missing_keys
    except (OSError, ET.ParseError, StopIteration, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(folder, f"no network of random-face 2021.7.21.1: {error!r}") from error
    fitted = tuple(f"heads.{size}." for size in generator.config.sizes[:-1])
    lacking = [name for name in lacking if name != "mean_style" and not name.startswith(fitted)]
    if lacking:
        raise CheckpointError(folder, f"no network of random-face 2021.7.21.1: it lacks {', '.join(lacking)}")
    generator.measure_mean_style()
    return generator


def _constants(stem: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """All float constants of an intermediate representation, in the order of the file: name and value."""
    blob = stem.with_suffix(".bin").read_bytes()
    for layer in ET.parse(stem.with_suffix(".xml")).getroot().iterfind("layers/layer"):
        data = layer.find("data")
        if layer.get("type") == "Const" and data is not None and data.get("element_type") == "f32":
            shape = [int(side) for side in data.get("shape", "").split(",") if side]
            count, start = int(data.get("size", 0)) // 4, int(data.get("offset", 0))
            values = np.frombuffer(blob, "<f4", count, start).reshape(shape)
            yield layer.get("name", ""), torch.from_numpy(values.copy())


def _mapping(found: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    weights = {}
    gain = 2**0.5  # keeps the variance through a leaky ReLU
    for number, value in enumerate(v for v in found if v.ndim == 2 and len(v) > 1):
        weights[f"mapping.{number}.weight"] = gain * value
    for number, value in enumerate(v for v in found if v.ndim == 1 and len(v) > 1):
        weights[f"mapping.{number}.bias"] = gain * value
    return weights


def _synthesis(found: list[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    named = dict(found)
    demodulated = (value for name, value in found if name.endswith("_copy"))
    noises = (value for _, value in found if value.ndim == 4 and value.shape[:2] == (1, 1) and value.numel() > 1)
    weights = {"constant": named["m.input.input"]}

    def scale(target: str, source: str, gain: float, order: torch.Tensor | slice = slice(None)) -> None:
        weights[target + ".scale.weight"] = gain * named[source + ".modulation.weight"][order]
        weights[target + ".scale.bias"] = gain * named[source + ".modulation.bias"].flatten()[order]

    def styled(target: str, source: str, order: torch.Tensor | slice = slice(None)) -> None:
        if source + ".conv.weight_dw" in named:
            weights[target + ".filter.weight"] = named[source + ".conv.weight_dw"][:, :, 0]
        mix = next(demodulated)
        scale(target, source + ".conv", 1 / (3 * mix.shape[1] ** 0.5))
        weights[target + ".mix.weight"] = mix[order]
        weights[target + ".mix.bias"] = named[source + ".bias"].flatten()[order]
        weights[target + ".noise"] = next(noises)

    styled("stem", "m.conv1", _bands(512))
    for number in range(7):
        source, target = f"m.layers.{number}", f"levels.{number}"
        channels = len(named[source + ".up.modulation.weight"])
        scale(target, source + ".up", 0.5, _bands(channels))
        styled(target + ".first", source + ".conv1")
        last = number == 6
        wide = len(named[source + ".conv2.bias"].flatten())
        styled(target + ".second", source + ".conv2", slice(None) if last else _bands(wide))
    head = "m.layers.6.to_img"
    weights["scale.weight"] = named[head + ".conv.modulation.weight"] / 8
    weights["scale.bias"] = named[head + ".conv.modulation.bias"].flatten() / 8
    weights["heads.1024.mix.weight"] = _pixels(named[head + ".conv.weight"])
    weights["heads.1024.mix.bias"] = _pixels(named[head + ".bias"].flatten())
    return weights


def _bands(channels: int) -> torch.Tensor:
    """Index that puts the four bands of a channel side by side: they come as all low ones, then three high of each."""
    low, high = torch.arange(channels).split((channels // 4, channels - channels // 4))
    return torch.cat([low[:, None], high.reshape(-1, 3)], 1).flatten()


def _pixels(bands: torch.Tensor) -> torch.Tensor:
    """The inverse Haar transform of 12 channels, as part of the weights that make them: (12, ...) to (12, ...)."""
    low, rows, columns, both = bands[_bands(12)].unflatten(0, (3, 4)).unbind(1)
    top, bottom, over, under = low + rows, low - rows, columns + both, columns - both
    return torch.stack((top + over, top - over, bottom + under, bottom - under), 1).flatten(0, 1) / 2
