"""Realistic faces of nobody: anonymize photos and keep expression, gaze, pose, light and skin colour."""

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Diffusers imports ONNX Runtime where it is installed, and that writes a device's number to disk and calls its maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Where each public name lives; resolved on first use, because torch and diffusers take seconds to import.
_HOMES = {
    "AnimatedImageError": "errors",
    "AnonymizeBatch": "bulk.batch",
    "AttributeEstimator": "attributes",
    "CheckReport": "evaluation.checking",
    "CheckpointError": "errors",
    "Component": "component",
    "DatasetReport": "bulk.datasets",
    "DEFAULT_CHECKPOINT": "hub",
    "Face": "faces",
    "FaceAnonError": "errors",
    "FaceAnonGenerator": "generators.generator",
    "FaceAnonPipeline": "pipeline",
    "FaceAnonPipelineOutput": "pipeline",
    "FaceDetector": "detection",
    "FaceParser": "parsing",
    "FaceRecognizer": "recognition",
    "FaceStatus": "faces",
    "FolderReport": "bulk.folders",
    "ImageTooLargeError": "errors",
    "LandmarkExtractor": "landmarks",
    "LightingTransfer": "lighting",
    "MissingDependencyError": "errors",
    "ModelMixin": "component",
    "Options": "options",
    "PhotoEditor": "editor",
    "SkinColorTransfer": "color",
    "StyleGAN2Generator": "generators.stylegan2",
    "StyleSampler": "sampling",
    "SurroundingsEncoder": "surroundings",
    "UnmeasuredError": "errors",
    "UnreadableError": "errors",
    "UnreadableImageError": "errors",
    "UnreadableVideoError": "errors",
    "UnwritableError": "errors",
    "UnwritableImageError": "errors",
    "UnwritableVideoError": "errors",
    "VideoReport": "video.anonymize",
    "anonymize_dataset": "bulk.datasets",
    "anonymize_folder": "bulk.folders",
    "check_results": "evaluation.checking",
}

__all__ = [*_HOMES, "__version__"]

if TYPE_CHECKING:
    from .attributes import AttributeEstimator
    from .bulk.batch import AnonymizeBatch
    from .bulk.datasets import DatasetReport, anonymize_dataset
    from .bulk.folders import FolderReport, anonymize_folder
    from .color import SkinColorTransfer
    from .component import Component, ModelMixin
    from .detection import FaceDetector
    from .editor import PhotoEditor
    from .errors import (
        AnimatedImageError,
        CheckpointError,
        FaceAnonError,
        ImageTooLargeError,
        MissingDependencyError,
        UnmeasuredError,
        UnreadableError,
        UnreadableImageError,
        UnreadableVideoError,
        UnwritableError,
        UnwritableImageError,
        UnwritableVideoError,
    )
    from .evaluation.checking import CheckReport, check_results
    from .faces import Face, FaceStatus
    from .generators.generator import FaceAnonGenerator
    from .generators.stylegan2 import StyleGAN2Generator
    from .hub import DEFAULT_CHECKPOINT
    from .landmarks import LandmarkExtractor
    from .lighting import LightingTransfer
    from .options import Options
    from .parsing import FaceParser
    from .pipeline import FaceAnonPipeline, FaceAnonPipelineOutput
    from .recognition import FaceRecognizer
    from .sampling import StyleSampler
    from .surroundings import SurroundingsEncoder
    from .video.anonymize import VideoReport


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
