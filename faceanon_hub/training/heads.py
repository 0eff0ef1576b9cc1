"""Heads of the generator that read small pictures off inner features: fitted to its own large pictures, reduced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..generator import FaceAnonGenerator, Head

FACES, HELD_OUT = 240, 24
PATCHES, PATCH = 4, 16  # of each face: their number, and their side in features
TRUNCATIONS = 0.6, 1.0
STEPS, BATCH, RATE = 600, 64, 3e-3
RIDGE = 1e-4


@dataclass
class Examples:
    """What a head sees, and what it should make of it.

    Args:
        features (`torch.Tensor` of shape `(N, C, P, P)`, float16):
            Patches of features.
        styles (`torch.Tensor` of shape `(N, S)`):
            Mean styles of the layers that would have followed.
        targets (`torch.Tensor` of shape `(N, 12, P, P)`):
            The picture there, 2 x 2 pixels as channels.
    """

    features: torch.Tensor
    styles: torch.Tensor
    targets: torch.Tensor

    def part(self, index: slice | torch.Tensor) -> Examples:
        """Some of the patches."""
        return Examples(self.features[index], self.styles[index], self.targets[index])


@dataclass
class Fit:
    """How a head's pictures of held-out faces compare to the largest ones, reduced.

    Args:
        r2 (`float`):
            Share of the variance that is explained.
        error (`float`):
            Mean absolute error, in levels of 255.
    """

    r2: float
    error: float


def fit_heads(
    generator: FaceAnonGenerator,
    faces: int = FACES,
    seed: int = 0,
    on_face: Callable[[int, int], None] = lambda done, total: None,
) -> dict[int, Fit]:
    """Fits the heads of all sizes but the largest, in place.

    Args:
        generator ([`FaceAnonGenerator`]):
            In float32, on the CPU or a GPU.
        faces (`int`, *optional*, defaults to `240`):
            Faces to fit to; some more are drawn to judge by.
        seed (`int`, *optional*, defaults to `0`):
            Of faces and patches.
        on_face (`Callable`, *optional*):
            Called after each face that is drawn, with their number so far and in all.

    Returns:
        `dict[int, Fit]`: by size, on held-out faces.
    """
    found = draw_examples(generator, faces + HELD_OUT, seed, on_face)
    fits = {}
    for size, examples in found.items():
        head: Head = generator.heads[str(size)]
        fit_head(head, examples.part(slice(PATCHES * HELD_OUT, None)), seed)
        fits[size] = judge(head, examples.part(slice(PATCHES * HELD_OUT)))
    return fits


@torch.no_grad()
def draw_examples(
    generator: FaceAnonGenerator,
    faces: int,
    seed: int = 0,
    on_face: Callable[[int, int], None] = lambda done, total: None,
) -> dict[int, Examples]:
    """Draws faces at the largest size and keeps patches; in every fourth, the later layers have another's style.

    Returns:
        `dict[int, Examples]`: by size, `PATCHES` for each face.
    """
    *sizes, largest = generator.config.sizes
    rng = torch.Generator().manual_seed(seed)
    rows: dict[int, list[Examples]] = {size: [] for size in sizes}
    for number in range(faces):
        latents = torch.randn(2, generator.config.latent_size, generator=rng).to(generator.mean_style)
        low, high = TRUNCATIONS
        truncation = low + (high - low) * float(torch.rand((), generator=rng))
        own, other = generator.style(latents, truncation)
        styles = own.repeat(1, generator.style_layers, 1)
        if number % 4 == 3:
            styles[:, int(torch.randint(generator.style_layers, (), generator=rng)) :] = other
        features = generator.features(styles)
        picture = generator.heads[str(largest)](features[largest], styles[:, generator.head_layer(largest)]).clamp(
            -1, 1
        )
        for size in sizes:
            target = F.pixel_unshuffle(F.avg_pool2d(picture, largest // size), 2)
            style = styles[:, generator.head_layer(size) :].mean(1)
            for _ in range(PATCHES):
                top, left = torch.randint(size // 2 - PATCH + 1, (2,), generator=rng).tolist()
                area = (..., slice(top, top + PATCH), slice(left, left + PATCH))
                rows[size].append(Examples(features[size][area].half(), style, target[area].clone()))
        on_face(number + 1, faces)
    return {
        size: Examples(*(torch.cat([getattr(row, name) for row in few]) for name in ("features", "styles", "targets")))
        for size, few in rows.items()
    }


def fit_head(head: Head, examples: Examples, seed: int = 0) -> None:
    """Fits a head in place: least squares without a style, gradient descent for all of it, and least squares again."""
    with torch.no_grad():
        spread = examples.features.float().square().mean((0, 2, 3)).sqrt().clamp(min=1e-6)
        head.scale.weight.zero_()
        head.scale.bias.copy_(1 / spread)
    solve(head, examples)
    optimizer = torch.optim.Adam(
        [
            {"params": head.mix.parameters(), "lr": RATE},
            # In proportion to the scale of each channel, which Adam's steps are blind to.
            {"params": [head.scale.weight, head.scale.bias], "lr": RATE / float(spread.mean())},
        ]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    rng = torch.Generator().manual_seed(seed)
    with torch.enable_grad():
        for _ in range(STEPS):
            some = examples.part(torch.randint(len(examples.styles), (BATCH,), generator=rng))
            optimizer.zero_grad()
            F.mse_loss(F.pixel_unshuffle(head(some.features.float(), some.styles), 2), some.targets).backward()
            optimizer.step()
            schedule.step()
    solve(head, examples)


@torch.no_grad()
def solve(head: Head, examples: Examples) -> None:
    """The mixing weights by least squares, given the scales."""
    channels = head.mix.in_channels
    gram = examples.targets.new_zeros(channels + 1, channels + 1, dtype=torch.float64)
    moment = examples.targets.new_zeros(channels + 1, 12, dtype=torch.float64)
    for start in range(0, len(examples.styles), BATCH):
        some = examples.part(slice(start, start + BATCH))
        x = some.features.float() * head.scale(some.styles)[:, :, None, None]
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1).movedim(1, -1).flatten(0, 2)
        gram += (x.t() @ x).double()
        moment += (x.t() @ some.targets.movedim(1, -1).flatten(0, 2)).double()
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    weights = torch.linalg.solve(gram, moment).float().t()
    head.mix.weight.copy_(weights[:, :-1, None, None])
    head.mix.bias.copy_(weights[:, -1])


@torch.no_grad()
def judge(head: Head, examples: Examples) -> Fit:
    """How well a head does on these patches."""
    errors = [
        F.pixel_unshuffle(head(some.features.float(), some.styles), 2) - some.targets
        for some in (examples.part(slice(start, start + BATCH)) for start in range(0, len(examples.styles), BATCH))
    ]
    error = torch.cat(errors)
    r2 = 1 - error.square().mean() / examples.targets.var()
    return Fit(float(r2), 127.5 * float(error.abs().mean()))
