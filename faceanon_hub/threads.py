"""A function over several items, side by side in threads; and forks, which leave the threads behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .errors import FaceAnonError

WORKERS = min(8, os.cpu_count() or 1)

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The function's results for all items, in order. OpenCV, NumPy, PyTorch and LiteRT release the GIL.

    Args:
        function (`Callable`):
            Called once for each item, in up to `WORKERS` threads.
        items (`list`):
            What it is called with.

    Returns:
        `list`: one result for each item.
    """
    items = list(items)
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(len(items), WORKERS)) as pool:
        return list(pool.map(function, items))


_at_work = False  # whether a pipeline was loaded or ran in this process
_forked = False  # whether this process is a fork of one in which one was


def _after_fork() -> None:
    global _forked
    _forked = _at_work


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def start_work() -> None:
    """Called where a pipeline begins to load or to run.

    Raises:
        FaceAnonError: this process is a fork of one in which a pipeline ran. PyTorch's threads are left behind by a
            fork, and it would wait for them for ever.
    """
    global _at_work
    if _forked:
        raise FaceAnonError(
            "this process was forked from one in which a pipeline ran, and would hang: start processes by "
            'multiprocessing.set_start_method("spawn"), with 🤗 Datasets multiprocess.set_start_method("spawn"), or '
            "fork before a pipeline is loaded"
        )
    _at_work = True
