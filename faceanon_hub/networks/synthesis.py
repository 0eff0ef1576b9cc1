"""The generator's synthesis on CPUs: an ONNX graph made of the module's weights, run by ONNX Runtime."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from ..generators.generator import FaceAnonGenerator, Head, Level, StyledConv

ROWS = 32  # of a level's input that are worked off at a time: large levels then fit a processor's caches
OPSET, IR_VERSION = 18, 9
UINT8 = 2  # onnx.TensorProto.UINT8
# What the four bands of a Haar transform add to each 2 x 2 pixels.
HAAR = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], np.float32).reshape(4, 1, 2, 2)


class OnnxRuntime:
    r"""Draws pictures by a chain of sessions, each made when it is first needed.

    Sessions hand features on, from one resolution to the next, so each weight is held once. They compute
    what [`FaceAnonGenerator.forward`] does, in single precision, another way: a transposed convolution, whose few
    weights the style scales, does the inverse Haar transform, and large levels are worked off in strips. The result
    does not depend on the number of threads, which is torch's.

    Args:
        generator ([`FaceAnonGenerator`]):
            Whose weights are taken.
    """

    def __init__(self, generator: FaceAnonGenerator) -> None:
        self.generator = generator
        self.resolutions = sorted(set(generator.config.resolutions))
        self.sessions: dict[tuple[str, int], Any] = {}
        self.building = threading.Lock()

    def __call__(self, styles: np.ndarray, size: int) -> np.ndarray:
        """Draws one face after another.

        Styles are `(B, L, S)`, float32, one for each layer; pictures `(B, size, size, 3)`, uint8, RGB.
        """
        pictures = np.empty((len(styles), size, size, 3), np.uint8)
        resolution = self.generator.resolution(size)
        zoom = size // resolution
        for picture, style in zip(pictures, styles, strict=True):
            # The largest features are never put together: their strips go to the head one by one.
            features = self.features(style, resolution)
            # The colours of 1 or 2 x 2 pixels are channels.
            squares = self._run("picture", size, style, features).reshape(3, zoom, zoom, resolution, resolution)
            picture.reshape(resolution, zoom, resolution, zoom, 3)[:] = squares.transpose(3, 1, 4, 2, 0)
        return pictures

    def features(self, style: np.ndarray, resolution: int) -> np.ndarray | None:
        """Features `(1, C, R, R)` of one face: of this resolution, or the last but one that heads read."""
        features = None
        for each in self.resolutions[:-1]:
            if each <= resolution:
                features = self._run("features", each, style, features)
        return features

    def _run(self, kind: str, number: int, style: np.ndarray, features: np.ndarray | None) -> np.ndarray:
        network = self._session(kind, number)
        given = {"style": style[None], "features": features}
        return network.run(None, {each.name: given[each.name] for each in network.get_inputs()})[0]

    def _session(self, kind: str, size: int) -> Any:
        with self.building:
            if (kind, size) not in self.sessions:
                self.sessions[kind, size] = session(synthesis_model(self.generator, kind, size))
            return self.sessions[kind, size]


def session(model: Any) -> Any:
    """An `onnxruntime.InferenceSession` of an `onnx.ModelProto` on a CPU, with as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads of one session that wait in a loop would take a core from the next session.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def synthesis_model(generator: FaceAnonGenerator, kind: str, number: int) -> Any:
    """The ONNX model of a part of a generator's synthesis.

    Args:
        generator ([`FaceAnonGenerator`]):
            Whose weights are taken.
        kind (`str`):
            `"features"` or `"picture"`.
        number (`int`):
            Of features, a resolution R that a head reads: from those of the next lower such resolution, or from none,
            to `(1, C, R, R)`. Of a picture, its size: from the features that
            its head reads, or for the largest size from the next lower ones, to `(1, 3 Z Z, R, R)`, uint8: red, green
            and blue of Z x Z pixels in the order of [`torch.nn.functional.pixel_shuffle`].

    Returns:
        `onnx.ModelProto`: its inputs are `style`, of shape `(1, style_layers, style_size)`, and `features`.
    """
    graph = Graph()
    styles = graph.styles(generator.style_layers)
    resolutions = sorted(set(generator.config.resolutions))
    resolution = number if kind == "features" else generator.resolution(number)
    finest = resolution == resolutions[-1]
    lower = max((each for each in resolutions if each < resolution), default=0)
    parts = ["features"]
    synthesis = kind == "features" or finest
    if synthesis:
        if not lower:
            stem = generator.stem
            x = graph.add("Mul", graph.constant(array(generator.constant)), graph.scale(stem.scale, styles[0]))
            parts = [graph.mix(stem, x, graph.mixing(stem), slice(None))]
        for i, level in enumerate(generator.levels):
            if lower < level.first.noise.shape[2] <= resolution:
                parts = graph.level(level, graph.joined(parts), styles[1 + 2 * i], styles[2 + 2 * i])
    inputs: dict[str, list[int] | None] = {"style": [1, generator.style_layers, generator.config.style_size]}
    if lower or not synthesis:
        inputs["features"] = None
    if kind == "picture":
        head = generator.heads[str(number)]
        factors = graph.factors(generator, styles, resolution)
        parts = [graph.head(head, part, factors) for part in parts]
    graph.add("Identity", graph.joined(parts), outputs=["result"])
    return graph.model(inputs)


class Graph:
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
        graph = helper.make_graph(self.nodes, "network", infos, [result], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)

    def joined(self, strips: list[str]) -> str:
        """Strips one below the other."""
        return strips[0] if len(strips) == 1 else self.add("Concat", *strips, axis=2)

    def constant(self, value: np.ndarray | np.float32) -> str:
        """A value that the graph holds."""
        import onnx

        name = f"constant{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind: str, *inputs: str, outputs: list[str] | None = None, **attributes: Any) -> Any:
        """A node of this kind, and the name of its first output."""
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

    def scale(self, linear: Any, style: str, shape: tuple[int, ...] = (1, -1, 1, 1), step: int = 1) -> str:
        """Factors of every so many-th channel, one each."""
        weight, bias = self.constant(array(linear.weight)[::step]), self.constant(array(linear.bias)[::step])
        return self.reshape(self.add("Gemm", style, weight, bias, transB=1), *shape)

    def reshape(self, x: str, *shape: int) -> str:
        """A value in another shape."""
        return self.add("Reshape", x, self.constant(np.array(shape)))

    def bands(self, level: Level, style: str) -> str:
        """Factors of the four bands of the channels that a level's first filter sees, of shape (C, 4)."""
        channels = level.first.scale.out_features
        own = self.scale(level.scale, style, (channels, 4))
        return self.add("Mul", own, self.scale(level.first.scale, style, (channels, 1)))

    def mix(self, layer: StyledConv, x: str, mixing: tuple[str, str], rows: slice) -> str:
        """What follows a styled convolution's filter, on these rows of its output."""
        x = self.add("Conv", x, *mixing, pads=[layer.mix.padding[0]] * 4)
        x = self.add("Add", x, self.constant(array(layer.noise)[:, :, rows]))
        return self.add("LeakyRelu", x, alpha=0.2)

    def mixing(self, layer: StyledConv) -> tuple[str, str]:
        """Weight and bias of a styled convolution's last filter."""
        return self.constant(array(layer.mix.weight)), self.constant(array(layer.mix.bias))

    def level(self, level: Level, x: str, style: str, next_style: str) -> list[str]:
        """A level's features, in strips of rows from top to bottom."""
        first, second = level.first, level.second
        channels, height = first.scale.out_features, first.noise.shape[2] // 2
        bands = self.reshape(self.bands(level, style), -1, 1, 1, 1)
        haar = self.add("Mul", self.constant(np.tile(HAAR, (channels, 1, 1, 1))), bands)
        scale = self.scale(second.scale, next_style)
        filters = [self.constant(array(layer.filter.weight)) for layer in (first, second) if layer.filter is not None]
        mixing = [self.mixing(first), self.mixing(second)]
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

    def factors(self, generator: FaceAnonGenerator, styles: list[str], resolution: int) -> list[str]:
        """What [`FaceAnonGenerator.factors`] says, each of shape (1, C, 1, 1)."""
        found: list[str] = []
        for i, level in enumerate(generator.levels):
            if level.first.noise.shape[2] > resolution:
                own, last = styles[1 + 2 * i : 3 + 2 * i]
                if found:
                    low = self.scale(level.scale, own, step=4)
                    found.append(self.add("Mul", low, self.scale(level.first.scale, own)))
                else:
                    found.append(self.reshape(self.bands(level, own), 1, -1, 1, 1))
                found.append(self.scale(level.second.scale, last))
        return [*found, self.scale(generator.scale, styles[-1])]

    def head(self, head: Head, x: str, factors: list[str]) -> str:
        """Levels of 0 to 255 of the picture that a head reads off features."""
        seen = x
        for layer, factor in zip(head.layers, factors, strict=False):
            x = self.add("LeakyRelu", self.scaled(x, layer, factor), alpha=0.2)
        x = self.scaled(x, head.mix, factors[-1], 127.5, 127.5)
        if head.skip is not None:
            x = self.add("Add", x, self.scaled(seen, head.skip, factors[0], 127.5))
        x = self.add("Clip", x, self.constant(np.float32(0)), self.constant(np.float32(255)))
        return self.add("Cast", self.add("Round", x), to=UINT8)

    def scaled(self, x: str, layer: Any, factor: str, gain: float = 1.0, offset: float = 0.0) -> str:
        """A 1 x 1 convolution of channels scaled by these factors; of its result, a gain and an offset."""
        weight = self.add("Mul", self.constant(np.float32(gain) * array(layer.weight)), factor)
        if layer.bias is None:
            return self.add("Conv", x, weight)
        return self.add("Conv", x, weight, self.constant(np.float32(gain) * array(layer.bias) + np.float32(offset)))


def array(tensor: Any) -> np.ndarray:
    """A tensor's values, float32."""
    return tensor.detach().float().cpu().numpy()
