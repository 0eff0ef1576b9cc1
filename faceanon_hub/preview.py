"""Sheets to look at: a photo before and after, its faces numbered and framed; drawn people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
from PIL import ImageDraw, ImageFont

from .faces import Face, FaceStatus

if TYPE_CHECKING:
    import torch

    from .generators.generator import Prior

COLORS = {
    FaceStatus.FOUND: (200, 200, 200),
    FaceStatus.ANONYMIZED: (46, 160, 67),
    FaceStatus.OBFUSCATED: (219, 109, 40),
    FaceStatus.KEPT: (47, 129, 247),
}


def draw_faces(image: PIL.Image.Image, faces: Sequence[Face]) -> PIL.Image.Image:
    """Frames and numbers faces in a copy of a photo: green anonymized, orange obfuscated, blue kept."""
    framed = image.convert("RGB")
    draw = ImageDraw.Draw(framed)
    line = max(2, round(max(framed.size) / 400))
    font = ImageFont.load_default(size=max(12, round(max(framed.size) / 50)))
    for number, face in enumerate(faces):
        color = COLORS[face.status]
        left, top, right, bottom = (float(v) for v in face.box)
        draw.rectangle((left, top, right, bottom), outline=color, width=line)
        height = font.getbbox("0")[3] + line
        top = max(0.0, top - height)
        draw.rectangle((left, top, left + font.getlength(str(number)) + 2 * line, top + height), fill=color)
        draw.text((left + line, top), str(number), fill=(255, 255, 255), font=font)
    return framed


def people_sheet(generator: Prior, styles: torch.Tensor) -> PIL.Image.Image:
    """Lays people of styles `(B, style_size)` side by side, 160 pixels each, in rows of 8: RGB. It shows nobody."""
    sizes, side = generator.config.sizes, 160
    size = min((known for known in sizes if known >= side), default=sizes[-1])
    columns = min(8, len(styles))
    sheet = PIL.Image.new("RGB", (columns * side, -(-len(styles) // columns) * side))
    for number, style in enumerate(styles.split(1)):
        picture = PIL.Image.fromarray(generator.render(style, size)[0]).resize((side, side), PIL.Image.Resampling.BOX)
        sheet.paste(picture, (number % columns * side, number // columns * side))
    return sheet


def before_after(before: PIL.Image.Image, after: PIL.Image.Image, faces: Sequence[Face]) -> PIL.Image.Image:
    """Lays a photo, its faces framed, and its result side by side, each reduced to 1200 pixels: RGB.

    It shows the original: not for publication.
    """
    pair = [draw_faces(before, faces), after.convert("RGB")]
    for picture in pair:
        picture.thumbnail((1200, 1200))
    gap = 8
    width, height = pair[0].size
    sheet = PIL.Image.new("RGB", (2 * width + gap, height), (255, 255, 255))
    sheet.paste(pair[0], (0, 0))
    sheet.paste(pair[1], (width + gap, 0))
    return sheet


def pairs_sheet(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> PIL.Image.Image:
    """Lays places before and after side by side, numbered from 1, four in a row: RGB. All are `(side, side, 3)`,
    uint8.

    It shows originals: not for publication.
    """
    side, gap, line = pairs[0][0].shape[0], 8, 20
    rows, columns = -(-len(pairs) // 4), min(4, len(pairs))
    sheet = PIL.Image.new("RGB", (columns * (2 * side + gap), rows * (side + line + gap)), (255, 255, 255))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=line - 4)
    for number, pair in enumerate(pairs):
        left, top = number % columns * (2 * side + gap), number // columns * (side + line + gap)
        draw.text((left, top), str(number + 1), fill=(0, 0, 0), font=font)
        for place, picture in enumerate(pair):
            sheet.paste(PIL.Image.fromarray(picture), (left + place * side, top + line))
    return sheet
