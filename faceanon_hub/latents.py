"""Photos to a generator whose new people go with hair and clothes: of a likely sex and age."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .errors import FaceAnonError
from .faces import derived_seed, largest_face
from .generator import FaceAnonGenerator
from .hub import DEFAULT_CHECKPOINT, read_record
from .io import read_photo
from .metrics.identity import FaceRes
from .pipeline import FaceAnonPipeline, decode_crops
from .training.weights import describe, save_half

ATTRIBUTES = ("sex", "age")
STRENGTHS = (1.5, 0.5)  # standard deviations of the latent along a direction, for one of what the surroundings tell
KEPT = 0.7  # of what the latent itself says
LATENTS = 2  # new faces a photo
FEWEST = 100
SURE = 2.0  # log odds from which on a face counts as a man's or a woman's
RIDGE_LATENT, RIDGE_CONTEXT = 30.0, 10.0
FOLDS = 6

# Photo (H, W, 3) uint8 and landmarks (478, 3) to the log odds of a man, and years.
Judge = Callable[[np.ndarray, np.ndarray], np.ndarray]


class FaceResJudge(FaceRes):
    r"""Apparent sex and age by [`metrics.identity.FaceRes`].

    Args:
        path (`str`):
            `faceres.json`, with its weights beside it.

    Raises:
        UnreadableError: the file is missing or damaged, or another graph.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path, ["gender_pred/BiasAdd", "age_pred/BiasAdd"])

    def __call__(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """As [`metrics.DlibRecognizer`], but returns shape `(2,)`, float64: log odds of a man, up to 9, and years."""
        sex, ages = self.read(image, landmarks)
        years = float(ages.softmax(0) @ torch.arange(len(ages), dtype=torch.float32))
        return np.array([float(sex[0].clamp(-9, 9)), years])


@dataclass(frozen=True)
class Looks:
    """What a judge says of N faces and of the K new ones painted for each.

    Args:
        old (`np.ndarray` of shape `(N, 2)`):
            Of the originals: `ATTRIBUTES`.
        new (`np.ndarray` of shape `(N, K, 2)`):
            Of the new faces.
        latents (`np.ndarray` of shape `(N, K, 64)`):
            Of these, in the length in which the network takes them.
        contexts (`np.ndarray` of shape `(N, 256)`):
            What the network took from the surroundings, see [`FaceAnonGenerator.summarize`].
    """

    old: np.ndarray
    new: np.ndarray
    latents: np.ndarray
    contexts: np.ndarray


def look(
    pipe: FaceAnonPipeline,
    judge: Judge,
    photos: Sequence[str | os.PathLike[str]],
    on_photo: Callable[[int, int], None] = lambda done, total: None,
) -> Looks:
    """Paints new faces for the largest one of each photo, and judges all.

    Args:
        pipe ([`FaceAnonPipeline`]):
            Finds and paints.
        judge (`Judge`):
            Says sex and age.
        photos (`list[str]`):
            Files.
        on_photo (`Callable`, *optional*):
            Called after each photo with their number so far and in all.

    Raises:
        UnreadableImageError: a photo cannot be read.
        FaceAnonError: no face was found.
    """
    rows: list[tuple[np.ndarray, ...]] = []
    options, generator = pipe.resolve(), pipe.generator
    length = generator.config.latent_size**0.5
    for number, path in enumerate(photos):
        photo = read_photo(path)
        face = largest_face(pipe.find_faces(photo.pixels))
        if face is not None and face.landmarks is not None:
            face.seed = derived_seed(0, number)
            for job in pipe.prepare_scene(photo, [face], options).jobs:
                with torch.no_grad():
                    context = pipe.summarize([job])
                new, latents = [], []
                for seed in (derived_seed(face.seed, k) for k in range(LATENTS)):
                    job.face.seed = seed
                    (crop,) = decode_crops(pipe.generate([job], options)["crops"])
                    new.append(judge(pipe.correct(job, crop, options), job.points))
                    latent = generator.draw(seed)[0]
                    latents.append((length * latent / latent.norm()).numpy())
                old = judge(photo.pixels, face.landmarks)
                rows.append((old, np.array(new), np.array(latents), context[0].numpy()))
        on_photo(number + 1, len(photos))
    if not rows:
        raise FaceAnonError(f"no face was found in {len(photos)} photos")
    return Looks(*(np.array(column, float) for column in zip(*rows, strict=True)))


def agreement(looks: Looks) -> dict[str, float]:
    """How far new faces have the sex and age of the old ones.

    Returns:
        `dict[str, float]`: `same sex`, the share where the judge is sure of the old one's; `women`, `men`, the same by
        sex; `age`, the correlation.
    """
    sex, age = np.moveaxis(looks.new, 2, 0)
    old, sure = looks.old[:, 0], np.abs(looks.old[:, 0]) > SURE
    same = ((sex > 0) == (old > 0)[:, None]).mean(1)
    years = np.broadcast_to(looks.old[:, 1:], age.shape)
    return {
        "same sex": float(same[sure].mean()),
        "women": float(same[sure & (old < 0)].mean()),
        "men": float(same[sure & (old > 0)].mean()),
        "age": float(np.corrcoef(years.ravel(), age.ravel())[0, 1]),
    }


def fit_latents(
    generator: FaceAnonGenerator, looks: Looks, strengths: Sequence[float] = STRENGTHS, kept: float = KEPT
) -> dict[str, Any]:
    """Makes the latent of a face go with its surroundings, in place, by the first layer that sees both.

    Sex and age are, in good part, directions of the latent (InterFaceGAN, arXiv 1907.10786), whatever the hair says,
    and what they were can be read from the surroundings by linear regression. With directions D, their duals E, and
    readings r of the context, the layer then takes z + E (strength * r - (1 - kept) D^T z) for a latent z: it is
    linear, so that only its weights change.

    Args:
        generator ([`FaceAnonGenerator`]):
            To be changed.
        looks ([`Looks`]):
            Of this generator, from photos it may learn of.
        strengths (`tuple[float, float]`, *optional*, defaults to `STRENGTHS`):
            Of sex and age; 0 leaves one alone.
        kept (`float`, *optional*, defaults to `KEPT`):
            Share of the latent's own word, 0 to 1.

    Returns:
        `dict`: for each attribute, what part of the variance the latent explains within a photo (`latent`), and the
        context between them (`context`), both in photos that were left out.

    Raises:
        FaceAnonError: fewer than `FEWEST` faces.
    """
    if len(looks.old) < FEWEST:
        raise FaceAnonError(f"{len(looks.old)} faces are too few to learn directions of, at least {FEWEST}")
    count, each = looks.new.shape[:2]
    within = (looks.latents - looks.latents.mean(1, keepdims=True)).reshape(count * each, -1)
    photo = np.repeat(np.arange(count), each)
    directions, readings, shifts, told = [], [], [], {}
    for number, name in enumerate(ATTRIBUTES):
        change = (looks.new[..., number] - looks.new[..., number].mean(1, keepdims=True)).ravel()
        latent_fit = _explained(within, change, RIDGE_LATENT, photo)
        # Beyond these odds, surer is not more so.
        wanted = looks.old[:, number].clip(-2 * SURE, 2 * SURE) if name == "sex" else looks.old[:, number]
        context_fit = _explained(looks.contexts, wanted, RIDGE_CONTEXT, np.arange(count))
        told[name] = {"latent": latent_fit, "context": context_fit}
        if not strengths[number]:
            continue
        direction = _ridge(within, change, RIDGE_LATENT)[0]
        slope = _ridge(looks.contexts, wanted, RIDGE_CONTEXT)[0]
        slope *= strengths[number] / (looks.contexts @ slope).std()
        directions.append(direction / np.linalg.norm(direction))
        readings.append(slope)
        shifts.append(-looks.contexts.mean(0) @ slope)
    if not directions:
        return told
    along, read, shift = (torch.tensor(np.array(rows)) for rows in (directions, readings, shifts))
    dual = torch.linalg.pinv(along)  # moves a latent along one direction, and not along the other
    layer: Any = generator.mapping[0]
    latent, context = layer.weight.detach().double().cpu().split([along.shape[1], read.shape[1]], 1)
    moved = latent @ dual
    changed = torch.cat([latent - (1 - kept) * moved @ along, context + moved @ read], 1)
    with torch.no_grad():
        layer.bias += (moved @ shift).to(layer.bias)
        layer.weight.copy_(changed)
    return told


def fit_checkpoint(
    pipe: FaceAnonPipeline,
    looks: Looks,
    folder: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] = DEFAULT_CHECKPOINT,
    **options: Any,
) -> dict[str, Any]:
    """Saves a checkpoint whose network was changed by [`fit_latents`], in half precision.

    Args:
        pipe ([`FaceAnonPipeline`]):
            What was looked at. Its network is changed.
        looks ([`Looks`]):
            From [`look`].
        folder (`str`):
            Where it is saved; it must not exist.
        checkpoint (`str`, *optional*, defaults to `DEFAULT_CHECKPOINT`):
            Where the pipeline came from: its record of training is kept.
        options (*optional*):
            Those of [`fit_latents`].

    Returns:
        `dict`: as [`fit_latents`].

    Raises:
        FaceAnonError: too few faces, or the folder exists.
        UnwritableError: it cannot be written.
    """
    target = Path(folder)
    if target.exists():
        raise FaceAnonError(f"{target}: exists already")
    told = fit_latents(pipe.generator, looks, **options)
    record = read_record(checkpoint) or {"started_from": describe(checkpoint)}
    save_half(pipe, pipe.generator, target, {**record, "latents": len(looks.old)})
    return told


def _ridge(rows: np.ndarray, values: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Slope and intercept of a ridge regression."""
    middle, centred = rows.mean(0), rows - rows.mean(0)
    normal = centred.T @ centred + penalty * np.eye(rows.shape[1])
    slope = np.linalg.solve(normal, centred.T @ (values - values.mean()))
    return slope, float(values.mean() - middle @ slope)


def _explained(rows: np.ndarray, values: np.ndarray, penalty: float, photo: np.ndarray) -> float:
    """Share of the variance that a regression explains in photos that it has not seen."""
    fold = np.random.default_rng(0).integers(0, FOLDS, photo.max() + 1)[photo]
    missed = np.zeros(len(values))
    for number in range(FOLDS):
        slope, intercept = _ridge(rows[fold != number], values[fold != number], penalty)
        missed[fold == number] = (values - rows @ slope - intercept)[fold == number]
    return float(1 - (missed**2).sum() / ((values - values.mean()) ** 2).sum())
