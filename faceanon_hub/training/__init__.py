"""Training of the former 128 px network: from photos to shards, from shards to a checkpoint.

Needs the extra `train`. On the command line: `faceanon prepare` and `train`. The pipeline does not load what it makes.
"""

from .config import TrainingConfig, read_config
from .preparation import prepare_faces
from .trainer import Trainer, train
from .unet import UNetGenerator

__all__ = ["Trainer", "TrainingConfig", "UNetGenerator", "prepare_faces", "read_config", "train"]
