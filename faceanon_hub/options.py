"""Everything that a call can ask for, checked in one place; light to import, as commands make flags of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, Literal, get_args

Fallback = Literal["blur", "mosaic", "solid"]
Attributes = Literal["face", "surroundings", "none"]
FALLBACKS: tuple[str, ...] = get_args(Fallback)
ATTRIBUTES: tuple[str, ...] = get_args(Attributes)


def _option(flag: str, help: str, low: float = -math.inf, high: float = math.inf, default: Any = None) -> Any:
    """A field of `Options`: its name on the command line, what it does in a line, and the range of a number."""
    span = {} if math.isinf(low) else {"range": (low, high)}
    return field(default=default, metadata={"flag": flag, "help": help, **span})


@dataclass(frozen=True)
class Options:
    """Everything that a call can ask for, alike for all its photos or frames.

    None stands for what the pipeline is configured with; [`FaceAnonPipeline.resolve`] fills it in, and the fields are
    annotated as they are afterwards. Commands have a flag for each field, see [`cli`].

    Args:
        fallback (`str`, *optional*):
            `"blur"`, `"mosaic"` or `"solid"`: how a face is hidden that cannot be replaced.
        mask_margin (`float`, *optional*):
            0 to 0.3: how far the hidden region reaches beyond a face's outline, in heights of the face.
        context_blur (`float`, *optional*):
            0 to 0.3: blur of hair, ears and neck, a standard deviation in heights of the face.
        threshold (`float`, *optional*):
            0 to 1: lowest confidence of the detector.
        batch_size (`int`, *optional*):
            At least 1: faces that are drawn at a time.
        attributes (`str`, *optional*):
            What apparent age and sex of the new face follow: `"face"` (two coarse numbers that are read off the
            original), `"surroundings"` (hair, neck and clothes; nothing is read off the face) or `"none"`.
        lighting_strength, color_strength (`float`, *optional*):
            0 to 1: strength of the post-processors.
        privacy (`float`, *optional*):
            0 (expression above all) to 1 (as far from the original's identity as possible).
        truncation (`float`, *optional*, defaults to `0.6`):
            0 (an average face) to 1 (full variety, and faces that fall apart).

    Raises:
        ValueError: a value is not finite, out of its range, or of another type.
    """

    fallback: Fallback = _option("fallback", "For faces that cannot be replaced.")
    mask_margin: float = _option("mask_margin", "Hidden rim, in face heights.", 0, 0.3)
    context_blur: float = _option("context_blur", "Blur of hair, ears and neck, in face heights; 0 is none.", 0, 0.3)
    threshold: float | None = _option("threshold", "Lowest confidence of the detector.", 0, 1)
    batch_size: int = _option("batch_size", "Faces that are drawn at a time.", 1)
    attributes: Attributes = _option("attributes", "What apparent age and sex of the new face follow.")
    lighting_strength: float = _option("light", "Strength of the light transfer.", 0, 1)
    color_strength: float = _option("color", "Strength of the skin colour transfer.", 0, 1)
    privacy: float = _option("privacy", "0 expression above all, 1 far from the original's identity.", 0, 1)
    truncation: float = _option("truncation", "0 average faces, 1 full variety.", 0, 1, 0.6)

    def __post_init__(self) -> None:
        for name, words in {"fallback": FALLBACKS, "attributes": ATTRIBUTES}.items():
            if getattr(self, name) not in (None, *words):
                raise ValueError(f"`{name}` must be one of {', '.join(words)}, not {getattr(self, name)!r}")
        for entry in fields(self):
            value = getattr(self, entry.name)
            if "range" in entry.metadata and not (value is None and entry.default is None):
                _check_number(entry.name, value, *entry.metadata["range"])
        if not isinstance(self.batch_size, Integral | None):
            raise ValueError(f"`batch_size` must be a whole number, not {self.batch_size!r}")


def _check_number(name: str, value: Any, low: float, high: float) -> None:
    span = f"at least {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"`{name}` must be a number {span}, not {value!r}")
