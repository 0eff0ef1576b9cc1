"""What judges a painting: frozen features, discriminators, the terms of the loss, augmentation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from faceanon_hub.metrics.realism import load_efficientnet
from faceanon_hub.training import losses
from faceanon_hub.training.augmentation import draw_colors, recolor
from faceanon_hub.training.discriminators import (
    ConditionalDiscriminator,
    ProjectedDiscriminator,
    SpectralConv2d,
    advance_norms,
)
from faceanon_hub.training.features import FrozenFeatures


@pytest.fixture(scope="module")
def features() -> FrozenFeatures:
    return FrozenFeatures()


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_folded_features_are_those_of_the_network(features):
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


def test_gradients_reach_the_picture_and_nothing_else(features):
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    features(image)[-1].sum().backward()
    assert image.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in features.parameters())


def test_spectral_norm_is_one():
    layer = SpectralConv2d(8, 24, 3, padding=1)
    with torch.no_grad():
        layer.weight.mul_(7)
    for _ in range(30):
        advance_norms(layer)
    largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
    x = torch.rand(1, 8, 6, 6)
    assert torch.allclose(layer(x), F.conv2d(x, layer.weight / largest, layer.bias, padding=1), atol=1e-4)


def test_a_pass_does_not_advance_the_norm():
    layer = SpectralConv2d(4, 4, 3)
    layer.weight.data.add_(torch.randn_like(layer.weight))
    before = layer.left.clone()
    layer(torch.rand(1, 4, 5, 5))
    assert torch.equal(layer.left, before)
    layer.advance()
    assert not torch.equal(layer.left, before)


def test_only_the_heads_of_the_projected_discriminator_learn():
    maps = [torch.rand(2, c, 40 // 2**n, 40 // 2**n) for n, c in enumerate((24, 40, 112, 320))]
    discriminator = ProjectedDiscriminator((24, 40, 112, 320))
    scores = discriminator(maps)
    assert [tuple(score.shape) for score in scores] == [(2, 1, 5, 5), (2, 1, 5, 5), (2, 1, 2, 2), (2, 1, 2, 2)]
    losses.adversarial(scores).backward()
    learning = {name.split(".")[0] for name, p in discriminator.named_parameters() if p.grad is not None}
    assert learning == {"heads"}


def test_the_conditional_discriminator_sees_both():
    discriminator = ConditionalDiscriminator(12, width=8)
    image, told = torch.rand(4, 3, 64, 64), torch.rand(2, 12, 64, 64)
    scores = discriminator(image, told)
    assert scores.shape == (4, 1, 4, 4)
    for number in range(4):  # the second half belongs to the same conditions
        alone = discriminator(image[number : number + 1], told[number % 2 : number % 2 + 1])
        assert torch.allclose(scores[number], alone[0], atol=1e-5)
    assert not torch.allclose(discriminator(image, told.flip(0)), scores)


def test_hinges():
    true, painted = torch.tensor([3.0, 0.0]), torch.tensor([-0.5, 2.0])
    score = torch.cat([true, painted]).view(4, 1, 1, 1)
    assert losses.discriminator_hinge([score]).item() == pytest.approx((0 + 1) / 2 + (0.5 + 3) / 2)
    assert losses.discriminator_hinge([score, score]).item() == pytest.approx(2 * 2.25)
    assert losses.adversarial([painted.view(2, 1, 1, 1)]).item() == pytest.approx(-0.75)


def test_perceptual_distance_is_of_directions():
    level = torch.rand(2, 8, 5, 5) + 0.1
    assert losses.perceptual([level], [level]).item() == 0
    assert losses.perceptual([level], [3 * level]).item() == pytest.approx(0, abs=1e-6)
    assert losses.perceptual([level], [-level]).item() == pytest.approx(4, rel=1e-3)


def test_l1_looks_under_the_mask_alone():
    image, mask = torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    painted = 0.5 * mask - 9 * (1 - mask)
    assert losses.masked_l1(painted.expand_as(image), image, mask).item() == pytest.approx(0.5, rel=0.02)


def test_diversity_pushes_until_far_enough():
    mask = torch.ones(4, 1, 16, 16)
    level = torch.rand(4, 6, 4, 4) + 0.5
    same = torch.rand(2, 3, 16, 16).repeat(2, 1, 1, 1)
    color, apart = losses.distances(same, mask, [level[:2].repeat(2, 1, 1, 1)])
    assert losses.diversity_hinge(color, apart, 0.1, 0.25).item() == pytest.approx(2)
    far = torch.cat([same[:2], same[:2] + 0.3])
    color, apart = losses.distances(far, mask, [torch.cat([level[:2], -level[:2]])])
    assert color.tolist() == pytest.approx([0.3, 0.3], rel=0.01)
    assert losses.diversity_hinge(color, apart, 0.1, 0.25).item() == 0


def test_the_latent_can_be_read_back():
    reader = losses.LatentReader([8], 4)
    latent = torch.randn(64, 4)
    level = (
        torch.cat([latent, -latent], 1)[:, :, None, None]
        * torch.ones(1, 1, 2, 2)
        / latent.norm(dim=1)[:, None, None, None]
    )
    optimizer = torch.optim.Adam(reader.parameters(), 1e-2)
    first = reader([level], latent).item()
    for _ in range(60):
        optimizer.zero_grad()
        error = reader([level], latent)
        error.backward()
        optimizer.step()
    assert error.item() < 0.1 * first
    assert torch.allclose(reader([level], latent), reader([level], 5 * latent))  # only its direction counts


def test_colours_change_alike_and_differentiably():
    source = torch.Generator().manual_seed(0)
    colors = draw_colors(500, source)
    assert colors.shape == (500, 3, 1, 1)
    for column, (low, high) in zip(colors.flatten(1).t(), ((-0.3, 0.3), (0.4, 1.6), (0.6, 1.4)), strict=True):
        assert low <= column.min() < low + 0.02 and high - 0.02 < column.max() <= high
    image = torch.rand(2, 3, 8, 8, requires_grad=True)
    assert torch.equal(recolor(image, colors[:2]), recolor(image, colors[:2]))
    neutral = torch.tensor([0.0, 1.0, 1.0])[None, :, None, None].expand(2, 3, 1, 1)
    assert torch.allclose(recolor(image, neutral), image, atol=1e-6)
    grey = torch.tensor([0.2, 0.0, 1.0])[None, :, None, None].expand(2, 3, 1, 1)
    changed = recolor(image, grey)
    assert torch.allclose(changed, image.mean(1, keepdim=True).expand(-1, 3, -1, -1) + 0.2, atol=1e-6)
    recolor(image, colors[:2]).sum().backward()
    assert image.grad.abs().min() > 0
