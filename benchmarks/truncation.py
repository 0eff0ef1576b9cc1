"""How closely new faces follow the landmarks, by truncation: `python -m benchmarks.truncation FOLDER`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import PIL.Image

from benchmarks.contact_sheet import photos
from faceanon_hub import Face, FaceAnonPipeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=60)
    options = parser.parse_args()
    pipe = FaceAnonPipeline.from_pretrained()
    pipe.set_progress_bar_config(disable=True)
    pictures = [np.asarray(PIL.Image.open(path).convert("RGB")) for path in photos(options.folder, options.count, 7)]
    found = [[face for face in pipe.find_faces(picture) if face.landmarks is not None] for picture in pictures]
    print(
        "| truncation | faces | mesh error, % of inter-ocular distance | mouth opening error, % |\n|---|---|---|---|"
    )
    for truncation in (1.0, 0.85, 0.7, 0.4, 0.0):
        mesh, mouth = [], []
        for seed, (picture, faces) in enumerate(zip(pictures, found, strict=True)):
            after = np.asarray(pipe(picture, seed=seed, faces=[faces], truncation=truncation).images[0])
            for face in faces:
                again = Face(box=face.box, score=face.score, keypoints=face.keypoints)
                pipe.landmark_extractor(after, [again])
                if again.landmarks is None:
                    continue
                old, new = face.landmarks[:, :2], again.landmarks[:, :2]
                eyes = np.linalg.norm(old[33] - old[263])
                mesh.append(100 * np.linalg.norm(old - new, axis=1).mean() / eyes)
                opening = [np.linalg.norm(points[13] - points[14]) for points in (old, new)]
                mouth.append(100 * abs(opening[0] - opening[1]) / eyes)
        print(f"| {truncation} | {len(mesh)} | {np.mean(mesh):.2f} | {np.mean(mouth):.2f} |")


if __name__ == "__main__":
    main()
