"""The loop that fine-tunes a generator, and all that a run writes."""

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from .. import DEFAULT_CHECKPOINT, __version__
from ..errors import FaceAnonError, MissingDependencyError
from ..files import open_regular, replacing_folder, write_text
from ..generators.generator import FaceAnonGenerator
from ..io.photos import write_photo
from ..loading import load_quietly
from ..metrics.realism import EfficientNetFeatures, frechet_distance
from ..preview import people_sheet
from ..runs import claim_folder, make_folder
from .augmentation import augment
from .bank import OnFace, claim_bank
from .config import RESUMABLE, TrainingConfig
from .data import Draws, FaceShards
from .discriminators import ProjectedDiscriminator, discriminator_loss, generator_loss, gradient_penalty
from .fits import fit_pipeline, save_half
from .heads import fit_heads
from .memorization import FIRST_SEED, describe_draws, describe_faces, nearest_photos
from .preparation import read_manifest

BETAS = (0.0, 0.99)
MOST_AUGMENTED = 0.8  # chance from which on a generator would learn the augmentations
SIGNS = 0.95  # of the mean sign of photos' scores that is kept from one step to the next
LEAST_SIZE = 0.01  # root mean square of a layer's weights, below which its rate falls no further
PATIENCE = timedelta(hours=6)  # of the other processes, while one makes a checkpoint
SHEET_PEOPLE, SHEET_TRUNCATION = 24, 0.7
NETWORKS = ("generator", "ema", "discriminator")

Progress = Callable[[int, int, float], None]


def train(
    config: TrainingConfig,
    folder: str | os.PathLike[str],
    on_progress: Progress | None = None,
    stage: Callable[[str], OnFace] | None = None,
) -> Path:
    """Fine-tunes a generator, or goes on with a run that was stopped.

    Args:
        config ([`TrainingConfig`]):
            The run.
        folder (`str`):
            Where it writes: `checkpoint-STEPS`, each a pipeline in half precision, with averaged weights and a sampler
            fitted to them; `state-STEPS`, what the run goes on from; `samples`, sheets of drawn people;
            `metrics.jsonl` and `tensorboard`. No photo of the data is in any of them.
        on_progress (`Callable`, *optional*):
            Called after each step with its number, the number of all steps, and photos per second so far.
        stage (`Callable`, *optional*):
            Called while a checkpoint is made, as [`fits.fit_pipeline`] calls it.

    Returns:
        `Path`: the last checkpoint.

    Raises:
        MissingDependencyError: the extra `train` is not installed.
        FaceAnonError: the folder holds another run, or there is no data, or the weights are no longer finite.
        CheckpointError: there is no such checkpoint to start from.
    """
    return Trainer(config, folder, stage).run(on_progress)


class Trainer:
    """A run. Started with `accelerate launch`, it shares each step among all processes.

    What happens in a step follows from its number and the state before it: random numbers are drawn anew for each
    step, so that a run that is stopped and goes on ends at the same weights as one that is not. Arguments are as of
    [`train`]; the newest state in the folder is loaded.
    """

    def __init__(
        self,
        config: TrainingConfig,
        folder: str | os.PathLike[str],
        stage: Callable[[str], OnFace] | None = None,
    ) -> None:
        try:
            import tensorboard  # noqa: F401
            from accelerate import Accelerator, InitProcessGroupKwargs
        except ImportError as error:
            raise MissingDependencyError(error.name or "accelerate", "faceanon-hub[train]") from error
        self.folder, self.config = Path(folder), config
        self._stage = stage or (lambda name: lambda done, total: None)
        # Precision is ours, whatever the user's configuration of accelerate says.
        self.accelerator = Accelerator(
            mixed_precision="no",
            log_with="tensorboard",
            project_dir=str(self.folder),
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        self.device = self.accelerator.device
        self.step = 0
        self.seconds = 0.0
        self.chance = 0.0  # of an augmentation
        self.sign = 0.0  # mean sign of photos' scores, of the last steps

        self.training_set = FaceShards(config.data, "train", config.size)
        self.validation_set = FaceShards(config.data, "validation", config.size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self._make_networks()
        self._make_optimizers()
        if self.accelerator.is_main_process:
            self._claim()
        self.accelerator.wait_for_everyone()
        self._resume()

    @property
    def images(self) -> int:
        """Photos shown so far, by all processes."""
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

    def advance(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor | float]:
        """Takes one step: the discriminator learns, then the generator.

        Args:
            batch (`dict[str, torch.Tensor]`):
                Photos as [`FaceShards`] gives them.

        Returns:
            `dict`: the terms of the losses and the state of the augmentation.
        """
        image, valid = (batch[name].to(self.device, non_blocking=True).float() for name in ("image", "valid"))
        # Beyond a photo there is nothing to learn: drawn pictures are masked as the photos are.
        photos = (image / 127.5 - 1) * valid
        values = self._teach_discriminator(photos, valid)
        if self.step >= self.config.head_start:
            values |= self._teach_generator(valid)
        self.step += 1
        return values

    def _teach_discriminator(self, photos: torch.Tensor, valid: torch.Tensor) -> dict[str, torch.Tensor | float]:
        config, source = self.config, self._source(0)
        learned = self.discriminator.learned
        _require(learned, True)
        self.discriminator.advance()
        with torch.no_grad(), self._autocast():
            drawn = self._draw(len(photos), source) * valid
        with self._autocast():
            true = self._judge(photos, source)
            false = self._judge(drawn, source)
        loss = discriminator_loss(true, false)
        total, values = loss, {"discriminator": loss.detach()}
        if config.r1_weight and self.step % config.r1_every == 0:
            seen = photos.clone().requires_grad_(True)
            penalty = gradient_penalty(self._judge(seen, source), seen)
            total = loss + config.r1_weight / 2 * config.r1_every * penalty
            values["r1"] = penalty.detach()
        self._update(self._discriminator_optimizer, total)
        _require(learned, False)
        sign = self.accelerator.reduce(true.detach().float().sign().mean(), "mean")
        self.sign = SIGNS * self.sign + (1 - SIGNS) * float(sign)
        step = config.batch_size * self.accelerator.num_processes / config.augment_images
        self.chance = min(
            MOST_AUGMENTED, max(0.0, self.chance + math.copysign(step, self.sign - config.augment_target))
        )
        return {**values, "augmentation": self.chance, "photos_sign": self.sign}

    def _teach_generator(self, valid: torch.Tensor) -> dict[str, torch.Tensor | float]:
        source = self._source(1)
        with self._autocast():
            drawn = self._draw(len(valid), source) * valid
            loss = generator_loss(self._judge(drawn, source))
        norm = self._update(self._generator_optimizer, loss)
        self._average_weights()
        return {"generator": loss.detach(), "generator_norm": norm}

    def _draw(self, count: int, source: torch.Generator) -> torch.Tensor:
        """Pictures of random people, reduced to the size of the photos."""
        latents = torch.randn(count, self.generator.config.latent_size, generator=source, device=self.device)
        picture = self.generator(self.generator.style(latents)).float()
        return F.avg_pool2d(picture, picture.shape[-1] // self.config.size)

    def _judge(self, pictures: torch.Tensor, source: torch.Generator) -> torch.Tensor:
        return self.discriminator(augment(pictures, self.chance, source), source)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.mixed_precision == "bf16")

    def _update(self, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> torch.Tensor:
        """A step of an optimizer. Returns the norm of the gradient."""
        optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if self.accelerator.num_processes > 1:
            # All at once: a wrapper that averages while the gradient is computed allows one pass a step, not two.
            gradients = [parameter.grad for parameter in parameters]
            mean = self.accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), "mean")
            for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient))
        norm = nn.utils.get_total_norm(parameter.grad for parameter in parameters if parameter.grad is not None)
        optimizer.step()
        return norm.detach()

    def _source(self, use: int) -> torch.Generator:
        sequence = np.random.SeedSequence([self.config.seed, self.accelerator.process_index, self.step, use])
        return torch.Generator(self.device).manual_seed(int(sequence.generate_state(1)[0]))

    @torch.no_grad()
    def _average_weights(self) -> None:
        batch = self.config.batch_size * self.accelerator.num_processes
        keep = 0.5 ** (batch / max(self.config.ema_images, 1e-6))
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.generator.parameters()), 1 - keep)

    # What a run is made of

    def _make_networks(self) -> None:
        config = self.config
        self.pipe = load_quietly(config.start or str(DEFAULT_CHECKPOINT))
        if self.pipe.recognizer is None or self.pipe.attribute_estimator is None:
            raise FaceAnonError("the checkpoint lacks the recognizer or the attribute estimator")
        generator = self.pipe.generator
        if generator.config.sizes[-1] % config.size or config.size > generator.config.sizes[-1]:
            raise FaceAnonError(f"pictures of {generator.config.sizes[-1]} px are not compared at {config.size} px")
        self.ema = deepcopy(generator).eval().requires_grad_(False).to(self.device, memory_format=torch.channels_last)
        self.generator = deepcopy(self.ema).train()
        _require(self.generator.shaping(config.size), True)
        self.discriminator = ProjectedDiscriminator(config.size).requires_grad_(False).to(self.device)
        self._people: np.ndarray | None = None  # embeddings of the training photos, in memory alone

    def _make_optimizers(self) -> None:
        config, fused = self.config, self.device.type == "cuda"
        mapping = {id(parameter) for parameter in self.generator.mapping.parameters()}
        groups = []
        for parameter in self.generator.parameters():
            if parameter.requires_grad:
                # As equalized learning rates do (arXiv 1710.10196), but for weights as they come.
                size = max(LEAST_SIZE, float(parameter.detach().square().mean().sqrt()))
                rate = config.learning_rate * size * (config.mapping_rate if id(parameter) in mapping else 1.0)
                groups.append({"params": [parameter], "lr": rate})
        self._generator_optimizer = torch.optim.Adam(groups, betas=BETAS, fused=fused)
        self._discriminator_optimizer = torch.optim.Adam(
            self.discriminator.learned, config.discriminator_learning_rate, BETAS, fused=fused
        )

    def _batches(self) -> Iterator[dict[str, torch.Tensor]]:
        config = self.config
        steps = range(self.step, config.steps)
        draws = Draws(len(self.training_set), config.batch_size, steps, config.seed, self.accelerator.process_index)
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
        """People drawn by the averaged weights, always of the same latents."""
        generator = deepcopy(self.ema)  # with weights of now: what it draws by keeps those of its first picture
        generator.measure_mean_style()
        return people_sheet(generator, generator.style(generator.latents(range(SHEET_PEOPLE)), SHEET_TRUNCATION))

    def save(self, seconds: float) -> Path:
        """Writes a checkpoint and the state, each whole or not at all. Returns the checkpoint."""
        self.save_state(seconds)
        pipe = self._pipeline(seconds)
        checkpoint = self.folder / f"checkpoint-{self.step:06d}"
        with replacing_folder(checkpoint) as partial:
            save_half(pipe, partial)
        self._write_metrics({**pipe.generator.config.record["validation"]})
        return checkpoint

    def save_state(self, seconds: float) -> None:
        """Writes what the run goes on from, whole or not at all."""
        self._check_finite()
        with replacing_folder(self.folder / f"state-{self.step:06d}") as partial:
            torch.save({"step": self.step, "seconds": seconds, **self._parts()}, partial / "state.pt")
        for old in self._states()[: -self.config.keep_states]:
            shutil.rmtree(old)

    def _pipeline(self, seconds: float) -> Any:
        """The pipeline of the averaged weights: all that is fitted to a generator is fitted anew."""
        config, pipe = self.config, self.pipe
        generator = deepcopy(self.ema).to("cpu", memory_format=torch.contiguous_format)
        generator.measure_mean_style()
        if isinstance(generator, FaceAnonGenerator) and len(generator.config.sizes) > 1:
            with torch.enable_grad():
                generator.requires_grad_(True)
                fit_heads(generator, on_face=self._stage("heads"))
                generator.requires_grad_(False)
        pipe.register_modules(generator=generator.to(self.device))
        bank = self.folder / "bank"
        try:
            claim_bank(generator, bank)
        except FaceAnonError:  # of other weights
            shutil.rmtree(bank, ignore_errors=True)
        fit_pipeline(pipe, bank, config.bank, stage=self._stage)
        shutil.rmtree(bank)
        recognizer, read = pipe.recognizer, pipe.landmark_extractor.read
        assert recognizer is not None
        if self._people is None:
            self._people = describe_faces(self.training_set, recognizer)
        seeds = range(FIRST_SEED, FIRST_SEED + config.draws)
        draws, pictures = describe_draws(generator, recognizer, read, seeds)
        generator.to("cpu")
        if not len(draws):
            raise FaceAnonError(f"{self.folder}: no drawn picture shows a face any more; the last checkpoint is good")
        nearest = nearest_photos(config.draws, draws, self._people, describe_faces(self.validation_set, recognizer))
        generator.register_to_config(record=self._record(seconds, nearest, self._validate(pictures)))
        return pipe

    def _validate(self, pictures: list[np.ndarray]) -> dict[str, float]:
        """Fréchet distance of drawn pictures from held-out photos, over the number of features of EfficientNet."""
        count = min(len(self.validation_set), len(pictures))
        if count < 2:
            return {}
        describe, size = EfficientNetFeatures(), self.config.size
        photos, drawn = [], []
        for number in range(count):
            sample = self.validation_set[number]
            valid = sample["valid"].permute(1, 2, 0).numpy()
            photos.append(sample["image"].permute(1, 2, 0).numpy() * valid)
            drawn.append(cv2.resize(pictures[number], (size, size), interpolation=cv2.INTER_AREA) * valid)
        features = describe(photos), describe(drawn)
        return {"frechet": round(frechet_distance(*features) / features[0].shape[1], 5)}

    def _record(self, seconds: float, nearest: dict[str, Any], measured: dict[str, float]) -> dict[str, Any]:
        sources: dict[str, Any] = {}
        for folder in self.config.data:
            for name, entry in read_manifest(folder)["sources"].items():
                sources[name] = {"licence": entry["licence"], "samples": entry["samples"]["train"]}
        start = self.config.start
        return {
            "version": __version__,
            "steps": self.step,
            "images": self.images,
            "seconds": round(seconds),
            "sources": sources,
            "started_from": "bundled" if start is None else Path(start).name,
            "before": self.ema.config.record,
            "nearest": nearest,
            "validation": measured,
            "config": {**self.config.model_dump(mode="json"), "data": sorted(sources), "start": None},
        }

    def _parts(self) -> dict[str, Any]:
        """All that a run goes on from."""
        holders = {name: getattr(self, name) for name in NETWORKS} | {
            "generator_optimizer": self._generator_optimizer,
            "discriminator_optimizer": self._discriminator_optimizer,
        }
        state = {name: holder.state_dict() for name, holder in holders.items()}
        return {**state, "chance": self.chance, "sign": self.sign}

    def _states(self) -> list[Path]:
        return sorted(self.folder.glob("state-[0-9]*"))

    def _resume(self) -> None:
        states = self._states()
        if not states:
            return
        with open_regular(states[-1] / "state.pt") as file:
            state = torch.load(file, map_location=self.device, weights_only=True)
        self.step, self.seconds, self.chance, self.sign = (
            state[name] for name in ("step", "seconds", "chance", "sign")
        )
        for name in NETWORKS:
            getattr(self, name).load_state_dict(state[name])
        self._generator_optimizer.load_state_dict(state["generator_optimizer"])
        self._discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        main = self.accelerator.is_main_process
        log = self.folder / "metrics.jsonl"
        if main and log.is_file():  # what came after the state is done again
            lines = [line for line in log.read_text().splitlines() if json.loads(line)["step"] <= self.step]
            write_text(log, "".join(f"{line}\n" for line in lines))
        if main and not (self.folder / f"checkpoint-{self.step:06d}").exists():  # it was stopped between the two
            self.save(self.seconds)

    def _claim(self) -> None:
        settings = {**self.config.model_dump(mode="json"), "processes": self.accelerator.num_processes}
        claim_folder(self.folder, settings, "config.json", RESUMABLE)
        make_folder(self.folder / "samples")

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


def _require(parameters: Any, wanted: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(wanted)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
