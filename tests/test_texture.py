import cv2
import numpy as np
import pytest

from faceanon_hub.alignment import align, transform, warp_in
from faceanon_hub.conditioning import LIDS_AT_REST, MAPS, draw_maps, emphasize, lids_and_brows
from faceanon_hub.landmarks import INNER_LIPS
from faceanon_hub.texture import Texture


@pytest.fixture(scope="module")
def scene(portrait, face):
    matrix = align(face.landmarks, 128)
    points = transform(face.landmarks, matrix)
    return warp_in(portrait, matrix, 128), points, draw_maps(points, 128)


def test_the_first_crop_comes_back_nearly_as_it_was(scene):
    crop, points, maps = scene
    held = Texture(points, 128).hold(crop, points, maps)
    assert np.abs(held.astype(int) - crop).mean() < 2


def test_what_changes_from_frame_to_frame_is_held(scene):
    crop, points, maps = scene
    texture, random = Texture(points, 128), np.random.default_rng(0)
    painted = [
        np.clip(crop + cv2.resize(random.normal(0, 30, (8, 8)), (128, 128))[..., None], 0, 255).astype(np.uint8)
        for _ in range(12)
    ]
    held = [texture.hold(picture, points, maps) for picture in painted]
    cheek = (slice(70, 90), slice(35, 48))

    def changes(pictures):
        return np.abs(np.diff(np.array(pictures, float), axis=0))[6:, cheek[0], cheek[1]].mean()

    assert changes(held) < 0.5 * changes(painted)


def test_it_moves_with_the_mesh(scene):
    crop, points, maps = scene
    texture = Texture(points, 128)
    for _ in range(5):
        texture.hold(crop, points, maps)
    matrix = cv2.getRotationMatrix2D((64, 64), 25, 0.9)
    moved, at = cv2.warpAffine(crop, matrix, (128, 128)), transform(points, matrix)
    held = texture.hold(np.full_like(crop, 90), at, draw_maps(at, 128))
    inside = cv2.erode(_oval(at), np.ones((25, 25), np.uint8)) > 0
    here, nowhere = (np.corrcoef(held[inside].ravel(), other[inside].ravel())[0, 1] for other in (moved, crop))
    assert here > 0.5 and here > nowhere + 0.1


def test_the_mouth_stays_as_painted(scene):
    crop, points, maps = scene
    texture = Texture(points, 128)
    for _ in range(5):
        texture.hold(crop, points, maps)
    other = np.full_like(crop, 200)
    held = texture.hold(other, points, maps)
    assert np.abs(held[:8].astype(int) - 200).max() == 0
    mouth = np.round(points[INNER_LIPS, :2].mean(0)).astype(int)
    assert np.abs(held[mouth[1], mouth[0]].astype(int) - 200).max() < 20


def test_an_eye_is_held_while_it_does_the_same(scene):
    crop, points, maps = scene
    texture = Texture(points, 128)
    eyes = maps[MAPS.index("eyes")] > 0
    changes = []
    for level in (100, 140, 100, 140, 100, 140):
        held = texture.hold(np.full_like(crop, level), points, maps)
        changes.append(held[eyes].astype(float).mean())
    assert np.abs(np.diff(changes))[-1] < 0.3 * 40


@pytest.mark.parametrize("share", [0.0, 0.5, 2.0])
def test_an_eye_that_does_something_else_shows_nothing_of_what_it_did(scene, share):
    crop, points, maps = scene
    texture = Texture(points, 128)
    for _ in range(5):
        texture.hold(crop, points, maps)
    opening = lids_and_brows(points)[:, 0].mean()
    moved = emphasize(points, lids=(share * opening - LIDS_AT_REST) / (opening - LIDS_AT_REST))
    held = texture.hold(np.full_like(crop, 200), moved, draw_maps(moved, 128))
    was_open = maps[MAPS.index("eyes")] > 0
    assert np.abs(held[was_open].astype(int) - 200).mean() < 4


def test_a_moved_gaze_shows_nothing_of_the_old_one(scene):
    crop, points, maps = scene
    texture = Texture(points, 128)
    for _ in range(5):
        texture.hold(crop, points, maps)
    aside = points.copy()
    aside[468:, 0] += 6
    held = texture.hold(np.full_like(crop, 200), aside, draw_maps(aside, 128))
    assert np.abs(held[maps[MAPS.index("eyes")] > 0].astype(int) - 200).mean() < 4


def test_as_many_looks_of_an_eye_are_remembered_as_there_is_room_for(scene, monkeypatch):
    monkeypatch.setattr("faceanon_hub.texture.LOOKS", 3)
    crop, points, maps = scene
    texture = Texture(points, 128)
    for lids in (0.0, 1.0, 2.0, 3.0, 4.0):
        texture.hold(crop, emphasize(points, lids=lids), maps)
    assert [len(eye.looks) for eye in texture.eyes] == [3, 3]


def _oval(points):
    from faceanon_hub.landmarks import OVAL

    picture = np.zeros((128, 128), np.uint8)
    cv2.fillPoly(picture, np.round(points[None, OVAL, :2]).astype(np.int32), 1)
    return picture
