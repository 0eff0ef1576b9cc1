"""What a network starts from: sizes, fresh weights, rates, and growing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from faceanon_hub import DEFAULT_CHECKPOINT, FaceAnonError, FaceAnonGenerator, FaceAnonPipeline, conditioning
from faceanon_hub.alignment import align, transform, warp_in
from faceanon_hub.generator import ModulatedConv
from faceanon_hub.training import grow_checkpoint
from faceanon_hub.training.weights import grow, initialize, parameter_groups


def inputs(size: int, count: int = 1) -> tuple[torch.Tensor, ...]:
    source = torch.Generator().manual_seed(0)
    image = F.avg_pool2d(torch.rand(count, 3, 4 * size, 4 * size, generator=source) * 2 - 1, 4) * 3
    mask = torch.zeros(count, 1, size, size)
    mask[:, :, size // 4 : -size // 4, size // 5 : -size // 4] = 1
    told = torch.rand(count, 11, size, size, generator=source)
    return image, mask, told, torch.randn(count, 64, generator=source)


def enlarged(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.repeat_interleave(2, 2).repeat_interleave(2, 3)


@pytest.mark.parametrize(("size", "channels"), [(64, 5), (128, 6), (256, 7)])
def test_every_size_has_its_channels(size, channels):
    net = FaceAnonGenerator(sample_size=size)
    assert list(net.config.channels) == [32, 64, 128, 256, 384, 384, 384][-channels:]
    assert all(width % 8 == 0 for width in net.config.channels)
    again = FaceAnonGenerator.from_config(net.config)
    assert list(again.config.channels) == list(net.config.channels)


def test_the_default_is_the_bundled_checkpoints():
    stored = json.loads((DEFAULT_CHECKPOINT / "generator" / "config.json").read_text())
    bundled = {name: value for name, value in stored.items() if name[0] != "_"}
    config = {
        name: list(value) if isinstance(value, tuple | list) else value
        for name, value in FaceAnonGenerator().config.items()
        if name[0] != "_"
    }
    for emphasis in ("lid_emphasis", "brow_emphasis"):  # of the bundled weights, not of the network
        assert bundled.pop(emphasis) > config.pop(emphasis) == 1
    assert config == bundled


@pytest.mark.parametrize("size", [96, 512])
def test_a_size_without_channels_is_refused(size):
    with pytest.raises(ValueError, match=f"sample_size={size}"):
        FaceAnonGenerator(sample_size=size)


@torch.no_grad()
def test_fresh_weights_keep_the_variance():
    torch.manual_seed(0)
    net = FaceAnonGenerator(sample_size=64, style_size=32, channels=(32, 48, 64, 64, 64))
    initialize(net)
    skips, hidden = net._encode(torch.randn(4, 3, 64, 64), torch.randn(4, 12, 64, 64))
    for level in [*skips, hidden]:
        assert 0.3 < level.square().mean().sqrt() < 2


def test_rates_follow_the_size_of_the_weights():
    net = FaceAnonGenerator(sample_size=64, style_size=32, channels=(32, 48, 64, 64, 64))
    initialize(net)
    groups = parameter_groups(net, 0.01)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert len(rates) == len(list(net.parameters())) == sum(len(group["params"]) for group in groups)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d | ModulatedConv):
            assert rates[id(module.weight)] == pytest.approx(0.01 * module.weight.std().item(), rel=0.15)


@torch.no_grad()
@pytest.mark.parametrize("size", ["tiny", "bundled"])
def test_a_grown_network_paints_what_the_small_one_did(size, pipe):
    torch.manual_seed(0)
    if size == "tiny":
        small = FaceAnonGenerator(sample_size=32, style_size=16, channels=(8, 8, 16, 16)).eval()
        initialize(small)
        torch.nn.init.normal_(small.stem.bias)
        for block in small.decoder:
            torch.nn.init.normal_(block.conv.noise_strength)
    else:
        small = pipe.generator
    before = {name: weight.clone() for name, weight in small.state_dict().items()}
    image, mask, told, latent = inputs(small.config.sample_size)
    grown = grow(small)
    assert grown.config.sample_size == 2 * small.config.sample_size
    painted = grown(enlarged(image), enlarged(mask), enlarged(told), latent)
    expected = F.interpolate(small(image, mask, told, latent), scale_factor=2, mode="bilinear", align_corners=False)
    # The small network's painting ends at the mask, and so does what its enlargement can be compared with.
    inside = enlarged(1 - F.max_pool2d(1 - mask, 3, 1, 1)) > 0
    difference = (painted - expected).abs()[inside.expand_as(painted)]
    assert inside.any() and difference.max() < 2e-4
    assert torch.equal(
        painted[enlarged(mask).expand_as(painted) == 0],
        enlarged(image * (1 - mask))[enlarged(mask).expand_as(painted) == 0],
    )
    assert all(torch.equal(weight, before[name]) for name, weight in small.state_dict().items())


@torch.no_grad()
def test_a_grown_painting_is_a_slightly_softer_one(pipe, portrait, face):
    size = pipe.generator.config.sample_size
    matrix = align(face.landmarks, size)
    crop = torch.from_numpy(warp_in(portrait, matrix, size))[None].permute(0, 3, 1, 2).float() / 127.5 - 1
    maps = torch.from_numpy(conditioning.draw_maps(transform(face.landmarks, matrix), size))[None].float()
    told = conditioning.condition(
        maps, conditioning.render_hint(conditioning.hint_coefficients(crop, maps), maps[:, :1])
    )
    latent = inputs(8)[3]
    small = pipe.generator(crop, maps[:, :1], told, latent)
    painted = grow(pipe.generator)(enlarged(crop), enlarged(maps[:, :1]), enlarged(told), latent)
    difference = (F.avg_pool2d(painted, 2) - small).abs()[(maps[:, :1] > 0).expand_as(small)]
    assert difference.mean() < 0.02  # of 2: bilinear enlargement, averaged again, is a blur of one pixel


def test_everything_in_a_grown_network_can_learn():
    torch.manual_seed(0)
    small = FaceAnonGenerator(sample_size=32, style_size=16, channels=(8, 8, 16, 16))
    initialize(small)
    grown = grow(small).train()
    for _ in range(3):
        painted = grown(*inputs(64))
        grown.zero_grad()
        painted.square().mean().backward()
        with torch.no_grad():
            for parameter in grown.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad
    still = [name for name, p in grown.named_parameters() if p.grad is None or not p.grad.abs().max()]
    assert still == [name for name, _ in grown.named_parameters() if name.endswith("noise_strength")]  # noise was off


def test_a_grown_checkpoint_is_a_pipeline(portrait, tmp_path):
    torch.manual_seed(0)
    net = FaceAnonGenerator(sample_size=64, style_size=16, channels=(8, 8, 16, 16, 16))
    FaceAnonPipeline.from_pretrained(generator=net).save_pretrained(tmp_path / "small")
    grow_checkpoint(tmp_path / "small", 128, tmp_path / "grown")
    grown = FaceAnonPipeline.from_pretrained(tmp_path / "grown")
    assert grown.generator.config.sample_size == 128
    grown.set_progress_bar_config(disable=True)
    result = grown(portrait, seed=0)
    assert result.faces[0][0].status.value == "anonymized" and (np.asarray(result.images[0]) != portrait).any()
    record = json.loads((tmp_path / "grown" / "training.json").read_text())
    assert record["started_from"]["checkpoint"] == "small" and str(tmp_path) not in json.dumps(record)


def test_growing_that_cannot_be_is_refused(tmp_path):
    for size in (128, 512):
        with pytest.raises(FaceAnonError, match="grows to 256"):
            grow_checkpoint(None, size, tmp_path / "out")
    (tmp_path / "taken").mkdir()
    with pytest.raises(FaceAnonError, match="exists already"):
        grow_checkpoint(None, 256, tmp_path / "taken")
    assert not (tmp_path / "out").exists()
