"""What judges a picture: frozen features, the discriminator, the terms of its game, augmentation."""

import pytest
import torch
import torch.nn.functional as F

from faceanon_hub.metrics.realism import load_efficientnet
from faceanon_hub.training.augmentation import augment
from faceanon_hub.training.discriminators import (
    ProjectedDiscriminator,
    SpectralConv2d,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
)
from faceanon_hub.training.features import FrozenFeatures


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_folded_features_are_those_of_the_network():
    features = FrozenFeatures()
    image = torch.rand(2, 3, 192, 192) * 2 - 1
    network = load_efficientnet("").eval()
    with torch.no_grad():
        x = F.relu6(network._bn0(network._conv_stem(image)))
        for block in network._blocks:
            x = block(x)
        maps = features(image)
    assert torch.allclose(maps[-1], x, atol=1e-3)
    assert tuple(level.shape[1] for level in maps) == FrozenFeatures.channels
    assert [192 // level.shape[-1] for level in maps] == [2, 4, 8, 16, 32]


def test_spectral_norm_is_one():
    layer = SpectralConv2d(8, 24, 3, padding=1)
    with torch.no_grad():
        layer.weight.mul_(7)
    for _ in range(30):
        layer.advance()
    largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
    x = torch.rand(1, 8, 6, 6)
    before = layer.left.clone()
    assert torch.allclose(layer(x), F.conv2d(x, layer.weight / largest, layer.bias, padding=1), atol=1e-4)
    assert torch.equal(layer.left, before)  # a pass does not advance it


def test_only_the_heads_learn_and_the_picture_is_reached():
    discriminator = ProjectedDiscriminator(64)
    image = torch.rand(2, 3, 64, 64, requires_grad=True)
    scores = discriminator(image, source())
    generator_loss(scores).backward()
    assert scores.ndim == 2 and len(scores) == 2
    learning = {name for name, p in discriminator.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert learning and all(".heads." in name for name in learning)
    assert len(learning) == len(discriminator.learned)
    assert image.grad.abs().max() > 0


def test_large_pictures_are_seen_reduced_and_in_part():
    discriminator = ProjectedDiscriminator(320)
    assert len(discriminator.views) == 2
    with torch.no_grad():
        image = torch.rand(1, 3, 320, 320)
        scores = [discriminator(image, source(seed)) for seed in (0, 0, 1)]
    half = scores[0].shape[1] // 2
    assert torch.equal(scores[0], scores[1])
    assert torch.equal(scores[0][:, :half], scores[2][:, :half])
    assert not torch.equal(scores[0][:, half:], scores[2][:, half:])


def test_the_game():
    sure, unsure = torch.full((2, 5), 9.0), torch.zeros(2, 5)
    assert discriminator_loss(sure, -sure) < 1e-3 < discriminator_loss(unsure, unsure)
    assert generator_loss(sure) < 1e-3 and generator_loss(-sure) > 8
    image = torch.rand(2, 3, 4, 4, requires_grad=True)
    scores = 3 * image.sum((1, 2, 3))[:, None].expand(-1, 7)
    penalty = gradient_penalty(scores, image)
    assert penalty.item() == pytest.approx(9 * 48)  # a slope of 3 for each of 48 numbers
    slope = torch.ones(1, requires_grad=True)
    gradient_penalty(slope * image.sum((1, 2, 3))[:, None], image).backward()
    assert slope.grad.item() == pytest.approx(2 * 48)


def test_augmentation_leaves_alone_moves_recolors_and_cuts():
    image = (torch.rand(64, 3, 32, 32) - 0.5).requires_grad_(True)
    assert augment(image, 0.0, source()) is image
    seldom, often = (augment(image, chance, source()) for chance in (0.1, 0.8))

    def share(pictures):
        return ((pictures - image).abs().amax((1, 2, 3)) > 1e-3).float().mean()

    assert 0 < share(seldom) < share(often) <= 1
    assert torch.equal(often, augment(image, 0.8, source())) and not torch.equal(often, augment(image, 0.8, source(1)))
    often.square().mean().backward()
    assert torch.isfinite(image.grad).all() and image.grad.abs().sum() > 0
    assert abs(often.detach().mean()) < 0.1  # neither brighter nor darker on average
