import numpy as np
import pytest

from faceanon_hub.faces import Face
from faceanon_hub.video.tracking import (
    PATIENCE,
    Sighting,
    Tracker,
    between,
    carried,
    distance,
    overlap,
    shape_distance,
    shape_of,
)


@pytest.fixture
def tracker():
    return Tracker()


def at(x, y=100, side=40, landmarks=None):
    return Face(np.array([x, y, x + side, y + side], np.float32), 0.9, landmarks=landmarks)


def follow(tracker, number, faces):
    """One frame: what matches goes on, what does not begins."""
    found = tracker.match(number, faces)
    tracks = []
    for place, face in enumerate(faces):
        tracks.append(found.get(place) or tracker.begin())
        tracks[-1].add(Sighting(number, number / 25, face, "detected"))
    tracker.prune(number, number - 30)
    return tracks


def test_two_who_walk_past_each_other_keep_their_tracks(tracker):
    for number in range(40):
        left, right = follow(tracker, number, [at(10 + 6 * number), at(250 - 6 * number, y=112)])
        assert (left.number, right.number) == (0, 1)


def test_the_order_of_the_faces_does_not_matter(tracker):
    follow(tracker, 0, [at(10), at(200)])
    assert [track.number for track in follow(tracker, 1, [at(202), at(12)])] == [1, 0]


def test_a_jump_is_followed_but_not_across_the_picture(tracker):
    follow(tracker, 0, [at(100)])
    assert follow(tracker, 1, [at(125)])[0].number == 0
    assert follow(tracker, 2, [at(300)])[0].number == 1


def test_a_gap_is_bridged_along_the_motion(tracker):
    for number in range(5):
        follow(tracker, number, [at(10 + 8 * number)])
    for number in range(5, 9):
        follow(tracker, number, [])
    assert follow(tracker, 9, [at(10 + 8 * 9)])[0].number == 0


def test_who_is_away_for_long_gets_a_new_track(tracker):
    follow(tracker, 0, [at(100)])
    for number in range(1, PATIENCE + 1):
        follow(tracker, number, [])
    assert not tracker.live
    assert follow(tracker, PATIENCE + 1, [at(100)])[0].number == 1


def test_a_cut_ends_all_tracks(tracker):
    (before,) = follow(tracker, 0, [at(100)])
    tracker.cut(1)
    (after,) = follow(tracker, 1, [at(100)])
    assert before.end == 0 and after.start == 1 and after is not before


def test_sightings_are_forgotten(tracker):
    for number in range(200):
        (track,) = follow(tracker, number, [at(100)])
    assert len(track.sightings) <= 31 and track.counts["detected"] == 200


def test_nothing_grows_with_the_length_of_a_video(tracker, face):
    for number in range(0, 100 * 2 * PATIENCE, 2 * PATIENCE):
        tracker.prune(number - 1, number - 30)
        (track,) = follow(tracker, number, [at(100, landmarks=face.landmarks)])
        tracker.identify(track)
    assert len(tracker.tracks) <= 2 and len(tracker._known) <= 50


def test_somebody_who_comes_back_is_known_by_shape(tracker, face):
    (first,) = follow(tracker, 0, [at(100, landmarks=face.landmarks)])
    assert tracker.identify(first) == 0
    tracker.cut(1)
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    again = (1.4 * face.landmarks @ turn.T + [30, 20, 0]).astype(np.float32)
    wider = face.landmarks * np.array([1.3, 1, 1], np.float32)
    back, stranger = follow(tracker, 1, [at(300, landmarks=again), at(10, landmarks=wider)])
    assert tracker.identify(back) == 0 and tracker.identify(stranger) == 1


def test_two_in_one_picture_are_two_people(tracker, face):
    first, second = follow(tracker, 0, [at(100, landmarks=face.landmarks), at(300, landmarks=face.landmarks)])
    assert {tracker.identify(first), tracker.identify(second)} == {0, 1}
    tracker.cut(1)
    first, second = follow(tracker, 1, [at(100, landmarks=face.landmarks), at(300, landmarks=face.landmarks)])
    assert {tracker.identify(first), tracker.identify(second)} == {0, 1}


def test_a_face_is_carried_with_its_landmarks(face):
    box = np.array([10, 20, 60, 120], np.float32)
    moved = carried(face, box)
    np.testing.assert_array_equal(moved.box, box)
    before = (face.landmarks[:, :2] - face.box[:2]) / (face.box[2:] - face.box[:2])
    np.testing.assert_allclose((moved.landmarks[:, :2] - box[:2]) / (box[2:] - box[:2]), before, atol=1e-4)
    assert carried(at(0), box).landmarks is None


def test_between_two_faces_lies_a_third(face):
    other = carried(face, face.box + 20)
    half = between(face, other, 0.5)
    np.testing.assert_allclose(half.box, face.box + 10, atol=1e-4)
    np.testing.assert_allclose(half.landmarks[:, :2], face.landmarks[:, :2] + 10, atol=1e-3)
    assert between(face, at(0), 0.5).landmarks is None


def test_shape_knows_no_place_size_or_turn_but_mirrors(face):
    shape = shape_of(face.landmarks)
    turned = face.landmarks[:, [1, 0, 2]] * np.array([3, -3, 3]) + 7
    mirrored = face.landmarks * np.array([-1, 1, 1])
    assert shape_distance(shape_of(turned), shape) == pytest.approx(0, abs=1e-6)
    assert shape_distance(shape_of(mirrored), shape) > 0.02


def test_overlap_and_distance_of_boxes():
    a, b = np.array([0, 0, 10, 10.0]), np.array([5, 0, 15, 10.0])
    assert overlap(a, b) == pytest.approx(1 / 3) and overlap(a, a) == 1 and overlap(a, b + 20) == 0
    assert distance(a, b) == pytest.approx(0.5) and distance(a, 3 * a) == np.inf
