"""A pipeline in a process of its own."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from .errors import FaceAnonError

if TYPE_CHECKING:
    from .pipeline import FaceAnonPipeline


DTYPES = ("float32", "bfloat16", "float16")


def load(checkpoint: str, device: str = "cpu", threads: int | None = 1, dtype: str = "float32") -> FaceAnonPipeline:
    """Loads a pipeline that works without a word, beside others on the machine.

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
    # What became of each face is in the records; warnings of many processes at once only garble the progress.
    logging.getLogger("faceanon_hub").addHandler(logging.NullHandler())
    return load_quietly(checkpoint, device, dtype)


def load_quietly(checkpoint: str, device: str = "cpu", dtype: str = "float32") -> FaceAnonPipeline:
    """Loads a pipeline without bars of progress; arguments as of [`load`]. All but the network stays float32.

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


_work: Callable[[Any], Any] | Exception  # of this process, if it is a worker


def start(make: Callable[..., Callable[[Any], Any]], *arguments: Any) -> None:
    """Makes, in a new worker process, what works on its tasks; see [`work`]."""
    global _work
    obey_parent()
    try:
        _work = make(*arguments)
    except Exception as error:  # raised here it would reach nobody
        _work = error


def work(task: Any) -> Any:
    """Does a task, in a worker process, with what [`start`] made there; or raises what kept it from being made."""
    if isinstance(_work, Exception):
        raise _work
    return _work(task)


@contextmanager
def crew(count: int, make: Callable[..., Callable[[Any], Any]], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """Processes that [`work`] on tasks, each with what [`start`] made in it. What still waits at the end is dropped.

    Args:
        count (`int`):
            How many.
        make (`Callable`), arguments:
            As of [`start`].

    Raises:
        FaceAnonError: one of them died.
    """
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), start, (make, *arguments)) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise FaceAnonError("a process died at its work; out of memory?") from error
        finally:
            pool.shutdown(cancel_futures=True)


def obey_parent() -> None:
    """Makes a spawned process end with the one that started it, however that ends, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def follow() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
