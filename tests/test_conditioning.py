"""What the generator is told of a hidden face: its geometry, and of its pixels the hint's coefficients only."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faceanon_hub import landmarks as lm
from faceanon_hub.alignment import align, transform, warp_in
from faceanon_hub.conditioning import (
    BROWS_AT_REST,
    HINT_CELL,
    LIDS_AT_REST,
    MAPS,
    MASK_MARGIN,
    condition,
    draw_maps,
    emphasize,
    hint_coefficients,
    lids_and_brows,
    render_hint,
    skin_mask,
    skin_masks,
)

SIZE = 128
turns = st.floats(-np.pi, np.pi)
shifts = st.tuples(st.floats(-0.15, 0.15), st.floats(-0.15, 0.15))


@pytest.fixture(scope="module")
def points(face) -> np.ndarray:
    return transform(face.landmarks, align(face.landmarks, SIZE))


@pytest.fixture(scope="module")
def maps(points) -> torch.Tensor:
    return torch.from_numpy(draw_maps(points, SIZE))[None].float()


@pytest.fixture(scope="module")
def crop(portrait, face) -> torch.Tensor:
    # In 128ths, of which sums over a cell are exact: equal coefficients are then equal bit for bit.
    pixels = warp_in(portrait, align(face.landmarks, SIZE), SIZE)
    return torch.from_numpy(pixels)[None].permute(0, 3, 1, 2).float() / 128 - 1


@pytest.fixture(scope="module")
def check(shared):
    path = shared / "prototype" / "check.npz"
    if not path.is_file():
        pytest.skip("no prototype to compare with")
    return np.load(path)


def shuffled(points: np.ndarray, roll: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    """A mesh turned, scaled and moved inside the crop."""
    turn = scale * np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    return ((points[:, :2] - SIZE / 2) @ turn + SIZE / 2 + np.multiply(shift, SIZE)).astype(np.float32)


def outline(points: np.ndarray) -> np.ndarray:
    hull = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.round(points[lm.OVAL, :2]).astype(np.int32)), 1)
    return hull


def test_maps_are_those_the_weights_were_trained_with(check):
    assert np.array_equal(draw_maps(check["crop_points"], SIZE), check["maps"])


def test_the_condition_is_that_the_weights_were_trained_with(check):
    crop = torch.from_numpy(check["crop"])[None].permute(0, 3, 1, 2).float() / 127.5 - 1
    maps = torch.from_numpy(check["maps"])[None].float()
    told = condition(maps, render_hint(hint_coefficients(crop, maps), maps[:, :1]))
    assert np.abs(told[0].numpy() - check["cond"]).max() < 1e-3


def test_maps_are_flags_in_a_known_order(points):
    maps = draw_maps(points, SIZE)
    assert maps.shape == (len(MAPS), SIZE, SIZE)
    assert maps.dtype == np.uint8
    assert set(np.unique(maps)) == {0, 1}
    middle = {name: np.argwhere(part).mean(0)[0] for name, part in zip(MAPS, maps, strict=True)}
    assert middle["brows"] < middle["eyes"] < middle["nose"] < middle["lips"]
    assert middle["irises"] == pytest.approx(middle["eyes"], abs=2)
    hide, *features = maps
    assert all((hide >= part).all() for part in features)  # what is told of the face lies where it is hidden


@given(turns, st.floats(0.3, 1.1), shifts, st.floats(0.05, 0.3))
@settings(max_examples=60, deadline=None)
def test_the_hidden_region_holds_the_face_whole(points, roll, scale, shift, margin):
    there = shuffled(points, roll, scale, shift)
    hide = draw_maps(there, SIZE, margin)[0]
    hull = outline(there)
    assert (hide >= hull).all()
    # And it reaches beyond: everything nearer than the margin, less a pixel for rounding.
    reach = max(3, int(margin * np.ptp(there[lm.OVAL, 1]))) - 1.5
    away = cv2.distanceTransform(1 - hull, cv2.DIST_L2, 5) if hull.any() else np.full_like(hull, 255)
    assert hide[away < reach].all()


@pytest.mark.parametrize("degrees", [-75, -60, -30, 0, 30, 60, 75])
def test_no_point_of_a_turned_face_stays_visible(face, degrees):
    # Of a head turned to the side the nose stands out beyond the outline.
    yaw = np.radians(degrees)
    turned = face.landmarks @ np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    there = transform(turned, align(turned, SIZE))
    column, row = np.round(there[:, :2]).astype(int).T
    assert draw_maps(there, SIZE)[0][row, column].all()


@given(turns, st.floats(0.3, 1.1), shifts)
@settings(max_examples=20, deadline=None)
def test_a_wider_margin_hides_more(points, roll, scale, shift):
    there = shuffled(points, roll, scale, shift)
    narrow, usual, wide = (draw_maps(there, SIZE, margin)[0] for margin in (0.05, MASK_MARGIN, 0.3))
    assert (narrow <= usual).all()
    assert (usual <= wide).all()
    assert narrow.sum() < wide.sum()


@given(turns, st.floats(0.3, 1.1), shifts)
@settings(max_examples=20, deadline=None)
def test_skin_lies_inside_the_hidden_region_and_off_the_features(points, roll, scale, shift):
    drawn = draw_maps(shuffled(points, roll, scale, shift), SIZE)
    maps = torch.from_numpy(drawn)[None].float()
    skin = skin_masks(maps)
    assert skin.shape == (1, 1, SIZE, SIZE)
    assert np.array_equal(skin_mask(drawn), skin[0, 0].numpy())
    assert set(skin.unique().tolist()) <= {0, 1}
    assert (skin <= maps[:, :1]).all()
    for name in ("eyes", "brows", "lips", "mouth"):
        assert not (skin * maps[:, MAPS.index(name)]).any()
    # A tenth of the crop inside its border no hair is left, whatever the mesh's outline missed.
    inside = cv2.distanceTransform(np.pad(maps[0, 0].numpy().astype(np.uint8), 1, mode="edge"), cv2.DIST_L2, 5)
    assert (inside[1:-1, 1:-1][skin[0, 0].numpy() > 0] > 0.07 * SIZE).all()


def test_the_portrait_has_skin(maps):
    assert 0.05 < skin_masks(maps).mean() < 0.3


@given(st.floats(0.5, 2), st.floats(0.5, 2))
def test_lids_and_brows_go_farther_from_where_they_rest(points, lids, brows):
    told, moved = emphasize(points, lids, brows), [*lm.LEFT_EYE, *lm.RIGHT_EYE, *lm.LEFT_BROW, *lm.RIGHT_BROW]
    rest, factor = np.array([LIDS_AT_REST, BROWS_AT_REST]), np.array([lids, brows])
    # The slant of an eye, and the corners that follow it, make the difference.
    assert lids_and_brows(told) == pytest.approx((rest + factor * (lids_and_brows(points) - rest)).clip(0), abs=0.02)
    assert np.array_equal(np.delete(told, moved, 0), np.delete(points, moved, 0))
    assert np.array_equal(told[:, [0, 2]], points[:, [0, 2]])


def test_emphasis_of_one_changes_nothing_and_lids_close_at_most(points):
    assert emphasize(points) == pytest.approx(points, abs=1e-4)
    shut = lids_and_brows(emphasize(points, lids=50 * np.sign(LIDS_AT_REST - lids_and_brows(points)[:, 0].mean())))
    assert shut[:, 0] == pytest.approx(0, abs=0.012)


@given(st.floats(-1.5, 1.5))
def test_a_face_that_is_turned_aside_is_told_no_other_eyes(points, yaw):
    middle = points.mean(0)
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    aside = ((points - middle) @ turn + middle).astype(np.float32)
    assert lids_and_brows(aside) == pytest.approx(lids_and_brows(points), abs=1e-3)
    far = np.linalg.norm(emphasize(aside, 1.6, 1.15) - aside, axis=1).max()
    assert far < 0.1 * np.linalg.norm(points[468] - points[473])


def test_only_the_coefficients_tell_the_hint_of_hidden_pixels(crop, maps):
    random = torch.Generator().manual_seed(0)
    skin = skin_masks(maps)
    changed = torch.where(maps[:, :1] > skin, torch.rand(crop.shape, generator=random) * 2 - 1, crop)
    # Within a cell pixels may change places, and any two be moved apart by as much as they like.
    cells = changed.unfold(2, HINT_CELL, HINT_CELL).unfold(3, HINT_CELL, HINT_CELL).flatten(4).clone()
    full = skin.unfold(2, HINT_CELL, HINT_CELL).unfold(3, HINT_CELL, HINT_CELL).flatten(4).all(4)[0, 0]
    assert full.sum() > 8
    mixed = cells[..., torch.randperm(HINT_CELL**2, generator=random)]
    mixed[..., ::2] += 0.25
    mixed[..., 1::2] -= 0.25
    cells[:, :, full] = mixed[:, :, full]
    side = SIZE // HINT_CELL
    folded = cells.view(1, 3, side, side, HINT_CELL, HINT_CELL).transpose(3, 4).reshape(crop.shape)
    assert (folded - crop).abs()[:, :, maps[0, 0] > 0].mean() > 0.2
    coefficients, others = hint_coefficients(crop, maps), hint_coefficients(folded, maps)
    assert torch.equal(coefficients, others)
    assert torch.equal(render_hint(coefficients, maps[:, :1]), render_hint(others, maps[:, :1]))


def test_the_coefficients_hold_no_pixel_outside_the_skin(crop, maps):
    seen = hint_coefficients(crop, maps)
    elsewhere = torch.where(skin_masks(maps) > 0, crop, torch.rand(crop.shape) * 2 - 1)
    assert torch.equal(hint_coefficients(elsewhere, maps), seen)


def test_the_coefficients_are_a_mean_colour_a_cell(crop, maps):
    coefficients, skin = hint_coefficients(crop, maps), skin_masks(maps)
    cell = np.s_[0, :, 64:72, 40:48]
    share = skin[cell].mean()
    assert share > 0
    assert coefficients[0, 3, 8, 5] == share
    assert coefficients[0, :3, 8, 5].numpy() == pytest.approx((crop[cell] * skin[cell]).mean((1, 2)).numpy(), abs=1e-6)
    assert coefficients.shape == (1, 4, SIZE // HINT_CELL, SIZE // HINT_CELL)


def test_the_hint_is_nothing_outside_the_hidden_region(crop, maps):
    hint = render_hint(hint_coefficients(crop, maps), maps[:, :1])
    assert hint.shape == (1, 4, SIZE, SIZE)
    assert not hint[(maps[:, :1] == 0).expand_as(hint)].any()
    assert torch.equal(hint[:, 3:], maps[:, :1])
    assert hint.abs().max() <= 1


def test_a_face_of_one_colour_has_that_colour_for_a_hint(maps):
    color = torch.tensor([0.5, -0.25, 0.125]).view(1, 3, 1, 1)
    hint = render_hint(hint_coefficients(color.expand(1, 3, SIZE, SIZE), maps), maps[:, :1])
    there = (skin_masks(maps) > 0)[0, 0]
    assert hint[0, :3, there].numpy() == pytest.approx(color[0, :, 0].expand(-1, int(there.sum())).numpy(), abs=0.02)


def test_without_a_hint_only_the_maps_are_told(maps):
    told = condition(maps)
    assert told.shape == (1, 11, SIZE, SIZE)
    assert torch.equal(told[:, :7], maps[:, 1:])
    assert not told[:, 7:].any()


def test_a_batch_is_its_faces_one_by_one(crop, maps):
    flipped, turned = crop.flip(3), maps.flip(3)
    both = hint_coefficients(torch.cat([crop, flipped]), torch.cat([maps, turned]))
    assert torch.equal(both[:1], hint_coefficients(crop, maps))
    assert torch.equal(both[1:], hint_coefficients(flipped, turned))


def test_the_hint_is_about_four_by_four_numbers_a_channel(maps):
    # From the mean colour of each cell with skin to the hint, a linear map while the skin stays the same.
    mask, share = maps[:, :1], hint_coefficients(torch.zeros(1, 3, SIZE, SIZE), maps)[:, 3:]
    cells = share[0, 0].nonzero()
    coefficients = torch.zeros(len(cells), 4, *share.shape[2:])
    coefficients[:, 3] = share[0]
    for number, (row, column) in enumerate(cells):
        coefficients[number, 0, row, column] = share[0, 0, row, column]
    hints = render_hint(coefficients, mask.expand(len(cells), -1, -1, -1))[:, 0]
    strength = torch.linalg.svdvals(hints.flatten(1))
    counts = {part: int((strength > part * strength[0]).sum()) for part in (0.1, 0.01, 0.001)}
    print(f"{len(cells)} cells with skin; numbers by their least strength: {counts}")
    assert counts[0.1] <= 18
    assert counts[0.01] <= 36
