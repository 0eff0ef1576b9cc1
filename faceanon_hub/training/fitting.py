"""The loop that trains small networks on one core: AdamW, one cycle of the learning rate."""

import argparse
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import UnwritableError
from ..files import replacing
from ..networks.residual import ResidualNetwork

LEARNING_RATE, WEIGHT_DECAY = 3e-3, 0.02
WARM_UP = 0.3  # share of the steps in which the rate rises
KEEP_EVERY = 100  # steps

Batch = tuple[torch.Tensor, ...]


def fit(
    model: Any,
    batches: Callable[[np.random.Generator], Iterator[Batch]],
    loss: Callable[[Any, Batch], torch.Tensor],
    steps: int,
    folder: str | os.PathLike[str],
    seed: int = 0,
    bfloat16: bool = False,
) -> None:
    """Trains a network in place and saves it in half precision; a run that was broken off goes on at its last kept
    step.

    `batches` makes endless batches from a generator of numbers, `loss` is of the model and a batch. The weights go to
    `folder`; `training.pt` in it is the state between runs. `bfloat16` takes half as long on a processor that has it,
    ten times as long on one that has not.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    state, start = target / "training.pt", 0
    model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps, pct_start=WARM_UP)
    if state.exists():
        kept = torch.load(state, weights_only=True)
        for part, values in zip((model, optimizer, plan), kept["parts"], strict=True):
            part.load_state_dict(values)
        start = kept["step"]
    source = batches(np.random.default_rng([seed, start]))
    mean = 0.0
    with ThreadPoolExecutor(1) as ahead:
        waiting = ahead.submit(next, source)
        for step in range(start + 1, steps + 1):
            batch = waiting.result()
            waiting = ahead.submit(next, source)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                value = loss(model, batch)
            value.backward()
            optimizer.step()
            plan.step()
            mean += (value.item() - mean) / min(step - start, 50)
            if step % KEEP_EVERY == 0 or step == steps:
                parts = [part.state_dict() for part in (model, optimizer, plan)]
                with replacing(state, UnwritableError) as partial:
                    torch.save({"step": step, "parts": parts}, partial)
                print(f"step {step} of {steps}: loss {mean:.4f}", flush=True)
    save_half(model, target)


def arguments(about: str, sources: str, steps: int, batch_size: int) -> argparse.ArgumentParser:
    """What the commands that call [`fit`] ask for."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("sources", nargs="+", help=f"folders of {sources}")
    parser.add_argument("--folder", required=True, help="where the weights go")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bfloat16", action="store_true", help="on a processor that has it")
    return parser


def save_half(model: ResidualNetwork, folder: str | os.PathLike[str]) -> None:
    """Saves a network in half precision, and leaves it in single."""
    model.eval().half().to(memory_format=torch.contiguous_format).save_pretrained(folder)
    model.float()


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """Pictures `(B, S, S, 3)`, uint8, to `(B, 3, S, S)` in [-1, 1], channels last."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
