"""What was kept of each face, in words and numbers."""

from __future__ import annotations

import functools
import math
from importlib.util import find_spec

from .editor import PhotoEditor
from .faces import Face, FaceStatus
from .metrics import DlibRecognizer, Recognizer

# From which value on the next word holds: kept, roughly kept, changed.
EXPRESSION = (4.0, 8.0)  # landmarks off, % of the inter-ocular distance
LIGHT = (10.0, 25.0)  # degrees
COLOR = (1.0, 3.0)  # CIEDE2000
SAME_PERSON = 0.6  # distance of dlib's embeddings below which its author takes two faces for one person


def describe(editor: PhotoEditor, words: dict[str, str]) -> str:
    """Describes the last rendering of an edited photo, face by face.

    Args:
        editor ([`PhotoEditor`]):
            Rendered already.
        words (`dict[str, str]`):
            Of one language, see [`translations.words`].

    Returns:
        `str`: Markdown, a paragraph a face, and that a score is no guarantee.
    """
    lines = [f"**{words['face']} {n}**: {_face(editor, n, face, words)}." for n, face in enumerate(editor.faces)]
    return "\n\n".join([*lines, f"*{words['no_guarantee']}*"])


def status(face: Face, words: dict[str, str]) -> str:
    """What became of a face, in a word or two."""
    if face.status is FaceStatus.ANONYMIZED:
        return words["status_new"]
    return words["status_hidden" if face.status is FaceStatus.OBFUSCATED else "status_kept"]


def _face(editor: PhotoEditor, number: int, face: Face, words: dict[str, str]) -> str:
    values = editor.kept_of(number, _recognizer())
    if not values:
        return status(face, words) + (f" ({face.reason})" if face.reason else "")
    parts = [words["expression_unknown"], words["light_diffuse"], "", words["similarity_unknown"]]
    if "expression" in values:
        parts[0] = f"{_word('expression', values['expression'], EXPRESSION, words)} ({values['expression']:.1f} %)"
    if not math.isnan(values["light"]):
        parts[1] = f"{_word('light', values['light'], LIGHT, words)} ({values['light']:.0f}°)"
    parts[2] = f"{_word('color', values['ciede2000'], COLOR, words)} (ΔE {values['ciede2000']:.1f})"
    if "distance" in values:
        told = words["recognized" if values["distance"] < SAME_PERSON else "not_recognized"]
        parts[3] = f"{told} ({values['distance']:.2f})"
    return ", ".join(parts)


def _word(name: str, value: float, limits: tuple[float, float], words: dict[str, str]) -> str:
    return words[f"{name}_{('kept', 'roughly', 'changed')[sum(value >= limit for limit in limits)]}"]


@functools.cache
def _recognizer() -> Recognizer | None:
    """dlib's, where the extra `eval` is installed."""
    return DlibRecognizer() if find_spec("dlib") and find_spec("face_recognition_models") else None
