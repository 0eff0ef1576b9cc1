"""The optional critics, on graphs of this file's own making in the format of TensorFlow.js."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from graph_models import node, numbers, word, words, write_graph

from faceanon_hub import landmarks as lm
from faceanon_hub.errors import UnreadableError
from faceanon_hub.recognition import fit_similarity, warp
from faceanon_hub.training import Trainer
from faceanon_hub.training.critics import MESH_POINTS, Critics, FaceMesh, FaceRecognizer, opening


@pytest.fixture
def folder(tmp_path):
    """Both critics, with few and random weights."""
    random = np.random.default_rng(0)
    for name, outputs, last in (("facemesh", 3 * MESH_POINTS, "Identity_2"), ("mobileface", 16, "batchnorm0/add_1")):
        nodes = [
            node("image", "Placeholder"),
            node(
                "pool", "MaxPool", "image",
                ksize=numbers(1, 4, 4, 1), strides=numbers(1, 4, 4, 1), padding=word("SAME"),
            ),
            node(
                "conv", "_FusedConv2D", "pool", "kernel", "bias",
                strides=numbers(1, 2, 2, 1), padding=word("SAME"), fused_ops=words("BiasAdd", "Relu6"),
            ),
            node("mean", "Mean", "conv", "axes", keep_dims={"b": False}),
            node("dense", "MatMul", "mean", "matrix", transpose_a={"b": False}, transpose_b={"b": False}),
            node(last, "AddV2", "dense", "offset", "^unused"),
        ]  # fmt: skip
        weights = {
            "kernel": random.normal(0, 0.3, (3, 3, 3, 8)).astype(np.float32),
            "bias": random.normal(0, 0.3, 8).astype(np.float32),
            "axes": np.array([1, 2], np.int32),
            "matrix": random.normal(0, 5, (8, outputs)).astype(np.float32),
            "offset": random.uniform(40, 150, outputs).astype(np.float32),
        }
        write_graph(tmp_path, name, nodes, weights)
    return tmp_path


def points_on(size: int, count: int = 1) -> torch.Tensor:
    source = torch.Generator().manual_seed(0)
    return (torch.rand(count, 478, 2, generator=source) * 0.5 + 0.25) * size


def test_a_graph_that_cannot_be_run_is_a_clear_error(folder, tmp_path):
    for damage in (
        lambda path: path.unlink(),
        lambda path: path.write_text("{}"),
        lambda path: path.write_text(path.read_text().replace('"AddV2"', '"Erfinv"')),
    ):
        kept = (folder / "facemesh.json").read_text()
        damage(folder / "facemesh.json")
        with pytest.raises(UnreadableError, match=r"facemesh\.json"):
            Critics(folder)
        (folder / "facemesh.json").write_text(kept)
    (folder / "mobileface.bin").unlink()
    with pytest.raises(UnreadableError, match=r"mobileface\.json"):
        Critics(folder)


def test_a_similarity_is_found_again():
    points = points_on(64, 2)
    angle, scale = torch.tensor([0.4, -1.2]), torch.tensor([1.7, 0.6])
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(2, 2, 2) * scale[:, None, None]
    matrix = torch.cat([turn, torch.tensor([[[3.0], [-8.0]], [[0.0], [20.0]]])], 2)
    moved = points @ turn.transpose(1, 2) + matrix[:, None, :, 2]
    assert torch.allclose(fit_similarity(points, moved), matrix, atol=1e-3)


def test_a_warp_is_opencvs(portrait):
    matrix = np.array([[0.5, 0.1, -60.0], [-0.1, 0.5, 30.0]], np.float32)
    image = torch.from_numpy(portrait[:256, 100:356].copy()).permute(2, 0, 1)[None].float()
    found = warp(image, torch.from_numpy(matrix)[None], 64)[0].permute(1, 2, 0).numpy()
    wanted = cv2.warpAffine(
        portrait[:256, 100:356].astype(np.float32),
        matrix,
        (64, 64),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    assert np.abs(found - wanted)[2:-2, 2:-2].mean() < 1


@torch.no_grad()
def test_the_mesh_lies_where_the_face_is(folder):
    mesh, image, points = FaceMesh(folder), torch.rand(1, 3, 64, 64) * 2 - 1, points_on(64)
    found = mesh(image, points)
    assert found.shape == (1, MESH_POINTS, 2)
    larger = F.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)
    again = mesh(larger, 2 * points + 0.5)  # pixels are counted by their centres
    assert (again - (2 * found + 0.5)).abs().max() < 4


@torch.no_grad()
def test_the_recognizer_looks_at_the_aligned_face(folder):
    torch.manual_seed(0)  # in some noise, two crops are as good as one
    recognizer, image, points = FaceRecognizer(folder), torch.rand(1, 3, 64, 64) * 2 - 1, points_on(64)
    embedding = recognizer(image, points)
    assert embedding.norm(dim=1).item() == pytest.approx(1)
    turned = torch.rot90(image, 1, (2, 3))
    moved = torch.stack([points[..., 1], 63 - points[..., 0]], 2)
    assert torch.allclose(recognizer(turned, moved), embedding, atol=1e-3)
    assert not torch.allclose(recognizer(turned, points), embedding, atol=1e-3)


def test_the_terms_reach_the_painting_alone_and_know_what_was_mirrored(folder):
    critics = Critics(folder)
    points = points_on(64, 2).repeat(2, 1, 1)
    image = F.interpolate(torch.rand(2, 3, 8, 8), size=64, mode="bilinear").repeat(2, 1, 1, 1) * 2 - 1
    painted = F.interpolate(torch.rand(4, 3, 8, 8), size=64, mode="bilinear") * 2 - 1
    painted.requires_grad_(True)
    straight = critics(image, painted, points, torch.zeros(4, dtype=torch.bool))
    sum(straight).backward()
    assert painted.grad.abs().amax((1, 2, 3)).min() > 0
    assert all(not parameter.requires_grad for parameter in critics.parameters())
    mirrored = critics(image.flip(3), painted.flip(3), points, torch.ones(4, dtype=torch.bool))
    assert torch.allclose(torch.stack(straight), torch.stack(mirrored), atol=1e-5)
    same = critics(image, image, points, torch.zeros(4, dtype=torch.bool))
    assert same[1].item() == pytest.approx(0.9, abs=1e-4)  # cosine 1, less that of strangers


def test_the_opening_of_lids_is_in_widths_of_the_eye():
    mesh = torch.zeros(1, 478, 2)
    for (left, right), upper, lower, height in (
        (lm.LEFT_CORNERS, lm.LEFT_UPPER_LID, lm.LEFT_LOWER_LID, 5.0),
        (lm.RIGHT_CORNERS, lm.RIGHT_UPPER_LID, lm.RIGHT_LOWER_LID, 0.0),
    ):
        mesh[:, right, 0] = mesh[:, left, 0] + 20
        mesh[:, upper, 1], mesh[:, lower, 1] = -height / 2, height / 2
    assert opening(mesh)[0].tolist() == pytest.approx([0.25, 0])
    turned = torch.stack([-mesh[..., 1], mesh[..., 0]], 2) * 3
    assert torch.allclose(opening(turned), opening(mesh))


@torch.no_grad()
def test_the_distance_of_the_mesh_weighs_eyes_brows_and_lips(folder):
    image, points = torch.rand(2, 3, 64, 64) * 2 - 1, points_on(64, 1).repeat(2, 1, 1)
    found = FaceMesh(folder)(image, points)
    eyes = (points[:, 33] - points[:, 263]).norm(dim=1)
    missed = (found - points[:, :MESH_POINTS]).norm(dim=2)
    lids = (opening(found) - opening(points)).abs().mean().item()
    features = sorted({*lm.LEFT_EYE, *lm.RIGHT_EYE, *lm.LEFT_BROW, *lm.RIGHT_BROW, *lm.OUTER_LIPS, *lm.INNER_LIPS})
    for weight in (1.0, 9.0):
        weights = torch.ones(MESH_POINTS)
        weights[features] = weight
        expected = ((missed * weights).sum(1) / weights.sum() / eyes).mean().item() + lids
        told = Critics(folder, weight)(image, image, points, torch.zeros(2, dtype=torch.bool))[0].item()
        assert told == pytest.approx(expected, rel=1e-4)


def test_a_run_with_critics(folder, config, tmp_path):
    settings = config(critics=str(folder), batch_size=4)
    trainer = Trainer(settings, tmp_path / "run")
    values = trainer.advance(next(trainer._batches()))
    assert float(values["expression"]) > 0 and 0 <= float(values["identity"]) <= 0.9
