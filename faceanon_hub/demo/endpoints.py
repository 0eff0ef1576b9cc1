"""The jobs of the page and of its named endpoints: a photo, several, a video."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from ..errors import FaceAnonError, cause_of
from ..faces import Face
from ..io.photos import write_photo
from ..pipeline import FaceAnonPipeline
from ..video.anonymize import VideoReport
from ..video.container import Frame, VideoReader
from . import retention
from .intake import RefusedError
from .painter import stop_if_asked
from .session import SHOWN, small
from .words import summary, time_left, unusable, words

MAX_SECONDS = 60  # of a video: the labels say so
PHOTO_LIMIT, BATCH_LIMIT = 5 * 60, 60 * 60  # seconds that a job may run: a photo; several, or a video
NAME = 40  # characters of a file's name in a line

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


@dataclass
class Batch:
    """What became of several photos.

    Args:
        archive (`Path`):
            Of the anonymized photos, with `report.json`.
        records (`list[dict]`):
            An entry a file.
        lines (`list[str]`):
            What became of each file, in words.
        pictures (`list[tuple[PIL.Image.Image, str]]`):
            Those that could be read, as large as the page shows them, and what became of each.
        done (`int`):
            Photos in the archive.
    """

    archive: Path
    records: list[dict[str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    pictures: list[tuple[Any, str]] = field(default_factory=list)
    done: int = 0


class Jobs:
    """What can be asked for.

    Args:
        pipe ([`FaceAnonPipeline`]):
            Replaces the faces.
        folder (`Path`):
            Where files lie, see [`retention.private_folder`].
    """

    def __init__(self, pipe: FaceAnonPipeline, folder: Path) -> None:
        self.pipe, self.folder = pipe, folder

    def replace_photo(
        self, photo: str, seed: float, threshold: float, options: dict[str, Any]
    ) -> tuple[Path, list[Face], Any]:
        """Anonymizes a file: the new one, its faces, and its picture."""
        result = self.pipe(photo, seed=int(seed or 0), threshold=threshold, **options)
        (image,), (faces,) = result.images, result.faces
        kind = "png" if image.mode in ("LA", "RGBA") else "jpg"
        return write_photo(image, retention.place(self.folder, f"anonymized.{kind}")), faces, image

    def replace_photos(
        self, files: Sequence[str], seed: float, threshold: float, options: dict[str, Any], said: dict[str, str],
        on_progress: Told,
    ) -> Batch:  # fmt: skip
        """Anonymizes several files. One without a face is not among the results, one that is no photo stops none."""
        batch = Batch(retention.place(self.folder, "anonymized.zip"))
        with zipfile.ZipFile(batch.archive, "w") as archive:
            for number, file in enumerate(files):
                on_progress(number / len(files))
                name = Path(file).name
                record: dict[str, Any] = {"input": name}
                try:
                    path, faces, image = self.replace_photo(file, seed, threshold, options)
                except FaceAnonError as error:
                    record["error"], line = cause_of(error), unusable(error, said)
                else:
                    record["faces"] = records(faces)
                    line = summary(faces, said) if faces else said["batch_no_face"]
                    if faces:
                        record["output"] = f"{number + 1:03d}-{Path(file).stem}{path.suffix}"
                        archive.write(path, record["output"])
                        batch.done += 1
                    shutil.rmtree(path.parent)
                    shown = small(np.asarray(image.convert("RGB")), SHOWN // 2)
                    batch.pictures.append((shown, f"{_short(name)}: {line}"))
                batch.records.append(record)
                batch.lines.append(f"{_short(name)}: {line}")
            archive.writestr("report.json", json.dumps(batch.records, indent=2))
        return batch

    def replace_video(
        self, file: str | None, start: float | None, end: float | None, audio: bool, seed: float, threshold: float,
        options: dict[str, Any], on_progress: Told,
    ) -> tuple[Path, VideoReport]:  # fmt: skip
        """Anonymizes a part of a video; errors are those of [`span`]."""
        source, first, last = self.span(file, start, end)
        target = retention.place(self.folder, "anonymized.mp4")
        report = self.pipe.video(
            source, target, seed=int(seed or 0), start=first, end=last, voice="keep" if audio else "drop",
            threshold=threshold, on_progress=on_progress, **options,
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
        said = said_to(request)
        if photo is None:
            raise RefusedError("choose_photo")
        options = _options(light, color, truncation, fallback, margin, privacy, attributes, glasses, blur, tiny)
        with told(said):
            path, faces, _ = self.replace_photo(photo, seed, threshold, options)
        return str(path), {"faces": records(faces)}

    def batch(
        self, files: list[str] | None, seed: float, threshold: float, light: float, color: float, truncation: float,
        fallback: Any, margin: float, privacy: float, attributes: Any, glasses: Any, blur: float, tiny: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
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

        Returns:
            An archive of the anonymized photos with a report.
        """
        said = said_to(request)
        if not files:
            raise RefusedError("choose_photo")
        options = _options(light, color, truncation, fallback, margin, privacy, attributes, glasses, blur, tiny)
        return str(
            self.replace_photos(files, seed, threshold, options, said, showing(progress, said, len(files))).archive
        )

    def video(
        self, file: str | None, start: float | None, end: float | None, audio: bool, seed: float,
        threshold: float, light: float, color: float, truncation: float, fallback: Any, margin: float, privacy: float,
        attributes: Any, glasses: Any, blur: float, tiny: bool,
        request: gr.Request, progress: gr.Progress = gr.Progress(),  # noqa: B008
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
        said = said_to(request)
        options = _options(light, color, truncation, fallback, margin, privacy, attributes, glasses, blur, tiny)
        with told(said):
            path, report = self.replace_video(
                file, start, end, audio, seed, threshold, options, showing(progress, said)
            )
        return str(path), report.to_dict()


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


def _short(name: str) -> str:
    return name if len(name) <= NAME else f"{name[: NAME - 1]}…"
