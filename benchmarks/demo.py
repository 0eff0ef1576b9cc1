"""The demo under load, and its time beside the pipeline's own: `python -m benchmarks.demo`."""

import argparse
import shutil
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

from faceanon_hub import FaceAnonPipeline, PhotoEditor
from faceanon_hub.demo import launch
from faceanon_hub.demo.painter import painting
from faceanon_hub.io.photos import write_photo

SIDES = 3464, 4899  # pixels: 12 and 24 megapixels
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


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
    """A 12-megapixel portrait: pipeline, editor, and the page's endpoint, in turns, and all in the page's thread."""
    photo = folder / "large.jpg"
    portrait(3464).save(photo, quality=92)
    client = Client(address, verbose=False, download_files=str(folder))
    seeds = iter(range(1000))
    whole = median_ms(painting(lambda: pipe(photo, seed=next(seeds))))
    written = median_ms(painting(lambda: write_photo(pipe(photo, seed=next(seeds)).images[0], folder / "result.jpg")))
    served = median_ms(lambda: client.predict(handle_file(photo), seed=next(seeds), api_name="/anonymize"))
    opened = median_ms(painting(lambda: PhotoEditor(pipe, photo, seed=next(seeds)).render()))
    editor = painting(PhotoEditor)(pipe, photo)
    painting(editor.render)()
    strengths = iter(np.linspace(0, 1, 100))
    slider = median_ms(painting(lambda: editor.render(lighting_strength=float(next(strengths)))))
    print("| 12 megapixels, one face | ms | beside the pipeline |\n|---|---|---|")
    for name, value, base in (
        ("pipeline", whole, whole),
        ("pipeline, file to file", written, written),
        ("endpoint, file to file", served, written),
        ("editor, first", opened, whole),
        ("editor, light moved", slider, whole),
    ):
        print(f"| {name} | {value:.0f} | {value / base:.2f} |")


def browser(pipe: FaceAnonPipeline, address: str, folder: Path, drops: int) -> None:
    """Portraits in Chromium, on the same cores: from drop, slider and another new face to the result that is seen."""
    from playwright.sync_api import sync_playwright

    shown = "() => {const i = document.querySelector('#result .after'); return i?.offsetParent && i.complete && i.src}"
    changed = f"before => {{const now = ({shown})(); return now && now !== before}}"
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = opened.new_page()

        def timed(act: Callable[[], object]) -> float:
            page.wait_for_timeout(1500)  # the file in full size is written after the picture is there
            before = page.evaluate(shown)
            start = time.perf_counter()
            act()
            page.wait_for_function(changed, arg=before, polling=20)
            return 1000 * (time.perf_counter() - start)

        def move(strength: str) -> None:
            page.locator("#light input[type=number]").fill(strength)
            page.locator("#light input[type=number]").press("Enter")

        for side in SIDES:
            photo = folder / f"{side}.jpg"
            portrait(side).save(photo, quality=92)
            page.goto(address)
            page.wait_for_selector("#photo input[type=file]", state="attached")
            page.locator("#more button").first.click()
            spent: dict[str, list[float]] = {}
            for _ in range(drops):
                page.wait_for_selector("#photo input[type=file]", state="attached")
                spent.setdefault("drop", []).append(
                    timed(lambda: page.set_input_files("#photo input[type=file]", photo))  # noqa: B023
                )
                for strength in ("0.3", "0.7"):
                    spent.setdefault("slider", []).append(timed(lambda: move(strength)))  # noqa: B023
                spent.setdefault("another new face", []).append(timed(lambda: page.locator("#renew").click()))
                page.wait_for_timeout(1500)
                page.locator("#another").click()
            whole = median_ms(painting(lambda: pipe(photo, seed=0)), 2)  # noqa: B023
            print(f"\n{side**2 / 1e6:.0f} megapixels; the pipeline alone takes {whole:.0f} ms", flush=True)
            print(f"load of the machine: {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores")
            for name, values in spent.items():
                told = ", ".join(f"{value:.0f}" for value in values)
                print(f"{name} to result: median {statistics.median(values):.0f} ms ({told})", flush=True)
        opened.close()


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
    parser.add_argument("--browser", action="store_true", help="time the page in Chromium, and nothing else")
    parser.add_argument("--drops", type=int, default=5, help="photos of each size, with --browser")
    arguments = parser.parse_args()
    pipe = painting(FaceAnonPipeline.from_pretrained)()
    pipe.set_progress_bar_config(disable=True)
    page, address = launch(pipe, prevent_thread_lock=True, quiet=True)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.browser:
            browser(pipe, address, Path(folder), arguments.drops)
        else:
            speed(pipe, address, Path(folder))
            load(address, Path(folder), arguments.clients, arguments.seconds)
    page.close()


if __name__ == "__main__":
    main()
