"""What a photo's numbers mean as colours: profiles made anew of numbers alone, so that nothing else is in them.

ICC.1:2022 says what profiles are made of, ITU-T H.273 what the code points of AVIF, HEIC and PNG stand for.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any, TypeAlias

import numpy as np
from PIL import Image, ImageCms

from ..errors import UnreadableImageError

Curve: TypeAlias = tuple[float, ...]  # parameters of ICC's parametric curve: (g,) or (g, a, b, c, d)

HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics
UNKNOWN, SRGB_CURVE = 2, 13  # code points
_D65, _D50 = (0.3127, 0.3290), np.array([0.9642, 1.0, 0.8249])
# Code points of primaries: red, green, blue, white.
_PRIMARIES: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    4: ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), (0.310, 0.316)),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
_VIDEO: Curve = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_SRGB: Curve = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_CURVES: dict[int, Curve] = {
    **dict.fromkeys((1, 6, 11, 12, 14, 15), _VIDEO),
    4: (2.2,),
    5: (2.8,),
    7: (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4, 0.0913),
    8: (1.0,),
    SRGB_CURVE: _SRGB,
    17: (2.6,),
}
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_PARAMETERS = (1, 3, 4, 5, 7)  # of each kind of parametric curve
_MATRIX = (b"rXYZ", b"gXYZ", b"bXYZ")
_CURVE_TAGS = {b"RGB ": (b"rTRC", b"gTRC", b"bTRC"), b"GRAY": (b"kTRC",)}
_MOST_POINTS = 4096  # of a curve


def rebuilt(profile: bytes) -> bytes | None:
    """The same profile, made anew: matrix, curves and adaptation, and nothing else that was in it.

    Args:
        profile (`bytes`):
            An ICC profile for RGB or grey.

    Returns:
        `bytes`, *optional*: None for one that is made of tables, whose content cannot be checked, or a damaged one.
    """
    with suppress(struct.error, KeyError, ValueError):
        tags, space = _tags(profile), profile[16:20]
        if not any(tag[:3] in (b"A2B", b"D2B") for tag in tags):
            kept = {tag: _curve(tags[tag]) for tag in _CURVE_TAGS[space]}
            if space == b"RGB ":
                kept |= {tag: _numbers(tags[tag], b"XYZ ", 3) for tag in _MATRIX}
            if b"chad" in tags:
                kept[b"chad"] = _numbers(tags[b"chad"], b"sf32", 9)
            return _encoded(space, kept)
    return None


def check_sdr(code: tuple[int, int] | None, profile: bytes | None, name: str) -> None:
    """Raises `UnreadableImageError` for HDR, by a photo's code points or those in its profile."""
    transfer = UNKNOWN if code is None else code[1]
    with suppress(struct.error, ValueError, IndexError):
        if profile and b"cicp" in (tags := _tags(profile)):
            transfer = tags[b"cicp"][9]
    if transfer in HDR:
        raise UnreadableImageError(name, f"HDR ({HDR[transfer]}): convert it to SDR first")


def of_code(code: tuple[int, int], grey: bool) -> bytes | None:
    """A profile that says what code points say.

    Args:
        code (`tuple[int, int]`):
            Primaries and transfer characteristics. What is not known counts as sRGB's.
        grey (`bool`):
            Whether it is for a photo without colour.

    Returns:
        `bytes`, *optional*: None where they stand for sRGB, which needs no profile.
    """
    primaries, curve = _PRIMARIES.get(code[0], _PRIMARIES[1]), _CURVES.get(code[1], _SRGB)
    return None if (primaries, curve) == (_PRIMARIES[1], _SRGB) else _made(primaries, curve, grey)


def of_gamma(info: dict[Any, Any], grey: bool) -> bytes | None:
    """A profile that says what the chunks gAMA and cHRM of a PNG say.

    Args:
        info (`dict`):
            Of Pillow's image: `"gamma"`, `"chromaticity"` and `"srgb"`, where there are such.
        grey (`bool`):
            Whether it is for a photo without colour.

    Returns:
        `bytes`, *optional*: None where they say nothing, or sRGB.
    """
    if "srgb" in info or not {"gamma", "chromaticity"} & set(info):
        return None
    gamma = float(info.get("gamma") or 0)
    curve: Curve = _SRGB if not 0.05 < gamma < 10 or abs(gamma - 0.45455) < 0.005 else (1 / gamma,)
    corners = np.reshape(info.get("chromaticity", ()), (-1, 2)).tolist()
    primaries = tuple(map(tuple, [*corners[1:], corners[0]])) if len(corners) == 4 else _PRIMARIES[1]
    is_srgb = np.allclose(primaries, _PRIMARIES[1], atol=0.002) and curve == _SRGB
    try:
        return None if is_srgb else _made(primaries, curve, grey)
    except (ValueError, ZeroDivisionError, np.linalg.LinAlgError, struct.error):  # no colours at all
        return None


def in_display_p3(image: Image.Image, profile: bytes, grey: bool) -> tuple[Image.Image, bytes | None]:
    """A photo in the colours of Display P3, and their profile; as it is, without one, where the profile is no use.

    Args:
        image (`PIL.Image.Image`):
            Mode `RGB`, or `L` where the profile is one for grey.
        profile (`bytes`):
            Its own.
        grey (`bool`):
            Whether the photo is to be without colour.
    """
    target = io.BytesIO(of_code((12, SRGB_CURVE), False) or b"")
    with suppress(ImageCms.PyCMSError):
        new = ImageCms.profileToProfile(image, io.BytesIO(profile), target, outputMode="RGB")
        if new is not None:
            return (new.convert("L") if grey else new), of_code((12, SRGB_CURVE), grey)
    return image, None


def in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """A photo of mode `L`, `LA`, `RGB` or `RGBA` in sRGB, for formats that hold no profile.

    Args:
        image (`PIL.Image.Image`):
            The photo.
        profile (`bytes`):
            One from [`rebuilt`], [`of_code`] or [`of_gamma`].
    """
    colours = image.convert("L" if profile[16:20] == b"GRAY" else "RGB")
    srgb = ImageCms.createProfile("sRGB")
    new = ImageCms.profileToProfile(colours, io.BytesIO(profile), srgb, outputMode="RGB") or colours
    new = new.convert("L" if image.mode in ("L", "LA") else "RGB")
    if image.has_transparency_data:
        new.putalpha(image.getchannel("A"))
    return new


def code_of(stream: IO[bytes]) -> tuple[int, int] | None:
    """The code points of a PNG's or an AVIF's colours.

    Args:
        stream (`IO[bytes]`):
            The file; what has been read of it does not matter.

    Returns:
        `tuple[int, int]`, *optional*: primaries and transfer characteristics, if the file has them.
    """
    stream.seek(0)
    head = stream.read(12)
    with suppress(struct.error, KeyError, IndexError, ValueError):
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            return _code_of_png(stream)
        if head[4:8] == b"ftyp":
            return _code_of_avif(stream)
    return None


def _code_of_png(stream: IO[bytes]) -> tuple[int, int] | None:
    stream.seek(8)
    while True:
        length, kind = struct.unpack(">I4s", stream.read(8))
        if kind == b"cICP":
            primaries, transfer = stream.read(2)
            return primaries, transfer
        if kind == b"IDAT":
            return None
        stream.seek(length + 4, io.SEEK_CUR)


def _code_of_avif(stream: IO[bytes]) -> tuple[int, int] | None:
    """That of the primary item: depth and gain maps have their own."""
    stream.seek(0)
    while True:
        size, kind = struct.unpack(">I4s", stream.read(8))
        if kind == b"meta":
            break
        stream.seek(size - 8, io.SEEK_CUR)
    meta = dict(_boxes(stream.read(size - 8)[4:]))
    primary = struct.unpack_from(">H" if meta[b"pitm"][0] == 0 else ">I", meta[b"pitm"], 4)[0]
    parts = list(_boxes(meta[b"iprp"]))
    properties = list(_boxes(dict(parts)[b"ipco"]))
    for index in (index for kind, data in parts if kind == b"ipma" for index in _properties_of(primary, data)):
        kind, data = properties[index - 1]
        if kind == b"colr" and data[:4] == b"nclx":
            primaries, transfer = struct.unpack_from(">HH", data, 4)
            return primaries, transfer
    return None


def _properties_of(item: int, data: bytes) -> Iterator[int]:
    """Numbers of an item's properties, from 1, out of a box `ipma`."""
    version, wide = data[0], data[3] & 1
    place = 8
    for _ in range(struct.unpack_from(">I", data, 4)[0]):
        number = struct.unpack_from(">H" if version < 1 else ">I", data, place)[0]
        place += 2 if version < 1 else 4
        count = data[place]
        place += 1
        for _ in range(count):
            index = struct.unpack_from(">H", data, place)[0] & 0x7FFF if wide else data[place] & 0x7F
            place += 2 if wide else 1
            if number == item and index:
                yield index


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        if size < 8:
            raise ValueError("a box that ends before it begins")
        yield kind, data[place + 8 : place + size]
        place += size


def _made(primaries: tuple[tuple[float, ...], ...], curve: Curve, grey: bool) -> bytes:
    kind = 3 if len(curve) == 5 else 0
    coded = b"para" + struct.pack(">IHH", 0, kind, 0) + _fixed(*curve)
    if grey:
        return _encoded(b"GRAY", {b"kTRC": coded})
    *corners, white = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in primaries)
    matrix = np.stack(corners, 1)
    matrix = matrix * np.linalg.solve(matrix, white)
    adapted = np.linalg.solve(_BRADFORD, np.diag(_BRADFORD @ _D50 / (_BRADFORD @ white)) @ _BRADFORD)
    tags = {
        tag: b"XYZ " + bytes(4) + _fixed(*column) for tag, column in zip(_MATRIX, (adapted @ matrix).T, strict=True)
    }
    tags |= dict.fromkeys(_CURVE_TAGS[b"RGB "], coded)
    return _encoded(b"RGB ", {**tags, b"chad": b"sf32" + bytes(4) + _fixed(*adapted.ravel())})


def _fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(float(number) * 65536) for number in numbers))


def _tags(profile: bytes) -> dict[bytes, bytes]:
    count = struct.unpack_from(">I", profile, 128)[0]
    if count > 100:
        raise ValueError("no profile has so many tags")
    entries = (struct.unpack_from(">4sII", profile, 132 + 12 * number) for number in range(count))
    return {tag: profile[place : place + size] for tag, place, size in entries}


def _numbers(data: bytes, kind: bytes, count: int) -> bytes:
    if data[:4] != kind or len(data) < 8 + 4 * count:
        raise ValueError("another kind of tag")
    return kind + bytes(4) + data[8 : 8 + 4 * count]


def _curve(data: bytes) -> bytes:
    """A curve without what follows it; only one that never falls is taken: no picture is such."""
    if data[:4] == b"para":
        count = _PARAMETERS[struct.unpack_from(">H", data, 8)[0]] if data[8:10] < b"\0\5" else 0
        if not count or len(data) < 12 + 4 * count:
            raise ValueError("no curve")
        return b"para" + bytes(4) + data[8:10] + bytes(2) + data[12 : 12 + 4 * count]
    count = struct.unpack_from(">I", data, 8)[0]
    points = struct.unpack_from(f">{count}H", data, 12) if count <= _MOST_POINTS else ()
    if data[:4] != b"curv" or len(points) != count or list(points) != sorted(points):
        raise ValueError("no curve")
    return b"curv" + bytes(4) + data[8 : 12 + 2 * count]


def _encoded(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": _text("Colours"), b"cprt": _text("CC0"), b"wtpt": b"XYZ " + bytes(4) + _fixed(*_D50), **tags}
    table, content = struct.pack(">I", len(tags)), b""
    for tag, data in sorted(tags.items()):
        table += struct.pack(">4sII", tag, 132 + 12 * len(tags) + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    head = struct.pack(">4sI4s4s4s6H4s", bytes(4), 0x04300000, b"mntr", space, b"XYZ ", 2000, 1, 1, 0, 0, 0, b"acsp")
    head = (head + bytes(28) + _fixed(*_D50)).ljust(124, b"\0")
    return struct.pack(">I", 4 + len(head + table + content)) + head + table + content


def _text(words: str) -> bytes:
    coded = words.encode("utf-16-be")
    return b"mluc" + struct.pack(">III2s2sII", 0, 1, 12, b"en", b"US", len(coded), 28) + coded
