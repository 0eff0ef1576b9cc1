import base64
import csv
import datetime
import errno
import hashlib
import io
import json
import os
import pickle
import runpy
import subprocess
import sys
import tarfile
from pathlib import Path
from unittest.mock import Mock

import fsspec
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import webdataset
from helpers.commands import run
from helpers.photos import encoded, saved, turned
from huggingface_hub import DatasetCard

from faceanon_hub import (
    AnonymizeBatch,
    CheckpointError,
    FaceAnonError,
    FaceAnonPipeline,
    UnreadableError,
    UnreadableImageError,
    UnwritableImageError,
    anonymize_dataset,
    loading,
)
from faceanon_hub.bulk import batch as rows_of
from faceanon_hub.bulk import datasets, shards, storage

ROOT = Path(__file__).parents[2]
PHOTOS = 5


@pytest.fixture(scope="module")
def library():
    """The package `datasets`."""
    return pytest.importorskip("datasets", exc_type=ImportError)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture(scope="module")
def heads():
    """A few small photos of one head each, as JPEG and PNG in turns."""
    head = PIL.Image.fromarray(turned(0)).crop((70, 60, 250, 260))
    return [encoded(head.rotate(7 * n), ("JPEG", "PNG")[n % 2]) for n in range(PHOTOS)]


@pytest.fixture(autouse=True)
def ready(quick, monkeypatch):
    """One pipeline in place of one for each call."""
    monkeypatch.setattr(rows_of, "load", lambda *given: quick)


def add(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def tars(tmp_path, heads):
    """Two shards: labels, a damaged photo, a photo under another name, and a video."""
    source = tmp_path / "tars"
    source.mkdir()
    with tarfile.open(source / "a-000.tar", "w") as tar:
        for number in range(3):
            add(tar, f"{number:03d}.{('jpg', 'png')[number % 2]}", heads[number])
            add(tar, f"{number:03d}.cls", str(number).encode())
    with tarfile.open(source / "a-001.tar", "w") as tar:
        add(tar, "003.jpg", b"\xff\xd8 damaged")
        add(tar, "003.cls", b"3")
        add(tar, "004.raw", heads[0])
        add(tar, "004.cls", b"4")
        add(tar, "005.cls", b"5")
        add(tar, "005.clip", b"\0\0\0\x18ftypmp42 a video")
    return source


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def members(path):
    with tarfile.open(path) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}


def test_a_batch_goes_back_as_it_came(heads):
    image = PIL.Image.open(io.BytesIO(heads[1]))
    array = np.asarray(image)
    values = [image, heads[0], {"bytes": heads[1], "path": None}, array, array / np.float32(255), None, b"damaged"]
    batch = {"image": values, "label": list(range(7))}
    out = AnonymizeBatch(seed=1)(batch)
    assert list(out) == ["image", "label", "anonymization_error"]
    assert out["label"] == list(range(7)) and batch["image"] is values
    new = out["image"]
    assert isinstance(new[0], PIL.Image.Image) and new[0].size == image.size
    assert PIL.Image.open(io.BytesIO(new[1])).format == "JPEG" and new[2]["path"] is None
    assert PIL.Image.open(io.BytesIO(new[2]["bytes"])).format == "PNG"
    assert new[3].dtype == np.uint8 and new[4].dtype == np.float32 and new[4].max() <= 1
    # One photo is one identity, whatever it comes as.
    pixels = np.asarray(new[0])
    assert np.array_equal(new[3], pixels) and np.array_equal(np.round(new[4] * 255), pixels)
    assert np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(new[2]["bytes"]))), pixels)
    assert (pixels != array).any(2).mean() > 0.1
    assert new[5] is None and new[6] is None
    assert out["anonymization_error"][:6] == [""] * 6 and "not an image" in out["anonymization_error"][6]


def test_batches_do_not_change_a_row(heads):
    anonymize = AnonymizeBatch(seed=1)
    together = anonymize({"image": heads})["image"]
    assert together == [anonymize({"image": [content]})["image"][0] for content in heads]
    assert together != AnonymizeBatch(seed=2)({"image": heads})["image"]


def test_a_path_of_the_original_is_not_handed_on(heads, tmp_path):
    (tmp_path / "somebody.jpg").write_bytes(heads[0])
    (new,) = AnonymizeBatch()({"image": [{"bytes": None, "path": str(tmp_path / "somebody.jpg")}]})["image"]
    assert new["path"] == "somebody.jpg" and new["bytes"] != heads[0]


def test_a_failing_row_is_null_and_stops_no_other(heads, monkeypatch):
    whole = FaceAnonPipeline.__call__
    bad = np.asarray(PIL.Image.open(io.BytesIO(heads[2])))

    def fail(self, images, **options):
        if any(photo.pixels.shape == bad.shape and np.array_equal(photo.pixels, bad) for photo in images):
            raise RuntimeError("out of order")
        return whole(self, images, **options)

    expected = AnonymizeBatch(seed=1)({"image": heads})["image"]
    monkeypatch.setattr(FaceAnonPipeline, "__call__", fail)
    out = AnonymizeBatch(seed=1)({"image": heads})
    assert out["image"] == [*expected[:2], None, *expected[3:]]
    assert out["anonymization_error"] == ["", "", "out of order", "", ""]


def test_it_travels_without_the_network(heads):
    anonymize = AnonymizeBatch(seed=1)
    before = pickle.dumps(anonymize)
    anonymize({"image": heads[:1]})
    assert pickle.dumps(anonymize) == before and len(before) < 1000


def test_the_network_computes_in_what_was_asked_for(monkeypatch):
    monkeypatch.setattr(rows_of, "load", loading.load)
    pipe = AnonymizeBatch(dtype="bfloat16").pipe
    assert pipe.generator.dtype == torch.bfloat16 and pipe.sampler.dtype == torch.float32


def test_webdataset_tars_keep_labels_and_rows(tars, tmp_path, heads):
    report = anonymize_dataset(tars, tmp_path / "out", seed=1)
    assert (report.shards, report.rows, report.failed) == (2, 6, 2) and report.anonymized == 4
    failed = [(failure["shard"], failure["row"]) for failure in report.failures]
    assert failed == [("a-001.tar", "003"), ("a-001.tar", "005")]
    assert [json.loads(line) for line in (tmp_path / "out/_faceanon/failures.jsonl").open()] == report.failures
    # As those who train read it.
    urls = [str(tmp_path / "out" / name) for name in ("a-000.tar", "a-001.tar")]
    rows = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [row["__key__"] for row in rows] == [f"{n:03d}" for n in range(6)]
    assert [row["cls"] for row in rows] == [str(n).encode() for n in range(6)]
    assert PIL.Image.open(io.BytesIO(rows[1]["png"])).format == "PNG" and rows[1]["png"] != heads[1]
    assert "jpg" not in rows[3] and b"003.jpg" in rows[3]["error"] and "clip" not in rows[5]
    # What is a photo does not pass under another name.
    assert rows[4]["raw"] not in heads and PIL.Image.open(io.BytesIO(rows[4]["raw"])).format == "JPEG"


def test_an_image_folder_keeps_its_names(source, tmp_path, heads):
    for number, content in enumerate(heads):
        (source / f"class {number % 2}").mkdir(exist_ok=True)
        (source / f"class {number % 2}" / f"{number}.jpg").write_bytes(content)
    (source / "class 0" / "bad.jpg").write_bytes(b"")
    report = anonymize_dataset(source, tmp_path / "out", seed=1)
    assert (report.rows, report.failed, report.anonymized) == (PHOTOS + 1, 1, PHOTOS)
    files = {name for name in tree(tmp_path / "out") if not name.startswith("_faceanon")}
    assert files == {f"class {n % 2}/{n}.jpg" for n in range(PHOTOS)}


def test_links_in_tars_are_rows_and_what_cannot_be_read_is_told(source, tmp_path, heads):
    def link(tar, name, kind, target=""):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        tar.addfile(info)

    with tarfile.open(source / "a.tar", "w") as tar:
        add(tar, "deep/0.jpg", heads[0])
        link(tar, "deep", tarfile.DIRTYPE)
        link(tar, "deep/1.jpg", tarfile.LNKTYPE, "deep/0.jpg")
        link(tar, "deep/2.jpg", tarfile.SYMTYPE, "0.jpg")
        add(tar, "deep/2.cls", b"2")
        link(tar, "deep/3.jpg", tarfile.SYMTYPE, "later.jpg")
        link(tar, "deep/4.jpg", tarfile.LNKTYPE, "deep/none.jpg")
        link(tar, "deep/5.jpg", tarfile.SYMTYPE, "5.jpg")
        link(tar, "deep/6.jpg", tarfile.FIFOTYPE)
        add(tar, "deep/._0.jpg", b"\0\5\x16\7" + bytes(100))
        add(tar, "deep/later.jpg", heads[2])
    report = anonymize_dataset(source, tmp_path / "out", seed=1)
    out = members(tmp_path / "out" / "a.tar")
    assert report.rows == 8 and [failure["row"] for failure in report.failures] == ["deep/4", "deep/5", "deep/6"]
    assert all("a link to nothing, or a device" in failure["error"] for failure in report.failures)
    assert out["deep/0.jpg"] == out["deep/1.jpg"] == out["deep/2.jpg"] != heads[0] and out["deep/2.cls"] == b"2"
    assert out["deep/3.jpg"] == out["deep/later.jpg"] != heads[2]
    assert {name for name in out if name.endswith("error")} == {f"deep/{n}.error" for n in (4, 5, 6)}
    assert "deep/._0.jpg" not in out


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_what_an_image_folder_tells_of_its_photos_is_kept(library, source, tmp_path, heads, name):
    (source / "x").mkdir()
    for number in range(3):
        (source / "x" / f"{number}.jpg").write_bytes(heads[2 * number % 4])
    (source / "x" / "3.jpg").write_bytes(b"\xff\xd8 damaged")
    (source / "x" / "._0.jpg").write_bytes(b"\0\5\x16\7" + bytes(100))
    (source / "x" / "clip.mp4").write_bytes(b"a video")
    (source / "README.md").write_text("who is who")
    rows = [{"file_name": f"x/{number}.jpg", "text": f"'{number}', ä"} for number in range(4)]
    with (source / name).open("w", newline="") as file:
        if name.endswith("csv"):
            writer = csv.DictWriter(file, ["file_name", "text"])
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    report = anonymize_dataset(source, tmp_path / "out", seed=1)
    assert (report.rows, [failure["row"] for failure in report.failures]) == (4, ["x/3.jpg"])
    assert set(report.left_out) == {"README.md", "x/clip.mp4"} == set(report.to_dict()["left_out"])
    assert json.loads((tmp_path / "out" / "_faceanon" / "left_out.json").read_text()) == report.left_out
    made = library.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), split="train")
    assert made["text"][:] == [row["text"] for row in rows[:3]] and {image.size for image in made["image"]}
    result = run("dataset", source, tmp_path / "told", "--seed", 1)
    told = " ".join(result.stderr.split())
    assert result.exit_code == 6 and "row x/3.jpg: " in told and "left out: x/clip.mp4: no photo" in told


def test_metadata_that_cannot_be_copied_is_told(tmp_path, heads):
    for number, content in enumerate((b"{\n", b"[1]\n", b'{"picture": "%s"}' % base64.b64encode(heads[0]))):
        source = tmp_path / str(number)
        source.mkdir()
        (source / "0.jpg").write_bytes(heads[0])
        (source / "metadata.jsonl").write_bytes(content)
        (source / "metadata.parquet").write_bytes(b"PAR1")
        report = anonymize_dataset(source, tmp_path / f"out-{number}", seed=1)
        assert report.rows == 1 and set(report.left_out) == {"metadata.jsonl", "metadata.parquet"}
        assert not (tmp_path / f"out-{number}" / "metadata.jsonl").exists()


def test_files_beside_shards_are_told_and_a_drawn_seed_is_forgotten(tars, tmp_path):
    (tars / "b.tar.gz").write_bytes(b"")
    (tars / "0.jpg").write_bytes(b"")
    report = anonymize_dataset(tars, tmp_path / "out")
    assert report.left_out == dict.fromkeys(("0.jpg", "b.tar.gz"), "the dataset is of tar files")
    assert json.loads((tmp_path / "out/_faceanon/run.json").read_text())["seed"] is None


def test_the_limit_of_pixels_can_be_moved(heads):
    for limit, fails in ((180 * 200 - 1, True), (180 * 200, False)):
        out = AnonymizeBatch(seed=1, max_pixels=limit)({"image": heads[:1]})
        assert ("`max_pixels` moves it" in out["anonymization_error"][0]) == fails == (out["image"] == [None])


def test_local_and_remote_file_systems_give_the_same(tars, tmp_path):
    anonymize_dataset(f"file://{tars}", tmp_path / "out", seed=1)
    memory = fsspec.filesystem("memory")
    memory.put(str(tars), "/source", recursive=True)
    anonymize_dataset("memory://source", "memory://target", seed=1)
    for name in ("a-000.tar", "a-001.tar"):
        assert memory.cat_file(f"/target/{name}") == (tmp_path / "out" / name).read_bytes()


def test_a_stopped_run_goes_on_and_ends_the_same(tars, tmp_path, monkeypatch):
    anonymize_dataset(tars, tmp_path / "whole", seed=1)

    def stop(done, total, shard):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        anonymize_dataset(tars, tmp_path / "out", seed=1, on_progress=stop)
    assert (tmp_path / "out" / "a-000.tar").exists() and not (tmp_path / "out" / "a-001.tar").exists()
    seen = []
    anonymize_dataset(tars, tmp_path / "out", seed=1, on_progress=lambda done, _, shard: seen.append((done, shard)))
    assert seen == [(1, ""), (2, "a-001.tar")] and tree(tmp_path / "out") == tree(tmp_path / "whole")
    with pytest.raises(FaceAnonError, match="another seed"):
        anonymize_dataset(tars, tmp_path / "out", seed=2)
    with pytest.raises(FaceAnonError, match="another dtype, options;"):
        anonymize_dataset(tars, tmp_path / "out", seed=1, dtype="bfloat16", truncation=1)


def test_a_damaged_shard_stops_no_other_and_is_tried_again(tars, tmp_path):
    content = (tars / "a-000.tar").read_bytes()
    (tars / "a-000.tar").write_bytes(content[:3000])
    report = anonymize_dataset(tars, tmp_path / "out", seed=1)
    assert report.rows == 3 and report.failures[0]["shard"] == "a-000.tar" and report.failures[0]["row"] is None
    assert not (tmp_path / "out" / "a-000.tar").exists()
    (tars / "a-000.tar").write_bytes(content)
    assert anonymize_dataset(tars, tmp_path / "out", seed=1).rows == 6


def test_errors_of_the_file_system_are_retried(tars, tmp_path, monkeypatch):
    put, left = shards.put, [2]

    def shaky(target, name, content):
        if name.endswith(".tar") and left[0]:
            left[0] -= 1
            raise UnwritableImageError(name, "connection reset")
        put(target, name, content)

    monkeypatch.setattr(shards, "put", shaky)
    assert anonymize_dataset(tars, tmp_path / "out", seed=1, retries=2).rows == 6
    left[0] = 2
    with pytest.raises(UnwritableImageError, match="connection reset"):
        anonymize_dataset(tars, tmp_path / "other", seed=1, retries=1)


def test_unusable_places_and_options(tars, tmp_path):
    (tmp_path / "mine").mkdir()
    for source, message in (("mine", "neither Parquet"), ("nowhere", "no such folder")):
        with pytest.raises(UnreadableImageError, match=message):
            anonymize_dataset(tmp_path / source, tmp_path / "out")
    (tmp_path / "mine" / "mine.txt").write_text("mine")
    with pytest.raises(FaceAnonError, match="not made here"):
        anonymize_dataset(tars, tmp_path / "mine")
    for target in (tars, tars / "out", tmp_path):
        with pytest.raises(ValueError, match="lie in one another"):
            anonymize_dataset(tars, target)
    for wrong in ({"engine": "spark"}, {"actors": 0}, {"batch_rows": 0}, {"dtype": "int8"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            anonymize_dataset(tars, tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()
    for wrong in ({"truncation": 2}, {"quality": 0}, {"dtype": "int8"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            AnonymizeBatch(**wrong)({"image": []})
    with pytest.raises(TypeError, match="colour"):
        AnonymizeBatch(colour=1)({"image": [b""]})
    with pytest.raises(UnreadableError, match="the batch: has no column 'photo', but image, label"):
        AnonymizeBatch("photo")({"image": [b""], "label": [1]})


def test_nothing_is_written_over_an_original_by_a_link(source, tmp_path, heads):
    (source / "a").mkdir()
    (source / "a" / "0.jpg").write_bytes(heads[0])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(source / "a")
    with pytest.raises(FaceAnonError, match="a link leads out of the folder|not made here"):
        anonymize_dataset(source, tmp_path / "out", seed=1)
    assert (source / "a" / "0.jpg").read_bytes() == heads[0]


def test_a_missing_checkpoint_is_no_failure_of_rows(tars, tmp_path, monkeypatch):
    monkeypatch.setattr(rows_of, "load", loading.load)
    with pytest.raises(CheckpointError, match="nowhere"):
        anonymize_dataset(tars, tmp_path / "out", checkpoint=str(tmp_path / "nowhere"))


def test_the_command(tars, tmp_path):
    result = run("dataset", tars, tmp_path / "out", "--seed", 1, "--json")
    assert result.exit_code == 6 and json.loads(result.stdout)["rows"] == 6 and "2 failed" in result.stderr
    assert run("dataset", tars, tars).exit_code == 2
    assert run("dataset", tmp_path / "nowhere", tmp_path / "x").exit_code == 4


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def test_parquet_keeps_rows_columns_and_schema(heads, source, tmp_path):
    photos = [{"bytes": content, "path": f"{n}.jpg"} for n, content in enumerate(heads)]
    photos[1], photos[2]["bytes"] = None, b"damaged"
    names, scores = pa.array([f"row {n}" for n in range(PHOTOS)]), pa.array(np.linspace(0, 1, PHOTOS))
    table = pa.table({"name": names, "image": pa.array(photos, IMAGE), "score": scores})
    table = table.replace_schema_metadata({"huggingface": '{"info": {}}'})
    pq.write_table(table, source / "train.parquet")
    report = anonymize_dataset(source, tmp_path / "out", seed=1, batch_rows=2)
    out = pq.read_table(tmp_path / "out" / "train.parquet")
    assert out.schema.equals(table.schema, check_metadata=True) and out.num_rows == report.rows == PHOTOS
    assert out["name"].equals(table["name"]) and out["score"].equals(table["score"])
    photos = out["image"].to_pylist()
    assert photos[1] is None and photos[2] is None and report.failures[0]["row"] == 2 and report.failed == 1
    assert [photo["path"] for photo in photos if photo] == ["0.jpg", "3.jpg", "4.jpg"]
    assert not {photo["bytes"] for photo in photos if photo} & set(heads)


def test_what_may_hold_a_picture_does_not_pass_a_tar(source, tmp_path, heads):
    code = base64.b64encode(heads[0]).decode()
    others = {
        "npy": saved(np.asarray(PIL.Image.open(io.BytesIO(heads[0])))),
        "ts": b"\x47\x40\x11" + heads[0],
        "pyd": pickle.dumps(heads[0]),
        "json": json.dumps({"thumbnail": code}).encode(),
        "pgm.txt": " ".join(["7"] * 2304).encode(),
    }
    harmless = {"cls": b"0", "txt": b"a head", "meta.json": b'{"box": [1, 2, 3, 4]}', "box.npy": saved(np.arange(4))}
    with tarfile.open(source / "a.tar", "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": code}) as tar:
        info = tarfile.TarInfo("0.jpg")
        info.size, info.uname, info.gname, info.uid, info.mtime = len(heads[0]), "zoe", "family", 1000, 1700000000
        info.pax_headers = {"SCHILY.xattr.thumbnail": code}
        tar.addfile(info, io.BytesIO(heads[0]))
        for suffix, content in {**others, **harmless}.items():
            add(tar, f"0.{suffix}", content)
    report = anonymize_dataset(source, tmp_path / "out", seed=1)
    (failure,) = report.failures
    assert failure["row"] == "0" and all(f"0.{suffix}: " in failure["error"] for suffix in others)
    made = members(tmp_path / "out" / "a.tar")
    assert set(made) == {"0.jpg", "0.error", *(f"0.{suffix}" for suffix in harmless)} and made["0.jpg"] != heads[0]
    assert all(made[f"0.{suffix}"] == content for suffix, content in harmless.items())
    content = (tmp_path / "out" / "a.tar").read_bytes()
    assert code.encode() not in content and b"zoe" not in content and b"family" not in content
    with tarfile.open(tmp_path / "out" / "a.tar") as tar:
        assert not tar.pax_headers and {(info.uid, info.mtime) for info in tar} == {(0, 0)}

    report = anonymize_dataset(source, tmp_path / "trusted", seed=1, trust=["*.npy", "*.ts", "0.p*", "*.json"])
    assert not report.failures and set(others) <= {name[2:] for name in members(tmp_path / "trusted" / "a.tar")}
    with pytest.raises(FaceAnonError, match="another trust"):
        anonymize_dataset(source, tmp_path / "trusted", seed=1)


def test_photos_in_any_column_at_any_depth_of_parquet(heads, source, tmp_path):
    one, other = ({"bytes": content, "path": f"{n}.jpg"} for n, content in enumerate(heads[:2]))
    code = base64.b64encode(heads[0]).decode()
    grey = np.asarray(PIL.Image.open(io.BytesIO(heads[0])).convert("L").resize((24, 24))).tolist()
    columns = {
        "image": pa.array([one, other], IMAGE),
        "views": pa.array([[one, other], [None, one]], pa.list_(IMAGE)),
        "deep": pa.array([{"shots": [{"raw": heads[0], "name": "a"}]}, None]),
        "by_name": pa.array([[("front", heads[1])], []], pa.map_(pa.string(), pa.large_binary())),
        "coded": pa.array([heads[0], heads[1]]).dictionary_encode(),
        "thumbnail": pa.array([code, "none"]),
        "pixels": pa.array([grey, [[1]]], pa.list_(pa.list_(pa.uint8()))),
        "blob": pa.array([b"\0\1\2 unknown", None]),
        "label": pa.array([1, 2]),
        "caption": pa.array(["a head", "another"]).dictionary_encode(),
        "box": pa.array([[1.5, 2, 3, 4], None]),
        "key": pa.array([b"front", b"side"]),
        "seen": pa.array([datetime.datetime(2024, 1, 1), None]),
    }
    table = pa.table(columns).replace_schema_metadata({"huggingface": "{}", "preview": code})
    pq.write_table(table, source / "a.parquet")
    report = anonymize_dataset(source, tmp_path / "out", seed=1)
    made = pq.read_table(tmp_path / "out" / "a.parquet")
    assert made.schema.equals(table.schema) and made.schema.metadata == {b"huggingface": b"{}"}
    (failure,) = report.failures
    assert failure["row"] == 0 and report.rows == 2
    assert all(f"{name}: " in failure["error"] for name in ("thumbnail", "pixels", "blob"))
    first, second = made.to_pylist()
    assert (first["thumbnail"], first["pixels"], first["blob"]) == (None, None, None)
    for name in ("label", "caption", "box", "key", "seen"):
        assert made[name].equals(table[name])
    new = first["image"]["bytes"]
    assert first["views"][0]["bytes"] == new and second["views"][0] is None and second["views"][1]["bytes"] == new
    assert first["deep"] == {"shots": [{"raw": new, "name": "a"}]} and first["coded"] == new
    assert first["by_name"] == [("front", second["image"]["bytes"])]
    whole = (tmp_path / "out" / "a.parquet").read_bytes()
    assert not any(content[-200:-100] in whole for content in (heads[0], heads[1], code.encode()))

    trusted = ["pixels", "blob", "thumb*"]
    report = anonymize_dataset(source, tmp_path / "trusted", seed=1, trust=trusted, column="image")
    assert not report.failures
    assert pq.read_table(tmp_path / "trusted" / "a.parquet")["pixels"].equals(table["pixels"])


def test_parquet_that_cannot_be_looked_through_is_refused(heads, source, tmp_path):
    photos = pa.array([heads[0], b"damaged"])
    inner = pa.field("x", pa.int8(), metadata={"preview": base64.b64encode(heads[0])})
    tables = {
        "never null": pa.table([photos], pa.schema([pa.field("image", pa.binary(), nullable=False)])),
        "one name": pa.table([photos, photos], ["image", "image"]),
        "metadata": pa.table([photos, pa.array([{"x": 1}, None], pa.struct([inner]))], ["image", "more"]),
        "no photos": pa.table({"x": [1]}),
    }
    for name, table in tables.items():
        pq.write_table(table, source / f"{name}.parquet")
    report = anonymize_dataset(source, tmp_path / "out", seed=1, column=None)
    refused = {failure["shard"] for failure in report.failures if failure["row"] is None}
    assert refused == {f"{name}.parquet" for name in tables}
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_a_batch_looks_into_all_columns(heads):
    image = PIL.Image.open(io.BytesIO(heads[1]))
    batch = {
        "image": [image],
        "views": [[image, heads[0]]],
        "mask": [np.asarray(image)],
        "label": [3],
        "text": ["a b"],
    }
    batch |= {"tokens": [list(range(500))], "thumbnail": [base64.b64encode(heads[0]).decode()], "odd": [object()]}
    out = AnonymizeBatch(seed=1)(batch)
    new = np.asarray(out["image"][0])
    assert (new != np.asarray(image)).any() and np.array_equal(out["views"][0][0], new)
    assert out["views"][0][1] != heads[0] and np.array_equal(out["mask"][0], new)
    assert (out["label"], out["text"]) == ([3], ["a b"])
    assert out["tokens"] == out["thumbnail"] == out["odd"] == [None]
    assert all(f"{name}: " in out["anonymization_error"][0] for name in ("tokens", "thumbnail", "odd"))
    out = AnonymizeBatch(seed=1, trust=["tokens", "thumb*", "odd"])(batch)
    assert out["tokens"] == batch["tokens"] and out["anonymization_error"] == [""]


def labelled(library, contents):
    features = library.Features({"image": library.Image(), "label": library.Value("int64")})
    photos = [{"bytes": content, "path": f"{n}.jpg"} for n, content in enumerate(contents)]
    return library.Dataset.from_dict({"image": photos, "label": list(range(PHOTOS))}, features=features)


def test_hugging_face_datasets_map(library, heads):
    dataset = labelled(library, heads)
    out = dataset.map(AnonymizeBatch(seed=1), batched=True, batch_size=2)
    assert out["label"] == list(range(PHOTOS)) and out.num_rows == PHOTOS
    for before, after in zip(dataset, out, strict=True):
        assert (np.asarray(before["image"]) != np.asarray(after["image"])).any()
    assert set(out["anonymization_error"]) == {""}
    out = dataset.map(AnonymizeBatch(seed=1), batched=True, remove_columns="label")
    assert set(out.column_names) == {"image", "anonymization_error"}


@pytest.mark.parametrize("bad", [0, 4])
def test_a_photo_that_map_cannot_decode_fails_alone(library, heads, bad):
    cut = [content[: len(content) // 2] if n == bad else content for n, content in enumerate(heads)]
    dataset = labelled(library, cut)
    for batch_size in (1, 2, PHOTOS):
        out = dataset.map(AnonymizeBatch(seed=1), batched=True, batch_size=batch_size)
        assert out["label"] == list(range(PHOTOS)) and out.features["image"] == library.Image()
        assert [n for n, image in enumerate(out["image"]) if image is None] == [bad]
        errors = out["anonymization_error"]
        assert "cut short" in errors[bad] and not any(error for n, error in enumerate(errors) if n != bad)
    stored = out.cast_column("image", library.Image(decode=False))["image"]
    good = (bad + 1) % PHOTOS
    assert stored[good]["bytes"] not in heads and stored[good]["path"] == f"{good}.jpg"


FORKED = """
import sys
import PIL.Image
from faceanon_hub import AnonymizeBatch

if __name__ == "__main__":
    import multiprocess
    from datasets import Dataset, Features, Image

    picture = PIL.Image.new("RGB", (32, 32))
    AnonymizeBatch(seed=1)({"image": [picture]})
    if sys.argv[1] == "spawn":
        multiprocess.set_start_method("spawn")
    dataset = Dataset.from_dict({"image": [picture] * 2}, features=Features({"image": Image()}))
    done = dataset.map(AnonymizeBatch(seed=1, threads=1), batched=True, batch_size=1, num_proc=2)
    print(done["anonymization_error"][:])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no system that forks")
@pytest.mark.parametrize(
    ("method", "told"),
    [("fork", "forked from one in which"), pytest.param("spawn", "['', '']", marks=pytest.mark.slow)],
)
def test_workers_are_not_forked_from_a_pipeline_that_ran(tmp_path, method, told):
    pytest.importorskip("datasets", exc_type=ImportError)
    (tmp_path / "forked.py").write_text(FORKED)
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}  # two: one alone does not hang
    done = subprocess.run(
        [sys.executable, str(tmp_path / "forked.py"), method],
        capture_output=True, text=True, timeout=240, env=environment, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert told in done.stdout + done.stderr and (done.returncode == 0) == (method == "spawn")


EXAMPLE = ROOT / "examples" / "anonymize_dataset.py"


def test_the_example_writes_a_dataset_with_a_card_that_tells_the_limits(library, heads, source, tmp_path, monkeypatch):
    for number, content in enumerate((*heads[:2], heads[2][:2000])):  # the last is cut short
        (source / f"{number}.jpg").write_bytes(content)
    arguments = [str(source), str(tmp_path / "out"), "--seed", "1"]
    monkeypatch.setattr(sys, "argv", ["anonymize_dataset.py", *arguments])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    out = library.load_dataset(str(tmp_path / "out"), split="train")
    card = DatasetCard.load(tmp_path / "out" / "README.md")
    assert card.data.tags == ["face-anonymization", "faceanon-hub"]
    assert out.num_rows == 3 and "| 3 | 1 |" in card.text and "not hidden" in card.text.replace("**", "")


class _Deadly(shards.ShardWork):
    """Work during which the first actor to come to a shard dies."""

    def __call__(self, shard):
        mark = Path(self.places[1]).parent / "died"
        if shard.name == "a-002.tar" and not mark.exists():
            mark.write_text("")
            os._exit(9)
        return super().__call__(shard)


@pytest.mark.slow
def test_an_actor_that_dies_loses_and_doubles_nothing(one_thread, sketches, source, tmp_path, heads, monkeypatch):
    monkeypatch.undo()  # actors load the pipeline as it is
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray = pytest.importorskip("ray", exc_type=ImportError)
    pytest.importorskip("ray.data", exc_type=ImportError)
    for number in range(6):
        with tarfile.open(source / f"a-{number:03d}.tar", "w") as tar:
            add(tar, f"{number}.jpg", heads[number % PHOTOS])
            add(tar, f"{number}.cls", str(number).encode())
    # In a process of its own: in this one, the first face that is drawn fits.
    code = "import sys; from faceanon_hub.bulk.datasets import anonymize_dataset as run; a, b, c = sys.argv[1:]; "
    command = [sys.executable, "-c", code + "run(a, b, seed=1, checkpoint=c)", source, tmp_path / "local", sketches]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
    monkeypatch.setattr(datasets, "ShardWork", _Deadly)
    # Actors unpickle the deadly work, so they must find this file.
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": environment})
    try:
        report = anonymize_dataset(source, tmp_path / "ray", seed=1, checkpoint=str(sketches), engine="ray", actors=2)
    finally:
        ray.shutdown()
    assert (tmp_path / "died").exists() and report.rows == report.anonymized == 6
    digests = [{name: hashlib.sha256(content).hexdigest() for name, content in tree(tmp_path / place).items()}
               for place in ("local", "ray")]  # fmt: skip
    assert digests[0] == digests[1]


def test_a_run_killed_before_its_first_word_begins_again(tars, tmp_path):
    side = tmp_path / "target" / storage.SIDE
    side.mkdir(parents=True)
    (side / f"{storage.PARTIAL}0123456789abcdef").write_text('{"version": ')
    report = anonymize_dataset(tars, tmp_path / "target", seed=0)
    assert report.rows == 6 and not list(side.glob(f"{storage.PARTIAL}*"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / f"{storage.PARTIAL}a").touch()
    with pytest.raises(FaceAnonError, match="not made here"):
        anonymize_dataset(tars, tmp_path / "other")


def test_a_damaged_record_of_a_run_is_told(tars, tmp_path):
    (tmp_path / "target" / storage.SIDE).mkdir(parents=True)
    (tmp_path / "target" / storage.SIDE / "run.json").write_text("{")
    with pytest.raises(FaceAnonError, match="run.json: no JSON"):
        anonymize_dataset(tars, tmp_path / "target")


def test_a_full_folder_for_temporary_files_stops_the_run(tars, tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(shards.tempfile, "TemporaryFile", Mock(side_effect=full))
    with pytest.raises(UnwritableImageError, match=r"target/a-000\.tar: No space left on device"):
        anonymize_dataset(tars, tmp_path / "target")


def test_a_parquet_file_names_photos_of_its_own_folder(heads, source, tmp_path):
    for path in (source / "inside.png", tmp_path / "outside.png"):
        path.write_bytes(heads[1])
    (source / "link.png").symlink_to(tmp_path / "outside.png")
    paths = ["inside.png", str(source / "inside.png"), "../outside.png", str(tmp_path / "outside.png"), "link.png"]
    paths += [f"file://{tmp_path}/outside.png", "http://127.0.0.1:9/a.png"]
    rows = [{"bytes": None, "path": path} for path in paths]
    pq.write_table(pa.table({"image": pa.array(rows, IMAGE)}), source / "a.parquet")
    report = anonymize_dataset(source, tmp_path / "target", seed=0)
    assert [failure["row"] for failure in report.failures] == [2, 3, 4, 5, 6]
    assert all("outside of the dataset" in failure["error"] for failure in report.failures)
    made = pq.read_table(tmp_path / "target" / "a.parquet").column("image").to_pylist()
    assert [row is None for row in made] == [False, False, True, True, True, True, True]


@pytest.mark.parametrize("name", ["actors", "batch_rows", "retries", "cpus", "gpus", "quality"])
def test_numbers_are_checked(name, tars, tmp_path):
    for value in (-1, float("nan"), float("inf"), "1"):
        with pytest.raises(ValueError, match=name):
            anonymize_dataset(tars, tmp_path / "target", **{name: value})
