"""Imports from diffusers without its models and without PyTorch's compiler, which take most of the start-up time.

The hooks of diffusers then lack their `torch.compiler.disable` marks. To compile diffusers models that use hooks in
the same process, import diffusers before faceanon_hub.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch  # noqa: F401 - must be imported before its compiler is replaced


class _AutoencoderKL(type):
    """Imports the real class when a pipeline checks `isinstance` against it."""

    def __instancecheck__(cls, instance: Any) -> bool:
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        return isinstance(instance, AutoencoderKL)


class AutoencoderKL(metaclass=_AutoencoderKL):
    """Placeholder for the class of this name in diffusers' pipelines."""


@contextmanager
def _imported_lightly() -> Iterator[None]:
    """Inside the block, diffusers imports no autoencoders and its `torch._dynamo` decorators do nothing."""
    compiler: Any = ModuleType("torch._dynamo")
    compiler.allow_in_graph = compiler.disable = lambda function=None, *_, **__: function or (lambda marked: marked)
    sys.modules["torch._dynamo"] = compiler
    try:
        models: Any = importlib.import_module("diffusers.models")
        models.AutoencoderKL = AutoencoderKL
        yield
        del models.AutoencoderKL
    finally:
        del sys.modules["torch._dynamo"]


def _asked_where_compiled(is_compiled: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Answers no as long as the compiler is not imported: asking it would import it."""
    return lambda module: "torch._dynamo" in sys.modules and is_compiled(module)


if not {"diffusers", "torch._dynamo"} & sys.modules.keys():  # whoever imported them first has them whole
    with _imported_lightly():
        importlib.import_module("diffusers.hooks")
        from diffusers.pipelines import pipeline_loading_utils, pipeline_utils

    for _module in (pipeline_loading_utils, pipeline_utils):
        _module.is_compiled_module = _asked_where_compiled(_module.is_compiled_module)

from diffusers import ConfigMixin, DiffusionPipeline, ModelMixin  # noqa: E402
from diffusers.configuration_utils import FrozenDict, register_to_config  # noqa: E402
from diffusers.pipelines.pipeline_loading_utils import ALL_IMPORTABLE_CLASSES, LOADABLE_CLASSES  # noqa: E402
from diffusers.utils import BaseOutput, PushToHubMixin, is_accelerate_available, logging  # noqa: E402

__all__ = [
    "ALL_IMPORTABLE_CLASSES",
    "LOADABLE_CLASSES",
    "BaseOutput",
    "ConfigMixin",
    "DiffusionPipeline",
    "FrozenDict",
    "ModelMixin",
    "PushToHubMixin",
    "is_accelerate_available",
    "logging",
    "register_to_config",
]
