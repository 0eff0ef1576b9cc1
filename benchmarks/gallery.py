"""The picture of the README: drawn people in place of photos, and what becomes of them.

python -m benchmarks.gallery docs/people.jpg

No real person is shown. Those who are anonymized are drawn by the bundled generator; their seeds were chosen for their
different ages and origins. The new faces are of seed 0, all of them.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np
import PIL.Image

from faceanon_hub import FaceAnonPipeline

PEOPLE = (2, 4, 7, 17, 24, 32, 35, 47)  # seeds
TRUNCATION, TILE, COLUMNS = 0.8, 224, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--people", type=int, nargs="*", default=PEOPLE, help="seeds of those who are anonymized")
    options = parser.parse_args()
    pipe = FaceAnonPipeline.from_pretrained()
    generator = pipe.generator
    photos = generator.render(generator.style(generator.latents(options.people), TRUNCATION))
    pairs = []
    for photo in photos:
        result = pipe(PIL.Image.fromarray(photo), seed=0)
        print([(face.status.value, face.reason) for face in result.faces[0]])
        both = (photo, np.asarray(result.images[0]))
        pairs.append(np.hstack([cv2.resize(one, (TILE, TILE), interpolation=cv2.INTER_AREA) for one in both]))
    rows = [np.hstack(pairs[start : start + COLUMNS]) for start in range(0, len(pairs), COLUMNS)]
    PIL.Image.fromarray(np.vstack(rows)).save(options.out, quality=90)


if __name__ == "__main__":
    main()
