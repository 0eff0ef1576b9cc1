"""Runs the page's jobs one after the other in a single thread, with time limits and cancellation."""

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

GRACE = 5.0  # seconds that a job has to stop after it was asked to; then its thread is given up


class StoppedError(Exception):
    """A job that was cancelled, or took longer than it may."""


@dataclass(eq=False)
class Job:
    """A call that waits for its turn, or runs, for at most `limit` seconds.

    `answer` holds what it returned or raised; [`StoppedError`] when it exceeds its limit. A job that is cancelled
    before its turn never runs. `stopped` asks it to stop, see [`stop_if_asked`].
    """

    work: Callable[[], Any]
    limit: float | None
    answer: Future[Any] = field(default_factory=Future)
    stopped: threading.Event = field(default_factory=threading.Event)


_JOB: ContextVar[Job] = ContextVar("job")


class Painter:
    """Runs jobs in one thread. OpenMP starts its own threads for every thread that uses PyTorch, and slows down when
    they outnumber the cores.

    A job that exceeds its limit is asked to stop. If it has not stopped after `GRACE` seconds, its thread is given
    up, and a new thread takes the waiting jobs.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._hire()

    def submit(self, work: Callable[[], Any], limit: float | None = None) -> Job:
        """Queues a call, which sees the caller's context variables."""
        context = copy_context()
        job = Job(functools.partial(context.run, work), limit)
        context.run(_JOB.set, job)
        self._jobs.put(job)
        return job

    def _hire(self) -> None:
        # Daemons, so that one that hangs does not hold up the end of the process.
        self._thread = threading.Thread(target=self._work, name="painter", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while self._thread is threading.current_thread():
            job = self._jobs.get()
            if not job.answer.set_running_or_notify_cancel():
                continue
            done = threading.Event()
            if job.limit is not None:
                threading.Thread(target=self._watch, args=(job, done), daemon=True).start()
            try:
                result = job.work()
            except BaseException as error:
                with suppress(InvalidStateError):  # it was given up
                    job.answer.set_exception(error)
            else:
                with suppress(InvalidStateError):
                    job.answer.set_result(result)
            finally:
                done.set()

    def _watch(self, job: Job, done: threading.Event) -> None:
        if done.wait(job.limit):
            return
        job.stopped.set()
        if not done.wait(GRACE):
            self._hire()
            with suppress(InvalidStateError):
                job.answer.set_exception(StoppedError())


@functools.cache
def _painter() -> Painter:
    return Painter()


def stop_if_asked() -> None:
    """For long jobs, between two steps.

    Raises:
        StoppedError: the job that runs was cancelled, or is past its limit.
    """
    job = _JOB.get(None)
    if job is not None and job.stopped.is_set():
        raise StoppedError


def painting(function: Callable[..., Any], limit: float | None = None) -> Callable[..., Any]:
    """The same function, run in the painter's thread after the jobs that were queued before it."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        return _painter().submit(functools.partial(function, *args, **kwargs), limit).answer.result()

    return run


def in_turn(limit: float) -> Callable[[Callable[..., Any]], Callable[..., Coroutine[Any, Any, Any]]]:
    """The same as [`painting`] for a coroutine: cancelled, it gives up its turn, or asks its job to stop."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
        @functools.wraps(function)
        async def run(*args: Any, **kwargs: Any) -> Any:
            job = _painter().submit(functools.partial(function, *args, **kwargs), limit)
            try:
                return await asyncio.wrap_future(job.answer)
            except asyncio.CancelledError:
                job.stopped.set()
                raise

        return run

    return decorate
