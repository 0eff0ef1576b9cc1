"""Before/after sheets of faces, to be looked at: `python -m benchmarks.contact_sheet FOLDER OUT`. Never commit one.

With `--angles` in place of a folder: the public-domain portrait's head turned through nine angles.
"""

import argparse
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
from PIL import ImageOps

from benchmarks.scenes import turned
from faceanon_hub import FaceAnonPipeline
from faceanon_hub.hub import DEFAULT_CHECKPOINT

ANGLES = (-90, -60, -40, -20, 0, 20, 40, 60, 90)
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def photos(folder: Path, count: int, seed: int) -> list[Path]:
    """A fixed random choice of the photos below a folder."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return random.Random(seed).sample(found, min(count, len(found)))


def sheets(pairs: list[list[PIL.Image.Image]], tile: int, columns: int, rows: int) -> Iterator[PIL.Image.Image]:
    """Pages of groups of pictures, each group side by side."""
    width = len(pairs[0]) * tile
    for start in range(0, len(pairs), columns * rows):
        page = PIL.Image.new("RGB", (columns * (width + 6), rows * (tile + 6)), "white")
        for place, group in enumerate(pairs[start : start + columns * rows]):
            left, top = place % columns * (width + 6), place // columns * (tile + 6)
            for number, picture in enumerate(group):
                page.paste(ImageOps.pad(picture.convert("RGB"), (tile, tile)), (left + number * tile, top))
        yield page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("out", type=Path)
    parser.add_argument("--angles", action="store_true")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--choice", type=int, default=0, help="seed of the choice of photos")
    parser.add_argument("--tile", type=int, default=150)
    parser.add_argument("--columns", type=int, default=5)
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--truncation", type=float, nargs="*", default=[0.6], help="one more picture a face for each")
    parser.add_argument("--privacy", type=float, nargs="*", default=[None], help="one more for each")
    parser.add_argument("--checkpoint", nargs="*", default=[DEFAULT_CHECKPOINT], help="one more for each")
    parser.add_argument("--no-light", action="store_true")
    parser.add_argument("--no-color", action="store_true")
    options = parser.parse_args()

    pipes = [FaceAnonPipeline.from_pretrained(checkpoint) for checkpoint in options.checkpoint]
    for pipe in pipes:
        pipe.set_progress_bar_config(disable=True)
    if options.angles:
        chosen = [PIL.Image.fromarray(turned(angle)) for angle in ANGLES]
    else:
        chosen = [
            PIL.Image.open(path).convert("RGB") for path in photos(options.folder, options.count, options.choice)
        ]
    pairs, status = [], {}
    for seed, photo in enumerate(chosen):
        faces = pipes[0].find_faces(np.asarray(photo))
        group = [photo]
        for truncation, privacy, pipe in itertools.product(options.truncation, options.privacy, pipes):
            result = pipe(
                photo,
                seed=seed,
                faces=[faces],
                truncation=truncation,
                privacy=privacy,
                lighting_strength=0 if options.no_light else None,
                color_strength=0 if options.no_color else None,
            )
            group.append(result.images[0])
        for face in result.faces[0]:
            status[face.status.value] = status.get(face.status.value, 0) + 1
        pairs.append(group)
    print(f"{len(pairs)} photos, faces: {status}")
    options.out.mkdir(parents=True, exist_ok=True)
    for number, page in enumerate(sheets(pairs, options.tile, options.columns, options.rows)):
        page.save(options.out / f"sheet-{number}.png")
        print(options.out / f"sheet-{number}.png")


if __name__ == "__main__":
    main()
