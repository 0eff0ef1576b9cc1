import copy
import pickle

import numpy as np
import torch

from faceanon_hub import FaceParser
from faceanon_hub.networks.segmentation import parser_session


def test_the_graph_computes_what_the_module_does(pipe):
    size = pipe.parser.config.sample_size
    crops = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        expected = pipe.parser(crops).numpy()
    (result,) = parser_session(pipe.parser).run(None, {"crops": crops.numpy()})
    assert result.shape == expected.shape and np.abs(result - expected).max() < 1e-3 * np.abs(expected).max()


def test_a_parser_of_other_weights_has_a_graph_of_its_own(pipe, portrait):
    crop = portrait[20:276, 96:352]
    other = copy.deepcopy(pipe.parser)
    with torch.no_grad():
        other.head.bias[0] += 20  # everything is skin
    assert other.parse(crop)[..., 0].mean() > 0.9 > pipe.parser.parse(crop)[..., 0].mean()


def test_a_parser_travels_without_its_graph(pipe, portrait):
    crop = portrait[20:276, 96:352]
    before = pipe.parser.parse(crop)
    again: FaceParser = pickle.loads(pickle.dumps(pipe.parser))
    assert np.abs(again.parse(crop) - before).max() < 1e-5
