"""The demo under load, and its time beside the pipeline's own: `python -m benchmarks.demo`."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import psutil
import skimage.data
from gradio_client import Client, handle_file

from faceanon_hub import Draft, FaceAnonPipeline
from faceanon_hub.demo import launch
from faceanon_hub.io import write_photo


def portrait(side: int) -> PIL.Image.Image:
    return PIL.Image.fromarray(skimage.data.astronaut()).resize((side, side), PIL.Image.Resampling.BICUBIC)


def median_ms(function: Callable[[], object], repeats: int = 5) -> float:
    spent = []
    for _ in range(repeats + 1):  # the first one warms up
        start = time.perf_counter()
        function()
        spent.append(1000 * (time.perf_counter() - start))
    return statistics.median(spent[1:])


def speed(pipe: FaceAnonPipeline, address: str, folder: Path) -> None:
    """A 12-megapixel portrait: pipeline, draft, and the page's endpoint, in turns."""
    photo = folder / "large.jpg"
    portrait(3464).save(photo, quality=92)
    client = Client(address, verbose=False, download_files=str(folder))
    seeds = iter(range(1000))
    whole = median_ms(lambda: pipe(photo, seed=next(seeds)))
    written = median_ms(lambda: write_photo(pipe(photo, seed=next(seeds)).images[0], folder / "result.jpg"))
    served = median_ms(lambda: client.predict(handle_file(photo), seed=next(seeds), api_name="/anonymize"))
    opened = median_ms(lambda: Draft(pipe, photo, seed=next(seeds)).render())
    draft = Draft(pipe, photo)
    draft.render()
    strengths = iter(np.linspace(0, 1, 100))
    slider = median_ms(lambda: draft.render(lighting_strength=float(next(strengths))))
    print("| 12 megapixels, one face | ms | beside the pipeline |\n|---|---|---|")
    for name, value, base in (
        ("pipeline", whole, whole),
        ("pipeline, file to file", written, written),
        ("endpoint, file to file", served, written),
        ("draft, first", opened, whole),
        ("draft, light moved", slider, whole),
    ):
        print(f"| {name} | {value:.0f} | {value / base:.2f} |")


def load(address: str, folder: Path, clients: int, seconds: float) -> None:
    """Many clients at once, each asking again as soon as it is answered."""
    photo = folder / "small.png"
    portrait(512).save(photo)
    waits: list[float] = []
    errors: list[str] = []
    stop = time.monotonic() + seconds

    def visit() -> None:
        client = Client(address, verbose=False, download_files=str(folder))
        while time.monotonic() < stop:
            start = time.monotonic()
            try:
                client.predict(handle_file(photo), api_name="/anonymize")
                waits.append(time.monotonic() - start)
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")
                time.sleep(1)

    process = psutil.Process()
    before, peak = process.memory_info().rss, 0
    threads = [threading.Thread(target=visit) for _ in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.5)
    print(
        f"\n{clients} clients, {seconds:.0f} s: {len(waits)} answers, {len(errors)} errors {sorted(set(errors))[:3]}"
    )
    print(f"wait: median {statistics.median(waits):.1f} s, longest {max(waits):.1f} s")
    print(f"memory, clients included: {before / 2**30:.2f} GiB before, {peak / 2**30:.2f} GiB at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    arguments = parser.parse_args()
    pipe = FaceAnonPipeline.from_pretrained()
    pipe.set_progress_bar_config(disable=True)
    page, address = launch(pipe, prevent_thread_lock=True, quiet=True)
    with tempfile.TemporaryDirectory() as folder:
        speed(pipe, address, Path(folder))
        load(address, Path(folder), arguments.clients, arguments.seconds)
    page.close()


if __name__ == "__main__":
    main()
