"""A function over several items, side by side in threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

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
