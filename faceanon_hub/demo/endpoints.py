"""The jobs of the page and of its named endpoints: a photo, several, a video."""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from ..editor import PhotoEditor
from ..errors import FaceAnonError, cause_of
from ..faces import Face
from ..io.photos import write_photo
from ..pipeline import FaceAnonPipeline
from ..video.anonymize import VideoReport
from ..video.container import Frame, VideoReader
from . import retention
from .batch import Batch, Item
from .intake import RefusedError
from .painter import stop_if_asked
from .session import SHOWN, small
from .words import summary, time_left, unusable, words

MAX_SECONDS = 60  # of a video: the labels say so
PHOTO_LIMIT, BATCH_LIMIT = 5 * 60, 60 * 60  # seconds that a job may run: a photo; several, or a video

Told = Callable[[float], None]


def said_to(request: gr.Request) -> dict[str, str]:
    """The messages in the language of whoever asks."""
    return words(request.headers.get("accept-language"))


@contextlib.contextmanager
def told(said: dict[str, str]) -> Iterator[None]:
    """Turns our errors into messages."""
    try:
        yield
    except FaceAnonError as error:
        raise gr.Error(unusable(error, said), duration=None) from error


def showing(progress: gr.Progress, said: dict[str, str], total: int | None = None) -> Told:
    """A callback that shows what share of a job is done, and how long it still takes, and ends it when asked to."""
    began = time.monotonic()

    def show(share: float) -> None:
        stop_if_asked()
        done = [] if total is None else [said["progress"].format(round(share * total), total)]
        left = time_left(time.monotonic() - began, share, said)
        progress(share, desc=", ".join([*done, *([left] if left else [])]) or said["working"])

    return show


class Jobs:
    """What can be asked for; files lie in `folder`, see [`retention.private_folder`]."""

    def __init__(self, pipe: FaceAnonPipeline, folder: Path) -> None:
        self.pipe, self.folder = pipe, folder

    def replace_photo(
        self, photo: str, seed: float, threshold: float, options: dict[str, Any], hide: Any = None, look: Any = None
    ) -> tuple[Path, list[Face], Any]:
        """Anonymizes a file: the new one, its faces, and its picture. Arguments are those of [`PhotoEditor`]; `hide`
        and `look` are lists of boxes.

        Raises:
            RefusedError: a box lies outside the photo, or is none.
        """
        with _boxes_named("hide"):
            if look:
                editor = PhotoEditor(
                    self.pipe, photo, int(seed or 0), threshold=threshold, hide_small=options["hide_small"]
                )
                editor.hide(hide or [])
                with _boxes_named("look"):
                    for box in look:
                        editor.look(box)
                image, faces = editor.render(**options), editor.faces
            else:
                result = self.pipe(photo, seed=int(seed or 0), threshold=threshold, hide=hide, **options)
                (image,), (faces,) = result.images, result.faces
        return written(image, self.folder), faces, image

    def replace_photos(
        self, batch: Batch, files: Sequence[str], seed: float, threshold: float, options: dict[str, Any],
        said: dict[str, str], on_progress: Told, hide: Sequence[Any] | None = None,
    ) -> None:  # fmt: skip
        """Anonymizes several files. One without a face is not among the results, one that is no photo stops none.

        Each is added to the batch once it is done, so that those stay when the job is stopped. `hide` holds the boxes
        of each file.
        """
        batch.total, batch.seed, batch.threshold, batch.options = len(files), int(seed or 0), threshold, options
        for number, file in enumerate(files):
            on_progress(number / len(files))
            zones = hide[number] if hide else []
            item = Item(file, {"input": Path(file).name}, "", hide=zones)
            try:
                path, faces, image = self.replace_photo(file, seed, threshold, options, zones)
            except FaceAnonError as error:
                item.record["error"], item.line = cause_of(error), unusable(error, said)
            except RefusedError as refused:  # a place that was to be hidden is not: no result
                item.record["error"] = item.line = said[refused.key].format(*refused.values)
            else:
                self.finish(item, number, path, faces, image, said)
            batch.add(item)

    def finish(
        self, item: Item, number: int, path: Path, faces: Sequence[Face], image: Any, said: dict[str, str]
    ) -> None:
        """Notes what became of a file that could be read. It is a result where a face, or a place, was hidden."""
        item.record["faces"] = records(faces)
        item.record["hide"] = [list(map(float, box)) for box in item.hide]
        item.picture = small(np.asarray(image.convert("RGB")), SHOWN // 2)
        if faces or item.hide:
            item.path, item.line = path, summary(faces, said, len(item.hide))
            item.record["output"] = f"{number + 1:03d}-{Path(item.file).stem}{path.suffix}"
        else:
            shutil.rmtree(path.parent)
            item.path, item.line = None, said["batch_no_face"]
            item.record.pop("output", None)

    def replace_video(
        self, file: str | None, start: float | None, end: float | None, audio: bool, seed: float, threshold: float,
        options: dict[str, Any], on_progress: Told, hide: Any = None,
    ) -> tuple[Path, VideoReport]:  # fmt: skip
        """Anonymizes a part of a video, with boxes that are hidden in every frame; errors are those of [`span`]."""
        source, first, last = self.span(file, start, end)
        target = retention.place(self.folder, "anonymized.mp4")
        with _boxes_named("hide"):
            report = self.pipe.video(
                source, target, seed=int(seed or 0), start=first, end=last, voice="keep" if audio else "drop",
                threshold=threshold, on_progress=on_progress, hide=hide, **options,
            )  # fmt: skip
        return target, report

    def first_frame(self, file: str | None, start: float | None, end: float | None) -> np.ndarray:
        """The first frame of a part of a video; errors are those of [`span`]."""
        reader = VideoReader(*self.span(file, start, end))
        try:
            return next(event for event in reader.read([]) if isinstance(event, Frame)).pixels
        finally:
            reader.close()

    def span(self, file: str | None, start: float | None, end: float | None) -> tuple[str, float, float]:
        """The part of a video that is asked for: the file, its first and its last second.

        Raises:
            RefusedError: there is none, it is too long, or it is no part of the video.
            UnreadableVideoError: no video, or damaged.
        """
        if file is None:
            raise RefusedError("choose_video")
        start, limit = start or 0.0, (start or 0.0) + MAX_SECONDS
        if end and end <= start:
            raise RefusedError("span")
        try:
            reader = VideoReader(file, start, end or None)
        except ValueError:  # its text has the file's name in it
            raise RefusedError("starts_late") from None
        reader.close()
        if reader.length > MAX_SECONDS:
            raise RefusedError("too_long", MAX_SECONDS)
        return file, start, min(end or limit, limit)

    def anonymize(
        self, photo: str | None, seed: float, threshold: float, light: float, color: float, truncation: float,
        fallback: Any, margin: float, privacy: float, attributes: Any, glasses: Any, blur: float, tiny: bool,
        request: gr.Request, hide: Any = None, look: Any = None,
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
            hide: Boxes [left, top, right, bottom] in pixels that are hidden, whatever is in them.
            look: Boxes in which a face was missed: it is replaced or, where none is found, the box is hidden.

        Returns:
            The anonymized photo, and what was done to each face.
        """
        said = said_to(request)
        if photo is None:
            raise RefusedError("choose_photo")
        options = _options(light, color, truncation, fallback, margin, privacy, attributes, glasses, blur, tiny)
        with told(said):
            path, faces, _ = self.replace_photo(photo, seed, threshold, options, hide, look)
        return str(path), {"faces": records(faces)}

    def batch(
        self, files: list[str] | None, seed: float, threshold: float, light: float, color: float, truncation: float,
        fallback: Any, margin: float, privacy: float, attributes: Any, glasses: Any, blur: float, tiny: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        hide: Any = None,
    ) -> str:  # fmt: skip
        """Replaces every face of several photos. Photos without a face are in the report alone.

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
            hide: For each photo, a list of boxes [left, top, right, bottom] in pixels that are hidden.

        Returns:
            An archive of the anonymized photos with a report.
        """
        said = said_to(request)
        if not files:
            raise RefusedError("choose_photo")
        options = _options(light, color, truncation, fallback, margin, privacy, attributes, glasses, blur, tiny)
        if hide and len(hide) != len(files):
            raise RefusedError("bad_value", "hide")
        done = Batch(self.folder)
        try:
            self.replace_photos(done, files, seed, threshold, options, said, showing(progress, said, len(files)), hide)
            return str(done.pack())
        finally:
            done.delete()

    def video(
        self, file: str | None, start: float | None, end: float | None, audio: bool, seed: float,
        threshold: float, light: float, color: float, truncation: float, fallback: Any, margin: float, privacy: float,
        attributes: Any, glasses: Any, blur: float, tiny: bool,
        request: gr.Request, progress: gr.Progress = gr.Progress(),  # noqa: B008
        hide: Any = None,
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
            hide: Boxes [left, top, right, bottom] in pixels that are hidden in every frame.

        Returns:
            The anonymized video, and what was done to each face.
        """
        said = said_to(request)
        options = _options(light, color, truncation, fallback, margin, privacy, attributes, glasses, blur, tiny)
        with told(said):
            path, report = self.replace_video(
                file, start, end, audio, seed, threshold, options, showing(progress, said), hide
            )
        return str(path), report.to_dict()


@contextlib.contextmanager
def _boxes_named(name: str) -> Iterator[None]:
    """Refuses boxes that lie outside. The other values were checked when they came."""
    try:
        yield
    except ValueError:
        raise RefusedError("bad_value", name) from None


def written(image: Any, folder: Path) -> Path:
    """An anonymized photo as a file of its own, in full size."""
    kind = "png" if image.mode in ("LA", "RGBA") else "jpg"
    return write_photo(image, retention.place(folder, f"anonymized.{kind}"))


def _options(
    light: float, color: float, truncation: float, fallback: Any, margin: float, privacy: float, attributes: Any,
    glasses: Any, blur: float, tiny: bool,
) -> dict[str, Any]:  # fmt: skip
    """Fields of [`Options`] from the values of the endpoints."""
    return {
        "lighting_strength": light, "color_strength": color, "truncation": truncation, "fallback": fallback,
        "mask_margin": margin, "privacy": privacy, "attributes": attributes, "glasses": glasses,
        "context_blur": blur, "hide_small": tiny,
    }  # fmt: skip


def records(faces: Sequence[Face]) -> list[dict[str, Any]]:
    """What a report says of each face. Numbers count from 0 there, as in Python."""
    return [{"number": number, **face.to_dict()} for number, face in enumerate(faces)]
