"""The base of components that have a configuration and no weights, and their registration with diffusers."""

from __future__ import annotations

import os
from typing import Any

from diffusers import ConfigMixin, ModelMixin
from diffusers.pipelines.pipeline_loading_utils import ALL_IMPORTABLE_CLASSES, LOADABLE_CLASSES
from diffusers.utils import PushToHubMixin
from typing_extensions import Self


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
        """
        config, unused, _ = cls.load_config(
            pretrained_model_name_or_path,
            subfolder=subfolder,
            return_unused_kwargs=True,
            return_commit_hash=True,
            **kwargs,
        )
        return cls.from_config(config, **unused)

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """Writes `config.json` into `save_directory` (created if missing); `push_to_hub` uploads it too."""
        self.save_config(str(save_directory), push_to_hub=push_to_hub, **kwargs)


# diffusers looks a component's load and save methods up by library and base class, in tables it has no public way to
# extend. Without this entry a checkpoint of ours loads from a local folder by luck and from the Hub never.
LOADABLE_CLASSES["faceanon_hub"] = {
    base.__name__: ["save_pretrained", "from_pretrained"] for base in (ModelMixin, Component)
}
ALL_IMPORTABLE_CLASSES.update(LOADABLE_CLASSES["faceanon_hub"])
