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
RESUMABLE = ("steps", "workers", "log_every", "sample_every", "save_every", "keep_states", "bank", "draws")


@dataclass(frozen=True)
class TrainingConfig:
    r"""Settings of a run.

    Args:
        data (`tuple[str]`):
            Folders that `faceanon prepare` made; paths in a file are relative to the file.
        start (`str`, *optional*):
            Folder of a pipeline whose generator is trained on; None is the bundled one.
        size (`int`, *optional*, defaults to `256`):
            Side in pixels at which drawn pictures are compared with photos, at most that of the prepared crops. Layers
            of a finer resolution stay as they are: photos say nothing of them.
        steps (`int`, *optional*, defaults to `20000`):
            Steps in all.
        batch_size (`int`, *optional*, defaults to `16`):
            Photos a step, and pictures, of each process.
        learning_rate (`float`, *optional*, defaults to `5e-4`):
            Adam's for the generator, as a share of the root mean square of each layer's weights.
        mapping_rate (`float`, *optional*, defaults to `0.01`):
            That of the mapping, as a share of the others'.
        discriminator_learning_rate (`float`, *optional*, defaults to `4e-4`):
            Adam's for the discriminator.
        head_start (`int`, *optional*, defaults to `200`):
            Steps in which the discriminator alone learns: it is fresh, the generator is not.
        r1_weight (`float`, *optional*, defaults to `0.01`):
            Of the gradient penalty (arXiv 1801.04406).
        r1_every (`int`, *optional*, defaults to `16`):
            Steps from one penalty to the next, which counts for all of them.
        augment_target (`float`, *optional*, defaults to `0.6`):
            Mean sign of the scores of photos above which pictures are augmented more often (arXiv 2006.06676).
        augment_images (`int`, *optional*, defaults to `500000`):
            Photos in which the chance of an augmentation can rise from 0 to 1.
        ema_images (`float`, *optional*, defaults to `10000`):
            Half-life, in photos, of the averaged weights that are saved.
        mixed_precision (`str`, *optional*, defaults to `"bf16"`):
            `"bf16"` or `"no"`: what the networks compute in. Weights and optimizers are always float32.
        bank (`int`, *optional*, defaults to `4000`):
            Drawn faces that the sampler of each checkpoint is fitted to; `faceanon fit` takes more.
        draws (`int`, *optional*, defaults to `1000`):
            Drawn faces whose nearest photo is looked for at each checkpoint; with fewer, `faceanon push` refuses it.
        seed (`int`, *optional*, defaults to `0`):
            Every random number of a run follows from it and from the number of the step.
        workers (`int`, *optional*, defaults to `4`):
            Processes that read data, for each process that trains.
        log_every, sample_every, save_every (`int`, *optional*):
            Steps between lines of the log, sample sheets and checkpoints.
        keep_states (`int`, *optional*, defaults to `1`):
            Training states kept, the newest ones; checkpoints are all kept.
    """

    data: tuple[str, ...]
    start: str | None = None
    size: int = 256
    steps: int = 20_000
    batch_size: int = 16
    learning_rate: float = 5e-4
    mapping_rate: float = 0.01
    discriminator_learning_rate: float = 4e-4
    head_start: int = 200
    r1_weight: float = 0.01
    r1_every: int = 16
    augment_target: float = 0.6
    augment_images: int = 500_000
    ema_images: float = 10_000.0
    mixed_precision: str = "bf16"
    bank: int = 4000
    draws: int = 1000
    seed: int = 0
    workers: int = 4
    log_every: int = 50
    sample_every: int = 500
    save_every: int = 5000
    keep_states: int = 1

    def __post_init__(self) -> None:
        for name in (
            "size", "steps", "batch_size", "r1_every", "augment_images", "bank", "draws", "log_every", "sample_every",
            "save_every", "keep_states",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, not {getattr(self, name)}")
        for name in (f.name for f in dataclasses.fields(self) if f.type in ("int", "float")):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"`{name}` must be a number from 0 upwards, not {getattr(self, name)}")
        if not self.data:
            raise ValueError("`data` names no folder")
        if self.mixed_precision not in ("no", "bf16"):
            raise ValueError(f"`mixed_precision` must be 'no' or 'bf16', not {self.mixed_precision!r}")

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
        for name in ("data", "start"):
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
        return tuple(_as("str", name, entry) for entry in entries)
    if kind == "float" and not isinstance(value, bool):
        return float(value)  # YAML takes 2e-3 for a word
    if kind == "str" and value is False:
        return "no"  # and a bare no for a truth value
    if type(value).__name__ != kind:
        raise ValueError(f"`{name}` must be of type {kind}, not {value!r}")
    return value
