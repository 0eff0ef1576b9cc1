"""What diffusers imports to find the class."""

from faceanon_hub import FaceAnonPipeline  # noqa: F401
