"""Photos to shards: what is in them, what is left out, and what a stop changes."""

import io
import json
import tarfile
from unittest.mock import Mock

import cv2
import numpy as np
import PIL.Image
import pytest
import webdataset

from faceanon_hub import FaceAnonError, FaceDetector, LandmarkExtractor, UnreadableImageError
from faceanon_hub.alignment import align, transform, warp_in
from faceanon_hub.blending.regions import face_region
from faceanon_hub.files import PARTIAL
from faceanon_hub.training import preparation, prepare_faces
from faceanon_hub.training.preparation import FaceCropper, Settings, stored_size

SIZE = 64


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def samples(folder, split="*") -> list[dict]:
    found = []
    for shard in sorted(folder.glob(f"{split}-*.tar")):
        for sample in webdataset.WebDataset(str(shard), shardshuffle=False, empty_check=False):
            sample["split"] = shard.name.split("-")[0]
            found.append(sample)
    return found


def test_every_face_becomes_a_sample_and_every_other_photo_a_reason(prepared):
    manifest = json.loads((prepared / "manifest.json").read_text())
    (source,) = manifest["sources"].values()
    assert source["photos"] == 14 and sum(source["samples"].values()) == 12 == len(samples(prepared))
    assert min(source["samples"].values()) > 0
    assert source["dropped"] == {"no face found": 1, "unreadable": 1}
    assert source["licence"] == "CC0-1.0"


def test_a_crop_is_the_aligned_face_with_a_border(portrait):
    (face,) = LandmarkExtractor()(portrait, FaceDetector()(portrait))
    (sample,) = FaceCropper(Settings(SIZE, True, 0.0))(portrait)
    matrix = align(face.landmarks, SIZE)
    margin = (stored_size(SIZE) - SIZE) // 2
    core = sample["image"][margin:-margin, margin:-margin].astype(int)
    assert np.abs(core - warp_in(portrait, matrix, SIZE)).mean() < 3  # the larger crop is averaged over another grid
    assert np.allclose(sample["points"][:, :2] - margin, transform(face.landmarks, matrix)[:, :2], atol=1e-3)
    assert sample["valid"].all()


def test_what_lies_beyond_the_photo_is_marked(portrait):
    cropper = FaceCropper(Settings(SIZE, True, 0.0))
    cut = np.ascontiguousarray(portrait[55:, :])  # little hair is left above the face
    (sample,) = cropper(cut)
    assert 0.03 < 1 - sample["valid"].mean() < 0.5 and not sample["valid"][0].any() and sample["valid"][-1].all()


def test_black_corners_are_marked_and_dark_clothes_are_not(portrait):
    matrix = cv2.getRotationMatrix2D((224, 118), 20, 1)
    turned = cv2.warpAffine(portrait, matrix, (512, 512))[:300, :400]
    known = preparation._known(np.ascontiguousarray(turned))
    assert 0.05 < 1 - known.mean() < 0.15 and (turned[known == 0] <= preparation.BLACK).all()
    island = portrait.copy()
    island[200:300, 200:300] = 0
    assert preparation._known(island)[200:300, 200:300].all()


def test_a_face_that_is_mostly_beyond_the_photo_is_dropped(portrait):
    reasons = list(FaceCropper(Settings(SIZE, True, 0.0))(np.ascontiguousarray(portrait[140:, :])))
    assert reasons and all(isinstance(reason, str) for reason in reasons)


def test_a_face_of_few_pixels_is_dropped(portrait):
    small = cv2.resize(portrait, (128, 128), interpolation=cv2.INTER_AREA)
    assert list(FaceCropper(Settings(128, True, 0.0))(small)) == ["too small"]


def test_identities_are_apart_and_nobody_is_named(photos, tmp_path):
    manifest = prepare_faces([photos], tmp_path / "out", ["CC0-1.0"], size=SIZE, identities=True, validation=0.4)
    assert manifest["sources"]["heads"]["samples"] == {"train": 9, "validation": 3}
    assert not [name for name, content in contents(tmp_path / "out").items() if b"person" in content]


def test_a_stop_changes_nothing(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "SHARD_PHOTOS", 5)
    prepare_faces([photos], tmp_path / "straight", ["CC0-1.0"], size=SIZE)

    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_faces([photos], tmp_path / "stopped", ["CC0-1.0"], size=SIZE, on_progress=stop)
    assert len(contents(tmp_path / "stopped")) < len(contents(tmp_path / "straight"))
    (tmp_path / "stopped" / f"{PARTIAL}0123").write_bytes(b"half a shard")
    progress = Mock()
    prepare_faces([photos], tmp_path / "stopped", ["CC0-1.0"], size=SIZE, on_progress=progress)
    assert progress.call_args_list[0].args[0] == 5  # what was done is not done again
    assert contents(tmp_path / "stopped") == contents(tmp_path / "straight")


def test_a_tar_gives_the_same_samples_as_the_folder(photos, prepared, tmp_path):
    with tarfile.open(tmp_path / "heads.tar", "w") as tar:
        tar.add(photos, "heads")
    prepare_faces([tmp_path / "heads.tar"], tmp_path / "out", ["CC0-1.0"], size=SIZE, validation=0.34)
    names = [path.name for path in prepared.glob("*.tar")]
    assert names and all((tmp_path / "out" / n).read_bytes() == (prepared / n).read_bytes() for n in names)


@pytest.mark.parametrize("licences", [[], [" "], ["a", "b"]])
def test_a_licence_is_never_guessed(photos, tmp_path, licences):
    with pytest.raises(FaceAnonError, match="licence"):
        prepare_faces([photos], tmp_path / "out", licences)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("licence", "options", "told"),
    [
        ("CC0-1.0", {"size": 128}, "size"),
        ("MIT", {}, "heads: holds a run with another licence"),
        ("CC0-1.0", {"validation": 0.5}, "valid"),
    ],
)
def test_shards_of_one_folder_are_made_alike(photos, prepared, licence, options, told):
    with pytest.raises(FaceAnonError, match=told):
        prepare_faces([photos], prepared, [licence], **{"size": SIZE, "validation": 0.34, **options})


def test_a_source_that_is_none_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("nowhere", "empty"):
        with pytest.raises(UnreadableImageError, match=name):
            prepare_faces([tmp_path / name], tmp_path / "out", ["CC0-1.0"])


def test_nothing_is_written_beside_other_files(photos, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(FaceAnonError, match="not made here"):
        prepare_faces([photos], tmp_path, ["CC0-1.0"])


def test_real_portraits_are_usable(shared):
    path = shared / "data" / "eval-portraits.tar"
    if not path.is_file():
        pytest.skip("no portraits at hand")
    cropper, used, masked = FaceCropper(Settings(SIZE, True, 0.0)), 0, 0
    with tarfile.open(path) as tar:
        for member in tar.getmembers()[::40][:20]:
            picture = np.asarray(PIL.Image.open(io.BytesIO(tar.extractfile(member).read())).convert("RGB"))
            (sample,) = cropper(picture)
            if not isinstance(sample, str):
                used += 1
                masked += not sample["valid"].all()
                face = face_region(sample["points"], len(sample["image"]))
                assert (face & ~sample["valid"] & 1).sum() <= 0.3 * face.sum()
    assert used >= 17 and masked >= 15  # tight crops
