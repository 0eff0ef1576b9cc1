"""A generator of few weights that draws faces, and photos for short runs."""

import cv2
import numpy as np
import torch

from faceanon_hub import StyleGAN2Generator

SIZE = 64
LARGEST, CHANNELS, AMPLITUDE = 128, 8, 8.0  # pixels drawn; width of all features; of the noise beside the features


def variant(portrait: np.ndarray, number: int) -> np.ndarray:
    """The portrait's head, 256 px, otherwise placed and lit for each number."""
    matrix = cv2.getRotationMatrix2D((224, 118), 4 * (number % 5 - 2), 1 + 0.04 * (number % 3))
    matrix[:, 2] += [128 - 224 + 3 * (number % 7), 128 - 118 - 2 * (number % 4)]
    picture = cv2.warpAffine(portrait, matrix, (256, 256), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    if number % 2:
        picture = picture[:, ::-1]
    return np.clip(picture * (0.7 + 0.08 * (number % 6)), 0, 255).astype(np.uint8)


@torch.no_grad()
def little_prior(portrait: np.ndarray) -> StyleGAN2Generator:
    """A StyleGAN2 whose constant noise shows the portrait in grey; styles change colours and light."""
    torch.manual_seed(0)
    generator = StyleGAN2Generator(16, 16, [CHANNELS] * 6, [LARGEST], mapping_layers=2).eval()
    head = cv2.resize(variant(portrait, 0)[16:-16, 16:-16], (LARGEST, LARGEST), interpolation=cv2.INTER_AREA)
    gray = torch.from_numpy(cv2.cvtColor(head, cv2.COLOR_RGB2GRAY)).float() / 255
    for level in generator.levels:
        level.picture.mix.weight.mul_(0.05)
    last = generator.levels[-1]
    last.second.noise.copy_(AMPLITUDE * gray)
    last.picture.scale.weight.zero_()
    last.picture.scale.bias.fill_(1.0)
    last.picture.mix.weight.fill_(2 / (AMPLITUDE * 2**0.5 * CHANNELS))
    last.picture.mix.bias.fill_(-1.0)
    generator.measure_mean_style()
    return generator
