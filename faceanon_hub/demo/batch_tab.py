"""Several photos at a time."""

from typing import Any

import gradio as gr

from ..errors import FaceAnonError
from .batch import Batch
from .endpoints import PHOTO_LIMIT, Jobs, said_to, showing, written
from .intake import area, position
from .painter import StoppedError, in_turn
from .photo_tab import VIEWER, VIEWER_SCRIPT
from .session import Session
from .settings import Settings
from .status import message, status_line, trouble

Changes = dict[Any, Any]  # values by the field that shows them


class BatchTab:
    """The fields, and what answers each click on them. A batch goes after `lifetime` seconds."""

    def __init__(self, jobs: Jobs, text: gr.I18n, settings: Settings, lifetime: float) -> None:
        self.jobs, self.settings = jobs, settings
        self.batch = gr.State(None, time_to_live=lifetime, delete_callback=lambda b: b.delete() if b else None)
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
        self.viewer = gr.HTML(
            None, html_template=VIEWER, js_on_load=VIEWER_SCRIPT, apply_default_css=False, elem_id="look"
        )
        self.results = gr.Gallery(
            label=text("results"), columns=3, height="auto", format="jpeg", buttons=[], allow_preview=False,
            interactive=False, visible=False, elem_id="results",
        )  # fmt: skip

    def wire(self, limit: float, **one: Any) -> None:
        """Connects the fields to handlers. Jobs run for `limit` seconds at most; `one` makes events take turns."""
        buttons, results = [self.start, self.stop, self.status], [self.archive, self.results, self.viewer]
        asked = [self.files, self.settings.seed, self.settings.threshold, *self.settings.options.values()]
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        shown = [self.start, self.status, *results]
        self.files.change(self._sent, self.batch, [self.batch, *shown], **quiet)
        running = self.start.click(self._begin, self.batch, [self.batch, *buttons, *results], **quiet).then(
            in_turn(limit)(self._run), [self.batch, *asked], shown, api_visibility="private",
            show_progress_on=self.files, **one,
        )  # fmt: skip
        running.then(self._end, self.batch, [self.stop, *shown], **quiet)
        self.stop.click(self._end, self.batch, [self.stop, *shown], cancels=running, **quiet)
        for event, answer in (
            (self.results.select, self._open), (self.viewer.input, self._hide), (self.viewer.clear, self._uncover),
        ):  # fmt: skip
            event(
                in_turn(PHOTO_LIMIT)(answer), self.batch, shown, api_visibility="private",
                show_progress_on=self.results if answer == self._open else self.viewer,
                trigger_mode="multiple" if answer == self._hide else "once", **one,
            )  # fmt: skip

    def _nothing(self) -> Changes:
        gone = gr.update(visible=False)
        return {self.archive: gone, self.results: gone, self.viewer: None}

    def _sent(self, batch: Batch | None) -> Changes:
        """Other files: what was done for those before goes."""
        if batch is not None:
            batch.delete()
        return {self.batch: None, self.start: gr.update(variant="primary"), self.status: "", **self._nothing()}

    def _begin(self, batch: Batch | None, request: gr.Request) -> Changes:
        if batch is not None:
            batch.delete()
        return {
            self.batch: Batch(self.jobs.folder),
            self.start: gr.update(visible=False),
            self.stop: gr.update(visible=True),
            self.status: message([said_to(request)["working"]], "busy"),
            **self._nothing(),
        }

    def _run(
        self, batch: Batch, files: list[str] | None, seed: float | None, threshold: float, request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        *values: Any,
    ) -> Changes:  # fmt: skip
        said = said_to(request)
        if not files:
            batch.closed = True
            return {self.status: message([said["choose_photo"]], "bad")}
        options = dict(zip(self.settings.options, values, strict=True))
        try:
            self.jobs.replace_photos(
                batch, files, seed or 0, threshold, options, said, showing(progress, said, len(files))
            )
        except StoppedError:  # it took too long
            batch.cancelled = True
        return self._shown(batch, said)

    def _shown(self, batch: Batch, said: dict[str, str]) -> Changes:
        """What is done, and nothing more will be."""
        batch.closed, done = True, batch.done
        if batch.cancelled:
            first = said["batch_cancelled"].format(done, batch.total) if batch.items else said["cancelled"]
        else:
            first = said["batch_done"].format(done, batch.total)
        pictures = [(item.picture, item.caption) for item in batch.shown]
        return {
            self.start: gr.update(variant="secondary" if done else "primary"),
            self.status: message(
                [first, *([said["batch_next"]] if pictures else [])],
                "good" if done == batch.total else "warning",
                [item.caption for item in batch.items],
            ),
            self.archive: gr.update(value=str(batch.pack()) if done else None, visible=done > 0),
            self.results: gr.update(value=pictures, visible=bool(pictures)),
        }

    def _end(self, batch: Batch | None, request: gr.Request) -> Changes:
        """The run is over; where it was given up, what was done by then is shown."""
        changes: Changes = {self.start: gr.update(visible=True), self.stop: gr.update(visible=False)}
        if batch is None or batch.closed:
            return changes
        batch.cancelled = True
        shown = self._shown(batch, said_to(request))
        return {**changes, **shown, self.start: gr.update(**shown[self.start], visible=True)}

    def _open(self, batch: Batch | None, event: gr.SelectData, request: gr.Request) -> Changes:
        """A result was clicked: it is shown large, and places can be hidden in it."""
        said = said_to(request)
        if batch is None or not batch.closed:
            return {self.viewer: None}
        item = batch.shown[position(event, len(batch.shown))]
        try:
            session = Session.opened(
                self.jobs.pipe, item.file, self.jobs.folder, batch.seed, batch.threshold, batch.options, item.hide
            )
        except FaceAnonError as error:
            return {self.viewer: None, self.status: trouble(error, said)}
        batch.open(item, session)
        return {self.viewer: self._view(batch, said)}

    def _hide(self, batch: Batch | None, event: gr.SelectData, request: gr.Request) -> Changes:
        """A rectangle was drawn."""
        if batch is None or batch.opened is None or event.value != batch.opened[1].token:
            return {self.viewer: gr.skip()}
        batch.opened[1].hide(area(event))
        return self._renewed(batch, said_to(request))

    def _uncover(self, batch: Batch | None, event: gr.SelectData, request: gr.Request) -> Changes:
        """A rectangle was taken away."""
        if batch is None or batch.opened is None or event.value != batch.opened[1].faces_token:
            return {self.viewer: gr.skip()}
        session = batch.opened[1]
        session.uncover(position(event, len(session.editor.zones)))
        return self._renewed(batch, said_to(request))

    def _renewed(self, batch: Batch, said: dict[str, str]) -> Changes:
        """The photo that was changed, and an archive with it."""
        assert batch.opened is not None
        item, session = batch.opened
        session.render(**batch.options)
        item.hide = list(session.editor.zones)
        batch.forget(item)
        path = written(session.result, self.jobs.folder)
        self.jobs.finish(item, batch.items.index(item), path, session.editor.faces, session.result, said)
        try:
            return {**self._shown(batch, said), self.viewer: self._view(batch, said)}
        except OSError:  # an hour went by
            return {**self._sent(batch), self.status: message([said["expired"]], "bad")}

    def _view(self, batch: Batch, said: dict[str, str]) -> dict[str, Any]:
        assert batch.opened is not None
        item, session = batch.opened
        return session.view(said, said["hint_batch"].format(item.name))
