"""The generator: equal to the reference, in both runtimes, and the same person whatever the circumstances.

`synthesis_check.npz` holds what the reference (the wheel's network as written down independently, in double
precision) makes of the styles of [`styles`]: means of 32 x 32 pixels and a crop of each picture, with its weights
rounded to half precision as in the bundled checkpoint (`half_`), and unrounded (`single_crop`).
"""

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from faceanon_hub import CheckpointError
from faceanon_hub.generators.generator import FaceAnonGenerator, inverse_haar
from faceanon_hub.training import heads
from faceanon_hub.training.conversion import convert

FOLDER = Path(__file__).parents[2] / "faceanon_hub/checkpoints/base/generator"
WEIGHTS = "diffusion_pytorch_model.safetensors"
SIZES = 128, 256, 512, 1024


@pytest.fixture(scope="module")
def net() -> FaceAnonGenerator:
    return FaceAnonGenerator.from_pretrained(FOLDER).float().eval()


@pytest.fixture(scope="module")
def check() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parent / "synthesis_check.npz") as file:
        return dict(file)


@pytest.fixture
def little() -> FaceAnonGenerator:
    """A little network of the same make, with random weights."""
    torch.manual_seed(0)
    net = FaceAnonGenerator(8, 12, (16, 16, 8, 8), (16, 32, 64), (16, 16, 32)).eval()
    for name, buffer in net.named_buffers():
        if name.endswith("noise"):
            torch.nn.init.normal_(buffer, std=0.1)
    return net


@torch.no_grad()
def styles(net: FaceAnonGenerator) -> torch.Tensor:
    """Persons 0, 1 and 2 at a truncation of 0.7; the last has another one's style in the later layers."""
    own = net.style(net.latents(range(4)), 0.7)
    layered = own[:3, None].repeat(1, net.style_layers, 1)
    layered[2, 6:] = own[3]
    return layered


def crops(pictures: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Means and crop of pictures, as in the check file."""
    return F.avg_pool2d(pictures, 32).numpy(), pictures[:, :, 424:440, 360:376].numpy()


def levels(pictures: torch.Tensor) -> np.ndarray:
    """Pictures of -1 to 1 as floating levels of 0 to 255, (B, S, S, 3)."""
    return ((pictures.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()


@torch.inference_mode()
def test_equals_the_reference(net, check):
    given = styles(net)
    np.testing.assert_allclose(given[0, 0], check["half_styles"][0], atol=1e-5)
    for number, style in enumerate(given):
        mean, crop = crops(net(style[None]))
        np.testing.assert_allclose(mean[0], check["half_mean"][number], atol=1e-4)
        np.testing.assert_allclose(crop[0], check["half_crop"][number], atol=1e-4)


@torch.inference_mode()
def test_half_precision_of_the_weights_costs_less_than_a_level(net, check):
    mean = levels(net(styles(net)[:1]))[:, 424:440, 360:376]
    unrounded = levels(torch.from_numpy(check["single_crop"][:1]))
    assert np.abs(mean - unrounded).mean() < 0.5


@torch.inference_mode()
@pytest.mark.parametrize("size", SIZES)
def test_runtimes_agree(net, size):
    given = styles(net)[1:]
    difference = np.abs(net.render(given, size) - levels(net(given, size)))
    assert difference.max() < 2


@torch.inference_mode()
def test_small_pictures_are_large_ones_reduced(net):
    given = net.style(net.latents(range(40, 44)), 0.8)
    large = torch.from_numpy(net.render(given)).permute(0, 3, 1, 2).float()
    for size, error in ((128, 7), (256, 6), (512, 6)):
        small = torch.from_numpy(net.render(given, size)).permute(0, 3, 1, 2).float()
        difference = small - F.avg_pool2d(large, 1024 // size)
        assert difference.abs().mean() < error
        assert difference.mean((2, 3)).abs().max() < 4  # no tint
        assert 1 - difference.square().mean() / large.var() > 0.97


@torch.inference_mode()
def test_a_face_does_not_depend_on_its_batch(net):
    latents = net.latents([5, 6, 7])
    assert torch.equal(latents[1:2], net.latents([6]))
    many, one = net.style(latents, 0.7), net.style(latents[1:2], 0.7)
    assert torch.equal(many[1:2], one)
    assert np.array_equal(net.render(many, 256)[1], net.render(one, 256)[0])


@torch.inference_mode()
def test_nor_on_the_number_of_threads(net):
    given = styles(net)[2:]
    threads = torch.get_num_threads()
    pictures = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        fresh = copy.deepcopy(net)
        pictures.append({size: fresh.render(given, size) for size in SIZES})
    torch.set_num_threads(threads)
    for size in SIZES:
        assert all(np.array_equal(pictures[0][size], other[size]) for other in pictures[1:])


def test_threads_share_a_generator(net):
    fresh = copy.deepcopy(net)
    given = styles(net)
    alone = [net.render(style[None], 128) for style in given]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda style: fresh.render(style[None], 128), given))
    assert np.array_equal(alone, together)


def test_copies_and_pickles_draw_the_same(little):
    style = little.style(little.latents([3])).detach()
    drawn = little.render(style)
    assert np.array_equal(copy.deepcopy(little).render(style), drawn)
    assert np.array_equal(pickle.loads(pickle.dumps(little)).render(style), drawn)


@torch.inference_mode()
def test_little_networks_agree_in_both_runtimes(little):
    style = little.style(little.latents([1, 2]))
    for size in little.config.sizes:
        assert np.abs(little.render(style, size) - levels(little(style, size))).max() < 2


def test_gradients_reach_style_and_weights(little):
    style = little.style(little.latents([1])).detach().requires_grad_()
    little(style, 32).square().mean().backward()
    assert style.grad.abs().min() > 0
    assert little.constant.grad.abs().sum() > 0


@torch.inference_mode()
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_low_precision(net, kind):
    low = copy.deepcopy(net).to(kind)
    given = styles(net)[:1]
    difference = np.abs(levels(low(given.to(kind), 128).float()) - levels(net(given, 128)))
    assert difference.mean() < (1 if kind is torch.float16 else 4)


def test_truncation_leads_to_the_mean(net):
    latent = net.latents([9])
    with torch.no_grad():
        assert torch.allclose(net.style(latent, 0.0)[0], net.mean_style)
        half = (net.style(latent)[0] + net.mean_style) / 2
        assert torch.allclose(net.style(latent, 0.5)[0], half, atol=1e-6)


def test_inverse_haar_undoes_the_transform():
    picture = torch.randn(2, 3, 8, 8)
    a, b, c, d = F.pixel_unshuffle(picture, 2).unflatten(1, (3, 4)).unbind(2)
    bands = torch.stack([a + b + c + d, a + b - c - d, a - b + c - d, a - b - c + d], 2).flatten(1, 2) / 4
    torch.testing.assert_close(inverse_haar(bands), picture)


def test_saves_and_loads(little, tmp_path):
    little.half().save_pretrained(tmp_path)
    again = FaceAnonGenerator.from_pretrained(tmp_path)
    assert all(torch.equal(again.state_dict()[name], value) for name, value in little.state_dict().items())


def test_lacking_weights_are_refused(little, tmp_path):
    little.save_pretrained(tmp_path)
    weights = load_file(tmp_path / WEIGHTS)
    del weights["levels.0.first.noise"]
    save_file(weights, tmp_path / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"lack levels\.0\.first\.noise"):
        FaceAnonGenerator.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("channels", [16, 16, 8, 10**6]),
        ("channels", [16, 16, 8, 6]),
        ("sizes", [16, 32, 128]),
        ("sizes", [32, 16, 64]),
        ("resolutions", [16, 32]),
        ("resolutions", [4, 16, 32]),
        ("channels", [16, 16, 8, 12]),
    ],
)
def test_absurd_configurations_are_refused(little, tmp_path, name, value):
    little.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(CheckpointError):
        FaceAnonGenerator.from_pretrained(tmp_path)


def test_unknown_size_is_refused(little):
    with pytest.raises(ValueError, match=r"\[16, 32, 64\], not 128"):
        little.render(little.mean_style[None], 128)


def test_other_folders_are_no_wheel(tmp_path):
    with pytest.raises(CheckpointError, match="random-face"):
        convert(tmp_path)
    (tmp_path / "MappingNetwork.xml").write_text("<net><layers/></net>")
    (tmp_path / "MappingNetwork.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match="random-face"):
        convert(tmp_path)


def test_heads_are_fitted(little, monkeypatch):
    monkeypatch.setattr(heads, "PATCH", 8)
    monkeypatch.setattr(heads, "HELD_OUT", 4)
    monkeypatch.setattr(heads, "STEPS", 40)
    fits = heads.fit_heads(little, faces=8)
    assert set(fits) == {16, 32}
    style = little.style(little.latents(range(8))).detach()
    large = torch.from_numpy(little.render(style)).permute(0, 3, 1, 2).float()
    for size, fit in fits.items():
        small = torch.from_numpy(little.render(style, size)).permute(0, 3, 1, 2).float()
        reduced = F.avg_pool2d(large, 64 // size)
        assert (small - reduced).square().mean() < 0.5 * reduced.var()
        assert fit.r2 > 0.5


def test_what_shapes_a_size_learns_and_nothing_else_does(little):
    names = {id(parameter): name for name, parameter in little.named_parameters()}
    style = little.style(little.latents([1, 2]))
    little(style).square().mean().backward()
    shaping = {names[id(parameter)] for parameter in little.shaping(64)}
    learning = {name for name, parameter in little.named_parameters() if parameter.grad is not None}
    assert shaping == learning and "heads.64.mix.weight" in shaping and "scale.weight" in shaping
    coarse = {names[id(parameter)] for parameter in little.shaping(16)}
    # Levels of 8, 16 and 32 px: the last, and what reads the picture off it, stay.
    assert {name.rsplit(".", 1)[0] for name in shaping - coarse} >= {"scale", "heads.64.mix", "levels.2.first.mix"}
    assert "levels.1.first.mix.weight" in coarse and not any(name.startswith(("heads", "levels.2")) for name in coarse)
