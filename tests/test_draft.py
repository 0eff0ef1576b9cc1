"""A draft: changed face by face, and painted no more than needed."""

from __future__ import annotations

import numpy as np
import pytest

from faceanon_hub import Draft, FaceStatus
from faceanon_hub.metrics import DlibRecognizer


@pytest.fixture(scope="module")
def two(portrait) -> np.ndarray:
    return np.concatenate([portrait[:256, 96:352], portrait[:256, 96:352][:, ::-1]], 1)


@pytest.fixture
def draft(pipe, two) -> Draft:
    return Draft(pipe, two, seed=5)


@pytest.fixture
def painted(pipe, monkeypatch) -> list[int]:
    """How many faces each run of the network paints."""
    counts, generate = [], pipe._generate
    monkeypatch.setattr(pipe, "_generate", lambda jobs, *rest: counts.append(len(jobs)) or generate(jobs, *rest))
    return counts


def test_a_draft_is_what_the_pipeline_makes(draft, pipe, two):
    expected = pipe(two, seed=5)
    assert np.array_equal(np.asarray(draft.render()), np.asarray(expected.images[0]))
    assert [face.status for face in draft.faces] == [FaceStatus.ANONYMIZED] * 2
    assert [face.seed for face in draft.faces] == [face.seed for face in expected.faces[0]]


def test_light_and_colour_do_not_paint_again(draft, pipe, two, painted):
    draft.render()
    weaker = draft.render(lighting_strength=0.2, color_strength=0.1)
    assert painted == [2]
    painted.clear()
    expected = pipe(two, seed=5, lighting_strength=0.2, color_strength=0.1).images[0]
    assert np.array_equal(np.asarray(weaker), np.asarray(expected))


def test_light_and_colour_do_not_look_at_the_original_again(draft, pipe, monkeypatch):
    looks, hide = [], pipe._hide
    monkeypatch.setattr(pipe, "_hide", lambda *args: looks.append(1) or hide(*args))
    draft.render()
    draft.render(lighting_strength=0.2)
    draft.render(color_strength=0.1)
    assert len(looks) == 1
    draft.render(lighting_strength=0)  # light is not even measured
    draft.keep(0)
    draft.render()
    draft.render(mask_margin=0.2)
    assert len(looks) == 4


def test_a_new_identity_paints_that_face_alone(draft, painted):
    first = np.asarray(draft.render()).astype(int)
    draft.faces[0].seed = 99
    second = np.asarray(draft.render())
    assert painted == [2, 1]
    assert np.abs(second - first)[:, :256].max() > 10
    assert np.array_equal(second[:, 256:], first[:, 256:])


def test_a_kept_face_is_untouched_and_can_be_hidden_again(draft, two, painted):
    whole = np.asarray(draft.render())
    draft.keep(1)
    kept = np.asarray(draft.render())
    assert np.array_equal(kept[:, 256:], two[:, 256:])
    assert np.array_equal(kept[:, :256], whole[:, :256])
    assert [face.status for face in draft.faces] == [FaceStatus.ANONYMIZED, FaceStatus.KEPT]
    draft.keep(1, False)
    assert np.array_equal(np.asarray(draft.render()), whole)
    assert [face.reason for face in draft.faces] == ["", ""]
    assert painted == [2]
    with pytest.raises(IndexError, match="face 2 of 2"):
        draft.keep(2)


def test_stages_show_the_way_and_nothing_of_the_original(draft, two):
    assert draft.stages(0) == {}
    draft.render()
    stages = draft.stages(0)
    assert list(stages) == ["hidden", "landmarks", "generated", "corrected"]
    assert all(stage.shape == (128, 128, 3) and stage.dtype == np.uint8 for stage in stages.values())
    assert stages["hidden"][50:90, 50:80].std((0, 1)).max() < 1  # one colour
    assert (stages["generated"] != stages["corrected"]).any()
    draft.keep(0)
    draft.render()
    assert draft.stages(0) == {}


def test_what_was_kept_is_measured(draft):
    assert draft.kept_of(0) == {}
    draft.render()
    kept = draft.kept_of(0, DlibRecognizer())
    draft.render(lighting_strength=0, color_strength=0)
    lost = draft.kept_of(0)
    assert set(lost) == {"expression", "light", "ciede2000"} == set(kept) - {"distance"}
    assert 0.3 < kept["distance"] < 1.5
    assert 0 < kept["expression"] < 10
    assert kept["ciede2000"] < 0.5 < lost["ciede2000"]


def test_a_failing_network_leaves_faces_hidden(draft, pipe, two, monkeypatch):
    def fail(*args):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(pipe, "_generate", fail)
    result = np.asarray(draft.render()).astype(int)
    for face in draft.faces:
        assert face.status is FaceStatus.OBFUSCATED and "out of memory" in face.reason
        left, top, right, bottom = face.box.astype(int)
        assert np.abs(result - two)[top:bottom, left:right].mean() > 5
    monkeypatch.undo()
    draft.render()
    assert {(face.status, face.reason) for face in draft.faces} == {(FaceStatus.ANONYMIZED, "")}


def test_options_are_checked(draft):
    with pytest.raises(ValueError, match="truncation"):
        draft.render(truncation=2)
