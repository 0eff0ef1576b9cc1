"""The options of a call, checked in one place. Light to import: commands make their flags from it."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from .ranges import THRESHOLD, check_number

Fallback = Literal["blur", "mosaic", "solid"]
Attributes = Literal["face", "surroundings", "none"]
Glasses = Literal["original", "keep", "remove"]
FALLBACKS: tuple[str, ...] = get_args(Fallback)
ATTRIBUTES: tuple[str, ...] = get_args(Attributes)
GLASSES: tuple[str, ...] = get_args(Glasses)


def _option(flag: str, help: str, *span: float, default: Any = None) -> Any:
    """A field of `Options`: its name on the command line, what it does in a line, and the range of a number."""
    return field(default=default, metadata={"flag": flag, "help": help, **({"range": span} if span else {})})


@dataclass(frozen=True)
class Options:
    """All options of a call; they hold for all its photos or frames.

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
            0.01 to 0.9: lowest confidence of the detector.
        batch_size (`int`, *optional*):
            At least 1: faces that are drawn at a time.
        attributes (`str`, *optional*):
            What apparent age and sex of the new face follow: `"face"` (two coarse numbers that are read off the
            original), `"surroundings"` (hair, neck and clothes; nothing is read off the face) or `"none"`.
        glasses (`str`, *optional*, defaults to `"original"`):
            Whether the new face wears some: `"original"` (as the original does), `"keep"` or `"remove"`.
        lighting_strength, color_strength (`float`, *optional*):
            0 to 1: strength of the post-processors.
        privacy (`float`, *optional*):
            0 (expression above all) to 1 (as far from the original's identity as possible).
        truncation (`float`, *optional*, defaults to `0.6`):
            0 (an average face) to 1 (full variety, and faces that fall apart).
        hide_small (`bool`, *optional*, defaults to `False`):
            Look for faces down to 6 pixels, too, in about five times the time; those narrower than the detector's
            `min_face_size` are obfuscated. Without, such faces are found by chance, and are treated like others.

    Raises:
        ValueError: a value is not finite, out of its range, or of another type.
    """

    fallback: Fallback = _option("fallback", "For faces that cannot be replaced.")
    mask_margin: float = _option("mask_margin", "Hidden rim, in face heights.", 0, 0.3)
    context_blur: float = _option("context_blur", "Blur of hair, ears and neck, in face heights; 0 is none.", 0, 0.3)
    threshold: float | None = _option("threshold", "Lowest confidence of the detector.", *THRESHOLD)
    batch_size: int = _option("batch_size", "Faces that are drawn at a time.", 1, 1024)
    attributes: Attributes = _option("attributes", "What apparent age and sex of the new face follow.")
    glasses: Glasses = _option("glasses", "Whether the new face wears glasses.", default="original")
    lighting_strength: float = _option("light", "Strength of the light transfer.", 0, 1)
    color_strength: float = _option("color", "Strength of the skin colour transfer.", 0, 1)
    privacy: float = _option("privacy", "0 expression above all, 1 far from the original's identity.", 0, 1)
    truncation: float = _option("truncation", "0 average faces, 1 full variety.", 0, 1, default=0.6)
    hide_small: bool = _option("hide_small", "Find faces down to 6 px; hide the small ones.", default=False)

    def __post_init__(self) -> None:
        words = {"fallback": FALLBACKS, "attributes": ATTRIBUTES, "glasses": GLASSES}
        for entry in fields(self):
            name, value = entry.name, getattr(self, entry.name)
            if value is None and entry.default is None:
                continue
            if name in words and value not in words[name]:
                raise ValueError(f"`{name}` must be one of {', '.join(words[name])}, not {value!r}")
            if isinstance(entry.default, bool) and not isinstance(value, bool):
                raise ValueError(f"`{name}` must be True or False, not {value!r}")
            if "range" in entry.metadata:
                check_number(name, value, *entry.metadata["range"], whole=name == "batch_size")
