"""Several photos at a time."""

from __future__ import annotations

from typing import Any

import gradio as gr

from .endpoints import Jobs, said_to, showing
from .painter import in_turn
from .settings import Settings
from .status import message, status_line

Changes = dict[Any, Any]  # values by the field that shows them


class BatchTab:
    """The fields, and what answers each click on them.

    Args:
        jobs ([`Jobs`]):
            Replace the faces.
        text (`gradio.I18n`):
            The labels.
        settings ([`Settings`]):
            Those of the page.
    """

    def __init__(self, jobs: Jobs, text: gr.I18n, settings: Settings) -> None:
        self.jobs, self.settings = jobs, settings
        self.files = gr.File(label=text("files"), file_count="multiple", type="filepath", height=180, elem_id="files")
        gr.Markdown(text("files_limits"), elem_classes="notice")
        with gr.Row():
            self.start = gr.Button(text("anonymize"), variant="primary", elem_id="start")
            self.stop = gr.Button(text("cancel"), variant="stop", visible=False, elem_id="stop")
        self.status = status_line("batch-status")
        self.archive = gr.DownloadButton(
            text("download"),  # type: ignore[arg-type]
            variant="primary", visible=False, elem_id="archive",
        )  # fmt: skip
        self.results = gr.Gallery(
            label=text("results"), columns=3, height="auto", format="jpeg", buttons=["fullscreen"],
            interactive=False, visible=False, elem_id="results",
        )  # fmt: skip

    def wire(self, limit: float, **one: Any) -> None:
        """Ties the fields to what answers them.

        Args:
            limit (`float`):
                Seconds that a job may run.
            one (*optional*):
                Arguments of the events that take turns.
        """
        buttons, results = [self.start, self.stop, self.status], [self.archive, self.results]
        asked = [self.files, self.settings.seed, self.settings.threshold, *self.settings.options.values()]
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        self.files.change(self._sent, None, [self.start, self.status, *results], **quiet)
        running = self.start.click(self._begin, None, [*buttons, *results], **quiet).then(
            in_turn(limit)(self._run), asked, [self.start, self.status, *results], api_visibility="private",
            show_progress_on=self.files, **one,
        )  # fmt: skip
        running.then(self._end, None, [self.start, self.stop], **quiet)
        self.stop.click(self._cancel, None, buttons, cancels=running, **quiet)

    def _sent(self) -> Changes:
        """Other files: what was done for those before goes."""
        gone = gr.update(visible=False)
        return {self.start: gr.update(variant="primary"), self.status: "", self.archive: gone, self.results: gone}

    def _begin(self, request: gr.Request) -> Changes:
        gone = gr.update(visible=False)
        return {
            self.start: gone,
            self.stop: gr.update(visible=True),
            self.status: message([said_to(request)["working"]], "busy"),
            self.archive: gone,
            self.results: gone,
        }

    def _run(
        self, files: list[str] | None, seed: float | None, threshold: float, request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        *values: Any,
    ) -> Changes:  # fmt: skip
        said = said_to(request)
        if not files:
            return {self.status: message([said["choose_photo"]], "bad")}
        options = dict(zip(self.settings.options, values, strict=True))
        batch = self.jobs.replace_photos(
            files, seed or 0, threshold, options, said, showing(progress, said, len(files))
        )
        told = said["batch_done"].format(batch.done, len(files))
        return {
            self.start: gr.update(variant="secondary" if batch.done else "primary"),
            self.status: message([told], "good" if batch.done == len(files) else "warning", batch.lines),
            self.archive: gr.update(value=str(batch.archive), visible=batch.done > 0),
            self.results: gr.update(value=batch.pictures, visible=bool(batch.pictures)),
        }

    def _end(self) -> Changes:
        return {self.start: gr.update(visible=True), self.stop: gr.update(visible=False)}

    def _cancel(self, request: gr.Request) -> Changes:
        return {**self._end(), self.status: message([said_to(request)["cancelled"]], "warning")}
