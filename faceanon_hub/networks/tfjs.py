"""Graph models of TensorFlow.js, run in torch, so that gradients can reach the picture."""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..errors import UnreadableError
from ..files import inside, read_regular

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "Relu": F.relu,
    "Relu6": F.relu6,
    "Sigmoid": torch.sigmoid,
}

Node = dict[str, Any]
Operation = Callable[["GraphModel", Node, list[torch.Tensor]], torch.Tensor]


class GraphModel(nn.Module):
    """Runs a frozen graph of TensorFlow.js.

    Args:
        path (`Path`):
            `model.json`, with the files of its weights beside it.
        outputs (`Sequence[str]`):
            Names of the nodes whose values are returned.

    Raises:
        UnreadableError: a file is missing or damaged, or holds an operation that is not known here.
    """

    def __init__(self, path: Path, outputs: Sequence[str]) -> None:
        super().__init__()
        try:
            spec = json.loads(read_regular(path))
            nodes = {node["name"]: node for node in spec["modelTopology"]["node"]}
            self.order = _sorted(nodes, outputs)
            for number, (name, value) in enumerate(_read_weights(path, spec["weightsManifest"])):
                if name in nodes:
                    nodes[name]["buffer"] = f"weight_{number}"
                    self.register_buffer(f"weight_{number}", torch.from_numpy(value), persistent=False)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise UnreadableError(path, f"no graph model of TensorFlow.js: {error!r}") from error
        self.outputs = list(outputs)
        unknown = sorted({node["op"] for node in self.order} - set(OPERATIONS))
        if unknown:
            raise UnreadableError(path, f"operations that are not known here: {', '.join(unknown)}")

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """`(B, H, W, C)` to the values of the outputs."""
        values: dict[str, torch.Tensor] = {}
        for node in self.order:
            inputs = [image] if node["op"] == "Placeholder" else [values[name] for name in _inputs(node)]
            values[node["name"]] = OPERATIONS[node["op"]](self, node, inputs)
        return [values[name] for name in self.outputs]


def _read_weights(path: Path, manifest: list[dict[str, Any]]) -> Iterator[tuple[str, np.ndarray]]:
    for group in manifest:
        content, start = b"".join(read_regular(inside(path.parent, name)) for name in group["paths"]), 0
        for weight in group["weights"]:
            packed = weight.get("quantization", {})
            kind = np.dtype(packed.get("dtype", weight["dtype"]))
            value = np.frombuffer(content, kind, int(np.prod(weight["shape"])), start).reshape(weight["shape"])
            start += value.nbytes
            if packed:
                value = value.astype(np.float32) * packed.get("scale", 1) + packed.get("min", 0)
            yield weight["name"], np.array(value)


def _sorted(nodes: dict[str, Node], outputs: Sequence[str]) -> list[Node]:
    """The nodes that outputs need, each after its inputs."""
    order: dict[str, Node] = {}
    waiting = list(outputs)
    while waiting:
        name = waiting[-1]
        missing = [source for source in _inputs(nodes[name]) if source not in order]
        waiting.extend(missing)
        if not missing:
            order[waiting.pop()] = nodes[name]
    return list(order.values())


def _inputs(node: Node) -> list[str]:
    return [name.split(":")[0] for name in node.get("input", []) if not name.startswith("^")]


def _attribute(node: Node, name: str) -> Any:
    value = node.get("attr", {}).get(name, {})
    if "list" in value:
        entries = value["list"]
        return [int(i) for i in entries.get("i", [])] or [base64.b64decode(s).decode() for s in entries.get("s", [])]
    if "s" in value:
        return base64.b64decode(value["s"]).decode()
    return next(iter(value.values()), None)


def _convolve(graph: GraphModel, node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    x, kernel, groups = inputs[0].permute(0, 3, 1, 2), inputs[1], 1
    if "epthwise" in node["op"]:
        groups = kernel.shape[2]
        kernel = kernel.permute(2, 3, 0, 1).flatten(0, 1)[:, None]
    else:
        kernel = kernel.permute(3, 2, 0, 1)
    stride = _attribute(node, "strides")[1:3]
    if _attribute(node, "padding") == "SAME":
        x = _padded(x, kernel.shape[2:], stride)
    return _fused(F.conv2d(x, kernel, stride=stride, groups=groups).permute(0, 2, 3, 1), node, inputs)


def _multiply(graph: GraphModel, node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    one, other = inputs[:2]
    one = one.t() if _attribute(node, "transpose_a") else one
    return _fused(one @ (other.t() if _attribute(node, "transpose_b") else other), node, inputs)


def _max_pool(graph: GraphModel, node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    x, side, stride = inputs[0].permute(0, 3, 1, 2), _attribute(node, "ksize")[1:3], _attribute(node, "strides")[1:3]
    if _attribute(node, "padding") == "SAME":
        x = _padded(x, side, stride, -torch.inf)
    return F.max_pool2d(x, side, stride).permute(0, 2, 3, 1)


def _padded(x: torch.Tensor, side: Sequence[int], stride: Sequence[int], value: float = 0.0) -> torch.Tensor:
    """Padded as TensorFlow does: the odd pixel at the end."""
    missing = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(x.shape[2:], side, stride, strict=True)]
    down, right = missing
    return F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2), value=value)


def _fused(x: torch.Tensor, node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    for name in _attribute(node, "fused_ops") or []:
        if name == "BiasAdd":
            x = x + inputs[2]
        elif name == "Prelu":
            x = torch.where(x > 0, x, x * inputs[3])
        else:
            x = ACTIVATIONS[name](x)
    return x


def _reduced(function: Callable[..., torch.Tensor]) -> Operation:
    return lambda graph, node, inputs: function(
        inputs[0], dim=tuple(inputs[1].flatten().tolist()), keepdim=bool(_attribute(node, "keep_dims"))
    )


def _plain(function: Callable[..., torch.Tensor]) -> Operation:
    return lambda graph, node, inputs: function(*inputs)


OPERATIONS: dict[str, Operation] = {
    "Placeholder": _plain(lambda x: x),
    "Const": lambda graph, node, inputs: getattr(graph, node["buffer"]),
    "Identity": _plain(lambda x: x),
    **dict.fromkeys(("Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative"), _convolve),
    **dict.fromkeys(("MatMul", "_FusedMatMul"), _multiply),
    "MaxPool": _max_pool,
    "Mean": _reduced(torch.mean),
    "Sum": _reduced(torch.sum),
    "Pad": _plain(lambda x, pads: F.pad(x, [v for pair in reversed(pads.tolist()) for v in pair])),
    "Reshape": _plain(lambda x, shape: x.reshape(len(x), *shape.tolist()[1:])),
    "Squeeze": _plain(lambda x: x.flatten(1)),
    "Prelu": _plain(lambda x, slope: torch.where(x > 0, x, x * slope)),
    "ConcatV2": _plain(lambda *x: torch.cat(x[:-1], int(x[-1]))),
    "Relu": _plain(F.relu),
    "Relu6": _plain(F.relu6),
    "Sigmoid": _plain(torch.sigmoid),
    "Abs": _plain(torch.abs),
    "Square": _plain(torch.square),
    "Rsqrt": _plain(torch.rsqrt),
    "Add": _plain(torch.add),
    "AddV2": _plain(torch.add),
    "BiasAdd": _plain(torch.add),
    "Sub": _plain(torch.sub),
    "Mul": _plain(torch.mul),
    "Minimum": _plain(torch.minimum),
    "Maximum": _plain(torch.maximum),
}
