"""The network: the prototype's known answer, and what may and may not change it."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from faceanon_hub import FaceAnonGenerator, conditioning, generator
from faceanon_hub.alignment import align, transform, warp_in
from faceanon_hub.generator import Area, needed_areas

SIZE = 128
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
def net(pipe) -> FaceAnonGenerator:
    return pipe.generator


@pytest.fixture(scope="module")
def small() -> FaceAnonGenerator:
    """A little network of the same make, with random weights."""
    torch.manual_seed(0)
    net = FaceAnonGenerator(sample_size=64, channels=(8, 16, 24, 24, 24), style_size=32).eval()
    for module in net.modules():
        if isinstance(module, generator.ModulatedConv):
            torch.nn.init.constant_(module.noise_strength, 0.5)
    return net


@pytest.fixture(scope="module")
def inputs(portrait, face):
    """Image, mask, condition and latent of the portrait."""
    matrix = align(face.landmarks, SIZE)
    crop = torch.from_numpy(warp_in(portrait, matrix, SIZE))[None].permute(0, 3, 1, 2).float() / 127.5 - 1
    maps = torch.from_numpy(conditioning.draw_maps(transform(face.landmarks, matrix), SIZE))[None].float()
    hint = conditioning.render_hint(conditioning.hint_coefficients(crop, maps), maps[:, :1])
    return crop, maps[:, :1], conditioning.condition(maps, hint), latents(1)


@pytest.fixture(scope="module")
def painted(net, inputs) -> torch.Tensor:
    with torch.no_grad():
        return net(*inputs)


def latents(count: int) -> torch.Tensor:
    return torch.randn(count, 64, generator=torch.Generator().manual_seed(count))


def random_inputs(size: int, count: int) -> tuple[torch.Tensor, ...]:
    """Pictures with a square mask in another place each."""
    source = torch.Generator().manual_seed(0)
    image = torch.rand(count, 3, size, size, generator=source) * 2 - 1
    mask = torch.zeros(count, 1, size, size)
    for number in range(count):
        start = size // 8 * (number + 1)
        mask[number, :, start : start + size // 2, start : start + size // 3] = 1
    return image, mask, torch.rand(count, 11, size, size, generator=source), latents(count)


def noises(net: FaceAnonGenerator, count: int) -> list[torch.Tensor]:
    source = torch.Generator().manual_seed(7)
    return [torch.randn(count, *shape, generator=source) for shape in net.noise_shapes]


@torch.no_grad()
def test_the_prototypes_weights_give_its_answer(shared):
    path = shared / "prototype"
    if not path.is_dir():
        pytest.skip("no prototype to compare with")
    net = FaceAnonGenerator().eval()
    net.load_state_dict(dict(converted(*pair) for pair in load_file(path / "generator-128.safetensors").items()))
    check = np.load(path / "check.npz")
    crop = torch.from_numpy(check["crop"])[None].permute(0, 3, 1, 2).float() / 127.5 - 1
    mask = torch.from_numpy(check["maps"][:1])[None].float()
    output = net(crop, mask, torch.from_numpy(check["cond"])[None].float(), torch.from_numpy(check["z"]))
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
def test_hidden_pixels_cannot_reach_the_output(net, inputs, painted):
    image, mask, told, latent = inputs
    for fill in (torch.rand_like(image) * 2 - 1, torch.full_like(image, 1e6), -image):
        assert torch.equal(net(torch.where(mask > 0, fill, image), mask, told, latent), painted)


def test_visible_pixels_come_back_as_they_were(inputs, painted):
    image, mask, *_ = inputs
    visible = (mask == 0).expand_as(image)
    assert torch.equal(painted[visible], image[visible])
    assert (painted - image)[~visible].abs().mean() > 0.05  # and hidden ones do not


def test_the_face_is_a_face(pipe, painted):
    picture = ((painted[0].permute(1, 2, 0).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    (found,) = pipe.detector(picture, 0.5)
    assert np.abs((found.box[:2] + found.box[2:]) / 2 - SIZE / 2).max() < 8


@torch.no_grad()
def test_a_face_is_the_same_alone_and_in_a_batch(net):
    inputs = random_inputs(SIZE, 3)
    noise = noises(net, 3)
    batch = net(*inputs, noise, 0.7)
    for i in range(3):
        single = net(*(part[i : i + 1] for part in inputs), [level[i : i + 1] for level in noise], 0.7)
        assert torch.equal(batch[i : i + 1], single)


def test_training_sees_the_same_faces(small):
    inputs, noise = random_inputs(64, 3), noises(small, 3)
    with torch.no_grad():
        wanted = small(*inputs, noise)
    output = small(*inputs, noise)
    assert output.requires_grad
    assert (output - wanted).abs().max() < 1e-4


def test_training_sees_the_same_faces_with_the_real_weights(net, inputs, painted):
    with torch.enable_grad():
        output = net(*(torch.cat([part, part.flip(-1)]) for part in inputs))
    assert (output[:1] - painted).abs().max() < 1e-4


def test_every_weight_learns(small):
    inputs, noise = random_inputs(64, 2), noises(small, 2)
    small(*inputs, noise)[inputs[1].expand_as(inputs[0]) > 0].square().mean().backward()
    for name, parameter in small.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        assert torch.isfinite(parameter.grad).all(), name
    small.zero_grad()


def test_what_is_hidden_teaches_nothing(small):
    image, mask, told, latent = random_inputs(64, 2)
    image.requires_grad_()
    small(image, mask, told, latent)[mask.expand_as(image) > 0].sum().backward()
    assert not image.grad[mask.expand_as(image) > 0].any()
    assert image.grad.abs().sum() > 0


@torch.no_grad()
def test_no_noise_is_noise_of_zeros(net, inputs, painted):
    zeros = [torch.zeros_like(level) for level in noises(net, 1)]
    assert torch.equal(net(*inputs, zeros), painted)


@torch.no_grad()
def test_noise_is_texture_and_nothing_more(net, inputs, painted):
    difference = (net(*inputs, noises(net, 1)) - painted).abs()
    assert difference.max() > 0.01
    assert difference.mean() < 0.05


@torch.no_grad()
def test_noise_counts_on_every_level(small):
    inputs, noise = random_inputs(64, 1), noises(small, 1)
    before = small(*inputs, noise)
    for level in range(len(noise)):
        other = [-n if i == level else n for i, n in enumerate(noise)]
        assert (small(*inputs, other) - before).abs().max() > 1e-3, level


def test_noise_has_the_shapes_of_the_features(net, small):
    assert net.noise_shapes == [(1, s, s) for s in (4, 8, 8, 16, 16, 32, 32, 64, 64, 128, 128)]
    assert small.noise_shapes == [(1, s, s) for s in (4, 8, 8, 16, 16, 32, 32, 64, 64)]


@torch.no_grad()
def test_truncation_goes_from_one_face_to_full_variety(net, inputs, painted):
    image, mask, told, _ = inputs
    other = latents(5)[4:]

    def apart(truncation: float) -> float:
        faces = [net(image, mask, told, latent, truncation=truncation) for latent in (inputs[3], other)]
        return float((faces[0] - faces[1]).abs().mean())

    distances = [apart(truncation) for truncation in (0.0, 0.5, 1.0)]
    assert distances[0] < 1e-5 < distances[1] < distances[2]
    assert distances[2] > 0.01


@torch.no_grad()
def test_truncation_is_the_share_of_the_way_from_the_mean_style(small):
    context = torch.randn(2, 32, generator=torch.Generator().manual_seed(3))
    mean, quarter, own = (small._style(latents(2), context, truncation) for truncation in (0.0, 0.25, 1.0))
    assert (quarter - (0.75 * mean + 0.25 * own)).abs().max() < 1e-5
    assert (own - mean).abs().max() > 0.01


@torch.no_grad()
def test_full_truncation_is_the_latents_own_face(net, inputs, painted):
    assert (net(*inputs, truncation=0.99999) - painted).abs().max() < 1e-3


@torch.no_grad()
def test_truncation_of_a_face_does_not_depend_on_its_batch(small):
    inputs = random_inputs(64, 2)
    with torch.enable_grad():  # the way of a real batch
        batch = small(*inputs, truncation=0.4)
    for i in range(2):
        assert (small(*(part[i : i + 1] for part in inputs), truncation=0.4) - batch[i]).abs().max() < 1e-4


@torch.no_grad()
def test_only_the_direction_of_a_latent_counts(net, inputs, painted):
    image, mask, told, latent = inputs
    assert (net(image, mask, told, 4 * latent) - painted).abs().max() < 1e-5
    assert (net(image, mask, told, -latent) - painted).abs().mean() > 0.005


def masks(size: int) -> dict[str, torch.Tensor]:
    """By name: where the hidden region lies."""
    spots = {
        "corner": np.s_[-11:, :5],
        "other corner": np.s_[:3, -15:],
        "tiny": np.s_[50:51, 37:38],
        "strip": np.s_[30:32, :],
        "empty": np.s_[:0, :0],
        "full": np.s_[:, :],
        "middle": np.s_[15:47, 11:44],
    }
    made = {}
    for name, (rows, columns) in spots.items():
        made[name] = torch.zeros(1, 1, size, size)
        made[name][..., rows, columns] = 1
    return made


def whole_areas(mask: torch.Tensor, levels: int) -> list[Area]:
    sizes = [mask.shape[-1] >> level for level in reversed(range(levels))]
    return [Area(0, size, 0, size) for size in sizes]


@torch.no_grad()
@pytest.mark.parametrize("name", masks(64))
def test_leaving_out_what_no_hidden_pixel_needs_changes_nothing(small, monkeypatch, name):
    image, _, told, latent = random_inputs(64, 1)
    mask, noise = masks(64)[name], noises(small, 1)
    output = small(image, mask, told, latent, noise)
    monkeypatch.setattr(generator, "needed_areas", whole_areas)
    assert (output - small(image, mask, told, latent, noise)).abs().max() < 1e-5
    assert torch.equal(output[(mask == 0).expand_as(image)], image[(mask == 0).expand_as(image)])


@torch.no_grad()
def test_leaving_out_what_no_hidden_pixel_needs_changes_nothing_of_the_portrait(net, inputs, painted, monkeypatch):
    monkeypatch.setattr(generator, "needed_areas", whole_areas)
    assert (net(*inputs) - painted).abs().max() < 1e-5


def test_a_small_mask_needs_a_small_part():
    assert needed_areas(masks(64)["tiny"], 4)[-1] == Area(48, 53, 35, 40)  # two convolutions look two pixels further
    assert needed_areas(masks(64)["full"], 4) == whole_areas(masks(64)["full"], 4)


@pytest.mark.parametrize("size", [64, 100, 256])
def test_a_size_the_widths_do_not_fit_is_refused(size):
    with pytest.raises(ValueError, match="sample_size"):
        FaceAnonGenerator(sample_size=size, channels=(8, 8, 8, 8, 8, 8))


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_about_the_same(net, inputs, dtype):
    half = copy.deepcopy(net).to(dtype)
    noise = noises(net, 1)
    wanted = net(*inputs, noise, 0.7)
    output = half(*(part.to(dtype) for part in inputs), [level.to(dtype) for level in noise], 0.7)
    assert output.dtype == dtype
    assert torch.isfinite(output).all()
    hidden = inputs[1].expand_as(wanted) > 0
    assert (output.float() - wanted)[hidden].abs().mean() < 0.02


def changed_in_place(net: FaceAnonGenerator) -> None:
    net.decoder[0].merge.weight[:, :50].mul_(3)


def changed_by_data(net: FaceAnonGenerator) -> None:
    # As diffusers' EMAModel.copy_to and many training loops do; PyTorch counts no new version for it.
    net.decoder[0].merge.weight.data[:, :50].mul_(3)


def changed_by_loading(net: FaceAnonGenerator) -> None:
    state = {name: value.clone() for name, value in net.state_dict().items()}
    state["decoder.0.merge.weight"][:, :50] *= 3
    net.load_state_dict(state)


def changed_by_assigning(net: FaceAnonGenerator) -> None:
    state = {name: value.clone() for name, value in net.state_dict().items()}
    state["decoder.0.merge.weight"][:, :50] *= 3
    net.load_state_dict(state, assign=True)


@torch.no_grad()
@pytest.mark.parametrize("change", [changed_in_place, changed_by_data, changed_by_loading, changed_by_assigning])
def test_new_weights_count_after_a_call(small, change):
    net, inputs = copy.deepcopy(small), random_inputs(64, 1)
    before = net(*inputs)
    change(net)
    fresh = FaceAnonGenerator.from_config(net.config).eval()
    fresh.load_state_dict(net.state_dict())
    after = net(*inputs)
    assert (after - before).abs().max() > 1e-3
    assert (after - fresh(*inputs)).abs().max() < 1e-4


def test_inference_mode_gives_the_same(small):
    inputs = random_inputs(64, 1)
    with torch.no_grad():
        wanted = small(*inputs)
    net = copy.deepcopy(small)
    with torch.inference_mode():
        assert (net(*inputs) - wanted).abs().max() < 1e-5
    net(*inputs).sum().backward()  # what inference mode kept must not be in the way of training


def test_a_network_made_in_inference_mode_runs(small):
    with torch.inference_mode():
        net = FaceAnonGenerator.from_config(small.config).eval()
        assert net(*random_inputs(64, 1)).shape == (1, 3, 64, 64)


def test_the_inputs_are_left_as_they_are(small):
    inputs, noise = random_inputs(64, 2), noises(small, 2)
    before = [part.clone() for part in (*inputs, *noise)]
    with torch.no_grad():
        small(*inputs, noise)
    small(*inputs, noise)
    assert all(torch.equal(part, old) for part, old in zip((*inputs, *noise), before, strict=True))


def test_saving_and_loading_keeps_the_weights(small, tmp_path):
    small.save_pretrained(tmp_path)
    again, inputs = FaceAnonGenerator.from_pretrained(tmp_path), random_inputs(64, 1)
    with torch.no_grad():
        assert (again(*inputs) - small(*inputs)).abs().max() < 1e-5  # where weights lie in memory moves the last bit
