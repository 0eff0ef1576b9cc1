"""An editor: changed face by face, and drawn no more than needed."""

from unittest.mock import Mock

import numpy as np
import pytest

from faceanon_hub import FaceStatus, PhotoEditor
from faceanon_hub.demo.panel import COLOR
from faceanon_hub.metrics import DlibRecognizer


@pytest.fixture(scope="module")
def two(portrait) -> np.ndarray:
    return np.concatenate([portrait[:256, 96:352], portrait[:256, 96:352][:, ::-1]], 1)


@pytest.fixture
def editor(quick, two) -> PhotoEditor:
    return PhotoEditor(quick, two, seed=5)


@pytest.fixture
def painted(quick, monkeypatch) -> list[int]:
    """How many faces each batch draws."""
    counts, draw = [], quick.draw_batch
    monkeypatch.setattr(quick, "draw_batch", lambda jobs, *rest: counts.append(len(jobs)) or draw(jobs, *rest))
    return counts


def test_an_edited_photo_is_what_the_pipeline_makes(editor, quick, two):
    expected = quick(two, seed=5)
    assert np.array_equal(np.asarray(editor.render()), np.asarray(expected.images[0]))
    assert [face.status for face in editor.faces] == [FaceStatus.ANONYMIZED] * 2
    assert [face.seed for face in editor.faces] == [face.seed for face in expected.faces[0]]


def test_light_and_colour_do_not_paint_again(editor, quick, two, painted):
    editor.render()
    weaker = editor.render(lighting_strength=0.2, color_strength=0.1)
    assert painted == [2]
    painted.clear()
    expected = quick(two, seed=5, lighting_strength=0.2, color_strength=0.1).images[0]
    assert np.array_equal(np.asarray(weaker), np.asarray(expected))


def test_light_and_colour_do_not_look_at_the_original_again(editor, quick, monkeypatch):
    looks, hide = [], quick.prepare_scene
    monkeypatch.setattr(quick, "prepare_scene", lambda *args: looks.append(1) or hide(*args))
    editor.render()
    editor.render(lighting_strength=0.2)
    editor.render(color_strength=0.1)
    assert len(looks) == 1
    editor.render(lighting_strength=0)  # light is not even measured
    editor.keep(0)
    editor.render()
    editor.render(mask_margin=0.2)
    assert len(looks) == 4


def test_a_wider_margin_draws_nothing_again_and_other_numbers_of_the_original_do(editor, painted):
    narrow, wide = (np.asarray(editor.render(mask_margin=margin)) for margin in (0, 0.2))
    assert painted == [2]
    assert (narrow != wide).any()
    editor.render(privacy=0)
    editor.render(truncation=0.3)
    assert painted == [2, 2, 2]


def test_a_new_identity_paints_that_face_alone(editor, painted):
    first = np.asarray(editor.render()).astype(int)
    editor.faces[0].seed = 99
    second = np.asarray(editor.render())
    assert painted == [2, 1]
    assert np.abs(second - first)[:, :256].max() > 10
    assert np.array_equal(second[:, 256:], first[:, 256:])


def test_a_kept_face_is_untouched_and_can_be_hidden_again(editor, two, painted):
    whole = np.asarray(editor.render())
    editor.keep(1)
    kept = np.asarray(editor.render())
    assert np.array_equal(kept[:, 256:], two[:, 256:])
    assert np.array_equal(kept[:, :256], whole[:, :256])
    assert [face.status for face in editor.faces] == [FaceStatus.ANONYMIZED, FaceStatus.KEPT]
    editor.keep(1, False)
    assert np.array_equal(np.asarray(editor.render()), whole)
    assert [face.reason for face in editor.faces] == ["", ""]
    assert painted == [2]
    with pytest.raises(IndexError, match="face 2 of 2"):
        editor.keep(2)


def test_stages_show_the_way_and_nothing_of_the_original(editor, two):
    assert editor.stages(0) == {}
    editor.render()
    stages = editor.stages(0)
    assert list(stages) == ["hidden", "landmarks", "drawn", "composed"]
    assert all(stage.shape == (256, 256, 3) and stage.dtype == np.uint8 for stage in stages.values())
    assert stages["hidden"][100:180, 100:160].std((0, 1)).max() < 1  # one colour
    assert (stages["drawn"] != stages["composed"]).any()
    editor.keep(0)
    editor.render()
    assert editor.stages(0) == {}


def test_what_was_kept_is_measured(sketcher, two):
    editor = PhotoEditor(sketcher, two, seed=5)
    assert editor.kept_of(0) == {}
    editor.render()
    kept = editor.kept_of(0, DlibRecognizer())
    editor.render(lighting_strength=0, color_strength=0)
    lost = editor.kept_of(0)
    assert set(lost) == {"expression", "light", "ciede2000"} == set(kept) - {"distance"}
    assert 0.3 < kept["distance"] < 1.5
    assert 0 < kept["expression"] < 10
    assert kept["ciede2000"] < COLOR[0]  # what the panel calls kept
    assert kept["ciede2000"] < 0.5 * lost["ciede2000"]


fail = Mock(side_effect=RuntimeError("out of memory"))


def test_a_failing_network_leaves_faces_hidden(editor, quick, two, monkeypatch):
    monkeypatch.setattr(quick, "draw_batch", fail)
    result = np.asarray(editor.render()).astype(int)
    for face in editor.faces:
        assert face.status is FaceStatus.OBFUSCATED and "out of memory" in face.reason
        left, top, right, bottom = face.box.astype(int)
        assert np.abs(result - two)[top:bottom, left:right].mean() > 5
    monkeypatch.undo()
    editor.render()
    assert {(face.status, face.reason) for face in editor.faces} == {(FaceStatus.ANONYMIZED, "")}


def test_a_face_that_is_laid_in_after_all_has_no_reason_left(editor, quick, monkeypatch):
    monkeypatch.setattr(quick, "correct", fail)
    editor.render()
    assert all(face.status is FaceStatus.OBFUSCATED and "out of memory" in face.reason for face in editor.faces)
    assert editor.stages(0) == {}
    monkeypatch.undo()
    editor.render()
    assert {(face.status, face.reason) for face in editor.faces} == {(FaceStatus.ANONYMIZED, "")}


def test_options_are_checked(editor):
    with pytest.raises(ValueError, match="truncation"):
        editor.render(truncation=2)


def test_a_hidden_zone_hides_and_the_other_face_stays_who_it_is(editor, two):
    whole = np.asarray(editor.render()).astype(int)
    seeds = [face.seed for face in editor.faces]
    editor.keep(1)
    editor.hide([(0, 0, 250, 256)])
    hidden = np.asarray(editor.render()).astype(int)
    assert np.array_equal(hidden[:, 256:], two[:, 256:]) and editor.faces[0].status is FaceStatus.KEPT
    assert np.abs(hidden - two)[60:200, 60:200].mean() > 10 and np.abs(hidden - whole)[60:200, 60:200].mean() > 5
    assert [face.seed for face in editor.faces] == seeds[1:] and editor.zones == [(0, 0, 250, 256)]
    editor.hide([])
    editor.render()
    assert [face.status for face in editor.faces] == [FaceStatus.ANONYMIZED, FaceStatus.KEPT]
    assert [face.seed for face in editor.faces] == seeds


def test_a_zone_hides_a_part_of_a_kept_face_too(editor, two):
    editor.keep(0)
    left, top, right, bottom = (int(value) for value in editor.faces[0].box)
    middle = (top + bottom) // 2
    editor.hide([(left, middle, right, bottom)])
    pixels = np.asarray(editor.render())
    assert np.abs(pixels[middle:bottom, left:right].astype(int) - two[middle:bottom, left:right]).mean() > 5


def test_another_search_keeps_who_is_found_again(editor):
    first = np.asarray(editor.render())
    editor.keep(1)
    editor.search(threshold=0.3)
    assert [face.status for face in editor.faces] == [FaceStatus.FOUND] * 2
    kept = np.asarray(editor.render())
    assert np.array_equal(kept[:, :256], first[:, :256]) and editor.faces[1].status is FaceStatus.KEPT


def test_a_face_that_was_missed_is_replaced_where_somebody_points_at_it(quick, two):
    editor = PhotoEditor(quick, two, seed=5)
    left, right = (tuple(face.box) for face in editor.faces)
    editor = PhotoEditor(quick, two, seed=5, threshold=0.9)
    editor.faces = editor.faces[:1]  # the other one was missed
    editor._reasons = editor._reasons[:1]
    seed = editor.faces[0].seed
    editor.keep(0)
    assert editor.look(right) == 1 and editor.zones == [] and len(editor.looked) == 1
    before = np.asarray(editor.photo.pixels).astype(int)
    after = np.asarray(editor.render()).astype(int)
    assert [face.status for face in editor.faces] == [FaceStatus.KEPT, FaceStatus.ANONYMIZED]
    assert editor.faces[0].seed == seed != editor.faces[1].seed
    changed = np.abs(after - before).max(2) > 8
    assert changed[:, 256:].mean() > 0.05 and not changed[:, :250].any()
    editor.search(0.9)  # it stays
    assert len(editor.looked) == 1 and sum(face.box[0] > 256 for face in editor.faces) == 1
    editor.hide([right])  # a zone counts more
    assert not any(face.box[0] > 256 for face in editor.faces)


def test_where_no_face_is_found_the_place_is_hidden(editor):
    for box in ((10, 180, 60, 250), (0, 0, 500, 250)):  # nothing, and far too large for what is in it
        assert editor.look(box) is None and box in editor.zones
    assert editor.looked == []
    after = np.asarray(editor.render()).astype(int)
    assert np.abs(after - editor.photo.pixels)[185:245, 15:55].mean() > 0.5
    with pytest.raises(ValueError, match="of which nothing lies"):
        editor.look((600, 0, 700, 100))
