"""What the network is told of a hidden face: its geometry, and of its pixels the hint's coefficients only."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faceanon_hub import FaceDetector, LandmarkExtractor
from faceanon_hub import landmarks as lm
from faceanon_hub.alignment import align, transform, warp_in
from faceanon_hub.training.conditioning import (
    HINT_CELL,
    MAPS,
    MASK_MARGIN,
    condition,
    draw_maps,
    hint_coefficients,
    render_hint,
    skin_masks,
)

SIZE = 128
turns = st.floats(-np.pi, np.pi)
shifts = st.tuples(st.floats(-0.15, 0.15), st.floats(-0.15, 0.15))


@pytest.fixture(scope="module")
def mesh(portrait) -> np.ndarray:
    (face,) = LandmarkExtractor()(portrait, FaceDetector()(portrait))
    return face.landmarks


@pytest.fixture(scope="module")
def points(mesh) -> np.ndarray:
    return transform(mesh, align(mesh, SIZE))


@pytest.fixture(scope="module")
def maps(points) -> torch.Tensor:
    return torch.from_numpy(draw_maps(points, SIZE))[None].float()


@pytest.fixture(scope="module")
def crop(portrait, mesh) -> torch.Tensor:
    # In 128ths, of which sums over a cell are exact: equal coefficients are then equal bit for bit.
    pixels = warp_in(portrait, align(mesh, SIZE), SIZE)
    return torch.from_numpy(pixels)[None].permute(0, 3, 1, 2).float() / 128 - 1


def shuffled(points: np.ndarray, roll: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    """A mesh turned, scaled and moved inside the crop."""
    turn = scale * np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    return ((points[:, :2] - SIZE / 2) @ turn + SIZE / 2 + np.multiply(shift, SIZE)).astype(np.float32)


def test_maps_and_condition_are_the_prototypes(shared):
    path = shared / "prototype" / "check.npz"
    if not path.is_file():
        pytest.skip("no prototype to compare with")
    check = np.load(path)
    assert np.array_equal(draw_maps(check["crop_points"], SIZE), check["maps"])
    crop = torch.from_numpy(check["crop"])[None].permute(0, 3, 1, 2).float() / 127.5 - 1
    maps = torch.from_numpy(check["maps"])[None].float()
    told = condition(maps, render_hint(hint_coefficients(crop, maps), maps[:, :1]))
    assert np.abs(told[0].numpy() - check["cond"]).max() < 1e-3


def test_maps_are_flags_in_a_known_order(points):
    maps = draw_maps(points, SIZE)
    assert (maps.shape, maps.dtype, set(np.unique(maps))) == ((len(MAPS), SIZE, SIZE), np.uint8, {0, 1})
    middle = {name: np.argwhere(part).mean(0)[0] for name, part in zip(MAPS, maps, strict=True)}
    assert middle["brows"] < middle["eyes"] < middle["nose"] < middle["lips"]
    assert middle["irises"] == pytest.approx(middle["eyes"], abs=2)
    hide, *features = maps
    assert all((hide >= part).all() for part in features)  # what is told of the face lies where it is hidden


@given(turns, st.floats(0.3, 1.1), shifts)
@settings(max_examples=40, deadline=None)
def test_the_hidden_region_holds_the_face_whole(points, roll, scale, shift):
    there = shuffled(points, roll, scale, shift)
    hide = draw_maps(there, SIZE)[0]
    hull = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.round(there[lm.OVAL, :2]).astype(np.int32)), 1)
    assert (hide >= hull).all()
    # And it reaches beyond: everything nearer than the margin, less a pixel for rounding.
    reach = max(3, int(MASK_MARGIN * np.ptp(there[lm.OVAL, 1]))) - 1.5
    away = cv2.distanceTransform(1 - hull, cv2.DIST_L2, 5) if hull.any() else np.full_like(hull, 255)
    assert hide[away < reach].all()


@pytest.mark.parametrize("degrees", [-75, -60, -30, 0, 30, 60, 75])
def test_no_point_of_a_turned_face_stays_visible(mesh, degrees):
    # Of a head turned to the side the nose stands out beyond the outline.
    yaw = np.radians(degrees)
    turned = mesh @ np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    there = transform(turned, align(turned, SIZE))
    column, row = np.round(there[:, :2]).astype(int).T
    assert draw_maps(there, SIZE)[0][row, column].all()


@given(turns, st.floats(0.3, 1.1), shifts)
@settings(max_examples=20, deadline=None)
def test_skin_lies_inside_the_hidden_region_and_off_the_features(points, roll, scale, shift):
    maps = torch.from_numpy(draw_maps(shuffled(points, roll, scale, shift), SIZE))[None].float()
    skin = skin_masks(maps)
    assert skin.shape == (1, 1, SIZE, SIZE)
    assert set(skin.unique().tolist()) <= {0, 1}
    assert (skin <= maps[:, :1]).all()
    for name in ("eyes", "brows", "lips", "mouth"):
        assert not (skin * maps[:, MAPS.index(name)]).any()
    # A tenth of the crop inside its border no hair is left, whatever the mesh's outline missed.
    inside = cv2.distanceTransform(np.pad(maps[0, 0].numpy().astype(np.uint8), 1, mode="edge"), cv2.DIST_L2, 5)
    assert (inside[1:-1, 1:-1][skin[0, 0].numpy() > 0] > 0.07 * SIZE).all()


def test_the_coefficients_are_a_mean_colour_a_cell_and_hold_no_pixel_outside_the_skin(crop, maps):
    coefficients, skin = hint_coefficients(crop, maps), skin_masks(maps)
    assert 0.05 < skin.mean() < 0.3
    assert coefficients.shape == (1, 4, SIZE // HINT_CELL, SIZE // HINT_CELL)
    cell = np.s_[0, :, 64:72, 40:48]
    assert coefficients[0, 3, 8, 5] == skin[cell].mean() > 0
    assert coefficients[0, :3, 8, 5].numpy() == pytest.approx((crop[cell] * skin[cell]).mean((1, 2)).numpy(), abs=1e-6)
    elsewhere = torch.where(skin > 0, crop, torch.rand(crop.shape) * 2 - 1)
    assert torch.equal(hint_coefficients(elsewhere, maps), coefficients)


def test_the_hint_is_nothing_outside_the_hidden_region(crop, maps):
    hint = render_hint(hint_coefficients(crop, maps), maps[:, :1])
    assert not hint[(maps[:, :1] == 0).expand_as(hint)].any()
    assert torch.equal(hint[:, 3:], maps[:, :1])
    assert hint.abs().max() <= 1
    told = condition(maps, hint)
    assert torch.equal(told[:, :7], maps[:, 1:]) and torch.equal(told[:, 7:], hint)


def test_a_face_of_one_colour_has_that_colour_for_a_hint(maps):
    color = torch.tensor([0.5, -0.25, 0.125]).view(1, 3, 1, 1)
    hint = render_hint(hint_coefficients(color.expand(1, 3, SIZE, SIZE), maps), maps[:, :1])
    there = (skin_masks(maps) > 0)[0, 0]
    assert hint[0, :3, there].numpy() == pytest.approx(color[0, :, 0].expand(-1, int(there.sum())).numpy(), abs=0.02)
