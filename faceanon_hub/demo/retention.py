"""What the demo keeps on disk, and for how long: one private folder, swept by the clock."""

import asyncio
import atexit
import contextlib
import functools
import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

PREFIX = "faceanon-demo-"
SPARED = "example"  # a subfolder that stays
SWEEPS = 6  # in a lifetime


@functools.cache
def private_folder() -> Path:
    """The process's folder, which only its owner can read and which goes with it."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def end_on_signals() -> None:
    """Makes the signals of `docker stop` and of a terminal that closes end the process with its folder."""

    def leave(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is threading.main_thread():  # Python sets signals nowhere else
        for name in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), leave)


def place(folder: Path, name: str) -> Path:
    """A path for a file in a subfolder of its own, whose name cannot be guessed."""
    inside = folder / secrets.token_urlsafe(16)
    inside.mkdir()
    return inside / name


def sweep(age: float) -> None:
    """Deletes what is older than `age` seconds in private folders, those of processes that were killed included.

    Gradio deletes the files it knows of; it does not know of uploads that broke off.
    """
    now = time.time()
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # Deepest first, so that a folder is seen after what it held.
        for path in [*sorted(folder.rglob("*"), key=lambda path: -len(path.parts)), folder]:
            if SPARED in path.relative_to(folder).parts:
                continue
            with contextlib.suppress(OSError):  # gone already, or not empty
                if now - path.lstat().st_ctime > age:
                    path.rmdir() if path.is_dir() else path.unlink()


def sweeping(lifetime: float) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """A lifespan handler of the server, under which no file grows older than `lifetime` seconds."""

    async def forever() -> None:
        while True:
            await asyncio.to_thread(sweep, lifetime * (1 - 1 / SWEEPS))
            await asyncio.sleep(lifetime / SWEEPS)

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        task = asyncio.create_task(forever())
        try:
            yield
        finally:
            task.cancel()

    return lifespan
