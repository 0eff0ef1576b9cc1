"""The Space: a folder that runs on its own, and its upload to a Hub."""

import os
import re
import socket
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml
from helpers.commands import run
from helpers.loopback_hub import OWNER, LoopbackHub
from helpers.photos import turned
from huggingface_hub import constants

from faceanon_hub import UnwritableImageError
from faceanon_hub.demo.space import assemble, push, requirements

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return assemble(tmp_path_factory.mktemp("space") / "space")


def test_the_folder_holds_all_and_no_more(folder):
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "app.py", "faceanon_hub", "packages.txt", "requirements.txt",
    }  # fmt: skip
    weights = folder / "faceanon_hub/checkpoints/base/generator/diffusion_pytorch_model.safetensors"
    assert weights.stat().st_size > 1e7
    assert not [path for path in folder.rglob("*") if path.suffix == ".pyc"]
    assert str(ROOT) not in "".join(path.read_text() for path in folder.rglob("*.json"))


def test_the_front_matter_is_what_a_space_needs(folder):
    matter = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", (folder / "README.md").read_text(), re.S)[1])
    assert matter["sdk"] == "gradio" and (folder / matter["app_file"]).is_file()
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    assert matter["sdk_version"] == pins["gradio"]
    assert matter["python_version"] == "3.11"
    for key in ("title", "license", "tags", "suggested_hardware", "short_description"):
        assert matter[key]
    assert len(matter["short_description"]) <= 60


def test_requirements_are_pinned_to_what_is_tested(folder):
    lines = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    pins = {name.lower().replace("_", "-"): version for name, version in lines}
    listed = dict(line.split("==") for line in requirements())
    assert {"torch", "diffusers", "ai-edge-litert", "scikit-image", "dlib-bin", "av", "pillow-heif"} <= set(listed)
    assert "gradio" not in listed and "pytest" not in listed
    assert {name: pins[name] for name in listed} == listed
    assert (folder / "requirements.txt").read_text().split() == requirements()


def test_a_missing_package_is_told_and_nothing_is_written(tmp_path, monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("faceanon_hub.demo.space.version", missing)
    result = run("space", "build", tmp_path / "space")
    told = " ".join(result.stderr.split())
    assert result.exit_code == 1 and "pip install 'faceanon-hub[demo,eval,heic,video]'" in told
    assert not (tmp_path / "space").exists()


def test_a_folder_that_exists_is_not_overwritten(tmp_path):
    with pytest.raises(UnwritableImageError):
        assemble(tmp_path)
    assert run("space", "build", tmp_path).exit_code == 5


@pytest.mark.slow
def test_it_runs_as_a_space_would(folder, tmp_path):
    pytest.importorskip("gradio")
    from gradio_client import Client, handle_file

    PIL.Image.fromarray(turned(0)).save(tmp_path / "head.png")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1", "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path),
        "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(tmp_path / "gradio"),
    }  # fmt: skip
    where = subprocess.run(
        [sys.executable, "-c", "import faceanon_hub; print(faceanon_hub.__file__)"],
        env=environment, cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(folder))
    with subprocess.Popen(
        [sys.executable, "app.py"], env=environment, cwd=folder, stdout=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < deadline:
                with socket.socket() as knock:
                    if knock.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.2)
            client = Client(f"http://127.0.0.1:{port}", verbose=False, download_files=str(tmp_path / "down"))
            path, report = client.predict(handle_file(tmp_path / "head.png"), api_name="/anonymize")
        finally:
            process.terminate()
    assert report["faces"][0]["status"] == "anonymized"
    assert np.asarray(PIL.Image.open(path)).shape == (320, 320, 3)


def test_it_is_pushed_as_a_gradio_space(folder, monkeypatch):
    with LoopbackHub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        push("somebody/faces", folder, token=OWNER)
        files = hub.repos["somebody/faces"].files
        local = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert set(files) == local
        assert files["app.py"] == (folder / "app.py").read_bytes()
