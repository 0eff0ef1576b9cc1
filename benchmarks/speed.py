"""Time by stage, memory and start-up; the network beside the prototype's, where that is at hand, in the same run.

Run it on an otherwise idle machine: `make bench`.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.scenes import crowd
from faceanon_hub import FaceAnonPipeline

PROTOTYPE = Path(__file__).parents[2] / "shared" / "prototype"
STAGES = {
    "detector": "detection",
    "find_faces": "landmarks",
    "prepare_scene": "coefficients, erasing, crops",
    "generator": "network",
    "generate": "tensors",
    "correct": "light and colour",
    "compose": "pasting",
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
    running = False

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal running
        if running:  # the network calls itself for each face of a batch
            return function(*args, **kwargs)
        running, start = True, time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            running = False
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
            method = name if component is None else "forward" if name == "generator" else "__call__"
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


def reference() -> Any:
    """The prototype's network, or None where it is not at hand."""
    if not PROTOTYPE.is_dir():
        return None
    spec = importlib.util.spec_from_file_location("reference", PROTOTYPE / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load(PROTOTYPE / "generator-128.safetensors")


@torch.no_grad()
def network(pipe: FaceAnonPipeline, batch: int, repeats: int = 9) -> tuple[float, float | None]:
    """Milliseconds a face of our network and of the reference, in turns, each the median of several runs."""
    arguments = _inputs(batch)
    noise = [torch.randn(batch, *shape) for shape in pipe.generator.noise_shapes]
    theirs = reference()
    ours_ms, theirs_ms = [], []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        pipe.generator(*arguments, noise)
        ours_ms.append(1000 * (time.perf_counter() - start) / batch)
        if theirs is not None:
            start = time.perf_counter()
            theirs(*arguments)
            theirs_ms.append(1000 * (time.perf_counter() - start) / batch)
    return float(np.median(ours_ms[1:])), float(np.median(theirs_ms[1:])) if theirs_ms else None


def _inputs(batch: int) -> tuple[torch.Tensor, ...]:
    """Image, mask of the portrait's face, condition and latent."""
    from faceanon_hub.alignment import align, transform
    from faceanon_hub.conditioning import condition, draw_maps

    photo = crowd(columns=1, rows=1, faces=1)
    points = FaceAnonPipeline.from_pretrained().find_faces(photo)[0].landmarks
    maps = torch.from_numpy(draw_maps(transform(points, align(points, 128)), 128))[None].float().repeat(batch, 1, 1, 1)
    return torch.randn(batch, 3, 128, 128), maps[:, :1], condition(maps), torch.randn(batch, 64)


def post_processors(pipe: FaceAnonPipeline, repeats: int = 50) -> dict[str, float]:
    """Milliseconds a face that the post-processors take on one thread."""
    from faceanon_hub.alignment import align, transform, warp_in
    from faceanon_hub.conditioning import draw_maps, skin_masks

    photo = crowd(columns=1, rows=1, faces=1)
    landmarks = pipe.find_faces(photo)[0].landmarks
    matrix = align(landmarks, 128)
    crop, points = warp_in(photo, matrix, 128), transform(landmarks, matrix)
    skin = skin_masks(torch.from_numpy(draw_maps(points, 128))[None].float())[0, 0].numpy()
    light, color, region = pipe.lighting_transfer, pipe.skin_color_transfer, np.ones((128, 128), np.float32)
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

    print("| network, ms a face | ours | prototype, eager | ratio |\n|---|---|---|---|")
    for batch in (1, 8):
        ours, theirs = network(pipe, batch)
        other = "absent | -" if theirs is None else f"{theirs:.0f} | {ours / theirs:.2f}"
        print(f"| batch {batch} | {ours:.0f} | {other} |")

    photo = crowd()
    spent, faces = by_stage(pipe, photo)
    spent["generate"] -= spent["generator"]
    spent["find_faces"] -= spent["detector"]
    print(f"\n| stage, {photo.shape[1]} x {photo.shape[0]}, {faces} faces | ms | ms a face |\n|---|---|---|")
    for name, label in STAGES.items():
        print(f"| {label} | {spent[name]:.0f} | {spent[name] / faces:.1f} |")
    rest = spent["total"] - spent["generator"]
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
