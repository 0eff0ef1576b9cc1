"""Damaged photos and clips through the pipeline: `python -m benchmarks.fuzz [--photos 3000] [--clips 300] [--seed 0]`.

Each input is made of the public-domain portrait and damaged by its number and the seed alone. What may come of it: an
error of this package that names the file, or a result in which every face and every frame was worked on. All else is
counted, with the input kept in `--out`: another error, a process that died, one that took longer than `--limit`, a
face that was left as it was, a frame that is missing. The exit code is 1 if there is any.
"""

import argparse
import io
import multiprocessing
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import av
import cv2
import numpy as np
import PIL.Image

from benchmarks.scenes import turned
from faceanon_hub.errors import FaceAnonError
from faceanon_hub.faces import FaceStatus
from faceanon_hub.hub import DEFAULT_CHECKPOINT
from faceanon_hub.io.photos import read_photo
from faceanon_hub.loading import load
from faceanon_hub.processes import end_with_parent
from faceanon_hub.video.container import DEMUXERS

SIDE, FRAMES = 128, 10
KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM")
CLIPS = {
    "mp4": "libx264", "mkv": "libvpx-vp9", "avi": "mpeg4", "ts": "libx264", "webm": "libvpx", "mov": "libx265",
    "mpg": "mpeg2video", "flv": "libx264",
}  # fmt: skip
UNTOUCHED = 2.0  # mean absolute difference in levels inside a face's box, below which nothing was done to it
FAULTS = ("untyped", "died", "hang", "unprocessed")


def portrait(angle: float = 0) -> np.ndarray:
    """The portrait's head, `SIDE` pixels wide, turned by degrees."""
    return cv2.resize(turned(angle), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def whole_photos() -> list[tuple[str, bytes]]:
    """Suffix and content of a photo in each format."""
    photos = []
    for kind in KINDS:
        stream = io.BytesIO()
        PIL.Image.fromarray(portrait()).save(stream, kind)
        photos.append((kind.lower(), stream.getvalue()))
    return photos


def whole_clips(folder: Path) -> list[tuple[str, bytes]]:
    """Suffix and content of a clip in each container."""
    clips = []
    for suffix, codec in CLIPS.items():
        path = folder / f"whole.{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, 25)
            stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
            for number in range(FRAMES):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(portrait(2.0 * number), "rgb24")))
            container.mux(stream.encode(None))
        clips.append((suffix, path.read_bytes()))
    return clips


def damaged(content: bytes, dice: random.Random) -> bytes:
    """A file with a few bytes changed, a part of it cut out, repeated or overwritten, or its end missing."""
    data = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 4))):
        # Half of all damage is done to the head of a file, where decoders believe what they read.
        start = dice.randrange(min(len(data), dice.choice((64, len(data)))))
        length = dice.choice((1, 2, 4, 16, 256))
        how = dice.randrange(6)
        if how == 0:
            data[start] ^= 1 << dice.randrange(8)
        elif how == 1:
            data[start : start + length] = dice.randbytes(len(data[start : start + length]))
        elif how == 2:
            data[start : start + length] = bytes([dice.choice((0, 255))]) * len(data[start : start + length])
        elif how == 3 and len(data) > 2 * length:
            del data[start : start + length]
        elif how == 4:
            data[start:start] = data[start : start + length]
        elif how == 5 and dice.random() < 0.3:
            del data[max(1, start) :]
    return bytes(data)


def anonymize_photo(path: Path, target: Path) -> str:
    """What became of a photo."""
    pixels = read_photo(path).pixels
    result = _pipe(path, seed=0, output_type="np")
    new = (255 * result.images[0][..., :3]).round().astype(int)
    for face in result.faces[0]:
        left, top, right, bottom = (round(float(v)) for v in face.box)
        inside = slice(max(top, 0), bottom), slice(max(left, 0), right)
        old = pixels[inside].astype(int)
        flat = old.size == 0 or np.ptp(old) < UNTOUCHED  # there is nothing to hide, and nothing to see
        if face.status is FaceStatus.FOUND or (not flat and np.abs(new[inside] - old).mean() < UNTOUCHED):
            return f"unprocessed: a face at {left},{top},{right},{bottom}"
    return "done" if result.faces[0] else "no face"


def anonymize_clip(path: Path, target: Path) -> str:
    """What became of a clip."""
    report = _pipe.video(path, target, seed=0)
    with av.open(str(target)) as made:
        written = sum(1 for _ in made.decode(video=0))
    shown = count_frames(path)
    if not shown <= report.frames == written or set(report.counts) - {"anonymized", "obfuscated"}:
        return f"unprocessed: {shown} frames shown, {report.frames} seen, {written} written; faces {report.counts}"
    return "done" if report.tracks else "no face"


def count_frames(path: Path) -> int:
    """How many frames a player shows that passes over what is damaged."""
    count = 0
    with path.open("rb") as file:
        options = {"fd": str(file.fileno()), "protocol_whitelist": "fd", "format_whitelist": ",".join(DEMUXERS)}
        with av.open("fd:", options=options, metadata_errors="ignore") as container:
            stream = container.streams.best("video")
            stream.thread_type = "NONE"
            try:
                for packet in container.demux(stream):
                    try:
                        count += len(packet.decode())
                    except av.FFmpegError:
                        continue
            except av.FFmpegError:
                return count
    return count


def serve(pipe: Connection) -> None:
    """In a process of its own: takes paths, and tells what became of each file."""
    global _pipe
    end_with_parent()
    _pipe = load(str(DEFAULT_CHECKPOINT))
    ways: dict[str, Callable[[Path, Path], str]] = {"photo": anonymize_photo, "clip": anonymize_clip}
    pipe.send("ready")
    while True:
        kind, path, target = pipe.recv()
        try:
            told = ways[kind](path, target)
        except FaceAnonError as error:
            told = f"refused: {error}" if str(path) in str(error) else f"untyped: names no file: {error!r}"
        except BaseException as error:
            told = f"untyped: {error!r}"
        pipe.send(told)


class Worker:
    """The process, started anew where it dies or is too slow."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.pipe.recv()

    def stop(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.join()

    def ask(self, kind: str, path: Path, target: Path) -> str:
        """What became of a file."""
        self.pipe.send((kind, path, target))
        try:
            if self.pipe.poll(self.limit):
                return self.pipe.recv()
            told = f"hang: longer than {self.limit:g} s"
        except EOFError:
            told = "died: no answer"
        self.stop()
        self._start()
        return told


def inputs(
    kind: str, whole: list[tuple[str, bytes]], count: int, first: int, seed: int
) -> Iterator[tuple[str, bytes]]:
    """Names and contents of damaged files."""
    for number in range(first, first + count):
        suffix, content = whole[number % len(whole)]
        yield f"{kind}-{number}.{suffix}", damaged(content, random.Random(f"{seed} {kind} {number}"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=3000)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="number of the first one of each, to go on from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=60, help="seconds for one input")
    parser.add_argument("--out", type=Path, help="folder for the inputs that are faults")
    arguments = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        worker = Worker(arguments.limit)
        for kind, whole, count in (
            ("photo", whole_photos(), arguments.photos),
            ("clip", whole_clips(folder), arguments.clips),
        ):
            counts: Counter[str] = Counter()
            for file, content in inputs(kind, whole, count, arguments.first, arguments.seed):
                path = folder / file
                path.write_bytes(content)
                told = worker.ask(kind, path, folder / f"result{path.suffix}")
                counts[told.split(":")[0]] += 1
                if told.startswith(FAULTS):
                    print(f"{file}: {told}", flush=True)
                    if arguments.out is not None:
                        arguments.out.mkdir(parents=True, exist_ok=True)
                        (arguments.out / file).write_bytes(content)
                path.unlink()
                if counts.total() % 50 == 0:
                    print(f"{counts.total()} {kind}s: {dict(counts)}", file=sys.stderr, flush=True)
            bad += sum(counts[fault] for fault in FAULTS)
            told = {name: counts[name] for name in ("done", "no face", "refused", *FAULTS)}
            print(f"{count} {kind}s: " + ", ".join(f"{number} {name}" for name, number in told.items()), flush=True)
        worker.stop()
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
