import dataclasses

import numpy as np
import pytest

from faceanon_hub import landmarks as lm
from faceanon_hub.faces import FaceStatus
from faceanon_hub.io.photos import Photo
from faceanon_hub.metrics.expression import expression_ratios
from faceanon_hub.placing import EYES, opening
from faceanon_hub.video.reenactment import move, show, trials


@pytest.fixture(scope="module")
def person(lenient, portrait, face):
    """Somebody drawn for the portrait."""
    seen = dataclasses.replace(face, seed=3, status=FaceStatus.FOUND)
    scene = lenient.prepare_scene(Photo(portrait, None, False, None, None, "portrait"), [seen], lenient.resolve())
    return lenient.draw_person(scene.jobs[0], lenient.resolve())


def cosine(lenient, *pictures):
    first, second = (
        lenient.recognizer.describe(picture, lenient.landmark_extractor.read(picture).points) for picture in pictures
    )
    return float(first @ second)


def test_a_person_is_drawn_at_rest_and_with_the_mouth_open(lenient, person):
    ratios = [expression_ratios(picture.points)["mouth_open"] for picture in (person.face, person.mouth)]
    assert ratios[0] < 10 < 12 < ratios[1] and person.size == len(person.mouth.pixels)
    assert cosine(lenient, person.face.pixels, person.mouth.pixels) > 0.4


def test_mouth_and_eyes_of_the_result_do_what_the_original_does(lenient, person):
    speaking, pursed, shut = (
        lenient.landmark_extractor.read(show(person, move(person, mesh), person.size)[0]) for mesh in trials(person)
    )
    opened = [expression_ratios(seen.points)["mouth_open"] for seen in (speaking, pursed, shut)]
    assert opened[0] > 20 > opened[1] > 5 > opened[2]
    width = [np.linalg.norm(np.subtract(*seen.points[lm.MOUTH_CORNERS, :2])) for seen in (speaking, pursed)]
    assert width[1] < 0.92 * width[0]
    names = ("eyeBlinkLeft", "eyeBlinkRight")
    blinks = [[seen.blendshapes[lm.BLENDSHAPES.index(name)] for name in names] for seen in (speaking, shut)]
    assert max(blinks[0]) < 0.3 < min(blinks[1])


def test_a_still_original_keeps_the_person_still_wherever_it_goes(person):
    placed = move(person, person.original)
    turned = person.original.copy()
    turned[:, :2] = 0.5 * turned[:, :2] @ np.array([[0, 1], [-1, 0]]) + [200, 40]
    turned[:, 2] *= 0.5
    expected = 0.5 * placed[:, :2] @ np.array([[0, 1], [-1, 0]]) + [200, 40]
    np.testing.assert_allclose(move(person, turned)[:, :2], expected, atol=0.02 * person.size)


def test_lids_never_cross(person):
    shut = trials(person)[2]
    for uppers, _, upper, _, corners, _ in EYES:  # a mesh whose upper lid lies below the lower one
        shut[uppers, :2] += 4 * opening(shut, upper, upper, corners).down
    placed = move(person, shut)
    assert all(opening(placed, *eye[2:5]).gap > -0.01 * person.size for eye in EYES)


def test_a_finer_picture_shows_the_same_person(lenient, person):
    finer = lenient.refine_person(person, 2 * person.size)
    assert finer.size == 2 * person.size == len(finer.mouth.pixels)
    assert cosine(lenient, finer.face.pixels, person.face.pixels) > 0.9
    np.testing.assert_allclose(finer.face.points[:, :2] / 2, person.face.points[:, :2], atol=0.02 * person.size)
