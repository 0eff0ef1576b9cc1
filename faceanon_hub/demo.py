"""The web demo: a photo in, faces of nobody in it, and every choice at hand."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import zipfile
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np
import PIL.Image

from .draft import Draft
from .errors import FaceAnonError
from .faces import Face, FaceStatus
from .hub import DEFAULT_CHECKPOINT
from .io import write_photo
from .pipeline import FaceAnonPipeline
from .preview import draw_faces
from .translations import TRANSLATIONS

HOUR = 3600
SHOWN = 1600  # longest side of what is sent to the page; the download has all pixels
MAX_FILE = "50mb"
MAX_FILES = 50  # of a batch
VARIANTS = 4
THUMBNAIL = 192
STATUS = {FaceStatus.ANONYMIZED: "new face", FaceStatus.OBFUSCATED: "hidden", FaceStatus.KEPT: "kept"}
STAGES = {
    "hidden": "What the network sees",
    "landmarks": "478 landmarks",
    "generated": "Painted",
    "corrected": "Light and colour of the original",
}
CSS = ".notice {font-size: .9em; opacity: .85} footer {display: none !important}"


@dataclass
class Session:
    """What one visitor works on: in memory, and one folder that goes when the session does."""

    draft: Draft
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="faceanon-")))
    chosen: int | None = None

    @cached_property
    def _before(self) -> PIL.Image.Image:
        return _small(self.draft.photo.with_pixels(self.draft.photo.pixels))

    def framed(self) -> PIL.Image.Image:
        """The original as it is shown, its faces framed."""
        scale = self._before.width / self.draft.photo.pixels.shape[1]
        return draw_faces(self._before, [replace(face, box=face.box * scale) for face in self.draft.faces])

    def delete(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def build(pipe: FaceAnonPipeline) -> tuple[gr.Blocks, gr.I18n]:
    """Builds the page.

    Args:
        pipe ([`FaceAnonPipeline`]):
            Paints the faces; one visitor at a time, the others wait in the queue.

    Returns:
        `tuple[gradio.Blocks, gradio.I18n]`: the page and its translations, both for `launch`.
    """
    text = gr.I18n(**TRANSLATIONS)
    example = _example()

    def open_photo(photo: str | None, session: Session | None, seed: float, threshold: float, *options: Any) -> Any:
        if session is not None:
            session.delete()
        if photo is None:
            return [None, *_nothing()]
        try:
            draft = Draft(pipe, photo, seed=int(seed or 0), threshold=threshold)
        except FaceAnonError as error:
            raise gr.Error(_cause(error)) from error
        _announce(draft.faces)
        return show(Session(draft), *options)

    def show(session: Session | None, *options: Any) -> Any:
        if session is None:
            return [None, *_nothing()]
        light, color, hint, truncation, fallback, margin = options
        result = session.draft.render(light, color, hint, truncation, fallback, margin)
        for old in session.folder.iterdir():
            old.unlink()
        file = _save(result, session.folder, "png" if result.mode in ("LA", "RGBA") else "jpg")
        return [
            session,
            (_save(session.framed(), session.folder, "jpg"), _save(_small(result), session.folder, "jpg")),
            _gallery(session.draft, result),
            _stages(session.draft),
            _told(session.draft, result),
            gr.DownloadButton(value=file, interactive=True),
        ]

    def choose(session: Session | None, event: gr.SelectData) -> Any:
        if session is None:
            return session, ""
        session.chosen = int(event.index)
        return session, f"**{session.chosen}**"

    def with_chosen(session: Session | None) -> tuple[Session, int]:
        if session is None or session.chosen is None:
            raise gr.Error("Choose a face in the gallery first.")
        return session, session.chosen

    def keep(session: Session | None, *options: Any) -> Any:
        session, number = with_chosen(session)
        session.draft.keep(number)
        return show(session, *options)

    def replace(session: Session | None, *options: Any) -> Any:
        session, number = with_chosen(session)
        session.draft.keep(number, False)
        return show(session, *options)

    def renew(session: Session | None, *options: Any) -> Any:
        session, number = with_chosen(session)
        session.draft.keep(number, False)
        session.draft.faces[number].seed = secrets.randbelow(2**31)
        return show(session, *options)

    def variants(session: Session | None, *options: Any) -> Any:
        session, number = with_chosen(session)
        light, color, hint, truncation, fallback, margin = options
        session.draft.keep(number, False)
        face, shown = session.draft.faces[number], []
        before = face.seed
        for _ in range(VARIANTS):
            face.seed = secrets.randbelow(2**31)
            result = session.draft.render(light, color, hint, truncation, fallback, margin)
            shown.append((_around(face, result), str(face.seed)))
        face.seed = before
        return [shown, *show(session, *options)]

    def take(session: Session | None, shown: list[tuple[Any, str]], event: gr.SelectData, *options: Any) -> Any:
        session, number = with_chosen(session)
        session.draft.keep(number, False)
        session.draft.faces[number].seed = int(shown[int(event.index)][1])
        return show(session, *options)

    def roll(photo: str | None, session: Session | None, threshold: float, *options: Any) -> Any:
        seed = secrets.randbelow(2**31)
        return [seed, *open_photo(photo, session, seed, threshold, *options)]

    def anonymize(
        photo: str | None, seed: float, threshold: float, light: float, color: float, hint: bool, truncation: float,
        fallback: str, margin: float,
    ) -> tuple[str, dict[str, Any]]:  # fmt: skip
        if photo is None:
            raise gr.Error("Choose a photo first.")
        folder = Path(tempfile.mkdtemp(prefix="faceanon-", dir=_cache()))
        return _one(pipe, Path(photo), folder, int(seed), threshold, light, color, hint, truncation, fallback, margin)

    def batch(
        files: list[str] | None, seed: float, threshold: float, light: float, color: float, hint: bool,
        truncation: float, fallback: str, margin: float, progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> str:  # fmt: skip
        if not files:
            raise gr.Error("Choose some photos first.")
        if len(files) > MAX_FILES:
            raise gr.Error(f"At most {MAX_FILES} photos at a time.")
        options = (int(seed), threshold, light, color, hint, truncation, fallback, margin)
        folder = Path(tempfile.mkdtemp(prefix="faceanon-", dir=_cache()))
        target, report = folder / "anonymized.zip", []
        with zipfile.ZipFile(target, "w") as archive:
            for number, file in enumerate(progress.tqdm(files)):
                try:
                    path, record = _one(pipe, Path(file), folder, *options)
                except gr.Error as error:
                    record = {"error": str(error.message)}
                else:
                    name = f"{number:03d}-{Path(file).stem}{Path(path).suffix}"
                    archive.write(path, name)
                    Path(path).unlink()
                    record["output"] = name
                report.append({"input": Path(file).name, **record})
            archive.writestr("report.json", json.dumps(report, indent=2))
        failed = sum("error" in record for record in report)
        if failed:
            gr.Warning(f"{failed} of {len(files)} files could not be read: see report.json in the archive.")
        return str(target)

    with gr.Blocks(title="Faces of nobody", delete_cache=(HOUR, HOUR), analytics_enabled=False) as page:
        session = gr.State(None, time_to_live=HOUR, delete_callback=lambda s: s.delete() if s else None)
        gr.Markdown(text("title"))
        gr.Markdown(text("notice"), elem_classes="notice")
        with gr.Tabs():
            with gr.Tab(text("photo")), gr.Row():
                with gr.Column(scale=2):
                    photo = gr.Image(
                        label=text("photo"), type="filepath", sources=["upload", "webcam", "clipboard"], height=300,
                        elem_id="photo",
                    )  # fmt: skip
                    # The file as it came: our own reader checks it, with clear errors.
                    photo.preprocess = lambda payload: None if payload is None else payload.path  # type: ignore
                    gr.Examples([[str(example)]], [photo], label=text("example"))
                    light = gr.Slider(0, 1, 1, label=text("light"), elem_id="light")
                    color = gr.Slider(0, 1, 1, label=text("color"), elem_id="color")
                    with gr.Row():
                        seed = gr.Number(0, label=text("seed"), precision=0, minimum=0, elem_id="seed")
                        dice = gr.Button(text("dice"), elem_id="dice")
                    with gr.Accordion(text("more"), open=False):
                        hint = gr.Checkbox(True, label=text("hint"))
                        fallback = gr.Dropdown(["blur", "mosaic", "solid"], value="blur", label=text("fallback"))
                        threshold = gr.Slider(0.05, 0.9, pipe.detector.config.threshold, label=text("threshold"))
                        margin = gr.Slider(0.05, 0.3, pipe.config.mask_margin, label=text("margin"))
                        truncation = gr.Slider(0, 1, 0.7, label=text("truncation"))
                with gr.Column(scale=3):
                    compare = gr.ImageSlider(label=text("result"), type="filepath", elem_id="result")  # type: ignore[arg-type]
                    download = gr.DownloadButton(text("download"), interactive=False, elem_id="download")  # type: ignore[arg-type]
                    with gr.Tabs():
                        with gr.Tab(text("faces")):
                            gallery = gr.Gallery(
                                label=text("faces"), columns=6, height=220, fit_columns=False, allow_preview=False,
                                format="png", elem_id="faces",
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
                                interactive=False,
                            )
                        with gr.Tab(text("kept")):
                            told = gr.Markdown("", elem_id="kept")
                        with gr.Tab(text("stages")):
                            stages = gr.Gallery(
                                label=text("stages"),
                                columns=4,
                                fit_columns=False,
                                allow_preview=False,
                                format="png",
                                interactive=False,
                            )
            with gr.Tab(text("batch")):
                files = gr.File(label=text("photos"), file_count="multiple", type="filepath", elem_id="files")
                start = gr.Button(text("anonymize"), variant="primary", elem_id="start")
                archive = gr.File(label=text("archive"), interactive=False)
        options = [light, color, hint, truncation, fallback, margin]
        shown = [session, compare, gallery, stages, told, download]
        # One network at a time; whoever waits sees the place in the queue.
        one: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network"}
        whole = [photo, session, seed, threshold, *options]
        photo.change(open_photo, whole, shown, api_visibility="private", **one)
        seed.submit(open_photo, whole, shown, api_visibility="private", **one)
        threshold.release(open_photo, whole, shown, api_visibility="private", **one)
        dice.click(roll, [photo, session, threshold, *options], [seed, *shown], api_visibility="private", **one)
        for control in (light, color, margin, truncation):
            control.change(
                show, [session, *options], shown, api_visibility="private", trigger_mode="always_last", **one
            )
        for choice in (hint, fallback):
            choice.input(show, [session, *options], shown, api_visibility="private", **one)
        gallery.select(choose, session, [session, chosen], api_visibility="private")
        for button, action in ((keep_button, keep), (replace_button, replace), (renew_button, renew)):
            button.click(action, [session, *options], shown, api_visibility="private", **one)
        variants_button.click(variants, [session, *options], [several, *shown], api_visibility="private", **one)
        several.select(take, [session, several, *options], shown, api_visibility="private", **one)
        start.click(batch, [files, seed, threshold, *options], archive, api_name="batch", **one)
        # For gradio_client: the same without a page.
        with gr.Row(visible=False):
            hidden_file, hidden_report, hidden_button = gr.File(), gr.JSON(), gr.Button()
        hidden_button.click(
            anonymize, [photo, seed, threshold, *options], [hidden_file, hidden_report], api_name="anonymize", **one
        )
    page.queue(max_size=100)
    return page, text


def launch(checkpoint: str = str(DEFAULT_CHECKPOINT), **kwargs: Any) -> None:
    """Opens the demo and waits.

    Args:
        checkpoint (`str`, *optional*):
            Folder or Hub id of a pipeline.
        kwargs (*optional*):
            Those of [`~gradio.Blocks.launch`].
    """
    pipe = FaceAnonPipeline.from_pretrained(checkpoint)
    pipe.set_progress_bar_config(disable=True)
    page, text = build(pipe)
    page.launch(max_file_size=MAX_FILE, i18n=text, css=CSS, **kwargs)


def _one(
    pipe: FaceAnonPipeline, photo: Path, folder: Path, seed: int, threshold: float, light: float, color: float,
    hint: bool, truncation: float, fallback: Any, margin: float,
) -> tuple[str, dict[str, Any]]:  # fmt: skip
    """Anonymizes a file into a folder. Returns the new file and a record of its faces."""
    try:
        result = pipe(
            photo, seed=seed, threshold=threshold, lighting_strength=light, color_strength=color, use_hint=hint,
            truncation=truncation, fallback=fallback, mask_margin=margin,
        )  # fmt: skip
        (image,), (faces,) = result.images, result.faces
        target = _save(image, folder, "png" if image.mode in ("LA", "RGBA") else "jpg")
    except FaceAnonError as error:
        raise gr.Error(_cause(error)) from error
    _announce(faces)
    return target, {"faces": [{"number": n, **face.to_dict()} for n, face in enumerate(faces)]}


def _nothing() -> list[Any]:
    return [None, [], [], "", gr.DownloadButton(value=None, interactive=False)]


def _announce(faces: list[Face]) -> None:
    if not faces:
        gr.Warning("No face was found: the photo is unchanged. What is not found is not hidden.")
    weak = [f"{n} ({face.reason})" for n, face in enumerate(faces) if face.reason]
    if weak:
        gr.Warning(f"Hidden, not replaced: face {', '.join(weak)}.")


def _cause(error: FaceAnonError) -> str:
    """What is wrong, without the name that the server gave the file."""
    return str(getattr(error, "cause", error))


def _cache() -> str:
    """Gradio's folder of files, which it empties."""
    from gradio.utils import get_upload_folder

    Path(get_upload_folder()).mkdir(parents=True, exist_ok=True)
    return get_upload_folder()


def _small(image: PIL.Image.Image) -> PIL.Image.Image:
    pixels = np.asarray(image.convert("RGB"))
    scale = min(1.0, SHOWN / max(image.size))
    size = max(1, round(scale * image.width)), max(1, round(scale * image.height))
    return PIL.Image.fromarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def _save(image: PIL.Image.Image, folder: Path, kind: str) -> str:
    """Writes a picture under a name that cannot be guessed."""
    return str(write_photo(image, folder / f"{secrets.token_urlsafe(16)}.{kind}"))


def _around(face: Face, image: PIL.Image.Image) -> PIL.Image.Image:
    (x, y), half = (face.box[:2] + face.box[2:]) / 2, 0.8 * face.size
    box = (round(x - half), round(y - half), round(x + half), round(y + half))
    return image.convert("RGB").crop(box).resize((THUMBNAIL, THUMBNAIL))


def _gallery(draft: Draft, result: PIL.Image.Image) -> list[tuple[PIL.Image.Image, str]]:
    return [(_around(face, result), f"{n}: {STATUS[face.status]}") for n, face in enumerate(draft.faces)]


def _stages(draft: Draft) -> list[tuple[np.ndarray, str]]:
    return [
        (picture, f"{number}: {STAGES[name]}")
        for number in range(len(draft.faces))
        for name, picture in draft.stages(number).items()
    ]


def _told(draft: Draft, result: PIL.Image.Image) -> str:
    """What was kept of each face, in words and numbers."""
    lines = []
    for number, face in enumerate(draft.faces):
        values = draft.kept_of(number, result)
        if not values:
            lines.append(f"**Face {number}**: {STATUS[face.status]}{f': {face.reason}' if face.reason else ''}.")
            continue
        parts = []
        if "expression" in values:
            word = "kept" if values["expression"] < 4 else "roughly kept" if values["expression"] < 8 else "changed"
            parts.append(f"expression {word} (points {values['expression']:.1f} % off)")
        else:
            parts.append("expression not measurable")
        if np.isnan(values["light"]):
            parts.append("light from all around")
        else:
            word = "kept" if values["light"] < 10 else "roughly kept" if values["light"] < 25 else "changed"
            parts.append(f"light {word} ({values['light']:.0f}° off)")
        word = "kept" if values["ciede2000"] < 1 else "nearly kept" if values["ciede2000"] < 3 else "changed"
        parts.append(f"skin colour {word} (ΔE {values['ciede2000']:.1f})")
        lines.append(f"**Face {number}**: {', '.join(parts)}.")
    lines.append("*A score is no guarantee: hair, clothes and place still tell who somebody is.*")
    return "\n\n".join(lines)


def _example() -> Path:
    """The public-domain portrait that comes with scikit-image."""
    import skimage.data

    file = Path(_cache()) / "example" / "portrait.png"
    file.parent.mkdir(exist_ok=True)
    PIL.Image.fromarray(skimage.data.astronaut()).save(file)
    return file
