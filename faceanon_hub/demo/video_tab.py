"""A video."""

import math
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import FaceAnonError
from ..video.container import VideoReader
from .endpoints import MAX_SECONDS, PHOTO_LIMIT, Jobs, said_to, showing
from .intake import RefusedError, area, position
from .painter import in_turn
from .photo_tab import VIEWER, VIEWER_SCRIPT
from .session import Session
from .settings import Settings
from .status import message, status_line, trouble
from .words import summary

LATEST = 24 * 3600  # seconds, of a part's start and end
Changes = dict[Any, Any]  # values by the field that shows them


class VideoTab:
    """The fields, and what answers each click on them. A session goes after `lifetime` seconds."""

    def __init__(self, jobs: Jobs, text: gr.I18n, settings: Settings, sample: Path, lifetime: float) -> None:
        self.jobs, self.settings, self.sample = jobs, settings, sample
        # The first picture, with the places that are hidden in all of them.
        self.session = gr.State(None, time_to_live=lifetime, delete_callback=lambda s: s.delete() if s else None)
        self.clip = gr.Video(label=text("clip"), sources=["upload", "webcam"], height=300, elem_id="clip")
        # The file as it came, not converted.
        self.clip.preprocess = lambda payload: None if payload is None else payload.path
        gr.Markdown(text("clip_limits"), elem_classes="notice")
        self.samples = gr.Dataset(
            components=[self.clip], samples=[[str(sample)]], type="index", label=text("examples"), elem_id="clips"
        )
        with gr.Row():
            self.first = gr.Number(0, label=text("start"), minimum=0, maximum=LATEST, min_width=120)
            self.last = gr.Number(
                MAX_SECONDS, label=text("end"), minimum=0, maximum=LATEST, min_width=120, elem_id="end"
            )
            self.audio = gr.Checkbox(True, label=text("sound"), info=text("sound_info"), min_width=220)
        with gr.Row():
            self.start = gr.Button(text("anonymize"), variant="primary", elem_id="film")
            self.peek = gr.Button(text("preview"), elem_id="peek")
            self.stop = gr.Button(text("cancel"), variant="stop", visible=False, elem_id="stop-film")
        self.status = status_line("film-status")
        self.still = gr.HTML(
            None, html_template=VIEWER, js_on_load=VIEWER_SCRIPT, apply_default_css=False, elem_id="still"
        )
        self.movie = gr.Video(
            label=text("movie"), interactive=False, visible=False, buttons=[], height=420, elem_id="movie"
        )
        self.download = gr.DownloadButton(
            text("download"),  # type: ignore[arg-type]
            variant="primary", visible=False, elem_id="movie-file",
        )  # fmt: skip

    def wire(self, limit: float, **one: Any) -> None:
        """Connects the fields to handlers. Jobs run for `limit` seconds at most; `one` makes events take turns."""
        settings = self.settings
        buttons = [self.start, self.peek, self.stop, self.status]
        results = [self.start, self.status, self.still, self.movie, self.download]
        part = [self.clip, self.first, self.last]
        asked = [settings.seed, settings.threshold, *settings.options.values()]
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        self.samples.click(lambda number: str(self.sample), self.samples, self.clip, **quiet)
        self.clip.change(self._measure, [self.clip, self.session], [self.session, *part, *results], **quiet)
        self.peek.click(
            in_turn(PHOTO_LIMIT)(self._preview), [self.session, *part, *asked], [self.session, *results],
            api_visibility="private", show_progress_on=self.clip, **one,
        )  # fmt: skip
        for event, answer, mode in (
            (self.still.input, self._hide, "multiple"),
            (self.still.clear, self._uncover, "once"),
        ):
            event(
                in_turn(PHOTO_LIMIT)(answer), [self.session, *asked[2:]], results, api_visibility="private",
                show_progress_on=self.still, trigger_mode=mode, **one,
            )  # fmt: skip
        running = self.start.click(self._begin, None, [*buttons, *results[2:]], **quiet).then(
            in_turn(limit)(self._run), [self.session, *part, self.audio, *asked], results, api_visibility="private",
            show_progress_on=self.clip, **one,
        )  # fmt: skip
        running.then(self._end, None, buttons[:3], **quiet)
        self.stop.click(self._cancel, None, buttons, cancels=running, **quiet)

    def _nothing(self) -> Changes:
        gone = gr.update(visible=False)
        return {
            self.start: gr.update(variant="primary"),
            self.still: None,
            self.movie: gr.update(value=None, visible=False),
            self.download: gone,
        }

    def _measure(self, clip: str | None, session: Session | None, request: gr.Request) -> Changes:
        """A video was sent: of one that is too long, the first part is set. What was hidden in the one before goes."""
        if session is not None:
            session.delete()
        if clip is None:
            return {**self._nothing(), self.session: None}
        said = said_to(request)
        try:
            reader = VideoReader(clip)
        except FaceAnonError as error:
            return {**self._nothing(), self.session: None, self.clip: None, self.status: trouble(error, said)}
        reader.close()
        long = said["clip_long"].format(round(reader.length), MAX_SECONDS) if reader.length > MAX_SECONDS else ""
        return {
            **self._nothing(),
            self.session: None,
            self.first: 0,
            self.last: min(MAX_SECONDS, math.ceil(reader.length) or MAX_SECONDS),
            self.status: message([long], "warning") if long else "",
        }

    def _preview(
        self, before: Session | None, clip: str | None, first: float | None, last: float | None, seed: float | None,
        threshold: float, request: gr.Request, *values: Any,
    ) -> Changes:  # fmt: skip
        """The first frame that will be anonymized, as it comes out alone; places that were hidden before stay so."""
        said, options = said_to(request), self._asked(values)
        try:
            frame = self.jobs.first_frame(clip, first, last)
            session = Session.opened(
                self.jobs.pipe, frame, self.jobs.folder, int(seed or 0), threshold, options,
                [] if before is None else before.editor.zones,
            )  # fmt: skip
        except (FaceAnonError, RefusedError) as error:
            return {self.status: trouble(error, said)}
        if before is not None:
            before.delete()
        return {self.session: session, **self._shown(session, said)}

    def _hide(self, session: Session | None, event: gr.SelectData, request: gr.Request, *values: Any) -> Changes:
        """A rectangle was drawn."""
        if session is None or event.value != session.token:
            return {self.still: gr.skip()}
        session.hide(area(event))
        session.render(**self._asked(values))
        return self._shown(session, said_to(request))

    def _uncover(self, session: Session | None, event: gr.SelectData, request: gr.Request, *values: Any) -> Changes:
        """A rectangle was taken away."""
        if session is None or event.value != session.faces_token:
            return {self.still: gr.skip()}
        session.uncover(position(event, len(session.editor.zones)))
        session.render(**self._asked(values))
        return self._shown(session, said_to(request))

    def _shown(self, session: Session, said: dict[str, str]) -> Changes:
        """The first picture, and what was done to it."""
        if session.deleted:  # meanwhile
            return {self.still: gr.skip()}
        faces, zones = session.editor.faces, len(session.editor.zones)
        return {
            self.still: session.view(said, said["hint_clip"]),
            self.status: message([summary(faces, said, zones)], "good" if faces or zones else "warning"),
        }

    def _begin(self, request: gr.Request) -> Changes:
        gone = gr.update(visible=False)
        return {
            **self._nothing(),
            self.start: gone,
            self.peek: gone,
            self.stop: gr.update(visible=True),
            self.status: message([said_to(request)["working"]], "busy"),
        }

    def _run(
        self, session: Session | None, clip: str | None, first: float | None, last: float | None, audio: bool,
        seed: float | None, threshold: float, request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        *values: Any,
    ) -> Changes:  # fmt: skip
        said, zones = said_to(request), [] if session is None else list(session.editor.zones)
        try:
            path, report = self.jobs.replace_video(
                clip, first, last, audio, seed or 0, threshold, self._asked(values), showing(progress, said), zones
            )
        except (FaceAnonError, RefusedError) as error:
            return {self.status: trouble(error, said)}
        counts, people = report.counts, len(report.tracks)
        replaced, hidden = counts.get("anonymized", 0), counts.get("obfuscated", 0)
        done = said["video_done"].format(people, replaced, hidden, report.frames) if people else said["video_no_face"]
        if zones:
            done = f"{done if people else ''} {said['zones'].format(len(zones))}.".strip()
        told = [done, said["check"], *([said["crowd"]] if report.crowd else [])]
        return {
            self.start: gr.update(variant="secondary"),
            self.status: message(told, "good" if (people or zones) and not hidden else "warning"),
            self.still: None,
            self.movie: gr.update(value=str(path), visible=True),
            self.download: gr.update(value=str(path), visible=True),
        }

    def _end(self) -> Changes:
        seen = gr.update(visible=True)
        return {self.start: seen, self.peek: seen, self.stop: gr.update(visible=False)}

    def _cancel(self, request: gr.Request) -> Changes:
        return {**self._end(), self.status: message([said_to(request)["cancelled"]], "warning")}

    def _asked(self, values: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip(self.settings.options, values, strict=True))
