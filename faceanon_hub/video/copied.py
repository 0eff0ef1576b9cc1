"""Sound and subtitles that are copied: only what they need to be played, for headers and packets can hold pictures."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

from ..io.harmless import why_not

if TYPE_CHECKING:
    import av

# All that subtitles may be: the others are pictures.
TEXTS = {"subrip", "text", "webvtt", "mov_text", "ass"}
MAX_HEADER = 64  # bytes, too few for a picture: headers of AAC, ALAC, FLAC, Opus and others are shorter
FONTS = struct.pack(">I4sHHB5s", 18, b"ftab", 1, 1, 5, b"Serif")  # of subtitles in MP4: a box of one font
MAX_FRAME = 2881  # bytes of a frame of MPEG audio
CUT, MAX_CUT = "skip_samples", 10  # side data of how much of a packet is not heard, and its size
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,3}")
# Of the header of ASS subtitles: not fonts, pictures, names and paths.
_SECTIONS = {"[script info]", "[v4 styles]", "[v4+ styles]", "[events]"}
_LINES = ("scripttype:", "playresx:", "playresy:", "wrapstyle:", "scaledborderandshadow:", "format:", "style:")


def codec_of(stream: Any) -> str:
    """FFmpeg's name of a stream's codec, whatever its decoder is called."""
    name: str = stream.codec_context.codec.canonical_name
    return name


def header(codec: str, content: bytes | None) -> bytes | None:
    """A codec's header, PyAV's `extradata` in the original, as it has to be written.

    Raises:
        ValueError: it is too long to be known as harmless.
    """
    if codec == "vorbis" and content:
        return _vorbis(content)
    if codec == "ass" and content:
        return _ass(content)
    if codec == "mov_text" and content:  # how text looks, and a font
        return content[:30] + FONTS
    if codec == "webvtt":
        return None
    if content and len(content) > MAX_HEADER:
        raise ValueError(f"its header of {len(content)} bytes may hold a picture")
    return content


def packet(original: av.Packet, codec: str) -> av.Packet | None:
    """A packet of a copied stream, its times as in the new file, without its side data; None for one that is no sound,
    or no harmless text.
    """
    content = bytes(original)
    if codec in TEXTS:
        if codec == "mov_text":  # the text, and not the boxes behind it
            size = struct.unpack_from(">H", content.ljust(2, b"\0"))[0]
            content = content[: 2 + size]
        if why_not(content[2:] if codec == "mov_text" else content) is not None:
            return None
    if codec in ("mp1", "mp2", "mp3") and not _is_mpeg_frame(content):
        return None
    new = type(original)(content)
    new.pts, new.dts, new.duration, new.time_base = original.pts, original.dts, original.duration, original.time_base
    new.is_keyframe = original.is_keyframe
    if original.has_sidedata(CUT) and (cut := original.get_sidedata(CUT)).buffer_size <= MAX_CUT:
        new.set_sidedata(cut)
    return new


def language(metadata: dict[str, str]) -> str | None:
    """The language of a stream, where it is one."""
    text = metadata.get("language", "")
    return text if _LANGUAGE.fullmatch(text) else None


def title(metadata: dict[str, str]) -> str:
    """The title of a chapter; empty where it may be more than that."""
    text = metadata.get("title", "")
    return text if why_not(text) is None else ""


def _is_mpeg_frame(content: bytes) -> bool:
    """Whether it begins as a frame of MPEG audio does, and not as a tag, and is as long as such can be."""
    return content[:1] == b"\xff" and content[1:2] >= b"\xe0" and len(content) <= MAX_FRAME


def _vorbis(content: bytes) -> bytes:
    """The three headers of Vorbis: the comments empty, and nothing behind the last that a decoder does not need."""
    first, _, setup = _unlaced(content)
    first, comments = first[:30], b"\x03vorbis" + bytes(8) + b"\1"
    if not _opens(first, comments, setup):
        raise ValueError("its header is damaged")
    low, high = 0, len(setup)  # a decoder opens with as much as it needs, and not with less
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _opens(first, comments, setup[:middle]) else (middle + 1, high)
    return _laced(first, comments, setup[:high])


def _opens(*headers: bytes) -> bool:
    import av

    decoder: Any = av.CodecContext.create("vorbis", "r")
    decoder.extradata = _laced(*headers) + bytes(64)  # what is read beyond the end must not be left to chance
    try:
        decoder.open()
    except av.FFmpegError:
        return False
    return True


def _laced(*parts: bytes) -> bytes:
    sizes = b"".join(b"\xff" * (len(part) // 255) + bytes([len(part) % 255]) for part in parts[:-1])
    return bytes([len(parts) - 1]) + sizes + b"".join(parts)


def _unlaced(content: bytes) -> list[bytes]:
    """Three headers, as Matroska and FFmpeg join them."""
    place, sizes = 1, [0, 0]
    for number in range(2):
        while content[place : place + 1] == b"\xff":
            sizes[number] += 255
            place += 1
        sizes[number] += content[place] if place < len(content) else 0
        place += 1
    ends = [place + sizes[0], place + sum(sizes)]
    if content[:1] != b"\2" or ends[1] >= len(content):
        raise ValueError("its header is damaged")
    return [content[place : ends[0]], content[ends[0] : ends[1]], content[ends[1] :]]


def _ass(content: bytes) -> bytes:
    kept, section = [], ""
    for line in content.decode("utf-8-sig", "replace").replace("\0", "").splitlines():
        word = line.strip().lower()
        if word.startswith("["):
            section = word
        if section in _SECTIONS and (word == section or word.startswith(_LINES)):
            kept.append(line)
    text = "\r\n".join(kept) + "\r\n"
    why = why_not(text)
    if why is not None:
        raise ValueError(f"its header is {why}")
    return text.encode()
