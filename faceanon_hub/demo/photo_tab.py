"""One photo: the result, seen whole, and what can be done to each of its faces."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import PIL.Image

from ..editor import PhotoEditor
from ..errors import FaceAnonError
from ..faces import FaceStatus
from ..io.photos import write_photo
from ..pipeline import FaceAnonPipeline
from . import panel, retention
from .endpoints import PHOTO_LIMIT, said_to
from .intake import area, position
from .painter import in_turn
from .session import VARIANTS, Session, described
from .settings import Settings
from .status import message, status_line, trouble
from .words import advice, summary

HERE = Path(__file__).parent
VIEWER, VIEWER_SCRIPT, STRIP_SCRIPT = (
    (HERE / name).read_text("utf-8") for name in ("viewer.html", "viewer.js", "strip.js")
)
STRIP = '<div class="strip"></div>'
Changes = dict[Any, Any]  # values by the field that shows them; the other fields stay as they are


class PhotoTab:
    """The fields, and what answers each click on them. A session goes after `lifetime` seconds."""

    def __init__(
        self, pipe: FaceAnonPipeline, folder: Path, text: gr.I18n, settings: Settings, samples: Sequence[Path],
        lifetime: float,
    ) -> None:  # fmt: skip
        self.pipe, self.folder, self.settings, self.examples = pipe, folder, settings, samples
        self.session = gr.State(None, time_to_live=lifetime, delete_callback=lambda s: s.delete() if s else None)
        self.opened = gr.State(())  # names of the boxes that are open
        self.picked = gr.Textbox("", visible=False)  # the face that is chosen, and its photo: see `Session.pick`
        self.photo = gr.Image(
            label=text("photo"), type="filepath", sources=["upload", "webcam", "clipboard"], height=300,
            buttons=["fullscreen"], elem_id="photo",
        )  # fmt: skip
        # The file as it came: our own reader opens it, with clear errors.
        self.photo.preprocess = lambda payload: None if payload is None else payload.path  # type: ignore
        self.viewer = gr.HTML(
            None, html_template=VIEWER, js_on_load=VIEWER_SCRIPT, apply_default_css=False, elem_id="result"
        )
        self.status = status_line("status")
        with gr.Column(elem_id="begin") as self.begin:
            gr.Markdown(text("photo_limits"), elem_classes="notice")
            self.samples = gr.Dataset(
                components=[self.photo], samples=[[str(file)] for file in samples], type="index",
                label=text("examples"), elem_id="examples",
            )  # fmt: skip
        with gr.Row(visible=False, equal_height=True) as self.actions:
            self.download = gr.DownloadButton(
                text("download"),  # type: ignore[arg-type]
                variant="primary", interactive=False, min_width=90, elem_id="download",
            )  # fmt: skip
            self.dice = gr.Button(text("dice"), min_width=90, elem_id="dice")
            self.another = gr.Button(text("another"), min_width=90, elem_id="another")
        with gr.Column(visible=False, elem_id="face") as self.face:
            self.title = gr.Markdown("", elem_id="chosen")
            self.keep = gr.Checkbox(False, label=text("keep"), info=text("keep_info"), elem_id="keep")
            with gr.Row():
                self.renew = gr.Button(text("renew"), min_width=120, elem_id="renew")
                self.suggest = gr.Button(text("variants"), min_width=120, elem_id="variants")
            self.several = gr.Gallery(
                label=text("variants_label"), columns=VARIANTS, height="auto", allow_preview=False, format="png",
                buttons=[], interactive=False, visible=False, elem_id="several",
            )  # fmt: skip
        self.strip = gr.HTML(
            None, html_template=STRIP, js_on_load=STRIP_SCRIPT, apply_default_css=False, elem_id="faces"
        )
        with gr.Accordion(text("kept"), open=False, visible=False, elem_id="kept") as self.kept:
            self.described = gr.Markdown("")
        with gr.Accordion(text("stages"), open=False, visible=False, elem_id="stages") as self.stages:
            self.pictures = gr.Gallery(
                show_label=False, columns=4, allow_preview=False, format="png", buttons=[], interactive=False
            )

        self.same: Changes = {self.picked: gr.skip()}  # nothing changes

    def wire(self, **one: Any) -> None:
        """Connects the fields to handlers. The event arguments `one` make events take turns."""
        settings, values = self.settings, list(self.settings.options.values())
        outputs = [
            self.session, self.picked, self.photo, self.viewer, self.status, self.begin, self.actions, self.download,
            self.dice, self.strip, self.face, self.title, self.keep, self.several, self.kept, self.stages,
            settings.seed,
        ]  # fmt: skip
        late = [self.download, self.described, self.pictures, self.opened]
        mine = [self.session, self.picked]

        def on(event: Any, answer: Callable[..., Changes], inputs: list[Any], busy: Any = None, **more: Any) -> None:
            event(
                in_turn(PHOTO_LIMIT)(answer), [*inputs, *values], outputs, api_visibility="private",
                show_progress_on=busy or self.viewer, **one, **more,
            ).success(
                self._finish, [self.session, self.opened], late, api_visibility="private", concurrency_id="finish",
                show_progress="hidden",
            )  # fmt: skip

        self.samples.click(
            lambda number: str(self.examples[number]), self.samples, self.photo, api_visibility="private",
            show_progress="hidden",
        )  # fmt: skip
        on(
            self.photo.change, self._open, [self.session, self.photo, settings.seed, settings.threshold], self.photo
        )  # fmt: skip
        for event in (settings.threshold.release, settings.tiny.input):
            on(event, self._search, [self.session, settings.threshold])
        for event in (settings.seed.submit, settings.seed.blur):
            on(event, self._deal, [self.session, settings.seed])
        on(self.dice.click, self._roll, [self.session])
        for slider in settings.drawing:
            on(slider.change, self._show, [self.session], trigger_mode="always_last")
        for choice in settings.choosing:
            on(choice.input, self._show, [self.session])
        on(self.keep.input, self._switch, [*mine, self.keep])
        on(self.renew.click, self._renew, mine)
        on(self.suggest.click, self._suggest, mine)
        on(self.several.select, self._take, mine)
        on(self.viewer.input, self._hide, [self.session], trigger_mode="multiple")  # none is lost while one is at work
        on(self.viewer.submit, self._look, [self.session], trigger_mode="multiple")
        on(self.viewer.clear, self._uncover, [self.session])
        chosen = [self.picked, self.face, self.title, self.keep, self.several, self.viewer, self.strip]
        for event in (self.viewer.select, self.strip.select):
            event(self._choose, self.session, chosen, api_visibility="private", show_progress="hidden")
        self.another.click(self._leave, self.session, outputs, api_visibility="private", show_progress="hidden")
        for name, box in (("kept", self.kept), ("stages", self.stages)):
            for event, is_open in ((box.expand, True), (box.collapse, False)):
                event(
                    self._turn(name, is_open), [self.session, self.opened], late, api_visibility="private",
                    concurrency_id="finish",
                )  # fmt: skip

    def _open(
        self, session: Session | None, photo: str | None, seed: float | None, threshold: float, request: gr.Request,
        *values: Any,
    ) -> Changes:  # fmt: skip
        """A photo was sent: everything of the one before goes."""
        if photo is None:  # it was taken away
            return self.same
        said, options = said_to(request), self._asked(values)
        try:
            opened = Session.opened(self.pipe, photo, self.folder, int(seed or 0), threshold, options)
        except FaceAnonError as error:
            return {**self._leave(session), self.status: trouble(error, said)}
        if session is not None:
            session.delete()
        return self._shown(opened, said)

    def _search(self, session: Session | None, threshold: float, request: gr.Request, *values: Any) -> Changes:
        """Faces are searched again, otherwise than before."""
        if session is None:
            return self.same
        session.search(threshold, self._asked(values)["hide_small"])
        return self._show(session, request, *values)

    def _leave(self, session: Session | None) -> Changes:
        """The page as it was before a photo was sent."""
        if session is not None:
            session.delete()
        gone = gr.update(visible=False)
        return {
            self.session: None,
            self.picked: "",
            self.photo: gr.update(value=None, visible=True),
            self.viewer: None,
            self.status: "",
            self.begin: gr.update(visible=True),
            self.actions: gone,
            self.download: gr.update(value=None, interactive=False),
            self.strip: None,
            self.face: gone,
            self.several: gr.update(value=[], visible=False),
            self.kept: gr.update(visible=False, open=False),
            self.stages: gr.update(visible=False, open=False),
        }

    def _expired(self, request: gr.Request) -> Changes:
        """The session went before the page did."""
        return {**self._leave(None), self.status: message([said_to(request)["expired"]], "bad")}

    def _show(self, session: Session | None, request: gr.Request, *values: Any) -> Changes:
        """Renders the photo anew."""
        if session is None:
            return self.same
        session.render(**self._asked(values))
        return self._shown(session, said_to(request))

    def _deal(self, session: Session | None, seed: float | None, request: gr.Request, *values: Any) -> Changes:
        """All faces get other identities."""
        if session is None or int(seed or 0) == session.seed:
            return self.same
        session.deal(int(seed or 0))
        return self._show(session, request, *values)

    def _roll(self, session: Session | None, request: gr.Request, *values: Any) -> Changes:
        seed = secrets.randbelow(2**31)
        if session is None:
            return self._expired(request)
        return {self.settings.seed: seed, **self._deal(session, seed, request, *values)}

    def _switch(self, session: Session | None, picked: str, keep: bool, request: gr.Request, *values: Any) -> Changes:
        """A face is kept, or no longer is."""
        if session is None:
            return self._expired(request)
        if (number := session.picked(picked)) is None:
            return self.same
        session.editor.keep(number, keep)
        return self._show(session, request, *values)

    def _renew(self, session: Session | None, picked: str, request: gr.Request, *values: Any) -> Changes:
        """A face gets another identity."""
        if session is None:
            return self._expired(request)
        if (number := session.picked(picked)) is None:
            return self.same
        session.renew(number)
        return self._show(session, request, *values)

    def _suggest(self, session: Session | None, picked: str, request: gr.Request, *values: Any) -> Changes:
        """Several other identities of a face are shown."""
        if session is None:
            return self._expired(request)
        if (number := session.picked(picked)) is None:
            return self.same
        pictures = session.suggest(number, **self._asked(values))
        changes = self._show(session, request, *values)
        if session.deleted or session.chosen != number:  # meanwhile
            return changes
        return {**changes, self.several: gr.update(value=pictures, visible=True)}

    def _take(
        self, session: Session | None, picked: str, event: gr.SelectData, request: gr.Request, *values: Any
    ) -> Changes:
        """A face gets the identity that was clicked."""
        if session is None or session.variants is None or session.picked(picked) != session.variants[0]:
            return self.same
        session.take(position(event, VARIANTS))
        return self._show(session, request, *values)

    def _hide(self, session: Session | None, event: gr.SelectData, request: gr.Request, *values: Any) -> Changes:
        """A rectangle was drawn."""
        if session is None:
            return self._expired(request)
        if event.value != session.token:
            return self.same
        session.hide(area(event))
        return self._show(session, request, *values)

    def _look(self, session: Session | None, event: gr.SelectData, request: gr.Request, *values: Any) -> Changes:
        """A rectangle was drawn round a face that was missed."""
        if session is None:
            return self._expired(request)
        if event.value != session.token:
            return self.same
        found, said = session.look(area(event)), said_to(request)
        session.render(**self._asked(values))
        number = session.chosen
        new = said["look_none"] if not found or number is None else said["look_found"].format(number + 1)
        return self._shown(session, said, new)

    def _uncover(self, session: Session | None, event: gr.SelectData, request: gr.Request, *values: Any) -> Changes:
        """A rectangle was taken away."""
        if session is None:
            return self._expired(request)
        if event.value != session.faces_token:
            return self.same
        session.uncover(position(event, len(session.editor.zones)))
        return self._show(session, request, *values)

    def _choose(self, session: Session | None, event: gr.SelectData, request: gr.Request) -> Changes:
        """A face was clicked."""
        if session is None or event.value != session.faces_token:
            return self.same
        session.chosen, said = position(event, len(session.editor.faces)), said_to(request)
        view = session.view(said)
        return {self.viewer: view, self.strip: view, **self._chosen(session, said)}

    async def _finish(self, session: Session | None, opened: tuple[str, ...], request: gr.Request) -> Changes:
        """What can wait until the picture is there: the file in full size, and what the open boxes tell."""
        if session is None or session.result is None:
            return gr.skip()
        rendering = session.rendering
        kind = "png" if session.result.mode in ("LA", "RGBA") else "jpg"
        place = retention.place(self.folder, f"anonymized.{kind}")
        file = str(await asyncio.to_thread(write_photo, session.result, place))
        told = await in_turn(PHOTO_LIMIT)(self._told)(session, opened, said_to(request))
        if session.deleted or session.rendering != rendering:  # another one is shown, and finishes itself
            return gr.skip()
        return {self.download: gr.update(value=file, interactive=True), **told}

    def _turn(self, name: str, is_open: bool) -> Callable[..., Any]:
        async def turn(session: Session | None, opened: tuple[str, ...], request: gr.Request) -> Changes:
            """A box was opened, or closed."""
            others = tuple(box for box in opened if box != name)
            if session is None or not is_open:
                return {self.opened: others}
            told = await in_turn(PHOTO_LIMIT)(self._told)(session, (name,), said_to(request))
            if session.deleted:
                return {self.opened: others}
            return {self.opened: (*others, name), **told}

        return turn

    def _asked(self, values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self.settings.options, values, strict=True))

    def _shown(self, session: Session, said: dict[str, str], new: str = "") -> Changes:
        """The last rendering, and what was done; first what is new."""
        if session.deleted:  # meanwhile
            return self.same
        view, faces, zones = session.view(said), session.editor.faces, len(session.editor.zones)
        told = [*([new] if new else []), summary(faces, said, zones), *advice(faces, said, zones)]
        replaced = bool(faces or zones) and all(face.status is FaceStatus.ANONYMIZED for face in faces)
        gone = gr.update(visible=False)
        return {
            self.session: session,
            self.photo: gone,
            self.viewer: view,
            self.status: message(told, "good" if replaced else "warning"),
            self.begin: gone,
            self.actions: gr.update(visible=True),
            self.download: gr.update(value=None, interactive=False, visible=bool(faces or zones)),
            self.dice: gr.update(visible=bool(faces)),
            self.strip: view,
            self.kept: gr.update(visible=bool(faces)),
            self.stages: gr.update(visible=bool(faces)),
            **self._chosen(session, said),
        }

    def _chosen(self, session: Session, said: dict[str, str]) -> Changes:
        """What can be done to the face that is chosen."""
        none, number = gr.update(value=[], visible=False), session.chosen
        if number is None:
            return {self.picked: "", self.face: gr.update(visible=False), self.several: none}
        face = session.editor.faces[number]
        suggested = session.variants is not None and session.variants[0] == number
        title = said["face_of"].format(number + 1, len(session.editor.faces))
        return {
            self.picked: session.pick(number),
            self.face: gr.update(visible=True),
            self.title: f"**{title}**: {described(face, said)}",
            self.keep: number in session.editor.kept,
            **({} if suggested else {self.several: none}),
        }

    def _told(self, session: Session, opened: Sequence[str], said: dict[str, str]) -> Changes:
        """What the boxes tell."""
        told: Changes = {}
        if "kept" in opened:
            told[self.described] = panel.describe(session.editor, said)
        if "stages" in opened:
            told[self.pictures] = stages(session.editor, said)
        return told


def stages(editor: PhotoEditor, said: dict[str, str]) -> list[tuple[PIL.Image.Image, str]]:
    """The faces on their way through the last rendering."""
    return [
        (PIL.Image.fromarray(picture), f"{number + 1}: {said[f'stage_{name}']}")
        for number in range(len(editor.faces))
        for name, picture in editor.stages(number).items()
    ]
