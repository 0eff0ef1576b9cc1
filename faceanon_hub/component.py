"""The bases of components, with weights and without, and their registration with diffusers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from .diffusion import (
    ALL_IMPORTABLE_CLASSES,
    LOADABLE_CLASSES,
    ConfigMixin,
    ModelMixin,
    PushToHubMixin,
    is_accelerate_available,
)
from .errors import CheckpointError, FaceAnonError
from .files import check_checkpoint, check_name

HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "token")


@contextmanager
def loading(checkpoint: str | os.PathLike[str], subfolder: str | None = None) -> Iterator[None]:
    """Turns every error of loading into a [`CheckpointError`]: diffusers raises many kinds for a damaged checkpoint.

    The checkpoint is a folder, of which it is made sure first that it holds regular files only, or a Hub id.

    Raises:
        CheckpointError: something is missing, damaged, or out of its range.
    """
    name = str(Path(checkpoint, subfolder)) if subfolder else str(checkpoint)
    try:
        check_name(Path(name), CheckpointError)
        check_checkpoint(Path(name))
        yield
    except CheckpointError as error:
        if error.checkpoint == name:
            raise
        # Of a part of it: the caller knows the whole.
        part = error.checkpoint.removeprefix(name).lstrip("/")
        raise CheckpointError(name, f"{part}: {error.cause}") from error
    except (FaceAnonError, ImportError):
        raise
    except Exception as error:
        raise CheckpointError(name, _why(str(checkpoint), error)) from error


def _why(checkpoint: str, error: BaseException) -> str:
    """What kept a checkpoint from being loaded; diffusers names ids for folders, and files when offline."""
    if "://" in checkpoint:
        return "an address: give the name of a repository, as owner/name, or a folder"
    is_path = checkpoint.startswith(("/", "./", "../", "~")) or checkpoint.count("/") > 1
    if is_path and not Path(checkpoint).exists():
        return "no such folder"
    link: BaseException | None = error
    while link is not None and not isinstance(link, HfHubHTTPError):  # that one is an answer
        if isinstance(link, HTTPError | LocalEntryNotFoundError | OfflineModeIsEnabled):
            return f"not in the cache, and the Hub cannot be reached ({_line(link)}): load it once with a network"
        link = link.__cause__ or link.__context__
    # Where the Hub refused, diffusers speaks of its cache.
    return _line(error.__cause__ if isinstance(error.__cause__, HTTPError) else error)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class Component(ConfigMixin, PushToHubMixin):
    """A pipeline component that is its configuration: loads from and saves to a `config.json`.

    Subclasses decorate `__init__` with `diffusers.configuration_utils.register_to_config`.
    """

    config_name = "config.json"

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], subfolder: str | None = None, **kwargs: Any
    ) -> Self:
        """Loads the component from a local folder or a Hub repository.

        Args:
            pretrained_model_name_or_path (`str` or `os.PathLike`):
                Folder with a `config.json`, or Hub id.
            subfolder (`str`, *optional*):
                Folder inside the repository, e.g. `"detector"`.
            kwargs (*optional*):
                Hub options (`revision`, `token`, `cache_dir`, ...) and values that replace those of the config.

        Raises:
            CheckpointError: there is no `config.json`, it is damaged, or holds a value that is out of its range.
        """
        with loading(pretrained_model_name_or_path, subfolder):
            config, unused, _ = cls.load_config(
                pretrained_model_name_or_path,
                subfolder=subfolder,
                return_unused_kwargs=True,
                return_commit_hash=True,
                **kwargs,
            )
            if not isinstance(config, dict):
                raise ValueError(f"{cls.config_name} holds no object")
            return cls.from_config(config, **unused)

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """Writes `config.json` into `save_directory` (created if missing); `push_to_hub` uploads it too."""
        self.save_config(str(save_directory), push_to_hub=push_to_hub, **kwargs)


class Network(ModelMixin, ConfigMixin):
    """A pipeline component with weights: [`~diffusers.ModelMixin`] that loads all of them or fails."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], subfolder: str | None = None, **kwargs: Any
    ) -> Any:
        """Loads like [`~diffusers.ModelMixin.from_pretrained`], but refuses a file that lacks weights.

        Raises:
            CheckpointError: weights are missing, which diffusers would leave random; a file is missing or damaged, or
                holds a value that is out of its range.
        """
        wanted = kwargs.pop("output_loading_info", False)
        kwargs.setdefault("low_cpu_mem_usage", is_accelerate_available())  # asked for without it, diffusers complains
        with loading(pretrained_model_name_or_path, subfolder):
            model, info = super().from_pretrained(
                pretrained_model_name_or_path, subfolder=subfolder, output_loading_info=True, **kwargs
            )
        if info["missing_keys"]:
            missing = ", ".join(info["missing_keys"])
            raise CheckpointError(str(pretrained_model_name_or_path), f"weights lack {missing}")
        # Weights mapped from a file lie at any address, and the last bit of a product depends on its alignment.
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.data = tensor.data.clone()
        return (model, info) if wanted else model


def component_file(
    pretrained_model_name_or_path: str | os.PathLike[str], subfolder: str | None, name: str, **kwargs: Any
) -> Path:
    """A file that lies beside a component's `config.json`, downloaded where that is on the Hub. Arguments are as of
    [`Component.from_pretrained`].

    A caller that takes the plain name of the file from a config has to check it.

    Raises:
        CheckpointError: there is no such file.
    """
    checkpoint = str(pretrained_model_name_or_path)
    if Path(checkpoint).is_dir():
        path = Path(checkpoint, subfolder or "", name)
        if not path.is_file():
            raise CheckpointError(path, "no such file")
        return path
    options = {option: kwargs[option] for option in HUB_OPTIONS if option in kwargs}
    try:
        return Path(hf_hub_download(checkpoint, name, subfolder=subfolder, **options))
    except (OSError, ValueError) as error:
        raise CheckpointError(checkpoint, f"{name}: {error}") from error


# diffusers looks a component's load and save methods up by library and base class, in tables it has no public way to
# extend. Without this entry a checkpoint of ours loads from a local folder by luck and from the Hub never.
LOADABLE_CLASSES["faceanon_hub"] = {
    base.__name__: ["save_pretrained", "from_pretrained"] for base in (ModelMixin, Component)
}
ALL_IMPORTABLE_CLASSES.update(LOADABLE_CLASSES["faceanon_hub"])
