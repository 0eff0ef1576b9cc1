"""The loop: batches to weights, and all that a run writes."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import PIL.Image
import torch
from torch import nn
from torch.func import functional_call
from torch.utils.data import DataLoader

from .. import __version__
from ..errors import FaceAnonError, MissingDependencyError, UnwritableError
from ..files import open_regular, read_json
from ..io import write_photo, write_text
from ..metrics.realism import frechet_distance
from . import conditioning, losses
from .augmentation import draw_colors, recolor
from .config import RESUMABLE, TrainingConfig
from .critics import Critics
from .data import Draws, FaceShards, Jitter, draw_weights
from .discriminators import ConditionalDiscriminator, ProjectedDiscriminator, advance_norms
from .features import FrozenFeatures
from .preparation import read_manifest
from .unet import UNetGenerator
from .weights import Replacing, describe, initialize, parameter_groups, save_half

BETAS = (0.0, 0.99)
SHEET_FACES, SHEET_LATENTS = 8, 3
VALIDATION_BATCH = 32

Progress = Callable[[int, int, float], None]


def train(config: TrainingConfig, folder: str | os.PathLike[str], on_progress: Progress | None = None) -> Path:
    """Trains a generator, or goes on with a run that was stopped.

    Args:
        config ([`TrainingConfig`]):
            The run.
        folder (`str`):
            Where it writes: `checkpoint-STEPS`, each a [`UNetGenerator`] of averaged weights in half precision;
            `state-STEPS`, what the run goes on from; `samples`, sheets that show faces of the data and are not for
            publication; `metrics.jsonl` and `tensorboard`.
        on_progress (`Callable`, *optional*):
            Called after each step with its number, the number of all steps, and pictures per second so far.

    Returns:
        `Path`: the last checkpoint.

    Raises:
        MissingDependencyError: the extra `train` is not installed.
        FaceAnonError: the folder holds another run, or there is no data, or the weights are no longer finite.
        CheckpointError: there is no such checkpoint to start from.
    """
    return Trainer(config, folder).run(on_progress)


class Trainer:
    r"""A run. Started with `accelerate launch`, it shares each step among all processes.

    What happens in a step follows from its number and the state before it: random numbers are drawn anew for each
    step, so that a run that is stopped and goes on ends at the same weights as one that is not.

    Args:
        config ([`TrainingConfig`]):
            Settings.
        folder (`str`):
            Where it writes, see [`train`]. A newest state in it is loaded.
    """

    def __init__(self, config: TrainingConfig, folder: str | os.PathLike[str]) -> None:
        try:
            import tensorboard  # noqa: F401
            from accelerate import Accelerator
        except ImportError as error:
            raise MissingDependencyError(error.name or "accelerate", "faceanon-hub[train]") from error
        self.folder = Path(folder)
        # Precision is ours, whatever the user's configuration of accelerate says.
        self.accelerator = Accelerator(mixed_precision="no", log_with="tensorboard", project_dir=str(self.folder))
        self.device = self.accelerator.device
        self.dtype = torch.bfloat16 if config.mixed_precision == "bf16" else torch.float32
        self.step = 0
        self.seconds = 0.0
        self.config = config

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self._make_networks()
        self._make_data()
        self._make_optimizers()
        if self.accelerator.is_main_process:
            self._claim()
        self.accelerator.wait_for_everyone()
        self._resume()

    @property
    def images(self) -> int:
        """Pictures made so far, by all processes."""
        return self.step * self.config.batch_size * self.accelerator.num_processes

    def run(self, on_progress: Progress | None = None) -> Path:
        """Trains to the last step. Returns the last checkpoint."""
        config, main = self.config, self.accelerator.is_main_process
        begin, before = time.monotonic(), self.step
        self.accelerator.init_trackers("tensorboard")
        for batch in self._batches():
            values = self.advance(batch)
            elapsed = time.monotonic() - begin
            speed = (self.step - before) * config.batch_size * self.accelerator.num_processes / elapsed
            if self.step % config.log_every == 0 or self.step == config.steps:
                self._log({**values, "images_per_second": speed})
            if main and (self.step % config.sample_every == 0 or self.step == config.steps):
                write_photo(self.sheet(), self.folder / "samples" / f"{self.step:06d}.png")
            if self.step % config.save_every == 0 or self.step == config.steps:
                if main:
                    self.save(self.seconds + elapsed)
                self.accelerator.wait_for_everyone()
            if on_progress is not None:
                on_progress(self.step, config.steps, speed)
        self.accelerator.end_training()
        return self.folder / f"checkpoint-{self.step:06d}"

    def advance(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Takes one step.

        Args:
            batch (`dict[str, torch.Tensor]`):
                Photos as [`FaceShards`] gives them, half as many as there are pictures in a batch.

        Returns:
            `dict[str, torch.Tensor]`: the terms of the losses, numbers on the device.
        """
        source, learning = self._source(self.step), self.step >= self.config.head_start
        image, mask, told, valid = (t.repeat(2, 1, 1, 1) for t in self._tell(batch, source))
        latent = torch.randn(len(image), self.generator.config.latent_size, generator=source, device=self.device)
        with torch.set_grad_enabled(learning):
            # Where the photo ends there is nothing to learn: the painting has the same pixels there.
            painted = torch.lerp(image, self._paint(image, mask, told, latent, source), valid)
            colors = draw_colors(len(image), source)
            features = self.features(recolor(painted, colors))
        with torch.no_grad():
            true_features = self.features(recolor(image, colors))
        seen = torch.cat([mask, told], 1).to(self.dtype)
        made = _Made(image, mask, valid, latent, painted, features, true_features, seen)
        values = self._teach_discriminators(made)
        if learning:
            values |= self._teach_generator(made, batch)
        self.step += 1
        return values

    def _teach_discriminators(self, made: _Made) -> dict[str, torch.Tensor]:
        for group in self._discriminator_optimizer.param_groups:
            group["lr"] = self.config.discriminator_learning_rate * self._cooled()
        self._judges.requires_grad_(True)
        advance_norms(self.projected, self.conditional)
        pairs = zip(made.true_features[1:], made.features[1:], strict=True)
        features = [torch.cat([true, painted.detach()]) for true, painted in pairs]
        pictures = torch.cat([made.image, made.painted.detach()]).to(self.dtype)
        loss = losses.discriminator_hinge([*self.projected(features), self.conditional(pictures, made.seen)])
        norm = self._update(self._discriminator_optimizer, loss)
        self._judges.requires_grad_(False)
        return {"discriminator": loss.detach(), "discriminator_norm": norm}

    def _teach_generator(self, made: _Made, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        config = self.config
        scores = [*self.projected(made.features[1:]), self.conditional(made.painted.to(self.dtype), made.seen)]
        color, apart = losses.distances(made.painted, made.mask, made.features[3:])
        diversity = losses.diversity_hinge(color, apart, config.color_distance, config.feature_distance)
        taken = self.step - config.head_start + 1
        terms = {
            "adversarial": (min(1.0, taken / (config.adversarial_ramp + 1)), losses.adversarial(scores)),
            "perceptual": (config.perceptual_weight, losses.perceptual(made.features, made.true_features)),
            "l1": (config.l1_weight, losses.masked_l1(made.painted, made.image, made.mask * made.valid)),
            "latent": (config.latent_weight, self.reader(made.features[2:], made.latent)),
            "diversity": (config.diversity_weight, diversity),
        }
        if self.critics is not None:
            expression, identity = self.critics(made.image, made.painted, *self._points(batch))
            terms["expression"] = (config.expression_weight, expression)
            terms["identity"] = (config.identity_weight, identity)
        for group, rate in zip(self._generator_optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * min(1.0, taken / (config.warmup + 1)) * self._cooled()
        total = torch.stack([weight * term for weight, term in terms.values()]).sum()
        norm = self._update(self._generator_optimizer, total)
        self._average_weights()
        return {
            **{name: term.detach() for name, (_, term) in terms.items()},
            "generator": total.detach(),
            "generator_norm": norm,
            "color_distance": color.detach().mean(),
        }

    def _cooled(self) -> float:
        """What is left of the rates."""
        return min(1.0, max(1, self.config.steps - self.step) / (self.config.cooldown + 1))

    def _update(self, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> torch.Tensor:
        """A step of an optimizer. Returns the norm of the gradient before it was clipped."""
        optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if self.accelerator.num_processes > 1:
            # All at once: a wrapper that averages while the gradient is computed allows one pass a step, not two.
            gradients = [parameter.grad for parameter in parameters]
            mean = self.accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), "mean")
            for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient))
        norm = nn.utils.clip_grad_norm_(parameters, self.config.gradient_clip)
        optimizer.step()
        return norm.detach()

    def _paint(
        self,
        image: torch.Tensor,
        mask: torch.Tensor,
        told: torch.Tensor,
        latent: torch.Tensor,
        source: torch.Generator,
    ) -> torch.Tensor:
        """Runs the generator, its weights cast once. Returns float32."""
        weights = {name: weight.to(self.dtype) for name, weight in self.generator.named_parameters()}
        noise = [
            torch.randn(len(image), *shape, generator=source, device=self.device).to(self.dtype)
            for shape in self.generator.noise_shapes
        ]
        inputs = [tensor.to(self.dtype) for tensor in (image, mask, told, latent)]
        return functional_call(self.generator, weights, (*inputs, noise)).float()

    def _tell(
        self, batch: dict[str, torch.Tensor], source: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Photo, hidden region, condition and validity of a batch; with a source, flipped and without some hints."""
        pixels, maps, valid = (
            batch[name].to(self.device, non_blocking=True).float() for name in ("image", "maps", "valid")
        )
        image = pixels / 127.5 - 1
        if source is not None:
            flipped = self._flipped(len(image))[:, None, None, None]
            image, maps, valid = (torch.where(flipped, t.flip(3), t) for t in (image, maps, valid))
        mask = maps[:, :1]
        hint = conditioning.render_hint(conditioning.hint_coefficients(image, maps), mask)
        if source is not None:
            drawn = torch.rand(len(image), 1, 1, 1, generator=source, device=self.device)
            hint = hint * (drawn >= self.config.hint_dropout)
        return image, mask, conditioning.condition(maps, hint), valid

    def _flipped(self, count: int) -> torch.Tensor:
        """Which photos of this step are mirrored."""
        return torch.rand(count, generator=self._source(self.step, 1), device=self.device) < 0.5

    def _points(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Meshes of the photos as they were before any was mirrored, and which were, for both latents."""
        points = batch["points"].to(self.device)
        return points.repeat(2, 1, 1), self._flipped(len(points)).repeat(2)

    def _source(self, step: int, use: int = 0) -> torch.Generator:
        sequence = np.random.SeedSequence([self.config.seed, self.accelerator.process_index, step, use])
        return torch.Generator(self.device).manual_seed(int(sequence.generate_state(1)[0]))

    @torch.no_grad()
    def _average_weights(self) -> None:
        batch = self.config.batch_size * self.accelerator.num_processes
        keep = min(0.5 ** (batch / max(self.config.ema_images, 1e-6)), (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.generator.parameters()), 1 - keep)

    # What a run is made of

    def _make_networks(self) -> None:
        config = self.config
        self.start = None if config.start is None else describe(config.start)
        if config.start is None:
            size = config.sample_size or 128
            self.generator = UNetGenerator(size, style_size=config.style_size, channels=config.channels)
            initialize(self.generator)
        else:
            self.generator = UNetGenerator.from_pretrained(config.start, local_files_only=True)
            size = self.generator.config.sample_size
            if config.sample_size not in (None, size):
                raise FaceAnonError(f"{config.start}: paints {size} px, not {config.sample_size}")
        self.generator = self.generator.train().to(self.device, memory_format=torch.channels_last)
        for part in config.frozen:
            try:
                self.generator.get_submodule(part).requires_grad_(False)
            except AttributeError as error:
                raise FaceAnonError(f"`frozen`: a generator has no part {part!r}") from error
        self.ema = deepcopy(self.generator).eval().requires_grad_(False)
        self.features = FrozenFeatures().to(self.device, self.dtype)
        self.projected = ProjectedDiscriminator(self.features.channels[1:]).to(self.device)
        for frozen in (self.projected.across_channels, self.projected.across_scales):
            frozen.to(self.dtype)
        self.conditional = ConditionalDiscriminator(1 + self.generator.config.condition_channels).to(self.device)
        self.reader = losses.LatentReader(self.features.channels[2:], self.generator.config.latent_size)
        self.reader.to(self.device)
        self.critics: Critics | None = None
        if config.critics is not None:
            self.critics = Critics(config.critics, config.feature_weight).to(self.device)
        self._judges = nn.ModuleList([self.projected.heads, self.conditional]).requires_grad_(False)

    def _make_data(self) -> None:
        config, size = self.config, self.generator.config.sample_size
        jitter = Jitter(config.rotation, config.scale, config.shift)
        self.training_set = FaceShards(config.data, "train", size, jitter)
        self.validation_set = FaceShards(config.data, "validation", size)

    def _make_optimizers(self) -> None:
        config, fused = self.config, self.device.type == "cuda"
        groups = parameter_groups(self.generator, config.learning_rate)
        groups.append({"params": list(self.reader.parameters()), "lr": config.latent_learning_rate})
        self._rates = [group["lr"] for group in groups]
        self._generator_optimizer = torch.optim.Adam(groups, betas=BETAS, fused=fused)
        self._discriminator_optimizer = torch.optim.Adam(
            self._judges.parameters(), config.discriminator_learning_rate, BETAS, fused=fused
        )

    def _batches(self) -> Iterator[dict[str, torch.Tensor]]:
        config = self.config
        draws = Draws(
            draw_weights(self.training_set.facts, config),
            config.batch_size // 2,
            range(self.step, config.steps),
            config.seed,
            self.accelerator.process_index,
        )
        return iter(
            DataLoader(
                self.training_set,
                batch_sampler=draws,
                num_workers=config.workers,
                worker_init_fn=_one_thread,
                pin_memory=self.device.type == "cuda",
                multiprocessing_context="spawn" if config.workers else None,
            )
        )

    # What a run writes

    @torch.no_grad()
    def sheet(self) -> PIL.Image.Image:
        """Held-out faces: the photo, what is left of it, three of its maps, and paintings by three latents.

        It shows people of the data: not for publication.
        """
        count = min(SHEET_FACES, len(self.validation_set))
        numbers = np.linspace(0, len(self.validation_set) - 1, count).round().astype(int)
        image, mask, told, _ = self._tell(self._validation_batch(numbers.tolist()))
        columns = [image, image * (1 - mask), told[:, :3] * 2 - 1]
        source = torch.Generator(self.device).manual_seed(0)
        for _ in range(SHEET_LATENTS):
            latent = torch.randn(count, self.generator.config.latent_size, generator=source, device=self.device)
            columns.append(self.ema(image, mask, told, latent, self._noise(count, source)))
        rows = torch.stack([torch.cat(list(row), 2) for row in zip(*columns, strict=True)])
        pixels = ((rows.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return PIL.Image.fromarray(np.concatenate(list(pixels)))

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Measures the averaged weights on held-out faces, with latents that stay the same.

        Returns:
            `dict[str, float]`: `"frechet"`, distance on EfficientNet-Lite0 features, over their number, comparable
            only within runs on the same validation set; `"validation_l1"`, under the mask; and
            `"validation_color_distance"`, of two latents.
        """
        count = min(self.config.validation_faces, len(self.validation_set))
        source = torch.Generator(self.device).manual_seed(0)
        true: list[np.ndarray] = []
        made: list[np.ndarray] = []
        l1: list[float] = []
        apart: list[np.ndarray] = []
        for start in range(0, count, VALIDATION_BATCH):
            numbers = list(range(start, min(start + VALIDATION_BATCH, count)))
            image, mask, told, valid = self._tell(self._validation_batch(numbers))
            size = len(numbers), self.generator.config.latent_size
            latents = [torch.randn(size, generator=source, device=self.device) for _ in range(2)]
            noise = self._noise(len(numbers), source)
            one, other = (torch.lerp(image, self.ema(image, mask, told, latent, noise), valid) for latent in latents)
            for pictures, found in ((image, true), (one, made)):
                found.append(self.features(pictures)[-1].float().mean((2, 3)).cpu().numpy())
            l1 += [losses.masked_l1(one[i], image[i], (mask * valid)[i]).item() for i in range(len(numbers))]
            apart.append(losses.distances(torch.cat([one, other]), mask.repeat(2, 1, 1, 1), [])[0].cpu().numpy())
        features = np.concatenate(true), np.concatenate(made)
        distance = frechet_distance(*features) / features[0].shape[1] if count > 1 else math.nan
        return {
            "frechet": distance,
            "validation_l1": float(np.mean(l1)),
            "validation_color_distance": float(np.concatenate(apart).mean()),
        }

    def save(self, seconds: float) -> Path:
        """Writes a checkpoint and the state, each whole or not at all. Returns the checkpoint."""
        self._check_finite()
        measured = self.validate() if self.config.validation_faces else {}
        if measured:
            self._write_metrics(measured)
        checkpoint = self.folder / f"checkpoint-{self.step:06d}"
        try:
            save_half(self.ema, checkpoint, self._record(measured, seconds))
            with Replacing(self.folder / f"state-{self.step:06d}") as partial:
                partial.mkdir()
                torch.save({"step": self.step, "seconds": seconds, **self._parts()}, partial / "state.pt")
        except OSError as error:
            raise UnwritableError(checkpoint, error.strerror or str(error)) from error
        for old in self._states()[: -self.config.keep_states]:
            shutil.rmtree(old)
        return checkpoint

    def _record(self, measured: dict[str, float], seconds: float) -> dict[str, Any]:
        sources: dict[str, Any] = {}
        for folder in self.config.data:
            for name, entry in read_manifest(folder)["sources"].items():
                sources[name] = {"licence": entry["licence"], "samples": entry["samples"]["train"]}
        settings = {**self.config.to_dict(), "data": sorted(sources), "start": None, "critics": bool(self.critics)}
        return {
            "version": __version__,
            "steps": self.step,
            "images": self.images,
            "seconds": round(seconds),
            "sources": sources,
            "started_from": self.start,
            "validation": {name: round(value, 5) for name, value in measured.items()},
            "config": settings,
        }

    def _parts(self) -> dict[str, Any]:
        """All that a run goes on from."""
        holders = {
            "generator": self.generator, "ema": self.ema, "projected": self.projected,
            "conditional": self.conditional, "reader": self.reader,
            "generator_optimizer": self._generator_optimizer,
            "discriminator_optimizer": self._discriminator_optimizer,
        }  # fmt: skip
        return {name: holder.state_dict() for name, holder in holders.items()}

    def _states(self) -> list[Path]:
        return sorted(self.folder.glob("state-[0-9]*"))

    def _resume(self) -> None:
        states = self._states()
        if not states:
            return
        with open_regular(states[-1] / "state.pt") as file:
            state = torch.load(file, map_location=self.device, weights_only=True)
        self.step, self.seconds = state["step"], state["seconds"]
        for module in ("generator", "ema", "projected", "conditional", "reader"):
            getattr(self, module).load_state_dict(state[module])
        self._generator_optimizer.load_state_dict(state["generator_optimizer"])
        self._discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        log = self.folder / "metrics.jsonl"
        if self.accelerator.is_main_process and log.is_file():  # what came after the state is done again
            lines = [line for line in log.read_text().splitlines() if json.loads(line)["step"] <= self.step]
            write_text(log, "".join(f"{line}\n" for line in lines))

    def _claim(self) -> None:
        """Marks the folder as that of this run."""
        promised = {**self.config.to_dict(), "processes": self.accelerator.num_processes}
        place = self.folder / "config.json"
        if place.is_file():
            before = read_json(place)
            # A run that cools down ends as it was meant to.
            free = [name for name in RESUMABLE if name != "steps" or not self.config.cooldown]
            other = [name for name in promised if name not in free and before.get(name) != promised[name]]
            if other:
                told = ", ".join(other)
                raise FaceAnonError(f"{self.folder}: holds a run with another {told}; choose another folder")
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise FaceAnonError(f"{self.folder}: holds files that were not made here; choose another folder")
        try:
            (self.folder / "samples").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnwritableError(self.folder, error.strerror or str(error)) from error
        for partial in self.folder.glob(".partial-*"):  # of a run that was killed
            shutil.rmtree(partial)
        write_text(place, json.dumps(promised, indent=2) + "\n")

    def _log(self, values: dict[str, Any]) -> None:
        numbers = {name: float(value) for name, value in values.items()}
        self._write_metrics(numbers)
        if not all(map(math.isfinite, numbers.values())):
            raise self._diverged()

    def _write_metrics(self, values: dict[str, float]) -> None:
        self.accelerator.log(values, self.step)
        if self.accelerator.is_main_process:
            line = {"step": self.step, "images": self.images, **{k: float(f"{v:.6g}") for k, v in values.items()}}
            with (self.folder / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")

    def _check_finite(self) -> None:
        """No weights are ever saved that are not numbers."""
        if not all(torch.isfinite(parameter).all() for parameter in self.generator.parameters()):
            raise self._diverged()

    def _diverged(self) -> FaceAnonError:
        return FaceAnonError(f"{self.folder}: training diverged before step {self.step}; the last checkpoint is good")

    def _validation_batch(self, numbers: list[int]) -> dict[str, torch.Tensor]:
        return torch.utils.data.default_collate([self.validation_set[number] for number in numbers])

    def _noise(self, count: int, source: torch.Generator) -> list[torch.Tensor]:
        shapes = self.generator.noise_shapes
        return [torch.randn(count, *shape, generator=source, device=self.device) for shape in shapes]


class _Made(NamedTuple):
    """What a step shows to all that judge it: each photo twice, painted by two latents."""

    image: torch.Tensor  # (2 B, 3, S, S)
    mask: torch.Tensor  # (2 B, 1, S, S)
    valid: torch.Tensor  # (2 B, 1, S, S)
    latent: torch.Tensor  # (2 B, L)
    painted: torch.Tensor  # (2 B, 3, S, S)
    features: Sequence[torch.Tensor]  # of the paintings
    true_features: Sequence[torch.Tensor]  # of the photos
    seen: torch.Tensor  # (2 B, 12, S, S), hidden region and condition


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
