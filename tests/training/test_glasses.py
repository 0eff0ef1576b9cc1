"""How the network that tells glasses learns: from labels of a file, of edges, and of a network before it."""

import cv2
import numpy as np
import pytest
import torch

from faceanon_hub import AttributeEstimator, FaceAnonError
from faceanon_hub.alignment import align, transform, warp_in
from faceanon_hub.attributes import EYES_SIZE, eyes_crop, eyes_placement
from faceanon_hub.hub import DEFAULT_CHECKPOINT
from faceanon_hub.training.crops import FRAME, SIZE, Crops, cut, frame_edge
from faceanon_hub.training.glasses import EDGE, SURE, batches, labels_of_edges, labels_of_file, labels_of_network, loss


@pytest.fixture(scope="module")
def crop(portrait, face):
    matrix = align(face.landmarks, 512)
    return warp_in(portrait, matrix, 512), transform(face.landmarks, matrix)


@pytest.fixture(scope="module")
def faces(portrait, face) -> Crops:
    """The portrait and its mirror image."""
    mirrored = face.landmarks * [-1, 1, 1] + [portrait.shape[1] - 1, 0, 0]
    photos = ((portrait, face.landmarks), (np.ascontiguousarray(portrait[:, ::-1]), mirrored))
    rows = [(*cut(image, points, lambda *photo: np.zeros(2)), "x") for image, points in photos]
    return Crops(*(np.array(column) for column in zip(*rows, strict=True)))


def test_a_frame_has_edges_that_skin_has_not(crop):
    image, points = crop
    framed = image.copy()
    for start, end in FRAME:
        middle = points[[start, end], :2].mean(0)
        cv2.line(framed, *(tuple(int(v) for v in middle + [side, 0]) for side in (-25, 25)), (20, 20, 20), 5)
    with_frame, without = frame_edge(framed, points), frame_edge(image, points)
    np.testing.assert_array_equal(labels_of_edges(np.array([with_frame, without, -1.8])), [1, 0, np.nan])


def test_batches_are_crops_of_the_eyes_and_leave_out_what_has_no_label(faces):
    eyes, labels = next(batches(faces, np.array([1.0, np.nan]), 4, np.random.default_rng(0)))
    assert eyes.shape == (4, 3, EYES_SIZE // 2, EYES_SIZE) and -1 <= eyes.min() < eyes.max() <= 1
    assert labels.tolist() == [1.0] * 4


def test_a_network_says_what_it_is_sure_of(faces):
    model = AttributeEstimator.from_pretrained(DEFAULT_CHECKPOINT / "attribute_estimator")
    assert faces.labels.shape[1] > EDGE and faces.pixels.shape[1] == SIZE
    assert np.nan_to_num(labels_of_network(model, faces)).tolist() == [0, 0]  # no glasses, or not sure
    with torch.no_grad():
        model.glasses[-1].weight.zero_()
        model.glasses[-1].bias.fill_(SURE / 2)
    assert np.isnan(labels_of_network(model, faces)).all()


def test_labels_go_by_the_names_of_crops(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("b,1\nx,1\na,0\n")
    np.testing.assert_array_equal(labels_of_file(path, np.array(["a", "b", "c"])), [0, 1, np.nan])
    with pytest.raises(FaceAnonError, match=r"labels\.csv labels none"):
        labels_of_file(path, np.array(["c"]))


def test_a_step_lowers_the_loss_of_its_batch(faces):
    torch.manual_seed(0)
    model = AttributeEstimator(glasses_channels=(8, 8)).train()
    batch = next(batches(faces, np.array([1.0, 0.0]), 8, np.random.default_rng(0)))
    before = loss(model, batch)
    before.backward()
    assert model.network[0][0].weight.grad is None  # sex and age stay
    with torch.no_grad():
        for weight in model.glasses.parameters():
            weight -= 0.02 * weight.grad
    assert loss(model, batch) < before


def test_the_crop_is_round_both_eyes(portrait, face):
    center, side, _ = eyes_placement(face.landmarks)
    assert np.linalg.norm(center - face.landmarks[[33, 133, 362, 263], :2].mean(0)) < 1e-3
    assert side > 1.3 * np.ptp(face.landmarks[[33, 263], 0])
    assert eyes_crop(portrait, *eyes_placement(face.landmarks)).shape == (EYES_SIZE // 2, EYES_SIZE, 3)
