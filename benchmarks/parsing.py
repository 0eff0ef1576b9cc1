"""How well the parser tells skin, hair and the rest of real faces, by points that a person labels.

    python -m benchmarks.parsing draw OUT FOLDER... --count 70
    python -m benchmarks.parsing score OUT

`draw` writes sheets with numbered points, and `points.json`. Somebody who does not see what the parser says writes
`labels.txt`: a line `NUMBER LETTER` for each point (o other, s skin, h hair, b brow, e eye, l lip, m mouth, or ? where
that is unclear).
As many points lie in each part that the parser says as in any other, so a small part is judged, too; each point counts
for its share of the part's pixels. `score` prints the intersection over union of each part, overall and by skin tone.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from benchmarks.contact_sheet import photos
from faceanon_hub import FaceAnonPipeline
from faceanon_hub.alignment import align, transform, warp_in
from faceanon_hub.blending.regions import skin_region
from faceanon_hub.metrics import median_skin, skin_tone
from faceanon_hub.parsing import PARTS

SIDE, COLUMNS, ROWS, RADIUS = 480, 3, 2, 7  # pixels of a crop, crops of a sheet, and pixels of a ring
POINTS = {"other": 3, "skin": 3, "hair": 3, "brows": 1, "eyes": 1, "lips": 1, "mouth": 1}  # of each part in a crop
LETTERS = dict(zip("oshbelm", PARTS, strict=True))
RESAMPLES = 1000


def draw(out: Path, folders: list[Path], count: int) -> None:
    """Writes sheets of faces with points, and where these are."""
    pipe = FaceAnonPipeline.from_pretrained()
    random = np.random.default_rng(0)
    found, crops = [], []
    for path in (path for folder in folders for path in photos(folder, count, 3)):
        pixels = np.asarray(PIL.Image.open(path).convert("RGB"))
        faces = [face for face in pipe.find_faces(pixels) if face.landmarks is not None]
        if not faces:
            continue
        face = max(faces, key=lambda face: face.size)
        matrix = align(face.landmarks, SIDE)
        crop = warp_in(pixels, matrix, SIDE)
        said = pipe.parser.parse(crop).argmax(2)
        inside = warp_in(np.ones_like(pixels), matrix, SIDE, cv2.BORDER_CONSTANT)[..., 0]
        inside = cv2.resize(inside, (len(said),) * 2, interpolation=cv2.INTER_NEAREST) > 0
        tone = skin_tone(median_skin(crop, skin_region(transform(face.landmarks, matrix), SIDE)))
        points = []
        for part, number in enumerate(POINTS.values()):
            rows, columns = np.nonzero((said == part) & inside)
            number = min(number, len(rows))
            for place in random.choice(len(rows), number, replace=False) if number else ():
                x, y = (int((v[place] + 0.5) * SIDE / len(said)) for v in (columns, rows))
                points.append((x, y, PARTS[part], len(rows) / number / said.size))
        shown = crop.copy()
        for x, y, part, weight in (points[place] for place in random.permutation(len(points))):  # numbers tell nothing
            found.append({"face": len(crops), "tone": tone, "part": part, "weight": weight})
            cv2.circle(shown, (x, y), RADIUS, (255, 255, 255), 2, cv2.LINE_AA)
            cv2.circle(shown, (x, y), RADIUS, (255, 0, 0), 1, cv2.LINE_AA)
            at = (min(x + 8, SIDE - 44), max(y - 6, 14))
            for color, width in (((0, 0, 0), 3), ((255, 255, 0), 1)):
                cv2.putText(shown, str(len(found) - 1), at, 0, 0.5, color, width, cv2.LINE_AA)
        crops.append(shown)
    out.mkdir(parents=True, exist_ok=True)
    (out / "points.json").write_text(json.dumps(found))
    page = COLUMNS * ROWS
    for start in range(0, len(crops), page):
        sheet = PIL.Image.new("RGB", (COLUMNS * SIDE, ROWS * SIDE))
        for place, crop in enumerate(crops[start : start + page]):
            sheet.paste(PIL.Image.fromarray(crop), (place % COLUMNS * SIDE, place // COLUMNS * SIDE))
        sheet.save(out / f"{start // page:03d}.png")
    print(f"{len(crops)} faces, {len(found)} points")


def overlap(points: list[dict], labels: list[str], part: str, draws: np.ndarray) -> float:
    """Intersection over union of a part, each point as often as it was drawn."""
    weights = np.array([point["weight"] for point in points]) * draws
    said = np.array([point["part"] == part for point in points])
    true = np.array([label == part for label in labels])
    return float((weights * (said & true)).sum() / max(1e-9, (weights * (said | true)).sum()))


def score(out: Path) -> None:
    """Prints the table."""
    points = json.loads((out / "points.json").read_text())
    lines = (line.split() for line in (out / "labels.txt").read_text().splitlines() if line.strip())
    told = {int(number): LETTERS[letter] for number, letter in lines if letter in LETTERS}
    random = np.random.default_rng(0)
    groups = {"all": sorted(told)}
    for tone in sorted({point["tone"] for point in points}):
        groups[tone] = [number for number in sorted(told) if points[number]["tone"] == tone]
    print(f"{len(told)} of {len(points)} points are clear\n\n| part | " + " | ".join(groups) + " |")
    print("|---" * (len(groups) + 1) + "|")
    for part in PARTS:
        cells = []
        for group in groups.values():
            chosen, labels = [points[number] for number in group], [told[number] for number in group]
            faces = np.array([point["face"] for point in chosen])
            names = np.unique(faces)
            value = overlap(chosen, labels, part, np.ones(len(chosen)))
            spread = [
                overlap(
                    chosen,
                    labels,
                    part,
                    np.bincount(random.choice(names, len(names)), minlength=faces.max() + 1)[faces],
                )
                for _ in range(RESAMPLES)
            ]
            low, high = np.quantile(spread, (0.025, 0.975))
            cells.append(f"{value:.2f} ({low:.2f} to {high:.2f})")
        print(f"| {part} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("draw", "score"))
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--count", type=int, default=70, help="photos of each folder")
    given = parser.parse_args()
    if given.what == "draw":
        draw(given.out, given.folders, given.count)
    else:
        score(given.out)


if __name__ == "__main__":
    main()
