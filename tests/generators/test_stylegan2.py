"""StyleGAN2 as a prior: the pictures of both layouts of weights equal those of the formulas of the method."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.commands import run
from helpers.disk import Code
from safetensors.torch import save_file

from faceanon_hub import CheckpointError, StyleGAN2Generator
from faceanon_hub.generators.stylegan2 import read_stylegan2

LATENT, STYLE, CHANNELS, SIDES = 8, 12, (10, 8, 6), (4, 8, 16)


# The formulas, each sample with a kernel of its own


def normalized(latent):
    return latent / (latent.square().mean(1, keepdim=True) + 1e-8).sqrt()


def equalized(x, weight, bias, rate=1.0):
    return x @ (weight * rate / weight.shape[1] ** 0.5).t() + bias * rate


def upfirdn(x, up, pad, gain):
    """Puts zeros between pixels, pads, and filters, as the method's authors do."""
    batch, channels, height, width = x.shape
    zeros = torch.zeros(batch, channels, height * up, width * up, dtype=x.dtype)
    zeros[:, :, ::up, ::up] = x
    row = torch.tensor([1.0, 3, 3, 1], dtype=x.dtype)
    kernel = gain * torch.outer(row, row) / 64
    return F.conv2d(F.pad(zeros, (*pad, *pad)), kernel.expand(channels, 1, 4, 4), groups=channels)


def modulated(x, kernel, scale, demodulate, up=False):
    pictures = []
    for one, factors in zip(x, scale, strict=True):
        own = kernel * factors[None, :, None, None]
        if demodulate:
            own = own / (own.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            found = F.conv_transpose2d(one[None], own.transpose(0, 1), stride=2)
            pictures.append(upfirdn(found, 1, (1, 1), 4.0))
        else:
            pictures.append(F.conv2d(one[None], own, padding=own.shape[-1] // 2))
    return torch.cat(pictures)


def active(x):
    return F.leaky_relu(x, 0.2) * 2**0.5


def draw_rosinality(w, latent):
    x = normalized(latent)
    for number in (1, 2):
        x = active(equalized(x, w[f"style.{number}.weight"], w[f"style.{number}.bias"], 0.01))
    style, picture = x, None

    def scale(name):
        return equalized(style, w[f"{name}.conv.modulation.weight"], w[f"{name}.conv.modulation.bias"])

    def styled(x, name, noise, up):
        kernel = w[f"{name}.conv.weight"][0]
        x = modulated(x, kernel / (9 * kernel.shape[1]) ** 0.5, scale(name), True, up)
        x = x + w[f"{name}.noise.weight"] * w[f"noises.noise_{noise}"]
        return active(x + w[f"{name}.activate.bias"][:, None, None])

    def shown(x, name):
        kernel = w[f"{name}.conv.weight"][0]
        return modulated(x, kernel / kernel.shape[1] ** 0.5, scale(name), False) + w[f"{name}.bias"]

    x = styled(w["input.input"].expand(len(latent), -1, -1, -1), "conv1", 0, False)
    picture = shown(x, "to_rgb1")
    for number in range(len(CHANNELS) - 1):
        x = styled(x, f"convs.{2 * number}", 2 * number + 1, True)
        x = styled(x, f"convs.{2 * number + 1}", 2 * number + 2, False)
        picture = upfirdn(picture, 2, (2, 1), 4.0) + shown(x, f"to_rgbs.{number}")
    return picture


def draw_nvidia(w, latent):
    x = normalized(latent)
    for number in (0, 1):
        x = active(equalized(x, w[f"mapping.fc{number}.weight"], w[f"mapping.fc{number}.bias"], 0.01))
    style = x

    def scale(name):
        return equalized(style, w[f"{name}.affine.weight"], w[f"{name}.affine.bias"])

    def styled(x, name, up):
        x = modulated(x, w[f"{name}.weight"], scale(name), True, up)
        x = x + w[f"{name}.noise_const"] * w[f"{name}.noise_strength"]
        return active(x + w[f"{name}.bias"][:, None, None])

    def shown(x, name):
        kernel = w[f"{name}.weight"]
        return modulated(x, kernel, scale(name) / kernel.shape[1] ** 0.5, False) + w[f"{name}.bias"][:, None, None]

    x = styled(w["synthesis.b4.const"].expand(len(latent), -1, -1, -1), "synthesis.b4.conv1", False)
    picture = shown(x, "synthesis.b4.torgb")
    for side in SIDES[1:]:
        x = styled(styled(x, f"synthesis.b{side}.conv0", True), f"synthesis.b{side}.conv1", False)
        picture = upfirdn(picture, 2, (2, 1), 4.0) + shown(x, f"synthesis.b{side}.torgb")
    return picture


# Random weights of both layouts


def rosinality():
    torch.manual_seed(0)
    kernel = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 16
    w = {"input.input": torch.randn(1, CHANNELS[0], 4, 4)}
    for number, width in ((1, LATENT), (2, STYLE)):
        w |= {f"style.{number}.weight": 100 * torch.randn(STYLE, width), f"style.{number}.bias": torch.randn(STYLE)}

    def modulation(name, width):
        w[f"{name}.conv.modulation.weight"] = torch.randn(width, STYLE)
        w[f"{name}.conv.modulation.bias"] = 1 + 0.1 * torch.randn(width)

    def styled(name, width, wide, side, noise):
        modulation(name, width)
        w[f"{name}.conv.weight"] = torch.randn(1, wide, width, 3, 3)
        w[f"{name}.noise.weight"], w[f"{name}.activate.bias"] = torch.randn(1), torch.randn(wide)
        w[f"noises.noise_{noise}"] = torch.randn(1, 1, side, side)

    def picture(name, width):
        modulation(name, width)
        w[f"{name}.conv.weight"], w[f"{name}.bias"] = torch.randn(1, 3, width, 1, 1), torch.randn(1, 3, 1, 1)

    styled("conv1", CHANNELS[0], CHANNELS[0], 4, 0)
    picture("to_rgb1", CHANNELS[0])
    for number, (narrow, wide, side) in enumerate(zip(CHANNELS, CHANNELS[1:], SIDES[1:], strict=False)):
        styled(f"convs.{2 * number}", narrow, wide, side, 2 * number + 1)
        styled(f"convs.{2 * number + 1}", wide, wide, side, 2 * number + 2)
        picture(f"to_rgbs.{number}", wide)
        w |= {f"convs.{2 * number}.conv.blur.kernel": kernel, f"to_rgbs.{number}.upsample.kernel": kernel}
    return w


def nvidia():
    torch.manual_seed(1)
    w = {"synthesis.b4.const": torch.randn(CHANNELS[0], 4, 4), "mapping.w_avg": torch.randn(STYLE)}
    for number, width in ((0, LATENT), (1, STYLE)):
        w[f"mapping.fc{number}.weight"] = 100 * torch.randn(STYLE, width)
        w[f"mapping.fc{number}.bias"] = torch.randn(STYLE)

    def layer(name, width, wide, side):
        w[f"{name}.affine.weight"], w[f"{name}.affine.bias"] = torch.randn(width, STYLE), torch.ones(width)
        w[f"{name}.weight"] = torch.randn(wide, width, 3 if side else 1, 3 if side else 1)
        w[f"{name}.bias"] = torch.randn(wide)
        if side:
            w[f"{name}.noise_const"], w[f"{name}.noise_strength"] = torch.randn(side, side), torch.tensor(0.3)
            w[f"{name}.resample_filter"] = torch.ones(4, 4)

    layer("synthesis.b4.conv1", CHANNELS[0], CHANNELS[0], 4)
    layer("synthesis.b4.torgb", CHANNELS[0], 3, 0)
    for narrow, wide, side in zip(CHANNELS, CHANNELS[1:], SIDES[1:], strict=False):
        layer(f"synthesis.b{side}.conv0", narrow, wide, side)
        layer(f"synthesis.b{side}.conv1", wide, wide, side)
        layer(f"synthesis.b{side}.torgb", wide, 3, 0)
    return w


LAYOUTS = pytest.mark.parametrize(
    ("weights", "draw"), [(rosinality, draw_rosinality), (nvidia, draw_nvidia)], ids=["rosinality", "nvidia"]
)


@pytest.fixture
def generator(tmp_path) -> StyleGAN2Generator:
    torch.save({"g_ema": rosinality(), "latent_avg": torch.zeros(STYLE)}, tmp_path / "g.pt")
    return read_stylegan2(tmp_path / "g.pt")


@LAYOUTS
@torch.no_grad()
def test_pictures_equal_those_of_the_formulas(weights, draw, tmp_path):
    torch.save(weights(), tmp_path / "g.pt")
    read = read_stylegan2(tmp_path / "g.pt")
    assert (list(read.config.channels), read.config.mapping_layers) == (list(CHANNELS), 2)
    latent = read.latents([1, 2, 3])
    wanted = draw({name: value.double() for name, value in weights().items()}, latent.double())
    assert wanted.std() > 1 and wanted.shape == (3, 3, 16, 16)
    read.double()
    torch.testing.assert_close(read(read.style(latent.double())), wanted, rtol=1e-5, atol=1e-5)


def test_the_mean_style_is_the_files_or_that_of_many_latents(tmp_path):
    given, lacking = nvidia(), nvidia()
    del lacking["mapping.w_avg"]
    for name, weights in (("given", given), ("lacking", lacking)):
        save_file(weights, tmp_path / f"{name}.safetensors")
    assert torch.equal(read_stylegan2(tmp_path / "given.safetensors").mean_style, given["mapping.w_avg"])
    measured = read_stylegan2(tmp_path / "lacking.safetensors")
    with torch.no_grad():
        styles = measured.style(measured.latents(range(4000)))
    assert (measured.mean_style - styles.mean(0)).abs().max() < 0.1 * styles.std(0).max()


def test_it_is_saved_and_draws_the_same_at_any_batch_size(generator, tmp_path):
    generator.save_pretrained(tmp_path / "saved")
    again = StyleGAN2Generator.from_pretrained(tmp_path / "saved")
    style = generator.style(generator.latents(range(4))).detach()
    pictures = again.render(style)
    assert pictures.shape == (4, 16, 16, 3) and pictures.std() > 20
    assert np.array_equal(pictures[2:3], generator.render(style[2:3]))


def test_small_pictures_are_large_ones_reduced():
    torch.manual_seed(0)
    generator = StyleGAN2Generator(4, 4, (4, 4, 4), (8, 16)).eval()
    style = generator.style(generator.latents([1])).detach()
    with torch.no_grad():
        small, large = generator(style, 8), generator(style)
    assert torch.equal(small, F.avg_pool2d(large, 2))
    with pytest.raises(ValueError, match="not 12"):
        generator.render(style, 12)


def test_the_command_makes_a_folder_that_is_loaded(generator, tmp_path):
    result = run("convert", tmp_path / "g.pt", tmp_path / "out")
    assert result.exit_code == 0 and "16 px" in result.stderr
    loaded = StyleGAN2Generator.from_pretrained(tmp_path / "out")
    style = generator.style(generator.latents([3])).detach()
    assert np.abs(loaded.render(style).astype(int) - generator.render(style)).mean() < 2  # half precision
    again = run("convert", tmp_path / "g.pt", tmp_path / "out")
    assert again.exit_code == 2 and "exists" in again.stderr


def test_what_is_no_such_file_is_refused(tmp_path):
    torch.save({"g_ema": Code(tmp_path / "ran")}, tmp_path / "code.pt")
    torch.save({"weight": torch.ones(3)}, tmp_path / "other.pt")
    torch.save({**rosinality(), "extra": torch.ones(1)}, tmp_path / "more.pt")
    less = nvidia()
    del less["synthesis.b8.torgb.weight"]
    torch.save(less, tmp_path / "less.pt")
    (tmp_path / "text.pt").write_text("no weights")
    for name, told in {
        "code.pt": "no StyleGAN2",
        "other.pt": "synthesis.b4.const",
        "more.pt": "extra",
        "less.pt": "b8.torgb.weight",
        "text.pt": "no StyleGAN2",
        "nowhere.pt": "No such file",
    }.items():
        with pytest.raises(CheckpointError, match=told) as caught:
            read_stylegan2(tmp_path / name)
        assert name in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("wrong", [{"sizes": [64]}, {"sizes": []}, {"sizes": [16, 8]}, {"channels": [8]}])
def test_what_fits_not_together_is_refused(wrong):
    with pytest.raises(ValueError, match="must|do not end"):
        StyleGAN2Generator(**{"channels": (4, 4, 4), "sizes": (16,), **wrong})
