"""Where a recognizer looks: a similarity of points, and a warp that gradients go through."""

import cv2
import numpy as np
import torch

from faceanon_hub.recognition import fit_similarity, warp


def test_a_similarity_is_found_again():
    points = torch.rand(2, 478, 2, generator=torch.Generator().manual_seed(0)) * 32 + 16
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
