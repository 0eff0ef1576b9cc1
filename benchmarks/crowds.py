"""Which share of a crowd is found, by the width of its faces: `python -m benchmarks.crowds FOLDER [--faces 300]`.

A crowd is composed of photos of one known face each, shrunk until every face has the given width, side by side on a
grey photo of two megapixels. It is searched without and with `hide_small`. In a stand, faces grow from far to near.
"""

import argparse
import itertools
import math
import time
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from benchmarks.contact_sheet import photos
from faceanon_hub import Face, FaceDetector
from faceanon_hub.detection import SMALLEST

WIDTHS = (24, 20, 16, 14, 13, 12, 11, 10, 9, 8, 7, 6)
SIZE = 1632, 1224  # of the photo
KNOWN = 0.5  # confidence of the one face of a photo
NEAREST, DEPTHS = (20, 26, 34, 45, 60, 80, 110), (2, 4, 6, 8, 12)  # of stands: largest width, times the smallest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--faces", type=int, default=300)
    given = parser.parse_args()
    plain = FaceDetector()
    people = _people(plain, given.folder, given.faces)
    print(f"{len(people)} faces\n\n| width | found | beside faces | s | with `hide_small` | beside faces | s |")
    print("|---" * 7 + "|")
    for width in WIDTHS:
        crowd, middles = _crowd(people, width)
        cells = [f"{width} px"]
        for smallest in (None, SMALLEST):
            start = time.perf_counter()
            faces = plain(crowd, smallest=smallest)
            spent = time.perf_counter() - start
            near = _near(faces, middles, width)
            cells += [f"{near.any(0).mean():.0%}", str((~near.any(1)).sum()), f"{spent:.1f}"]
        print("| " + " | ".join(cells) + " |", flush=True)
    print("\n| widths of a stand | faces | missed | median width of those found |\n|---|---|---|---|")
    for nearest in NEAREST:
        for depth in (depth for depth in DEPTHS if nearest / depth >= SMALLEST):
            stand, middles, widths = _stand(people, nearest / depth, nearest)
            faces = plain(stand)
            missed = 1 - _near(faces, middles, widths).any(0).mean()
            middle = np.median([face.width for face in faces])
            span = f"{nearest / depth:.0f} to {nearest}"
            print(f"| {span} | {len(widths)} | {missed:.1%} | {middle:.1f} |", flush=True)


def _near(faces: list[Face], middles: np.ndarray, widths: float | np.ndarray) -> np.ndarray:
    """Which faces that are found lie on which of those that are there."""
    seen = np.array([(face.box[:2] + face.box[2:]) / 2 for face in faces]).reshape(-1, 2)
    return np.abs(seen[:, None] - middles[None]).max(2) < np.asarray(widths) / 2


def _people(detector: FaceDetector, folder: Path, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Photos that show one sure face, of different people where folders are people, and the boxes of the faces."""
    people: dict[Path, tuple[np.ndarray, np.ndarray]] = {}
    for path in photos(folder, 100_000, 0):
        if path.parent in people:
            continue
        photo = np.asarray(PIL.Image.open(path).convert("RGB"))
        faces = detector(photo)
        if len(faces) == 1 and faces[0].score >= KNOWN:
            people[path.parent] = photo, faces[0].box
        if len(people) == count:
            break
    return list(people.values())


def _crowd(people: list[tuple[np.ndarray, np.ndarray]], width: float) -> tuple[np.ndarray, np.ndarray]:
    """A photo of all of them, and the middles of their faces."""
    canvas = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
    tiles, middles = [], []
    for photo, box in people:
        scale = width / (box[2] - box[0])
        tiles.append(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        middles.append(scale * (box[:2] + box[2:]) / 2)
    cell = max(max(tile.shape[:2]) for tile in tiles)
    columns = min(SIZE[0] // cell, math.ceil(math.sqrt(len(people) * SIZE[0] / SIZE[1])))
    rows = min(SIZE[1] // cell, math.ceil(len(people) / columns))
    left, top = (SIZE[0] - columns * cell) // 2, (SIZE[1] - rows * cell) // 2
    for number, tile in enumerate(tiles[: rows * columns]):
        x, y = left + number % columns * cell, top + number // columns * cell
        canvas[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
        middles[number] = middles[number] + [x, y]
    return canvas, np.array(middles[: rows * columns])


def _stand(
    people: list[tuple[np.ndarray, np.ndarray]], far: float, near: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A photo full of them, smaller in the rows above; the middles of their faces, and their widths."""
    canvas = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
    turns, top, middles, widths = itertools.cycle(people), 0, [], []
    while True:
        width, left, height = far + (near - far) * top / SIZE[1], 0, 0
        for photo, box in turns:
            scale = width / (box[2] - box[0])
            tile = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            if left + tile.shape[1] > SIZE[0] or top + tile.shape[0] > SIZE[1]:
                break
            canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
            middles.append(scale * (box[:2] + box[2:]) / 2 + [left, top])
            widths.append(width)
            left, height = left + tile.shape[1], max(height, tile.shape[0])
        if not height:
            return canvas, np.array(middles), np.array(widths)
        top += height


if __name__ == "__main__":
    main()
