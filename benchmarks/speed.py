"""Time by stage, memory and start-up, and the network alone at each size of its pictures.

Run it on an otherwise idle machine: `make bench`.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.scenes import crowd
from faceanon_hub import FaceAnonPipeline
from faceanon_hub.alignment import align, transform, warp_in
from faceanon_hub.blending import regions
from faceanon_hub.pipeline import SMALL

# Of the pipeline, or of one of its components; those that hold another one are shown without it.
STAGES = {
    "detector": "detection",
    "find_faces": "landmarks",
    "prepare_scene": "numbers, erasing, crops",
    "generator": "network",
    "draw_faces": "looks, steps, placing",
    "compose": "light, colour, pasting",
}
MEMORY = """
from pathlib import Path
from benchmarks.scenes import crowd
from faceanon_hub import FaceAnonPipeline
FaceAnonPipeline.from_pretrained()(crowd(), seed=0)
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) / 2**20)
"""


def timed(function: Callable[..., Any], spent: dict[str, float], name: str) -> Callable[..., Any]:
    """Adds the time of every call to `spent[name]`."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - start

    return wrapped


def by_stage(pipe: FaceAnonPipeline, photo: np.ndarray, repeats: int = 5) -> tuple[dict[str, float], int]:
    """Milliseconds of each stage for one photo, the fastest run of several, and the number of faces."""
    runs = []
    for _ in range(repeats + 1):  # the first one warms up
        spent: dict[str, float] = {}
        whole = time.perf_counter()
        with_timers = {}
        for name in STAGES:
            component = pipe.components.get(name)
            target = type(pipe) if component is None else type(component)
            method = name if component is None else "render" if name == "generator" else "__call__"
            with_timers[target, method] = getattr(target, method)
            setattr(target, method, timed(getattr(target, method), spent, name))
        try:
            faces = len(pipe(photo, seed=0).faces[0])
        finally:
            for (target, method), original in with_timers.items():
                setattr(target, method, original)
        spent["total"] = time.perf_counter() - whole
        runs.append(spent)
    best = min(runs[1:], key=lambda run: run["total"])
    return {name: 1000 * seconds for name, seconds in best.items()}, faces


def network(pipe: FaceAnonPipeline, size: int, repeats: int = 9) -> float:
    """Milliseconds of a picture of this size, the median of several."""
    styles, spent = pipe.generator.style(pipe.generator.latents(range(repeats + 1))).detach(), []
    for style in styles:
        start = time.perf_counter()
        pipe.generator.render(style[None], size)
        spent.append(1000 * (time.perf_counter() - start))
    return float(np.median(spent[1:]))


def post_processors(pipe: FaceAnonPipeline, repeats: int = 50) -> dict[str, float]:
    """Milliseconds a face that the post-processors take on one thread."""
    photo = crowd(columns=1, rows=1, faces=1)
    landmarks = pipe.find_faces(photo)[0].landmarks
    matrix = align(landmarks, SMALL)
    crop, points = warp_in(photo, matrix, SMALL), transform(landmarks, matrix)
    skin = regions.skin_region(points, SMALL)
    light, color, region = (
        pipe.lighting_transfer,
        pipe.skin_color_transfer,
        regions.face_region(points, SMALL).astype(np.float32),
    )
    told, other = light.estimate(crop, points), color.estimate(crop, skin) + 1
    steps: dict[str, Callable[[], Any]] = {
        "light, coefficients": lambda: light.estimate(crop, points),
        "light, transfer": lambda: light(crop, points, region, told),
        "colour, coefficients": lambda: color.estimate(crop, skin),
        "colour, transfer": lambda: color(crop, skin, region, other),
    }
    spent = {}
    for name, step in steps.items():
        step()
        start = time.perf_counter()
        for _ in range(repeats):
            step()
        spent[name] = 1000 * (time.perf_counter() - start) / repeats
    return spent


def fresh(code: str) -> str:
    """Output of a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    pipe = FaceAnonPipeline.from_pretrained()
    pipe.set_progress_bar_config(disable=True)
    print(f"torch threads: {torch.get_num_threads()}\n")

    print("| network, size of the picture | ms |\n|---|---|")
    for size in pipe.generator.config.sizes:
        print(f"| {size} | {network(pipe, size):.0f} |")

    photo = crowd()
    spent, faces = by_stage(pipe, photo)
    rest = spent["total"] - spent["generator"]
    spent["draw_faces"] -= spent["generator"]
    spent["find_faces"] -= spent["detector"]
    print(f"\n| stage, {photo.shape[1]} x {photo.shape[0]}, {faces} faces | ms | ms a face |\n|---|---|---|")
    for name, label in STAGES.items():
        print(f"| {label} | {spent[name]:.0f} | {spent[name] / faces:.1f} |")
    print(f"| all but the network | {rest:.0f} | {rest / faces:.1f} |")
    print(f"| total | {spent['total']:.0f} | {spent['total'] / faces:.1f} |")

    spent = post_processors(pipe)
    print("\n| post-processors, one face, one thread | ms |\n|---|---|")
    for name, value in {**spent, "together": sum(spent.values())}.items():
        print(f"| {name} | {value:.1f} |")

    print(f"\npeak memory, fresh process, same photo: {float(fresh(MEMORY)):.2f} GiB")
    clock = "import time; start = time.perf_counter(); import faceanon_hub; {}print(time.perf_counter() - start)"
    print(f"import faceanon_hub: {float(fresh(clock.format(''))):.3f} s")
    load = clock.format("faceanon_hub.FaceAnonPipeline.from_pretrained(); ")
    print(f"import and load the pipeline: {float(fresh(load)):.1f} s")


if __name__ == "__main__":
    main()
