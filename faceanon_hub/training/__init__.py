"""Training of the generator: from photos to shards, from shards to a checkpoint, from a checkpoint to a larger one.

Needs the extra `train`. On the command line: `faceanon prepare`, `train`, `grow` and `push`.
"""

from .config import TrainingConfig, read_config
from .preparation import prepare_faces
from .trainer import Trainer, train
from .weights import grow_checkpoint

__all__ = ["Trainer", "TrainingConfig", "grow_checkpoint", "prepare_faces", "read_config", "train"]
