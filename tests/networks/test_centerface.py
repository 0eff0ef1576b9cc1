"""The detector's network computes what its ONNX file says."""

import numpy as np
import onnx
import onnxruntime

from faceanon_hub.networks.centerface import OUTPUTS, WEIGHTS, CenterFace, load_centerface


def to_input(image: np.ndarray) -> np.ndarray:
    return image.transpose(2, 0, 1)[None].astype(np.float32, order="C")


def test_it_computes_what_the_file_says(portrait):
    image = to_input(portrait[32:224, 128:352])
    model = onnx.load(WEIGHTS)
    for tensor in (model.graph.input[0], *model.graph.output):  # the file fixes them
        for axis in (0, 2, 3):
            tensor.type.tensor_type.shape.dim[axis].dim_param = f"{tensor.name}_{axis}"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    expected = session.run(OUTPUTS, {"input.1": image})
    for ours, theirs in zip(CenterFace()(image), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_heat_is_highest_on_the_face(portrait):
    heat, log_size, offset, points = load_centerface()(to_input(portrait))
    assert [tuple(t.shape) for t in (heat, log_size, offset, points)] == [(1, c, 128, 128) for c in (1, 2, 2, 10)]
    row, column = np.unravel_index(int(heat.argmax()), (128, 128))
    assert 178 < 4 * column < 273 and 57 < 4 * row < 184


def test_a_run_leaves_no_trace(portrait):
    image = to_input(portrait)
    first, again = load_centerface()(image), load_centerface()(image)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert np.array_equal(image, to_input(portrait))
