"""What of a photo is hidden, what stays in front, and how the new face ends: on drawn faces of flat skin."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceanon_hub import landmarks as lm
from faceanon_hub.alignment import align, transform
from faceanon_hub.blending.seam import (
    carry,
    cloth,
    compose,
    covered,
    draw_overhang,
    frames_as_skin,
    hidden,
    in_front,
    inner_face,
    overhang,
    silhouette,
    skin_left,
)
from faceanon_hub.color import to_lab
from faceanon_hub.parsing import HAIR as HAIR_PART
from faceanon_hub.parsing import OTHER as OTHER_PART
from faceanon_hub.parsing import PARTS
from faceanon_hub.parsing import SKIN as SKIN_PART

SIZE = 256
SKIN, NEW, HAIR, WALL = (205, 160, 135), (188, 148, 128), (45, 32, 26), (90, 130, 160)


@pytest.fixture(scope="module")
def points(face) -> np.ndarray:
    return transform(face.landmarks, align(face.landmarks, SIZE))


def person(points: np.ndarray, skin: tuple[int, int, int], hair_to: float = 0.0) -> np.ndarray:
    """A head and neck of flat skin before a wall; hair from above down to a part of the face's height."""
    picture = np.full((SIZE, SIZE, 3), WALL, np.uint8)
    head = cv2.dilate(silhouette(points, SIZE), np.ones((25, 25)))
    head[int(points[152, 1]) :, 90:166] = 1
    picture[head > 0] = skin
    top, height = points[10, 1], points[152, 1] - points[10, 1]
    if hair_to:
        picture[: round(top + hair_to * height), 60:196] = HAIR
    return picture


def parsed(picture: np.ndarray) -> np.ndarray:
    """The parts of such a person: by colour, a little soft."""
    labels = np.full((SIZE, SIZE), OTHER_PART)
    for color, part in ((SKIN, SKIN_PART), (NEW, SKIN_PART), (HAIR, HAIR_PART)):
        labels[np.abs(picture.astype(int) - color).max(2) < 8] = part
    shares = np.eye(len(PARTS), dtype=np.float32)[labels]
    return cv2.resize(shares, (SIZE // 2,) * 2, interpolation=cv2.INTER_AREA)


def fronted(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    return in_front(picture, points, parsed(picture))


def composed(original: np.ndarray, region: np.ndarray, face: np.ndarray, points: np.ndarray):
    """The new face in what is left of the original."""
    left = skin_left(parsed(original), region)
    return compose(erased(original, region), region, left, face, parsed(face), points)


def erased(picture: np.ndarray, region: np.ndarray) -> np.ndarray:
    left = picture.copy()
    left[region == 1] = picture[region < 1].mean(0)
    return left


def laid(surroundings: np.ndarray, new: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return surroundings + alpha[..., None] * (new.astype(float) - surroundings)


def nothing() -> np.ndarray:
    return np.zeros((SIZE, SIZE), np.float32)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_inner_face_is_hidden_whatever_is_said_to_be_in_front(points, seed):
    front = np.random.default_rng(seed).random((SIZE, SIZE), dtype=np.float32)
    inner = inner_face(points, SIZE)
    assert (hidden(points, front)[inner > 0] == 1).all()
    assert (hidden(points, np.ones_like(front))[inner > 0] == 1).all()
    for group in (lm.LEFT_EYE, lm.RIGHT_EYE, lm.LEFT_BROW, lm.RIGHT_BROW, lm.OUTER_LIPS, lm.NOSE_BASE, [4, 1, 2]):
        for x, y in points[group, :2].round().astype(int):
            assert inner[y, x]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_parts_bring_the_inner_face_to_the_front(points, seed):
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 256, (int(rng.integers(1, 40)),) * 2 + (3,), dtype=np.uint8)
    crop = cv2.resize(cells, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)
    parts = rng.dirichlet(np.full(len(PARTS), 0.2), (64, 64)).astype(np.float32)
    assert not in_front(crop, points, parts)[inner_face(points, SIZE) > 0].any()


@pytest.mark.parametrize("shares", [{HAIR_PART: 0.5, SKIN_PART: 0.5}, {OTHER_PART: 1}], ids=["unsure", "blind"])
def test_where_the_parser_is_not_sure_or_sees_no_face_it_is_hidden(points, shares):
    parts = np.zeros((64, 64, len(PARTS)), np.float32)
    parts[..., list(shares)] = list(shares.values())
    assert not in_front(person(points, SKIN), points, parts)[silhouette(points, SIZE) > 0].any()


def test_the_frame_of_glasses_goes_with_the_face_and_what_lies_above_and_below_stays(points):
    picture = person(points, SKIN)
    eyes, chin = int(points[lm.LEFT_EYE, 1].mean()), int(points[149, 1])
    for row in (eyes, chin):
        picture[row - 3 : row + 3, 20:236] = WALL
    parts = parsed(picture)
    front = in_front(picture, points, frames_as_skin(parts, points, SIZE))
    x = int(points[149, 0])
    outline = np.flatnonzero(silhouette(points, SIZE)[eyes])
    temple = outline[0] + 2
    assert in_front(picture, points, parts)[eyes, temple] > 0.5
    assert front[eyes, temple] < 0.1
    assert front[chin, x] > 0.5


def test_of_a_mask_or_a_hand_all_stays_but_what_lies_on_the_inner_face(points):
    held, front = person(points, SKIN), fronted(masked(points, WALL), points)
    inner, below = inner_face(points, SIZE) > 0, int(points[4, 1]) + 10
    beside = (silhouette(points, SIZE) > 0) & (cv2.dilate(inner.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0)
    assert not front[inner].any()
    assert front[below:][beside[below:]].mean() > 0.8
    x, y = points[149, :2].astype(int)
    held[y - 14 :, x - 14 : x + 14] = WALL
    assert fronted(held, points)[y - 4, x] > 0.9


def masked(points: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    picture = person(points, SKIN)
    picture[int(points[4, 1]) : int(points[152, 1]) + 4, 60:196] = color
    return picture


def test_cloth_over_the_mouth_is_told_by_its_outline_and_a_few_colors(points):
    picture = masked(points, WALL)
    found = cloth(picture, points, parsed(picture))
    lips = cv2.fillPoly(np.zeros((SIZE, SIZE), np.uint8), points[None, lm.OUTER_LIPS, :2].round().astype(np.int32), 1)
    over = found.over(person(points, NEW))
    assert np.abs(over[lips > 0].astype(int) - WALL).max() < 8
    eyes = int(points[lm.LEFT_EYE + lm.RIGHT_EYE, 1].max())
    assert np.array_equal(over[: eyes - 4], person(points, NEW)[: eyes - 4])
    assert found.colors.size <= 3 * 8 * 8


def test_of_cloth_no_detail_is_left(points):
    picture, drawn = masked(points, WALL), masked(points, WALL)
    mouth = points[lm.OUTER_LIPS, :2].mean(0).astype(int)
    for x in range(mouth[0] - 24, mouth[0] + 24, 4):  # stripes that vanish in the mean
        drawn[mouth[1] - 12 : mouth[1] + 12, x : x + 2] += 40
        drawn[mouth[1] - 12 : mouth[1] + 12, x + 2 : x + 4] -= 40
    plain, striped = (cloth(one, points, parsed(picture)).over(person(points, NEW)) for one in (picture, drawn))
    assert np.abs(plain.astype(int) - striped).max() <= 3


def test_what_is_measured_under_cloth_is_the_skin_beside_it(points):
    picture = masked(points, WALL)
    bare = cloth(picture, points, parsed(picture)).off(picture)
    chin = points[[17, 200, 199, 4, 50, 280], :2].round().astype(int)
    assert np.abs(bare[chin[:, 1], chin[:, 0]].astype(int) - SKIN).max() < 16


def test_a_bare_mouth_has_no_cloth_over_it(points):
    held = person(points, SKIN)
    x, y = points[149, :2].astype(int)
    held[y - 14 :, x - 14 : x + 14] = WALL
    for picture in (person(points, SKIN), held):
        assert cloth(picture, points, parsed(picture)) is None


def test_without_anything_in_front_the_whole_face_is_hidden(points):
    assert fronted(person(points, SKIN), points)[silhouette(points, SIZE) > 0].max() < 0.05
    region = hidden(points, nothing())
    assert (region[silhouette(points, SIZE) > 0] == 1).all()
    assert region[0].max() == 0


def test_a_margin_hides_as_much_more_on_all_sides(points):
    height = float(np.ptp(points[lm.OVAL, 1]))
    plain, wider, widest = (hidden(points, nothing(), margin) for margin in (0.0, 0.1, 0.2))
    away = cv2.distanceTransform(1 - plain.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    for margin, region in ((0.1, wider), (0.2, widest)):
        assert region[away < margin * height - 1.5].all()
        assert not region[away > margin * height + 1.5].any()


def test_what_is_in_front_beyond_the_face_stays_within_a_margin_too(points):
    front = fronted(person(points, SKIN, 0.12), points)
    assert (hidden(points, front, 0.1)[(front == 1) & (inner_face(points, SIZE) == 0)] == 0).all()


def test_a_fringe_stays(points):
    crop = person(points, SKIN, 0.12)
    fringe = np.zeros((SIZE, SIZE), bool)
    fringe[: round(points[10, 1] + 0.1 * (points[152, 1] - points[10, 1])), 70:186] = True
    fringe &= silhouette(points, SIZE) > 0
    front = fronted(crop, points)
    assert np.median(front[fringe]) > 0.95
    assert (hidden(points, front)[fringe] < 0.2).mean() > 0.9


def strand(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hair that hangs over the end of a brow: picture, and where it lies on the inner face."""
    picture, hair = person(points, SKIN), np.zeros((SIZE, SIZE), bool)
    hair[: int(points[159, 1]), : int(points[105, 0])] = True
    picture[hair] = HAIR
    return picture, hair & (inner_face(points, SIZE) > 0)


def test_hair_over_a_brow_is_continued_from_the_hair_beside_it(points):
    picture, over_face = strand(points)
    parts = parsed(picture)
    over = overhang(points, parts, SIZE)
    region = hidden(points, in_front(picture, points, parts))
    erased_picture = erased(picture, region)
    new = np.full_like(picture, NEW)
    drawn = draw_overhang(new, over, erased_picture, region, skin_left(parts, region))
    well_inside = cv2.erode(over_face.astype(np.uint8), np.ones((7, 7))) > 0
    assert well_inside.sum() > 50
    assert np.abs(drawn[well_inside].astype(int) - HAIR).max() <= 3
    away = cv2.dilate(over_face.astype(np.uint8), np.ones((31, 31))) == 0
    assert (drawn[away & (inner_face(points, SIZE) > 0)] == NEW).all()


def test_strands_go_on_where_hair_is_continued(points):
    picture, over_face = strand(points)
    stripes = np.where(np.arange(SIZE) % 16 < 8, 1.0, 2.5)[None, :, None]
    combed = np.where((picture == HAIR).all(2)[..., None], picture * stripes, picture).astype(np.uint8)
    parts = parsed(picture)
    region = hidden(points, in_front(picture, points, parts))
    over, left = overhang(points, parts, SIZE), skin_left(parts, region)
    drawn = draw_overhang(np.full_like(picture, NEW), over, erased(combed, region), region, left)
    well_inside = cv2.erode(over_face.astype(np.uint8), np.ones((7, 7))) > 0
    assert (np.abs(drawn[well_inside].astype(int) - combed[well_inside]).max(1) < 20).mean() > 0.9


def test_nothing_erased_is_copied_into_the_hair(points):
    picture, _ = strand(points)
    parts = parsed(picture)
    region = hidden(points, in_front(picture, points, parts))
    surroundings, new = picture.copy(), np.full_like(picture, NEW)
    surroundings[region > 0] = (255, 0, 255)
    over = np.ones_like(overhang(points, parts, SIZE))
    drawn = draw_overhang(new, over, surroundings, region, skin_left(parts, region))
    assert not (drawn == (255, 0, 255)).all(2)[region == 1].any()


def test_hair_that_is_said_to_cover_most_of_the_face_is_not_drawn_over_it(points):
    assert not overhang(points, parsed(np.full((SIZE, SIZE, 3), HAIR, np.uint8)), SIZE).any()


def test_the_outline_of_hair_follows_the_photo(points):
    """The parser's mask is coarse: a strand of three pixels keeps its place."""
    crop, labels = person(points, SKIN), person(points, SKIN)
    top = int(points[10, 1])
    crop[: top + 24, 120:123] = HAIR
    labels[: top + 24, 114:126] = HAIR
    front = in_front(crop, points, parsed(labels))
    row = front[top + 12]
    assert row[121] > 0.8
    assert row[130:150].max() < 0.1
    assert row[116] < row[121]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_hidden_pixels_of_the_original_change_nothing(points, seed):
    original = person(points, SKIN, 0.12)
    region = hidden(points, fronted(original, points))
    parts = parsed(original)
    other, seen = original.copy(), parts.copy()
    core = region == 1
    rng = np.random.default_rng(seed)
    other[core] = rng.integers(0, 256, (int(core.sum()), 3))
    inside = cv2.resize(region, (SIZE // 2,) * 2, interpolation=cv2.INTER_AREA) == 1
    seen[inside] = rng.dirichlet(np.ones(len(PARTS)), int(inside.sum()))
    face = person(points, NEW)
    plain, changed = (
        compose(erased(photo, region), region, skin_left(shares, region), face, parsed(face), points)
        for photo, shares in ((original, parts), (other, seen))
    )
    assert all(map(np.array_equal, plain, changed))


def test_all_that_was_erased_is_covered(points):
    region = hidden(points, nothing())
    new, alpha = composed(person(points, SKIN), region, person(points, NEW), points)
    assert new.dtype == np.uint8
    assert alpha.dtype == np.float32
    assert (alpha[region == 1] == 1).all()
    assert alpha.min() >= 0
    assert alpha.max() == 1
    assert alpha[cv2.dilate((region > 0).astype(np.uint8), np.ones((31, 31))) == 0].max() == 0


def test_no_step_where_skin_meets_skin(points):
    region, original = hidden(points, nothing()), person(points, SKIN)
    surroundings, face = erased(original, region), person(points, NEW)
    new, alpha = composed(original, region, face, points)
    shown = silhouette(points, SIZE)
    rim = (cv2.dilate(shown, np.ones((7, 7))) > 0) & (cv2.erode(shown, np.ones((7, 7))) == 0)

    def step(picture: np.ndarray) -> float:
        change = to_lab(picture.round().astype(np.uint8)) - to_lab(original)
        return float(np.linalg.norm(change, axis=2)[rim].mean())

    assert step(laid(surroundings, face, region)) > 2
    assert step(laid(surroundings, new, alpha)) < 1
    middle = points[4, :2].round().astype(int)[::-1]
    assert np.abs(new[tuple(middle)].astype(int) - NEW).max() <= 6  # the new face keeps its own colour


def test_a_hand_before_the_mouth_covers_the_inner_face(points):
    held = person(points, SKIN)
    x, y = points[13, :2].astype(int)
    cv2.circle(held, (int(x), int(y)), 20, WALL, -1)
    assert covered(parsed(held), points, SIZE)[1] > 0.06


def test_hair_that_came_along_is_filled_with_skin(points):
    region = hidden(points, nothing())
    free, fringed = person(points, SKIN), person(points, SKIN, 0.12)
    assert max(covered(parsed(free), points, SIZE)) < 0.02
    whole, inner = covered(parsed(fringed), points, SIZE)
    assert whole > 0.03 and inner < 0.02
    new, _ = composed(free, region, fringed, points)
    forehead = np.zeros((SIZE, SIZE), bool)
    forehead[int(points[10, 1]) + 2 : int(points[10, 1] + 14), 100:156] = True
    assert np.abs(new[forehead].astype(int) - SKIN).max() < 25
    assert np.abs(fringed[forehead].astype(int) - SKIN).max() > 100


def test_strands_that_hang_from_the_hair_are_filled_with_skin(points):
    region, free = hidden(points, nothing()), person(points, SKIN)
    strands = person(points, SKIN, 0.12)
    top, bottom = int(points[10, 1]) + 12, int(points[10, 1]) + 24
    strands[top:bottom, 120:140:4] = (170, 110, 80)
    parts = parsed(strands)
    parts[top // 2 : bottom // 2, 60:70] = 0.7 * np.eye(len(PARTS))[SKIN_PART] + 0.3 * np.eye(len(PARTS))[HAIR_PART]
    new, _ = compose(erased(free, region), region, skin_left(parsed(free), region), strands, parts, points)
    left, drawn = (np.abs(picture[top:bottom, 120:140].astype(int) - SKIN).max() for picture in (new, strands))
    assert left < 25 < 50 < drawn


def test_where_the_old_face_reached_farther_its_background_goes_on(points):
    # A larger nose in profile: what it hid was the wall.
    region = hidden(points, nothing())
    beyond = np.zeros((SIZE, SIZE), np.uint8)
    x = int(points[454, 0])
    original = person(points, SKIN)
    original[:, x - 4 :] = WALL
    cv2.rectangle(beyond, (x - 2, 120), (x + 14, 140), 1, -1)
    region = np.maximum(region, beyond)
    face = person(points, NEW)
    face[:, x + 1 :] = (240, 240, 20)
    new, alpha = composed(original, region, face, points)
    shown = laid(erased(original, region), new, alpha)[125:135, x + 6 : x + 12]
    assert np.abs(shown - WALL).max() < 25


def test_a_change_of_a_small_copy_is_carried_over():
    fine = np.random.default_rng(0).integers(60, 200, (512, 512, 3), dtype=np.uint8)
    fine = cv2.GaussianBlur(fine, (0, 0), 1.5)
    small = cv2.resize(fine, (256, 256), interpolation=cv2.INTER_AREA)
    assert np.abs(carry(fine, small, small).astype(int) - fine).max() <= 1
    darker = carry(fine, small, np.round(small * 0.8).astype(np.uint8))
    assert np.abs(darker - 0.8 * fine)[8:-8, 8:-8].mean() < 2
    assert carry(small, small, fine[:256, :256]) is not small


def test_the_new_face_runs_out_over_a_pixel_or_two(points):
    picture = person(points, SKIN, hair_to=0.2)
    region = hidden(points, fronted(picture, points))
    _, alpha = composed(picture, region, person(points, NEW), points)
    column = alpha[: int(points[168, 1]), 128]
    assert (alpha[region == 1] == 1).all() and ((column > 0.05) & (column < 0.95)).sum() in range(1, 6)
