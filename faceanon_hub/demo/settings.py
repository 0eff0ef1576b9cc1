"""The settings, which hold for photos and videos alike."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from ..options import ATTRIBUTES, FALLBACKS, GLASSES
from ..pipeline import FaceAnonPipeline
from ..ranges import THRESHOLD

SEEDS = 2**32
SUREST = 0.05  # lowest threshold of the page: below it everything is a face


class Settings:
    """Fields of the page, which show the pipeline's configuration at first.

    Attributes:
        options (`dict[str, Component]`):
            The fields by the option that each sets, in the order of the named endpoints.
        drawing, choosing (`list`):
            Sliders, and fields with which a value is chosen at once, that change the result of a photo.
        seed, threshold, tiny (`Component`):
            Those that do more.
    """

    def __init__(self, pipe: FaceAnonPipeline, text: gr.I18n) -> None:
        def slider(name: str, high: float, value: float, low: float = 0) -> gr.Slider:
            return gr.Slider(low, high, value, label=text(name), info=text(f"{name}_info"), elem_id=name)

        def choice(name: str, values: Sequence[str], value: str) -> gr.Dropdown:
            named: list[Any] = [(str(text(f"{name}_{one}")), one) for one in values]
            return gr.Dropdown(named, value=value, label=text(name), info=text(f"{name}_info"), elem_id=name)

        gr.Markdown(text("settings"), elem_classes="heading")
        gr.Markdown(text("settings_note"), elem_classes="notice")
        privacy = slider("privacy", 1, pipe.config.privacy)
        glasses = choice("glasses", GLASSES, "original")
        fallback = choice("fallback", FALLBACKS, pipe.config.fallback)
        self.tiny = gr.Checkbox(False, label=text("tiny"), info=text("tiny_info"), elem_id="tiny")
        with gr.Accordion(text("more"), open=False, elem_id="more"):
            light = slider("light", 1, 1)
            color = slider("color", 1, 1)
            attributes = choice("attributes", ATTRIBUTES, pipe.config.attributes)
            truncation = slider("truncation", 1, 0.6)
            self.threshold = slider("threshold", THRESHOLD[1], pipe.detector.config.threshold, SUREST)
            margin = slider("margin", 0.3, pipe.config.mask_margin)
            blur = slider("blur", 0.3, pipe.config.context_blur)
            self.seed = gr.Number(
                0, label=text("seed"), info=text("seed_info"), precision=0, minimum=0, maximum=SEEDS - 1,
                elem_id="seed",
            )  # fmt: skip
        self.options: dict[str, Any] = {
            "lighting_strength": light,
            "color_strength": color,
            "truncation": truncation,
            "fallback": fallback,
            "mask_margin": margin,
            "privacy": privacy,
            "attributes": attributes,
            "glasses": glasses,
            "context_blur": blur,
            "hide_small": self.tiny,
        }
        self.drawing = [privacy, light, color, truncation, margin, blur]
        self.choosing = [glasses, fallback, attributes]
