"""What a network starts from: sizes, fresh weights, rates."""

from __future__ import annotations

import pytest
import torch

from faceanon_hub.training import UNetGenerator
from faceanon_hub.training.unet import ModulatedConv
from faceanon_hub.training.weights import initialize, parameter_groups


@pytest.fixture
def fresh() -> UNetGenerator:
    torch.manual_seed(0)
    net = UNetGenerator(sample_size=64, style_size=32, channels=(32, 48, 64, 64, 64))
    initialize(net)
    return net


@pytest.mark.parametrize(("size", "channels"), [(64, 5), (128, 6), (256, 7)])
def test_every_size_has_its_channels(size, channels):
    net = UNetGenerator(sample_size=size)
    assert list(net.config.channels) == [32, 64, 128, 256, 384, 384, 384][-channels:]
    assert all(width % 8 == 0 for width in net.config.channels)
    again = UNetGenerator.from_config(net.config)
    assert list(again.config.channels) == list(net.config.channels)


@pytest.mark.parametrize(("size", "channels"), [(96, None), (512, None), (100, (8,) * 6), (256, (8,) * 6)])
def test_a_size_that_the_channels_do_not_fit_is_refused(size, channels):
    with pytest.raises(ValueError, match=f"sample_size={size}"):
        UNetGenerator(sample_size=size, channels=channels)


@torch.no_grad()
def test_fresh_weights_keep_the_variance(fresh):
    skips, hidden = fresh.encode(torch.randn(4, 3, 64, 64), torch.randn(4, 12, 64, 64))
    for level in [*skips, hidden]:
        assert 0.3 < level.square().mean().sqrt() < 2


def test_rates_follow_the_size_of_the_weights(fresh):
    groups = parameter_groups(fresh, 0.01)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert len(rates) == len(list(fresh.parameters())) == sum(len(group["params"]) for group in groups)
    for module in fresh.modules():
        if isinstance(module, torch.nn.Conv2d | ModulatedConv):
            assert rates[id(module.weight)] == pytest.approx(0.01 * module.weight.std().item(), rel=0.15)
