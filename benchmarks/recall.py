"""Which share of faces CenterFace finds, by their width in its input: `python -m benchmarks.recall [FOLDER]`.

Photos are shrunk until each face in turn has the given width. Without a folder: the public-domain portrait alone.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import skimage.data

from benchmarks.contact_sheet import photos
from faceanon_hub import FaceDetector
from faceanon_hub.detection import SMALLEST_RELIABLE

WIDTHS = (16, 14, 12, 10, 9, 8, 7, 6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    folder = parser.parse_args().folder
    pictures = [skimage.data.astronaut()]
    if folder is not None:
        pictures = [np.asarray(PIL.Image.open(path).convert("RGB")) for path in photos(folder, 100, 0)]
    # Looks at the whole photo at its own scale, so that a face's width is that in the network's input.
    plain = FaceDetector(overview_size=2048, tile_size=2048, min_face_size=SMALLEST_RELIABLE)
    print("| threshold | " + " | ".join(f"{width} px" for width in WIDTHS) + " |")
    print("|---" * (len(WIDTHS) + 1) + "|")
    for threshold in (0.2, 0.3, 0.5):
        cells = []
        for width in WIDTHS:
            hits = []
            for picture in pictures:
                for face in FaceDetector()(picture, 0.5):
                    scale = width / (face.box[2] - face.box[0])
                    if scale > 1:
                        continue
                    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                    middle = scale * (face.box[:2] + face.box[2:]) / 2
                    centers = [(seen.box[:2] + seen.box[2:]) / 2 for seen in plain(small, threshold)]
                    hits.append(any(np.abs(center - middle).max() < width / 2 for center in centers))
            cells.append(f"{sum(hits)}/{len(hits)}")
        print(f"| {threshold} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
