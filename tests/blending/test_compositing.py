"""The paste into the photo and the fallback: what changes, what does not, and what of a face can be left."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from faceanon_hub import landmarks as lm
from faceanon_hub.alignment import align, similarity, transform, window
from faceanon_hub.blending.compositing import CELLS, CONTEXT, HALF, core, erase, obfuscate, paste, soften
from faceanon_hub.blending.seam import hidden as hidden_region
from faceanon_hub.options import FALLBACKS

SIZE = 128
SHAPE = (300, 400, 3)
turns = st.floats(-np.pi, np.pi)
scales = st.floats(np.log(0.1), np.log(20)).map(np.exp)
spots = st.tuples(st.floats(0, 400), st.floats(0, 300))


@pytest.fixture(scope="module")
def mask(face) -> np.ndarray:
    return region_of(transform(face.landmarks, align(face.landmarks, SIZE)))


def region_of(points: np.ndarray) -> np.ndarray:
    return hidden_region(points, np.zeros((SIZE, SIZE), np.float32))


def noise(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def crop_at(spot: tuple[float, float], scale: float, roll: float) -> np.ndarray:
    return similarity(np.array(spot), SIZE / scale, roll, SIZE)


def lay(canvas: np.ndarray, face: np.ndarray, mask: np.ndarray, matrix: np.ndarray) -> None:
    paste(canvas, face, mask, matrix, *core(mask, matrix, canvas.shape))


def in_crop(matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Where each pixel of a photo lies in the crop, (H, W, 2)."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.stack([x, y], -1) @ matrix[:, :2].T + matrix[:, 2]


def whole(area: tuple[int, int, int, int], inside: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A core as a picture of the whole photo."""
    left, top, right, bottom = area
    pixels = np.zeros(shape[:2], bool)
    pixels[top:bottom, left:right] = inside
    return pixels


@given(spots, scales, turns)
@settings(max_examples=60, deadline=None)
def test_pasting_changes_nothing_outside_the_window_and_the_hidden_region(mask, spot, scale, roll):
    canvas, matrix = noise(), crop_at(spot, scale, roll)
    before = canvas.copy()
    lay(canvas, noise((SIZE, SIZE, 3), 1), mask, matrix)
    # Interpolation looks two pixels further along each axis, each of them a mean; a crop that is enlarged is read two
    # of its own away; and places are rounded here.
    away = cv2.distanceTransform(1 - np.pad(mask, 400).astype(np.uint8), cv2.DIST_L2, 5)
    at = np.round(in_crop(matrix, SHAPE)).astype(int).clip(-400, SIZE + 399) + 400
    outside = away[at[..., 1], at[..., 0]] > 2 * np.sqrt(2) + 0.75 + 3 * scale
    assert np.array_equal(canvas[outside], before[outside])
    left, top, right, bottom = window(matrix, SIZE, SHAPE)
    canvas[top:bottom, left:right] = before[top:bottom, left:right]
    assert np.array_equal(canvas, before)


@given(spots, scales, turns)
@example((2.0, 0.0), 0.1353352832366127, 1.0)  # part + (new - part) is not always new
@settings(max_examples=60, deadline=None)
def test_pasted_cores_hold_nothing_of_the_canvas(mask, spot, scale, roll):
    matrix, new = crop_at(spot, scale, roll), noise((SIZE, SIZE, 3), 2)
    canvases = [noise(seed=0), noise(seed=1)]
    for canvas in canvases:
        lay(canvas, new, mask, matrix)
    pixels = whole(*core(mask, matrix, SHAPE), SHAPE)
    assert np.array_equal(canvases[0][pixels], canvases[1][pixels])


@pytest.mark.parametrize("scale", [0.3, 1, 2.5])
def test_the_core_is_what_is_hidden_by_more_than_half(mask, scale):
    soft, matrix = cv2.GaussianBlur(mask, (0, 0), 4), crop_at((310.3, 290.7), scale, 0.6)
    pixels = whole(*core(soft, matrix, (600, 620)), (600, 620))
    at = in_crop(matrix, (600, 620)).astype(np.float32)
    inside = cv2.remap(soft, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    assert pixels[inside > HALF + 0.1].all()
    assert not pixels[inside < HALF - 0.1].any()


def lies_in(pixels: np.ndarray, points: np.ndarray, reach: float) -> np.ndarray:
    """Whether points (N, 2) of the photo are no farther than this from a region."""
    away = cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, 5)
    x, y = np.round(points).astype(int).T
    return away[y, x] <= reach


@pytest.mark.parametrize("scale", [0.3, 1, 3, 7])
@pytest.mark.parametrize("degrees", [0, 33, 90, -140])
def test_the_core_holds_the_whole_face(face, mask, scale, degrees):
    points = transform(face.landmarks, align(face.landmarks, SIZE))[:, :2]
    matrix = crop_at((310.3, 290.7), scale, np.radians(degrees))
    pixels = whole(*core(mask, matrix, (600, 620)), (600, 620))
    there = cv2.transform(points[None].astype(float), cv2.invertAffineTransform(matrix))[0]
    named = np.r_[lm.LEFT_EYE, lm.RIGHT_EYE, lm.OUTER_LIPS, lm.NOSE_BRIDGE, lm.LEFT_BROW]
    assert lies_in(pixels, there[named], 0).all()
    assert lies_in(pixels, there, 1.5 * max(1, 1 / scale)).all()  # the outline runs along a pixel of photo or crop


@pytest.mark.parametrize("degrees", [-60, -30, 30, 60])
def test_the_core_holds_a_face_turned_to_the_side(face, degrees):
    yaw = np.radians(degrees)
    turned = face.landmarks @ np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    turned += 200 - turned.mean(0)
    matrix = align(turned, SIZE)
    pixels = whole(*core(region_of(transform(turned, matrix)), matrix, (400, 400)), (400, 400))
    assert lies_in(pixels, turned[:, :2], 1.5 * max(1, 1 / np.hypot(*matrix[0, :2]))).all()


def test_a_flat_face_is_pasted_in_its_own_colour(mask):
    canvas, matrix = noise(), crop_at((200, 150), 0.7, 0.4)
    lay(canvas, np.full((SIZE, SIZE, 3), (200, 90, 30), np.uint8), mask, matrix)
    pixels = whole(*core(mask, matrix, SHAPE), SHAPE)
    assert pixels.sum() > 5000
    assert (canvas[pixels] == (200, 90, 30)).all()


def test_a_face_pasted_onto_itself_changes_nothing(mask):
    canvas = np.full(SHAPE, (10, 130, 250), np.uint8)
    before = canvas.copy()
    for scale in (0.3, 1, 3):
        lay(canvas, np.full((SIZE, SIZE, 3), (10, 130, 250), np.uint8), mask, crop_at((200, 150), scale, 0.4))
    assert np.array_equal(canvas, before)


@pytest.mark.parametrize("degrees", [0, 30, 45])
def test_a_mask_up_to_the_border_of_the_crop_stays_in_the_crop(degrees):
    # As a wide margin makes it. The window of a tilted crop has corners that are none of the crop's.
    canvas, matrix = noise(), crop_at((200, 150), 1, np.radians(degrees))
    before = canvas.copy()
    everything = np.ones((SIZE, SIZE), np.float32)
    lay(canvas, noise((SIZE, SIZE, 3), 1), everything, matrix)
    at = in_crop(matrix, SHAPE)
    outside = ((at < -2) | (at > SIZE + 1)).any(-1)
    assert np.array_equal(canvas[outside], before[outside])
    assert not whole(*core(everything, matrix, SHAPE), SHAPE)[outside].any()


def two_faces(mask) -> list[tuple[tuple[int, int, int, int], np.ndarray]]:
    """Cores of faces cheek to cheek, so that each lies in the other's window."""
    matrices = [crop_at((150, 150), 0.8, 0.3), crop_at((235, 160), 1.1, -0.5)]
    return [core(mask, matrix, SHAPE) for matrix in matrices]


def test_erasing_touches_cores_only_fills_them_with_one_colour_and_keeps_nothing_of_any_face(mask):
    cores, canvas, other = two_faces(mask), noise(), noise()
    before = canvas.copy()
    first, second = (whole(*entry, SHAPE) for entry in cores)
    other[first | second] = 255 - other[first | second] // 3
    for photo in (canvas, other):
        erase(photo, cores)
    assert np.array_equal(canvas, other)
    assert np.array_equal(canvas[~(first | second)], before[~(first | second)])
    for pixels in (first & ~second, second):
        assert len(np.unique(canvas[pixels], axis=0)) == 1
    left, top, right, bottom = cores[1][0]
    around = before[top:bottom, left:right][~(first | second)[top:bottom, left:right]]
    assert canvas[second][0] == pytest.approx(around.mean(0), abs=0.5)


def test_a_photo_that_is_all_face_is_erased_to_one_colour():
    canvases = [noise((40, 40, 3)), noise((40, 40, 3), 1)]
    for canvas in canvases:
        erase(canvas, [((0, 0, 40, 40), np.ones((40, 40), bool))])
    assert np.array_equal(*canvases)
    assert len(np.unique(canvases[0].reshape(-1, 3), axis=0)) == 1


def test_no_face_and_one_outside_the_photo_change_nothing(mask):
    canvas, matrix = noise(), crop_at((900, 700), 1, 0.2)
    entry = core(mask, matrix, SHAPE)
    for cores in ([], [entry]):
        erase(canvas, cores)
    paste(canvas, noise((SIZE, SIZE, 3), 1), mask, matrix, *entry)
    assert np.array_equal(canvas, noise())


def softened(canvas: np.ndarray, mask: np.ndarray, matrix: np.ndarray, **options) -> np.ndarray:
    area, inside = core(mask, matrix, canvas.shape)
    result = canvas.copy()
    soften(result, mask, matrix, area, inside, 60, options.pop("blur", 0.1), **options)
    return result


@settings(max_examples=20, deadline=None)
@given(spot=spots, scale=st.floats(0.4, 4), roll=turns)
def test_softening_leaves_the_core_and_what_is_far_away(mask, spot, scale, roll):
    canvas, matrix = noise(), crop_at(spot, scale, roll)
    result = softened(canvas, mask, matrix)
    hidden = whole(*core(mask, matrix, SHAPE), SHAPE)
    assert (result == canvas)[hidden].all()
    if hidden.any():
        away = cv2.distanceTransform((~hidden).astype(np.uint8), cv2.DIST_L2, 5) * scale / 60
        assert (result == canvas)[away > 2 * CONTEXT + 0.2].all()
        near = (away > 0.1) & (away < CONTEXT - 0.1)
        assert near.sum() < 100 or result[near].std() < 0.4 * canvas[near].std()


def test_softening_does_not_mix_in_what_was_erased(mask):
    matrix = crop_at((200, 150), 1, 0.3)
    hidden = whole(*core(mask, matrix, SHAPE), SHAPE)
    black, white = noise(), noise()
    black[hidden], white[hidden] = 0, 255
    first, second = (softened(canvas, mask, matrix) for canvas in (black, white))
    # A crop pixel of the rim is half inside the core.
    assert (np.abs(first.astype(int) - second).max(2)[~hidden] > 2).mean() < 0.01


def test_softening_is_as_strong_as_it_is_told(mask):
    canvas, matrix = noise(), crop_at((200, 150), 1, 0)
    hidden = whole(*core(mask, matrix, SHAPE), SHAPE)
    away = cv2.distanceTransform((~hidden).astype(np.uint8), cv2.DIST_L2, 5) / 60
    near = (away > 0.1) & (away < CONTEXT - 0.1)
    left = [softened(canvas, mask, matrix, blur=blur)[near].std() for blur in (0.02, 0.05, 0.1, 0.3)]
    assert left == sorted(left, reverse=True)


def test_softening_leaves_kept_boxes_and_fades_towards_them(mask):
    canvas, matrix = noise(), crop_at((150, 150), 1, 0)
    box = np.array([190.4, 60.2, 260.0, 180.7])
    result = softened(canvas, mask, matrix, kept=[box])
    assert (result == canvas)[60:181, 190:260].all()
    assert (result != softened(canvas, mask, matrix)).any()
    assert np.abs(result[60:181, 261].astype(int) - canvas[60:181, 261]).mean() < 10


BOX = np.array([31.3 + 5.84, 41.3 + 5.84, 89.7 - 5.84, 99.7 - 5.84], np.float32)  # hidden: 60 x 60 from (31, 41)


@pytest.mark.parametrize("method", FALLBACKS)
def test_the_ellipse_holds_only_a_few_means_of_the_face(method):
    photo = noise()
    part = photo[41:101, 31:91]
    step = 60 // CELLS
    cells = part.reshape(CELLS, step, CELLS, step, 3).transpose(0, 2, 1, 3, 4).reshape(CELLS, CELLS, step * step, 3)
    mixed = cells[:, :, np.random.default_rng(1).permutation(step * step)]
    other = photo.copy()
    other[41:101, 31:91] = mixed.reshape(CELLS, CELLS, step, step, 3).transpose(0, 2, 1, 3, 4).reshape(60, 60, 3)
    assert (other != photo).any(-1)[41:101, 31:91].mean() > 0.9
    hidden = np.ones(SHAPE[:2], bool)
    for canvas in (photo, other):
        before = canvas.copy()
        obfuscate(canvas, BOX, method)
        hidden &= (canvas != before).any(-1)
    assert hidden.sum() > 0.7 * 60 * 60
    assert np.array_equal(photo[hidden], other[hidden])
    assert method != "solid" or not photo[hidden].any()


@pytest.mark.parametrize("method", FALLBACKS)
def test_the_face_in_the_box_is_all_hidden_and_the_rest_is_not(method):
    canvas = noise()
    before = canvas.copy()
    box = np.array([100, 80, 180, 200], np.float32)
    obfuscate(canvas, box, method)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    reach = ((x - 140) / 40) ** 2 + ((y - 140) / 60) ** 2  # 1 on the ellipse that touches the box
    changed = (canvas != before).any(-1)
    assert changed[reach <= 1].mean() > 0.99
    assert not changed[reach > 1.25**2 + 0.1].any()


def test_blur_is_smooth_and_mosaic_has_squares():
    canvas = noise()
    obfuscate(canvas, BOX, "mosaic")
    assert len(np.unique(canvas[61:81, 51:71].reshape(-1, 3), axis=0)) == 4
    canvas = noise()
    obfuscate(canvas, BOX, "blur")
    assert np.abs(np.diff(canvas[55:85, 45:75].astype(int), axis=1)).max() < 20


@given(
    st.sampled_from(FALLBACKS),
    st.tuples(st.floats(-200, 600), st.floats(-200, 500)),
    st.tuples(st.floats(0.5, 900), st.floats(0.5, 900)),
)
@settings(max_examples=60, deadline=None)
def test_boxes_may_lie_anywhere(method, start, size):
    canvas = noise()
    before = canvas.copy()
    box = np.array([*start, *np.add(start, size)], np.float32)
    obfuscate(canvas, box, method)
    margin = 0.125 * np.array(size) + 1.5
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    beside = (x < box[0] - margin[0]) | (x > box[2] + margin[0]) | (y < box[1] - margin[1]) | (y > box[3] + margin[1])
    assert np.array_equal(canvas[beside], before[beside])
    center = np.round((box[:2] + box[2:]) / 2).astype(int)
    if min(size) > 2 and (center >= 0).all() and (center < [SHAPE[1], SHAPE[0]]).all() and method == "solid":
        assert not canvas[center[1], center[0]].any()


@pytest.mark.parametrize("method", FALLBACKS)
@pytest.mark.parametrize(
    ("boxes", "most"),
    [
        ([(50, 60, 51, 61), (399, 299, 400, 300), (-0.5, -0.5, 0.5, 0.5), (50, 60, 50, 60)], 9),
        ([(-90, 10, -40, 60), (500, 10, 560, 60), (10, -200, 60, -100), (10, 400, 60, 500)], 0),
    ],
)
def test_boxes_of_a_pixel_change_few_and_boxes_outside_the_photo_none(method, boxes, most):
    for box in boxes:
        canvas = noise()
        obfuscate(canvas, np.array(box, np.float32), method)
        assert (canvas != noise()).any(-1).sum() <= most


@pytest.mark.parametrize("method", ["blur", "mosaic"])
def test_a_tiny_face_is_not_left_as_it_was(method):
    # Six by six colours of a face of five pixels would be the face.
    canvas = noise()
    before = canvas.astype(int)
    obfuscate(canvas, np.array([100, 100, 104, 105], np.float32), method)
    inner = np.s_[101:104, 101:103]
    assert np.abs(canvas - before)[inner].mean() > 25


@pytest.mark.parametrize("method", FALLBACKS)
def test_an_erased_face_is_obfuscated_as_one_that_is_not(method):
    photo = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    box = np.array([120.0, 90, 220, 210])
    plain, erased = photo.copy(), photo.copy()
    obfuscate(plain, box, method)
    erased[130:180, 150:190] = 0
    obfuscate(erased, box, method, photo)
    assert np.array_equal(erased, plain)
