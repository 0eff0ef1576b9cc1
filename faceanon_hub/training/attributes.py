"""Labelled crops to the weights of [`AttributeEstimator`].

    python -m faceanon_hub.training.attributes CROPS... --folder WEIGHTS

The crops are those of [`training.crops`], the labels HSE-FaceRes's. About 12 minutes of one core that has bfloat16.
"""

import functools
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

from ..alignment import placement
from ..attributes import EXTENTS, MIDDLE_AGE, SPREAD_AGE, AttributeEstimator
from ..surroundings import APPEARANCE
from .crops import Crops, degrade, jitter, load_crops, occlude, recolor, warp_crop
from .fitting import arguments, fit, to_tensor

SEX, AGE = APPEARANCE.index("sex"), APPEARANCE.index("age")
SMALLEST = 26  # pixels of the crop, of which the face takes 20
AGES = np.arange(0, 101, 10)
RARE = 0.8  # power of the rarity of an age by which its faces are drawn more often


def batches(
    crops: Crops, sources: np.ndarray, size: int, count: int, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Endless augmented batches: crops `(B, 3, size, size)` in [-1, 1] and labels `(B, 2)`.

    Of each source, by its number `(N,)`, women are drawn as often as men: a network that sees three men in four press
    photos takes women there for men.
    """
    ages = np.digitize(crops.labels[:, AGE], AGES)
    chance = (1 / np.bincount(ages)[ages]) ** RARE
    kinds = 2 * sources + (crops.labels[:, SEX] > 0)
    for kind in np.unique(kinds):
        chance[kinds == kind] *= (sources == kind // 2).sum() / chance[kinds == kind].sum()
    chance /= chance.sum()
    while True:
        chosen = rng.choice(len(crops), count, p=chance)
        pictures = np.stack([_picture(crops.pixels[i], crops.points[i], size, rng) for i in chosen])
        yield to_tensor(pictures), torch.from_numpy(crops.labels[chosen][:, [SEX, AGE]])


def _picture(pixels: np.ndarray, points: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    center, extent, roll = placement(points)
    crop = recolor(rng)(warp_crop(pixels, jitter(center, EXTENTS * extent, roll, size, rng), size))
    if rng.random() < 0.15:
        crop = occlude(crop, rng)
    crop = degrade(crop, SMALLEST, rng)
    return crop[:, ::-1] if rng.random() < 0.5 else crop


def loss(model: AttributeEstimator, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Cross entropy with the teacher's chances of a man, so that surer than sure counts little; error of the age."""
    crops, labels = batch
    sex, age = model.network(crops).float().unbind(1)
    wanted = (labels[:, 1] - MIDDLE_AGE) / SPREAD_AGE
    distance = F.smooth_l1_loss(age, wanted, beta=0.2)
    return F.binary_cross_entropy_with_logits(sex, labels[:, 0].sigmoid()) + distance


def main() -> None:
    """Trains and saves; a run that was broken off goes on."""
    parser = arguments(__doc__, "crops", 2400, 32)
    parser.add_argument("--checkpoint", help="estimator to go on from; its network for glasses is kept")
    given = parser.parse_args()
    crops = load_crops(given.sources)
    sizes = [len(load_crops([source])) for source in given.sources]
    sources = np.repeat(np.arange(len(sizes)), sizes)
    torch.manual_seed(given.seed)
    model = AttributeEstimator.from_pretrained(given.checkpoint).float() if given.checkpoint else AttributeEstimator()
    draw = functools.partial(batches, crops, sources, model.config.sample_size, given.batch_size)
    fit(model, draw, loss, given.steps, given.folder, given.seed, given.bfloat16)


if __name__ == "__main__":
    main()
