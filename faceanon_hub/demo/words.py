"""The page's words in six languages, a file each: labels, which the browser picks, and messages, which we do."""

import json
from collections.abc import Sequence
from pathlib import Path

from ..errors import (
    AnimatedImageError,
    FaceAnonError,
    ImageTooLargeError,
    UnreadableError,
    UnreadableVideoError,
    cause_of,
)
from ..faces import Face, FaceStatus, crowd_note
from ..io.photos import MAX_PIXELS

_FILES = sorted((Path(__file__).parent / "languages").glob("*.json"))
_TEXTS = {file.stem: json.loads(file.read_text("utf-8")) for file in _FILES}
LABELS: dict[str, dict[str, str]] = {language: texts["labels"] for language, texts in _TEXTS.items()}
MESSAGES: dict[str, dict[str, str]] = {language: texts["messages"] for language, texts in _TEXTS.items()}

# How a reason begins that the pipeline gives, in English, and its message. Others are errors on the way.
REASONS = {
    "it may be no face": "reason_doubtful",
    "smaller than": "reason_small",
    "seen by the transparency": "reason_transparent",
    "no landmarks": "reason_landmarks",
    "no drawn face fits": "reason_unfit",
    "the new face did not come out": "reason_unfit",
    "the new face would be torn": "reason_unfit",
    "cut by a zone": "reason_zone",
    "asked for by the caller": "reason_kept",
    "enlarged": "reason_enlarged",
}
LISTED = 5  # numbers of faces in a line, of many
MINUTE = 90  # seconds from which on time left is told in minutes


def words(accepted: str | None) -> dict[str, str]:
    """The messages in the first language of an `Accept-Language` header that is known; else the English ones."""
    for entry in (accepted or "").split(","):
        language = entry.split(";")[0].split("-")[0].strip().lower()
        if language in MESSAGES:
            return MESSAGES[language]
    return MESSAGES["en"]


def status(face: Face, said: dict[str, str]) -> str:
    """What became of a face, in a word or two."""
    if face.status is FaceStatus.ANONYMIZED:
        return said["status_new"]
    return said["status_hidden" if face.status is FaceStatus.OBFUSCATED else "status_kept"]


def reason(face: Face, said: dict[str, str]) -> str:
    """Why a face was not replaced, or what is special about its replacement; empty where there is nothing to say."""
    if not face.reason:
        return ""
    return said[next((key for start, key in REASONS.items() if face.reason.startswith(start)), "reason_failed")]


def summary(faces: Sequence[Face], said: dict[str, str], zones: int = 0) -> str:
    """What was done to a photo, in a line: `"8 faces: 7 replaced, 1 hidden (no. 5: too small)."`"""
    parts = []
    for state, key in (
        (FaceStatus.ANONYMIZED, "count_new"), (FaceStatus.OBFUSCATED, "count_hidden"), (FaceStatus.KEPT, "count_kept"),
    ):  # fmt: skip
        chosen = [number for number, face in enumerate(faces) if face.status is state]
        if chosen:
            which = "" if state is FaceStatus.ANONYMIZED else f" ({_numbers(chosen, faces, said)})"
            parts.append(said[key].format(len(chosen)) + which)
    if zones and not faces:
        return f"{said['zones'].format(zones)}."
    count = said["one_face"] if len(faces) == 1 else said["many_faces"].format(len(faces))
    told = [f"{count}: {', '.join(parts)}." if faces else said["no_face"]]
    if zones:
        told.append(f"{said['zones'].format(zones)}.")
    return " ".join(told)


def _numbers(chosen: Sequence[int], faces: Sequence[Face], said: dict[str, str]) -> str:
    """Which faces, and why if nobody asked for it: `"no. 2, 5: too small; no. 3: an error on the way"`."""
    grouped: dict[str, list[str]] = {}
    for number in chosen:
        kept = faces[number].status is FaceStatus.KEPT
        grouped.setdefault("" if kept else reason(faces[number], said), []).append(str(number + 1))
    return "; ".join(
        said["number"].format(", ".join(numbers[:LISTED]) + (", …" if len(numbers) > LISTED else ""))
        + (f": {why}" if why else "")
        for why, numbers in grouped.items()
    )


def advice(faces: Sequence[Face], said: dict[str, str], zones: int = 0) -> list[str]:
    """What to do next with a result, a sentence each; arguments are those of [`summary`]."""
    if not faces and not zones:
        return [said["hide_missed"]]
    return [said["check"], *([said["crowd"]] if crowd_note(faces) else [])]


def unusable(error: FaceAnonError, said: dict[str, str]) -> str:
    """Why a file cannot be used."""
    if isinstance(error, ImageTooLargeError):
        cause = said["cause_pixels"].format(MAX_PIXELS // 10**6)
    elif isinstance(error, AnimatedImageError):
        cause = said["cause_animated"]
    elif isinstance(error, UnreadableError) and cause_of(error).startswith("HDR"):
        cause = said["cause_hdr"]
    elif isinstance(error, UnreadableVideoError):
        cause = said["cause_video"]
    else:
        cause = said["cause_photo" if isinstance(error, UnreadableError) else "cause_other"]
    return said["unusable"].format(cause)


def time_left(spent: float, share: float, said: dict[str, str]) -> str:
    """How long a job still takes; empty where that is not known yet."""
    if not 0 < share < 1:
        return ""
    left = spent * (1 - share) / share
    if left >= MINUTE:
        return said["minutes_left"].format(round(left / 60))
    return said["seconds_left"].format(max(1, round(left)))
