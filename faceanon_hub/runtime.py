"""The generator's synthesis on CPUs: an ONNX graph made of the module's weights, run by ONNX Runtime."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from .generator import FaceAnonGenerator, Level, StyledConv

ROWS = 32  # of a level's input that are worked off at a time: large levels then fit a processor's caches
OPSET, IR_VERSION = 18, 9
# What the four bands of a Haar transform add to each 2 x 2 pixels.
HAAR = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], np.float32).reshape(4, 1, 2, 2)


class OnnxRuntime:
    r"""Draws pictures by a chain of sessions, each made when it is first needed.

    Sessions hand features on, from one size to the next, so each weight is held once whatever the sizes. They compute
    what [`FaceAnonGenerator.forward`] does, in single precision, another way: a transposed convolution, whose few
    weights the style scales, does the inverse Haar transform, and large levels are worked off in strips. The result
    does not depend on the number of threads, which is torch's.

    Args:
        generator ([`FaceAnonGenerator`]):
            Whose weights are taken.
    """

    def __init__(self, generator: FaceAnonGenerator) -> None:
        self.generator = generator
        self.sizes = [int(size) for size in generator.heads]
        self.sessions: dict[tuple[str, int], Any] = {}
        self.building = threading.Lock()

    def __call__(self, styles: np.ndarray, size: int) -> np.ndarray:
        """Draws one face after another.

        Args:
            styles (`np.ndarray` of shape `(B, L, S)`, float32):
                A style for each layer.
            size (`int`):
                Side of the pictures in pixels.

        Returns:
            `np.ndarray` of shape `(B, size, size, 3)`, uint8: RGB.
        """
        pictures = np.empty((len(styles), size, size, 3), np.uint8)
        for picture, style in zip(pictures, styles, strict=True):
            values = {"style": style[None]}
            for step in self._steps(size):
                (result,) = self._session(*step).run(None, values)
                values["features"] = result
            # Twelve values of half the size are the colours of 2 x 2 pixels.
            squares = result.reshape(3, 2, 2, size // 2, size // 2).transpose(3, 1, 4, 2, 0)
            picture.reshape(size // 2, 2, size // 2, 2, 3)[:] = squares
        return pictures

    def _steps(self, size: int) -> list[tuple[str, int]]:
        # The largest features are never put together: its strips go to the head one by one.
        passed = [each for each in self.sizes if each <= size and each != self.sizes[-1]]
        return [*(("features", each) for each in passed), ("picture", size)]

    def _session(self, kind: str, size: int) -> Any:
        import onnxruntime

        with self.building:
            if (kind, size) not in self.sessions:
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = torch.get_num_threads()
                options.inter_op_num_threads = 1
                options.log_severity_level = 3
                # Threads of one session that wait in a loop would take a core from the next session.
                options.add_session_config_entry("session.intra_op.allow_spinning", "0")
                model = synthesis_model(self.generator, kind, size).SerializeToString()
                self.sessions[kind, size] = onnxruntime.InferenceSession(
                    model, options, providers=["CPUExecutionProvider"]
                )
            return self.sessions[kind, size]


def synthesis_model(generator: FaceAnonGenerator, kind: str, size: int) -> Any:
    """The ONNX model of a part of a generator's synthesis.

    Args:
        generator ([`FaceAnonGenerator`]):
            Whose weights are taken.
        kind (`str`):
            `"features"`: from those of the next smaller size, or from none, to what the head of this size reads, of
            shape `(1, C, size / 2, size / 2)`, the four bands of a channel side by side. `"picture"`: from these, or
            for the largest size from the next smaller size's, to shape `(1, 12, size / 2, size / 2)`, uint8: red,
            green and blue of 2 x 2 pixels in the order of [`torch.nn.functional.pixel_shuffle`].
        size (`int`):
            One of the generator's sizes.

    Returns:
        `onnx.ModelProto`: its inputs are `style`, of shape `(1, style_layers, style_size)`, and `features`.
    """
    graph = _Graph()
    styles = graph.styles(generator.style_layers)
    sizes = [int(each) for each in generator.heads]
    largest = size == sizes[-1]
    smaller = sizes[sizes.index(size) - 1] if size != sizes[0] else 0
    synthesis = kind == "features" or largest
    parts = ["features"]
    if synthesis and not smaller:
        stem = generator.stem
        x = graph.add("Mul", graph.constant(_array(generator.constant)), graph.scale(stem.scale, styles[0]))
        parts = [graph.mix(stem, x, graph.mixing(stem, _by_channel(stem.mix.out_channels)), slice(None))]
    if synthesis:
        for number, level in enumerate(generator.levels):
            if smaller < 16 * 2**number <= size:
                x = graph.joined(parts)
                channels = level.second.mix.out_channels
                order = slice(None) if number == len(generator.levels) - 1 else _by_channel(channels)
                parts = graph.level(level, x, styles[1 + 2 * number], styles[2 + 2 * number], order)
    if kind == "picture":
        head = generator.heads[str(size)]
        order = slice(None) if largest else _by_channel(head.mix.in_channels)
        parts = graph.head(head, parts, styles[generator.head_layer(size) :], order)
    graph.add("Identity", graph.joined(parts), outputs=["result"])
    inputs: dict[str, list[int] | None] = {"style": [1, generator.style_layers, generator.config.style_size]}
    if smaller or not synthesis:
        inputs["features"] = None
    return graph.model(inputs)


class _Graph:
    """Nodes and constants of a graph in the making; a value is known by its name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def model(self, inputs: dict[str, list[int] | None]) -> Any:
        """A model of float inputs, with their shapes, and the output `result`."""
        import onnx

        helper = onnx.helper
        infos = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in inputs.items()]
        result = onnx.ValueInfoProto(name="result")
        graph = helper.make_graph(self.nodes, "synthesis", infos, [result], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)

    def joined(self, strips: list[str]) -> str:
        """Strips one below the other."""
        return strips[0] if len(strips) == 1 else self.add("Concat", *strips, axis=2)

    def constant(self, value: np.ndarray | float) -> str:
        import onnx

        name = f"constant{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind: str, *inputs: str, outputs: list[str] | None = None, **attributes: Any) -> Any:
        import onnx

        names = outputs or [f"value{len(self.nodes)}"]
        self.nodes.append(onnx.helper.make_node(kind, inputs, names, **attributes))
        return names[0]

    def styles(self, layers: int) -> list[str]:
        """The style of each layer, of shape (1, S)."""
        ends = [self.constant(np.array([number])) for number in range(layers + 1)]
        axis, shape = self.constant(np.array([1])), self.constant(np.array([1, -1]))
        parts = [self.add("Slice", "style", *pair, axis) for pair in zip(ends, ends[1:], strict=False)]
        return [self.add("Reshape", part, shape) for part in parts]

    def scale(self, linear: Any, style: str, shape: tuple[int, ...] = (1, -1, 1, 1), order: Any = slice(None)) -> str:
        """Factors of channels, one each."""
        weight, bias = self.constant(_array(linear.weight)[order]), self.constant(_array(linear.bias)[order])
        return self.add("Reshape", self.add("Gemm", style, weight, bias, transB=1), self.constant(np.array(shape)))

    def mix(self, layer: StyledConv, x: str, mixing: tuple[str, str], rows: slice) -> str:
        """What follows a styled convolution's filter, on these rows of its output."""
        x = self.add("Conv", x, *mixing, pads=[layer.mix.padding[0]] * 4)
        x = self.add("Add", x, self.constant(_array(layer.noise)[:, :, rows]))
        return self.add("LeakyRelu", x, alpha=0.2)

    def mixing(self, layer: StyledConv, order: Any = slice(None)) -> tuple[str, str]:
        return self.constant(_array(layer.mix.weight)[order]), self.constant(_array(layer.mix.bias)[order])

    def level(self, level: Level, x: str, style: str, next_style: str, order: Any) -> list[str]:
        """A level's features, in strips of rows from top to bottom, their channels in this order."""
        first, second = level.first, level.second
        channels, height = first.scale.out_features, first.noise.shape[2] // 2
        bands = self.scale(level.scale, style, (channels, 4), _by_channel(4 * channels))
        factors = self.add("Mul", bands, self.scale(first.scale, style, (channels, 1)))
        factors = self.add("Reshape", factors, self.constant(np.array([-1, 1, 1, 1])))
        haar = self.add("Mul", self.constant(np.tile(HAAR, (channels, 1, 1, 1))), factors)
        scale = self.scale(second.scale, next_style)
        filters = [self.constant(_array(layer.filter.weight)) for layer in (first, second)]
        mixing = [self.mixing(first), self.mixing(second, order)]
        axis = self.constant(np.array([2]))
        parts = []
        for start in range(0, height, ROWS):
            # A strip sees one more row on each side where there is one; the filters then take no zeros from there.
            end = min(start + ROWS, height)
            above, below = int(start > 0), int(end < height)
            pads = [1 - above, 1, 1 - below, 1]
            strip = self.add(
                "Slice", x, self.constant(np.array([start - above])), self.constant(np.array([end + below])), axis
            )
            y = self.add("ConvTranspose", strip, haar, group=channels, kernel_shape=[2, 2], strides=[2, 2])
            y = self.add("Conv", y, filters[0], group=channels, pads=pads)
            y = self.mix(first, y, mixing[0], slice(2 * start - above, 2 * end + below))
            y = self.add("Mul", y, scale)
            y = self.add("Conv", y, filters[1], group=second.scale.out_features, pads=pads)
            parts.append(self.mix(second, y, mixing[1], slice(2 * start, 2 * end)))
        return parts

    def head(self, head: Any, parts: list[str], styles: list[str], order: Any) -> list[str]:
        """Levels of 0 to 255 of the pictures that a head reads off strips of features."""
        style = styles[0]
        if len(styles) > 1:
            style = self.add("Mul", self.add("Sum", *styles), self.constant(np.float32(1 / len(styles))))
        weight = self.constant(127.5 * _array(head.mix.weight)[:, order])
        weight = self.add("Mul", weight, self.scale(head.scale, style, order=order))
        bias = self.constant(127.5 * _array(head.mix.bias) + np.float32(127.5))
        low, high = self.constant(np.float32(0)), self.constant(np.float32(255))
        pictures = [self.add("Clip", self.add("Conv", part, weight, bias), low, high) for part in parts]
        return [self.add("Cast", self.add("Round", picture), to=2) for picture in pictures]


def _by_channel(channels: int) -> np.ndarray:
    """Index that puts the four bands of a channel side by side, from four blocks of all channels' bands."""
    return np.arange(channels).reshape(4, -1).T.ravel()


def _array(tensor: Any) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()
