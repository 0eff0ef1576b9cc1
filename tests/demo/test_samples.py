"""The examples of the page: whoever clicks one sees what the page can do."""

import pytest

gradio = pytest.importorskip("gradio")

from faceanon_hub.demo.page import SAMPLES, samples  # noqa: E402
from faceanon_hub.faces import FaceStatus  # noqa: E402


@pytest.mark.parametrize(("number", "people"), enumerate((1, 3, 1, 1)))
def test_an_example_comes_out_well_at_the_seed_of_the_page(pipe, tmp_path, number, people):
    (faces,) = pipe(samples(tmp_path)[number], seed=0).faces
    assert [face.status for face in faces] == [FaceStatus.ANONYMIZED] * people
    assert not any(face.reason for face in faces)


def test_examples_are_small():
    assert sum(file.stat().st_size for file in SAMPLES.iterdir()) <= 1.5 * 2**20
