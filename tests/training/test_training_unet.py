"""The network: the prototype's known answer, and what may and may not change it."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from faceanon_hub import CheckpointError
from faceanon_hub.training import UNetGenerator
from faceanon_hub.training.unet import ModulatedConv

SIZE = 64
PROTOTYPE = {
    r"^inp\.": "stem.",
    r"^enc\.(\d)\.0": r"encoder.\1.conv",
    r"^enc\.(\d)\.1": r"encoder.\1.down",
    r"^mid\.": "context.",
    r"^map\.": "mapping.",
    r"^d0\.": "bottleneck.",
    r"^dec\.(\d)\.0": r"decoder.\1.merge",
    r"^dec\.(\d)\.1": r"decoder.\1.conv",
    r"^rgb\.(\d)": r"decoder.\1.to_rgb",
    r"\.a\.": ".scale.",
    r"\.w$": ".weight",
    r"\.b$": ".bias",
    r"\.nz$": ".noise_strength",
}


@pytest.fixture(scope="module")
def net() -> UNetGenerator:
    """A little network with random weights."""
    torch.manual_seed(0)
    net = UNetGenerator(sample_size=SIZE, channels=(8, 16, 24, 24, 24), style_size=32).eval()
    for module in net.modules():
        if isinstance(module, ModulatedConv):
            torch.nn.init.constant_(module.noise_strength, 0.5)
    return net


def inputs(net: UNetGenerator, count: int = 2) -> list:
    """Pictures with a mask in another place each, condition, latent and noise."""
    source = torch.Generator().manual_seed(0)
    image = torch.rand(count, 3, SIZE, SIZE, generator=source) * 2 - 1
    mask = torch.zeros(count, 1, SIZE, SIZE)
    for number in range(count):
        start = SIZE // 8 * (number + 1)
        mask[number, :, start : start + SIZE // 2, start : start + SIZE // 3] = 1
    told = torch.rand(count, 11, SIZE, SIZE, generator=source)
    noise = [torch.randn(count, *shape, generator=source) for shape in net.noise_shapes]
    return [image, mask, told, torch.randn(count, 64, generator=source), noise]


@torch.no_grad()
def test_the_prototypes_weights_give_its_answer(shared):
    path = shared / "prototype"
    if not path.is_dir():
        pytest.skip("no prototype to compare with")
    net = UNetGenerator().eval()
    net.load_state_dict(dict(converted(*pair) for pair in load_file(path / "generator-128.safetensors").items()))
    check = np.load(path / "check.npz")
    crop = torch.from_numpy(check["crop"])[None].permute(0, 3, 1, 2).float() / 127.5 - 1
    mask = torch.from_numpy(check["maps"][:1])[None].float()
    noise = [torch.zeros(1, *shape) for shape in net.noise_shapes]
    output = net(crop, mask, torch.from_numpy(check["cond"])[None].float(), torch.from_numpy(check["z"]), noise)
    assert np.abs(output[0].numpy() - check["output"]).max() < 2e-3


def converted(key: str, value: torch.Tensor) -> tuple[str, torch.Tensor]:
    """A tensor of the prototype, which scales plain convolutions as it runs, under our name."""
    gain = 2**0.5 if key.startswith(("inp", "enc")) else 1
    if key.startswith(("inp", "enc", "rgb")):
        value = gain * (value.float() / value[0].numel() ** 0.5 if value.ndim > 1 else value.float())
    for theirs, ours in PROTOTYPE.items():
        key = re.sub(theirs, ours, key)
    return key, value


@torch.no_grad()
def test_hidden_pixels_cannot_reach_the_output_and_visible_ones_come_back(net):
    image, mask, *rest = inputs(net)
    painted = net(image, mask, *rest)
    for fill in (torch.rand_like(image) * 2 - 1, torch.full_like(image, 1e6), -image):
        assert torch.equal(net(torch.where(mask > 0, fill, image), mask, *rest), painted)
    visible = (mask == 0).expand_as(image)
    assert torch.equal(painted[visible], image[visible])
    assert (painted - image)[~visible].abs().mean() > 0.05


def test_every_weight_learns_and_what_is_hidden_teaches_nothing(net):
    image, mask, *rest = inputs(net)
    image.requires_grad_()
    hidden = mask.expand_as(image) > 0
    net(image, mask, *rest)[hidden].square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        assert torch.isfinite(parameter.grad).all(), name
    assert not image.grad[hidden].any() and image.grad.abs().sum() > 0
    net.zero_grad()


@torch.no_grad()
def test_only_the_direction_of_a_latent_counts_and_noise_on_every_level(net):
    image, mask, told, latent, noise = inputs(net)
    painted = net(image, mask, told, latent, noise)
    assert (net(image, mask, told, 4 * latent, noise) - painted).abs().max() < 1e-4
    assert (net(image, mask, told, -latent, noise) - painted).abs().mean() > 1e-4
    for level in range(len(noise)):
        other = [-n if i == level else n for i, n in enumerate(noise)]
        assert (net(image, mask, told, latent, other) - painted).abs().max() > 1e-3, level


@torch.no_grad()
def test_saving_and_loading_keeps_the_weights(net, tmp_path):
    net.save_pretrained(tmp_path)
    assert (UNetGenerator.from_pretrained(tmp_path)(*inputs(net)) - net(*inputs(net))).abs().max() < 1e-5


def test_a_folder_that_is_no_checkpoint_is_named(net, tmp_path):
    net.save_pretrained(tmp_path / "lacking")
    path = tmp_path / "lacking" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["stem.weight"]
    save_file(weights, path)
    with pytest.raises(CheckpointError, match=r"lacking: weights lack stem\.weight"):
        UNetGenerator.from_pretrained(tmp_path / "lacking")
    net.save_pretrained(tmp_path / "empty")
    (tmp_path / "empty" / path.name).unlink()
    with pytest.raises(CheckpointError, match="empty: "):
        UNetGenerator.from_pretrained(tmp_path / "empty")
