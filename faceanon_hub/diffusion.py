"""What is used of diffusers, imported without its model zoo and PyTorch's compiler: they would be most of a start.

Marks that diffusers' hooks put on functions for the compiler are lost. Who compiles models of diffusers with hooks in
the same process imports diffusers before faceanon_hub.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch  # noqa: F401 - before its compiler is stood in for


class _AutoencoderKL(type):
    """Diffusers' pipelines ask whether something is one: the class is imported when they do."""

    def __instancecheck__(cls, instance: Any) -> bool:
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        return isinstance(instance, AutoencoderKL)


class AutoencoderKL(metaclass=_AutoencoderKL):
    """Stands in diffusers' pipelines for the class of that name."""


@contextmanager
def _imported_lightly() -> Iterator[None]:
    """Within it diffusers' pipelines are imported without autoencoders, and marks for the compiler are passed over."""
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
    """Without the compiler nothing is compiled, and to ask would import it."""
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
from diffusers.utils import BaseOutput, PushToHubMixin, logging  # noqa: E402

__all__ = [
    "ALL_IMPORTABLE_CLASSES",
    "LOADABLE_CLASSES",
    "BaseOutput",
    "ConfigMixin",
    "DiffusionPipeline",
    "FrozenDict",
    "ModelMixin",
    "PushToHubMixin",
    "logging",
    "register_to_config",
]
