"""Which share of faces is found in turned photos, what else is found, and in what time.

    python -m benchmarks.turned FOLDER... --count 30

Faces that the upright photo shows surely count; also in crowds that are made of them, at 20, 28 and 40 px. With
`--detection FILE`, another version of `faceanon_hub/detection.py` beside the package's.
"""

import argparse
import importlib.util
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image

from benchmarks.contact_sheet import photos
from faceanon_hub import FaceDetector, LandmarkExtractor

ANGLES, WIDTHS = (0, 30, 45, 60, 90, 180), (20, 28, 40)
LONGEST = 1600  # pixels of a photo's side
SURELY = 0.5


def turned(photo: np.ndarray, boxes: list[np.ndarray], angle: float) -> tuple[np.ndarray, list[tuple[Any, float]]]:
    """The photo turned to the left, and centre and side of the faces in it."""
    height, width = photo.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
    cos, sin = np.abs(matrix[0, :2])
    size = int(height * sin + width * cos), int(height * cos + width * sin)
    matrix[:, 2] += (np.array(size) - (width, height)) / 2
    picture = cv2.warpAffine(photo, matrix, size, flags=cv2.INTER_CUBIC, borderValue=(90, 90, 90))
    middles = [matrix[:, :2] @ ((box[:2] + box[2:]) / 2) + matrix[:, 2] for box in boxes]
    return picture, [(middle, max(box[2:] - box[:2])) for middle, box in zip(middles, boxes, strict=True)]


def crowd(tiles: list[np.ndarray], width: int, random: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    """A picture of 640 x 480 with faces of a size, and their boxes."""
    picture = np.full((480, 640, 3), 110, np.uint8) + random.integers(0, 30, (480, 640, 1), dtype=np.uint8)
    boxes, cell = [], 3 * width
    for top in range(10, 480 - cell, cell):
        for left in range(10, 640 - cell, cell):
            tile = tiles[random.integers(len(tiles))]
            scale = 1.6 * width / len(tile)
            tile = cv2.resize(tile, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            picture[top : top + len(tile), left : left + tile.shape[1]] = tile
            middle = np.array([left + tile.shape[1] / 2, top + len(tile) / 2])
            boxes.append(np.concatenate([middle - width / 2, middle + width / 2]))
    return picture, boxes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=30, help="photos of each folder")
    parser.add_argument("--detection", type=Path)
    given = parser.parse_args()
    detectors, extractor = {"this": FaceDetector()}, LandmarkExtractor()
    if given.detection is not None:
        spec = importlib.util.spec_from_file_location("faceanon_hub.detection_before", given.detection)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        detectors = {"before": module.FaceDetector(), **detectors}
    scenes, tiles = [], []
    for folder in given.folders:
        for path in photos(folder, given.count, 5):
            image = PIL.Image.open(path).convert("RGB")
            image.thumbnail((LONGEST, LONGEST))
            photo = np.asarray(image)
            faces = [face for face in extractor(photo, detectors["this"](photo, SURELY)) if face.landmarks is not None]
            scenes.append((folder.name, photo, [face.box for face in faces]))
            if len(faces) == 1:
                left, top, right, bottom = faces[0].box + 0.3 * faces[0].size * np.array([-1, -1, 1, 1])
                if min(left, top) >= 0 and right <= photo.shape[1] and bottom <= photo.shape[0]:
                    tiles.append(photo[int(top) : int(bottom), int(left) : int(right)])
    random = np.random.default_rng(0)
    scenes += [(f"crowd of {width} px", *crowd(tiles, width, random)) for width in WIDTHS for _ in range(2)]
    print("| photos | detector | " + " | ".join(f"{angle} degrees" for angle in ANGLES) + " | ms, upright |")
    print("|---" * (len(ANGLES) + 3) + "|")
    for name in dict.fromkeys(scene[0] for scene in scenes):
        for detector_name, detector in detectors.items():
            cells, times = [], []
            for angle in ANGLES:
                hits, others = [], 0
                for photo, boxes in (scene[1:] for scene in scenes if scene[0] == name):
                    picture, places = turned(photo, boxes, angle)
                    start = time.perf_counter()
                    found = np.array([(face.box[:2] + face.box[2:]) / 2 for face in detector(picture)]).reshape(-1, 2)
                    times += [time.perf_counter() - start] if not angle else []
                    near = [np.abs(found - place).max(1) < side / 2 for place, side in places]
                    hits += [bool(one.any()) for one in near]
                    others += len(found) - int(np.any(near, axis=0).sum() if near else 0)
                cells.append(f"{sum(hits)} of {len(hits)}, {others} more")
            print(f"| {name} | {detector_name} | " + " | ".join(cells) + f" | {1000 * np.median(times):.0f} |")


if __name__ == "__main__":
    main()
