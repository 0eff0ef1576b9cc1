"""What came out against what went in: faces that look unchanged, by detectors of other making than the pipeline's."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..alignment import similarity as square
from ..alignment import warp_in
from ..bulk.tree import kind_of, output_of, walk
from ..detection import FaceDetector
from ..errors import FaceAnonError, UnreadableError, cause_of
from ..files import check_name
from ..io.photos import MAX_PIXELS, read_photo
from ..metrics import DlibSearch, Sighting, covered
from ..video.container import Frame, VideoReader

# Measured in docs/privacy.md: replaced and blurred faces stay below, recompressed and brightened ones above.
LIKE = 0.9
NEAR = 0.45  # distance of dlib's embeddings
INNER, SIZE = 0.7, 48  # of the box, and pixels, in which two faces are compared
NOISE = 9.0  # variance of grey that says nothing
FLAT = 2.0  # standard deviation of grey below which a place shows no face
ASPECT = 0.02  # by which the shapes of two photos may differ
EVERY = 1.0  # seconds between frames of a video that are looked at
APART = 0.1  # seconds by which frames of original and result may differ
SHOWN, MARGIN = 128, 0.3  # pixels of a picture for the sheet, and how much it shows round the box
MOST_SHOWN = 200  # faces on a sheet


@dataclass(frozen=True, eq=False)
class UnchangedFace:
    """A face that looks unchanged.

    Args:
        path (`str`):
            The original, below its folder; its name where it was one file.
        box (`tuple[float, float, float, float]`):
            Left, top, right, bottom in pixels of the upright original.
        reason (`str`):
            Why, in words.
        time (`float`, *optional*):
            Of the frame, in seconds, in a video.
        pictures (`tuple[np.ndarray, np.ndarray]`, *optional*):
            The place before and after, each of shape `(128, 128, 3)`, uint8; of the first 200 faces.
    """

    path: str
    box: tuple[float, ...]
    reason: str
    time: float | None = None
    pictures: tuple[np.ndarray, np.ndarray] | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """A record ready for JSON; of the face it holds the place alone."""
        return {"path": self.path, "time": self.time, "box": list(self.box), "reason": self.reason}


@dataclass
class CheckReport:
    """What a check found.

    Args:
        photos, videos (`int`):
            Pairs that were compared.
        faces (`int`):
            Seen in the originals, over all photos and frames.
        unchanged (`list[UnchangedFace]`):
            Those that look unchanged.
        failures (`dict[str, str]`):
            Why files could not be compared, or not wholly, by path: no result, no original, another shape, unreadable.
        notes (`dict[str, str]`):
            What differs beside the faces, by path: the size.
    """

    photos: int = 0
    videos: int = 0
    faces: int = 0
    unchanged: list[UnchangedFace] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All of it but the pictures, ready for JSON."""
        counts = {"photos": self.photos, "videos": self.videos, "faces": self.faces}
        others = {"failures": self.failures, "notes": self.notes}
        return {**counts, "unchanged": [face.to_dict() for face in self.unchanged], **others}


@dataclass(frozen=True, eq=False)
class Match:
    """A face of an original that is in the result, too: its boxes `(4,)` in both, in pixels, and why, in words."""

    box: np.ndarray
    place: np.ndarray
    reason: str


class Checker:
    """Compares photos with their results.

    Faces are those of [`metrics.DlibSearch`] and, beside them, those of the pipeline's detector. One looks unchanged

    - if its inner part has the same pixels, or a structural similarity (Wang et al. 2004, without the term of
      brightness; grey, 48 pixels a side, lightly blurred) of 0.9 or more, or
    - if dlib's recognizer takes a face anywhere in the result for it, by a distance below 0.45.

    Raises:
        MissingDependencyError: the extra `eval` is not installed.
    """

    def __init__(self) -> None:
        self._search, self._detector = DlibSearch(), FaceDetector()

    def __call__(self, before: np.ndarray, after: np.ndarray) -> tuple[int, list[Match]]:
        """Compares a photo with its result.

        Args:
            before, after (`np.ndarray` of shape `(H, W, 3)`, uint8):
                Upright RGB; sizes may differ. Where their shapes do, only the recognizer compares them.

        Returns:
            `tuple[int, list[Match]]`: number of faces of the photo, and those that look unchanged.
        """
        seen = self._search(before)
        others = np.array([face.box for face in self._detector(before)], np.float32).reshape(-1, 4)
        others = others[~covered(others, np.array([face.box for face in seen], np.float32).reshape(-1, 4))]
        # The larger of the two is made smaller: what it alone holds would be taken for a change.
        size = min(before.shape[1::-1], after.shape[1::-1])
        one, two = (_resized(image, size) for image in (before, after))
        ratios = [np.tile(size, 2) / np.tile(image.shape[1::-1], 2) for image in (before, after)]
        alike: list[Match] = []
        changed: list[Sighting] = []
        for number, face in enumerate([*seen, *map(Sighting, others)]):
            place = face.box * ratios[0]
            reason = _unchanged(one, two, place) if same_shape(before, after) else ""
            if reason:
                alike.append(Match(face.box, place / ratios[1], reason))
            elif number < len(seen):  # its box is as the recognizer needs it
                changed.append(face)
        return len(seen) + len(others), [*alike, *self._moved(before, after, changed)]

    def _moved(self, before: np.ndarray, after: np.ndarray, faces: list[Sighting]) -> Iterator[Match]:
        """Faces that the recognizer finds in the result, wherever they are."""
        # What only the network finds looks aside, and the recognizer is unsure of it.
        there = self._search(after, network=False) if faces else []
        known = [self._search.describe(after, face) for face in there]
        for face in faces if known else ():
            distances = np.linalg.norm(np.stack(known) - self._search.describe(before, face), axis=1)
            best = int(distances.argmin())
            if distances[best] < NEAR:
                reason = f"a recognizer knows it in the result, distance {distances[best]:.2f}"
                yield Match(face.box, there[best].box, reason)


def same_shape(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether two photos are as wide for their height, so that a place in one can be found in the other."""
    ratio = (before.shape[1] * after.shape[0]) / (before.shape[0] * after.shape[1])
    return abs(ratio - 1) < ASPECT


def _unchanged(before: np.ndarray, after: np.ndarray, box: np.ndarray) -> str:
    """Why a place looks the same in two pictures of one size; empty where it does not."""
    middle, half = (box[:2] + box[2:]) / 2, INNER * (box[2:] - box[:2]) / 2
    (left, top), (right, bottom) = np.floor(middle - half).astype(int), np.ceil(middle + half).astype(int)
    one, two = (image[top:bottom, left:right] for image in (before, after))
    if np.array_equal(one, two):
        return "the same pixels"
    grey = _grey(one)
    alike = similarity(grey, _grey(two)) if grey.std() > FLAT else 0
    return f"looks the same, {alike:.2f} of 1" if alike >= LIKE else ""


def _grey(place: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(_resized(place, (SIZE, SIZE)), cv2.COLOR_RGB2GRAY)
    return cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1)


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Structural similarity without its term of brightness, mean over windows of 3 pixels' deviation.

    Pictures are `(H, W)`, float32, grey in [0, 255]. -1 to 1; 1 where only brightness differs.
    """

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (0, 0), 3)

    one, two = mean(first), mean(second)
    spread = mean(first * first) - one * one + mean(second * second) - two * two
    return float(((2 * (mean(first * second) - one * two) + NOISE) / (spread + NOISE)).mean())


def check_results(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    suffix: str = "",
    photo_format: str | None = None,
    max_pixels: int = MAX_PIXELS,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> CheckReport:
    """Compares photos and videos with their results, and lists the faces that look unchanged.

    A face that was changed in part may pass, and one that no detector sees does: this is no guarantee either.

    Args:
        source, target (`str` or `os.PathLike`):
            A photo or video and its result; or two folders, of originals and results as `anonymize_folder` makes
            them, under the same paths.
        suffix, photo_format (`str`, *optional*):
            How the names of results differ, as given to `anonymize_folder`.
        max_pixels (`int`, *optional*, defaults to `100_000_000`):
            Photos of more pixels are refused before they are decoded.
        on_progress (`Callable`, *optional*):
            Called as `on_progress(done, total, path)`.

    Returns:
        [`CheckReport`]. In folders a file that cannot be compared stops no other; look at its `failures`. Of videos a
        frame a second, the first and the last are looked at.

    Raises:
        UnreadableError: there is no such file or folder; of two files, one cannot be read.
        MissingDependencyError: the extra `eval` is not installed; of two videos, PyAV is not.
        ValueError: one is a folder and the other is none, or one is a photo and the other a video.

    Example:
        ```py
        >>> from faceanon_hub import check_results

        >>> report = check_results("photos", "anonymized")
        >>> [(face.path, face.box) for face in report.unchanged], report.failures
        ```
    """
    for given in (source, target):
        check_name(Path(given), UnreadableError)
        if not Path(given).exists():
            raise UnreadableError(os.fspath(given), "no such file or folder")
    source, target = Path(source), Path(target)
    if source.is_dir() != target.is_dir():
        raise ValueError(f"{source} and {target}: one is a folder, the other is none")
    checker, report = Checker(), CheckReport()
    if not source.is_dir():
        if kind_of(source.name) != kind_of(target.name):
            raise ValueError(f"{source} and {target}: not both photos, or both videos")
        _compare(checker, report, source.name, source, target, max_pixels)
        return report
    ending = None if photo_format is None else f".{photo_format.lower().lstrip('.')}"
    pairs = _pairs(source, target, suffix, ending, report.failures)
    for number, (path, result) in enumerate(pairs.items()):
        if on_progress is not None:
            on_progress(number, len(pairs), path)
        try:
            _compare(checker, report, path, source / path, target / result, max_pixels)
        except FaceAnonError as error:
            report.failures[path] = cause_of(error)
    return report


def _pairs(
    source: Path, target: Path, suffix: str, photo_format: str | None, failures: dict[str, str]
) -> dict[str, str]:
    """Results by originals; what has no other is a failure."""
    (originals, _, closed), (results, _, hidden) = walk(source), walk(target)
    failures.update(closed | hidden)
    known = {path for path in results if kind_of(path) != "other"}
    pairs = {
        path: output_of(path, kind_of(path), suffix, photo_format) for path in originals if kind_of(path) != "other"
    }
    failures.update({path: "no result" for path, result in pairs.items() if result not in known})
    failures.update(dict.fromkeys(sorted(known - set(pairs.values())), "no original"))
    return {path: result for path, result in pairs.items() if result in known}


def _compare(checker: Checker, report: CheckReport, path: str, source: Path, target: Path, max_pixels: int) -> None:
    """Compares a photo or video with its result, and puts what it finds into the report."""
    if kind_of(path) == "video":
        with closing(VideoReader(source)) as before, closing(VideoReader(target)) as after:
            for one, two in zip_longest(_sampled(before), _sampled(after)):
                if one is None or two is None or abs(one.time - two.time) > APART:
                    at = min(frame.time for frame in (one, two) if frame is not None)
                    report.failures[path] = f"the frames differ in time from {at:.2f} s on: not compared any further"
                    break
                _compare_pixels(checker, report, path, one.pixels, two.pixels, one.time)
        report.videos += 1
    else:
        photos = [read_photo(place, max_pixels=max_pixels).pixels for place in (source, target)]
        _compare_pixels(checker, report, path, photos[0], photos[1], None)
        report.photos += 1


def _compare_pixels(
    checker: Checker, report: CheckReport, path: str, before: np.ndarray, after: np.ndarray, time: float | None
) -> None:
    if before.shape != after.shape:
        (height, width), (high, wide) = before.shape[:2], after.shape[:2]
        others = f"{width} x {height} pixels became {wide} x {high}"
        if same_shape(before, after):
            report.notes[path] = others
        else:
            report.failures[path] = f"{others}: of another shape, only what a recognizer knows was looked for"
    count, matches = checker(before, after)
    report.faces += count
    for match in matches:
        pictures = None
        if len(report.unchanged) < MOST_SHOWN:
            pictures = _picture(before, match.box), _picture(after, match.place)
        box = tuple(round(float(v), 1) for v in match.box)
        report.unchanged.append(UnchangedFace(path, box, match.reason, time, pictures))


def _sampled(reader: VideoReader) -> Iterator[Frame]:
    """A frame a second, and the last."""
    due, last = 0.0, None
    for frame in reader.read([]):
        last = frame
        if frame.time > due - APART / 10:
            due += EVERY
            last = None
            yield frame
    if last is not None:
        yield last


def _picture(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """A square round a face, `(128, 128, 3)` uint8."""
    side = (1 + 2 * MARGIN) * float(max(box[2:] - box[:2]))
    return warp_in(image, square((box[:2] + box[2:]) / 2, side, 0.0, SHOWN), SHOWN)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image of so many pixels in width and height; the same one where it has them."""
    if image.shape[1::-1] == size:
        return image
    smaller = size[0] < image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
