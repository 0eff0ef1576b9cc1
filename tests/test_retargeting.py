"""New shapes for old landmarks: the old ones are gone from them, and what the face does stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceanon_hub import DEFAULT_CHECKPOINT, FaceRetargeter, metrics
from faceanon_hub.landmarks import INNER_LIPS, LEFT_EYE, OVAL
from faceanon_hub.retargeting import REACH, evened

PEOPLE, PHOTOS, PATTERNS = 60, 6, 4


@pytest.fixture(scope="module")
def retargeter():
    return FaceRetargeter.from_pretrained(DEFAULT_CHECKPOINT, subfolder="retargeter")


@pytest.fixture(scope="module")
def meshes(pipe, portrait):
    """Of the portrait as it is, mirrored, squeezed and turned away by shear: no two are similar to each other."""
    narrow = np.ascontiguousarray(portrait.reshape(512, 64, 8, 3)[:, :, :7].reshape(512, -1, 3))
    photos = [portrait, portrait[:, ::-1].copy(), narrow, narrow[:, ::-1].copy()]
    return [max(pipe.find_faces(photo), key=lambda face: face.size).landmarks for photo in photos]


def turned(points, degrees, scale, shift):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return (scale * points @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + [*shift, 0]).astype(np.float32)


def similar(one, other):
    """Greatest distance after the best similarity, in percent of the distance of the eyes."""
    return metrics.procrustes_error(one, other)


def test_the_shape_is_that_of_the_seed(retargeter, meshes):
    first, again, other = retargeter(meshes[0], 1), retargeter(meshes[0], 1), retargeter(meshes[0], 2)
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float32 and first.shape == (478, 3)
    assert similar(first, meshes[0]) > 2 and similar(first, other) > 1


def test_strength_goes_from_the_old_shape_to_the_new(retargeter, meshes):
    np.testing.assert_array_equal(retargeter(meshes[0], 1, 0.0), meshes[0])
    steps = [similar(retargeter(meshes[0], 1, strength), meshes[0]) for strength in (0.25, 0.5, 1.0)]
    assert 0.5 < steps[0] < steps[1] < steps[2]


def test_what_the_face_does_stays(retargeter, meshes):
    for mesh in meshes:
        for seed in range(20):
            new = retargeter(mesh, seed)
            errors = metrics.ratio_errors(new, mesh)
            assert max(errors.values()) < 0.8, (seed, errors)  # percentage points
            assert metrics.pose_error(new, mesh) < 0.2
            assert metrics.gaze_error(new, mesh) < 4


@pytest.mark.xfail(strict=True, reason="the retargeter was fitted on the former mesh: `faceanon fit-shapes` again")
def test_a_straight_face_stays_straight(retargeter, pipe, portrait):
    mirrored = max(pipe.find_faces(portrait[:, ::-1].copy()), key=lambda face: face.size).landmarks
    mesh = evened(max(pipe.find_faces(portrait), key=lambda face: face.size).landmarks, mirrored)

    def askew(points):  # the sides' distances from chin, nose and forehead, against each other
        sides = [[np.linalg.norm(points[a] - points[b]) for b in (152, 4, 10, 168)] for a in (234, 454, 172, 397)]
        return np.abs(np.log(np.divide(sides[::2], sides[1::2]))).max()

    assert askew(mesh) < 0.01
    for seed in range(20):
        assert askew(retargeter(mesh, seed)) < 0.03, seed


def test_a_mesh_is_evened_out_by_its_mirror_image():
    random = np.random.default_rng(0)
    half = random.normal(size=(239, 3)) + [2, 0, 0]
    straight = np.concatenate([half, half * [-1, 1, 1]])
    slant = np.concatenate([bend := 0.1 * random.normal(size=(239, 3)), -bend * [-1, 1, 1]])
    found = evened(straight + slant, turned(straight - slant, 33, 0.4, (700, -20)))
    assert np.linalg.norm(found - straight) < 0.25 * np.linalg.norm(slant)


def test_eyes_and_lips_keep_their_form(retargeter, meshes):
    for group in (LEFT_EYE, INNER_LIPS):
        for mesh in meshes:
            old, new = mesh[group], retargeter(mesh, 3)[group]
            old, new = old - old.mean(0), new - new.mean(0)
            factor = (old * new).sum() / (old**2).sum()
            assert 0.8 < factor < 1.25
            assert np.abs(new - factor * old).max() < 0.05 * np.abs(old).max()


@pytest.mark.parametrize("degrees", [0, 45, 70, 88])
def test_lips_grow_with_the_face_however_it_is_turned(retargeter, meshes, degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    mesh = (meshes[0] @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])).astype(np.float32)

    def size(points):
        lips = points[INNER_LIPS]
        return np.linalg.norm(lips - lips.mean(0)) / np.linalg.norm(points[468] - points[473])

    for seed in range(20):
        assert 0.94 < size(retargeter(mesh, seed)) / size(mesh) < 1.06


def test_outline_jaw_nose_and_distance_of_the_eyes_change(retargeter, meshes):
    def proportions(points):
        width = np.linalg.norm(points[234] - points[454])
        lengths = [np.linalg.norm(points[a] - points[b]) for a, b in ((468, 473), (10, 152), (172, 397), (98, 327))]
        return np.array(lengths) / width

    spread = np.std([proportions(retargeter(meshes[0], seed)) for seed in range(40)], axis=0)
    assert (spread > 0.005).all(), spread


def test_place_turn_and_size_go_along(retargeter, meshes):
    moved = turned(meshes[0], 33, 0.4, (700, -20))
    np.testing.assert_allclose(retargeter(moved, 5), turned(retargeter(meshes[0], 5), 33, 0.4, (700, -20)), atol=0.02)


def test_coordinates_are_drawn_and_limited(retargeter):
    drawn = np.stack([retargeter.draw(seed) for seed in range(500)])
    drawn = drawn / retargeter.deviations.numpy()
    assert np.abs(drawn).max() <= 2.001 and 0.7 < drawn.std() < 1
    assert np.abs(np.corrcoef(drawn.T) - np.eye(drawn.shape[1])).max() < 0.25


def people(seed):
    """Meshes of people who differ in four ways and do three things, seen at any place, turn and size."""
    random = np.random.default_rng(0)
    base = random.normal(size=(478, 3)) * [1, 1.4, 0.5]
    base[[468, 473]] = [[-0.5, 0, 0], [0.5, 0, 0]]
    ways, deeds = random.normal(size=(PATTERNS, 478, 3)), random.normal(size=(3, 478, 3))
    for patterns in (ways, deeds):
        patterns -= patterns.mean(1, keepdims=True)
    random = np.random.default_rng(seed)
    identities = np.repeat(np.arange(PEOPLE), PHOTOS)
    who = random.normal(size=(PEOPLE, PATTERNS))[identities]
    does = random.normal(size=(len(identities), 3))
    points = base + 0.05 * np.tensordot(who, ways, 1) + 0.08 * np.tensordot(does, deeds, 1)
    points += 0.01 * random.normal(size=points.shape)
    poses = random.uniform([-90, 20, -50, -50], [90, 200, 500, 500], (len(points), 4))
    return np.stack([turned(p, a, s, t) for p, (a, s, *t) in zip(points, poses, strict=True)]), identities


@pytest.fixture(scope="module")
def planted():
    return FaceRetargeter.fit(*people(1), patterns=PATTERNS)


def test_fitting_finds_how_people_differ(planted):
    points, identities = people(2)
    found = np.stack([planted.identity(mesh) for mesh in points])
    centers = np.stack([found[identities == person].mean(0) for person in range(PEOPLE)])
    within = (found - centers[identities]).std(0)
    assert (centers.std(0) > 5 * within).all()
    np.testing.assert_allclose(within, 1, atol=0.3)
    np.testing.assert_allclose(centers.std(0), planted.deviations, rtol=0.5)


def test_the_old_coordinates_leave_the_new_face(retargeter, meshes, monkeypatch):
    monkeypatch.setattr("faceanon_hub.retargeting.REACH", np.inf)
    monkeypatch.setattr("faceanon_hub.retargeting.REPULSION", repulsion := 0.4)  # the steps come near so far a shape
    old = np.stack([retargeter.identity(mesh) for mesh in meshes])
    for seed in range(10):
        new = np.stack([retargeter.identity(retargeter(mesh, seed)) for mesh in meshes])
        left = np.abs(new - (retargeter.draw(seed) - repulsion * old)).mean()
        assert left < 0.5 * np.abs(old - retargeter.draw(seed)).mean(), left


def test_it_needs_enough_people():
    points, identities = people(1)
    with pytest.raises(ValueError, match="0 of them on several"):
        FaceRetargeter.fit(points, np.arange(len(points)), PATTERNS)
    with pytest.raises(ValueError, match="needed are more than 60 photos"):
        FaceRetargeter.fit(points[:50], identities[:50], PATTERNS)


def test_it_is_saved_small_and_loads_the_same(retargeter, meshes, tmp_path):
    retargeter.save_pretrained(tmp_path)
    again = FaceRetargeter.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again(meshes[0], 3), retargeter(meshes[0], 3))
    weights = Path(DEFAULT_CHECKPOINT, "retargeter", "diffusion_pytorch_model.safetensors")
    assert weights.stat().st_size < 200_000


def test_the_outline_moves(retargeter, meshes):
    moves = [retargeter(meshes[0], seed)[OVAL] - meshes[0][OVAL] for seed in range(10)]
    eyes = np.linalg.norm(meshes[0][468] - meshes[0][473])
    means = np.linalg.norm(moves, axis=2).mean(1) / eyes
    assert (means > 0.03).all() and (means < 1.1 * REACH).all(), means
