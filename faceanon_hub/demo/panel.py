"""What was kept of each face, in words."""

import functools
import math
from importlib.util import find_spec

from ..editor import PhotoEditor
from ..faces import Face
from ..metrics import DlibRecognizer, Recognizer
from .words import reason, status

# From which value on the next word holds: kept, roughly kept, changed.
EXPRESSION = (4.0, 8.0)  # landmarks off, % of the inter-ocular distance
LIGHT = (10.0, 25.0)  # degrees
COLOR = (1.0, 3.0)  # CIEDE2000
SAME_PERSON = 0.6  # distance of dlib's embeddings below which its author takes two faces for one person


def describe(editor: PhotoEditor, said: dict[str, str]) -> str:
    """Describes the last rendering of an edited photo: Markdown, a paragraph a face, and that this is no guarantee."""
    lines = [
        f"**{said['face'].format(number + 1)}**: {_face(editor, number, face, said)}."
        for number, face in enumerate(editor.faces)
    ]
    return "\n\n".join([*lines, f"*{said['no_guarantee']}*"])


def _face(editor: PhotoEditor, number: int, face: Face, said: dict[str, str]) -> str:
    values = editor.kept_of(number, _recognizer())
    if not values:
        why = reason(face, said)
        return status(face, said) + (f" ({why})" if why else "")
    parts = [said["expression_unknown"], said["light_diffuse"], "", said["similarity_unknown"]]
    if "expression" in values:
        parts[0] = _word("expression", values["expression"], EXPRESSION, said)
    if not math.isnan(values["light"]):
        parts[1] = _word("light", values["light"], LIGHT, said)
    parts[2] = _word("color", values["ciede2000"], COLOR, said)
    if "distance" in values:
        parts[3] = said["recognized" if values["distance"] < SAME_PERSON else "not_recognized"]
    return ", ".join(parts)


def _word(name: str, value: float, limits: tuple[float, float], said: dict[str, str]) -> str:
    return said[f"{name}_{('kept', 'roughly', 'changed')[sum(value >= limit for limit in limits)]}"]


@functools.cache
def _recognizer() -> Recognizer | None:
    """dlib's, where the extra `eval` is installed."""
    return DlibRecognizer() if find_spec("dlib") and find_spec("face_recognition_models") else None
