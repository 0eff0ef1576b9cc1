"""Checkpoints: the bundled one, and what is uploaded beside the weights."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

# The checkpoint that comes with the package: what `FaceAnonPipeline.from_pretrained()` loads.
DEFAULT_CHECKPOINT = Path(__file__).parent / "checkpoints" / "base"

# Lets `DiffusionPipeline.from_pretrained(folder, custom_pipeline="pipeline", trust_remote_code=True)` find our class.
# For a Hub id diffusers checks the components' library before it reads this: there, import faceanon_hub.component.
PIPELINE_FILE = (
    '"""What diffusers imports to find the class."""\n\nfrom faceanon_hub import FaceAnonPipeline  # noqa: F401\n'
)

CARD = """---
{front_matter}
---

# {repo_id}

A face anonymizer: replaces every face of a photo by a realistic face of nobody and keeps expression, gaze, head pose,
light and skin colour. Made with [faceanon-hub]({project}).

```python
from faceanon_hub import FaceAnonPipeline

pipe = FaceAnonPipeline.from_pretrained("{repo_id}")
result = pipe("photo.jpg", seed=0)
result.images[0].save("anonymized.jpg")
```

## Limits

A replaced face hides a person from a glance, not from every recognizer: the outline of the head, the layout of the
face, hair, clothes and place remain. Faces that are not detected are not hidden. Look at every result before you
publish it.

## Licence of the weights

{licence_note}
"""
PROJECT = "https://arxiv.org/abs/2603.17567"
BASE_LICENCE_NOTE = (
    "Derived from the bundled base checkpoint, which was trained on research-only faces (Labeled Faces in the\n"
    "Wild, a CelebA derivative, synthetic faces): for non-commercial research only."
)


def make_card(repo_id: str) -> ModelCard:
    """The card that is uploaded with a checkpoint.

    Args:
        repo_id (`str`):
            Hub id of the checkpoint.

    Returns:
        `huggingface_hub.ModelCard`: with front matter that the Hub validates.
    """
    data = ModelCardData(
        library_name="diffusers",
        pipeline_tag="image-to-image",
        license="other",
        license_name="non-commercial-research",
        tags=["faceanon-hub", "face-anonymization", "privacy", "inpainting"],
    )
    text = CARD.format(front_matter=data.to_yaml(), repo_id=repo_id, project=PROJECT, licence_note=BASE_LICENCE_NOTE)
    return ModelCard(text)
