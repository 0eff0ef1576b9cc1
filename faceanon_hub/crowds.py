"""Photos of many small faces, in which smaller ones are missed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .faces import Face

# From so many faces on, half of them narrower than so many pixels, a photo shows a crowd (benchmarks/crowds.py).
MANY, FAR = 20, 24.0


def crowd_note(faces: Sequence[Face], hide_small: bool = False) -> str:
    """What to say of a photo that shows a crowd, whose smallest faces may be missed.

    Args:
        faces (`list[Face]`):
            All that were found.
        hide_small (`bool`, *optional*, defaults to `False`):
            Whether small ones were looked for.

    Returns:
        `str`: one line; empty where the photo shows no crowd.
    """
    if len(faces) < MANY or (middle := float(np.median([face.width for face in faces]))) >= FAR:
        return ""
    told = f"a crowd of {len(faces)} faces, half of them narrower than {middle:.0f} px"
    if hide_small:
        return f"{told}: some of the smallest may be missed"
    return f"{told}: smaller ones may be missed; hide_small (--hide-small) looks for them, and hides them"
