"""The best of several new identities."""

import copy
import sys

import numpy as np
import PIL.Image
import pytest
from helpers.commands import run

from faceanon_hub import FaceStatus, MissingDependencyError, pipeline, selection
from faceanon_hub.metrics import DlibRecognizer, identity


def distance(photo, image, face):
    know = DlibRecognizer()
    return np.linalg.norm(know(photo, face.landmarks) - know(np.asarray(image), face.landmarks))


def test_the_farthest_of_several_is_kept(sketcher, uncritical, head, monkeypatch):
    monkeypatch.setattr(selection, "BOUND", np.inf)  # all of them are candidates
    for seed in range(8):  # until the seed's own face is not the farthest: which one that is, the machine decides
        best = sketcher(head, seed=seed, candidates=3, recognizer=DlibRecognizer())
        (face,) = best.faces[0]
        first = sketcher(head, seed=seed)
        if face.seed != first.faces[0][0].seed:
            break
    else:
        pytest.fail("the first candidate was always kept")
    assert face.status is FaceStatus.ANONYMIZED
    assert distance(head, best.images[0], face) > distance(head, first.images[0], face)
    # The seed repeats it, without a recognizer.
    again = sketcher(head, faces=[[copy.deepcopy(face)]])
    assert np.array_equal(np.asarray(again.images[0]), np.asarray(best.images[0]))


def test_what_looks_far_because_it_is_broken_is_no_candidate(sketcher, head, monkeypatch):
    monkeypatch.setattr(pipeline, "ATTEMPTS", 1)
    monkeypatch.setattr(pipeline, "MOST_ATTEMPTS", 1)
    pipe, seeds, find = sketcher, [], sketcher.find_landmarks
    honest = DlibRecognizer()
    kept = pipe(head, seed=4, candidates=3, recognizer=honest).faces[0][0].seed

    def scene(photo, faces, *rest):
        seeds.append(faces[0].seed)
        return original(photo, faces, *rest)

    def lost(image, face):
        find(image, face)
        if seeds and seeds[-1] == kept and face.landmarks is not None:
            face.landmarks = face.landmarks * [1, 1.3, 1]

    original = pipe.prepare_scene
    monkeypatch.setattr(pipe, "prepare_scene", scene)
    monkeypatch.setattr(pipe, "find_landmarks", lost)
    (face,) = pipe(head, seed=4, candidates=3, recognizer=honest).faces[0]
    assert len(set(seeds)) == 3 and len(seeds) == 4
    assert face.seed in seeds and face.seed != kept


def test_kept_faces_are_not_looked_at(quick, head):
    both = np.concatenate([head, head[:, ::-1]], 1)
    seen = []

    def recognizer(image, landmarks):
        seen.append(landmarks[:, 0].mean() < head.shape[1])
        return np.zeros(4)

    result = quick(both, seed=1, keep=[0], candidates=2, recognizer=recognizer)
    assert [face.status for face in result.faces[0]] == [FaceStatus.KEPT, FaceStatus.ANONYMIZED]
    assert len(seen) == 3 and not any(seen)


def test_a_recognizer_is_needed(pipe, head):
    for wrong in ({"candidates": 2}, {"candidates": 0, "recognizer": DlibRecognizer()}):
        with pytest.raises(ValueError, match="candidates"):
            pipe(head, **wrong)


def test_the_command_says_what_is_missing(tmp_path, monkeypatch, head):
    PIL.Image.fromarray(head).save(tmp_path / "in.png")
    monkeypatch.setitem(sys.modules, "dlib", None)
    identity._dlib.cache_clear()
    done = run("image", tmp_path / "in.png", tmp_path / "out.png", "--candidates", 2)
    assert done.exit_code == 1 and "faceanon-hub[eval]" in done.output
    assert not (tmp_path / "out.png").exists()
    with pytest.raises(MissingDependencyError):
        DlibRecognizer()(head, np.zeros((478, 3)))
