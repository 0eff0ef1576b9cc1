import numpy as np
import pytest

from faceanon_hub.alignment import transform
from faceanon_hub.landmarks import INNER_LIPS, OVAL
from faceanon_hub.metrics.expression import expression_ratios
from faceanon_hub.video.smoothing import average, steady

TIMES = np.arange(31) / 30


def shaken(landmarks, pixels, moves=None, seed=0):
    """The mesh in 31 frames, each point and the whole of it shaken."""
    random = np.random.default_rng(seed)
    meshes = []
    for number in range(31):
        mesh = landmarks.copy()
        mesh[:, :2] += random.normal(0, pixels, (478, 2)) + random.normal(0, pixels, 2)
        mesh[:, :2] += 0 if moves is None else moves[number]
        meshes.append(mesh.astype(np.float32))
    return meshes


def test_jitter_is_less_than_half(face):
    meshes = shaken(face.landmarks, 0.4)
    smooth = np.array([steady(TIMES, meshes, i, 128)[1] for i in range(10, 20)])
    raw = np.array(meshes[10:20])
    assert np.diff(smooth, axis=0)[..., :2].std() < 0.5 * np.diff(raw, axis=0)[..., :2].std()
    assert np.abs(smooth - face.landmarks)[..., :2].mean() < 0.6 * np.abs(raw - face.landmarks)[..., :2].mean()


def test_the_crop_does_not_tremble(face):
    meshes = shaken(face.landmarks, 0.5)
    matrices = np.array([steady(TIMES, meshes, i, 128)[0] for i in range(8, 23)])
    alone = np.array([steady(TIMES[i : i + 1], meshes[i : i + 1], 0, 128)[0] for i in range(8, 23)])
    assert np.diff(matrices, axis=0).std() < 0.4 * np.diff(alone, axis=0).std()


def test_steady_motion_is_not_behind(face):
    moves = np.arange(31)[:, None] * np.array([5.0, -2.0])
    meshes = shaken(face.landmarks, 0, moves)
    for index in (0, 1, 15, 30):
        matrix, points = steady(TIMES, meshes, index, 128)
        assert np.abs(points - meshes[index])[:, :2].max() < 0.05
        assert np.abs(transform(points, matrix)[OVAL, :2].mean(0) - 64).max() < 12


def test_a_blink_keeps_its_moment_and_its_depth(face):
    meshes = [face.landmarks.copy() for _ in range(31)]
    upper, lower = [160, 159, 158, 387, 386, 385], [144, 145, 153, 373, 374, 380]
    for number, closed in ((14, 0.5), (15, 1.0), (16, 0.5)):
        middle = (meshes[number][upper] + meshes[number][lower]) / 2
        for group in (upper, lower):
            meshes[number][group] += closed * (middle - meshes[number][group])
    opening = [expression_ratios(steady(TIMES, meshes, i, 128)[1])["eye_left"] for i in range(10, 21)]
    whole = expression_ratios(face.landmarks)["eye_left"]
    assert int(np.argmin(opening)) == 5 and min(opening) < 0.25 * whole and opening[0] > 0.95 * whole


def test_a_mouth_that_opens_at_once_does_so(face):
    meshes = [face.landmarks.copy() for _ in range(31)]
    for mesh in meshes[15:]:
        mesh[INNER_LIPS[:10], 1] += 12
    opening = [expression_ratios(steady(TIMES, meshes, i, 128)[1])["mouth_open"] for i in (13, 14, 15, 16)]
    raw = [expression_ratios(meshes[i])["mouth_open"] for i in (13, 14, 15, 16)]
    np.testing.assert_allclose(opening, raw, atol=1.5)


def test_one_frame_alone_stays_as_it_is(face):
    matrix, points = steady(np.array([3.0]), [face.landmarks], 0, 128)
    np.testing.assert_allclose(points, face.landmarks, atol=1e-3)
    assert np.isfinite(matrix).all()


def test_a_turn_past_upside_down_is_no_jump(face):
    center = face.landmarks[:, :2].mean(0)
    meshes = []
    for number in range(31):
        angle = np.pi + 0.02 * (number - 15)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        flat = (face.landmarks[:, :2] - center) @ turn.T + center
        meshes.append(np.concatenate([flat, face.landmarks[:, 2:]], 1).astype(np.float32))
    for index in (14, 15, 16):
        assert np.abs(steady(TIMES, meshes, index, 128)[1] - meshes[index])[:, :2].max() < 0.5


def test_coefficients_are_averaged_until_the_light_changes():
    random = np.random.default_rng(0)
    values = np.where(TIMES < 0.5, 1.0, 5.0)[:, None] + random.normal(0, 0.1, (31, 2))
    colors = np.where(TIMES < 0.5, 40.0, 80.0)[:, None].repeat(3, 1)
    after = average(TIMES, values, TIMES[16], colors, colors[16])
    before = average(TIMES, values, TIMES[13], colors, colors[13])
    assert after == pytest.approx(5, abs=0.12) and before == pytest.approx(1, abs=0.12)
