"""From photos of people to a retargeter."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
from typer.testing import CliRunner

from faceanon_hub import Face, FaceAnonError, FaceRetargeter
from faceanon_hub.cli import app
from faceanon_hub.retargeting import evened
from faceanon_hub.shapes import fit_retargeter
from tests.test_retargeting import PATTERNS, people, turned


@pytest.fixture
def album(tmp_path):
    """Photos whose one pixel is the number of the mesh that is found in them, a folder a person."""
    for number, person in enumerate(people(1)[1]):
        folder = tmp_path / f"{person:02d}"
        folder.mkdir(exist_ok=True)
        PIL.Image.fromarray(np.full((1, 1, 3), (number // 256, number % 256, 0), np.uint8)).save(
            folder / f"{number:03d}.png"
        )
    return tmp_path


class Finder:
    """Finds the meshes of made-up people, the largest last, and none in every tenth photo.

    The second look at a photo is at its mirror image, and finds the mesh moved and turned.
    """

    def find_faces(self, image):
        number = int(image[0, 0, 0]) * 256 + int(image[0, 0, 1])
        if number % 10 == 9:
            return [Face(np.array([0, 0, 9, 9], np.float32), 0.5)]
        meshes = people(1)[0] if not hasattr(self, "meshes") else self.meshes
        self.meshes = meshes
        small, large = np.array([0, 0, 5, 5], np.float32), np.array([0, 0, 9, 9], np.float32)
        self.looks = getattr(self, "looks", 0) + 1
        mesh = meshes[number] if self.looks % 2 else mirrored(meshes[number])
        return [Face(small, 0.9, landmarks=-meshes[number]), Face(large, 0.9, landmarks=mesh)]


def mirrored(mesh):
    """What the finder sees in a mirror image: the mesh moved, turned, and askew."""
    return turned(mesh + np.linspace(0, 0.05, mesh.size).reshape(mesh.shape), 20, 1.5, (9, -7))


def test_the_largest_face_of_each_photo_counts_evened_out(album):
    calls = []
    model = fit_retargeter(Finder(), [album], PATTERNS, lambda *call: calls.append(call))
    points, identities = people(1)
    seen = np.arange(len(points)) % 10 != 9
    straight = np.stack([evened(mesh, mirrored(mesh)) for mesh in points[seen]])
    direct = FaceRetargeter.fit(straight, identities[seen], PATTERNS)
    for name, values in direct.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], values)
    assert calls == [(number, len(points)) for number in range(1, len(points) + 1)]


def test_too_few_people_are_an_error(album, tmp_path):
    with pytest.raises(FaceAnonError, match="no shapes can be learnt"):
        fit_retargeter(Finder(), [album / "00"], PATTERNS)
    done = CliRunner().invoke(app, ["fit-shapes", str(album / "00"), "--out", str(tmp_path / "out"), "--quiet"])
    assert done.exit_code == 1 and "needed are" in done.output
    assert not (tmp_path / "out").exists()
