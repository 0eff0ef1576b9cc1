"""The page: what lies where, and what others may ask for by name."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr

from ..pipeline import FaceAnonPipeline
from . import endpoints, retention
from .batch_tab import BatchTab
from .endpoints import Jobs
from .intake import Page
from .painter import in_turn
from .photo_tab import PhotoTab
from .settings import Settings
from .video_tab import VideoTab
from .words import LABELS

HOUR = 3600
QUEUE = 200  # jobs that wait, of everybody
SAMPLES = Path(__file__).parent / "samples"
# Said by a script: Gradio translates labels alone.
WAITING = {language: [labels["queue"], labels["queue_working"]] for language, labels in LABELS.items()}
SCRIPT = (Path(__file__).parent / "waiting.js").read_text("utf-8").replace("WORDS", json.dumps(WAITING), 1)
CSS = (Path(__file__).parent / "page.css").read_text("utf-8")


def build(pipe: FaceAnonPipeline, folder: Path, lifetime: float = HOUR) -> tuple[Page, gr.I18n]:
    """Builds the page and its translations, for `launch`. After `lifetime` seconds files and sessions go."""
    text, jobs = gr.I18n(**LABELS), Jobs(pipe, folder)
    *photos, clip = samples(folder)
    often = max(1, round(lifetime / retention.SWEEPS))
    with Page(
        folder, title="Faces of nobody", delete_cache=(often, max(1, round(lifetime) - often)), analytics_enabled=False
    ) as page:
        gr.Markdown(text("title"), elem_id="title")
        gr.Markdown(text("notice"), elem_classes="notice")
        with gr.Row():
            work = gr.Column(scale=3, min_width=340)
            with gr.Column(scale=1, min_width=300, elem_id="settings"):
                settings = Settings(pipe, text)
        with work, gr.Tabs():
            with gr.Tab(text("photo")):
                photo = PhotoTab(pipe, folder, text, settings, photos, lifetime)
            with gr.Tab(text("batch")):
                batch = BatchTab(jobs, text, settings, lifetime)
            with gr.Tab(text("clip"), visible=find_spec("av") is not None):
                video = VideoTab(jobs, text, settings, clip, lifetime)
        # One network at a time; whoever waits sees the place in the queue.
        one: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network"}
        photo.wire(**one)
        batch.wire(endpoints.BATCH_LIMIT, **one)
        video.wire(endpoints.BATCH_LIMIT, **one)
        # For gradio_client and language models: the same without a page, its results named.
        with gr.Row(visible=False):
            new_photo, new_photos, new_video = (gr.File(label=name) for name in ("photo", "archive", "video"))
            report, asked = gr.JSON(label="report"), gr.Button()
            hide, look, hides = boxes("hide"), boxes("look"), boxes("hide", several=True)
        fields = [settings.seed, settings.threshold, *settings.options.values()]
        part = [video.clip, video.first, video.last, video.audio]
        for job, limit, inputs, outputs, name in (
            (
                jobs.anonymize,
                endpoints.PHOTO_LIMIT,
                [photo.photo, *fields, hide, look],
                [new_photo, report],
                "anonymize",
            ),
            (jobs.batch, endpoints.BATCH_LIMIT, [batch.files, *fields, hides], [new_photos], "batch"),
            (jobs.video, endpoints.BATCH_LIMIT, [*part, *fields, hide], [new_video, report], "video"),
        ):
            asked.click(in_turn(limit)(job), inputs, outputs, api_name=name, **one)
    page.queue(max_size=QUEUE, api_open=False)  # no way round the queue
    return page, text


def boxes(name: str, several: bool = False) -> gr.JSON:
    """A field that takes boxes of a photo, or a list of them for each of several photos."""
    field, kind = gr.JSON(label=name), {"type": "array", "items": {"type": "number"}}
    for _ in range(1 + several):
        kind = {"type": "array", "items": kind}
    field.api_info = lambda: kind  # type: ignore[method-assign]  # Gradio's own is no schema
    return field


def samples(folder: Path) -> list[Path]:
    """Three photos and a video to try, in a part of the folder that stays: the public-domain portrait of scikit-image,
    and people that the bundled generator drew.
    """
    import PIL.Image
    import skimage.data

    target = folder / retention.SPARED
    target.mkdir(exist_ok=True)
    portrait = target / "portrait.png"
    PIL.Image.fromarray(skimage.data.astronaut()).save(portrait)
    drawn = [SAMPLES / name for name in ("group.jpg", "man.jpg", "girl.jpg", "clip.mp4")]
    return [portrait, *(Path(shutil.copy(file, target)) for file in drawn)]
