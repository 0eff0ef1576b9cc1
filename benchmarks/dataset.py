"""Datasets: a plain loop beside the engines, one and two processes, memory: `python -m benchmarks.dataset`.

Every case is a fresh process of one thread each, and the cases take turns. Rates leave out the start: they begin when
each process has finished a shard. What cannot be imported is said to be so, and not measured.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

import PIL.Image
import psutil
import skimage.data

PLAIN, LOCAL, RAY_1, RAY_2, FOLDER_1, FOLDER_2 = (
    "plain loop",
    "local",
    "ray, 1 actor",
    "ray, 2 actors",
    "folder, 1 process",
    "folder, 2 processes",
)
PROCESSES = {PLAIN: 1, LOCAL: 1, RAY_1: 1, RAY_2: 2, FOLDER_1: 1, FOLDER_2: 2}


def make(folder: Path, shards: int, rows: int, side: int) -> None:
    """Photos of the portrait, each turned otherwise: as tars with a label each, and as a folder."""
    (folder / "tars").mkdir()
    (folder / "photos").mkdir()
    portrait = PIL.Image.fromarray(skimage.data.astronaut())
    for shard in range(shards):
        with tarfile.open(folder / "tars" / f"{shard:03d}.tar", "w") as tar:
            for row in range(rows):
                number = shard * rows + row
                stream = io.BytesIO()
                portrait.rotate(number % 30).resize((side, side)).save(stream, "JPEG", quality=92)
                (folder / "photos" / f"{number:05d}.jpg").write_bytes(stream.getvalue())
                for name, content in ((f"{row}.jpg", stream.getvalue()), (f"{row}.cls", b"1")):
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))


def plain_loop(source: Path, target: Path) -> list[float]:
    """What one would write by hand: read, anonymize, encode, write. Returns when each tar was done."""
    from faceanon_hub import DEFAULT_CHECKPOINT
    from faceanon_hub.io.photos import encode_photo
    from faceanon_hub.loading import load

    pipe = load(str(DEFAULT_CHECKPOINT))
    target.mkdir()
    done = []
    for path in sorted(source.iterdir()):
        with tarfile.open(path) as old, tarfile.open(target / path.name, "w") as new:
            for info in old:
                content = old.extractfile(info).read()
                if info.name.endswith(".jpg"):
                    content = encode_photo(pipe(content, seed=0).images[0], "JPEG")
                    info.size = len(content)
                new.addfile(info, io.BytesIO(content))
        done.append(time.perf_counter())
    return done


def run(case: str, folder: Path, rows: int) -> dict[str, float]:
    """Photos a second, and peak memory in GiB of a process that holds a pipeline."""
    from faceanon_hub import anonymize_dataset, anonymize_folder

    done: list[float] = []

    def on_progress(count: int, total: int, name: str) -> None:
        if count:
            done.append(time.perf_counter())

    peak, stop = [0.0], threading.Event()
    threading.Thread(target=watch, args=(peak, stop), daemon=True).start()
    target = folder / "out"
    each = rows
    if case == PLAIN:
        done = plain_loop(folder / "tars", target)
    elif case == LOCAL:
        import torch

        torch.set_num_threads(1)
        anonymize_dataset(folder / "tars", target, on_progress=on_progress)
    elif case in (RAY_1, RAY_2):
        anonymize_dataset(folder / "tars", target, engine="ray", actors=PROCESSES[case], on_progress=on_progress)
    else:
        each = 1
        anonymize_folder(folder / "photos", target, workers=PROCESSES[case], on_progress=on_progress)
    stop.set()
    skip = PROCESSES[case] * rows // each
    return {"rate": each * (len(done) - skip) / (done[-1] - done[skip - 1]), "memory": peak[0] / 2**30}


def watch(peak: list[float], stop: threading.Event) -> None:
    """The largest of this process and those below it, Ray's actors included."""
    while not stop.wait(0.2):
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            try:
                peak[0] = max(peak[0], process.memory_info().rss)
            except psutil.Error:
                continue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument("--rows", type=int, default=8, help="photos in a shard")
    parser.add_argument("--side", type=int, default=512, help="pixels of a photo's side")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", nargs="+", choices=PROCESSES, default=list(PROCESSES), metavar="CASE")
    parser.add_argument("--case", choices=PROCESSES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(run(arguments.case, arguments.folder, arguments.rows)))
        return

    measured: dict[str, list[dict[str, float]]] = {case: [] for case in arguments.cases}
    missing = {}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    for _ in range(arguments.repeats):
        for case in arguments.cases:
            if case in missing:
                continue
            with tempfile.TemporaryDirectory() as folder:
                make(Path(folder), arguments.shards, arguments.rows, arguments.side)
                command = [sys.executable, "-m", "benchmarks.dataset", "--case", case, "--folder", folder]
                command += ["--rows", str(arguments.rows)]
                done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                missing[case] = done.stderr.strip().splitlines()[-1]
            else:
                measured[case].append(json.loads(done.stdout.splitlines()[-1]))

    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{psutil.cpu_count()} cores, load averages at the end {load}; one thread a process")
    print(f"photos of {arguments.side} x {arguments.side} with one face\n")
    heads = (
        "case",
        "photos a second (lowest, highest)",
        "beside the plain loop",
        "efficiency of 2",
        "peak GiB of a process",
    )
    print(f"| {' | '.join(heads)} |\n|---|---|---|---|---|")
    rates = {case: statistics.median(r["rate"] for r in runs) for case, runs in measured.items() if runs}
    for case, rate in rates.items():
        alone = {RAY_2: RAY_1, FOLDER_2: FOLDER_1}.get(case)
        efficiency = f"{rate / rates[alone] / 2:.2f}" if alone in rates else "-"
        beside = f"{rate / rates[PLAIN]:.2f}" if PLAIN in rates else "-"
        low, high = (choose(r["rate"] for r in measured[case]) for choose in (min, max))
        memory = max(r["memory"] for r in measured[case])
        print(f"| {case} | {rate:.2f} ({low:.2f}, {high:.2f}) | {beside} | {efficiency} | {memory:.2f} |")
    for case, reason in missing.items():
        print(f"\nnot measured: {case}: {reason}")


if __name__ == "__main__":
    main()
