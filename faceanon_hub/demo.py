"""The web demo: a photo in, faces of nobody in it, and every choice at hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np
import PIL.Image
import torch
from starlette.middleware import Middleware

from . import panel, retention
from .alignment import similarity, warp_in
from .container import Frame, VideoReader
from .crowds import crowd_note
from .editor import PhotoEditor
from .errors import FaceAnonError, MissingDependencyError, cause_of
from .faces import Face, FaceStatus, obfuscated
from .hub import DEFAULT_CHECKPOINT
from .intake import MAX_BYTES, Gate, Page, RefusedError, position
from .io import write_photo
from .options import ATTRIBUTES
from .painter import in_turn, painting, stop_if_asked
from .pipeline import FaceAnonPipeline
from .preview import draw_faces
from .translations import TRANSLATIONS, words

HOUR = 3600
SHOWN = 1600  # longest side of what is sent to the page; the download has all pixels
MAX_SECONDS = 60  # of a video: the labels say so
PHOTO_LIMIT, BATCH_LIMIT = 5 * 60, 60 * 60  # seconds that a job may run: a photo; several, or a video
LATEST = 24 * HOUR  # of a video's start and end
SEEDS = 2**32
QUEUE = 200  # jobs that wait, of everybody
VARIANTS = 4
THUMBNAIL = 192
CSS = ".notice {font-size: .9em; opacity: .85} footer {display: none !important}"


# Controls of the page, in their order, and the options that they set.
CONTROLS = {
    "light": "lighting_strength",
    "color": "color_strength",
    "truncation": "truncation",
    "fallback": "fallback",
    "margin": "mask_margin",
    "privacy": "privacy",
    "attributes": "attributes",
    "glasses": "glasses",
    "blur": "context_blur",
    "tiny": "hide_small",
}


@dataclass
class Session:
    """What one visitor works on. On disk lie only the pictures that are shown, which go with the session."""

    editor: PhotoEditor
    folder: Path
    chosen: int | None = None
    variants: list[int] = field(default_factory=list)  # seeds of those that are shown
    result: PIL.Image.Image | None = None
    _framed: tuple[list[FaceStatus], Path] | None = None
    _shown: list[Path] = field(default_factory=list)

    @cached_property
    def _before(self) -> PIL.Image.Image:
        return _small(self.editor.photo.pixels)

    def pictures(self) -> tuple[str, str]:
        """Files of the original, its faces framed, and of the last rendering, both as large as the page shows them."""
        status = [face.status for face in self.editor.faces]
        if self._framed is None or self._framed[0] != status:  # else the page has it already
            scale = self._before.width / self.editor.photo.pixels.shape[1]
            faces = [replace(face, box=face.box * scale) for face in self.editor.faces]
            self._framed = status, self._save(draw_faces(self._before, faces))
        after = self._save(_small(self.editor.pixels))
        # The page may still be loading those of the rendering before.
        self._delete([file for file in self._shown[:-4] if file != self._framed[1]])
        return str(self._framed[1]), str(after)

    def delete(self) -> None:
        """Removes the pictures."""
        self._delete(list(self._shown))

    def _save(self, image: PIL.Image.Image) -> Path:
        self._shown.append(write_photo(image, retention.place(self.folder, "face.jpg"), quality=90))
        return self._shown[-1]

    def _delete(self, files: list[Path]) -> None:
        for file in files:
            shutil.rmtree(file.parent, ignore_errors=True)
            self._shown.remove(file)


def build(pipe: FaceAnonPipeline, folder: Path, lifetime: float = HOUR) -> tuple[Page, gr.I18n]:
    """Builds the page.

    Args:
        pipe ([`FaceAnonPipeline`]):
            Paints the faces; one visitor at a time, the others wait in the queue.
        folder (`Path`):
            Where files lie, see [`retention.private_folder`].
        lifetime (`float`, *optional*, defaults to `HOUR`):
            Seconds after which files and sessions go.

    Returns:
        `tuple[Page, gradio.I18n]`: the page and its translations, both for `launch`.
    """
    text = gr.I18n(**TRANSLATIONS)

    def open_photo(
        photo: str | None, session: Session | None, seed: float, threshold: float, request: gr.Request, *options: Any
    ) -> Any:
        if session is not None:
            session.delete()
        if photo is None:
            return [None, None, gr.DownloadButton(interactive=False)]
        said = _said(request)
        with _told(said):
            editor = _edited(pipe, photo, seed, threshold, options)
        _announce(editor.faces, said)
        return show(Session(editor, folder), *options)

    def show(session: Session | None, *options: Any) -> Any:
        if session is None:
            return [None, None, gr.DownloadButton(interactive=False)]
        session.result = session.editor.render(**_asked(options))
        return [session, session.pictures(), gr.DownloadButton(interactive=False)]

    async def finish(session: Session | None, tab: str, request: gr.Request) -> Any:
        """What can wait until the picture is there: the faces, the file in full size, what the open tab tells."""
        if session is None or session.result is None:
            return [[], gr.DownloadButton(value=None, interactive=False), "", []]
        kind = "png" if session.result.mode in ("LA", "RGBA") else "jpg"
        place, said = retention.place(folder, f"anonymized.{kind}"), _said(request)
        file = str(await asyncio.to_thread(write_photo, session.result, place))
        faces, *open_tab = await in_turn(PHOTO_LIMIT)(
            lambda: [_gallery(session.editor, said), *_details(session.editor, tab, said)]
        )()
        return [faces, gr.DownloadButton(value=file, interactive=True), *open_tab]

    def details(tab: str) -> Callable[..., Any]:
        async def opened(session: Session | None, request: gr.Request) -> Any:
            if session is None:
                return [tab, "", []]
            return [tab, *await in_turn(PHOTO_LIMIT)(_details)(session.editor, tab, _said(request))]

        return opened

    def choose(session: Session | None, event: gr.SelectData) -> Any:
        if session is None:
            return session, ""
        session.chosen = position(event, len(session.editor.faces))
        return session, f"**{session.chosen}**"

    def with_chosen(session: Session | None, request: gr.Request) -> tuple[Session, int] | None:
        """The face that is chosen, or the only one. None where none is, which is said: an error covers the result."""
        if session is not None and (session.chosen is not None or len(session.editor.faces) == 1):
            return session, session.chosen or 0
        gr.Warning(_said(request)["choose_face"])
        return None

    def keep(session: Session | None, request: gr.Request, *options: Any) -> Any:
        if (found := with_chosen(session, request)) is None:
            return gr.skip()
        session, number = found
        session.editor.keep(number)
        return show(session, *options)

    def anonymize_again(session: Session | None, request: gr.Request, *options: Any) -> Any:
        if (found := with_chosen(session, request)) is None:
            return gr.skip()
        session, number = found
        session.editor.keep(number, False)
        return show(session, *options)

    def renew(session: Session | None, request: gr.Request, *options: Any) -> Any:
        if (found := with_chosen(session, request)) is None:
            return gr.skip()
        session, number = found
        session.editor.keep(number, False)
        session.editor.faces[number].seed = secrets.randbelow(2**31)
        return show(session, *options)

    def variants(session: Session | None, request: gr.Request, *options: Any) -> Any:
        if (found := with_chosen(session, request)) is None:
            return gr.skip()
        session, number = found
        session.editor.keep(number, False)
        face, shown = session.editor.faces[number], []
        before = face.seed
        for _ in range(VARIANTS):
            face.seed = secrets.randbelow(2**31)
            session.editor.render(**_asked(options))
            shown.append((_around(face, session.editor.pixels), str(face.seed)))
            stop_if_asked()
        face.seed, session.variants = before, [int(seed) for _, seed in shown]
        return [shown, *show(session, *options)]

    def take(session: Session | None, event: gr.SelectData, request: gr.Request, *options: Any) -> Any:
        if (found := with_chosen(session, request)) is None:
            return gr.skip()
        session, number = found
        seed = session.variants[position(event, len(session.variants))]
        session.editor.keep(number, False)
        session.editor.faces[number].seed = seed
        return show(session, *options)

    def roll(photo: str | None, session: Session | None, threshold: float, request: gr.Request, *options: Any) -> Any:
        seed = secrets.randbelow(2**31)
        return [seed, *open_photo(photo, session, seed, threshold, request, *options)]

    @in_turn(PHOTO_LIMIT)
    def anonymize(
        photo: str | None, seed: float, threshold: float, light: float, color: float, truncation: float,
        fallback: str, margin: float, privacy: float, attributes: str, glasses: str, blur: float, tiny: bool,
        request: gr.Request,
    ) -> tuple[str, dict[str, Any]]:  # fmt: skip
        """Replaces every face of a photo by a realistic face of nobody; expression, pose, light and colour stay.

        Args:
            photo: The photo.
            seed: Picks the new identities.
            threshold: Confidence from which on something is a face, 0.05 to 0.9.
            light: Strength of the transfer of light, 0 to 1.
            color: Strength of the transfer of skin colour, 0 to 1.
            truncation: 0 average faces, 1 full variety.
            fallback: blur, mosaic or solid, for a face that cannot be replaced.
            margin: Hidden rim round the face, 0 to 0.3 of its height.
            privacy: 0 expression above all, 1 far from the original's identity.
            attributes: face, surroundings or none: what apparent age and sex follow.
            glasses: original, keep or remove: whether the new face wears some.
            blur: Blur of hair, ears and neck, 0 to 0.3 of the face's height.
            tiny: Whether faces down to 6 pixels are looked for, and small ones hidden.

        Returns:
            The anonymized photo, and what was done to each face.
        """
        said = _said(request)
        if photo is None:
            raise gr.Error(said["choose_photo"])
        with _told(said):
            return _one(
                pipe, folder, said, photo, seed, threshold, light, color, truncation, fallback, margin, privacy,
                attributes, glasses, blur, tiny,
            )  # fmt: skip

    @in_turn(BATCH_LIMIT)
    def batch(
        files: list[str] | None, seed: float, threshold: float, light: float, color: float, truncation: float,
        fallback: str, margin: float, privacy: float, attributes: str, glasses: str, blur: float, tiny: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> str:  # fmt: skip
        """Replaces every face of several photos.

        Args:
            files: The photos.
            seed: Picks the new identities.
            threshold: Confidence from which on something is a face, 0.05 to 0.9.
            light: Strength of the transfer of light, 0 to 1.
            color: Strength of the transfer of skin colour, 0 to 1.
            truncation: 0 average faces, 1 full variety.
            fallback: blur, mosaic or solid, for a face that cannot be replaced.
            margin: Hidden rim round the face, 0 to 0.3 of its height.
            privacy: 0 expression above all, 1 far from the original's identity.
            attributes: face, surroundings or none: what apparent age and sex follow.
            glasses: original, keep or remove: whether the new face wears some.
            blur: Blur of hair, ears and neck, 0 to 0.3 of the face's height.
            tiny: Whether faces down to 6 pixels are looked for, and small ones hidden.

        Returns:
            An archive of the anonymized photos with a report.
        """
        said = _said(request)
        if not files:
            raise gr.Error(said["choose_photo"])
        options = light, color, truncation, fallback, margin, privacy, attributes, glasses, blur, tiny
        target, report = retention.place(folder, "anonymized.zip"), []
        with zipfile.ZipFile(target, "w") as archive:
            for number, file in enumerate(progress.tqdm(files)):
                stop_if_asked()
                try:
                    path, record = _one(pipe, folder, said, file, seed, threshold, *options)
                except FaceAnonError as error:
                    record = {"error": cause_of(error)}
                else:
                    name = f"{number:03d}-{Path(file).stem}{Path(path).suffix}"
                    archive.write(path, name)
                    shutil.rmtree(Path(path).parent)
                    record["output"] = name
                report.append({"input": Path(file).name, **record})
            archive.writestr("report.json", json.dumps(report, indent=2))
        failed = sum("error" in record for record in report)
        if failed:
            gr.Warning(said["some_failed"].format(failed, len(files)))
        return str(target)

    def span(file: str | None, start: float | None, end: float | None, said: dict[str, str]) -> tuple[float, float]:
        """The part of a video that is asked for, checked."""
        if file is None:
            raise gr.Error(said["choose_video"])
        start, limit = start or 0.0, (start or 0.0) + MAX_SECONDS
        if end and end <= start:
            raise gr.Error(said["span"])
        with _told(said):
            try:
                reader = VideoReader(file, start, end or None)
            except ValueError:  # its text has the file's name in it
                raise RefusedError("starts_late") from None
        reader.close()
        if reader.length > MAX_SECONDS:
            raise gr.Error(said["too_long"].format(MAX_SECONDS))
        return start, min(end or limit, limit)

    @in_turn(PHOTO_LIMIT)
    def preview(
        file: str | None, start: float | None, end: float | None, seed: float, threshold: float, request: gr.Request,
        *options: Any,
    ) -> np.ndarray:  # fmt: skip
        """The first frame that will be anonymized, as it comes out alone."""
        said = _said(request)
        start, end = span(file, start, end, said)
        assert file is not None
        reader = VideoReader(file, start, end)
        try:
            with _told(said):
                frame = next(event for event in reader.read([]) if isinstance(event, Frame))
        finally:
            reader.close()
        editor = _edited(pipe, frame.pixels, seed, threshold, options)
        editor.render(**_asked(options))
        _announce(editor.faces, said)
        return editor.pixels

    @in_turn(BATCH_LIMIT)
    def video(
        file: str | None, start: float | None, end: float | None, audio: bool, seed: float, threshold: float,
        light: float, color: float, truncation: float, fallback: Any, margin: float, privacy: float,
        attributes: str, glasses: str, blur: float, tiny: bool, request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[str, dict[str, Any]]:  # fmt: skip
        """Replaces every face of a video; one person stays one new person.

        Args:
            file: The video.
            start: Second at which to begin.
            end: Second at which to stop; at most 60 after the start.
            audio: Whether the sound is kept. A voice identifies, too.
            seed: Picks the new identities.
            threshold: Confidence from which on something is a face, 0.05 to 0.9.
            light: Strength of the transfer of light, 0 to 1.
            color: Strength of the transfer of skin colour, 0 to 1.
            truncation: 0 average faces, 1 full variety.
            fallback: blur, mosaic or solid, for a face that cannot be replaced.
            margin: Hidden rim round the face, 0 to 0.3 of its height.
            privacy: 0 expression above all, 1 far from the original's identity.
            attributes: face, surroundings or none: what apparent age and sex follow.
            glasses: original, keep or remove: whether the new face wears some.
            blur: Blur of hair, ears and neck, 0 to 0.3 of the face's height.
            tiny: Whether faces down to 6 pixels are looked for, and small ones hidden.

        Returns:
            The anonymized video, and what was done to each face.
        """
        said = _said(request)
        start, end = span(file, start, end, said)
        assert file is not None
        target = retention.place(folder, "anonymized.mp4")

        def on_progress(share: float) -> None:
            stop_if_asked()
            progress(share)

        with _told(said):
            report = pipe.video(
                file, target, seed=int(seed or 0), start=start, end=end, voice="keep" if audio else "drop",
                threshold=threshold,
                **_asked((light, color, truncation, fallback, margin, privacy, attributes, glasses, blur, tiny)),
                on_progress=on_progress,
            )  # fmt: skip
        if not report.tracks:
            gr.Warning(said["no_face"])
        if report.crowd:
            gr.Warning(said["crowd"])
        return str(target), report.to_dict()

    often = max(1, round(lifetime / retention.SWEEPS))
    with Page(
        folder, title="Faces of nobody", delete_cache=(often, max(1, round(lifetime) - often)), analytics_enabled=False
    ) as page:
        session = gr.State(None, time_to_live=lifetime, delete_callback=lambda s: s.delete() if s else None)
        tab = gr.State("faces")
        gr.Markdown(text("title"))
        gr.Markdown(text("notice"), elem_classes="notice")
        with gr.Tabs():
            with gr.Tab(text("photo")), gr.Row():
                with gr.Column(scale=2):
                    photo = gr.Image(
                        label=text("photo"), type="filepath", sources=["upload", "webcam", "clipboard"], height=300,
                        buttons=["fullscreen"], elem_id="photo",
                    )  # fmt: skip
                    # The file as it came: our own reader opens it, with clear errors.
                    photo.preprocess = lambda payload: None if payload is None else payload.path  # type: ignore
                    gr.Examples([[str(_example(folder))]], [photo], label=text("example"))
                    light = gr.Slider(0, 1, 1, label=text("light"), elem_id="light")
                    color = gr.Slider(0, 1, 1, label=text("color"), elem_id="color")
                    with gr.Row():
                        seed = gr.Number(
                            0, label=text("seed"), precision=0, minimum=0, maximum=SEEDS - 1, elem_id="seed"
                        )
                        dice = gr.Button(text("dice"), elem_id="dice")
                    with gr.Accordion(text("more"), open=False):
                        fallback = gr.Dropdown(["blur", "mosaic", "solid"], value="blur", label=text("fallback"))
                        threshold = gr.Slider(0.05, 0.9, pipe.detector.config.threshold, label=text("threshold"))
                        margin = gr.Slider(0, 0.3, pipe.config.mask_margin, label=text("margin"))
                        truncation = gr.Slider(0, 1, 0.6, label=text("truncation"))
                        privacy = gr.Slider(0, 1, pipe.config.privacy, label=text("privacy"))
                        attributes = gr.Dropdown(
                            list(ATTRIBUTES), value=pipe.config.attributes, label=text("attributes")
                        )
                        # "keep" is the name of another label, which Gradio would put in its place.
                        glasses = gr.Dropdown(
                            [("original", "original"), ("with", "keep"), ("without", "remove")],
                            value="original",
                            label=text("glasses"),
                        )
                        blur = gr.Slider(0, 0.3, pipe.config.context_blur, label=text("softening"))
                        tiny = gr.Checkbox(False, label=text("tiny"))
                with gr.Column(scale=3):
                    compare = gr.ImageSlider(label=text("result"), type="filepath", elem_id="result")  # type: ignore[arg-type]
                    download = gr.DownloadButton(text("download"), interactive=False, elem_id="download")  # type: ignore[arg-type]
                    with gr.Tabs():
                        with gr.Tab(text("faces")) as faces_tab:
                            gallery = gr.Gallery(
                                label=text("faces"), columns=6, height=220, fit_columns=False, allow_preview=False,
                                format="png", buttons=[], elem_id="faces",
                            )  # fmt: skip
                            with gr.Row():
                                chosen = gr.Markdown("", elem_id="chosen")
                                keep_button = gr.Button(text("keep"), elem_id="keep")
                                replace_button = gr.Button(text("replace"), elem_id="replace")
                                renew_button = gr.Button(text("renew"), elem_id="renew")
                                variants_button = gr.Button(text("variants"), elem_id="variants")
                            several = gr.Gallery(
                                label=text("variants"),
                                columns=VARIANTS,
                                height=220,
                                fit_columns=False,
                                allow_preview=False,
                                format="png",
                                buttons=[],
                                interactive=False,
                                elem_id="several",
                            )
                        with gr.Tab(text("kept")) as kept_tab:
                            told = gr.Markdown("", elem_id="kept")
                        with gr.Tab(text("stages")) as stages_tab:
                            stages = gr.Gallery(
                                label=text("stages"),
                                columns=4,
                                fit_columns=False,
                                allow_preview=False,
                                format="png",
                                buttons=[],
                                interactive=False,
                            )
            with gr.Tab(text("batch")):
                files = gr.File(label=text("photos"), file_count="multiple", type="filepath", elem_id="files")
                start = gr.Button(text("anonymize"), variant="primary", elem_id="start")
                archive = gr.File(label=text("archive"), interactive=False)
            with gr.Tab(text("clip"), visible=find_spec("av") is not None), gr.Row():
                with gr.Column():
                    clip = gr.Video(label=text("clip"), sources=["upload", "webcam"], elem_id="clip")
                    # The file as it came, not converted.
                    clip.preprocess = lambda payload: None if payload is None else payload.path
                    with gr.Row():
                        begin = gr.Number(0, label=text("start"), minimum=0, maximum=LATEST)
                        finish_at = gr.Number(None, label=text("end"), minimum=0, maximum=LATEST)
                        audio = gr.Checkbox(True, label=text("sound"))
                    with gr.Row():
                        peek = gr.Button(text("preview"), elem_id="peek")
                        film = gr.Button(text("anonymize"), variant="primary", elem_id="film")
                with gr.Column():
                    still = gr.Image(
                        label=text("preview"),
                        format="jpeg",
                        interactive=False,
                        elem_id="still",
                        buttons=["fullscreen"],
                    )
                    movie = gr.Video(show_label=False, interactive=False, elem_id="movie", buttons=["download"])
                    movie_report = gr.JSON(visible=False)
        options = [light, color, truncation, fallback, margin, privacy, attributes, glasses, blur, tiny]
        shown, rest = [session, compare, download], [gallery, download, told, stages]
        whole = [photo, session, seed, threshold, *options]
        # One network at a time; whoever waits sees the place in the queue.
        one: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network"}

        def on(event: Any, function: Any, inputs: list[Any], outputs: list[Any] = shown, **kwargs: Any) -> None:
            event(in_turn(PHOTO_LIMIT)(function), inputs, outputs, api_visibility="private", **one, **kwargs).success(
                finish, [session, tab], rest, api_visibility="private", concurrency_id="finish"
            )

        on(photo.change, open_photo, whole)
        on(seed.submit, open_photo, whole)
        on(threshold.release, open_photo, whole)
        on(tiny.input, open_photo, whole)
        on(dice.click, roll, [photo, session, threshold, *options], [seed, *shown])
        for control in (light, color, margin, truncation, privacy, blur):
            on(control.change, show, [session, *options], trigger_mode="always_last")
        for choice in (attributes, glasses, fallback):
            on(choice.input, show, [session, *options])
        for button, action in ((keep_button, keep), (replace_button, anonymize_again), (renew_button, renew)):
            on(button.click, action, [session, *options])
        on(variants_button.click, variants, [session, *options], [several, *shown])
        on(several.select, take, [session, *options])
        gallery.select(choose, session, [session, chosen], api_visibility="private")
        for name, opened in (("faces", faces_tab), ("kept", kept_tab), ("stages", stages_tab)):
            opened.select(
                details(name), session, [tab, told, stages], api_visibility="private", concurrency_id="finish"
            )
        start.click(batch, [files, seed, threshold, *options], archive, api_name="batch", **one)
        moment = [clip, begin, finish_at]
        peek.click(preview, [*moment, seed, threshold, *options], still, api_visibility="private", **one)
        film.click(video, [*moment, audio, seed, threshold, *options], [movie, movie_report], api_name="video", **one)
        # For gradio_client: the same without a page.
        with gr.Row(visible=False):
            hidden_file, hidden_report, hidden_button = gr.File(), gr.JSON(), gr.Button()
        hidden_button.click(
            anonymize, [photo, seed, threshold, *options], [hidden_file, hidden_report], api_name="anonymize", **one
        )
    page.queue(max_size=QUEUE, api_open=False)  # no way round the queue
    return page, text


def launch(
    checkpoint: str | Path | FaceAnonPipeline = DEFAULT_CHECKPOINT,
    lifetime: float = HOUR,
    mcp: bool = False,
    **kwargs: Any,
) -> tuple[gr.Blocks, str]:
    """Opens the demo and waits.

    Args:
        checkpoint (`str`, `Path` or [`FaceAnonPipeline`], *optional*, defaults to `DEFAULT_CHECKPOINT`):
            Folder or Hub id of a pipeline, or one that is loaded.
        lifetime (`float`, *optional*, defaults to `HOUR`):
            Seconds after which what visitors sent is deleted.
        mcp (`bool`, *optional*, defaults to `False`):
            Serve the endpoints to language models, too, by the Model Context Protocol.
        kwargs (*optional*):
            Those of [`~gradio.Blocks.launch`]; with `prevent_thread_lock=True` it does not wait.

    Returns:
        `tuple[gradio.Blocks, str]`: the page and its address.

    Raises:
        CheckpointError: the checkpoint cannot be loaded.
        MissingDependencyError: the extra `mcp` is not installed.
    """
    if mcp and find_spec("mcp") is None:
        raise MissingDependencyError("mcp", "faceanon-hub[mcp]")
    if isinstance(checkpoint, FaceAnonPipeline):
        pipe = checkpoint
    else:
        pipe = painting(FaceAnonPipeline.from_pretrained)(checkpoint)
        pipe.set_progress_bar_config(disable=True)
    lend_gpu(pipe)
    painting(pipe.find_faces)(_portrait())  # the first visitor does not wait for what is loaded on first use
    folder = retention.private_folder()
    if not kwargs.get("prevent_thread_lock"):  # else the process is the caller's
        retention.end_on_signals()
    # Gradio asks the environment where uploads go.
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    if mcp:  # what language models send lies there, too; it was asked for when Gradio was imported
        from gradio import mcp as served

        served.DEFAULT_TEMP_DIR = str(folder)
        logging.getLogger("mcp").setLevel(logging.CRITICAL)  # it names what it was asked for
    page, text = build(pipe, folder, lifetime)
    _, address, _ = page.launch(
        max_file_size=MAX_BYTES,
        i18n=text,
        css=CSS,
        mcp_server=mcp,
        enable_monitoring=False,
        app_kwargs={"lifespan": retention.sweeping(lifetime), "middleware": [Middleware(Gate, page=page)]},
        **kwargs,
    )
    return page, address


def _asked(values: Sequence[Any]) -> dict[str, Any]:
    """Options of a call from the values of the page's controls."""
    return dict(zip(CONTROLS.values(), values, strict=True))


def _edited(pipe: FaceAnonPipeline, photo: Any, seed: float, threshold: float, options: Sequence[Any]) -> PhotoEditor:
    hide_small = _asked(options)["hide_small"]
    return PhotoEditor(pipe, photo, seed=int(seed or 0), threshold=threshold, hide_small=hide_small)


def lend_gpu(pipe: FaceAnonPipeline) -> None:
    """Moves the network to the GPU where there is one; a ZeroGPU Space lends it to the drawing alone."""
    try:  # before anything asks for a GPU: on ZeroGPU it changes what torch answers
        from spaces import GPU  # type: ignore[attr-defined]
    except ImportError:
        GPU = None  # noqa: N806
    if torch.cuda.is_available():
        pipe.to("cuda")
    if GPU is not None:
        pipe.sample = GPU(pipe.sample)  # type: ignore[method-assign]


def _one(
    pipe: FaceAnonPipeline, folder: Path, said: dict[str, str], photo: str, seed: float, threshold: float,
    *options: Any,
) -> tuple[str, dict[str, Any]]:  # fmt: skip
    """Anonymizes a file. Returns the new file and a record of its faces."""
    result = pipe(photo, seed=int(seed or 0), threshold=threshold, **_asked(options))
    (image,), (faces,) = result.images, result.faces
    kind = "png" if image.mode in ("LA", "RGBA") else "jpg"
    target = write_photo(image, retention.place(folder, f"anonymized.{kind}"))
    _announce(faces, said)
    return str(target), {"faces": [{"number": n, **face.to_dict()} for n, face in enumerate(faces)]}


def _said(request: gr.Request) -> dict[str, str]:
    return words(request.headers.get("accept-language"))


@contextlib.contextmanager
def _told(said: dict[str, str]) -> Any:
    """Turns our errors into messages on the page."""
    try:
        yield
    except FaceAnonError as error:
        raise gr.Error(said["unusable"].format(cause_of(error))) from error


def _announce(faces: list[Face], said: dict[str, str]) -> None:
    if not faces:
        gr.Warning(said["no_face"])
    weak = [f"{_listed(numbers)} ({reason})" for reason, numbers in obfuscated(faces).items()]
    if weak:
        gr.Warning(said["weak"].format(", ".join(weak)))
    if crowd_note(faces):
        gr.Warning(said["crowd"])


def _listed(numbers: list[int]) -> str:
    """Numbers of faces, the first few of many."""
    return ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")


def _small(pixels: np.ndarray) -> PIL.Image.Image:
    """As large as the page shows it."""
    scale = min(1.0, SHOWN / max(pixels.shape))
    size = max(1, round(scale * pixels.shape[1])), max(1, round(scale * pixels.shape[0]))
    return PIL.Image.fromarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def _around(face: Face, pixels: np.ndarray) -> PIL.Image.Image:
    matrix = similarity((face.box[:2] + face.box[2:]) / 2, 1.6 * face.size, 0.0, THUMBNAIL)
    return PIL.Image.fromarray(warp_in(pixels, matrix, THUMBNAIL))


def _gallery(editor: PhotoEditor, said: dict[str, str]) -> list[tuple[PIL.Image.Image, str]]:
    return [(_around(face, editor.pixels), f"{n}: {panel.status(face, said)}") for n, face in enumerate(editor.faces)]


def _details(editor: PhotoEditor, tab: str, said: dict[str, str]) -> tuple[str, list[tuple[np.ndarray, str]]]:
    """What was kept and the stages, where their tab is open."""
    stages = [
        (picture, f"{number}: {said[f'stage_{name}']}")
        for number in range(len(editor.faces) if tab == "stages" else 0)
        for name, picture in editor.stages(number).items()
    ]
    return panel.describe(editor, said) if tab == "kept" else "", stages


def _portrait() -> np.ndarray:
    """The public-domain portrait that comes with scikit-image."""
    import skimage.data

    return skimage.data.astronaut()


def _example(folder: Path) -> Path:
    file = folder / retention.SPARED / "portrait.png"
    file.parent.mkdir(exist_ok=True)
    PIL.Image.fromarray(_portrait()).save(file)
    return file
