"""The line that says what was done, and stays until the next thing is."""

import html
from collections.abc import Sequence
from typing import Literal

import gradio as gr

from ..errors import FaceAnonError
from .intake import RefusedError
from .words import unusable

Kind = Literal["good", "warning", "bad", "busy"]


def status_line(name: str) -> gr.HTML:
    """An empty line of the page."""
    return gr.HTML("", elem_id=name, apply_default_css=False)


def message(told: Sequence[str], kind: Kind = "good", lines: Sequence[str] = ()) -> str:
    """The HTML of a status line: sentences and the entries of a list, both escaped.

    The kind is `"good"`, `"warning"`, `"bad"`, or `"busy"` while a job runs.
    """
    paragraphs = "".join(f"<p>{html.escape(text)}</p>" for text in told)
    entries = "".join(f"<li>{html.escape(text)}</li>" for text in lines)
    role = "alert" if kind == "bad" else "status"
    return f'<div class="status {kind}" role="{role}">{paragraphs}{f"<ul>{entries}</ul>" if entries else ""}</div>'


def trouble(error: FaceAnonError | RefusedError, said: dict[str, str]) -> str:
    """What a line says of an error."""
    text = said[error.key].format(*error.values) if isinstance(error, RefusedError) else unusable(error, said)
    return message([text], "bad")
