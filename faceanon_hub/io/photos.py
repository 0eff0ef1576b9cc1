"""Photos in and out: upright 8-bit pixels, their colour profile, and nothing else of the original."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, ImageFile, UnidentifiedImageError, features

from ..errors import AnimatedImageError, FaceAnonError, ImageTooLargeError, UnreadableImageError, UnwritableImageError
from ..files import check_target, open_regular, write_whole
from ..ranges import check_number
from .harmless import why_not
from .profiles import check_sdr, code_of, in_display_p3, in_srgb, of_code, of_gamma, rebuilt

if TYPE_CHECKING:
    import torch
    from typing_extensions import TypeIs

Pixels: TypeAlias = npt.NDArray[np.uint8]
Source: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO | Image.Image | npt.NDArray[Any] | torch.Tensor | Photo"

MAX_PIXELS = 100_000_000

# Only formats photos come in: vector, page and icon formats would widen the attack surface for nothing.
_READABLE = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_NO_HEIF = "HEIC/HEIF needs pillow-heif: pip install pillow-heif"
WRITABLE = {
    **{".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"},
    **{".bmp": "BMP", ".gif": "GIF", ".heic": "HEIF", ".heif": "HEIF"},
    **({".avif": "AVIF"} if features.check("avif") else {}),
}
# Those that can be read but not written too: without another format they are failures, not files to pass over.
PHOTO_SUFFIXES = frozenset({*WRITABLE, ".avif", ".jfif", ".jp2", ".jpe", ".pgm", ".pnm", ".ppm"})
_UNOPENED: dict[type[Exception], str] = {
    FileNotFoundError: "no such file",
    IsADirectoryError: "a folder, not an image file",
    PermissionError: "no permission to read it",
}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Kept by name, not dropped by name: previews hide in too many vendor tags for a list of them to be complete.
_MAIN_TAGS = {0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298}
_CAMERA_TAGS = {0x829A, 0x829D, *range(0x8822, 0x8836), *range(0x9000, 0x9406), 0xA001, *range(0xA20B, 0xA501)}
_CAMERA_TAGS -= {ExifTags.Base.MakerNote}
_GPS_TAGS = set(range(0x20))

_PILLOW_SETTINGS = threading.Lock()


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright photo and what is needed to write it back as it came.

    Args:
        pixels (`np.ndarray` of shape `(H, W, 3)` and dtype `uint8`):
            RGB in [0, 255], EXIF orientation applied. Three equal channels where `grey`; also set where transparent.
        alpha (`np.ndarray` of shape `(H, W)` and dtype `uint8`, *optional*):
            Opacity in [0, 255], `None` for an opaque photo.
        grey (`bool`):
            Whether it came as greyscale, and goes back as greyscale.
        icc_profile (`bytes`, *optional*):
            Colour profile that describes `pixels`: the original's, made anew of its numbers.
        exif (`bytes`, *optional*):
            Cleaned EXIF, only with `keep_metadata=True`.
        source (`str`):
            Path or description, for error messages.
    """

    pixels: Pixels
    alpha: Pixels | None
    grey: bool
    icc_profile: bytes | None
    exif: bytes | None
    source: str

    def with_pixels(self, pixels: Pixels) -> Image.Image:
        """Give the photo new pixels.

        Args:
            pixels (`np.ndarray` of shape `(H, W, 3)` and dtype `uint8`):
                RGB in [0, 255], of the size of this photo.

        Returns:
            `PIL.Image.Image`: mode `L`, `LA`, `RGB` or `RGBA`, with the profile and any kept EXIF in `info`.
        """
        image = Image.fromarray(pixels)
        if self.grey:
            image = image.convert("L")
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        image.info = _only({"icc_profile": self.icc_profile, "exif": self.exif}, "icc_profile", "exif")
        # Pillow's JPEG and WebP writers do not look into info, only here.
        image.encoderinfo = _only(image.info, "icc_profile", "exif")
        return image


def read_photo(source: Source, *, keep_metadata: bool = False, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a photo upright, as 8-bit RGB, whatever it comes as.

    All metadata is dropped. Colours stay: the profile is made anew of its matrix and curves, or of the code points of
    an AVIF, HEIC or PNG; where it is made of tables, which may be anything, pixels are converted to Display P3.

    With `keep_metadata=True` descriptive EXIF stays: text and numbers from the standard main, camera and GPS tags,
    **the place the photo was taken included**. Even then, what can hold a picture of the original is always dropped:
    thumbnails (IFD1), MakerNote, vendor tags, byte blocks over 64 bytes, text that may be code (see
    [`harmless.why_not`]) or is over 2000 characters, XMP, IPTC, comments, depth maps and second pictures. So is the
    orientation: it is applied.

    Args:
        source (`str`, `os.PathLike`, `bytes`, binary file, `PIL.Image.Image`, `np.ndarray`, `torch.Tensor`, `Photo`):
            An image file or its content, or what an earlier call returned; a PIL image; an array of shape `(H, W)`,
            `(H, W, 1)`, `(H, W, 3)` or `(H, W, 4)`, `uint8`, `uint16` or float in [0, 1]; or a tensor of shape
            `(C, H, W)` with 1, 3 or 4 channels, `uint8` or float in [0, 1]. It is not modified.
        keep_metadata (`bool`, *optional*, defaults to `False`):
            Whether to keep cleaned EXIF.
        max_pixels (`int`, *optional*, defaults to `100_000_000`):
            Images of more pixels are refused before they are decoded.

    Returns:
        `Photo`: the photo.

    Raises:
        UnreadableImageError: Missing, empty, truncated, not an image, or HDR.
        ImageTooLargeError: More than `max_pixels` pixels.
        AnimatedImageError: More than one frame or page; a second camera picture in a JPEG (MPO) is ignored instead.
    """
    if isinstance(source, Photo):
        return source
    name = _name(source)
    if isinstance(source, np.ndarray):
        source = _from_array(source, name, max_pixels)
    elif _is_tensor(source):
        source = _from_tensor(source, name, max_pixels)
    if isinstance(source, Image.Image):
        with _strict_pillow(name):
            return _photo(source, name, keep_metadata, max_pixels)
    with _stream(source, name) as stream, _strict_pillow(name):
        code = code_of(stream)
        return _photo(_opened(stream, name), name, keep_metadata, max_pixels, code)


def write_photo(image: Image.Image, path: str | os.PathLike[str], *, quality: int = 95) -> Path:
    """Write an image whole or not at all, with no metadata but the profile and EXIF in its `info`.

    Args:
        image (`PIL.Image.Image`):
            What `Photo.with_pixels` gave. Where the format holds no transparency it is flattened over white.
        path (`str` or `os.PathLike`):
            Target; the suffix gives the format. An existing file is replaced only once the new one is complete.
        quality (`int`, *optional*, defaults to `95`):
            Quality of lossy formats, in [1, 100]. Colour is not subsampled in JPEG, AVIF and HEIC.

    Returns:
        `Path`: the file written.

    Raises:
        UnwritableImageError: Unknown suffix, no such folder, no permission, no space left.
        ValueError: The quality is out of its range.
    """
    path = Path(path)
    kind = writable_kind(path)
    check_number("quality", quality, 1, 100, whole=True)
    try:
        write_whole(path, encode_photo(image, kind, quality=quality))
    except UnwritableImageError:
        raise
    except Exception as error:
        raise UnwritableImageError(path, _cause(error)) from error
    return path


def check_photo_target(path: Path) -> None:
    """Make sure, before the work, that a photo can be written.

    Args:
        path (`Path`):
            Where it will be written.

    Raises:
        UnwritableImageError: Unknown suffix, no such folder, no permission, no space left.
    """
    writable_kind(path)
    check_target(path)


def writable_kind(path: Path) -> str:
    """Give Pillow's name of the format that a suffix stands for.

    Args:
        path (`Path`):
            Where a photo will be written.

    Raises:
        UnwritableImageError: Unknown suffix, or one that needs pillow-heif, which is not installed.
    """
    kind = WRITABLE.get(path.suffix.lower())
    if kind is None:
        raise UnwritableImageError(path, f"unknown file type '{path.suffix}'; known are {', '.join(WRITABLE)}")
    if kind == "HEIF" and not _register_heif():
        raise UnwritableImageError(path, _NO_HEIF)
    return kind


def encode_photo(image: Image.Image, kind: str, *, quality: int = 95) -> bytes:
    """Give the content of a file, with no metadata but the profile and EXIF in the image's `info`.

    Args:
        image (`PIL.Image.Image`):
            What `Photo.with_pixels` gave. Where the format holds no transparency it is flattened over white.
        kind (`str`):
            Pillow's name of a format: `"JPEG"`, `"PNG"`, ...
        quality (`int`, *optional*, defaults to `95`):
            As for [`write_photo`].
    """
    encoded = io.BytesIO()
    bare = _flat(image) if kind in ("JPEG", "BMP") and image.has_transparency_data else image.copy()
    if kind in ("BMP", "GIF") and image.info.get("icc_profile"):
        bare = in_srgb(bare, image.info["icc_profile"])
    # Pillow's writers pick comments and the like from info on their own.
    bare.info = _only(bare.info, "transparency")
    kept = _only(image.info, "icc_profile", "exif")
    bare.save(encoded, kind, quality=quality, subsampling="4:4:4", **kept)
    return encoded.getvalue()


def photo_kind(content: bytes) -> str:
    """Pillow's name of the format in which a photo goes back: its own, or PNG where that cannot be written.

    Args:
        content (`bytes`):
            Content of a photo.

    Raises:
        UnreadableImageError: It is none.
    """
    with _strict_pillow("bytes"), _opened(io.BytesIO(content), "bytes") as image:
        kind = "JPEG" if image.format == "MPO" else str(image.format)
    return kind if kind in WRITABLE.values() else "PNG"


def is_media(content: bytes) -> bool:
    """Whether a file begins as photos do that can be read, or HEIC, or the usual videos, whatever its name.

    Args:
        content (`bytes`):
            The file.
    """
    # HEIC, MP4 and its kin; Matroska and WebM; MPEG; Flash; AVI
    if content[4:8] == b"ftyp" or content.startswith((b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"FLV\1")):
        return True
    if content[:4] == b"RIFF" and content[8:12] == b"AVI ":
        return True
    try:
        Image.open(io.BytesIO(content), formats=_READABLE)
    except UnidentifiedImageError:
        return False
    except Exception:  # it is one, but a damaged or a huge one
        return True
    return True


def _name(source: Source) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, np.ndarray) or _is_tensor(source):
        return f"{type(source).__name__} of shape {tuple(source.shape)} and type {source.dtype}"
    filename = getattr(source, "filename", None) or getattr(source, "name", None)
    return str(filename or f"{type(source).__name__} object")


def _is_tensor(source: Source) -> TypeIs[torch.Tensor]:
    return "torch" in sys.modules and isinstance(source, sys.modules["torch"].Tensor)


def _cause(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _only(info: dict[Any, Any], *keys: str) -> dict[Any, Any]:
    return {key: info[key] for key in keys if info.get(key) is not None}


@contextmanager
def _strict_pillow(name: str) -> Iterator[None]:
    """Whatever the caller set: no half-decoded files, and `max_pixels` as the only limit on size."""
    with _PILLOW_SETTINGS:
        saved = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
        try:
            yield
        except FaceAnonError:
            raise
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged data
            raise UnreadableImageError(name, f"damaged or cut short ({_cause(error)})") from error
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = saved


def _register_heif() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _stream(source: str | os.PathLike[str] | bytes | BinaryIO, name: str) -> IO[bytes]:
    try:
        if isinstance(source, bytes):
            return io.BytesIO(source)
        if isinstance(source, str | os.PathLike):
            return open_regular(source)
        if not hasattr(source, "read"):
            raise UnreadableImageError(name, "neither a path, bytes, a binary file, an image, an array nor a tensor")
        if not source.seekable():
            return io.BytesIO(source.read())
        position = source.tell()
        source.seek(0)
        content = io.BytesIO(source.read())
        source.seek(position)
        return content
    except (OSError, ValueError, TypeError) as error:
        raise UnreadableImageError(name, _UNOPENED.get(type(error), f"cannot be opened: {_cause(error)}")) from error


def _opened(stream: IO[bytes], name: str) -> Image.Image:
    stream.seek(0)
    head = stream.read(1024)
    heif = head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS and b"avif" not in head[:64]
    if heif and not _register_heif():
        raise UnreadableImageError(name, _NO_HEIF)
    try:
        return Image.open(stream, formats=("HEIF",) if heif else _READABLE)
    except UnidentifiedImageError:
        if not head:
            cause = "the file is empty"
        elif b"<svg" in head:
            cause = "an SVG drawing, not a photo"
        elif all(byte >= 32 or byte in b"\t\n\f\r" for byte in head):
            cause = "text, not an image"
        else:
            cause = f"damaged, cut short, or not an image; {', '.join((*_READABLE, 'HEIF'))} can be read"
        raise UnreadableImageError(name, cause) from None


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if width * height == 0:
        raise UnreadableImageError(name, f"no pixels, its size is {width} x {height}")
    if width * height > max_pixels:
        raise ImageTooLargeError(
            name, f"{width} x {height} pixels, the limit is {max_pixels} pixels in all; `max_pixels` moves it"
        )


def _from_tensor(tensor: torch.Tensor, name: str, max_pixels: int) -> Image.Image:
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3, 4):
        raise UnreadableImageError(name, "expected a tensor of shape (C, H, W) with 1, 3 or 4 channels")
    array = tensor.detach().cpu()
    array = array.float() if array.is_floating_point() else array  # numpy has no bfloat16
    return _from_array(array.permute(1, 2, 0).numpy(), name, max_pixels)


def _from_array(array: npt.NDArray[Any], name: str, max_pixels: int) -> Image.Image:
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,), (4,)):
        raise UnreadableImageError(name, "expected shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    _check_size(array.shape[1], array.shape[0], name, max_pixels)
    return Image.fromarray(_eight_bit(array[..., 0] if array.shape[2:] == (1,) else array, name))


def _eight_bit(values: npt.NDArray[Any], name: str) -> Pixels:
    if values.dtype == np.uint8:
        return values
    if values.dtype in (np.dtype("<u2"), np.dtype(">u2")):
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if values.dtype.kind != "f":
        raise UnreadableImageError(name, f"{values.dtype} values; expected uint8, uint16 or float in [0, 1]")
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 1):  # so written, NaN fails too
        raise UnreadableImageError(name, f"values from {low:g} to {high:g}; floats must lie in [0, 1]")
    return np.asarray(np.rint(values * 255), np.uint8)


def _photo(
    image: Image.Image, name: str, keep_metadata: bool, max_pixels: int, code: tuple[int, int] | None = None
) -> Photo:
    _check_size(image.width, image.height, name, max_pixels)
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise AnimatedImageError(name, "more than one frame or page; pass one photo at a time")
    image.load()
    kind, info, exif, profile = image.format, dict(image.info), _exif(image), image.info.get("icc_profile")
    if nclx := info.get("nclx_profile"):  # of pillow-heif
        code = nclx["color_primaries"], nclx["transfer_characteristics"]
    check_sdr(code, profile, name)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _deep_grey(image, name)
    elif image.mode == "CMYK":
        image, profile = _from_cmyk(image, profile), None
    if (turn := _TURNS.get(exif.get(ExifTags.Base.Orientation, 1))) is not None:
        image = image.transpose(turn)
    grey = image.mode in ("1", "L", "LA")
    transparent = image.has_transparency_data
    pixels = np.array(image.convert("RGBA" if transparent else "RGB"))
    if kind == "PNG" and code is not None:  # there they come before the profile, elsewhere after it
        profile = None
    colours, profile = _described(np.ascontiguousarray(pixels[..., :3]), grey, profile)
    if profile is None:
        profile = of_gamma(info, grey) if code is None else of_code(code, grey)
    return Photo(
        pixels=colours,
        alpha=pixels[..., 3].copy() if transparent else None,
        grey=grey,
        icc_profile=profile,
        exif=_clean(exif) if keep_metadata else None,
        source=name,
    )


def _described(pixels: Pixels, grey: bool, profile: bytes | None) -> tuple[Pixels, bytes | None]:
    """Pixels and what they mean as colours: a profile of numbers alone, in place of one that may hold anything."""
    space = profile and profile[16:20]
    if not profile or not (space == b"RGB " or (grey and space == b"GRAY")):
        return pixels, None  # of another colour space: it described the pixels before they were converted
    if (new := rebuilt(profile)) is not None:
        return pixels, new
    image = Image.fromarray(pixels).convert("L" if space == b"GRAY" else "RGB")
    image, new = in_display_p3(image, profile, grey)
    return np.array(image.convert("RGB")), new


def _deep_grey(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image)
    if image.mode in ("I", "F"):  # no fixed white: the smallest usual one that holds every value
        whites = (255, 65535) if image.mode == "I" else (1, 255, 65535)
        values = values / next((white for white in whites if values.max() <= white), 1)
    grey = _eight_bit(values, name)
    # Tag 0x0106: Pillow leaves deep TIFFs that count from white to black negative.
    negative = getattr(image, "tag_v2", {}).get(0x0106) == 0
    return Image.fromarray(255 - grey if negative else grey)


def _from_cmyk(image: Image.Image, profile: bytes | None) -> Image.Image:
    with suppress(ImageCms.PyCMSError):
        if profile:
            srgb = ImageCms.createProfile("sRGB")
            return ImageCms.profileToProfile(image, io.BytesIO(profile), srgb, outputMode="RGB") or image
    return image.convert("RGB")


def _exif(image: Image.Image) -> Image.Exif:
    with suppress(Exception):  # damaged EXIF is no reason to refuse the photo
        image.getexif()
    return image.getexif()


def _plain(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= 2000 and why_not(value.rstrip("\0")) is None
    return not isinstance(value, bytes | tuple) or len(value) <= 64


def _clean(exif: Image.Exif) -> bytes | None:
    clean = Image.Exif()
    with suppress(Exception):  # damaged EXIF is dropped, not the photo
        for tag in _MAIN_TAGS.intersection(exif):
            if _plain(value := exif[tag]):
                # Pillow reads text as Latin-1 but writes it as ASCII: "©" would become "?".
                clean[tag] = value.encode("latin-1") if isinstance(value, str) else value
        for group, tags in ((ExifTags.IFD.Exif, _CAMERA_TAGS), (ExifTags.IFD.GPSInfo, _GPS_TAGS)):
            if kept := {tag: value for tag, value in exif.get_ifd(group).items() if tag in tags and _plain(value)}:
                clean.get_ifd(group).update(kept)
        # Pillow has no public way to ask for empty groups.
        return clean.tobytes() if len(clean) or clean._ifds else None  # noqa: SLF001
    return None


def _flat(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    white.alpha_composite(rgba)
    return white.convert("L" if image.mode in ("L", "LA") else "RGB")
