"""Features, distances between sets of them, and seams."""

import sys

import cv2
import numpy as np
import pytest
import torch
from helpers.graph_models import Inception
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from faceanon_hub.errors import CheckpointError, FaceAnonError
from faceanon_hub.metrics.realism import (
    EfficientNetFeatures,
    InceptionFeatures,
    border_gradient,
    border_gradient_ratio,
    frechet_distance,
    kernel_distance,
)

SIZE = 96


@pytest.fixture(scope="module")
def features() -> EfficientNetFeatures:
    return EfficientNetFeatures()


@pytest.fixture(scope="module")
def crop(portrait, face) -> np.ndarray:
    left, top, right, bottom = face.box.astype(int)
    return portrait[top - 20 : bottom + 20, left - 30 : right + 30]


@pytest.fixture(scope="module")
def disc() -> np.ndarray:
    return cv2.circle(np.zeros((SIZE, SIZE), np.uint8), (SIZE // 2, SIZE // 2), SIZE // 4, 1, -1)


def gaussian(count: int, mean: float = 0, seed: int = 0, size: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, (count, size))


def test_features_of_crops_of_any_size(features, crop):
    crops = [crop, cv2.resize(crop, (64, 64)), cv2.resize(crop, (300, 500))]
    found = features(crops)
    assert found.shape == (3, 1280)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 6
    assert features([]).shape == (0, 1280)


def test_batches_change_nothing(features, crop):
    few = [cv2.resize(crop[i:], (64, 64)) for i in range(18)]
    assert features(few)[16:] == pytest.approx(features(few[16:]), abs=1e-4)


def test_the_network_is_trained_and_rightly_fed(features, portrait, crop):
    # Mirrored it is the same thing to the network, a rocket is another one, and so are swapped colours.
    here, mirrored, rocket, swapped = features([crop, crop[:, ::-1], portrait[0:200, 380:500], crop[..., ::-1]])
    far = np.linalg.norm(here - rocket)
    assert np.linalg.norm(here - mirrored) < 0.6 * far
    assert 0.1 * far < np.linalg.norm(here - swapped) < far


def test_features_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(FaceAnonError, match=r"faceanon-hub\[eval\]"):
        EfficientNetFeatures()


class Featured(Inception):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))  # torchmetrics asks a network for its device

    def forward(self, pictures):
        return super().forward(pictures, return_features=True) * self.scale


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_distances_of_inception_features_are_fid_and_kid(tmp_path):
    torch.jit.script(Inception()).save(tmp_path / "inception.pt")
    features = InceptionFeatures(tmp_path / "inception.pt")
    random = np.random.default_rng(0)
    one = random.integers(0, 256, (60, 32, 32, 3), np.uint8)
    two = random.integers(0, 200, (60, 32, 32, 3), np.uint8)
    mine, others = features(list(one)), features(list(two))
    assert mine.shape == (60, 12) and mine.dtype == np.float32
    fid = FrechetInceptionDistance(feature=Featured(), input_img_size=(3, 32, 32))
    kid = KernelInceptionDistance(feature=Featured(), subsets=1, subset_size=60)
    for pictures, real in ((one, True), (two, False)):
        for metric in (fid, kid):
            metric.update(torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy()), real=real)
    assert frechet_distance(mine, others) == pytest.approx(float(fid.compute()), rel=1e-4)
    found = kernel_distance(mine, others, subsets=1, subset_size=60)
    assert found == pytest.approx(float(kid.compute()[0]), rel=1e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_file_that_is_no_inception_network_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"lost\.pt"):
        InceptionFeatures(tmp_path / "lost.pt")
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(CheckpointError, match=r"text\.pt: is no TorchScript"):
        InceptionFeatures(tmp_path / "text.pt")
    torch.jit.script(torch.nn.ReLU()).save(tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other\.pt: is not the Inception"):
        InceptionFeatures(tmp_path / "other.pt")([np.zeros((8, 8, 3), np.uint8)])


def test_frechet_distance_of_known_normal_distributions():
    mean, scale = np.array([1.0, 0.0, -2.0]), np.array([1.0, 2.0, 0.5])
    one, two = gaussian(50000, size=3), gaussian(50000, seed=1, size=3) * scale + mean
    assert frechet_distance(one, two) == pytest.approx((mean**2).sum() + ((scale - 1) ** 2).sum(), rel=0.02)


def test_frechet_distance_by_the_root_of_the_product():
    from scipy.linalg import sqrtm

    mix = np.random.default_rng(2).normal(size=(16, 16))
    one, two = gaussian(200), gaussian(300, 0.3, seed=1) @ mix
    covariances = [np.cov(each.T) for each in (one, two)]
    expected = ((one.mean(0) - two.mean(0)) ** 2).sum() + sum(np.trace(each) for each in covariances)
    expected -= 2 * np.trace(sqrtm(covariances[0] @ covariances[1])).real
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(two, one) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_with_fewer_samples_than_features():
    few = gaussian(20, size=100)
    assert frechet_distance(few, few[::-1]) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(few, few + 1) == pytest.approx(100)


def test_kernel_distance_is_about_nothing_for_one_distribution():
    values = [kernel_distance(gaussian(300, seed=seed), gaussian(300, seed=seed + 50)) for seed in range(10)]
    assert min(values) < 0 < max(values)  # unbiased: to both sides
    assert np.abs(values).max() < 0.1 * kernel_distance(gaussian(300), gaussian(300, 0.5, seed=1))


def test_kernel_distance_by_loops():
    one, two = gaussian(6), gaussian(6, 1, seed=1)

    def kernel(a, b):
        return (a @ b / 16 + 1) ** 3

    within = sum(kernel(s[i], s[j]) for s in (one, two) for i in range(6) for j in range(6) if i != j) / 30
    between = sum(kernel(a, b) for a in one for b in two) / 36
    assert kernel_distance(one, two, subsets=3) == pytest.approx(within - 2 * between)


def test_kernel_distance_repeats_itself():
    one, two = gaussian(200), gaussian(150, 0.2, seed=1)
    assert kernel_distance(one, two, subset_size=50) == kernel_distance(one, two, subset_size=50)
    assert kernel_distance(one, two, subset_size=50) != kernel_distance(one, two, subset_size=50, seed=1)


def test_the_gradient_of_a_ramp_is_its_slope(disc):
    ramp = np.repeat(np.tile(np.arange(0, 2 * SIZE, 2, dtype=np.uint8), (SIZE, 1))[..., None], 3, 2)
    assert border_gradient(ramp, disc) == pytest.approx(2, abs=1e-3)
    assert border_gradient(np.full((SIZE, SIZE, 3), 90, np.uint8), disc) == 0


def test_only_the_band_on_both_sides_counts(disc):
    flat = np.full((SIZE, SIZE, 3), 90, np.uint8)
    for away, seen in {-3: True, 4: True, -14: False, 14: False}.items():
        ring = cv2.circle(flat.copy(), (SIZE // 2, SIZE // 2), SIZE // 4 + away, (200, 200, 200), 1)
        assert (border_gradient(ring, disc) > 0) == seen, away


def test_an_unchanged_photo_has_ratio_one_a_seam_raises_it_and_a_blur_lowers_it(crop, disc):
    photo = cv2.resize(crop, (SIZE, SIZE))
    assert border_gradient_ratio(photo, photo, disc) == 1
    seam = photo.copy()
    seam[disc > 0] = cv2.add(seam, (60, 60, 60, 0))[disc > 0]
    assert border_gradient_ratio(seam, photo, disc) > 1.25
    assert border_gradient_ratio(cv2.GaussianBlur(photo, (0, 0), 4), photo, disc) < 0.8


@pytest.mark.parametrize("value", [0, 1])
def test_a_mask_without_a_border_has_no_gradient(crop, value):
    photo, mask = cv2.resize(crop, (SIZE, SIZE)), np.full((SIZE, SIZE), value, np.uint8)
    assert np.isnan(border_gradient(photo, mask))
    assert np.isnan(border_gradient_ratio(photo, photo, mask))


def test_a_seam_in_a_flat_photo_is_infinite(disc):
    flat = np.full((SIZE, SIZE, 3), 90, np.uint8)
    seam = flat.copy()
    seam[disc > 0] = 120
    assert border_gradient_ratio(seam, flat, disc) == np.inf
