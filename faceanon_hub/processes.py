"""Work side by side, in threads or processes; and forks, which leave the threads behind."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, TypeVar

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


@contextmanager
def process_pool(
    count: int, make: Callable[..., Callable[[Any], Any]], *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """Processes to which [`run_task`] is submitted. Tasks that still wait at the end are dropped.

    Args:
        count (`int`):
            Number of processes.
        make (`Callable`), arguments:
            Called once in each process: returns the function that it calls with its tasks. An error is raised by
            every task.

    Raises:
        FaceAnonError: a process died.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, _initialize, (make, *arguments)) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise FaceAnonError("a process died at its work; out of memory?") from error
        finally:
            pool.shutdown(cancel_futures=True)


_function: Callable[[Any], Any] | Exception  # of this process, where it is one of a pool


def run_task(task: Any) -> Any:
    """Calls, in a process of a pool, the function made there; or raises the error of making it."""
    if isinstance(_function, Exception):
        raise _function
    return _function(task)


def _initialize(make: Callable[..., Callable[[Any], Any]], *arguments: Any) -> None:
    global _function
    end_with_parent()
    try:
        _function = make(*arguments)
    except Exception as error:  # raised here it would reach nobody
        _function = error


def end_with_parent() -> None:
    """Makes a spawned process end with the one that started it, however that ends, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def follow() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
