"""From a bank of drawn faces to the coefficients of the style sampler."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import FaceAnonError
from ..look import ROWS
from ..sampling import StyleSampler
from .bank import DrawnFaces, OnFace, claim_bank, draw_bank, look_at_bank, population
from .following import follow

if TYPE_CHECKING:
    from ..pipeline import FaceAnonPipeline

RIDGE, IDENTITY_RIDGE = 0.1, 0.3  # of the variance of each number of a style
EPOCHS, RATE, DECAY, DROPOUT, JITTER, BATCH = 50, 3e-4, 0.3, 0.3, 0.1, 128
HELD_OUT = 0.08  # of the faces: the test set of the fit
FEWEST = 1000
KEPT = ("rounds", "truncation", "reach", "push", "leave")  # settings of a sampler that are not fitted


def fit_pipeline(
    pipe: FaceAnonPipeline,
    bank: str | os.PathLike[str],
    count: int,
    stage: Callable[[str], OnFace] = lambda name: lambda done, total: None,
) -> dict[str, float]:
    """Gives a pipeline the sampler that its generator needs: draws a bank of faces, looks at it, fits.

    Cut off, it goes on where it was. The sampler's settings stay.

    Args:
        pipe ([`FaceAnonPipeline`]):
            Gets the new sampler.
        bank (`str`):
            Folder for the drawn faces, of this generator alone.
        count (`int`):
            Faces to draw.
        stage (`Callable`, *optional*):
            Called with the name of each stage; returns the function that is called with its progress.

    Returns:
        `dict`: for each row of a look the share of its variance that a style explains.

    Raises:
        FaceAnonError: the bank is another generator's, or there are too few faces.
    """
    generator, read, recognizer, estimator = (
        pipe.generator, pipe.landmark_extractor.read, pipe.recognizer, pipe.attribute_estimator,
    )  # fmt: skip
    if recognizer is None or estimator is None:
        raise FaceAnonError("the checkpoint lacks the recognizer or the attribute estimator")
    claim_bank(generator, bank)
    draw_bank(generator, bank, count, stage("drawing"))
    faces = look_at_bank(generator, bank, count, read, recognizer, estimator.read, stage("looking"))
    sampler, explained = fit_sampler(faces, population(generator), stage("fitting"))
    sampler.register_to_config(**{name: pipe.sampler.config[name] for name in KEPT})
    pipe.register_modules(sampler=sampler)
    return explained


def follow_photos(pipe: FaceAnonPipeline, looks: np.ndarray) -> float:
    """Makes the draws of a pipeline, whose sampler is fitted, follow looks `(N, 7)` of photos; see
    [`following.follow`].

    Returns:
        `float`: the share of the generator's faces that are like those of the photos.
    """
    sampler, share = follow(pipe.sampler, population(pipe.generator), looks)
    pipe.register_modules(sampler=sampler)
    return share


def save_half(pipe: FaceAnonPipeline, folder: str | os.PathLike[str]) -> None:
    """Saves a pipeline in half precision, and leaves its networks rounded to it, in single."""
    networks = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    for network in networks:
        network.half()
    try:
        pipe.save_pretrained(folder)
    finally:
        for network in networks:
            network.float()


def fit_sampler(
    faces: DrawnFaces,
    population: np.ndarray,
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[StyleSampler, dict[str, float]]:
    """Fits the looks of styles by ridge regression, and what it misses by a small network.

    Args:
        faces ([`DrawnFaces`]):
            The bank.
        population (`np.ndarray` of shape `(M, style_size)`):
            Styles of M other latents, whose mean and covariance stand for all.
        on_epoch (`Callable`, *optional*):
            Called after each epoch with their number so far and in all.

    Returns:
        `tuple`: the sampler, and for each row the share of the variance that it explains in faces held out.

    Raises:
        FaceAnonError: fewer than `FEWEST` faces, or a row is unknown in one of them.
    """
    count = len(faces.styles)
    if count < FEWEST:
        raise FaceAnonError(f"{count} drawn faces are too few for a fit, at least {FEWEST}")
    unknown = np.isnan(faces.looks).any(0)
    if unknown.any():
        names = ", ".join(name for name, missing in zip(ROWS, unknown, strict=True) if missing)
        raise FaceAnonError(f"the looks of drawn faces lack {names}")
    order = np.random.default_rng(0).permutation(count)
    tests, lessons = np.split(order, [round(HELD_OUT * count)])
    middle, spread = faces.looks.mean(0), faces.looks.std(0) + 1e-6
    looks = (faces.looks - middle) / spread
    linear = _ridge(faces.styles[lessons], looks[lessons], RIDGE)
    network, offset = _train(faces.styles, looks - faces.styles @ linear, lessons, on_epoch)
    inner, bias, outer = network
    x = faces.styles[tests] @ inner + bias
    missed = looks[tests] - (faces.styles[tests] @ linear + (x / (1 + np.exp(-x))) @ outer + offset)
    varies = looks[tests].var(0)
    # A row that never varies cannot be explained.
    shares = np.divide((missed**2).mean(0), varies, out=np.ones_like(varies), where=varies > 0)
    stranger = faces.identities.mean(0)
    mean = population.mean(0)
    values, vectors = np.linalg.eigh(np.cov(population.T))
    sampler = StyleSampler(list(ROWS), len(bias), style_size=len(mean), bank=count)
    for name, value in {
        "mean": mean,
        "factor": vectors * np.sqrt(values.clip(0)),
        "linear": linear,
        "inner": inner,
        "bias": bias,
        "outer": outer,
        "offset": offset,
        "middle": middle,
        "spread": spread,
        "missed": shares,
        "identity": _ridge(faces.styles, faces.identities - stranger, IDENTITY_RIDGE),
        "stranger": stranger,
    }.items():
        getattr(sampler, name).copy_(torch.from_numpy(value))
    return sampler, dict(zip(ROWS, (1 - shares).tolist(), strict=True))


def _ridge(styles: np.ndarray, values: np.ndarray, penalty: float) -> np.ndarray:
    ridge = penalty * len(styles) * np.diag(styles.var(0))
    return np.linalg.solve(styles.T @ styles + ridge, styles.T @ values)


def _train(
    styles: np.ndarray, rest: np.ndarray, lessons: np.ndarray, on_epoch: Callable[[int, int], None], hidden: int = 384
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """A network of one hidden layer for what the linear map misses; its weights for unscaled styles."""
    scale = styles.std(0)
    x, y = (torch.from_numpy(v).float() for v in (styles[lessons] / scale, rest[lessons]))
    generator = torch.Generator().manual_seed(0)
    size, count = x.shape[1], y.shape[1]
    inner = torch.randn(size, hidden, generator=generator) / size**0.5
    bias, outer, offset = torch.zeros(hidden), torch.zeros(hidden, count), torch.zeros(count)
    weights = [v.requires_grad_() for v in (inner, bias, outer, offset)]
    optimizer = torch.optim.AdamW(weights, RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4 * RATE, EPOCHS * -(-len(x) // BATCH))
    for epoch in range(EPOCHS):
        for few in torch.randperm(len(x), generator=generator).split(BATCH):
            lesson = x[few] + JITTER * torch.randn(len(few), size, generator=generator)
            kept = (torch.rand(len(few), hidden, generator=generator) > DROPOUT) / (1 - DROPOUT)
            predicted = (F.silu(lesson @ inner + bias) * kept) @ outer + offset
            loss = (predicted - y[few]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        on_epoch(epoch + 1, EPOCHS)
    found = [v.detach().double().numpy() for v in weights]
    return (found[0] / scale[:, None], found[1], found[2]), found[3]
