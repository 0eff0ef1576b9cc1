"""A face in a photo's transparency: a plane that no viewer shows by itself."""

import io

import cv2
import numpy as np
import PIL.Image
import pytest
from helpers.photos import turned

from faceanon_hub import FaceStatus, LandmarkExtractor, PhotoEditor
from faceanon_hub.io import transparency
from faceanon_hub.io.photos import encode_photo

INNER = (slice(128, 195), slice(135, 178))  # eyes to mouth of the head


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    return turned(0)


@pytest.fixture(scope="module")
def grey(head) -> np.ndarray:
    return np.array(PIL.Image.fromarray(head).convert("L"))


def faces_in(pipe, image: PIL.Image.Image) -> int:
    """Faces of the original that can be seen in any plane of a result."""
    content = np.asarray(PIL.Image.open(io.BytesIO(encode_photo(image, "PNG"))).convert("RGBA"))
    views = transparency.views(content[..., :3], content[..., 3])
    return sum(len(pipe.detector(np.ascontiguousarray(view), 0.5)) for view in views)


@pytest.mark.parametrize("grounds", ["face", "flat", "black", "white"])
def test_a_face_in_the_transparency_is_hidden(quick, head, grey, grounds):
    pixels = {"face": head}.get(grounds, np.full_like(head, {"black": 0, "white": 255}.get(grounds, 90)))
    result = quick(np.dstack([pixels, grey]), seed=0)
    assert (np.asarray(result.images[0])[..., 3][INNER] == 255).all()
    (face,) = result.faces[0]
    if grounds == "face":
        assert face.status is FaceStatus.ANONYMIZED
    else:
        assert face.status is FaceStatus.OBFUSCATED and face.reason == "seen by the transparency alone"
        assert faces_in(quick, result.images[0]) == 0
    before = np.asarray(grey)
    assert np.array_equal(np.asarray(result.images[0])[300:, :, 3], before[300:])  # what is no face stays


def test_a_faint_face_in_the_transparency_is_hidden(quick, head, grey):
    alpha = 252 + grey // 64  # four levels
    alpha[0, 0] = 0
    result = quick(np.dstack([np.full_like(head, 90), alpha]), seed=0)
    assert result.faces[0] and (np.asarray(result.images[0])[..., 3][INNER] == 255).all()


def test_a_face_that_only_the_composed_picture_shows_is_hidden(quick, grey):
    # Half of it in the colours, half in the transparency: either alone is noise, the product is the face.
    noise = np.random.default_rng(0).integers(90, 256, grey.shape)
    alpha = (grey.astype(int) * 255 // 2 // noise + 40).clip(0, 255).astype(np.uint8)
    pixels = np.repeat(((grey.astype(int) * 255 // 2) // np.maximum(alpha, 1)).clip(0, 255)[..., None], 3, 2)
    result = quick(np.dstack([pixels.astype(np.uint8), alpha]), seed=0)
    assert result.faces[0] and (np.asarray(result.images[0])[..., 3][INNER] == 255).mean() > 0.9


def test_a_zone_is_opaque(quick, head, grey):
    result = quick(np.dstack([head, grey]), seed=0, hide=[(0, 0, 320, 320)], fallback="solid")
    assert (np.asarray(result.images[0]) == (0, 0, 0, 255)).all()


def test_another_face_in_the_transparency_of_a_face_is_hidden(quick, head, grey):
    moved = np.roll(grey, 40, 1)
    result = quick(np.dstack([head, moved]), seed=0)
    assert [face.status for face in result.faces[0]].count(FaceStatus.OBFUSCATED) >= 1
    assert (np.asarray(result.images[0])[..., 3][INNER[0], 175:230] == 255).all()


def test_a_face_without_landmarks_is_opaque(quick, head, grey, monkeypatch):
    monkeypatch.setattr(LandmarkExtractor, "__call__", lambda self, image, faces: faces)
    result = quick(np.dstack([head, grey]), seed=0)
    assert (np.asarray(result.images[0])[..., 3][INNER] == 255).all()


def test_a_face_that_no_new_one_fits_is_opaque(quick, head, grey, monkeypatch):
    monkeypatch.setattr(type(quick), "fit_face", lambda *args: None)
    result = quick(np.dstack([head, grey]), seed=0)
    assert result.faces[0][0].status is FaceStatus.OBFUSCATED
    assert (np.asarray(result.images[0])[..., 3][90:210, 135:190] == 255).all()


@pytest.mark.parametrize("channel", range(3))
def test_a_face_in_one_channel_alone_is_replaced(quick, grey, channel):
    pixels = np.full((*grey.shape, 3), 128, np.uint8)
    pixels[..., channel] = grey
    result = quick(pixels, seed=0)
    (face,) = result.faces[0]
    changed = (np.asarray(result.images[0])[INNER] != pixels[INNER])[:48].any(2)  # eyes, nose and mouth
    # The new face is in this channel alone, too: single levels are the old ones by chance, their neighbours are not.
    assert face.status is FaceStatus.ANONYMIZED and cv2.dilate(changed.astype(np.uint8), np.ones((2, 2))).mean() > 0.99
    assert changed.mean() > 0.97


def test_greyscale_with_transparency_and_the_editor(quick, grey):
    image = PIL.Image.fromarray(np.dstack([np.full_like(grey, 90), grey]), "LA")
    assert faces_in(quick, quick(image, seed=0).images[0]) == 0
    assert faces_in(quick, PhotoEditor(quick, image).render()) == 0


def test_the_silhouette_of_a_cut_out_person_stays(quick, head):
    alpha = np.zeros(head.shape[:2], np.uint8)
    alpha[60:, 90:240] = 255
    result = quick(np.dstack([head, alpha]), seed=0)
    assert [face.status for face in result.faces[0]] == [FaceStatus.ANONYMIZED]
    assert np.array_equal(np.asarray(result.images[0])[..., 3], alpha)
