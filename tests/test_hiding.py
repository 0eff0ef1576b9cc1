"""Places in files where a picture can hide, each with something in it; docs/hiding.md lists them all."""

import base64
import io
import re
import struct
import zlib
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
import skimage.data
from helpers.clips import encode, packets_of, ramp, read, rewrite, stream_of
from PIL import PngImagePlugin, TiffImagePlugin

from faceanon_hub.io.photos import WRITABLE, read_photo, write_photo
from faceanon_hub.video.container import DEMUXERS

PHOTO = np.ascontiguousarray(skimage.data.astronaut()[::4, ::4])
PAGE = Path(__file__).parents[1] / "docs" / "hiding.md"
SUFFIXES = [".jpg", ".png", ".webp", ".tif", ".bmp", ".gif", ".heic", ".avif"]


def encoded(kind: str, image: np.ndarray = PHOTO, **options) -> bytes:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    stream = io.BytesIO()
    PIL.Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


FACE = encoded("JPEG", PHOTO[:64, 40:104], quality=60)


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def in_jpeg(*segments: bytes) -> bytes:
    data = encoded("JPEG")
    return data[:2] + b"".join(segments) + data[2:]


def in_png(*chunks: tuple[bytes, bytes], **options) -> bytes:
    data = encoded("PNG", **options)
    made = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    return data[:33] + b"".join(made) + data[33:]


def in_webp(name: bytes) -> bytes:
    data = encoded("WEBP")
    more = name + struct.pack("<I", len(FACE)) + FACE + bytes(len(FACE) % 2)
    return b"RIFF" + struct.pack("<I", len(data) - 8 + len(more)) + data[8:] + more


def in_tiff(**tags: bytes) -> bytes:
    made = TiffImagePlugin.ImageFileDirectory_v2()
    for name, content in tags.items():
        made[int(name[1:])] = content
        made.tagtype[int(name[1:])] = 7
    return encoded("TIFF", tiffinfo=made)


def with_copy(data: bytes) -> bytes:
    """A TIFF whose tag SubIFDs names a directory of a JPEG."""
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    entries = [data[start + 2 + 12 * n : start + 14 + 12 * n] for n in range(count)]
    face = len(data)
    small = struct.pack("<HHHIIHHIIHHIII", 3, 0x0103, 3, 1, 6, 0x0201, 4, 1, face, 0x0202, 4, 1, len(FACE), 0)
    entries.append(struct.pack("<HHII", 330, 13, 1, face + len(FACE)))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    table = struct.pack("<H", count + 1) + b"".join(entries) + bytes(4)
    place = face + len(FACE) + len(small)
    return data[:4] + struct.pack("<I", place) + data[8:] + FACE + small + table


def in_palette() -> bytes:
    """A GIF of two colours, the others of its palette a picture."""
    image = PIL.Image.new("P", (8, 8))
    image.putpalette(bytes(6) + FACE[-402:])
    stream = io.BytesIO()
    image.save(stream, "GIF", optimize=False)
    return stream.getvalue()


def in_gif(kind: int, head: bytes = b"") -> bytes:
    data = encoded("GIF")
    place = 13 + 3 * 2 ** ((data[10] & 7) + 1) * (data[10] >> 7)
    parts = b"".join(bytes([len(FACE[n : n + 255])]) + FACE[n : n + 255] for n in range(0, len(FACE), 255))
    return data[:place] + bytes([0x21, kind]) + head + parts + b"\0" + data[place:]


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def texts() -> PngImagePlugin.PngInfo:
    made = PngImagePlugin.PngInfo()
    made.add_text("Thumbnail", base64.b64encode(FACE).decode())
    return made


PLACES = {
    "JPEG: XMP": lambda: in_jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + FACE)),
    "JPEG: JFIF thumbnail": lambda: in_jpeg(segment(0xE0, b"JFXX\0\x10" + FACE)),
    "JPEG: vendor segments": lambda: in_jpeg(*(segment(0xE0 + n, b"VENDOR\0" + FACE) for n in (*range(3, 14), 15))),
    "JPEG: comment": lambda: in_jpeg(segment(0xFE, FACE)),
    "JPEG: gain map or second picture": lambda: encoded("JPEG") + FACE,
    "JPEG: motion photo": lambda: encoded("JPEG") + box(b"ftyp", b"mp42") + box(b"mdat", FACE),
    "JPEG: maker note": lambda: encoded("JPEG", exif=exif()),
    "PNG: private chunk": lambda: in_png((b"faCe", FACE)),
    "PNG: text": lambda: in_png(pnginfo=texts()),
    "PNG: EXIF": lambda: in_png((b"eXIf", exif()[6:])),
    "PNG: after the end": lambda: encoded("PNG") + FACE,
    "WebP: unknown chunk": lambda: in_webp(b"FACE"),
    "WebP: XMP": lambda: encoded("WEBP", xmp=FACE),
    "TIFF: private tag": lambda: in_tiff(_65000=FACE),
    "TIFF: Photoshop, XMP, IPTC": lambda: in_tiff(_34377=FACE, _700=FACE, _33723=FACE),
    "TIFF: smaller copy": lambda: with_copy(encoded("TIFF")),
    "GIF: colours of the palette": lambda: in_palette(),
    "TIFF: no tag points there": lambda: encoded("TIFF") + FACE,
    "GIF: comment": lambda: in_gif(0xFE),
    "GIF: application": lambda: in_gif(0xFF, b"\x0bFACEFACE1.0"),
    "GIF: after the end": lambda: encoded("GIF") + FACE,
    "BMP: after the pixels": lambda: encoded("BMP") + FACE,
    "PPM: comment": lambda: encoded("PPM").replace(b"P6\n", b"P6\n#" + base64.b64encode(FACE) + b"\n", 1),
    "JPEG 2000: box": lambda: encoded("JPEG2000") + box(b"uuid", bytes(16) + FACE),
    "AVIF: box": lambda: encoded("AVIF") + box(b"uuid", bytes(16) + FACE),
    "AVIF: EXIF and XMP": lambda: encoded("AVIF", exif=exif(), xmp=FACE),
    "HEIC: box": lambda: encoded("HEIF") + box(b"free", FACE),
    "HEIC: EXIF and XMP": lambda: encoded("HEIF", exif=exif(), xmp=FACE),
}


def exif() -> bytes:
    made = PIL.Image.Exif()
    made[0x010E], made[0xC4A5] = base64.b64encode(FACE[:1400]).decode(), FACE
    made.get_ifd(0x8769)[0x927C] = FACE
    return made.tobytes()


def holds_face(value: object) -> bool:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    if any(holds_face(part) for _, part in parts):
        return True
    text = value.encode("latin-1", "replace") if isinstance(value, str) else value
    return isinstance(text, bytes) and (FACE[-200:-100] in text or base64.b64encode(FACE)[300:400] in text)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_nothing_beside_the_pixels_is_written(place, keep, tmp_path):
    content = PLACES[place]()
    assert holds_face(content)
    photo = read_photo(content, keep_metadata=keep)
    for suffix in SUFFIXES:
        if suffix not in WRITABLE:
            continue
        written = write_photo(photo.with_pixels(photo.pixels), tmp_path / f"out{suffix}")
        assert not holds_face(written.read_bytes()), suffix
        with PIL.Image.open(written) as image:
            assert not holds_face(image.info) and not holds_face(dict(image.getexif())), suffix


def test_further_samples_of_a_tiff_are_left_out(tmp_path):
    head = PHOTO.astype(np.uint8)
    five = np.dstack([np.full_like(head, 90), head[..., :1], head[..., 1:2]])  # a face where no viewer looks
    tags = {256: 128, 257: 128, 258: (8,) * 5, 259: 1, 262: 2, 273: 8, 277: 5, 278: 128, 279: five.size, 338: (0, 0)}
    content = bytearray(b"II*\0" + bytes(4) + five.tobytes())
    table = struct.pack("<H", len(tags))
    for tag, value in tags.items():
        values = value if isinstance(value, tuple) else (value,)
        if len(values) > 2:
            table += struct.pack("<HHII", tag, 3, len(values), len(content))
            content += struct.pack(f"<{len(values)}H", *values)
        elif isinstance(value, tuple):
            table += struct.pack("<HHI2H", tag, 3, 2, *values)
        else:
            table += struct.pack("<HHII", tag, 4, 1, value)
    content[4:8] = struct.pack("<I", len(content))
    photo = read_photo(bytes(content) + table + bytes(4))
    assert (photo.pixels == 90).all() and photo.alpha is None


def test_thumbnails_and_second_pictures_of_heic_are_left_out(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    content = encoded("HEIF", thumbnails=[32])
    assert heif.open_heif(io.BytesIO(content)).info["thumbnails"]
    photo = read_photo(content)
    written = write_photo(photo.with_pixels(photo.pixels), tmp_path / "out.heic")
    info = heif.open_heif(written).info
    assert not info["thumbnails"] and not info["depth_images"] and not info["aux"] and not info["metadata"]


def test_second_pictures_covers_and_attachments_of_a_video_are_left_out(tmp_path):
    (tmp_path / "face.jpg").write_bytes(FACE)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        streams = [stream_of(container, codec) for codec in ("libx264", "ffv1")]
        container.add_attachment("face.jpg", "image/jpeg", FACE)
        container.metadata["comment"] = base64.b64encode(FACE).decode()
        streams[1].metadata["title"] = base64.b64encode(FACE).decode()
        for stream in streams:
            container.mux(packets_of(stream, ramp()))
    assert holds_face((tmp_path / "a.mkv").read_bytes())
    notes = rewrite(tmp_path / "a.mkv", tmp_path / "b.mkv")
    assert not holds_face((tmp_path / "b.mkv").read_bytes()) and len(notes) == 2
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_boxes_of_a_video_that_are_not_read_are_not_written(tmp_path):
    clip = encode(tmp_path / "a.mp4", ramp())
    content = clip.read_bytes() + box(b"uuid", bytes(16) + FACE) + box(b"free", FACE)
    (tmp_path / "b.mp4").write_bytes(content)
    rewrite(tmp_path / "b.mp4", tmp_path / "c.mp4")
    assert not holds_face((tmp_path / "c.mp4").read_bytes()) and len(read(tmp_path / "c.mp4")) == 12


def test_the_page_names_every_format_and_only_tests_that_exist():
    page = PAGE.read_text()
    tests = {name for path in Path(__file__).parent.rglob("test_*.py") for name in named(path)}
    cited = set(re.findall(r"`(test_\w+)`", page))
    assert len(cited) > 20 and cited <= tests
    for name in ("JPEG", "PNG", "WebP", "TIFF", "BMP", "GIF", "AVIF", "HEIC", "JPEG 2000", "PPM", "Parquet", "tar"):
        assert f"| {name}" in page, name
    assert all(f"`{name}`" in page for name in DEMUXERS)


def named(path: Path) -> list[str]:
    return re.findall(r"^def (test_\w+)", path.read_text(), re.M)
