"""CenterFace (arXiv 1911.03599), the network of the detector, from its ONNX file (MIT)."""

import functools
from pathlib import Path

import numpy as np

from .synthesis import session

WEIGHTS = Path(__file__).parents[1] / "checkpoints" / "centerface.onnx"
OUTPUTS = ["537", "538", "539", "540"]  # heat map, log size, offset, keypoints, at a quarter of the resolution


class CenterFace:
    """Runs the file by ONNX Runtime, for pictures of any size, which the file fixes.

    The file lists its weights as inputs, too. They are taken off that list: ONNX Runtime then merges layers, and is
    twice as fast.
    """

    def __init__(self) -> None:
        import onnx

        model = onnx.load(WEIGHTS)
        weights = {entry.name for entry in model.graph.initializer}
        (image,) = (entry for entry in model.graph.input if entry.name not in weights)
        del model.graph.input[:], model.graph.value_info[:]
        model.graph.input.append(image)
        for entry in (*model.graph.input, *model.graph.output):
            for axis in (0, 2, 3):
                entry.type.tensor_type.shape.dim[axis].dim_param = f"{entry.name}_{axis}"
        self._session = session(model)

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        """Runs the network.

        Args:
            image (`np.ndarray` of shape `(B, 3, H, W)`, float32):
                RGB from 0 to 255, sides multiples of 32.

        Returns:
            `list[np.ndarray]`: heat map `(B, 1, H / 4, W / 4)` from 0 to 1; logarithms of height and width, offset
            and five keypoints as fractions of the box, of 2, 2 and 10 channels, all (y, x).
        """
        return self._session.run(OUTPUTS, {"input.1": image})


@functools.cache
def load_centerface() -> CenterFace:
    """The network, loaded once: running it keeps no state."""
    return CenterFace()
