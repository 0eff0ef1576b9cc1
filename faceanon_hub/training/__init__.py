"""Fitting and fine-tuning of generators: from photos to crops, from crops to a checkpoint.

Needs the extra `train`. On the command line: `faceanon fit`, `prepare` and `train`.
"""

from .config import TrainingConfig, read_config
from .fits import fit_pipeline
from .preparation import prepare_faces
from .trainer import Trainer, train

__all__ = ["Trainer", "TrainingConfig", "fit_pipeline", "prepare_faces", "read_config", "train"]
