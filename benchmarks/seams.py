"""What one could see of the seam: `python -m benchmarks.seams FOLDER... --count 200`.

Skin and hair are told by colour here, not by the parser that is judged. In bands on both sides of the mesh's outline,
in 24 sectors, where both bands are skin:

- step: colour difference (CIEDE2000) of the two bands, less the original's own
- gradient: mean gradient across the outline, over the original's
- fringe: levels by which hair before the face has changed, in the median; what is dark, in front and reaches outside
- detail: high frequencies of the face's skin over the original's
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
from skimage.color import deltaE_ciede2000, rgb2lab

from benchmarks.contact_sheet import photos
from faceanon_hub import FaceAnonPipeline, FaceStatus
from faceanon_hub.alignment import align, transform, warp_in
from faceanon_hub.blending.seam import inner_face, silhouette

SIZE, BAND, SECTORS = 256, 5, 24  # pixels of the crop and of a band
CHEEKS = [50, 280, 205, 425, 36, 266, 151, 9, 8]
TONES = np.array([16, 7, 9])  # how far apart skin of one face is in CIELAB: shade, red, yellow
SKIN, HAIR = 1.4, 2.6  # up to and from here on, in these


def measure(before: np.ndarray, after: np.ndarray, points: np.ndarray) -> dict[str, float]:
    """What a seam shows, NaN where nothing does; both crops `(SIZE, SIZE, 3)`, the mesh in their pixels."""
    shown, inner = silhouette(points, SIZE), inner_face(points, SIZE)
    old, new = rgb2lab(before), rgb2lab(after)
    x, y = points[CHEEKS, :2].round().astype(int).T.clip(0, SIZE - 1)
    away = np.linalg.norm((cv2.GaussianBlur(old, (0, 0), 1) - np.median(old[y, x], 0)) / TONES, axis=2)
    inside, outside = (cv2.distanceTransform(mask, cv2.DIST_L2, 5) for mask in (shown, 1 - shown))
    middle = points[:468, :2].mean(0)
    rows, columns = np.indices((SIZE, SIZE))
    sector = ((np.arctan2(rows - middle[1], columns - middle[0]) / (2 * np.pi) + 0.5) * SECTORS).astype(int) % SECTORS
    steps, gradients = [], []
    slope, old_slope = (np.hypot(*np.gradient(cv2.GaussianBlur(lab[..., 0], (0, 0), 1))) for lab in (new, old))
    for number in range(SECTORS):
        bands = [(sector == number) & (depth > 1) & (depth < 1 + BAND) for depth in (inside, outside)]
        if min(band.sum() for band in bands) < 20 or max(away[band].mean() for band in bands) > SKIN:
            continue
        told, was = (deltaE_ciede2000(*(lab[band].mean(0) for band in bands)) for lab in (new, old))
        steps.append(told - was)
        rim = (sector == number) & (inside + outside < 3)
        gradients.append(slope[rim].mean() / old_slope[rim].mean())
    other = (away > HAIR).astype(np.uint8)
    parts = cv2.connectedComponents(other)[1]
    hair = np.isin(parts, np.unique(parts[(shown == 0) & (other > 0)])) & (shown > 0) & (inner == 0) & (other > 0)
    hair[int(points[9, 1]) :] = False
    changed = np.abs(after.astype(int) - before).max(2)[hair]
    skin = (cv2.erode(shown, np.ones((9, 9))) > 0) & (cv2.dilate(inner, np.ones((9, 9))) == 0) & (away < SKIN)
    fine, old_fine = (lab[..., 0] - cv2.GaussianBlur(lab[..., 0], (0, 0), 1.5) for lab in (new, old))
    return {
        "step": float(np.median(steps)) if steps else np.nan,
        "gradient": float(np.median(gradients)) if gradients else np.nan,
        "fringe": float(np.median(changed)) if hair.sum() > 60 else np.nan,
        "detail": float(fine[skin].std() / old_fine[skin].std()) if skin.sum() > 200 else np.nan,
    }


def main() -> None:
    """Prints medians, quartiles and how many faces told each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=200, help="photos of each folder")
    given = parser.parse_args()
    pipe = FaceAnonPipeline.from_pretrained()
    pipe.set_progress_bar_config(disable=True)
    found = []
    for path in (path for folder in given.folders for path in photos(folder, given.count, 0)):
        picture = np.asarray(PIL.Image.open(path).convert("RGB"))
        result = pipe(picture, seed=1)
        face = max(result.faces[0], key=lambda face: face.size, default=None)
        if face is None or face.landmarks is None or face.status is not FaceStatus.ANONYMIZED:
            continue
        matrix = align(face.landmarks, SIZE)
        before, after = (warp_in(np.asarray(image), matrix, SIZE) for image in (picture, result.images[0]))
        found.append(measure(before, after, transform(face.landmarks, matrix)))
    print("| | faces | median | quartiles |\n|---|---|---|---|")
    for name in found[0]:
        values = np.array([row[name] for row in found])
        values = values[~np.isnan(values)]
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        print(f"| {name} | {len(values)} | {middle:.2f} | {low:.2f} to {high:.2f} |")


if __name__ == "__main__":
    main()
