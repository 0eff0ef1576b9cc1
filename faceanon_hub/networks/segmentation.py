"""The face parser on CPUs: an ONNX graph made of the module's weights, its batch norms folded in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from .synthesis import Graph, array, session

if TYPE_CHECKING:
    from ..parsing import FaceParser


def parser_session(parser: FaceParser) -> Any:
    """An ONNX Runtime session that computes what [`FaceParser.forward`] does, in half of its time.

    Its input `crops` is of shape `(1, 3, S, S)`, float32.
    """
    graph = Graph()
    x = graph.add("Relu", _convolved(graph, parser.stem[0], "crops"))
    levels = [x]
    for down in parser.down:
        filters, _, block = down.children()
        x = _residual(graph, block, graph.add("Relu", _convolved(graph, filters, x)))
        levels.append(x)
    twice = graph.constant(np.array([1, 1, 2, 2], np.float32))
    nearest: dict[str, Any] = {
        "mode": "nearest",
        "nearest_mode": "floor",
        "coordinate_transformation_mode": "asymmetric",
    }
    for level, across, up in reversed(list(zip(levels, parser.across, parser.up, strict=False))):
        wide = graph.add("Resize", _convolved(graph, across, x), "", twice, **nearest)
        x = _residual(graph, up, graph.add("Relu", graph.add("Add", level, wide)))
    weight, bias = graph.constant(array(parser.head.weight)), graph.constant(array(parser.head.bias))
    graph.add("Conv", x, weight, bias, outputs=["result"])
    size = parser.config.sample_size
    return session(graph.model({"crops": [1, 3, size, size]}))


def _residual(graph: Graph, block: Any, x: str) -> str:
    inner = graph.add("Relu", _convolved(graph, block.first, x))
    return graph.add("Relu", graph.add("Add", x, _convolved(graph, block.second, inner)))


def _convolved(graph: Graph, layers: nn.Module, x: str) -> str:
    """A convolution and its batch norm."""
    filters, norm = layers.children()
    assert isinstance(filters, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        filters.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    pads, strides = [int(filters.padding[0])] * 4, list(filters.stride)
    return graph.add("Conv", x, graph.constant(array(weight)), graph.constant(array(bias)), pads=pads, strides=strides)
