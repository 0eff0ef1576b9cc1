"""Stand-ins for networks that come as files: graphs in the format of TensorFlow.js, and a TorchScript module."""

import base64
import json

import numpy as np
import torch


def node(name: str, op: str, *inputs: str, **attributes) -> dict:
    return {"name": name, "op": op, "input": list(inputs), "attr": attributes}


def word(text: str) -> dict:
    return {"s": base64.b64encode(text.encode()).decode()}


def numbers(*values: int) -> dict:
    return {"list": {"i": [str(value) for value in values]}}


def words(*values: str) -> dict:
    return {"list": {"s": [word(value)["s"] for value in values]}}


def write_graph(folder, name: str, nodes: list[dict], weights: dict[str, np.ndarray], packed: tuple[str, ...] = ()):
    """Writes a graph model; the weights named in `packed` in eight bits."""
    entries, content = [], b""
    for key, value in weights.items():
        entry = {"name": key, "shape": list(value.shape), "dtype": str(value.dtype)}
        if key in packed:
            low, step = float(value.min()), float(np.ptp(value)) / 255 or 1.0
            entry["quantization"] = {"dtype": "uint8", "min": low, "scale": step}
            value = np.round((value - low) / step).astype(np.uint8)
        entries.append(entry)
        content += value.tobytes()
    constants = [node(key, "Const") for key in weights]
    (folder / f"{name}.bin").write_bytes(content[:10])
    (folder / f"{name}-2.bin").write_bytes(content[10:])  # a manifest may cut anywhere
    manifest = [{"paths": [f"{name}.bin", f"{name}-2.bin"], "weights": entries}]
    (folder / f"{name}.json").write_text(
        json.dumps({"modelTopology": {"node": [*nodes, *constants]}, "weightsManifest": manifest})
    )


# Nodes and weights of a graph with input and output of HSE-FaceRes, which describes a face by 16 random numbers.
FACERES = (
    [
        node("input_1", "Placeholder"),
        node("conv", "Conv2D", "input_1", "kernel", strides=numbers(1, 8, 8, 1), padding=word("SAME")),
        node("relu", "Relu", "conv"),
        node("global_pooling/Mean", "Mean", "relu", "axes", keep_dims={"b": False}),
    ],
    {
        "kernel": np.random.default_rng(0).normal(0, 0.3, (9, 9, 3, 16)).astype(np.float32),
        "axes": np.array([1, 2], np.int32),
    },
)


def judging_graph() -> tuple[list[dict], dict[str, np.ndarray]]:
    """Nodes and weights of a graph that tells sex and age as HSE-FaceRes does, by random weights."""
    nodes, weights = list(FACERES[0]), dict(FACERES[1])
    for name, count in {"gender_pred": 1, "age_pred": 100}.items():
        nodes.append(node(f"{name}/MatMul", "MatMul", "global_pooling/Mean", f"{name}/kernel"))
        nodes.append(node(f"{name}/BiasAdd", "BiasAdd", f"{name}/MatMul", f"{name}/bias"))
        weights[f"{name}/kernel"] = np.random.default_rng(count).normal(0, 0.01, (16, count)).astype(np.float32)
        weights[f"{name}/bias"] = np.zeros(count, np.float32)
    return nodes, weights


class Inception(torch.nn.Module):
    """What the file of Inception v3 looks like from outside, with means of quarters as features."""

    def forward(self, img: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        features = torch.nn.functional.adaptive_avg_pool2d(img.float() / 255, 2).flatten(1)
        return features if return_features else features[:, :1]
