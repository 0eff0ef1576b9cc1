"""What passes without being anonymized is checked to hold no picture."""

import base64
import binascii
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import skimage.data
from helpers.photos import encoded, saved

from faceanon_hub.io.harmless import MAX_NUMBERS, why_not

ROOT = Path(__file__).parents[2]
FACE = PIL.Image.fromarray(skimage.data.astronaut()[:256, 96:352]).resize((48, 48))
GREY = np.asarray(FACE.convert("L"))


def zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("face.bin", content)
    return stream.getvalue()


JPEG = encoded(FACE, "JPEG")
CODE = base64.b64encode(JPEG).decode()
PICTURES = {
    "tga": encoded(FACE, "TGA"),
    "npy": saved(np.asarray(FACE)),
    "npy of grey": saved(GREY[14:36, 14:36]),
    "npy of floats": saved(GREY / 255),
    "npy with a comment": saved(np.zeros(3)).replace(b" " * 20, b"#" + b"x" * 19, 1) + JPEG,
    "pickle": pickle.dumps(GREY),
    "zip": zipped(JPEG),
    "ts": b"\x47\x40\x11\x10" + bytes(184) + JPEG,
    "mxf": bytes.fromhex("060e2b34020501010d0102010102") + JPEG,
    "base64": CODE.encode(),
    "base64 in lines": base64.encodebytes(JPEG),
    "base64 in JSON": json.dumps({"label": 3, "thumbnail": CODE}).encode(),
    "base64 in lines in JSON": json.dumps({"thumbnail": base64.encodebytes(JPEG).decode()}).encode(),
    "base64 in a list": json.dumps([CODE[n : n + 30] for n in range(0, len(CODE), 30)]).encode(),
    "data URL in SVG": f'<svg><image href="data:image/jpeg;base64,{CODE}"/></svg>'.encode(),
    "base85": base64.b85encode(JPEG),
    "uuencode": b"\n".join(binascii.b2a_uu(JPEG[n : n + 45]).rstrip() for n in range(0, len(JPEG), 45)),
    "hex": binascii.hexlify(JPEG),
    "hex in words": binascii.hexlify(JPEG, " ", 2),
    "escapes": "".join(f"\\u{ord(c):04x}" for c in CODE).encode(),
    "C": ", ".join(f"0x{value:02x}" for value in JPEG).encode(),
    "pixels": " ".join(map(str, GREY.ravel())).encode(),
    "pixels in JSON": json.dumps(GREY.tolist(), indent=2).encode(),
    "pixels as parts": json.dumps((GREY / 255).round(3).tolist()).encode(),
    "pixels row by row": json.dumps({f"row {n}": row.tolist() for n, row in enumerate(GREY)}).encode(),
    "pixels line by line": "\n".join(map(str, GREY.ravel())).encode(),
    "PGM": f"P2 48 48 255 {' '.join(map(str, GREY.ravel()))}".encode(),
    "outlines": ("M 1 2 " + " ".join(f"C {n},{n + 1} {n},3.5 {n},-7" for n in range(90)) + " z").encode(),
    "UTF-16": CODE.encode("utf-16"),
}
TEXTS = {
    "nothing": b"",
    "class": b"7",
    "caption": "Zoë's dog\r\nin the park".encode(),
    "with a mark": b"\xef\xbb\xbfa caption",
    "json": json.dumps(
        [{"id": n, "bbox": [n, 2.5, 30, 41], "file": f"images/{n:06}.jpg"} for n in range(99)]
    ).encode(),
    "table": "\n".join(f"img_{n}.jpg,{n % 3},{n / 7:.3f},12,9" for n in range(500)).encode(),
    "mesh of 68": json.dumps(np.random.default_rng(0).random((68, 2)).round(4).tolist()).encode(),
    "prose": (ROOT / "README.md").read_bytes(),
    "licence": (ROOT / "LICENSE").read_bytes(),
    "Chinese": ("面部匿名化是一种保护隐私的方法，" * 40).encode(),
    "Japanese": (ROOT / "faceanon_hub/demo/languages/ja.json").read_bytes(),
    "box": saved(np.array([1.0, 2, 3, 4])),
    "landmarks": saved(np.zeros((5, 2), np.float32)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_what_may_hold_a_picture_is_told(name):
    assert "picture" in why_not(PICTURES[name])


@pytest.mark.parametrize("name", TEXTS)
def test_text_and_few_numbers_are_harmless(name):
    assert why_not(TEXTS[name]) is None


def test_the_limit_of_numbers():
    for count, harmless in ((MAX_NUMBERS - 1, True), (MAX_NUMBERS, False)):
        assert (why_not(" ".join(["7"] * count)) is None) == harmless
    for count, harmless in ((MAX_NUMBERS, True), (MAX_NUMBERS + 1, False)):
        assert (why_not(saved(np.zeros(count, np.uint8))) is None) == harmless
