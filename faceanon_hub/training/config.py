"""What a run is: one frozen dataclass, read from YAML."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..errors import FaceAnonError, UnreadableError
from ..files import read_regular

# What may differ between the two halves of a run that was stopped: none of it changes what is learned.
RESUMABLE = ("steps", "workers", "log_every", "sample_every", "save_every", "keep_states", "validation_faces")


@dataclass(frozen=True)
class TrainingConfig:
    r"""Settings of a run. The defaults are those of the prototype's run, where it had them.

    Args:
        data (`tuple[str]`):
            Folders that `faceanon prepare` made; paths in a file are relative to the file.
        start (`str`, *optional*):
            Folder of a checkpoint to go on from; None starts with random weights.
        sample_size (`int`, *optional*):
            Side of the crops in pixels: 64, 128 or 256. That of the checkpoint, or 128, unless given.
        channels (`tuple[int]`, *optional*):
            Width of each resolution, see [`UNetGenerator`]; multiples of eight are fastest on GPUs.
        style_size (`int`, *optional*, defaults to `256`):
            Length of the style.
        steps (`int`, *optional*, defaults to `8000`):
            Steps in all.
        batch_size (`int`, *optional*, defaults to `128`):
            Pictures made in a step by each process, an even number: each photo is seen twice, with two latents.
        learning_rate, discriminator_learning_rate, latent_learning_rate (`float`, *optional*):
            Adam's, for generator, discriminators and the head that reads the latent back.
        frozen (`tuple[str]`, *optional*):
            Parts of the generator, `"encoder"` for one, that keep the weights of the checkpoint.
        head_start (`int`, *optional*, defaults to `0`):
            Steps in which only discriminators and reader learn: those of a checkpoint that is trained on are fresh.
        adversarial_ramp (`int`, *optional*, defaults to `0`):
            Steps, after these, over which the discriminators gain their weight.
        warmup (`int`, *optional*, defaults to `0`):
            Steps, after these, over which the generator's rate rises: a fresh optimizer's first steps are its largest.
        cooldown (`int`, *optional*, defaults to `0`):
            Steps at the end over which all rates fall to nothing.
        gradient_clip (`float`, *optional*, defaults to `100.0`):
            Largest norm of a network's gradient.
        ema_images (`float`, *optional*, defaults to `10000`):
            Half-life, in pictures, of the averaged weights that are saved.
        mixed_precision (`str`, *optional*, defaults to `"bf16"`):
            `"bf16"` or `"no"`: what the networks compute in. Weights and optimizers are always float32.
        perceptual_weight, l1_weight, latent_weight, diversity_weight (`float`, *optional*):
            Of the terms beside the adversarial one, see [`training.losses`].
        color_distance, feature_distance (`float`, *optional*):
            How far apart two latents must paint one face, in colour and in features.
        hint_dropout (`float`, *optional*, defaults to `0.2`):
            Share of photos without the photometric hint, so that it can be switched off.
        rotation, scale, shift (`float`, *optional*):
            Jitter of the crops: standard deviations in degrees, as a factor, and in sides of the crop.
        profile_weight, closed_eyes_weight, open_mouth_weight, dark_skin_weight (`float`, *optional*):
            How many times as often such a face is drawn; they multiply.
        critics (`str`, *optional*):
            Folder with the graphs that [`training.critics`] reads; None leaves both terms out.
        expression_weight, identity_weight (`float`, *optional*):
            Of the terms by these critics.
        feature_weight (`float`, *optional*, defaults to `1.0`):
            How many times as much as other points of the mesh those of eyes, brows and lips count.
        seed (`int`, *optional*, defaults to `0`):
            Every random number of a run follows from it and from the number of the step.
        workers (`int`, *optional*, defaults to `4`):
            Processes that read data, for each process that trains.
        log_every, sample_every, save_every (`int`, *optional*):
            Steps between lines of the log, sample sheets and checkpoints.
        keep_states (`int`, *optional*, defaults to `1`):
            Training states kept, the newest ones; checkpoints are all kept.
        validation_faces (`int`, *optional*, defaults to `1024`):
            Held-out faces that are measured at each checkpoint.
    """

    data: tuple[str, ...]
    start: str | None = None
    sample_size: int | None = None
    channels: tuple[int, ...] | None = None
    style_size: int = 256
    steps: int = 8000
    batch_size: int = 128
    learning_rate: float = 2e-3
    discriminator_learning_rate: float = 4e-4
    latent_learning_rate: float = 1e-3
    frozen: tuple[str, ...] = ()
    head_start: int = 0
    adversarial_ramp: int = 0
    warmup: int = 0
    cooldown: int = 0
    gradient_clip: float = 100.0
    ema_images: float = 10_000.0
    mixed_precision: str = "bf16"
    perceptual_weight: float = 2.0
    l1_weight: float = 0.2
    latent_weight: float = 0.3
    diversity_weight: float = 2.0
    color_distance: float = 0.1
    feature_distance: float = 0.25
    hint_dropout: float = 0.2
    rotation: float = 3.0
    scale: float = 0.03
    shift: float = 0.015
    profile_weight: float = 2.0
    closed_eyes_weight: float = 2.0
    open_mouth_weight: float = 1.5
    dark_skin_weight: float = 2.0
    critics: str | None = None
    expression_weight: float = 1.0
    identity_weight: float = 0.5
    feature_weight: float = 1.0
    seed: int = 0
    workers: int = 4
    log_every: int = 50
    sample_every: int = 500
    save_every: int = 1000
    keep_states: int = 1
    validation_faces: int = 1024

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every", "sample_every", "save_every", "keep_states"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, not {getattr(self, name)}")
        for name in (f.name for f in dataclasses.fields(self) if f.type in ("int", "float")):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"`{name}` must be a number from 0 upwards, not {getattr(self, name)}")
        if not self.data:
            raise ValueError("`data` names no folder")
        if self.batch_size % 2:
            raise ValueError(f"`batch_size` must be even, for two latents a photo, not {self.batch_size}")
        if self.mixed_precision not in ("no", "bf16"):
            raise ValueError(f"`mixed_precision` must be 'no' or 'bf16', not {self.mixed_precision!r}")
        if self.hint_dropout > 1:
            raise ValueError(f"`hint_dropout` must lie between 0 and 1, not {self.hint_dropout}")

    def to_dict(self) -> dict[str, Any]:
        """All settings, ready for JSON or YAML."""
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def read_config(path: Path) -> TrainingConfig:
    """Reads settings from a YAML file, of which JSON is a part.

    Args:
        path (`Path`):
            File with the names of [`TrainingConfig`], its paths relative to it; what it leaves out keeps its default.

    Raises:
        UnreadableError: there is no such file, or it is no YAML.
        FaceAnonError: a name is unknown, or a value is of the wrong kind or out of its range.
    """
    try:
        given = yaml.safe_load(read_regular(path))
    except OSError as error:
        raise UnreadableError(path, error.strerror or str(error)) from error
    except yaml.YAMLError as error:
        raise UnreadableError(path, f"no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(given, dict):
        raise FaceAnonError(f"{path}: holds no settings, but {type(given).__name__}")
    kinds = {field.name: str(field.type) for field in dataclasses.fields(TrainingConfig)}
    for name in given:
        if name not in kinds:
            near = difflib.get_close_matches(str(name), kinds, 1)
            raise FaceAnonError(f"{path}: unknown setting {name!r}" + (f"; is {near[0]!r} meant?" if near else ""))
    try:
        values = {name: _as(kinds[name], name, value) for name, value in given.items()}
        for name in ("data", "critics", "start"):
            if values.get(name) is not None:
                values[name] = _below(path.parent, values[name])
        return TrainingConfig(**values)
    except (TypeError, ValueError) as error:
        message = "`data` is missing" if "data" not in given else str(error)
        raise FaceAnonError(f"{path}: {message}") from error


def _below(folder: Path, value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_below(folder, entry) for entry in value)
    return str((folder / value).resolve())


def _as(kind: str, name: str, value: Any) -> Any:
    """A value of YAML as what the field holds."""
    if value is None and kind.endswith("None"):
        return None
    kind = kind.removesuffix(" | None")
    if kind.startswith("tuple"):
        entries = value if isinstance(value, list) else [value]
        return tuple(_as("int" if "int" in kind else "str", name, entry) for entry in entries)
    if kind == "float" and not isinstance(value, bool):
        return float(value)  # YAML takes 2e-3 for a word
    if kind == "str" and value is False:
        return "no"  # and a bare no for a truth value
    if type(value).__name__ != kind:
        raise ValueError(f"`{name}` must be of type {kind}, not {value!r}")
    return value
