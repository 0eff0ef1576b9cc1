"""Jobs in one thread, none for ever."""

import asyncio
import contextvars
import threading
import time
from concurrent.futures import CancelledError

import pytest

from faceanon_hub.demo import painter
from faceanon_hub.demo.painter import Painter, StoppedError, in_turn, painting, stop_if_asked


def test_one_thread_paints_and_knows_whom_it_serves():
    visitor: contextvars.ContextVar[str] = contextvars.ContextVar("visitor")
    visitor.set("nobody")
    seen = [painting(lambda: (threading.current_thread(), visitor.get()))() for _ in range(2)]
    assert seen[0] == seen[1] and seen[0][1] == "nobody"
    assert seen[0][0] is not threading.current_thread()
    with pytest.raises(ZeroDivisionError):
        painting(lambda: 1 / 0)()


def test_a_job_that_hangs_loses_the_thread_and_the_next_is_served(monkeypatch):
    monkeypatch.setattr(painter, "GRACE", 0.2)
    own, for_ever = Painter(), threading.Event()
    hung = own.submit(for_ever.wait, 0.2)
    waiting = own.submit(threading.current_thread, 5)
    with pytest.raises(StoppedError):
        hung.answer.result(5)
    first = waiting.answer.result(5)
    for_ever.set()
    time.sleep(0.1)
    # The old thread does not come back.
    assert {own.submit(threading.current_thread).answer.result(5) for _ in range(10)} == {first}


def test_a_job_past_its_limit_stops_itself_and_keeps_the_thread():
    def steps() -> None:
        while True:
            time.sleep(0.01)
            stop_if_asked()

    own = Painter()
    before = own.submit(threading.current_thread).answer.result(5)
    with pytest.raises(StoppedError):
        own.submit(steps, 0.1).answer.result(5)
    assert own.submit(threading.current_thread).answer.result(5) is before


def test_a_cancelled_coroutine_gives_up_its_turn_and_stops_its_job():
    ran: list[str] = []
    began = threading.Event()

    def steps() -> None:
        began.set()
        while True:
            time.sleep(0.01)
            stop_if_asked()

    async def visit() -> None:
        running = asyncio.create_task(in_turn(60)(steps)())
        waiting = asyncio.create_task(in_turn(60)(ran.append)("waited"))
        await asyncio.to_thread(began.wait, 5)
        waiting.cancel()
        running.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        await in_turn(60)(ran.append)("next")

    asyncio.run(asyncio.wait_for(visit(), 10))
    assert ran == ["next"]


def test_a_cancelled_job_has_no_answer():
    own, let_go = Painter(), threading.Event()
    own.submit(let_go.wait)
    job = own.submit(lambda: 1)
    assert job.answer.cancel()
    let_go.set()
    with pytest.raises(CancelledError):
        job.answer.result(5)
