"""Loading a pipeline for a command or a worker process; the devices and types it can compute in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .pipeline import FaceAnonPipeline

DTYPES = ("float32", "bfloat16", "float16")


def load(checkpoint: str, device: str = "cpu", threads: int | None = 1, dtype: str = "float32") -> FaceAnonPipeline:
    """Loads a pipeline for one of several processes: few threads, no warnings, no progress bars.

    Args:
        checkpoint (`str`):
            Folder or Hub id.
        device (`str`, *optional*, defaults to `"cpu"`):
            Where the network runs.
        threads (`int`, *optional*, defaults to `1`):
            Threads of this process: several processes with several threads stall one another. None leaves them.
        dtype (`str`, *optional*, defaults to `"float32"`):
            What the network computes in: `"bfloat16"` is faster on processors made for it, `"float16"` on GPUs.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    import cv2
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    # The records hold what became of each face.
    logging.getLogger("faceanon_hub").addHandler(logging.NullHandler())
    return load_quietly(checkpoint, device, dtype)


def load_quietly(checkpoint: str, device: str = "cpu", dtype: str = "float32") -> FaceAnonPipeline:
    """Loads a pipeline without progress bars; arguments as of [`load`]. All but the network stays float32.

    Raises:
        CheckpointError: there is no such checkpoint.
        ValueError: there is no such device.
    """
    import torch

    from .diffusion import logging as diffusers_logging
    from .pipeline import FaceAnonPipeline

    check_device(device)
    diffusers_logging.disable_progress_bar()
    computed = {"generator": getattr(torch, dtype), "default": torch.float32}
    pipe = FaceAnonPipeline.from_pretrained(checkpoint, dtype=computed).to(device)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def check_device(device: str) -> None:
    """Raises `ValueError` for a device on which nothing can be computed here."""
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # as many kinds as there are devices
        cause = str(error).splitlines()[0]
        raise ValueError(f"`device` {device!r} cannot be used here ({cause}); cpu always can") from error


def check_dtype(dtype: str) -> None:
    """Raises `ValueError` for what a network is not to compute in."""
    if dtype not in DTYPES:
        raise ValueError(f"`dtype` must be one of {', '.join(DTYPES)}, not {dtype!r}")
