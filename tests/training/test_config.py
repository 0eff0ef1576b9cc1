"""Settings: what a file may hold, and which errors name what is wrong."""

import pytest

from faceanon_hub import FaceAnonError
from faceanon_hub.errors import UnreadableError
from faceanon_hub.training import TrainingConfig, read_config


def written(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_a_file_is_read(tmp_path):
    config = read_config(written(tmp_path, "data: [a, /b]\nlearning_rate: 2e-4\nmixed_precision: no\nstart: base\n"))
    assert config == TrainingConfig(
        data=(str(tmp_path / "a"), "/b"), learning_rate=2e-4, mixed_precision="no",
        start=str(tmp_path / "base"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("data: [a]\nlerning_rate: 1", "`lerning_rate`: .* not permitted; is `learning_rate` meant"),
        ("data: [a]\nsteps: many", "`steps`: .* valid integer"),
        ("data: [a]\nsteps: true", "`steps`: .* valid integer"),
        ("data: [a]\nsteps: 0", "`steps`: .* greater than or equal to 1"),
        ("data: [a]\nr1_weight: -1", "`r1_weight`: .* greater than or equal to 0"),
        ("data: [a]\nr1_weight: true", "`r1_weight`: .* valid number"),
        ("data: [a]\nlearning_rate: .nan", "`learning_rate`: .* finite"),
        ("data: [a]\nmixed_precision: fp8", "`mixed_precision`: .* 'no' or 'bf16'"),
        ("data: [a]\nr1_weight: strong", "`r1_weight`: .* valid number"),
        ("data: []", "`data`: .* at least 1 item"),
        ("data: [1]", "`data`: .* valid string"),
        ("steps: 5", "`data`: .* required"),
        ("- 1", "no settings"),
    ],
)
def test_a_wrong_setting_is_a_clear_error(tmp_path, text, told):
    with pytest.raises(FaceAnonError, match=told) as caught:
        read_config(written(tmp_path, text))
    assert "run.yaml" in str(caught.value)


def test_a_file_that_is_none_is_a_clear_error(tmp_path):
    for path in (tmp_path / "nowhere.yaml", written(tmp_path, "data: [")):
        with pytest.raises(UnreadableError, match=path.name):
            read_config(path)
