"""Photos to boxes: found, in place, once, at any size of face and photo."""

import subprocess
import sys
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceanon_hub import FaceDetector, detection
from faceanon_hub.io.photos import read_photo
from faceanon_hub.video.tracking import overlap

BOX = np.array([178, 57, 273, 184])  # round the portrait's face, drawn by hand
WIDTH = BOX[2] - BOX[0]
MEBIBYTE = 2**20
EXTREME_SHAPES = [(1, 1), (5, 5), (10, 4000), (4000, 10)]
THIN_SHAPES = [(3, 4000), (4000, 1)]


def resized(image: np.ndarray, scale: float) -> np.ndarray:
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def scene(portrait: np.ndarray, shape: tuple[int, int], faces: list[tuple[int, int, float]]):
    """A grey photo with shrunk portraits, given by left, top and width of the face; and the boxes of the faces."""
    photo, boxes = np.full((*shape, 3), 128, np.uint8), []
    for left, top, width in faces:
        small = resized(portrait, width / WIDTH)
        photo[top : top + len(small), left : left + len(small)] = small
        boxes.append(BOX * len(small) / len(portrait) + [left, top, left, top])
    return photo, boxes


def hits(faces, box: np.ndarray) -> int:
    return sum(overlap(face.box, box) > 0.3 for face in faces)


def same(faces, others) -> bool:
    return len(faces) == len(others) and all(
        np.array_equal(a.box, b.box) and a.score == b.score and np.array_equal(a.keypoints, b.keypoints)
        for a, b in zip(faces, others, strict=True)
    )


def test_the_portrait_has_one_face_and_keypoints_in_their_known_places(detector, portrait):
    (face,) = detector(portrait)
    assert overlap(face.box, BOX) > 0.8
    assert face.score > 0.8
    assert face.box.dtype == np.float32
    left_eye, right_eye, nose, left_mouth, right_mouth = face.keypoints
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_a_face_turned_on_its_side_is_found(detector, portrait):
    height = len(portrait)
    (face,) = detector(np.ascontiguousarray(np.rot90(portrait)))  # turned counter-clockwise: x, y become y, height - x
    assert overlap(face.box, np.array([BOX[1], height - BOX[2], BOX[3], height - BOX[0]])) > 0.5


@pytest.mark.parametrize(
    ("angle", "width"),
    [(30, 20), (60, 20), (90, 20), (135, 20), (180, 20), (270, 20), (300, 20), (330, 20), (60, 26)],
)
def test_small_faces_are_found_however_the_photo_is_turned(detector, portrait, angle, width):
    spots = [(x, y) for y in (20, 190) for x in (20, 190)]
    photo, boxes = scene(portrait, (400, 360), [(x, y, width) for x, y in spots])
    middle = np.array([180.0, 200.0])
    matrix = cv2.getRotationMatrix2D(tuple(middle), angle, 1)
    matrix[:, 2] += 270 - middle
    turned = cv2.warpAffine(photo, matrix, (540, 540), borderMode=cv2.BORDER_CONSTANT)
    found = np.array([(face.box[:2] + face.box[2:]) / 2 for face in detector(turned)])
    for box in boxes:
        place = matrix[:, :2] @ ((box[:2] + box[2:]) / 2) + matrix[:, 2]
        assert np.linalg.norm(found - place, axis=1).min() < 0.7 * width


def test_a_photo_that_shows_a_sure_upright_face_is_searched_once(detector, portrait, monkeypatch):
    search = Mock(side_effect=detector._search)
    monkeypatch.setattr(FaceDetector, "_search", search)
    detector(portrait)
    assert search.call_count == 1
    detector(np.zeros((300, 400, 3), np.uint8))
    assert search.call_count == 1 + 4


def test_boxes_of_a_turned_photo_come_back_to_their_places():
    picture = np.zeros((40, 70), np.uint8)
    picture[5:9, 20:31] = 255
    for angle in (90, 180, 270):
        matrix, turned = detection._turned(picture, angle)
        y, x = np.nonzero(turned)
        row = np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1, *[0] * 10, 0.9]], np.float32)
        assert np.allclose(detection._turned_back(row, matrix)[0, :4], [20, 5, 31, 9], atol=1e-3)


def test_a_large_masked_profile_is_found(detector, shared):
    photo = read_photo(shared / "data" / "cases" / "01_large_masked_profile.jpg").pixels
    assert hits(detector(photo), np.array([301, 157, 582, 643])) == 1


def test_every_face_of_a_group_that_lies_on_its_side_is_found(detector, shared):
    photo = read_photo(shared / "data" / "cases" / "02_group_lying_90deg.jpg").pixels
    boxes = [(320, 355, 362, 390), (300, 546, 350, 584), (371, 430, 421, 466), (385, 141, 432, 177)]
    boxes += [(377, 359, 416, 391), (322, 496, 370, 534), (363, 259, 403, 289)]
    found = detector(photo)
    assert len(found) >= 14
    assert [hits(found, np.array(box)) for box in boxes] == [1] * 7


def seams(monkeypatch, detector: FaceDetector, shape: tuple[int, int]) -> tuple[int, int]:
    """The middle of the first overlap of the finest tiles, down and across, in pixels of the photo; 0 without one."""
    tiles, whole = [], detection._tiles
    with monkeypatch.context() as patch:
        patch.setattr(detection, "_tiles", lambda *sizes: tiles.append(list(whole(*sizes))) or tiles[-1])
        detector(np.zeros((*shape, 3), np.uint8))
    found = []
    for axis in (0, 1):
        spans = sorted({tile[2 * axis : 2 * axis + 2] for tile in tiles[0]})
        middle = (spans[0][1] + spans[1][0]) / 2 if len(spans) > 1 else 0
        found.append(round(middle * shape[axis] / spans[-1][1]))
    return found[0], found[1]


def test_small_faces_are_all_found_once_wherever_they_lie_to_the_tiles(detector, portrait, monkeypatch):
    y, x = seams(monkeypatch, detector, (1500, 2138))
    # Across the seams each way, just beside them, in the corners of the photo, and larger than a narrow overlap.
    spots = [(x - 28, 200), (300, y - 15), (x - 28, y - 15), (x + 5, 900), (1400, y + 5), (5, 1420), (2060, 5)]
    faces = [(left, top, 12.2) for left, top in spots] + [(x - 72, 700, 30)]
    photo, boxes = scene(portrait, (1500, 2138), faces)
    found = detector(photo)
    assert [hits(found, box) for box in boxes] == [1] * len(boxes)


def test_a_face_too_large_for_the_overlap_is_found_whole_and_once(detector, portrait, monkeypatch):
    # Cut by two tiles, and too small in the overview of a long photo.
    _, x = seams(monkeypatch, detector, (490, 6084))
    photo, (box,) = scene(portrait, (490, 6084), [(x - 214, 0, 90)])
    assert abs((box[0] + box[2]) / 2 - x) < 5
    found = detector(photo)
    assert hits(found, box) == 1
    middles = [(face.box[:2] + face.box[2:]) / 2 for face in found]
    assert sum(((box[:2] < middle) & (middle < box[2:])).all() for middle in middles) == 1


def test_a_face_that_a_tile_cuts_is_left_to_its_neighbour():
    rows = np.zeros((5, 15), np.float32)
    rows[:, :4] = [(0, 50, 30, 90), (50, 0, 90, 30), (170, 50, 200, 90), (50, 70, 90, 100), (80, 30, 120, 70)]
    middle, corner = (300, 400, 200, 400), (0, 100, 0, 200)
    assert detection._touches(rows, middle, (1000, 1000)).tolist() == [True, True, True, True, False]
    assert detection._touches(rows, corner, (1000, 1000)).tolist() == [False, False, True, True, False]
    assert not detection._touches(rows, corner, (100, 200)).any()  # what the photo itself cuts is all there is


def row(box: tuple[float, float, float, float], score: float) -> np.ndarray:
    return np.array([*box, *np.zeros(10), score], np.float32)


def test_a_part_of_a_face_is_no_face_of_its_own_and_a_small_one_is_not_given_up_for_a_guess_round_it():
    whole, part = row((100, 100, 300, 400), 0.9), row((150, 130, 280, 260), 0.5)
    assert detection._suppress(np.stack([part, whole])).tolist() == [whole.tolist()]
    # Shoulders, or a picture on a wall, taken for a face by the overview.
    face, guess = row((124, 108, 137, 125), 0.5), row((105, 100, 160, 169), 0.27)
    assert face.tolist() in detection._suppress(np.stack([guess, face])).tolist()


def test_a_face_that_fills_a_large_photo_is_found_once(detector, portrait):
    photo = cv2.resize(portrait[20:220, 135:315], (2700, 3000), interpolation=cv2.INTER_LINEAR)
    (face,) = detector(photo)
    assert overlap(face.box, (BOX - [135, 20, 135, 20]) * 15) > 0.7


@pytest.mark.parametrize("shape", EXTREME_SHAPES + THIN_SHAPES)
def test_photos_of_extreme_shape_have_no_faces_and_raise_nothing(detector, shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert detector(noise) == []


@pytest.mark.parametrize("kind", ["black", "grey", "noise"])
def test_an_empty_scene_has_no_faces(detector, kind):
    noise = np.random.default_rng(0).integers(0, 256, (500, 700, 3), dtype=np.uint8)
    assert detector({"black": noise * 0, "grey": noise * 0 + 128, "noise": noise}[kind]) == []


def test_faces_come_from_left_to_right(detector, portrait):
    photo, boxes = scene(portrait, (400, 700), [(500, 0, 30), (20, 200, 30), (260, 100, 40)])
    faces = [face for face in detector(photo) if max(overlap(face.box, box) for box in boxes) > 0.3]
    assert len(faces) == 3
    assert [face.box[0] for face in faces] == sorted(face.box[0] for face in faces)


def test_the_threshold_of_a_call_replaces_the_configured_one(detector, portrait):
    photo, _ = scene(portrait, (420, 600), [(0, 0, 70), (480, 0, 13)])
    counts = [len(detector(photo, threshold)) for threshold in (0.95, 0.7, 0.2)]
    assert counts[0] == 0
    assert counts[1] == 1
    assert counts[2] >= 2
    assert same(FaceDetector(threshold=0.7)(photo), detector(photo, 0.7))
    assert all(face.score > 0.7 for face in detector(photo, 0.7))


def test_a_smaller_min_face_size_finds_smaller_faces(portrait):
    photo, boxes = scene(portrait, (900, 1300), [(520, 600, 13), (820, 500, 13), (1100, 130, 13)])
    counts = [sum(hits(FaceDetector(min_face_size=size)(photo), box) for box in boxes) for size in (12, 36)]
    assert counts == [3, 0]


def test_a_larger_min_face_size_looks_at_fewer_pixels(portrait, monkeypatch):
    def looked(size: float) -> int:
        look = Mock(return_value=np.zeros((0, 15), np.float32))
        monkeypatch.setattr(FaceDetector, "_look", look)
        FaceDetector(min_face_size=size)(np.zeros((1500, 2000, 3), np.uint8))
        return sum(call.args[0].size for call in look.call_args_list)

    assert 0 < looked(24) < looked(12) / 2


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(2, 30), st.floats(0, 0.5))
@settings(max_examples=200, deadline=None)
def test_tiles_cover_the_photo_and_overlap_as_asked(height, width, strides, share):
    size = strides * detection.STRIDE
    overlap = int(share * size)
    tiles = list(detection._tiles(height, width, size, overlap))
    spans = {0: sorted({t[:2] for t in tiles}), 1: sorted({t[2:] for t in tiles})}
    assert len(tiles) == len(spans[0]) * len(spans[1])
    for length, ends in zip((height, width), spans.values(), strict=True):
        assert ends[0][0] == 0
        assert ends[-1][1] == length
        assert all(0 < end - start <= size for start, end in ends)
        assert all(a[1] - b[0] >= overlap for a, b in zip(ends, ends[1:], strict=False))


@pytest.mark.parametrize("shape", [(3062, 4082), (800, 15000), (40, 100000)])
def test_no_shape_of_photo_is_looked_at_many_times_over(shape, monkeypatch):
    # Time is that of the pixels looked at. A panorama must not make the tiles' overlap eat the tiles.
    looked = []

    def count(self, image, threshold):
        looked.append(image.shape[0] * image.shape[1])
        assert sum(looked) < 5 * shape[0] * shape[1]
        return np.zeros((0, 15), np.float32)

    monkeypatch.setattr(FaceDetector, "_look", count)
    FaceDetector()(np.zeros((*shape, 3), np.uint8))
    assert max(looked) < 1500**2


def test_the_same_photo_has_the_same_faces_again_and_is_left_as_it_is(detector, portrait):
    before = portrait.copy()
    assert same(detector(portrait), detector(portrait))
    assert same(FaceDetector()(portrait), detector(portrait))
    assert np.array_equal(portrait, before)


def test_every_face_of_the_group_photos_is_found(detector, shared):
    for name, count in {"2007_007763": 7, "2008_002506": 3, "2009_004587": 2}.items():
        assert len(detector(read_photo(shared / "data" / "groups" / f"{name}.jpg").pixels)) >= count, name


MEASURE = """
import itertools, re
from pathlib import Path
import numpy as np
from faceanon_hub import FaceDetector
from faceanon_hub import detection
whole = detection._tiles
# Memory is that of one tile, so two of the many tell it; all of them take a minute.
detection._tiles = lambda *a: itertools.islice(whole(*a), 2)
detector = FaceDetector()
photo = np.tile(np.random.default_rng(0).integers(0, 256, (640, 830, 3), dtype=np.uint8), (10, 10, 1))[:6124, :8165]
photo = np.ascontiguousarray(photo)
# Not getrusage: its maximum is inherited from whoever started this process.
highest = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
before = highest()
detector(photo)
print(before, highest())
"""


@pytest.mark.slow
def test_a_photo_of_fifty_megapixels_needs_no_more_than_two_gigabytes():
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, timeout=120)
    before, peak = map(int, done.stdout.split())
    print(f"peak {peak / MEBIBYTE:.0f} MiB, {(peak - before) / MEBIBYTE:.0f} of them for finding")
    assert peak < 2048 * MEBIBYTE
