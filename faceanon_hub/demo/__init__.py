"""The web demo: a photo in, faces of nobody in it, and every choice at hand."""

from .server import launch, lend_gpu

__all__ = ["launch", "lend_gpu"]
