"""Checks everything that reaches the page: file paths, values of fields, requests."""

import json
import logging
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .painter import StoppedError
from .words import words

MAX_FILES = 50  # of a batch
MAX_BYTES = 50 * 2**20  # of a file
MAX_BOXES = 100  # of a photo
FARTHEST = 10**6  # pixels, a side of a box
MAX_NAME = 40  # characters of a field
MAX_JSON = 2**18  # bytes of a request that names files and values
MAX_INLINE = MAX_BYTES * 4 // 3 + MAX_JSON  # of a language model's, which holds the file
MAX_WAITING = 60  # jobs of one address; the queue holds more, so that nobody fills it alone
JSON_ROUTES = ("/gradio_api/queue/join", "/gradio_api/call/", "/gradio_api/cancel", "/gradio_api/reset")
JOBS = JSON_ROUTES[:2]
UPLOAD, MCP = "/gradio_api/upload", "/gradio_api/mcp"
# Parts of Gradio's own that the page does not use: they fetch, write or log what is asked for.
UNUSED = tuple(f"/gradio_api/{route}" for route in ("custom_component", "deep_link", "dev", "proxy=", "vibe"))

_log = logging.getLogger(__name__)


class RefusedError(Exception):
    """What the page does not take: the key of a text in [`words.MESSAGES`], and what it is filled with."""

    def __init__(self, key: str, *values: Any) -> None:
        self.key, self.values = key, values
        super().__init__(key)


def sent_file(path: Any, folder: Path) -> Path:
    """Makes sure, before anything opens it, that a path names a file that a visitor sent: a regular one in the folder.

    Returns:
        `Path`: of the file, links followed.

    Raises:
        RefusedError: the path is anything else. The message is always the same, so that it does not tell what exists.
    """
    try:
        found = Path(os.path.realpath(path, strict=True))
        if stat.S_ISREG(found.stat().st_mode) and found.is_relative_to(folder.resolve()):
            return found
    except (OSError, TypeError, ValueError):  # none such, no path, a null byte
        pass
    raise RefusedError("not_sent")


def checked(block: Any, value: Any, folder: Path) -> Any:
    """Checks a value that was sent to a field of the page, and returns it.

    Raises:
        RefusedError: a file that was not sent to the folder, a number that is not finite or out of range, a wrong
            type.
    """
    match block:
        case gr.State():  # kept by the server: what is sent in its place is not read
            return None
        case gr.Image() | gr.Video():
            return None if value is None else _file(value, folder)
        case gr.File():
            return _files(value, folder)
        case gr.Checkbox():
            fits = isinstance(value, bool)
        case gr.Slider():
            fits = _in_range(value, block.minimum, block.maximum)
        case gr.Number():  # an empty one is None
            fits = value is None or _in_range(value, block.minimum, block.maximum)
        case gr.Textbox():  # names a face: see `session.Session.picked`
            fits = isinstance(value, str) and len(value) <= MAX_NAME
        case gr.Dropdown():
            fits = isinstance(value, str) and value in [choice for _, choice in block.choices]
        case gr.JSON():  # boxes, or a list of them for each of several files
            fits = value is None or _boxes(value) or isinstance(value, list) and all(map(_boxes, value))
        case gr.Dataset():
            fits = type(value) is int and 0 <= value < len(block.samples or [])
        case _:
            fits = False
    if not fits:
        raise RefusedError("bad_value", getattr(getattr(block, "label", None), "key", block.get_block_name()))
    return value


def _in_range(value: Any, low: float | None, high: float | None) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (low is None or value >= low) and (high is None or value <= high) and math.isfinite(value)


def _boxes(value: Any) -> bool:
    """Whether it is a list of boxes: left, top, right and bottom in pixels."""
    return isinstance(value, list) and len(value) <= MAX_BOXES and all(map(_box, value))


def _box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(_in_range(side, -FARTHEST, FARTHEST) for side in value)


def _files(value: Any, folder: Path) -> list[dict[str, Any]] | None:
    files = [] if value is None else value if isinstance(value, list) else [value]
    if len(files) > MAX_FILES:
        raise RefusedError("too_many", MAX_FILES)
    return [_file(file, folder) for file in files] or None


def _file(value: Any, folder: Path) -> dict[str, Any]:
    """A file as Gradio hands it on, with nothing else that was sent beside the path."""
    path = value.get("path") if isinstance(value, dict) else None
    return {"path": str(sent_file(path, folder)), "meta": {"_type": "gradio.FileData"}}


def position(event: gr.SelectData, length: int) -> int:
    """Which of several pictures or faces was chosen.

    Raises:
        RefusedError: it is none of them.
    """
    if type(event.index) is not int or not 0 <= event.index < length:
        raise RefusedError("bad_value", "index")
    return event.index


def area(event: gr.SelectData) -> tuple[float, float, float, float]:
    """The rectangle that was drawn on a picture: left, top, right and bottom in shares of its sides.

    Raises:
        RefusedError: it is none.
    """
    box = event.index
    if not isinstance(box, list) or len(box) != 4 or not all(_in_range(value, 0, 1) for value in box):
        raise RefusedError("bad_value", "index")
    left, top, right, bottom = (float(value) for value in box)
    if not (left < right and top < bottom):
        raise RefusedError("bad_value", "index")
    return left, top, right, bottom


class Page(gr.Blocks):
    """A page whose events, named or not, only take checked values and answer a wrong call with a text."""

    def __init__(self, folder: Path, **kwargs: Any) -> None:
        self.folder = folder
        super().__init__(**kwargs)

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """Checks values before Gradio opens, copies or fetches what they name."""
        if len(inputs) != len(block_fn.inputs):
            raise RefusedError("bad_count", len(block_fn.inputs), len(inputs))
        pairs = zip(block_fn.inputs, inputs, strict=True)
        taken = [checked(block, value, self.folder) for block, value in pairs]
        return await super().preprocess_data(block_fn, taken, *args, **kwargs)

    async def process_api(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Turns every error into a text for the visitor. The log gets its kind and place, nothing that was sent."""
        said = words(kwargs["request"].headers.get("accept-language"))
        try:
            return await super().process_api(block_fn, inputs, *args, **kwargs)
        except gr.Error as error:
            error.print_exception = False
            raise
        except RefusedError as refused:
            text = said[refused.key].format(*refused.values)
        except StoppedError:
            text = said["stopped"]
        except Exception as error:
            _note(error)
            text = said["failed"]
        raise gr.Error(text, duration=None, print_exception=False)

    def waiting(self, address: str) -> int:
        """Number of jobs of an address that wait or run."""
        events = self._queue.event_ids_to_events.values()  # Gradio tells it nowhere else
        return sum(event.request.client is not None and event.request.client.host == address for event in events)


class Gate:
    """ASGI middleware in front of the page: limits routes, the size of a request, and the jobs of one address."""

    def __init__(self, app: ASGIApp, page: Page) -> None:
        self.app, self.page = app, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = False

        async def sending(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        headers = dict(scope["headers"])
        said = words(headers.get(b"accept-language", b"").decode("latin-1"))
        try:
            await self.app(scope, await self._admitted(scope, receive), sending)
        except _Answer as answer:
            if not began:
                response = JSONResponse({"detail": said[answer.key]}, answer.status)
                await response(scope, receive, send)
        except Exception as error:
            _note(error)
            if began:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await JSONResponse({"detail": said["no_such_call"]}, 400)(scope, receive, send)

    async def _admitted(self, scope: Scope, receive: Receive) -> Receive:
        """The request's body, read and checked; an upload's, counted while it comes."""
        path: str = scope["path"]
        if path.startswith(UNUSED):
            raise _Answer(404, "no_such_call")
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return receive
        if path.rstrip("/") == UPLOAD:
            return _counting(receive, MAX_FILES * MAX_BYTES)
        mcp = path == MCP or path.startswith(f"{MCP}/")
        if not mcp and not path.startswith(JSON_ROUTES):
            raise _Answer(404, "no_such_call")
        body = await _read(_counting(receive, MAX_INLINE if mcp else MAX_JSON))
        try:
            told = json.loads(body or b"null", parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise _Answer(400, "no_such_call") from None
        if mcp:  # its files come inside: Gradio would open the paths of others on the way to an event
            if not _understood(told):
                raise _Answer(400, "no_such_call")
            try:
                for named in _paths(told):
                    sent_file(named, self.page.folder)
            except RefusedError as refused:
                raise _Answer(400, refused.key) from None
        if path.startswith(JOBS) and scope["client"] and self.page.waiting(scope["client"][0]) >= MAX_WAITING:
            raise _Answer(503, "busy")
        return _replayed(body, receive)


class _Answer(Exception):  # noqa: N818
    """Ends a request with a status and a text."""

    def __init__(self, status: int, key: str) -> None:
        self.status, self.key = status, key
        super().__init__(key)


def _counting(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _Answer(413, "too_large")
        return message

    return counted


async def _read(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    messages: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Message:
        return next(messages, None) or await receive()

    return replay


def _paths(told: Any) -> Iterator[Any]:
    """Everything in a message that may be taken for a file's path."""
    if isinstance(told, dict):
        if "path" in told:
            yield told["path"]
        told = list(told.values())
    if isinstance(told, list):
        for part in told:
            yield from _paths(part)


def _understood(told: Any) -> bool:
    """Whether a message is a request of the Model Context Protocol: the server logs all others whole."""
    from mcp.types import ClientNotification, ClientRequest
    from pydantic import ValidationError

    if told is None:  # the end of a session has no body
        return True
    try:
        (ClientRequest if "id" in told else ClientNotification).model_validate(told)
    except (ValidationError, TypeError):
        return False
    return True


def _no_number(name: str) -> None:
    raise ValueError(name)


def _note(error: Exception) -> None:
    """Logs the kind of an error and where it arose: its text may hold names, paths and whole arguments."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "?" if place is None else f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"
    _log.error("%s at %s", type(error).__name__, where)
