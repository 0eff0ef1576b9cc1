"""Graph models of TensorFlow.js: operations are those of TensorFlow, packed weights are unpacked."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.graph_models import node, numbers, word, write_graph

from faceanon_hub.errors import UnreadableError
from faceanon_hub.networks.tfjs import GraphModel


@torch.no_grad()
def test_operations_are_tensorflows(tmp_path):
    random = np.random.default_rng(1)
    kernel = random.normal(size=(3, 3, 2, 4)).astype(np.float32)
    depthwise = random.normal(size=(5, 5, 4, 2)).astype(np.float32)
    slope = random.normal(size=(8,)).astype(np.float32)
    nodes = [
        node("x", "Placeholder"),
        node("a", "Conv2D", "x", "kernel", strides=numbers(1, 2, 2, 1), padding=word("SAME")),
        node("b", "DepthwiseConv2dNative", "a", "depthwise", strides=numbers(1, 1, 1, 1), padding=word("VALID")),
        node("c", "Prelu", "b", "slope"),
        node("d", "Pad", "c", "pads"),
        node("e", "ConcatV2", "d", "d", "axis"),
        node("f", "Sum", "e", "axis", keep_dims={"b": True}),
        node("out", "Reshape", "f", "shape"),
    ]
    weights = {
        "kernel": kernel, "depthwise": depthwise, "slope": slope,
        "pads": np.array([[0, 0], [1, 0], [0, 2], [0, 0]], np.int32), "axis": np.array(3, np.int32),
        "shape": np.array([-1, 5, 6], np.int32),
    }  # fmt: skip
    write_graph(tmp_path, "graph", nodes, weights)
    image = torch.rand(2, 16, 16, 2)
    (found,) = GraphModel(tmp_path / "graph.json", ["out"])(image)
    x = image.permute(0, 3, 1, 2)
    x = F.conv2d(
        F.pad(x, (0, 1, 0, 1)), torch.from_numpy(kernel).permute(3, 2, 0, 1), stride=2
    )  # 16 to 8: one, at the end
    stack = [
        F.conv2d(x[:, c : c + 1], torch.from_numpy(depthwise[:, :, c]).permute(2, 0, 1)[:, None]) for c in range(4)
    ]
    x = F.prelu(torch.cat(stack, 1), torch.from_numpy(slope))
    x = 2 * F.pad(x, (0, 2, 1, 0)).sum(1)
    assert found.shape == (2, 5, 6) and torch.allclose(found, x, atol=1e-4)


@torch.no_grad()
def test_packed_weights_are_unpacked(tmp_path):
    value = np.linspace(-2, 3, 40, dtype=np.float32).reshape(4, 10)
    nodes = [node("x", "Placeholder"), node("out", "MatMul", "x", "matrix")]
    write_graph(tmp_path, "graph", nodes, {"matrix": value}, packed=("matrix",))
    (found,) = GraphModel(tmp_path / "graph.json", ["out"])(torch.eye(4))
    assert np.abs(found.numpy() - value).max() <= 0.011


def test_a_graph_that_cannot_be_run_is_a_clear_error(tmp_path):
    nodes = [node("x", "Placeholder"), node("out", "MatMul", "x", "matrix")]
    for damage in (
        lambda path: path.unlink(),
        lambda path: path.write_text("{}"),
        lambda path: path.write_text(path.read_text().replace('"MatMul"', '"Erfinv"')),
        lambda path: path.with_suffix(".bin").unlink(),
    ):
        write_graph(tmp_path, "graph", nodes, {"matrix": np.eye(4, dtype=np.float32)})
        damage(tmp_path / "graph.json")
        with pytest.raises(UnreadableError, match=r"graph\.json"):
            GraphModel(tmp_path / "graph.json", ["out"])
