"""Embeddings with and without a trace of the person, and photos of several people made from the public-domain one."""

import cv2
import numpy as np
import PIL.Image
import pytest

PEOPLE, PHOTOS = 40, 3


@pytest.fixture(scope="session")
def people() -> np.ndarray:
    return np.repeat(np.arange(PEOPLE), PHOTOS)


@pytest.fixture(scope="session")
def planted(people) -> tuple[np.ndarray, np.ndarray]:
    """Originals and anonymized faces that hold the person in 6 numbers, under 18 of loud nothing."""
    random = np.random.default_rng(0)
    person = random.normal(size=(PEOPLE, 6))[people]
    sides = []
    for strength, shift in ((1.0, 0.0), (0.6, 3.0)):
        told = strength * person + 0.1 * random.normal(size=person.shape)
        sides.append(np.concatenate([told, 5 * random.normal(size=(len(people), 18))], 1) + shift)
    return sides[0], sides[1]


@pytest.fixture(scope="session")
def turned_away(people) -> tuple[np.ndarray, np.ndarray]:
    """Originals, and anonymized faces that hold them, turned about so that no distance shows it."""
    random = np.random.default_rng(1)
    originals = random.normal(size=(PEOPLE, 12))[people] + 0.1 * random.normal(size=(len(people), 12))
    turn = np.linalg.qr(random.normal(size=(12, 12)))[0]
    return originals, originals @ turn + 2 + 0.1 * random.normal(size=originals.shape)


@pytest.fixture(scope="session")
def noise(people) -> tuple[np.ndarray, np.ndarray]:
    """Originals that hold the person, and anonymized faces that hold nothing."""
    random = np.random.default_rng(2)
    originals = random.normal(size=(PEOPLE, 24))[people] + 0.1 * random.normal(size=(len(people), 24))
    return originals, random.normal(size=originals.shape)


@pytest.fixture(scope="session")
def album(portrait, tmp_path_factory):
    """Six people, the portrait pulled out of shape and recoloured, on two photos each; and one on a single photo."""
    folder = tmp_path_factory.mktemp("people")
    shapes = [(0.8, 0, 0), (1.25, 0, 12), (1, 0.2, 150), (1, -0.2, 30), (0.9, 0.1, 170), (1.1, -0.1, 90), (1, 0, 60)]
    for number, (wide, shear, hue) in enumerate(shapes):
        matrix = np.array([[0.75 * wide, shear, 96 - 0.75 * wide * 224 - shear * 128], [0, 0.75, 96 - 0.75 * 128]])
        head = cv2.warpAffine(portrait, matrix, (192, 192), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
        hsv = cv2.cvtColor(head, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + hue) % 180
        head = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        place = folder / f"person {number}"
        place.mkdir()
        PIL.Image.fromarray(head).save(place / "1.png")
        if number < 6:
            PIL.Image.fromarray(cv2.convertScaleAbs(head[:, ::-1], alpha=0.8)).save(place / "2.png")
    return folder
