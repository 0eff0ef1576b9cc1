"""The state of one photo that a visitor works on."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image

from ..editor import PhotoEditor
from ..faces import Face, FaceStatus, derived_seed
from ..io.photos import write_photo
from ..pipeline import FaceAnonPipeline
from .painter import stop_if_asked
from .retention import place
from .words import reason, status

SHOWN = 1600  # longest side of what is sent to the page; the download has all pixels
RECENT = 3  # pictures that the page may still be loading
VARIANTS = 4
THUMBNAIL = 256
CLASSES = {FaceStatus.OBFUSCATED: "is-hidden", FaceStatus.KEPT: "is-kept"}


@dataclass(eq=False)
class Session:
    """One photo, its faces, and all that was chosen for it; another photo makes another session.

    On disk lie only the pictures that are shown, which go with the session. What comes from the page names the photo
    by its `token`, so that a click that was meant for the photo before changes nothing, and its faces by a token that
    changes when they are searched again, as their numbers may. The faces' own seeds were dealt from `seed`.
    """

    editor: PhotoEditor
    folder: Path
    seed: int
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    result: PIL.Image.Image | None = None  # of the last rendering, in full size
    rendering: int = 0  # counts them
    chosen: int | None = None  # the face that was clicked last
    variants: tuple[int, list[int]] | None = None  # a face, and the seeds that are suggested for it
    searches: int = 0  # counts those of its faces
    deleted: bool = False
    _shown: list[Path] = field(default_factory=list)

    @classmethod
    def opened(
        cls, pipe: FaceAnonPipeline, photo: Any, folder: Path, seed: int, threshold: float, options: dict[str, Any],
        zones: Sequence[Any] = (),
    ) -> Session:  # fmt: skip
        """A photo, rendered with options of [`Options`] and with zones hidden; errors are those of [`PhotoEditor`]."""
        editor = PhotoEditor(pipe, photo, seed, threshold=threshold, hide_small=options["hide_small"])
        if zones:
            editor.hide(zones)
        session = cls(editor, folder, seed)
        session.render(**options)
        return session

    def render(self, **options: Any) -> None:
        """Makes the photo with these options of [`Options`]."""
        self.result = self.editor.render(**options)
        self.rendering += 1
        if len(self.editor.faces) == 1:  # nobody has to choose the only one
            self.chosen = 0
        self._shown.append(self._save(self.editor.pixels))
        for file in self._shown[:-RECENT]:
            shutil.rmtree(file.parent, ignore_errors=True)
        del self._shown[:-RECENT]

    def deal(self, seed: int) -> None:
        """Deals all faces new identities."""
        self.seed, self.variants = seed, None
        for number, face in enumerate(self.editor.faces):
            face.seed = derived_seed(seed, number)

    def renew(self, number: int) -> None:
        """Gives one face another identity."""
        self.editor.keep(number, False)
        self.editor.faces[number].seed = secrets.randbelow(2**31)

    def suggest(self, number: int, **options: Any) -> list[PIL.Image.Image]:
        """Draws other identities of one face, which [`take`] then takes; the photo stays as it is."""
        self.editor.keep(number, False)
        face, pictures, seeds = self.editor.faces[number], [], []
        before = face.seed
        try:
            for _ in range(VARIANTS):
                face.seed = secrets.randbelow(2**31)
                self.editor.render(**options)
                pictures.append(around(face, self.editor.pixels))
                seeds.append(face.seed)
                stop_if_asked()
        finally:
            face.seed = before
        self.variants = number, seeds
        return pictures

    def take(self, which: int) -> None:
        """Gives a face the identity that was suggested for it."""
        assert self.variants is not None
        number, seeds = self.variants
        self.editor.keep(number, False)
        self.editor.faces[number].seed = seeds[which]

    def hide(self, box: tuple[float, float, float, float]) -> None:
        """Hides a rectangle, in shares of the photo's sides."""
        self.editor.hide([*self.editor.zones, self._zone(box)])
        self._found_again()

    def look(self, box: tuple[float, float, float, float]) -> bool:
        """Looks for a missed face in a rectangle, in shares of the photo's sides: whether there is one."""
        number = self.editor.look(self._zone(box))
        self._found_again()
        self.chosen = number
        return number is not None

    def _zone(self, box: tuple[float, float, float, float]) -> list[float]:
        height, width = self.editor.photo.pixels.shape[:2]
        return [value * side for value, side in zip(box, (width, height) * 2, strict=True)]

    def uncover(self, which: int) -> None:
        """Shows the place of a rectangle again."""
        self.editor.hide([zone for number, zone in enumerate(self.editor.zones) if number != which])
        self._found_again()

    def search(self, threshold: float, hide_small: bool) -> None:
        """Looks for faces again, otherwise."""
        self.editor.search(threshold, hide_small)
        self._found_again()

    def _found_again(self) -> None:
        """Faces may have other numbers than on the page."""
        self.searches += 1
        self.chosen = self.variants = None

    @property
    def faces_token(self) -> str:
        """Names the faces as they were searched last."""
        return f"{self.token}.{self.searches}"

    def pick(self, number: int) -> str:
        """Names a face for the page."""
        return f"{self.faces_token}.{number}"

    def picked(self, pick: str) -> int | None:
        """The number of the face that the page names; None where it is of another photo, or none."""
        token, _, number = pick.rpartition(".")
        if token != self.faces_token or not number.isdecimal() or int(number) >= len(self.editor.faces):
            return None
        return int(number)

    def view(self, said: dict[str, str], plain: str = "") -> dict[str, Any]:
        """What `viewer.js` and `strip.js` show. With `plain`, which says what for, places can only be hidden."""
        height, width = self.editor.pixels.shape[:2]
        return {
            "token": self.token,
            "faces_token": self.faces_token,
            "size": [width, height],
            "before": str(self._original),
            "after": str(self._shown[-1]),
            "faces": [
                {
                    "box": _shares(face.box, width, height),
                    "status": CLASSES.get(face.status, "is-new"),
                    "label": f"{said['face'].format(number + 1)}: {described(face, said)}",
                    "caption": f"{number + 1}: {status(face, said)}",
                }
                for number, face in enumerate([] if plain else self.editor.faces)
            ],
            "zones": [_shares(zone, width, height) for zone in self.editor.zones],
            "chosen": None if plain else self.chosen,
            "words": {
                "after": said["result"],
                "before": said["original"],
                "compare": said["compare"],
                "draw": said["draw"],
                "look": "" if plain else said["look"],
                **{name: said[name] for name in ("drawing", "drawing_touch", "looking", "looking_touch", "unhide")},
                "hint": plain or (said["hint"] if len(self.editor.faces) > 1 else ""),
                "hint_touch": plain or (said["hint_touch"] if len(self.editor.faces) > 1 else ""),
            },
        }

    def delete(self) -> None:
        """Removes the pictures; what still works on the photo is no longer shown."""
        self.deleted = True
        for file in [*self._shown, self._original]:
            shutil.rmtree(file.parent, ignore_errors=True)
        self._shown.clear()

    @cached_property
    def _original(self) -> Path:
        return self._save(self.editor.photo.pixels)

    def _save(self, pixels: np.ndarray) -> Path:
        return write_photo(small(pixels), place(self.folder, "face.jpg"), quality=90)


def described(face: Face, said: dict[str, str]) -> str:
    """What became of a face and, where it was hidden, why."""
    why = reason(face, said) if face.status is FaceStatus.OBFUSCATED else ""
    return status(face, said) + (f" ({why})" if why else "")


def small(pixels: np.ndarray, longest: int = SHOWN) -> PIL.Image.Image:
    """As large as the page shows it."""
    scale = min(1.0, longest / max(pixels.shape))
    size = max(1, round(scale * pixels.shape[1])), max(1, round(scale * pixels.shape[0]))
    return PIL.Image.fromarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def around(face: Face, pixels: np.ndarray) -> PIL.Image.Image:
    """A face and what is round it, a square inside the photo."""
    height, width = pixels.shape[:2]
    side = max(1, min(round(1.6 * face.size), width, height))
    middle = (face.box[:2] + face.box[2:]) / 2 - side / 2
    left, top = (
        round(min(max(float(value), 0.0), end - side)) for value, end in zip(middle, (width, height), strict=True)
    )
    return PIL.Image.fromarray(pixels[top : top + side, left : left + side]).resize((THUMBNAIL, THUMBNAIL))


def _shares(box: Sequence[float] | np.ndarray, width: int, height: int) -> list[float]:
    """A box in shares of the photo's sides."""
    left, top, right, bottom = (float(value) for value in box)
    shares = left / width, top / height, right / width, bottom / height
    return [round(min(max(share, 0.0), 1.0), 5) for share in shares]
