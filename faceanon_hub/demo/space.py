"""The folder that a Hugging Face Space runs, and its upload."""

import re
import shutil
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from huggingface_hub import HfApi
from packaging.requirements import Requirement

from ..errors import MissingDependencyError
from ..files import naming

PACKAGE = Path(__file__).parents[1]
# In a checkout the Space's files lie beside the package, in an installation inside it.
FILES = next(folder for folder in (PACKAGE / "spaces", PACKAGE.parent / "spaces") if folder.is_dir())
APP = FILES / "app.py" if (FILES / "app.py").is_file() else PACKAGE.parent / "app.py"
EXTRAS = ("demo", "eval", "heic", "video")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "spaces", "*.pyc")


def assemble(folder: Path) -> Path:
    """Writes what a Space needs: the app, the package with its weights, and what to install, pinned as it is here.

    Raises:
        UnwritableImageError: the folder exists, or cannot be written.
        MissingDependencyError: one of the extras that a Space has is not installed.
    """
    needed = requirements()
    with naming(folder):
        folder.mkdir(parents=True)
        shutil.copytree(PACKAGE, folder / "faceanon_hub", ignore=LEFT_OUT)
        for file in (APP, FILES / "README.md", FILES / "packages.txt"):
            shutil.copy(file, folder)
        (folder / "requirements.txt").write_text("\n".join(needed) + "\n")
    return folder


def requirements() -> list[str]:
    """What the package and the extras of a Space need directly, as installed here; gradio is the Space's own.

    Raises:
        MissingDependencyError: a part of it is not installed.
    """
    try:
        needed = [Requirement(line) for line in requires("faceanon-hub") or []]
        extras = [{"extra": name} for name in EXTRAS]
        names = {r.name for r in needed if r.marker is None or any(map(r.marker.evaluate, extras))} - {"gradio"}
        return [f"{name}=={re.sub(r'[+].*', '', version(name))}" for name in sorted(names)]
    except PackageNotFoundError as error:
        raise MissingDependencyError(str(error.name), f"faceanon-hub[{','.join(EXTRAS)}]") from error


def push(repo_id: str, folder: Path, private: bool | None = None, token: str | None = None) -> str:
    """Uploads an assembled folder as a Gradio Space, created if it does not exist. Returns the commit's address."""
    api = HfApi(token=token)
    repo_id = api.create_repo(repo_id, repo_type="space", space_sdk="gradio", private=private, exist_ok=True).repo_id
    return str(api.upload_folder(repo_id=repo_id, repo_type="space", folder_path=folder))
