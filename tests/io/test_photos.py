"""Photos in and out of the anonymizer, on real files."""

import base64
import gc
import importlib.util
import io
import os
import stat
import struct
import sys
import time
import warnings
import zlib
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.disk import full_disk
from helpers.photos import encoded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from PIL import Image, ImageCms, ImageFile, PngImagePlugin, TiffImagePlugin, features
from PIL.TiffImagePlugin import IFDRational
from skimage.data import astronaut

from faceanon_hub.errors import (
    AnimatedImageError,
    FaceAnonError,
    ImageTooLargeError,
    UnreadableImageError,
    UnwritableImageError,
)
from faceanon_hub.io.photos import Photo, encode_photo, is_media, photo_kind, read_photo, write_photo

pytestmark = pytest.mark.filterwarnings("error")

PHOTO = np.ascontiguousarray(astronaut()[:512:4, :384:4])  # (128, 96, 3), no symmetry
GREY = np.array(Image.fromarray(PHOTO).convert("L"))


def with_tag(profile: bytes, name: bytes, data: bytes) -> bytes:
    """A profile with one more tag, or another content of one."""
    count = struct.unpack_from(">I", profile, 128)[0]
    entries = [struct.unpack_from(">4sII", profile, 132 + 12 * number) for number in range(count)]
    tags = {tag: profile[place : place + size] for tag, place, size in entries} | {name: data}
    table, content = struct.pack(">I", len(tags)), b""
    for tag, value in tags.items():
        table += struct.pack(">4sII", tag, 132 + 12 * len(tags) + len(content), len(value))
        content += value + bytes(-len(value) % 4)
    whole = profile[4:128] + table + content
    return struct.pack(">I", 4 + len(whole)) + whole


def gamma_curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def grey_profile(gamma: float) -> bytes:
    profile = with_tag(SRGB, b"kTRC", gamma_curve(gamma))
    return profile[:16] + b"GRAY" + profile[20:]


def adobe_profile() -> bytes:
    """Adobe RGB (1998): sRGB's red and blue, another green and gamma 2.2, adapted to D50."""
    profile = SRGB
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        profile = with_tag(profile, name, gamma_curve(563 / 256))
    for name, corner in (
        (b"r", (0.60974, 0.31111, 0.01947)),
        (b"g", (0.20528, 0.62567, 0.06087)),
        (b"b", (0.14919, 0.06322, 0.74457)),
    ):
        data = b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in corner))
        profile = with_tag(profile, name + b"XYZ", data)
    return profile


def as_srgb(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    image = Image.fromarray(pixels)
    new = ImageCms.profileToProfile(image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB")
    return np.array(new.convert(image.mode))


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ADOBE = adobe_profile()
THUMBNAIL, MAKER_NOTE, PHOTOSHOP, XMP = (name * 40 for name in (b"thumbnail", b"maker note", b"photoshop", b"xmp"))
AVIF = [".avif"] if features.check("avif") else []
HEIC = [".heic"] if importlib.util.find_spec("pillow_heif") else []
SUFFIXES = [".jpg", ".png", ".webp", ".tif", ".bmp", ".gif", *HEIC, *AVIF]
needs_avif = pytest.mark.skipif(not AVIF, reason="Pillow without AVIF")


@pytest.fixture(autouse=True, scope="module")
def no_litter():
    """What other tests left open is closed before: here it would count as an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


def heic(image: np.ndarray, **options) -> bytes:
    pytest.importorskip("pillow_heif").register_heif_opener()
    return encoded(image, "HEIF", **options)


def error_between(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(float) - other).mean())


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def exif_with_previews() -> bytes:
    """What a camera writes: IFD0, camera and GPS tags, previews in vendor blocks, and IFD1 with a thumbnail."""
    exif = Image.Exif()
    exif.update({0x010F: "Leaky", 0x0112: 6, 0x013B: "Zoë".encode("latin-1"), 0x8298: "© Zoë".encode("latin-1")})
    exif.update({0x8649: PHOTOSHOP, 0x02BC: XMP})
    unknown = IFDRational(0, 0)  # so cameras write it
    lens = [IFDRational(24), IFDRational(70), unknown, unknown]
    exif.get_ifd(0x8769).update({0x829A: IFDRational(1, 125), 0x927C: MAKER_NOTE, 0xA432: lens})
    exif.get_ifd(0x8769)[0xC5E0] = THUMBNAIL  # a vendor's own tag
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 5.0, 33.0)})
    blob = bytearray(exif.tobytes())
    at = len(blob) - len(b"Exif\0\0")
    struct.pack_into(">I", blob, 16 + 12 * struct.unpack_from(">H", blob, 14)[0], at)  # the end of IFD0
    where, length = (0x0201, 4, 1, at + 42), (0x0202, 4, 1, len(THUMBNAIL))
    table = struct.pack(">HHHIHHHHIIHHIII", 3, 0x0103, 3, 1, 6, 0, *where, *length, 0)
    return bytes(blob) + table + THUMBNAIL


EXIF = exif_with_previews()
UPRIGHT = EXIF.replace(struct.pack(">HHIH", 0x0112, 3, 1, 6), struct.pack(">HHIH", 0x0112, 3, 1, 1))
AS_NUMBERS = UPRIGHT.replace(struct.pack(">HH", 0x8298, 2), struct.pack(">HH", 0x8298, 5))  # copyright
DAMAGED_EXIF = [b"Exif\0\0garbage", EXIF[:60], b"Exif\0\0II*\0\xff\xff\xff\x7f", AS_NUMBERS]


# Upright


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels as a camera held in that orientation stores them, from the definition of the EXIF tag."""
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation].copy()


def orientation_exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x013B] = "Zoe"
    return exif.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(orientation, tmp_path):
    data = encoded(stored(PHOTO, orientation), "PNG", exif=orientation_exif(orientation))
    photo = read_photo(data, keep_metadata=True)
    np.testing.assert_array_equal(photo.pixels, PHOTO)
    written = write_photo(photo.with_pixels(photo.pixels), tmp_path / "out.png")
    with Image.open(written) as again:
        assert again.getexif()[0x013B] == "Zoe"
        assert 0x0112 not in again.getexif()
        np.testing.assert_array_equal(np.asarray(again), PHOTO)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", pytest.param("AVIF", marks=needs_avif)])
def test_orientation_in_every_format_that_has_it(kind):
    photo = read_photo(encoded(stored(PHOTO, 6), kind, exif=orientation_exif(6), quality=95))
    assert error_between(photo.pixels, PHOTO) < 5


def test_orientation_of_alpha_grey_depth_and_cmyk():
    alpha = GREY[::-1]
    rgba = np.dstack([PHOTO, alpha])
    photo = read_photo(encoded(stored(rgba, 5), "PNG", exif=orientation_exif(5)))
    np.testing.assert_array_equal(photo.alpha, alpha)
    deep = encoded(stored(GREY, 8).astype(np.uint16) * 257, "PNG", exif=orientation_exif(8))
    np.testing.assert_array_equal(read_photo(deep).pixels[..., 1], GREY)
    cmyk = Image.fromarray(stored(PHOTO, 7)).convert("CMYK")
    assert error_between(read_photo(encoded(cmyk, "JPEG", quality=95, exif=orientation_exif(7))).pixels, PHOTO) < 5


def test_orientation_set_on_an_image_in_memory():
    image = Image.fromarray(stored(PHOTO, 6))
    image.getexif()[0x0112] = 6
    np.testing.assert_array_equal(read_photo(image).pixels, PHOTO)


@pytest.mark.parametrize("exif", DAMAGED_EXIF)
@pytest.mark.filterwarnings("ignore")
def test_damaged_exif_does_not_refuse_the_photo(exif):
    photo = read_photo(encoded(PHOTO, "PNG", exif=exif), keep_metadata=True)
    np.testing.assert_array_equal(photo.pixels, PHOTO)


# Colour


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", *HEIC, *AVIF])
def test_a_profile_is_made_anew_and_says_the_same(suffix, tmp_path):
    photo = read_photo(encoded(PHOTO, "JPEG", quality=95, icc_profile=ADOBE))
    assert error_between(as_srgb(photo.pixels, photo.icc_profile), as_srgb(photo.pixels, ADOBE)) < 0.1
    assert error_between(as_srgb(photo.pixels, ADOBE), photo.pixels) > 5
    written = read_photo(write_photo(photo.with_pixels(photo.pixels), tmp_path / f"out{suffix}"))
    assert written.icc_profile == photo.icc_profile
    assert error_between(written.pixels, photo.pixels) < 4


@pytest.mark.parametrize("suffix", [".gif", ".bmp"])
def test_what_holds_no_profile_gets_srgb(suffix, tmp_path):
    flat = np.full((16, 16, 3), (40, 200, 90), np.uint8)
    photo = read_photo(encoded(flat, "PNG", icc_profile=ADOBE))
    for alpha in (None, np.full((16, 16), 255, np.uint8)):
        image = replace(photo, alpha=alpha).with_pixels(flat)
        written = read_photo(write_photo(image, tmp_path / f"out{suffix}"))
        assert error_between(written.pixels, as_srgb(flat, ADOBE)) < 3 and written.icc_profile is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_plain_save_keeps_profile_and_exif(kind):
    photo = read_photo(encoded(PHOTO, "PNG", icc_profile=ADOBE, exif=EXIF), keep_metadata=True)
    with Image.open(io.BytesIO(encoded(photo.with_pixels(PHOTO), kind))) as again:
        assert again.info["icc_profile"] == photo.icc_profile
        assert again.getexif()[0x010F] == "Leaky"


def test_nothing_but_numbers_is_left_of_a_profile(tmp_path):
    secret = b"the original face " * 40
    profile = with_tag(with_tag(ADOBE, b"thmb", secret), b"dscm", b"mluc" + secret)
    profile = profile[:48] + b"face" + profile[52:]  # the maker
    photo = read_photo(encoded(PHOTO, "PNG", icc_profile=profile))
    assert photo.icc_profile == read_photo(encoded(PHOTO, "PNG", icc_profile=ADOBE)).icc_profile
    assert b"face" not in photo.icc_profile
    # Behind a curve, and in tags of another kind than their name says.
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, 563) + secret
    longer = read_photo(encoded(PHOTO, "PNG", icc_profile=with_tag(ADOBE, b"rTRC", curve))).icc_profile
    assert longer is not None and secret[:20] not in longer
    for tag, data in (
        (b"rXYZ", secret),
        (b"rTRC", secret),
        (b"rTRC", b"curv" + bytes(4) + struct.pack(">I", 300) + secret),
    ):
        photo = read_photo(encoded(PHOTO, "PNG", icc_profile=with_tag(ADOBE, tag, data)))
        assert secret[:20] not in (photo.icc_profile or b"")


def test_a_profile_of_tables_is_converted_to_display_p3():
    # A2B0: all colours half as bright, as a look-up table of 2 x 2 x 2 in Lab.
    lab = [(0, 0, 0), (32, 0, 79), (88, -79, 81), (97, -22, 94), (30, 68, -112), (60, 94, -60), (91, -51, -15)]
    nodes = [
        channel
        for L, a, b in [*reversed(lab), (100, 0, 0)][::-1]
        for channel in (L * 127 // 100, a // 2 + 128, b // 2 + 128)
    ]
    table = b"mft1" + bytes(4) + bytes([3, 3, 2, 0]) + struct.pack(">9i", *(np.eye(3).ravel() * 65536).astype(int))
    table += bytes(range(256)) * 3 + bytes(nodes) + bytes(range(256)) * 3
    profile = with_tag(ADOBE, b"A2B0", table)
    profile = profile[:20] + b"Lab " + profile[24:]
    photo = read_photo(encoded(PHOTO, "PNG", icc_profile=profile))
    p3 = ImageCms.ImageCmsProfile(io.BytesIO(photo.icc_profile)).profile
    assert p3.red_primary[2:] or p3.is_matrix_shaper
    assert error_between(as_srgb(photo.pixels, photo.icc_profile), as_srgb(PHOTO, profile)) < 3
    assert error_between(photo.pixels, PHOTO) > 5


def test_a_profile_that_is_none_is_dropped():
    for profile in (b"no profile", b"x" * 300, ADOBE[:200], ADOBE[:16] + b"RGB " + b"the original face" * 30):
        photo = read_photo(encoded(PHOTO, "PNG", icc_profile=profile))
        assert photo.icc_profile is None
        np.testing.assert_array_equal(photo.pixels, PHOTO)


def test_grey_profile_is_kept_for_grey_only():
    profile = grey_profile(1.8)
    photo = read_photo(encoded(GREY, "PNG", icc_profile=profile))
    assert photo.grey and photo.icc_profile[16:20] == b"GRAY"
    assert error_between(as_srgb(GREY, photo.icc_profile), as_srgb(GREY, profile)) < 0.1
    assert read_photo(encoded(PHOTO, "PNG", icc_profile=profile)).icc_profile is None


# Colours by number


def code_chunk(primaries: int, transfer: int) -> bytes:
    return png_chunk(b"cICP", bytes([primaries, transfer, 0, 1]))


def gamma_chunks(gamma: int, *corners: int) -> bytes:
    chunks = png_chunk(b"gAMA", struct.pack(">I", gamma))
    return chunks + (png_chunk(b"cHRM", struct.pack(">8I", *corners)) if corners else b"")


def chunked(chunks: bytes, image: np.ndarray = PHOTO, **options) -> bytes:
    data = encoded(image, "PNG", **options)
    return data[:33] + chunks + data[33:]


def coded(kind: str, primaries: int, transfer: int, image: np.ndarray) -> bytes:
    """A photo whose colours are said by code points."""
    if kind == "HEIF":
        return heic(image, quality=100, color_primaries=primaries, transfer_characteristics=transfer)
    if kind == "PNG":
        return chunked(code_chunk(primaries, transfer), image, icc_profile=SRGB)
    data = encoded(image, "AVIF", quality=100)
    assert data.count(b"colrnclx\0\1\0\x0d") == 1
    return data.replace(b"colrnclx\0\1\0\x0d", b"colrnclx" + struct.pack(">HH", primaries, transfer))


ADOBE_CORNERS = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)


@pytest.mark.parametrize("kind", ["PNG", "HEIF", pytest.param("AVIF", marks=needs_avif)])
def test_display_p3_by_code_points_becomes_a_profile(kind, tmp_path):
    flat = np.full((32, 32, 3), (180, 120, 90), np.uint8)
    photo = read_photo(coded(kind, 12, 13, flat))
    found = as_srgb(flat, photo.icc_profile)[0, 0]
    np.testing.assert_allclose(found, (189, 118, 85), atol=3)
    written = read_photo(write_photo(photo.with_pixels(photo.pixels), tmp_path / "out.jpg"))
    assert written.icc_profile == photo.icc_profile


def test_what_is_srgb_gets_no_profile():
    gamma = gamma_chunks(45455, 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    declared = png_chunk(b"sRGB", b"\0") + gamma_chunks(100000)
    for chunks in (b"", code_chunk(1, 13), code_chunk(2, 2), gamma_chunks(45455), gamma, declared):
        assert read_photo(chunked(chunks)).icc_profile is None


def test_gamma_and_corners_of_a_png_become_a_profile():
    photo = read_photo(chunked(gamma_chunks(45470, *ADOBE_CORNERS)))
    assert error_between(as_srgb(PHOTO, photo.icc_profile), as_srgb(PHOTO, ADOBE)) < 3
    assert error_between(as_srgb(PHOTO, photo.icc_profile), PHOTO) > 3.5
    linear = read_photo(chunked(gamma_chunks(100000), GREY))
    lighter = as_srgb(np.full((1, 1), 55, np.uint8), linear.icc_profile)
    assert linear.grey and int(lighter[0, 0]) == pytest.approx(127, abs=2)
    for chunks in (gamma_chunks(1), gamma_chunks(45455, *[0] * 8), gamma_chunks(2**31 - 1)):
        np.testing.assert_array_equal(read_photo(chunked(chunks)).pixels, PHOTO)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
@pytest.mark.parametrize("kind", ["PNG", "HEIF", "profile", pytest.param("AVIF", marks=needs_avif)])
def test_hdr_is_refused(kind, transfer, name, tmp_path):
    path = tmp_path / "hdr.jpg"
    if kind == "profile":
        profile = with_tag(ADOBE, b"cicp", b"cicp" + bytes([0, 0, 0, 0, 9, transfer, 0, 1]))
        path.write_bytes(encoded(PHOTO, "JPEG", icc_profile=profile))
    else:
        path.write_bytes(coded(kind, 9, transfer, PHOTO))
    with pytest.raises(UnreadableImageError, match=rf"hdr\.jpg: HDR \({name}\): convert it to SDR first"):
        read_photo(path)


def cmyk_profile() -> bytes:
    """A made-up press whose cyan ink is green and whose other inks are grey: CMYK to Lab as an ICC v2 table."""
    nodes = []
    for ink in range(16):  # bits are C, M, Y, K
        nodes += [255, 128, 128] if ink == 0 else [153, 68, 168] if ink == 8 else [0 if ink & 1 else 128, 128, 128]
    identity = np.eye(3).ravel() * 65536
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + struct.pack(">9i", *identity.astype(int)) + ramp * 4
    table += bytes(nodes) + ramp * 3
    header = struct.pack(">I4sI4s4s4s", 0, bytes(4), 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    head = header.ljust(128, b"\0") + struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    profile = head + table + bytes(-len(table) % 4)
    return struct.pack(">I", len(profile)) + profile[4:]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile(kind):
    cyan = Image.new("CMYK", (32, 32), (255, 0, 0, 0))
    photo = read_photo(encoded(cyan, kind, icc_profile=cmyk_profile()))
    red, green, blue = photo.pixels.reshape(-1, 3).mean(0)
    assert green > red + 60
    assert green > blue + 60
    assert photo.icc_profile is None
    assert not photo.grey


@pytest.mark.parametrize("profile", [None, SRGB, b"no profile"])
def test_cmyk_without_a_usable_profile(profile):
    data = encoded(Image.fromarray(PHOTO).convert("CMYK"), "JPEG", quality=95, icc_profile=profile)
    assert b"Adobe" in data  # stored inverted, as Photoshop does
    photo = read_photo(data)
    assert error_between(photo.pixels, PHOTO) < 4
    assert photo.icc_profile is None


@pytest.mark.parametrize("mode", ["YCbCr", "LAB", "HSV", "RGBX"])
def test_other_colour_spaces(mode):
    photo = read_photo(Image.fromarray(PHOTO).convert(mode))
    assert error_between(photo.pixels, PHOTO) < 3
    assert photo.alpha is None


def test_grey_goes_back_as_grey(tmp_path):
    photo = read_photo(encoded(GREY, "JPEG", quality=95))
    assert photo.grey
    assert photo.pixels.shape == (128, 96, 3)
    assert (photo.pixels == photo.pixels[..., :1]).all()
    for suffix in (".jpg", ".png", ".tif"):
        with Image.open(write_photo(photo.with_pixels(photo.pixels), tmp_path / f"out{suffix}")) as written:
            assert written.mode == "L"
    assert not read_photo(encoded(PHOTO, "JPEG")).grey


# Transparency


def test_rgba_and_la_round_trip(tmp_path):
    alpha = np.maximum(GREY, 40) - 40  # colours that do not show are there to be anonymized, too
    for pixels, mode in ((np.dstack([PHOTO, alpha]), "RGBA"), (np.dstack([GREY, alpha]), "LA")):
        image = Image.fromarray(pixels, mode)
        photo = read_photo(encoded(image, "PNG"))
        np.testing.assert_array_equal(photo.alpha, alpha)
        np.testing.assert_array_equal(photo.pixels, np.broadcast_to(pixels[..., :-1], PHOTO.shape))
        with Image.open(write_photo(photo.with_pixels(photo.pixels), tmp_path / "out.png")) as written:
            assert written.mode == mode
            np.testing.assert_array_equal(np.asarray(written), pixels)


def test_palette_with_and_without_transparency():
    palette = Image.fromarray(PHOTO).quantize(16)
    colours = np.array(palette.convert("RGB"))
    photo = read_photo(encoded(palette, "PNG"))
    np.testing.assert_array_equal(photo.pixels, colours)
    assert photo.alpha is None
    photo = read_photo(encoded(palette, "PNG", transparency=3))
    np.testing.assert_array_equal(photo.pixels, colours)
    np.testing.assert_array_equal(photo.alpha == 0, np.asarray(palette) == 3)
    opacity = bytes(range(0, 160, 10))
    photo = read_photo(encoded(palette, "PNG", transparency=opacity))
    np.testing.assert_array_equal(photo.alpha, np.asarray(palette) * 10)
    assert not photo.grey


def test_pa_and_premultiplied_rgba():
    rgba = Image.fromarray(np.dstack([PHOTO, np.full_like(GREY, 255)]))
    photo = read_photo(rgba.convert("RGBa"))
    np.testing.assert_array_equal(photo.pixels, PHOTO)
    assert (photo.alpha == 255).all()
    pa = Image.fromarray(PHOTO).quantize(16).convert("PA")
    assert read_photo(pa).alpha.shape == GREY.shape


def test_transparent_colour_of_rgb_and_grey():
    rgb = PHOTO.copy()
    rgb[:5] = (1, 2, 3)
    photo = read_photo(encoded(rgb, "PNG", transparency=(1, 2, 3)))
    assert (photo.alpha[:5] == 0).all()
    assert photo.alpha[5:].mean() > 250
    grey = read_photo(encoded(GREY, "PNG", transparency=int(GREY[0, 0])))
    assert grey.grey
    np.testing.assert_array_equal(grey.alpha == 0, GREY[0, 0] == GREY)


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_alpha_is_flattened_over_white(suffix, tmp_path):
    pixels = np.full((16, 16, 3), (200, 0, 0), np.uint8)
    alpha = np.full((16, 16), 255, np.uint8)
    alpha[:8], alpha[8:12] = 0, 128
    photo = read_photo(np.dstack([pixels, alpha]))
    written = read_photo(write_photo(photo.with_pixels(pixels), tmp_path / f"out{suffix}"))
    assert written.alpha is None
    np.testing.assert_allclose(written.pixels[2, 8], (255, 255, 255), atol=8)
    np.testing.assert_allclose(written.pixels[10, 8], (227, 127, 127), atol=12)
    np.testing.assert_allclose(written.pixels[14, 8], (200, 0, 0), atol=8)
    grey = Photo(pixels, alpha, True, None, None, "grey")
    with Image.open(write_photo(grey.with_pixels(pixels), tmp_path / f"grey{suffix}")) as flat:
        assert flat.mode == "L"


# Depth


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_one_and_sixteen_bits_of_grey_keep_their_brightness(kind):
    dots = Image.fromarray(GREY).convert("1")
    for image, levels in ((dots, np.asarray(dots) * 255), (GREY.astype(np.uint16) * 257, GREY)):
        photo = read_photo(encoded(image, kind))
        assert photo.grey
        np.testing.assert_array_equal(photo.pixels[..., 2], levels)


def test_sixteen_bit_rgb_png():
    deep = (PHOTO.astype(np.uint16) * 257).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    np.testing.assert_array_equal(read_photo(png(96, 128, 16, 2, rows)).pixels, PHOTO)


def test_negative_sixteen_bit_tiff_comes_out_positive():
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x0106] = 0  # white is zero
    data = encoded((255 - GREY).astype(np.uint16) * 257, "TIFF", tiffinfo=tags)
    np.testing.assert_array_equal(read_photo(data).pixels[..., 0], GREY)


@pytest.mark.parametrize("white", [1, 255, 65535])
def test_float_and_integer_images(white):
    floats = Image.fromarray((GREY / 255 * white).astype(np.float32))
    assert floats.mode == "F"
    np.testing.assert_array_equal(read_photo(floats).pixels[..., 0], GREY)
    if white > 1:
        integers = Image.fromarray(GREY.astype(np.int32) * (white // 255))
        assert integers.mode == "I"
        np.testing.assert_array_equal(read_photo(integers).pixels[..., 0], GREY)


@pytest.mark.parametrize("array", [PHOTO.astype(np.uint16) * 257, *((PHOTO / 255).astype(f"f{n}") for n in (2, 4, 8))])
def test_arrays_of_other_types(array):
    np.testing.assert_array_equal(read_photo(array).pixels, PHOTO)


def test_arrays_are_rounded():
    steps = read_photo(np.array([[0, 128, 129, 257, 65406, 65407, 65535]], np.uint16))
    assert steps.pixels[0, :, 0].tolist() == [0, 0, 1, 1, 254, 255, 255]
    assert read_photo(np.array([[0.501, 0.999]])).pixels[0, :, 0].tolist() == [128, 255]


def test_array_shapes():
    for grey in (GREY, GREY[..., None]):
        assert read_photo(grey).grey
        np.testing.assert_array_equal(read_photo(grey).pixels[..., 1], GREY)
    colour = read_photo(np.dstack([PHOTO, GREY])[:, ::-1])  # not contiguous
    np.testing.assert_array_equal(colour.pixels, PHOTO[:, ::-1])
    np.testing.assert_array_equal(colour.alpha, GREY[:, ::-1])


def test_torch_tensors():
    tensor = torch.from_numpy(PHOTO).permute(2, 0, 1)
    np.testing.assert_array_equal(read_photo(tensor).pixels, PHOTO)
    np.testing.assert_array_equal(read_photo((tensor / 255).requires_grad_()).pixels, PHOTO)
    assert error_between(read_photo((tensor / 255).to(torch.bfloat16)).pixels, PHOTO) < 1
    assert read_photo(torch.zeros(1, 4, 5)).grey
    assert read_photo(torch.zeros(4, 4, 5)).alpha.shape == (4, 5)
    for bad in (torch.zeros(1, 3, 4, 5), torch.zeros(4, 5), torch.zeros(5, 4, 3)):
        with pytest.raises(UnreadableImageError, match=r"Tensor of shape .*\(C, H, W\)"):
            read_photo(bad)
    with pytest.raises(UnreadableImageError, match="255"):
        read_photo(tensor.float())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st_numpy.arrays(
        np.uint8,
        st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
            lambda size: st.sampled_from([size, (*size, 1), (*size, 3), (*size, 4)])
        ),
    )
)
def test_any_array_survives_png(tmp_path, array):
    photo = read_photo(array)
    again = read_photo(write_photo(photo.with_pixels(photo.pixels), tmp_path / "out.png"))
    colour = array[..., :3] if array.ndim == 3 else array[..., None]
    np.testing.assert_array_equal(again.pixels, np.broadcast_to(colour, again.pixels.shape))
    assert again.grey == (colour.shape[-1] == 1)
    if array.shape[2:] == (4,):
        np.testing.assert_array_equal(again.alpha, array[..., 3])


# Sources


def test_path_bytes_file_and_image_agree(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(PHOTO, "JPEG", quality=95))
    with path.open("rb") as file, Image.open(path) as image:
        file.seek(7)
        photos = [read_photo(source) for source in (path, str(path), path.read_bytes(), file, image)]
        assert file.tell() == 7
    for photo in photos[1:]:
        np.testing.assert_array_equal(photo.pixels, photos[0].pixels)
    assert [photo.source for photo in photos] == [str(path), str(path), "bytes object", str(path), str(path)]


def test_pipe_is_read():
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as end:
        end.write(encoded(PHOTO[:16], "PNG"))
    with os.fdopen(reading, "rb") as pipe:
        np.testing.assert_array_equal(read_photo(pipe).pixels, PHOTO[:16])


def test_sources_are_not_modified():
    array = PHOTO.astype(np.float32) / 255
    image = Image.fromarray(stored(PHOTO, 6))
    image.info = {"exif": orientation_exif(6), "comment": b"mine", "icc_profile": SRGB}
    before = array.copy(), image.tobytes(), dict(image.info), image.size
    photo = read_photo(image)
    photo.pixels[:] = 0
    photo.with_pixels(PHOTO)
    read_photo(array).pixels[:] = 0
    read_photo(same := PHOTO.copy()).pixels[:] = 0
    np.testing.assert_array_equal(array, before[0])
    np.testing.assert_array_equal(same, PHOTO)
    assert (image.tobytes(), image.info, image.size) == before[1:]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc")
def test_no_file_is_left_open(tmp_path):
    for name, data in (("a.jpg", encoded(PHOTO, "JPEG")), ("b.tif", encoded(PHOTO, "TIFF")), ("c.jpg", b"text")):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "d.jpg").write_bytes(encoded(PHOTO, "JPEG")[:900])
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept = []
    for path in sorted(tmp_path.iterdir()):
        try:
            kept.append(read_photo(path))
        except UnreadableImageError as error:
            kept.append(error)
    assert [type(entry) for entry in kept] == [Photo, Photo, UnreadableImageError, UnreadableImageError]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# Metadata


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_metadata_and_hidden_previews(kind, keep, tmp_path):
    source = encoded(PHOTO, kind, exif=EXIF) if kind != "TIFF" else tiff_with_previews()
    hidden = [PHOTOSHOP, XMP] if kind == "TIFF" else [THUMBNAIL, MAKER_NOTE, PHOTOSHOP, XMP]
    assert all(block in source for block in hidden)
    photo = read_photo(source, keep_metadata=keep)
    for suffix in (".jpg", ".png", ".webp", ".tif"):
        written = write_photo(photo.with_pixels(PHOTO), tmp_path / f"out{suffix}")
        assert not [block for block in hidden if block[:20] in written.read_bytes()]
        with Image.open(written) as image:
            exif = image.getexif()
            camera, gps, thumbnail = (exif.get_ifd(group) for group in (0x8769, 0x8825, 1))
        assert 0x0112 not in exif
        assert not thumbnail
        if not keep:
            assert not {0x010F, 0x013B, 0x8298, 0x8769, 0x8825}.intersection(exif)
            continue
        assert exif[0x010F] == "Leaky"
        assert exif[0x013B] == ("Zoë" if suffix != ".tif" else "Zo?")  # Pillow's TIFF writer knows ASCII only
        if kind != "TIFF":
            assert gps == {1: "N", 2: (52, 5, 33)}
            assert camera[0x829A] == pytest.approx(1 / 125)
            assert set(camera) == {0x829A, 0xA432}


def tiff_with_previews() -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x010F], tags[0x013B], tags[0x8649], tags[0x02BC] = "Leaky", "Zoë".encode("latin-1"), PHOTOSHOP, XMP
    tags.tagtype[0x8649] = 7
    return encoded(PHOTO, "TIFF", tiffinfo=tags)


def test_what_could_be_a_picture_in_standard_tags_is_dropped():
    exif = Image.Exif()
    exif[0x010E] = "x y" * 1000
    exif[0x8298] = base64.b64encode(encoded(PHOTO[:64:2, :64:2], "WEBP", quality=40)).decode()[:2000]
    exif[0x013B] = b"\xff\xd8\xff\xe0\0\x10JFIF"  # a picture filed as text
    exif[0x0131] = "padded\0\0"
    exif.get_ifd(0x8769).update({0x9286: THUMBNAIL, 0x9101: b"\1\2\3\0", 0x927C: b"short maker note"})
    kept = Image.Exif()
    kept.load(read_photo(encoded(PHOTO, "PNG", exif=exif), keep_metadata=True).exif)
    assert dict(kept).keys() == {0x0131, 0x8769}
    assert kept.get_ifd(0x8769) == {0x9101: b"\1\2\3\0"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_else_in_info_is_written(suffix, tmp_path):
    secret = b"the original face"
    keys = ("comment", "xmp", "photoshop", "XML:com.adobe.xmp", "Title", "description", "extension")
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("Title", secret.decode())
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x010E], tags[0x02BC], tags[0x8649] = secret.decode(), secret, secret
    opened = [Image.open(io.BytesIO(encoded(PHOTO, "PNG", pnginfo=texts)))]
    opened.append(Image.open(io.BytesIO(encoded(PHOTO, "TIFF", tiffinfo=tags))))
    opened.append(Image.open(io.BytesIO(encoded(PHOTO, "JPEG", comment=secret))))
    opened.append(Image.fromarray(PHOTO))
    opened[-1].info.update(dict.fromkeys(keys, secret))
    opened.append(read_photo(opened[2], keep_metadata=True).with_pixels(PHOTO))
    assert "exif" not in opened[-1].info
    for image in opened:
        assert secret not in write_photo(image, tmp_path / f"out{suffix}").read_bytes()


# Many pictures in one file


def test_mpo_gives_its_first_picture(tmp_path):
    second = Image.fromarray(255 - PHOTO)
    data = encoded(PHOTO, "MPO", save_all=True, append_images=[second], quality=95)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 2
    photo = read_photo(data)
    assert error_between(photo.pixels, PHOTO) < 6
    written = write_photo(photo.with_pixels(photo.pixels), tmp_path / "out.jpg").read_bytes()
    assert written.count(b"\xff\xd8\xff") == 1


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", pytest.param("AVIF", marks=needs_avif)])
def test_several_frames_are_refused(kind, tmp_path):
    path = tmp_path / f"moving.{kind.lower()}"
    path.write_bytes(encoded(PHOTO, kind, save_all=True, append_images=[Image.fromarray(255 - PHOTO)]))
    with pytest.raises(AnimatedImageError, match=f"moving.{kind.lower()}: more than one frame"):
        read_photo(path)
    with Image.open(path) as image, pytest.raises(AnimatedImageError):
        read_photo(image)


def test_single_frame_gif_is_a_photo(tmp_path):
    palette = Image.fromarray(PHOTO).quantize(64)
    photo = read_photo(encoded(palette, "GIF"))
    np.testing.assert_array_equal(photo.pixels, np.asarray(palette.convert("RGB")))
    write_photo(photo.with_pixels(photo.pixels), tmp_path / "out.gif")
    assert error_between(read_photo(tmp_path / "out.gif").pixels, photo.pixels) < 4


# HEIC


@pytest.mark.parametrize("suffix", [".heic", ".heif"])
def test_heic_round_trip(suffix, tmp_path):
    photo = read_photo(heic(PHOTO, quality=95, exif=EXIF, icc_profile=SRGB), keep_metadata=True)
    upright = np.rot90(PHOTO, -1)  # orientation 6 in EXIF
    assert error_between(photo.pixels, upright) < 4
    assert error_between(as_srgb(photo.pixels, photo.icc_profile), photo.pixels) < 0.2
    written = write_photo(photo.with_pixels(photo.pixels), tmp_path / f"out{suffix}")
    again = read_photo(written, keep_metadata=True)
    assert error_between(again.pixels, upright) < 5
    assert b"Leaky" in again.exif
    assert MAKER_NOTE[:20] not in written.read_bytes()
    assert THUMBNAIL[:20] not in written.read_bytes()


@needs_avif
def test_avif_in_a_general_container_is_no_heic(monkeypatch):
    data = bytearray(encoded(PHOTO, "AVIF", quality=95))
    data[8:12] = b"mif1"
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert error_between(read_photo(bytes(data)).pixels, PHOTO) < 5


def test_heic_without_pillow_heif_says_what_to_install(tmp_path, monkeypatch):
    data = heic(PHOTO)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "phone.heic").write_bytes(data)
    with pytest.raises(UnreadableImageError, match=r"phone\.heic: .*pip install pillow-heif"):
        read_photo(tmp_path / "phone.heic")
    with pytest.raises(UnwritableImageError, match=r"out\.heic: .*pip install pillow-heif"):
        write_photo(Image.fromarray(PHOTO), tmp_path / "out.heic")


# Refused


SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "empty"),
        ("naïve text, no photo\n".encode(), "text, not an image"),
        (SVG, "SVG"),
        (bytes(range(256)) * 8, "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "text, not an image"),
        (b"\xff\xd8\xff\xe0", "not an image"),
        (png(4, 4, 8, 2, b""), "damaged or cut short"),
    ],
)
def test_what_is_no_image_is_refused(data, cause, tmp_path):
    path = tmp_path / "holiday.jpg"
    path.write_bytes(data)
    with pytest.raises(UnreadableImageError, match=rf"holiday\.jpg: .*{cause}"):
        read_photo(path)
    with pytest.raises(UnreadableImageError, match=cause):
        read_photo(data)


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG", "WEBP", "TIFF", "BMP", "GIF", "HEIF", "AVIF"])
@pytest.mark.filterwarnings("ignore")
def test_truncated_files_are_refused(kind, allowed, tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", allowed)
    if kind == "HEIF":
        data = heic(PHOTO)
    elif kind == "AVIF" and not AVIF:
        pytest.skip("Pillow without AVIF")
    else:
        data = encoded(PHOTO, kind.replace("progressive", "JPEG"), progressive=kind == "progressive")
    path = tmp_path / "cut.jpg"
    for part in (0.2, 0.6, 0.95):
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(UnreadableImageError, match=r"cut\.jpg: damaged(,| or) cut short"):
            read_photo(path)
    path.write_bytes(data)
    assert read_photo(path).pixels.shape == PHOTO.shape
    assert allowed == ImageFile.LOAD_TRUNCATED_IMAGES


@contextmanager
def nobody():
    """Without root's right to open everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_what_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(UnreadableImageError, match=r"gone\.jpg: no such file"):
        read_photo(tmp_path / "gone.jpg")
    with pytest.raises(UnreadableImageError, match=f"{tmp_path.name}: a folder"):
        read_photo(tmp_path)
    with pytest.raises(UnreadableImageError, match="null byte"):
        read_photo("a\0.jpg")
    with (tmp_path / "a.png").open("wb") as file:
        pass
    with pytest.raises(UnreadableImageError, match=r"a\.png: .*closed file"):
        read_photo(file)
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(encoded(PHOTO, "JPEG"))
    secret.chmod(0)
    with nobody(), pytest.raises(UnreadableImageError, match=r"secret\.jpg: no permission"):
        read_photo(secret)


@pytest.mark.parametrize("source", [None, 3, ["a.jpg"], io.StringIO("text")])
def test_what_is_no_source_is_refused(source):
    with pytest.raises(UnreadableImageError, match=f"{type(source).__name__} object: "):
        read_photo(source)


@pytest.mark.parametrize(
    ("array", "cause"),
    [
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (np.zeros((5, 0)), "no pixels"),
        (Image.new("RGB", (0, 5)), "no pixels"),
        *((Image.fromarray(np.full((4, 4), value, np.float32)), "floats must lie in") for value in (-1, 7e4, np.nan)),
        (np.zeros(5, np.uint8), "expected shape"),
        (np.zeros((5, 5, 2), np.uint8), "expected shape"),
        (np.zeros((1, 5, 5, 3), np.uint8), "expected shape"),
        (np.zeros((5, 5, 3), np.int64), "int64 values"),
        (np.zeros((5, 5), bool), "bool values"),
        (np.zeros((5, 5), object), "object values"),
        (np.full((5, 5, 3), np.nan), "nan"),
        (np.full((5, 5, 3), 1.5), "1.5"),
        (np.full((5, 5, 3), -0.1), "-0.1"),
        (np.full((5, 5, 3), np.inf), "inf"),
    ],
)
def test_bad_arrays_and_images_are_refused(array, cause):
    with pytest.raises(UnreadableImageError, match=rf"(ndarray of shape|Image object).*{cause}"):
        read_photo(array)


def test_bomb_is_refused_from_its_header(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(60000, 60000, 8, 2, b"\0" * 100))
    begin = time.perf_counter()
    with pytest.raises(ImageTooLargeError, match=r"bomb\.png: 60000 x 60000 pixels, the limit is 100000000"):
        read_photo(path)
    assert time.perf_counter() - begin < 0.5


def test_limit_counts_for_every_source():
    tensor = torch.from_numpy(PHOTO).permute(2, 0, 1)
    for source in (encoded(PHOTO, "PNG"), PHOTO, PHOTO / 255, Image.fromarray(PHOTO), tensor):
        with pytest.raises(ImageTooLargeError, match="96 x 128"):
            read_photo(source, max_pixels=PHOTO[..., 0].size - 1)
        assert read_photo(source, max_pixels=PHOTO[..., 0].size).pixels.shape == PHOTO.shape


def test_pillows_own_limit_does_not_interfere_and_is_left_as_it_was(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    read_photo(encoded(PHOTO, "GIF"))
    with pytest.raises(UnreadableImageError):
        read_photo(b"text")
    assert Image.MAX_IMAGE_PIXELS == 10


# Written whole or not at all


@pytest.mark.parametrize("suffix", [".jpg", *HEIC, *AVIF])
def test_colour_is_not_subsampled(suffix, tmp_path):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 255
    written = read_photo(write_photo(Image.fromarray(stripes), tmp_path / f"out{suffix}"))
    assert error_between(written.pixels, stripes) < 5


def test_quality_counts(tmp_path):
    coarse = write_photo(Image.fromarray(PHOTO), tmp_path / "coarse.jpg", quality=30)
    assert coarse.stat().st_size < write_photo(Image.fromarray(PHOTO), tmp_path / "fine.jpg").stat().st_size / 2


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".JPEG", ".tiff"])
def test_writing_is_deterministic_and_readable(suffix, tmp_path):
    image = read_photo(PHOTO).with_pixels(PHOTO)
    one, two = (write_photo(image, str(tmp_path / f"{name}{suffix}")) for name in "ab")
    assert one == tmp_path / f"a{suffix}"
    assert one.read_bytes() == two.read_bytes()
    assert error_between(read_photo(one).pixels, PHOTO) < 5
    assert sorted(path.name for path in tmp_path.iterdir()) == [one.name, two.name]


def test_what_cannot_be_written_is_named(tmp_path):
    image = Image.fromarray(PHOTO)
    for name in ("out.xyz", "out", ".jpg", "out.eps"):
        with pytest.raises(UnwritableImageError, match=r"unknown file type.*\.jpg, \.jpeg, \.png, \.webp"):
            write_photo(image, tmp_path / name)
    with pytest.raises(UnwritableImageError, match=r"gone/out\.jpg: No such file"):
        write_photo(image, tmp_path / "gone" / "out.jpg")
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableImageError, match=r"file/out\.jpg: Not a directory"):
        write_photo(image, tmp_path / "file" / "out.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(UnwritableImageError, match=r"folder\.jpg: Is a directory"):
        write_photo(image, tmp_path / "folder.jpg")
    with nobody(), pytest.raises(UnwritableImageError, match=r"out\.jpg: Permission denied"):
        write_photo(image, tmp_path / "out.jpg")
    with pytest.raises(UnwritableImageError, match=r"out\.jpg: cannot write mode F"):
        write_photo(image.convert("F"), tmp_path / "out.jpg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.jpg"]


def test_failure_midway_leaves_the_target_and_no_rest(tmp_path):
    target = tmp_path / "out.png"
    target.write_bytes(b"precious")
    with full_disk(2000), pytest.raises(UnwritableImageError, match=r"out\.png: File too large"):
        write_photo(Image.fromarray(PHOTO), target)
    assert target.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["PIL.Image.Image.save", "os.fsync", "pathlib.Path.replace"])
def test_failure_at_every_step(step, error, tmp_path, monkeypatch):
    target = tmp_path / "out.jpg"
    target.write_bytes(b"precious")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(step, fail)
    with pytest.raises((UnwritableImageError, KeyboardInterrupt)) as caught:
        write_photo(Image.fromarray(PHOTO), target)
    if isinstance(error, OSError):
        assert str(caught.value) == f"{target}: No space left on device"
    assert target.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_respects_the_umask_and_a_replaced_one_keeps_its_mode(mask, tmp_path):
    before = os.umask(mask)
    try:
        path = write_photo(Image.fromarray(PHOTO), tmp_path / "out.png")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    path.chmod(0o640)
    write_photo(Image.fromarray(PHOTO), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_every_error_is_a_faceanon_error():
    for error in (UnreadableImageError, ImageTooLargeError, AnimatedImageError, UnwritableImageError):
        assert issubclass(error, FaceAnonError)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "PPM"])
def test_content_tells_its_kind_whatever_the_name(kind):
    content = encoded(PHOTO, kind)
    assert is_media(content)
    assert photo_kind(content) == ("PNG" if kind in ("JPEG2000", "PPM") else kind)
    again = encode_photo(Image.fromarray(PHOTO), photo_kind(content))
    assert read_photo(again).pixels.shape == PHOTO.shape


@pytest.mark.parametrize("head", [b"\0\0\0\x18ftypmp42", b"\x1aE\xdf\xa3", b"RIFF\0\0\0\0AVI LIST", b"FLV\1"])
def test_videos_are_media_and_texts_are_not(head):
    assert is_media(head + b" and so on")
    assert not any(is_media(content) for content in (b"", b"text", b"%PDF-1.7", b"RIFF\0\0\0\0WAVE", b"{}"))
