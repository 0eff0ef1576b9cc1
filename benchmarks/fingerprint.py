"""Hashes of results, to tell whether a change of the code changes a picture.

    python -m benchmarks.fingerprint PHOTOS CLIP > before.json

Photos of a folder, a photo changed face by face, the frames of a clip, a folder and a dataset, each with one seed.
"""

import argparse
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import torch

import faceanon_hub
from faceanon_hub import FaceAnonPipeline
from faceanon_hub.bulk.datasets import anonymize_dataset
from faceanon_hub.bulk.folders import anonymize_folder
from faceanon_hub.io.photos import PHOTO_SUFFIXES, read_photo
from faceanon_hub.video.container import VideoReader

PHOTOS, SECONDS, FILES = 40, 1.5, 3


def digest(*pictures: np.ndarray) -> str:
    """One hash of several pictures."""
    value = hashlib.sha256()
    for picture in pictures:
        value.update(np.ascontiguousarray(picture).tobytes())
    return value.hexdigest()[:16]


def pictures(folder: Path) -> list[np.ndarray]:
    """The photos below a folder, in order of their paths."""
    return [read_photo(path).pixels for path in sorted(folder.rglob("*")) if path.suffix.lower() in PHOTO_SUFFIXES]


def edited(pipe: FaceAnonPipeline) -> list[np.ndarray]:
    """A photo of two faces, rendered after each of four changes."""
    portrait = skimage.data.astronaut()
    Editor = getattr(faceanon_hub, "PhotoEditor", None) or faceanon_hub.Draft  # noqa: N806
    photo = Editor(pipe, np.concatenate([portrait, portrait[:, ::-1]], 1), seed=3)
    renders = [np.asarray(photo.render())]
    renders.append(np.asarray(photo.render(lighting_strength=0.5, color_strength=0)))
    photo.faces[0].seed = 9
    renders.append(np.asarray(photo.render(truncation=0.5, fallback="solid")))
    photo.keep(1)
    renders.append(np.asarray(photo.render(mask_margin=0.15)))
    return renders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("clip", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    pipe = FaceAnonPipeline.from_pretrained()
    pipe.set_progress_bar_config(disable=True)
    files = sorted(path for path in options.photos.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    chosen = files[:: max(1, len(files) // PHOTOS)][:PHOTOS]
    result: dict[str, object] = {}
    for number, path in enumerate(chosen):
        result[path.name] = digest(np.asarray(pipe(path, seed=number).images[0]))
    result["edited"] = digest(*edited(pipe))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        pipe.video(
            options.clip, place / "clip.mkv", seed=1, end=SECONDS, voice="drop", codec="ffv1", hide=[(0, 0, 40, 40)]
        )
        reader = VideoReader(place / "clip.mkv")
        result["video"] = digest(*(frame.pixels for frame in reader.read([])))
        reader.close()
        (place / "in").mkdir()
        for path in chosen[:FILES]:
            shutil.copy(path, place / "in")
        anonymize_folder(place / "in", place / "out", pipe=pipe, seed=2, photo_format="png")
        result["folder"] = digest(*pictures(place / "out"))
        anonymize_dataset(str(place / "in"), str(place / "rows"), seed=2, truncation=0.7)
        result["dataset"] = digest(*pictures(place / "rows"))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
