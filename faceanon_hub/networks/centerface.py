"""CenterFace (arXiv 1911.03599), the network of the detector, from its ONNX file (MIT)."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

WEIGHTS = Path(__file__).parents[1] / "checkpoints" / "centerface.onnx"
OUTPUTS = ["537", "538", "539", "540"]  # heat map, log size, offset, keypoints, at a quarter of the resolution


class CenterFace:
    """Runs the file node by node in PyTorch: the same numbers as ONNX Runtime, to 1e-4, in two thirds of its time.

    The file fixes the size of its input; here it is free.
    """

    def __init__(self) -> None:
        import onnx

        graph = onnx.load(WEIGHTS).graph
        self._constants = {entry.name: _tensor(onnx.numpy_helper.to_array(entry)) for entry in graph.initializer}
        self._nodes: list[tuple[Callable[..., torch.Tensor], list[str], str, set[str]]] = []
        needed = set(OUTPUTS)
        for node in reversed(graph.node):
            options = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
            spent = set(node.input) - needed - self._constants.keys()
            self._nodes.insert(0, (_operation(node.op_type, options), list(node.input), node.output[0], spent))
            needed |= set(node.input)

    @torch.inference_mode()
    def __call__(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Runs the network.

        Args:
            image (`torch.Tensor` of shape `(B, 3, H, W)`, float32):
                RGB from 0 to 255, sides multiples of 32; fastest in `torch.channels_last`.

        Returns:
            `list[torch.Tensor]`: heat map `(B, 1, H / 4, W / 4)` from 0 to 1; logarithms of height and width, offset
            and five keypoints as fractions of the box, of 2, 2 and 10 channels, all (y, x).
        """
        values = {"input.1": image}
        for operation, inputs, output, spent in self._nodes:
            values[output] = operation(*(self._constants[i] if i in self._constants else values[i] for i in inputs))
            for name in spent:
                del values[name]
        return [values[name] for name in OUTPUTS]


@functools.cache
def load_centerface() -> CenterFace:
    """The network, loaded once: running it keeps no state."""
    return CenterFace()


def _tensor(array: Any) -> torch.Tensor:
    tensor = torch.tensor(array)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def _operation(name: str, options: dict[str, Any]) -> Callable[..., torch.Tensor]:
    """One of the six operations that the file consists of."""
    if name == "Conv":
        kernel = {"stride": options["strides"], "padding": options["pads"][:2], "groups": options["group"]}
        return functools.partial(F.conv2d, **kernel)
    if name == "ConvTranspose":
        return functools.partial(F.conv_transpose2d, stride=options["strides"], groups=options["group"])
    if name == "BatchNormalization":
        return lambda x, scale, shift, mean, var: F.batch_norm(x, mean, var, scale, shift, eps=options["epsilon"])
    simple: dict[str, Callable[..., torch.Tensor]] = {"Relu": torch.relu_, "Add": torch.add, "Sigmoid": torch.sigmoid}
    return simple[name]
