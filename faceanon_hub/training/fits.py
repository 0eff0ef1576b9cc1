"""From a bank of drawn faces to the coefficients of the style sampler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import FaceAnonError
from ..look import ROWS
from ..sampling import StyleSampler

RIDGE, IDENTITY_RIDGE = 0.1, 0.3  # of the variance of each number of a style
EPOCHS, RATE, DECAY, DROPOUT, JITTER, BATCH = 50, 3e-4, 0.3, 0.3, 0.1, 128
HELD_OUT = 0.08  # of the faces, which tell what the fit misses
FEWEST = 1000


@dataclass(frozen=True)
class DrawnFaces:
    """What N drawn faces are and show.

    Args:
        styles (`np.ndarray` of shape `(N, 512)`):
            Less the mean of all styles.
        looks (`np.ndarray` of shape `(N, R)`):
            See [`~faceanon_hub.look.look`].
        identities (`np.ndarray` of shape `(N, 256)`):
            Embeddings by [`FaceRecognizer`].
    """

    styles: np.ndarray
    looks: np.ndarray
    identities: np.ndarray


def fit_sampler(
    faces: DrawnFaces,
    population: np.ndarray,
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[StyleSampler, dict[str, float]]:
    """Fits the looks of styles by ridge regression, and what it misses by a small network.

    Args:
        faces ([`DrawnFaces`]):
            The bank.
        population (`np.ndarray` of shape `(M, 512)`):
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
    shares = (missed**2).mean(0) / looks[tests].var(0)
    stranger = faces.identities.mean(0)
    mean = population.mean(0)
    values, vectors = np.linalg.eigh(np.cov(population.T))
    sampler = StyleSampler(rows=list(ROWS), hidden_size=len(bias))
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
            told = (F.silu(lesson @ inner + bias) * kept) @ outer + offset
            loss = (told - y[few]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        on_epoch(epoch + 1, EPOCHS)
    found = [v.detach().double().numpy() for v in weights]
    return (found[0] / scale[:, None], found[1], found[2]), found[3]
