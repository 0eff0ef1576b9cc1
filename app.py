"""The web demo: a photo in, an anonymized photo out."""

from __future__ import annotations

import gradio as gr
import numpy as np
import PIL.Image

from faceanon_hub import FaceAnonError, FaceAnonPipeline
from faceanon_hub.preview import draw_faces

HOUR = 3600
NOTICE = (
    "Photos are processed on this machine, deleted within an hour, and neither logged nor passed on. "
    "A replaced face is no guarantee: hair, clothes and place remain, and a face that is not found is not hidden."
)

pipe = FaceAnonPipeline.from_pretrained()
pipe.set_progress_bar_config(disable=True)


def anonymize(photo: str | None, seed: float, light: float, color: float) -> tuple[tuple[PIL.Image.Image, ...], str]:
    """Anonymizes one uploaded photo. Returns (before, after) and what was done in words."""
    if photo is None:
        raise gr.Error("Choose a photo first.")
    try:
        result = pipe(photo, seed=int(seed), lighting_strength=light, color_strength=color)
    except FaceAnonError as error:
        raise gr.Error(error.cause if hasattr(error, "cause") else str(error)) from error
    (after,), (faces,) = result.images, result.faces
    if not faces:
        gr.Warning("No face was found: the photo is unchanged.")
    hidden = [f"face {n}: {face.reason}" for n, face in enumerate(faces) if face.status.value == "obfuscated"]
    if hidden:
        gr.Warning("Hidden by blur, not replaced: " + "; ".join(hidden))
    before = draw_faces(after, faces)
    replaced = int(np.sum([face.status.value == "anonymized" for face in faces]))
    return (before, after), f"{len(faces)} found, {replaced} replaced, {len(hidden)} blurred."


with gr.Blocks(title="faceanon_hub", delete_cache=(HOUR, HOUR), analytics_enabled=False) as demo:
    gr.Markdown(f"# Faces of nobody\nEvery face is replaced by a realistic face of nobody. {NOTICE}")
    with gr.Row():
        with gr.Column():
            photo = gr.Image(label="Photo", type="filepath", sources=["upload", "webcam", "clipboard"])
            seed = gr.Number(label="Seed: picks the new identities", value=9, precision=0, minimum=0)
            light = gr.Slider(0, 1, value=1, label="Light: keep the direction of the original")
            color = gr.Slider(0, 1, value=1, label="Skin colour: keep that of the original")
            button = gr.Button("Anonymize", variant="primary")
        with gr.Column():
            slider = gr.ImageSlider(label="Faces found, and the result", format="png", type="pil")
            told = gr.Textbox(label="What was done", interactive=False)
    inputs, outputs = [photo, seed, light, color], [slider, told]
    button.click(anonymize, inputs, outputs, api_name="anonymize", concurrency_limit=1)
    photo.upload(anonymize, inputs, outputs, api_name=False, concurrency_limit=1)

if __name__ == "__main__":
    demo.queue(max_size=20).launch(max_file_size="50mb")
