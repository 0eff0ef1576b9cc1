"""People who do not exist, and what the pipeline makes of them: `python examples/gallery.py docs/gallery.jpg`."""

from __future__ import annotations

import sys

import numpy as np
import PIL.Image
import torch

from faceanon_hub import FaceAnonPipeline

PEOPLE, SIZE, TILE, COLUMNS = 12, 512, 200, 4


def main() -> None:
    """Draws people of seeds 0, 1, ..., and puts each beside its anonymized picture."""
    pipe = FaceAnonPipeline.from_pretrained()
    with torch.no_grad():
        styles = pipe.generator.style(pipe.generator.latents(list(range(PEOPLE))), 0.8)
        people = [PIL.Image.fromarray(picture) for picture in pipe.generator.render(styles, SIZE)]
    pairs = [
        np.hstack([np.asarray(picture.resize((TILE, TILE), PIL.Image.Resampling.LANCZOS)) for picture in pair])
        for pair in zip(people, pipe(people, seed=0).images, strict=True)
    ]
    rows = [np.hstack(pairs[start : start + COLUMNS]) for start in range(0, PEOPLE, COLUMNS)]
    PIL.Image.fromarray(np.vstack(rows)).save(sys.argv[1], quality=88)


if __name__ == "__main__":
    main()
