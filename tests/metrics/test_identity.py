"""The recognizer, and verification of probes among originals."""

import pickle

import numpy as np
import pytest
from helpers.graph_models import FACERES, write_graph

from faceanon_hub.errors import UnreadableError
from faceanon_hub.metrics import identity
from faceanon_hub.metrics.identity import (
    DlibRecognizer,
    FaceResRecognizer,
    auc_interval,
    diversity,
    protection_rate,
    verify,
)

PEOPLE, PHOTOS, SIZE = 40, 5, 32
IDENTITIES = np.repeat(np.arange(PEOPLE), PHOTOS)


def embeddings(spread: float, seed: int = 0, centers: int = 0) -> np.ndarray:
    """Embeddings of all photos: a point for each person, seed `centers`, and noise; (PEOPLE * PHOTOS, SIZE)."""
    middle = np.random.default_rng(1000 + centers).normal(size=(PEOPLE, SIZE))
    noise = np.random.default_rng(seed).normal(size=(PEOPLE * PHOTOS, SIZE))
    return (middle[IDENTITIES] + spread * noise).astype(np.float32)


@pytest.fixture(scope="module")
def recognizer() -> DlibRecognizer:
    return DlibRecognizer()


def test_a_face_is_described_by_128_numbers(recognizer, portrait, face):
    found = recognizer(portrait, face.landmarks)
    assert found.shape == (128,)
    assert found.dtype == np.float32
    assert np.array_equal(found, recognizer(portrait, face.landmarks))


def test_the_box_from_landmarks_does_as_well_as_that_of_dlibs_detector(recognizer, portrait, face):
    import dlib

    _, predictor, network = identity._dlib()
    middle = face.landmarks[:, :2].mean(0)
    found = dlib.get_frontal_face_detector()(portrait, 0)
    (box,) = [box for box in found if box.contains(*middle.astype(int).tolist())]
    theirs = np.array(network.compute_face_descriptor(portrait, predictor(portrait, box)))
    assert np.linalg.norm(recognizer(portrait, face.landmarks) - theirs) < 0.15


@pytest.fixture
def faceres(tmp_path):
    """A graph with the inputs and the output of the real one, and few and random weights."""
    write_graph(tmp_path, "faceres", *FACERES)
    return tmp_path / "faceres.json"


def test_a_second_recognizer_looks_at_the_upright_face(faceres, portrait, face):
    recognizer = FaceResRecognizer(faceres)
    found = recognizer(portrait, face.landmarks)
    assert found.shape == (16,) and found.dtype == np.float32 and np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(found, pickle.loads(pickle.dumps(recognizer))(portrait, face.landmarks))
    # Turned photo, turned landmarks: the same crop. Elsewhere in the photo another one.
    turned = np.ascontiguousarray(np.rot90(portrait))
    x, y, z = face.landmarks.T
    again = recognizer(turned, np.stack([y, portrait.shape[1] - 1 - x, z], 1))
    elsewhere = recognizer(portrait, face.landmarks + np.float32([-100, 150, 0]))
    assert np.linalg.norm(again - found) < 0.01 < 0.05 < np.linalg.norm(elsewhere - found)
    with pytest.raises(UnreadableError, match=r"other\.json"):
        FaceResRecognizer(faceres.with_name("other.json"))


@pytest.mark.parametrize("change", ["turned", "darker", "smaller"])
def test_one_person_stays_one_person(recognizer, pipe, portrait, face, change):
    other = {"turned": np.rot90(portrait), "darker": portrait // 2, "smaller": portrait[::2, ::2]}[change]
    other = np.ascontiguousarray(other)
    (found,) = pipe.find_faces(other)
    distance = np.linalg.norm(recognizer(other, found.landmarks) - recognizer(portrait, face.landmarks))
    assert distance < 0.35


def test_the_landmarks_say_which_face(recognizer, portrait, face):
    elsewhere = face.landmarks + np.float32([100, 200, 0])
    distance = np.linalg.norm(recognizer(portrait, elsewhere) - recognizer(portrait, face.landmarks))
    assert distance > 0.6


def test_unchanged_faces_are_recognized():
    originals = embeddings(0.1)
    found = verify(originals, originals, IDENTITIES)
    assert found.auc == 1
    assert found.rank1 == 1
    assert found.tar_at_far == {1e-2: 1, 1e-3: 1}
    assert found.pairs == PEOPLE * PHOTOS * (PHOTOS - 1)
    assert found.mean_distance == pytest.approx(0.1 * np.sqrt(2 * SIZE), rel=0.05)


def test_unrelated_faces_are_recognized_by_chance():
    found = verify(embeddings(0.1), embeddings(0.1, seed=1, centers=1), IDENTITIES)
    assert found.auc == pytest.approx(0.5, abs=0.08)
    assert found.rank1 < 0.15
    assert found.tar_at_far[1e-2] < 0.1


def test_verification_agrees_with_loops():
    random = np.random.default_rng(3)
    identities = random.integers(0, 12, 60)
    originals, probes = random.normal(size=(60, 4)), random.normal(size=(60, 4))
    originals += np.eye(12)[identities][:, :4] * 2
    probes = (0.5 * probes + 0.5 * originals).round(1)  # coarse, so that there are ties
    originals = originals.round(1)
    rows = range(60)
    gap = [[round(float(((p - o) ** 2).sum()), 6) ** 0.5 for o in originals] for p in probes]
    mated = [gap[i][j] for i in rows for j in rows if i != j and identities[i] == identities[j]]
    apart = [gap[i][j] for i in rows for j in rows if identities[i] != identities[j]]
    auc = np.mean([(near < far) + 0.5 * (near == far) for near in mated for far in apart])
    between = sorted(
        np.linalg.norm(originals[i] - originals[j]) for i in rows for j in range(i) if identities[i] != identities[j]
    )
    with_mate = [i for i in rows if (identities == identities[i]).sum() > 1]
    nearest = [min((j for j in rows if j != i), key=lambda j, i=i: gap[i][j]) for i in with_mate]

    found = verify(originals.astype(np.float32), probes.astype(np.float32), identities)
    assert found.pairs == len(mated)
    assert found.auc == pytest.approx(auc, abs=1e-4)
    assert found.mean_distance == pytest.approx(np.mean(mated), rel=1e-5)
    assert found.rank1 == pytest.approx(np.mean(identities[nearest] == identities[with_mate]))
    for rate in (1e-2, 1e-3):
        limit = found.thresholds[rate]
        assert limit == pytest.approx(between[int(rate * len(between))], rel=1e-5)
        assert found.tar_at_far[rate] == pytest.approx(np.mean(np.array(mated) < limit - 1e-9), abs=2 / len(mated))


def test_exact_ties_count_half():
    same = np.ones((4, 2), np.float32)
    assert verify(same, same, np.array([0, 0, 1, 1])).auc == 0.5


def test_a_probes_own_photo_is_never_compared():
    originals = np.random.default_rng(0).normal(size=(PEOPLE * PHOTOS, SIZE)).astype(np.float32)
    found = verify(originals, originals, IDENTITIES)  # each knows only itself
    assert found.auc == pytest.approx(0.5, abs=0.05)
    assert found.rank1 < 0.1


def test_thresholds_come_from_the_originals():
    originals = embeddings(0.3)
    one, two = (verify(originals, embeddings(spread, seed=1), IDENTITIES) for spread in (0.3, 3))
    assert one.thresholds == two.thresholds
    assert one.thresholds[1e-3] < one.thresholds[1e-2]
    assert one.tar_at_far[1e-2] > two.tar_at_far[1e-2]


def test_the_share_of_false_accepts_is_as_promised():
    originals = embeddings(0.5)
    found = verify(originals, originals, IDENTITIES)
    other = IDENTITIES[:, None] < IDENTITIES
    distances = np.linalg.norm(originals[:, None].astype(float) - originals, axis=2)[other]
    for rate, limit in found.thresholds.items():
        assert (distances < limit).mean() == pytest.approx(rate, abs=2 / len(distances))


def test_names_serve_as_identities_and_their_order_does_not_matter():
    originals, probes = embeddings(1.0), embeddings(1.0, seed=1)
    names = np.array([f"person {i}" for i in IDENTITIES])
    order = np.random.default_rng(0).permutation(len(names))
    one, two = verify(originals, probes, IDENTITIES), verify(originals[order], probes[order], names[order])
    assert (one.pairs, one.rank1) == (two.pairs, two.rank1)
    assert one.auc == pytest.approx(two.auc, abs=1e-9)


def test_missing_embeddings_are_left_out():
    originals, probes = embeddings(1.0), embeddings(1.0, seed=1)
    kept = np.ones(len(originals), bool)
    kept[[3, 50]] = False
    expected = verify(originals[kept], probes[kept], IDENTITIES[kept])
    originals[3], probes[50, 0] = np.nan, np.nan
    assert verify(originals, probes, IDENTITIES) == expected
    assert auc_interval(originals, probes, IDENTITIES)[0] == expected.auc


@pytest.mark.parametrize("identities", [[0, 0, 0, 0], [0, 1, 2, 3]])
@pytest.mark.parametrize("function", [verify, auc_interval])
def test_pairs_of_both_kinds_are_needed(function, identities):
    some = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    with pytest.raises(ValueError, match="no mated or no non-mated"):
        function(some, some, np.array(identities))


def test_the_interval_is_that_of_people_drawn_again():
    originals, probes = embeddings(1.5), embeddings(1.5, seed=1)
    auc, low, high = auc_interval(originals, probes, IDENTITIES)
    assert auc == verify(originals, probes, IDENTITIES).auc
    assert low < auc < high
    random, slow = np.random.default_rng(0), []
    distances = np.linalg.norm(probes[:, None].astype(float) - originals, axis=2)
    for _ in range(200):
        drawn = random.integers(0, PEOPLE, PEOPLE)
        rows = np.concatenate([np.flatnonzero(person == IDENTITIES) for person in drawn])
        copies, people = np.repeat(np.arange(PEOPLE), PHOTOS), IDENTITIES[rows]
        mated = (copies[:, None] == copies) & (rows[:, None] != rows)
        near, far = (distances[np.ix_(rows, rows)][which] for which in (mated, people[:, None] != people))
        slow.append(1 - np.searchsorted(np.sort(far), near).mean() / far.size)
    assert (low, high) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])), abs=1e-6)


def test_protection_is_the_share_beyond_the_threshold():
    originals = np.zeros((5, 4), np.float32)
    probes = np.float32([[0.5], [0.7], [0.59], [2.0], [np.nan]]) * np.float32([1, 0, 0, 0])
    assert protection_rate(originals, probes) == 0.5
    assert protection_rate(originals, probes, threshold=1) == 0.25
    assert protection_rate(originals[:4], originals[:4]) == 0


def test_diversity_is_the_mean_distance():
    first = np.zeros((3, 2), np.float32)
    second = np.float32([[3, 4], [0, 1], [np.nan, 0]])
    assert diversity(first, second) == 3
    assert diversity(first, first) == 0
