import json

import pytest

from faceanon_hub import FaceAnonError, UnwritableError
from faceanon_hub.runs import claim_folder, settle_seed


def test_the_same_settings_go_on_and_others_are_named(tmp_path):
    folder = tmp_path / "deep" / "run"
    claim_folder(folder, {"seed": 0, "steps": 5})
    claim_folder(folder, {"seed": 0, "steps": 5})
    with pytest.raises(FaceAnonError, match="holds a run with another seed; choose another folder"):
        claim_folder(folder, {"seed": 1, "steps": 5})
    claim_folder(folder, {"seed": 0, "steps": 9}, free=["steps"])
    assert json.loads((folder / "settings.json").read_text()) == {"seed": 0, "steps": 9}


def test_files_of_somebody_else_are_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(FaceAnonError, match="not made here"):
        claim_folder(tmp_path, {"seed": 0})
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    with pytest.raises(UnwritableError):
        claim_folder(tmp_path / "letter.txt" / "run", {"seed": 0})


def test_a_seed_is_drawn_once_and_kept_until_the_run_is_complete():
    seed, drawn = settle_seed(None, None)
    assert drawn and settle_seed({"seed": seed, "drawn": True}, None) == (seed, True)
    assert settle_seed({"seed": seed, "drawn": True}, 7) == (7, False)
    assert settle_seed({"seed": 7, "drawn": False}, None) == (7, False)
    again, drawn = settle_seed({"seed": None, "drawn": True}, None)
    assert drawn and again != seed
