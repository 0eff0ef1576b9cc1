"""The settings of a training run: one frozen model, read from YAML."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from ..errors import FaceAnonError, UnreadableError
from ..files import read_regular

# What may differ between the two halves of a run that was stopped: none of it changes what is learned.
RESUMABLE = ("steps", "workers", "log_every", "sample_every", "save_every", "keep_states", "bank", "draws")


def _below(place: str, info: ValidationInfo) -> str:
    return str((info.context / place).resolve()) if info.context else place


Whole = Annotated[int, Field(strict=True, ge=0)]
Count = Annotated[int, Field(strict=True, ge=1)]
Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Place = Annotated[str, AfterValidator(_below)]


class TrainingConfig(BaseModel):
    r"""Settings of a run. A wrong one raises `pydantic.ValidationError`, a `ValueError`.

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

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Annotated[
        tuple[Place, ...], BeforeValidator(lambda v: v if isinstance(v, (list, tuple)) else [v]), Field(min_length=1)
    ]
    start: Place | None = None
    size: Count = 256
    steps: Count = 20_000
    batch_size: Count = 16
    learning_rate: Number = 5e-4
    mapping_rate: Number = 0.01
    discriminator_learning_rate: Number = 4e-4
    head_start: Whole = 200
    r1_weight: Number = 0.01
    r1_every: Count = 16
    augment_target: Number = 0.6
    augment_images: Count = 500_000
    ema_images: Number = 10_000.0
    mixed_precision: Literal["no", "bf16"] = "bf16"
    bank: Count = 4000
    draws: Count = 1000
    seed: Whole = 0
    workers: Whole = 4
    log_every: Count = 50
    sample_every: Count = 500
    save_every: Count = 5000
    keep_states: Count = 1

    @field_validator("*", mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        """YAML reads a bare `no` as false. No setting is a boolean."""
        return ("no", "yes")[value] if isinstance(value, bool) else value


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
    try:
        return TrainingConfig.model_validate(given, context=path.parent)
    except ValidationError as error:
        problems = []
        for found in error.errors():
            name = str(found["loc"][0])
            near = difflib.get_close_matches(name, TrainingConfig.model_fields, 1)
            hint = f"; is `{near[0]}` meant?" if near and found["type"] == "extra_forbidden" else ""
            problems.append(f"`{name}`: {found['msg']}{hint}")
        raise FaceAnonError(f"{path}: {', '.join(problems)}") from error
