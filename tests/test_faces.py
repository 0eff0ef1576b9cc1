"""The record of one face."""

import json
import re
from dataclasses import fields, replace

import numpy as np
import pytest

from faceanon_hub.faces import Face, FaceStatus


def a_face(**changes) -> Face:
    values = {
        "box": np.array([10.25, 20.04, 40.75, 70], np.float32),
        "score": np.float32(0.912345),
        "keypoints": np.arange(10, dtype=np.float32).reshape(5, 2),
        "landmarks": np.zeros((478, 3), np.float32),
        "blendshapes": {"mouthSmileLeft": 0.5},
        "pose": np.eye(3),
        "presence": np.float32(0.99),
        "seed": 7,
    }
    return Face(**{**values, **changes})


def test_the_record_is_ready_for_json():
    record = a_face(status=FaceStatus.OBFUSCATED, reason="no landmarks").to_dict()
    assert json.loads(json.dumps(record)) == record
    assert record["box"] == pytest.approx([10.2, 20.0, 40.8, 70.0], abs=0.051)
    assert record["score"] == pytest.approx(0.9123, abs=1e-4)
    assert record["presence"] == 0.99
    assert record["status"] == "obfuscated"
    assert record["reason"] == "no landmarks"


def test_a_face_only_just_found_has_a_record_too():
    record = Face(box=np.zeros(4), score=1.0).to_dict()
    assert json.loads(json.dumps(record)) == record
    assert record["presence"] is None
    assert record["status"] == "found"


def test_neither_record_nor_log_has_anything_by_which_a_person_is_known():
    record = a_face().to_dict(seed=True)
    assert set(record) <= {"box", "score", "presence", "status", "reason", "small", "seed"}
    # Nothing a hundred numbers long under another name.
    assert len(json.dumps(record)) < 250
    assert not re.search("landmarks|mouthSmile", repr(a_face()))


def test_the_four_statuses_are_their_words():
    assert [status.value for status in FaceStatus] == ["found", "anonymized", "obfuscated", "kept"]
    for status in FaceStatus:
        assert status == status.name.lower() and FaceStatus(status.value) is status
        assert a_face(status=status).to_dict()["status"] == status.value
    with pytest.raises(ValueError, match="lost"):
        FaceStatus("lost")


@pytest.mark.parametrize(("box", "size"), [((0, 0, 30, 40), 40), ((5, 5, 45, 10), 40), ((-10, 0, 10, 5), 20)])
def test_the_size_is_the_longer_side_and_the_width_the_shorter(box, size):
    face = a_face(box=np.array(box, np.float32))
    assert face.size == size
    assert isinstance(face.size, float)
    assert face.width == min(face.box[2:] - face.box[:2])  # on its side as upright


def test_faces_are_compared_by_identity():
    # By value, comparing arrays would raise.
    face = a_face()
    assert face == face  # noqa: PLR0124
    assert face != a_face()
    assert face in [a_face(), face]


def test_a_copy_with_a_change_keeps_the_rest():
    face = a_face()
    other = replace(face, seed=8)
    assert other.seed == 8
    assert face.seed == 7
    assert all(getattr(other, f.name) is getattr(face, f.name) for f in fields(Face) if f.name != "seed")
