"""How far new faces follow lids and brows, told as found and emphasized: `python -m benchmarks.emphasis FOLDER`.

The slope of what is painted over what was asked for gives a checkpoint's `lid_emphasis` and `brow_emphasis`, which are
its reciprocals, and the value that is painted as asked those of `conditioning`, at rest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import PIL.Image

from benchmarks.contact_sheet import photos
from faceanon_hub import Face, FaceAnonPipeline
from faceanon_hub.alignment import align, transform
from faceanon_hub.conditioning import lids_and_brows
from faceanon_hub.hub import DEFAULT_CHECKPOINT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--checkpoint", default=DEFAULT_CHECKPOINT)
    options = parser.parse_args()
    pipe = FaceAnonPipeline.from_pretrained(options.checkpoint)
    pipe.set_progress_bar_config(disable=True)
    config, size = pipe.generator.config, pipe.generator.config.sample_size
    settings = [(1.0, 1.0), (config.lid_emphasis, config.brow_emphasis)]
    asked: list[np.ndarray] = []
    painted: list[list[np.ndarray]] = [[] for _ in settings]
    for seed, path in enumerate(photos(options.folder, options.count, 11)):
        picture = np.asarray(PIL.Image.open(path).convert("RGB"))
        faces = [face for face in pipe.find_faces(picture) if face.landmarks is not None]
        if not faces:
            continue
        face, again = max(faces, key=lambda face: face.size), []
        for lids, brows in settings:
            pipe.generator.register_to_config(lid_emphasis=lids, brow_emphasis=brows)
            after = np.asarray(pipe(picture, seed=seed, faces=[[face]], identity_shape=0).images[0])
            again.append(Face(face.box, face.score, face.keypoints))
            pipe.landmark_extractor(after, [again[-1]])
        if any(new.landmarks is None for new in again):
            continue
        asked.append(lids_and_brows(transform(face.landmarks, align(face.landmarks, size))))
        for new, rows in zip(again, painted, strict=True):
            rows.append(lids_and_brows(transform(new.landmarks, align(new.landmarks, size))))
    print("| | emphasis | faces | slope | at rest | correlation | mean error |\n|---|---|---|---|---|---|---|")
    for what, name in enumerate(("lids", "brows")):
        for setting, rows in zip(settings, painted, strict=True):
            old, new = (np.array(values)[:, :, what].ravel() for values in (asked, rows))
            slope, base = np.polyfit(old, new, 1)
            rest, correlation = base / (1 - slope), np.corrcoef(old, new)[0, 1]
            print(
                f"| {name} | {setting[what]} | {len(asked)} | {slope:.2f} | {rest:.3f} | {correlation:.2f} "
                f"| {np.abs(new - old).mean():.3f} |"
            )


if __name__ == "__main__":
    main()
